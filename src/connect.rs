//! Making a connection, within a deadline.
use crate::error::{Error, Result};
use crate::sql::Ident;
use crate::version::{OLDEST, ServerVersion};
use postgres::config::Host;
use postgres::{Client, Config, NoTls, SimpleQueryMessage, SimpleQueryRow};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

mod conninfo;
mod parameters;
mod password_file;
mod service_file;

pub(crate) use parameters::resolve;

/// How long connecting may take where `connect_timeout` does not say.
const DEADLINE: Duration = Duration::from_secs(30);

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

/// Opens a connection, asks what it is connected to, and becomes the role: all within the deadline.
///
/// It is done on a thread of its own: the driver's timeout covers neither a server that accepts and
/// stays silent nor a slow look-up of names. A thread that is left behind stays as long as the server is silent.
pub(crate) fn open(config: &Config, role: Option<&str>) -> Result<(Client, Facts)> {
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return Err(Error::invalid(
            "connection parameters",
            "they name no host: host=..., or a directory of a Unix socket",
        ));
    }
    let action = format!("connect to {}", target(config));
    let deadline = config.get_connect_timeout().copied().unwrap_or(DEADLINE);
    let (sender, receiver) = mpsc::channel();
    let (config, role, doing) = (config.clone(), role.map(str::to_owned), action.clone());
    let attempt = move || {
        let _ = sender.send(attempt(config, role.as_deref(), &doing));
    };
    thread::Builder::new()
        .name("pgsteward-connect".into())
        .spawn(attempt)
        .map_err(|error| Error::io(&action, error))?;
    receiver.recv_timeout(deadline).unwrap_or_else(|_| {
        let reason = format!("no answer within {} seconds (connect_timeout)", deadline.as_secs_f32());
        Err(Error::Connection { action, reason })
    })
}

fn attempt(config: Config, role: Option<&str>, action: &str) -> Result<(Client, Facts)> {
    let started = Instant::now();
    let mut client = dial(&config, action)?;
    let (facts, process) = inspect(&mut client, action)?;
    // A server process that is older than its connection, or that listens elsewhere, belongs to a pooler perhaps.
    let older = process.age > started.elapsed() + Duration::from_secs(1);
    if older || !dialled(&config, process.port) {
        refuse_shared(&config, &facts, action)?;
    }
    if let Some(role) = role {
        let sql = sql!("SET ROLE {}", Ident(role));
        sql.check()?;
        client.batch_execute(sql.text()).map_err(|error| Error::driver(&format!("become {role:?}"), &error))?;
    }
    Ok((client, facts))
}

/// What a server process says of itself.
pub(crate) struct Process {
    age: Duration,
    port: Option<u16>,
}

/// Whether the server itself is at a port that was called.
fn dialled(config: &Config, port: Option<u16>) -> bool {
    match (config.get_ports(), port) {
        (_, None) => false,
        ([], Some(port)) => port == 5432,
        (ports, Some(port)) => ports.contains(&port),
    }
}

fn dial(config: &Config, action: &str) -> Result<Client> {
    let mut config = config.clone();
    config.notice_callback(|notice| log::info!("{}: {}", notice.severity(), notice.message()));
    config.connect(NoTls).map_err(|error| match Error::driver(action, &error) {
        // Whatever the driver says about connecting, there is no connection.
        Error::Invalid { why, .. } => Error::Connection { action: action.into(), reason: why },
        other => other,
    })
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
fn refuse_shared(config: &Config, facts: &Facts, action: &str) -> Result<()> {
    let Ok(mut second) = dial(config, action) else { return Ok(()) };
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

/// Where a configuration leads, for messages; no secret is in it.
pub(crate) fn target(config: &Config) -> String {
    let mut parts = Vec::new();
    for host in config.get_hosts() {
        parts.push(match host {
            Host::Tcp(name) => format!("host={name}"),
            #[cfg(unix)]
            Host::Unix(path) => format!("host={}", path.display()),
        });
    }
    parts.extend(config.get_ports().iter().map(|port| format!("port={port}")));
    parts.extend(config.get_dbname().map(|name| format!("dbname={name}")));
    parts.extend(config.get_user().map(|name| format!("user={name}")));
    if parts.is_empty() { "the server".into() } else { parts.join(" ") }
}

/// Parameters of libpq that cannot be given here yet.
const NOT_YET: [&str; 15] = [
    "client_encoding",
    "fallback_application_name",
    "gssencmode",
    "gsslib",
    "krbsrvname",
    "replication",
    "require_auth",
    "requirepeer",
    "requiressl",
    "sslcert",
    "sslcrl",
    "sslkey",
    "sslmode",
    "sslpassword",
    "sslrootcert",
];

/// The error for connection parameters that cannot be read. Their text is not repeated, nor what the
/// driver says of a part of it: it may be a piece of a password.
pub(crate) fn unreadable(error: &postgres::Error) -> Error {
    let said = Error::driver("", error).to_string();
    let known = NOT_YET.iter().find(|name| said.contains(&format!("`{name}`")));
    let why = match known {
        Some(name) => format!("{name} cannot be given here yet, or not with this value"),
        None => "they are neither key=value pairs, blanks in values quoted ('...'), nor a postgresql:// URL, \
                 or one of them is not known"
            .to_owned(),
    };
    Error::invalid("connection parameters", why)
}
