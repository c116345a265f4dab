//! Rules from text, and the world that the cases were tried in, for tests.
use super::entry::HbaEntry;
use super::method::HbaMethod;
use super::name::HbaName;
use super::network::mask;
use super::resolver::{Lookup, Resolver};
use super::roles::Roles;
use super::rule::{ConnectionType, HbaAddress, HbaDatabase, HbaOption, HbaRule, HbaUser};
use super::token::{Continuation, Token, pieces};
use super::world::{Interfaces, World};
use crate::version::ServerVersion;
use std::net::IpAddr;
use std::sync::Arc;

/// The rules in a text, as the newest server reads them.
pub(super) fn entries(text: &str) -> Vec<HbaEntry> {
    let mut entries = Vec::new();
    for piece in pieces(text.as_bytes(), Continuation::Backslash) {
        let Some(record) = piece.record else { continue };
        let rule = rule(&record.fields);
        entries.push(HbaEntry { effective: rule.clone(), rule, file: "pg_hba.conf".into(), line: piece.line });
    }
    entries
}

fn rule(fields: &[Vec<Token>]) -> HbaRule {
    let word = |field: usize| String::from_utf8(fields[field][0].bytes.clone()).unwrap();
    let connection = ConnectionType::ALL.into_iter().find(|kind| kind.as_str() == word(0)).unwrap();
    let local = connection == ConnectionType::Local;
    let address = (!local).then(|| address(&fields[3][0]));
    let rest = if local { 3 } else { 4 };
    let option = |field: &Vec<Token>| {
        let text = String::from_utf8(field[0].bytes.clone()).unwrap();
        let (name, value) = text.split_once('=').unwrap();
        HbaOption::new(name, value)
    };
    HbaRule {
        connection,
        databases: fields[1].iter().map(database).collect(),
        users: fields[2].iter().map(user).collect(),
        address,
        method: HbaMethod::ALL.into_iter().find(|method| method.as_str() == word(rest)).unwrap(),
        options: fields.iter().skip(rest + 1).map(option).collect(),
    }
}

fn database(token: &Token) -> HbaDatabase {
    let name = HbaName::from(token.bytes.clone());
    match (token.quoted, token.bytes.as_slice()) {
        (_, [b'/', expression @ ..]) => HbaDatabase::Regex(expression.into()),
        (true, _) => HbaDatabase::Name(name),
        (_, b"all") => HbaDatabase::All,
        (_, b"sameuser") => HbaDatabase::SameUser,
        (_, b"samerole" | b"samegroup") => HbaDatabase::SameRole,
        (_, b"replication") => HbaDatabase::Replication,
        _ => HbaDatabase::Name(name),
    }
}

fn user(token: &Token) -> HbaUser {
    let name = HbaName::from(token.bytes.clone());
    match (token.quoted, token.bytes.as_slice()) {
        (_, [b'/', expression @ ..]) => HbaUser::Regex(expression.into()),
        (true, _) => HbaUser::Name(name),
        (_, b"all") => HbaUser::All,
        (_, [b'+', group @ ..]) => HbaUser::Member(group.into()),
        _ => HbaUser::Name(name),
    }
}

fn address(token: &Token) -> HbaAddress {
    let text = String::from_utf8(token.bytes.clone()).unwrap();
    match (token.quoted, text.as_str()) {
        (false, "all") => HbaAddress::All,
        (false, "samehost") => HbaAddress::SameHost,
        (false, "samenet") => HbaAddress::SameNet,
        (_, name) => match name.split_once('/') {
            Some((address, length)) => {
                let address: IpAddr = address.parse().unwrap();
                HbaAddress::Network { address, mask: mask(address, length.parse().unwrap()) }
            }
            None if name.starts_with('.') => HbaAddress::Domain(name.into()),
            None => HbaAddress::Host(name.into()),
        },
    }
}

/// The world of the cases: who is a member of what, which addresses have which names.
pub(super) fn world(major: u32) -> World {
    let mut world = World::new(ServerVersion::parse(&format!("{major}.1")).unwrap());
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
