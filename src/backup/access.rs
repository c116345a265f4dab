//! How a client program gets to the server that a cluster is connected to.
use crate::cluster::Cluster;
use crate::connect::{ConnectionParameters, Reached, keywords};
use crate::error::{Error, Result};
use std::ffi::OsString;
use std::process::Command;

/// The connection's parameters, as libpq takes them from its environment. There, unlike in an argument, no other process
/// of another user sees them, and no value can be taken for several.
pub(super) struct Access {
    variables: Vec<(&'static str, OsString)>,
    /// Parameters that have no variable, and are no secret.
    others: Vec<(&'static str, String)>,
    /// The role that the cluster's connection became.
    pub(super) role: Option<String>,
}

impl Access {
    pub(super) fn of(cluster: &Cluster) -> Result<Self> {
        let (parameters, reached) = cluster.session().how_to_connect().ok_or_else(|| {
            Error::unsupported("a client program for a connection that was handed in", "Cluster::connect")
        })?;
        let (variables, others) = split(&parameters, &reached)?;
        Ok(Self { variables, others, role: cluster.session().role().map(str::to_owned) })
    }

    /// Gives a command all that it needs to connect to a database. A password is in its environment, and nowhere else.
    pub(super) fn give(&self, command: &mut Command, database: &str) {
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        let others = self.others.iter().map(|(name, value)| (*name, value.as_str()));
        command.arg("--no-password").arg(connection_argument(database, others));
    }
}

/// The option for a database. A bare name that looks like a connection string would be taken for one.
pub(super) fn database_argument(database: &str) -> String {
    connection_argument(database, std::iter::empty())
}

fn connection_argument<'a>(database: &'a str, others: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let quoted = |(name, value): (&str, &str)| format!("{name}='{}'", value.replace('\\', "\\\\").replace('\'', "\\'"));
    let words: Vec<_> = std::iter::once(("dbname", database)).chain(others).map(quoted).collect();
    format!("--dbname={}", words.join(" "))
}

/// Takes all of libpq's variables out of a command's environment, and has it speak English.
pub(super) fn without_environment(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("PG")) {
            command.env_remove(name);
        }
    }
    command.env("LC_ALL", "C");
}

type Named<T> = Vec<(&'static str, T)>;

/// The parameters that have a variable, and those that have none. The password is the one for this server; where the
/// programs would look it up, and the database, which is an argument, are left out, and so is `service`, whose parameters are all there.
fn split(parameters: &ConnectionParameters, reached: &Reached) -> Result<(Named<OsString>, Named<String>)> {
    let (mut variables, mut others) = (Vec::new(), Vec::new());
    // Empty ones that take no empty value were refused already, and the others say nothing.
    for (keyword, value) in keywords::of(parameters.values()).filter(|(_, value)| !value.is_empty()) {
        match (keyword.name, keyword.variable) {
            ("password" | "passfile" | "dbname" | "service" | "connect_timeout", _) => {}
            // The program says it of itself, or it has no effect here.
            ("fallback_application_name" | "replication", _) => {}
            (name, _) if name.starts_with("oauth_") => {}
            (_, Some(variable)) => variables.push((variable, OsString::from(value))),
            ("sslpassword", _) => {
                let what = "a client program with an encrypted key (sslpassword), which it would take as an argument";
                return Err(Error::unsupported(what, "a key without a password, which only its owner may read"));
            }
            (name, None) => others.push((name, value.to_owned())),
        }
    }
    let timeout = parameters.timeout().map(|timeout| timeout.as_secs().max(1).to_string());
    variables.extend(timeout.map(|timeout| ("PGCONNECT_TIMEOUT", timeout.into())));
    if let Some(password) = reached.config.get_password() {
        variables.push(("PGPASSWORD", String::from_utf8_lossy(password).into_owned().into()));
    }
    Ok((variables, others))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_the_same_for_a_program() {
        let text = "host=/run/a,b port=1,2 user='o x' password=never options='-c a=b' connect_timeout=3 sslmode=require \
                    target_session_attrs=read-write dbname=d keepalives_idle=5 fallback_application_name=f";
        let parameters: ConnectionParameters = text.parse().unwrap();
        let mut config = postgres::Config::new();
        config.host("b").hostaddr("::1".parse().unwrap()).port(2).password("p q");
        let reached = Reached { config, tls: parameters.tls().unwrap(), host: "b".into() };
        let (variables, others) = split(&parameters.only(&reached), &reached).unwrap();
        let words: Vec<_> =
            variables.iter().map(|(name, value)| format!("{name}={}", value.to_str().unwrap())).collect();
        for expected in [
            "PGHOST=b",
            "PGHOSTADDR=::1",
            "PGPORT=2",
            "PGUSER=o x",
            "PGOPTIONS=-c a=b",
            "PGCONNECT_TIMEOUT=3",
            "PGPASSWORD=p q",
            "PGSSLMODE=require",
            "PGTARGETSESSIONATTRS=read-write",
        ] {
            assert!(words.iter().any(|word| word == expected), "{expected}: {words:?}");
        }
        assert_eq!(others, [("keepalives_idle", "5".to_owned())]);
        let secret: ConnectionParameters = "host=b sslpassword=x".parse().unwrap();
        assert!(split(&secret, &reached).is_err());
    }

    #[test]
    fn the_name_of_a_database_is_no_connection_string() {
        assert_eq!(database_argument("host=evil it's \\"), "--dbname=dbname='host=evil it\\'s \\\\'");
    }
}
