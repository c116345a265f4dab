//! The seed of an access script: puts an application's rule into pg_hba.conf, shows the difference, brings it to the
//! server, and shows who may connect now.
//!
//!     cargo run --example hba --features testing                         on a private, throw-away server
//!     cargo run --example hba --features testing -- DSN RULE             prints what would be changed on yours
//!     cargo run --example hba --features testing -- DSN RULE --apply     changes it
//!
//! RULE is a line of pg_hba.conf: "host shop app_rw 10.0.0.0/8 scram-sha-256".
use pgsteward::hba::{Connection, HbaAddress, HbaDatabase, HbaName, HbaRule, HbaRules, HbaUser, Severity};
use pgsteward::testing::{TestServer, TestServerOptions};
use pgsteward::{Cluster, Database, Result, Role};
use std::net::IpAddr;
use std::process::ExitCode;

/// What the private server begins with.
const PRIVATE: &str = "\
# TYPE  DATABASE        USER            ADDRESS                 METHOD
local   all             postgres                                trust
local   all             all                                     scram-sha-256
host    all             all             127.0.0.1/32            scram-sha-256
host    replication     standby         10.0.0.12/32            scram-sha-256   # the standby
host    warehouse       reports         10.0.0.0/8              md5             # until spring
";

/// An address that nobody has: it is kept for documents.
const SOMEWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => on_a_private_server()?,
        [dsn, rule] => {
            let (hba, rule) = prepare(&Cluster::connect(dsn)?, rule)?;
            println!("\nWho might connect then:\n");
            show(&hba, &rule)?;
            println!("\nNothing was changed; --apply does it.");
        }
        [dsn, rule, "--apply"] => apply(&Cluster::connect(dsn)?, rule)?,
        _ => {
            eprintln!("usage: hba [DSN RULE [--apply]]");
            return Ok(ExitCode::from(2));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn on_a_private_server() -> Result<()> {
    let mut options = TestServerOptions::new();
    options.hba = Some(PRIVATE.into());
    let server = TestServer::with(options)?;
    let cluster = Cluster::connect(&server.dsn())?;
    for name in ["app_rw", "standby"] {
        let mut role = Role::new(name);
        role.login = true;
        cluster.roles().create(role)?;
    }
    cluster.databases().create(Database::new("shop"))?;
    apply(&cluster, "host shop app_rw 10.0.0.0/8 scram-sha-256")
}

/// The list with the rule in it, before all others, so that no other one decides about what it matches.
fn prepare(cluster: &Cluster, rule: &str) -> Result<(HbaRules, HbaRule)> {
    let rule = HbaRule::parse(rule)?;
    let mut hba = cluster.hba_rules()?;
    println!("{} has {} rules.", hba.path(), hba.len());
    match hba.index(&rule)? {
        Some(index) => println!("This is number {} of them already: {rule}", index + 1),
        None => {
            hba.insert(0, &rule)?;
            println!("The change:\n\n{}", hba.changes());
        }
    }
    let findings = hba.lint()?;
    println!("What may be wrong with the file, apart from trifles:\n");
    for finding in findings.iter().filter(|finding| finding.severity() >= Severity::Warning) {
        println!("{finding}");
    }
    Ok((hba, rule))
}

fn apply(cluster: &Cluster, rule: &str) -> Result<()> {
    let (mut hba, rule) = prepare(cluster, rule)?;
    let outcome = hba.alter()?;
    if let Some(write) = outcome.write {
        println!("\nThe file was {write}; lines added: {}, removed: {}.", outcome.lines_added, outcome.lines_removed);
        println!("The server has loaded it: {}. A new connection was let in: {}.", outcome.reloaded, outcome.probed);
    }
    if let Some(backup) = outcome.backup {
        println!("The old file is {backup}.");
    }
    println!("\nWho may connect now:\n");
    show(&hba, &rule)
}

/// What the rule's users meet, and postgres: from where the rule is for, and from elsewhere.
fn show(hba: &HbaRules, rule: &HbaRule) -> Result<()> {
    let mut users: Vec<HbaName> = rule.users.iter().filter_map(named_user).collect();
    users.push("postgres".into());
    let mut databases: Vec<HbaName> = rule.databases.iter().filter_map(named_database).collect();
    databases.push("postgres".into());
    let mut addresses = vec![SOMEWHERE];
    if let Some(HbaAddress::Network { address, .. }) = rule.address {
        addresses.insert(0, address);
    }
    print!("{}", hba.access_matrix(users.clone(), databases.clone(), addresses)?);
    println!("\nIn words:\n");
    print!("{}", hba.explain(&Connection::tcp(SOMEWHERE, databases.swap_remove(0), users.swap_remove(0)))?);
    Ok(())
}

fn named_user(user: &HbaUser) -> Option<HbaName> {
    match user {
        HbaUser::Name(name) | HbaUser::Member(name) => Some(name.clone()),
        _ => None,
    }
}

fn named_database(database: &HbaDatabase) -> Option<HbaName> {
    match database {
        HbaDatabase::Name(name) => Some(name.clone()),
        _ => None,
    }
}
