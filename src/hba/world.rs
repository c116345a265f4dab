//! What decisions depend on besides the rules.
use super::connection::Connection;
use super::name::HbaName;
use super::network::{is_within, mask};
use super::resolver::{NoResolver, Resolver};
use super::roles::Roles;
use crate::version::ServerVersion;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// What it depends on, besides the rules, which of them decides: the server's version, roles and addresses, and the names
/// of hosts. What is not known stays unknown, and so does what hangs on it.
///
/// [`World::load`] asks a server for it; [`World::new`] begins with nothing, for rules that are judged without one.
#[derive(Clone)]
#[non_exhaustive]
pub struct World {
    /// The server's version: what a name that begins with `/` means depends on it.
    pub version: ServerVersion,
    /// The roles and their memberships; none if they are not known.
    pub roles: Option<Roles>,
    /// The names of the databases; none if they are not known.
    pub databases: Option<BTreeSet<HbaName>>,
    /// The server's own addresses, for `samehost` and `samenet`.
    pub interfaces: Interfaces,
    /// The setting `ssl`; none if it is not known.
    pub ssl: Option<bool>,
    /// The sessions that there are now, as far as they can be seen.
    pub sessions: Vec<Peer>,
    /// Looks up the names of hosts.
    pub resolver: Arc<dyn Resolver>,
    /// What the server said of expressions that it alone understands: of each, and a name, whether it matches.
    pub(super) answers: HashMap<(HbaName, HbaName), bool>,
}

impl World {
    /// A server of this version, of which nothing else is known.
    pub fn new(version: ServerVersion) -> Self {
        Self {
            version,
            roles: None,
            databases: None,
            interfaces: Interfaces::default(),
            ssl: None,
            sessions: Vec::new(),
            resolver: Arc::new(NoResolver),
            answers: HashMap::new(),
        }
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("version", &self.version)
            .field("roles", &self.roles)
            .field("databases", &self.databases)
            .field("interfaces", &self.interfaces)
            .field("ssl", &self.ssl)
            .field("sessions", &self.sessions)
            .finish_non_exhaustive()
    }
}

/// A session that there is now, and would have to connect again if it were lost.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Peer {
    /// Its server process.
    pub pid: i32,
    /// Whose it is.
    pub kind: PeerKind,
    /// How it would connect again.
    pub connection: Connection,
}

impl Peer {
    /// A session.
    pub fn new(pid: i32, kind: PeerKind, connection: Connection) -> Self {
        Self { pid, kind, connection }
    }
}

/// Whose a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeerKind {
    /// This one, or another of this program to the same cluster.
    Own,
    /// A replica's, a subscription's or a backup's.
    Replica,
    /// Somebody else's.
    Other,
}

/// The server's own addresses and the networks that they are in.
#[derive(Clone, Debug, PartialEq)]
pub struct Interfaces {
    networks: Vec<(IpAddr, IpAddr)>,
    complete: bool,
}

impl Default for Interfaces {
    /// Nothing but what every machine has: 127.0.0.1/8 and ::1/128.
    fn default() -> Self {
        Self::some([(IpAddr::from([127, 0, 0, 1]), 8), (IpAddr::V6(1.into()), 128)])
    }
}

impl Interfaces {
    /// All addresses that the server's machine has, each with the length of its network's prefix.
    ///
    /// ```
    /// use pgsteward::hba::Interfaces;
    /// use std::net::IpAddr;
    /// let interfaces = Interfaces::all([(IpAddr::from([127, 0, 0, 1]), 8), (IpAddr::from([10, 20, 30, 1]), 24)]);
    /// ```
    pub fn all(addresses: impl IntoIterator<Item = (IpAddr, u8)>) -> Self {
        Self { complete: true, ..Self::some(addresses) }
    }

    /// Some of them: an address that is in none of these may still be in another.
    pub fn some(addresses: impl IntoIterator<Item = (IpAddr, u8)>) -> Self {
        let networks = addresses.into_iter().map(|(address, length)| (address, mask(address, length))).collect();
        Self { networks, complete: false }
    }

    /// Adds an address that the server is known to have, of whose network nothing is known.
    pub(super) fn add(&mut self, address: IpAddr) {
        self.networks.push((address, mask(address, 128)));
    }

    /// Whether it is one of the server's addresses; none if that is not known.
    pub(super) fn has_address(&self, address: IpAddr) -> Option<bool> {
        self.or_unknown(self.networks.iter().any(|(own, _)| *own == address))
    }

    /// Whether it is in one of the server's networks; none if that is not known.
    pub(super) fn has_network_of(&self, address: IpAddr) -> Option<bool> {
        self.or_unknown(self.networks.iter().any(|(own, mask)| is_within(address, *own, *mask)))
    }

    fn or_unknown(&self, found: bool) -> Option<bool> {
        (found || self.complete).then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_among_some_interfaces_is_unknown() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let some = Interfaces::default();
        assert_eq!((some.has_address(ip("127.0.0.1")), some.has_address(ip("10.0.0.1"))), (Some(true), None));
        assert_eq!((some.has_network_of(ip("127.9.9.9")), some.has_network_of(ip("::2"))), (Some(true), None));
        let all = Interfaces::all([(ip("10.20.30.1"), 24)]);
        assert_eq!(
            (all.has_address(ip("10.20.30.9")), all.has_network_of(ip("10.20.30.9"))),
            (Some(false), Some(true))
        );
        assert_eq!(all.has_network_of(ip("10.20.31.9")), Some(false));
    }
}
