//! How a client program gets to the server that a cluster is connected to.
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use postgres::Config;
use postgres::config::{ChannelBinding, Host, LoadBalanceHosts, SslMode, SslNegotiation, TargetSessionAttrs};
use std::ffi::{OsStr, OsString};
use std::process::Command;

/// The connection's parameters, as libpq takes them from its environment. There, unlike in an argument, no other process
/// of another user sees them, and no value can be taken for several.
pub(super) struct Access {
    variables: Vec<(&'static str, OsString)>,
    /// The role that the cluster's connection became.
    pub(super) role: Option<String>,
}

impl Access {
    pub(super) fn of(cluster: &Cluster) -> Result<Self> {
        let (config, role) = cluster.session().how_to_connect().ok_or_else(|| {
            Error::unsupported("a client program for a connection that was handed in", "Cluster::connect")
        })?;
        Ok(Self { variables: variables(config)?, role: role.map(str::to_owned) })
    }

    /// Gives a command all that it needs to connect to a database. A password is in its environment, and nowhere else.
    pub(super) fn give(&self, command: &mut Command, database: &str) {
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.arg("--no-password").arg(database_argument(database));
    }
}

/// The option for a database. A bare name that looks like a connection string would be taken for one.
pub(super) fn database_argument(database: &str) -> String {
    format!("--dbname=dbname='{}'", database.replace('\\', "\\\\").replace('\'', "\\'"))
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

fn variables(config: &Config) -> Result<Vec<(&'static str, OsString)>> {
    let mut variables: Vec<(&'static str, OsString)> = Vec::new();
    let mut set = |name, value: Option<OsString>| variables.extend(value.map(|value| (name, value)));
    let list = |values: Vec<OsString>| (!values.is_empty()).then(|| values.join(OsStr::new(",")));
    let hosts = config.get_hosts().iter().map(|host| match host {
        Host::Tcp(name) => OsString::from(name),
        #[cfg(unix)]
        Host::Unix(path) => path.clone().into_os_string(),
    });
    set("PGHOST", list(hosts.collect()));
    set("PGHOSTADDR", list(config.get_hostaddrs().iter().map(|address| address.to_string().into()).collect()));
    set("PGPORT", list(config.get_ports().iter().map(|port| port.to_string().into()).collect()));
    set("PGUSER", config.get_user().map(Into::into));
    set("PGOPTIONS", config.get_options().map(Into::into));
    set("PGAPPNAME", config.get_application_name().map(Into::into));
    set("PGCONNECT_TIMEOUT", config.get_connect_timeout().map(|timeout| timeout.as_secs().max(1).to_string().into()));
    set("PGPASSWORD", config.get_password().map(password).transpose()?);
    let ssl_mode = match config.get_ssl_mode() {
        SslMode::Disable => "disable",
        SslMode::Require => "require",
        _ => "prefer",
    };
    set("PGSSLMODE", Some(ssl_mode.into()));
    set("PGSSLNEGOTIATION", (config.get_ssl_negotiation() == SslNegotiation::Direct).then(|| "direct".into()));
    let channel_binding = match config.get_channel_binding() {
        ChannelBinding::Disable => "disable",
        ChannelBinding::Require => "require",
        _ => "prefer",
    };
    set("PGCHANNELBINDING", Some(channel_binding.into()));
    let sessions = match config.get_target_session_attrs() {
        TargetSessionAttrs::ReadWrite => Some("read-write"),
        TargetSessionAttrs::ReadOnly => Some("read-only"),
        _ => None,
    };
    set("PGTARGETSESSIONATTRS", sessions.map(Into::into));
    set("PGLOADBALANCEHOSTS", (config.get_load_balance_hosts() == LoadBalanceHosts::Random).then(|| "random".into()));
    Ok(variables)
}

#[cfg(unix)]
fn password(bytes: &[u8]) -> Result<OsString> {
    use std::os::unix::ffi::OsStrExt;
    match bytes.contains(&0) {
        true => Err(Error::invalid("password", "it contains a NUL byte")),
        false => Ok(OsStr::from_bytes(bytes).to_owned()),
    }
}

#[cfg(not(unix))]
fn password(bytes: &[u8]) -> Result<OsString> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'));
    text.map(Into::into).ok_or_else(|| Error::invalid("password", "it is not UTF-8, or contains a NUL byte"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_the_same_for_a_program() {
        let text = "host=/run/a,b port=1,2 user='o x' password='p q' options='-c a=b' connect_timeout=3 sslmode=require \
                    target_session_attrs=read-write dbname=d";
        let variables = variables(&text.parse().unwrap()).unwrap();
        let words: Vec<_> =
            variables.iter().map(|(name, value)| format!("{name}={}", value.to_str().unwrap())).collect();
        let expected = [
            "PGHOST=/run/a,b",
            "PGPORT=1,2",
            "PGUSER=o x",
            "PGOPTIONS=-c a=b",
            "PGCONNECT_TIMEOUT=3",
            "PGPASSWORD=p q",
            "PGSSLMODE=require",
            "PGCHANNELBINDING=prefer",
            "PGTARGETSESSIONATTRS=read-write",
        ];
        assert_eq!(words, expected);
    }

    #[test]
    fn the_name_of_a_database_is_no_connection_string() {
        assert_eq!(database_argument("host=evil it's \\"), "--dbname=dbname='host=evil it\\'s \\\\'");
    }
}
