//! Rules from text, and the world that the cases were tried in, for tests.
use super::dialect::Dialect;
use super::entry::HbaEntry;
use super::list::HbaFile;
use super::name::HbaName;
use super::resolver::{Lookup, Resolver};
use super::roles::Roles;
use super::world::{Interfaces, World};
use crate::version::ServerVersion;
use std::net::IpAddr;
use std::sync::Arc;

/// The rules in a text, as the newest server reads them.
pub(super) fn entries(text: &str) -> Vec<HbaEntry> {
    let file = HbaFile::from_bytes("pg_hba.conf", text, Dialect::new(version(18)));
    assert!(file.faults().is_empty() || text.is_empty(), "{:?}", file.faults());
    file.iter().cloned().collect()
}

fn version(major: u32) -> ServerVersion {
    ServerVersion::parse(&format!("{major}.1")).unwrap()
}

/// The world of the cases: who is a member of what, which addresses have which names.
pub(super) fn world(major: u32) -> World {
    let mut world = World::new(version(major));
    let mut roles = Roles::new();
    for role in ["dave", "devs", "staff", "my group", "+devs", "all"] {
        roles.add(role, &[] as &[&str]);
    }
    for (role, group) in [
        ("alice", "devs"),
        ("bob", "ops"),
        ("carol", "devs"),
        ("frank", "devs"),
        ("gail", "my group"),
        ("ops", "staff"),
    ] {
        roles.add(role, &[group]);
    }
    let eve: &[&str] = if major >= 16 { &["devs"] } else { &[] };
    roles.add("eve", eve);
    world.roles = Some(roles);
    let ip = |text: &str| text.parse().unwrap();
    world.interfaces =
        Interfaces::all([(ip("127.0.0.1"), 8), (ip("::1"), 128), (ip("10.20.30.1"), 24), (ip("fd00:aa::1"), 64)]);
    world.ssl = Some(true);
    world.resolver = Arc::new(Names);
    world
}

/// Where each name and its address agree.
struct Names;

const NAMES: [(&str, &str); 7] = [
    ("127.0.0.1", "localhost"),
    ("::1", "localhost"),
    ("10.1.2.3", "app1.example.com"),
    ("192.168.7.7", "db.corp.example.org"),
    ("172.16.5.4", "example.com"),
    ("203.0.113.9", "UPPER.Example.NET"),
    ("2001:db8::1234", "v6host.example.com"),
];

impl Resolver for Names {
    fn reverse(&self, address: IpAddr) -> Lookup<HbaName> {
        let text = address.to_string();
        let known = NAMES.iter().find(|(known, _)| *known == text);
        known.map_or(Lookup::Nothing, |(_, name)| Lookup::Found((*name).into()))
    }

    fn forward(&self, name: &HbaName) -> Lookup<Vec<IpAddr>> {
        let known = NAMES.iter().filter(|(_, known)| name == known);
        Lookup::Found(known.map(|(address, _)| address.parse().unwrap()).collect())
    }
}
