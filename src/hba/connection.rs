//! A connection as pg_hba.conf sees it.
use super::name::HbaName;
use std::fmt;
use std::net::IpAddr;

/// The longest name that reaches the rules, in bytes (NAMEDATALEN - 1).
const LONGEST: usize = 63;

/// An attempt to connect: what the server compares with the rules of pg_hba.conf
/// ([documentation](https://www.postgresql.org/docs/current/auth-pg-hba-conf.html)).
///
/// ```
/// use pgsteward::hba::Connection;
/// let mut connection = Connection::tcp([10, 0, 0, 7], "shop", "app_rw");
/// connection.ssl = true;
/// assert_eq!(connection.to_string(), "app_rw to database shop from 10.0.0.7 with TLS");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Connection {
    /// Which way it comes.
    pub kind: ConnectionKind,
    /// The database that the client asks for. An empty name is that of the user, as libpq has it. Physical replication is to none.
    pub database: HbaName,
    /// The role that the client logs in as.
    pub user: HbaName,
    /// The address that the server sees; none if it is not known. Not looked at on a Unix-domain socket.
    pub address: Option<IpAddr>,
    /// Whether it is encrypted with TLS.
    pub ssl: bool,
    /// Whether it is encrypted with GSSAPI.
    pub gss: bool,
    /// Whether it is for replication.
    pub replication: Replication,
}

/// Which way a connection comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectionKind {
    /// Over a Unix-domain socket.
    Local,
    /// Over TCP/IP.
    Tcp,
}

/// What a connection says of replication when it begins
/// ([parameter `replication`](https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNECT-REPLICATION)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Replication {
    /// It is an ordinary one.
    None,
    /// A standby's or a base backup's, to no database: only the keyword `replication` matches it.
    Physical,
    /// A subscription's: to a database, and matched like an ordinary connection.
    Logical,
}

impl Connection {
    /// A connection over a Unix-domain socket, not encrypted and not for replication.
    pub fn local(database: impl Into<HbaName>, user: impl Into<HbaName>) -> Self {
        Self {
            kind: ConnectionKind::Local,
            database: database.into(),
            user: user.into(),
            address: None,
            ssl: false,
            gss: false,
            replication: Replication::None,
        }
    }

    /// A connection over TCP/IP from this address, not encrypted and not for replication.
    pub fn tcp(address: impl Into<IpAddr>, database: impl Into<HbaName>, user: impl Into<HbaName>) -> Self {
        Self { kind: ConnectionKind::Tcp, address: Some(address.into()), ..Self::local(database, user) }
    }

    /// The user's name as the server compares it: it cuts what is too long for a name.
    pub(super) fn user_in_rules(&self) -> &[u8] {
        cut(self.user.as_bytes())
    }

    /// The database's name as the server compares it; the user's, if there is none.
    pub(super) fn database_in_rules(&self) -> &[u8] {
        match self.database.as_bytes() {
            [] => self.user_in_rules(),
            name => cut(name),
        }
    }
}

fn cut(name: &[u8]) -> &[u8] {
    name.get(..LONGEST).unwrap_or(name)
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.user)?;
        let database = if self.database.as_bytes().is_empty() { &self.user } else { &self.database };
        match self.replication {
            Replication::None => write!(f, " to database {database}")?,
            Replication::Physical => write!(f, " for physical replication")?,
            Replication::Logical => write!(f, " to database {database} for logical replication")?,
        }
        match (self.kind, self.address) {
            (ConnectionKind::Local, _) => return write!(f, " over a Unix-domain socket"),
            (ConnectionKind::Tcp, Some(address)) => write!(f, " from {address}")?,
            (ConnectionKind::Tcp, None) => write!(f, " from an unknown address")?,
        }
        match (self.ssl, self.gss) {
            (true, _) => write!(f, " with TLS"),
            (false, true) => write!(f, " with GSSAPI encryption"),
            (false, false) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_as_the_server_cuts_them_and_an_empty_database_is_the_users() {
        let long = "u".repeat(70);
        let connection = Connection::local("", long.as_str());
        assert_eq!(connection.user_in_rules(), "u".repeat(63).as_bytes());
        assert_eq!(connection.database_in_rules(), "u".repeat(63).as_bytes());
        assert_eq!(Connection::local("d", "u").database_in_rules(), b"d");
    }

    #[test]
    fn a_connection_reads_as_a_person_would_say_it() {
        let mut connection = Connection::local("", "alice");
        assert_eq!(connection.to_string(), "alice to database alice over a Unix-domain socket");
        connection.kind = ConnectionKind::Tcp;
        connection.replication = Replication::Physical;
        assert_eq!(connection.to_string(), "alice for physical replication from an unknown address");
    }
}
