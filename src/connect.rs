//! Making a connection, as libpq does, within a deadline.
use crate::error::{Error, Result};
use crate::sql::Ident;
use crate::version::{OLDEST, ServerVersion};
use postgres::{CancelToken, Client, Config, SimpleQueryMessage, SimpleQueryRow};
use std::thread;
use std::time::{Duration, Instant};

mod attempt;
mod conninfo;
mod driver;
mod hosts;
pub(crate) mod keywords;
mod options;
mod parameters;
mod password_file;
mod plain;
mod service_file;
mod surroundings;
mod target_session;
#[cfg(feature = "tls")]
mod tls;
mod tls_parameters;

pub use options::{ConnectOptions, Retries};
pub use parameters::ConnectionParameters;
#[cfg(not(feature = "tls"))]
pub(crate) use plain::dial;
#[cfg(not(feature = "tls"))]
use plain::send_cancel;
#[cfg(feature = "tls")]
pub(crate) use tls::dial;
#[cfg(feature = "tls")]
use tls::send_cancel;
pub(crate) use tls_parameters::TlsParameters;

/// A connection string that says the same, but for the database.
#[cfg(feature = "testing")]
pub(crate) fn with_database(text: &str, name: &str) -> Result<String> {
    let mut parameters = conninfo::parse(text)?;
    parameters.insert("dbname".into(), name.to_owned());
    Ok(conninfo::print(&parameters))
}

/// What is known of a connection from the start.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) version: ServerVersion,
    pub(crate) database: String,
    /// The server's process. Another one on the same connection means a pooler in between.
    pub(crate) pid: i32,
}

/// The way to the server that answered, of all that were named.
#[derive(Clone)]
pub(crate) struct Reached {
    /// With one host, and the password for it.
    pub(crate) config: Config,
    pub(crate) tls: TlsParameters,
    /// The name that the server's certificate has to be for; empty where none was given.
    pub(crate) host: String,
}

/// A connection that was made.
pub(crate) struct Opened {
    pub(crate) client: Client,
    pub(crate) facts: Facts,
    pub(crate) reached: Reached,
}

/// Opens a connection to the first server that will do, asks what it is connected to, and becomes the role; again after a
/// failure that may pass, as often as the options say.
pub(crate) fn open(parameters: &ConnectionParameters, options: &ConnectOptions) -> Result<Opened> {
    let mut retried = 0;
    loop {
        match attempt::first(parameters, options) {
            Ok(opened) => return Ok(opened),
            Err(failure) if failure.passing && retried < options.retries.attempts => {
                log::info!("trying again: {}", failure.error);
                thread::sleep(options.retries.wait(retried));
                retried += 1;
            }
            Err(failure) if retried > 0 => return Err(failure.error.and(&format!("tried {} times", retried + 1))),
            Err(failure) => return Err(failure.error),
        }
    }
}

/// Asks the server to cancel what a connection is doing. It takes no longer than connecting may take.
///
/// # Errors
/// [`Error::Connection`] if the server cannot be asked.
pub(crate) fn cancel(token: CancelToken, reached: Option<Reached>) -> Result<()> {
    let action = "cancel a statement";
    let given = reached.as_ref().and_then(|reached| reached.config.get_connect_timeout().copied());
    let sent =
        attempt::within(given.unwrap_or(attempt::DEADLINE), action, move || send_cancel(&token, reached.as_ref()))?;
    sent.map_err(|error| no_connection(action, &error))
}

/// Sees what a new connection is connected to.
fn arrive(client: &mut Client, reached: &Reached, started: Instant, action: &str) -> Result<Facts> {
    let (facts, process) = inspect(client, action)?;
    // A server process that is older than its connection, or that listens elsewhere, belongs to a pooler perhaps.
    let older = process.age > started.elapsed() + Duration::from_secs(1);
    if older || !process.port.is_some_and(|port| reached.config.get_ports().contains(&port)) {
        refuse_shared(reached, &facts, action)?;
    }
    Ok(facts)
}

