//! Names of hosts.
use super::name::HbaName;
use dns_lookup::{LookupError, LookupErrorKind};
use std::net::IpAddr;

/// What a look-up of a name or an address found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup<T> {
    /// This.
    Found(T),
    /// There is nothing.
    Nothing,
    /// There is no telling.
    Unknown,
}

/// Looks up names of hosts, as the server does where a rule of pg_hba.conf names one.
///
/// The server goes by its own resolver and its own `/etc/hosts`. [`SystemResolver`] asks this machine's, which usually
/// finds the same; where it would not, give [`World`](super::World) another.
pub trait Resolver: Send + Sync {
    /// The canonical name of an address; its aliases do not count.
    fn reverse(&self, address: IpAddr) -> Lookup<HbaName>;

    /// The addresses that a name has.
    fn forward(&self, name: &HbaName) -> Lookup<Vec<IpAddr>>;
}

/// Asks the resolver of the machine that this runs on. It may wait for name servers.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolver for SystemResolver {
    fn reverse(&self, address: IpAddr) -> Lookup<HbaName> {
        dns_lookup::lookup_addr(&address).map_or_else(|error| failed(&error), |name| Lookup::Found(name.into()))
    }

    fn forward(&self, name: &HbaName) -> Lookup<Vec<IpAddr>> {
        let Ok(name) = std::str::from_utf8(name.as_bytes()) else { return Lookup::Unknown };
        dns_lookup::lookup_host(name).map_or_else(|error| failed(&error), |found| Lookup::Found(found.collect()))
    }
}

/// That there is no such name is an answer; that no name server answered is none.
fn failed<T>(error: &LookupError) -> Lookup<T> {
    match error.kind() {
        LookupErrorKind::NoName | LookupErrorKind::NoData => Lookup::Nothing,
        _ => Lookup::Unknown,
    }
}

/// Looks nothing up: rules with names of hosts stay undecided.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoResolver;

impl Resolver for NoResolver {
    fn reverse(&self, _: IpAddr) -> Lookup<HbaName> {
        Lookup::Unknown
    }

    fn forward(&self, _: &HbaName) -> Lookup<Vec<IpAddr>> {
        Lookup::Unknown
    }
}
