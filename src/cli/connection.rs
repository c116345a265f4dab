//! From the arguments to a connection.
use super::arguments::ConnectionArguments;
use super::exit::Failure;
use super::interrupt;
use pgsteward::{Cluster, Error};

/// Connects; asks for the password if the server wants one that is nowhere else.
pub(crate) fn connect(arguments: &ConnectionArguments) -> Result<Cluster, Failure> {
    let parameters = parameters(arguments);
    if arguments.password {
        return Ok(Cluster::connect(&with(&parameters, "password", &ask_password()?))?);
    }
    match Cluster::connect(&parameters) {
        Err(Error::Connection { action, reason }) if reason.contains("password missing") => match ask_password() {
            Ok(password) => Ok(Cluster::connect(&with(&parameters, "password", &password))?),
            // Nobody is there to be asked.
            Err(_) => {
                Err(Error::Connection { action, reason: "the server wants a password, and neither PGPASSWORD nor the password file has it, and there is no terminal to ask on".into() })?
            }
        },
        result => Ok(result?),
    }
}

fn ask_password() -> Result<String, Failure> {
    interrupt::while_asking_for_a_secret(|| rpassword::prompt_password("Password: "))
        .map_err(|error| Failure::io("ask for the password", error))
}

/// A connection string of what was given.
fn parameters(arguments: &ConnectionArguments) -> String {
    let ConnectionArguments { dsn, service, host, port, username, password: _ } = arguments;
    let mut text = match dsn.as_deref() {
        None => String::new(),
        Some(dsn) if dsn.contains('=') || is_url(dsn) => dsn.to_owned(),
        // As psql takes it.
        Some(database) => with("", "dbname", database),
    };
    let port = port.map(|port| port.to_string());
    for (key, value) in [("service", service), ("host", host), ("port", &port), ("user", username)] {
        if let Some(value) = value {
            text = with(&text, key, value);
        }
    }
    text
}

fn is_url(text: &str) -> bool {
    text.starts_with("postgresql://") || text.starts_with("postgres://")
}

/// The same connection string with one more parameter, which counts before what it has.
fn with(text: &str, key: &str, value: &str) -> String {
    if is_url(text) {
        let separator = if text.contains('?') { '&' } else { '?' };
        let value: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
        return format!("{text}{separator}{key}={value}");
    }
    let value = value.replace('\\', "\\\\").replace('\'', "\\'");
    format!("{text} {key}='{value}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(dsn: Option<&str>, user: &str) -> String {
        parameters(&ConnectionArguments {
            dsn: dsn.map(Into::into),
            service: None,
            host: None,
            port: Some(7),
            username: Some(user.into()),
            password: false,
        })
    }

    #[test]
    fn what_is_given_by_itself_counts_before_the_dsn() {
        assert_eq!(given(None, "a b"), " port='7' user='a b'");
        assert_eq!(given(Some("sh'op"), "x"), r" dbname='sh\'op' port='7' user='x'");
        assert_eq!(given(Some("host=db"), "x"), "host=db port='7' user='x'");
        assert_eq!(given(Some("postgresql://db/shop"), "a&b"), "postgresql://db/shop?port=%37&user=%61%26%62");
    }
}