fn become_role(client: &mut Client, role: Option<&str>) -> Result<()> {
    let Some(role) = role else { return Ok(()) };
    let sql = sql!("SET ROLE {}", Ident(role));
    sql.check()?;
    client.batch_execute(sql.text()).map_err(|error| Error::driver(&format!("become {role:?}"), &error))
}

/// What a server process says of itself.
pub(crate) struct Process {
    age: Duration,
    port: Option<u16>,
}

/// The configuration, with the server's notices in the log.
pub(crate) fn with_notices(config: &Config) -> Config {
    let mut config = config.clone();
    config.notice_callback(|notice| log::info!("{}: {}", notice.severity(), notice.message()));
    config
}

/// The driver's error when connecting.
pub(crate) fn no_connection(action: &str, error: &postgres::Error) -> Error {
    match Error::driver(action, error) {
        // Whatever the driver says about connecting, there is no connection.
        Error::Invalid { why, .. } => Error::Connection { action: action.into(), reason: why },
        other => other,
    }
}

/// Asks a connection what it is connected to. Servers that are not PostgreSQL, or too old, are refused.
pub(crate) fn inspect(client: &mut Client, action: &str) -> Result<(Facts, Process)> {
    const QUESTION: &str = "SELECT pg_catalog.version() AS product, \
        pg_catalog.current_setting('server_version') AS version, \
        pg_catalog.current_database() AS database, pg_catalog.pg_backend_pid() AS pid, \
        COALESCE(pg_catalog.inet_server_port()::pg_catalog.text, pg_catalog.current_setting('port')) AS port, \
        (SELECT GREATEST(pg_catalog.date_part('epoch', pg_catalog.age(pg_catalog.clock_timestamp(), backend_start)), 0) \
         FROM pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid())) AS age";
    let answer = client.simple_query(QUESTION).map_err(|error| Error::driver(action, &error))?;
    let row = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let field = |name: &str| {
        let value = row.and_then(|row: &SimpleQueryRow| row.try_get(name).ok().flatten());
        value.ok_or_else(|| Error::unsupported(format!("this server (no {name} in its answer)"), "PostgreSQL"))
    };
    let (product, version) = (field("product")?, ServerVersion::parse(field("version")?)?);
    if !product.starts_with("PostgreSQL ") {
        return Err(Error::unsupported(format!("the server {product:?}"), format!("PostgreSQL {OLDEST} or newer")));
    }
    if !version.at_least(OLDEST) {
        return Err(Error::unsupported(format!("PostgreSQL {version}"), format!("PostgreSQL {OLDEST} or newer")));
    }
    let pid = field("pid")?.parse().map_err(|_| Error::invalid("answer of the server", "its pid is no number"))?;
    let age = field("age").ok().and_then(|age| age.parse().ok()).and_then(|age| Duration::try_from_secs_f64(age).ok());
    let facts = Facts { version, database: field("database")?.to_owned(), pid };
    let port = field("port").ok().and_then(|port| port.parse().ok());
    Ok((facts, Process { age: age.unwrap_or_default(), port }))
}

/// Refuses a pooler that would give this session's server process to somebody else between two
/// statements: a second connection then gets the very process that the first one has.
fn refuse_shared(reached: &Reached, facts: &Facts, action: &str) -> Result<()> {
    let Ok(mut second) = dial(&reached.config, &reached.tls, &reached.host, action) else { return Ok(()) };
    match inspect(&mut second, action) {
        Ok((other, _)) if other.pid == facts.pid => Err(pooled()),
        _ => Ok(()),
    }
}

/// The error for a connection whose server process is not its own.
pub(crate) fn pooled() -> Error {
    Error::unsupported(
        "a connection through a pooler in transaction or statement mode",
        "a session of its own: connect to the server directly, or set the pooler to session mode",
    )
}
