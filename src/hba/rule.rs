//! One rule, typed, and how it is written.
use super::dialect::Dialect;
use super::given;
use super::method::HbaMethod;
use super::name::HbaName;
use super::{secret, write};
use crate::error::Result;
use crate::version::ServerVersion;
use std::fmt;
use std::net::IpAddr;

/// A rule of pg_hba.conf ([format](https://www.postgresql.org/docs/current/auth-pg-hba-conf.html)): who may connect to
/// what, from where, and how he proves who he is.
///
/// Two are equal when they say the same: blanks, quotes that change nothing and the spelling of an address do not count.
///
/// ```
/// use pgsteward::hba::{ConnectionType, HbaRule};
/// let rule = HbaRule::parse("host shop  app_rw  10.0.0.0 255.0.0.0  scram-sha-256")?;
/// assert_eq!(rule, HbaRule::parse("host shop app_rw 10.0.0.0/8 scram-sha-256")?);
/// assert_eq!(rule.connection, ConnectionType::Host);
/// assert_eq!(rule.to_string(), "host shop app_rw 10.0.0.0/8 scram-sha-256");
/// # Ok::<(), pgsteward::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct HbaRule {
    /// What sort of connection it is for.
    pub connection: ConnectionType,
    /// The databases: it is enough that one of them matches.
    pub databases: Vec<HbaDatabase>,
    /// The roles that log in: it is enough that one of them matches.
    pub users: Vec<HbaUser>,
    /// Where clients come from; none for [`ConnectionType::Local`], and never none for the others.
    pub address: Option<HbaAddress>,
    /// What decides whether the client is let in.
    pub method: HbaMethod,
    /// The method's options, in order; the last of a name counts.
    pub options: Vec<HbaOption>,
}

impl HbaRule {
    /// A rule without options. For [`ConnectionType::Local`] the address is none.
    pub fn new(
        connection: ConnectionType,
        databases: Vec<HbaDatabase>,
        users: Vec<HbaUser>,
        address: Option<HbaAddress>,
        method: HbaMethod,
    ) -> Self {
        Self { connection, databases, users, address, method, options: Vec::new() }
    }

    /// Reads one rule as the newest version of PostgreSQL does, of a server with everything built in.
    ///
    /// # Errors
    /// [`Error::Hba`](crate::Error::Hba) for what is no rule, or not just one.
    pub fn parse(text: &str) -> Result<Self> {
        given::rule_in_text(text.as_bytes(), &Dialect::new(ServerVersion::newest())).map(|given| given.rule)
    }

    /// Whether one of its options does not show.
    pub(super) fn has_secret(&self) -> bool {
        self.options.iter().any(|option| secret::is_hidden(&option.name))
    }
}

/// As the newest version of PostgreSQL reads it, with one blank between words; secrets show as `********`, and what is
/// no UTF-8 as U+FFFD.
impl fmt::Display for HbaRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&write::text(self, true))
    }
}

/// What sort of connection a rule is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectionType {
    /// `local`: a Unix-domain socket.
    Local,
    /// `host`: TCP/IP, encrypted or not.
    Host,
    /// `hostssl`: TCP/IP with TLS.
    HostSsl,
    /// `hostnossl`: TCP/IP without TLS.
    HostNoSsl,
    /// `hostgssenc`: TCP/IP with GSSAPI encryption.
    HostGssEnc,
    /// `hostnogssenc`: TCP/IP without GSSAPI encryption.
    HostNoGssEnc,
}

impl ConnectionType {
    pub(crate) const ALL: [Self; 6] =
        [Self::Local, Self::Host, Self::HostSsl, Self::HostNoSsl, Self::HostGssEnc, Self::HostNoGssEnc];

    /// The word in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Host => "host",
            Self::HostSsl => "hostssl",
            Self::HostNoSsl => "hostnossl",
            Self::HostGssEnc => "hostgssenc",
            Self::HostNoGssEnc => "hostnogssenc",
        }
    }
}

impl fmt::Display for ConnectionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word in the list of databases.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HbaDatabase {
    /// `all`: every database; not physical replication.
    All,
    /// `sameuser`: the database that is named as the role.
    SameUser,
    /// `samerole`, and its old name `samegroup`: a database whose name is that of a role of which the user is a member.
    SameRole,
    /// `replication`: physical replication, which is to no database.
    Replication,
    /// The database of this name, to the byte.
    Name(HbaName),
    /// `/regex`: databases whose name matches, anywhere unless it is anchored (PostgreSQL 16).
    Regex(HbaName),
    /// `@file`: the words in that file.
    File(HbaName),
}

/// A word in the list of users.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HbaUser {
    /// `all`: every role.
    All,
    /// `+role`: every direct or indirect member of it, and the role itself.
    Member(HbaName),
    /// The role of this name, to the byte.
    Name(HbaName),
    /// `/regex`: roles whose name matches, anywhere unless it is anchored (PostgreSQL 16).
    Regex(HbaName),
    /// `@file`: the words in that file.
    File(HbaName),
}

/// Where clients come from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HbaAddress {
    /// `all`: anywhere.
    All,
    /// `samehost`: one of the server's own addresses.
    SameHost,
    /// `samenet`: an address in a network that the server is in.
    SameNet,
    /// An address and a mask, of the same family; bits outside the mask do not count, but are kept.
    Network {
        /// As it is written.
        address: IpAddr,
        /// The bits that count.
        mask: IpAddr,
    },
    /// The host of this name: the client's address must have it, and it the client's address.
    Host(HbaName),
    /// The hosts whose names end so; it begins with a dot.
    Domain(HbaName),
}

/// An option of a method: `map=staff`.
#[derive(Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct HbaOption {
    /// The name.
    pub name: String,
    /// What is set, without quotes.
    pub value: HbaName,
}

impl HbaOption {
    /// An option.
    pub fn new(name: impl Into<String>, value: impl Into<HbaName>) -> Self {
        Self { name: name.into(), value: value.into() }
    }
}

/// Secrets do not show, nor what is set for options that PostgreSQL does not have.
impl fmt::Debug for HbaOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let masked = secret::MASK.into();
        let value = if secret::is_hidden(&self.name) { &masked } else { &self.value };
        f.debug_struct("HbaOption").field("name", &self.name).field("value", value).finish()
    }
}
