//! From the arguments to a connection.
use super::arguments::ConnectionArguments;
use super::exit::Failure;
use super::interrupt;
use pgsteward::{Cluster, ConnectOptions, ConnectionParameters, Error};

/// Connects; asks for the password if the server wants one that is nowhere else.
pub(crate) fn connect(arguments: &ConnectionArguments) -> Result<Cluster, Failure> {
    let mut parameters = parameters(arguments)?;
    let connect = |parameters: &ConnectionParameters| Cluster::connect_with(parameters.clone(), ConnectOptions::new());
    if arguments.password {
        parameters.set("password", &ask_password()?)?;
        return Ok(connect(&parameters)?);
    }
    match connect(&parameters) {
        Err(Error::Connection { action, reason }) if reason.contains("password missing") => match ask_password() {
            Ok(password) => {
                parameters.set("password", &password)?;
                Ok(connect(&parameters)?)
            }
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

/// What was given by itself counts before what is in the connection string.
fn parameters(arguments: &ConnectionArguments) -> Result<ConnectionParameters, Error> {
    let ConnectionArguments { dsn, service, host, port, username, password: _ } = arguments;
    let (text, database) = match dsn.as_deref() {
        Some(dsn) if dsn.contains('=') || is_url(dsn) => (dsn, None),
        // As psql takes it.
        database => ("", database),
    };
    let port = port.map(|port| port.to_string());
    let given = [
        ("dbname", database),
        ("service", service.as_deref()),
        ("host", host.as_deref()),
        ("port", port.as_deref()),
        ("user", username.as_deref()),
    ];
    let given: Vec<_> = given.into_iter().filter_map(|(keyword, value)| Some((keyword, value?))).collect();
    let mut parameters = ConnectionParameters::parse_with(text, &given)?;
    // So that others see whose session it is.
    if parameters.get("fallback_application_name").is_none() {
        parameters.set("fallback_application_name", "pgsteward")?;
    }
    Ok(parameters)
}

fn is_url(text: &str) -> bool {
    text.starts_with("postgresql://") || text.starts_with("postgres://")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(dsn: Option<&str>) -> ConnectionParameters {
        let host = Some("db".into());
        let (dsn, username) = (dsn.map(Into::into), Some("a&b".into()));
        parameters(&ConnectionArguments { dsn, service: None, host, port: Some(7), username, password: false }).unwrap()
    }

    #[test]
    fn what_is_given_by_itself_counts_before_the_dsn() {
        for (dsn, database) in [
            (Some("sh'op"), Some("sh'op")),
            (Some("dbname=shop user=x port=9"), Some("shop")),
            (Some("dbname=shop application_name=x\\"), Some("shop")),
            (Some("postgresql://x:p?w@db/shop"), Some("shop")),
        ] {
            let parameters = given(dsn);
            assert_eq!(parameters.get("dbname"), database, "{dsn:?}");
            assert_eq!((parameters.get("port"), parameters.get("user")), (Some("7"), Some("a&b")), "{dsn:?}");
        }
        assert_eq!(given(None).get("host"), Some("db"));
        assert_eq!(given(None).get("fallback_application_name"), Some("pgsteward"));
        assert_eq!(given(Some("fallback_application_name=x")).get("fallback_application_name"), Some("x"));
    }
}
