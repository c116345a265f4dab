//! The cases of tests/data/hba_cases.json in which a connection meets a rule; each was tried on servers.
use super::connection::{Connection, Replication};
use super::decision::{Access, Outcome};
use super::dialect::Dialect;
use super::files::Files;
use super::list::HbaFile;
use super::method::HbaMethod;
use super::sample::world;
use serde_json::Value;
use std::net::IpAddr;

const CASES: &str = include_str!("../../tests/data/hba_cases.json");
const MAIN: &str = "/etc/postgresql/pg_hba.conf";

fn file(case: &Value, major: u32) -> HbaFile {
    let mut files = Files::new();
    files.insert(MAIN, Some(case["text"].as_str().unwrap().into()));
    for (name, text) in case["files"].as_object().into_iter().flatten() {
        files.insert(format!("/etc/postgresql/{name}"), Some(text.as_str().unwrap().into()));
    }
    HbaFile::with_files(MAIN, files, Dialect::new(world(major).version))
}

fn connection(case: &Value) -> Connection {
    let said = &case["connection"];
    let database = said["database"].as_str().unwrap_or_default();
    let user = said["user"].as_str().unwrap();
    let mut connection = match said["address"].as_str() {
        Some(address) => Connection::tcp(address.parse::<IpAddr>().unwrap(), database, user),
        None => Connection::local(database, user),
    };
    connection.ssl = said["ssl"].as_bool() == Some(true);
    connection.gss = said["gss_encrypted"].as_bool() == Some(true);
    connection.replication = match said["replication"].as_str() {
        None => Replication::None,
        Some("physical") => Replication::Physical,
        Some("logical") => Replication::Logical,
        Some(other) => panic!("{other}"),
    };
    connection
}

/// What is wrong with the decision about a case; none if nothing is.
fn wrong(case: &Value, expected: &Value, major: u32) -> Option<String> {
    let file = file(case, major);
    let world = world(major);
    let decision = file.judge(&world).decide(&connection(case));
    let holds = match expected["decision"].as_str().unwrap() {
        "implicit_reject" => decision.outcome == Outcome::ImplicitReject,
        said => decision.rule().is_some_and(|rule| {
            let name = expected["file"].as_str().unwrap_or("pg_hba.conf");
            rule.method.as_str() == expected["method"].as_str().unwrap()
                && Some(rule.line as u64) == expected["line"].as_u64()
                && rule.file.ends_with(&format!("/{name}"))
                && (said == "reject") == (decision.access() == Access::Reject)
                && (said == "reject") == (rule.method == HbaMethod::Reject)
                && decision.mismatches().len() == rule.index
        }),
    };
    (!holds).then(|| format!("{} on {major}: {decision}, expected {expected}", case["id"]))
}

fn decided(major: u32) {
    let cases: Value = serde_json::from_str(CASES).unwrap();
    let (mut tried, mut faults) = (0, Vec::new());
    for case in cases["evaluation_cases"].as_array().unwrap() {
        for expected in case["expect"].as_array().unwrap() {
            let bound = |name: &str| expected[name].as_u64().unwrap();
            if (bound("pg_min")..=bound("pg_max")).contains(&major.into()) {
                tried += 1;
                faults.extend(wrong(case, expected, major));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(tried >= 100, "{tried} cases");
}

macro_rules! on_each_version {
    ($($name:ident $major:literal),*) => { $(
        #[test]
        fn $name() {
            decided($major);
        }
    )* };
}

on_each_version! {
    hba_cases_each_connection_meets_the_rule_that_it_met_on_10 10,
    hba_cases_each_connection_meets_the_rule_that_it_met_on_11 11,
    hba_cases_each_connection_meets_the_rule_that_it_met_on_12 12,
    hba_cases_each_connection_meets_the_rule_that_it_met_on_13 13,
    hba_cases_each_connection_meets_the_rule_that_it_met_on_14 14,
    hba_cases_each_connection_meets_the_rule_that_it_met_on_15 15,
    hba_cases_each_connection_meets_the_rule_that_it_met_on_16 16,
    hba_cases_each_connection_meets_the_rule_that_it_met_on_17 17,
    hba_cases_each_connection_meets_the_rule_that_it_met_on_18 18
}
