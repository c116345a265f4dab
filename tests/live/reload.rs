//! Reading the configuration anew.
use crate::support::{fresh, unique};
use pgsteward::testing::TestServer;
use pgsteward::{Cluster, Error, ReloadOutcome, Role};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

fn append(path: &Path, text: &str) {
    OpenOptions::new().append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

fn setting(cluster: &Cluster, name: &str) -> String {
    cluster.execute("SELECT current_setting($1)", &[&name]).unwrap()[0].get(0)
}

#[test]
fn p016_a_reload_says_whether_the_configuration_was_taken() {
    let server = TestServer::start().unwrap();
    let cluster = Cluster::connect(&server.dsn()).unwrap();
    let conf = server.data_directory().join("postgresql.conf");
    let hba = server.data_directory().join("pg_hba.conf");
    append(&conf, "\nwork_mem = '5MB'\n");
    assert_eq!(setting(&cluster, "work_mem"), "4MB");
    assert_eq!(cluster.reload().unwrap(), ReloadOutcome::Taken);
    assert_eq!(setting(&cluster, "work_mem"), "5MB");

    let good = fs::read_to_string(&conf).unwrap();
    append(&conf, "work_mem = '6MB'\nmax_connections = 77\n");
    let ReloadOutcome::Faulty(faults) = cluster.reload().unwrap() else { panic!("a restart is needed") };
    assert_eq!((faults.len(), faults[0].setting.as_deref()), (1, Some("max_connections")), "{faults:?}");
    assert_eq!(setting(&cluster, "work_mem"), "6MB");

    fs::write(&conf, format!("{good}work_mem = '7MB'\n= nonsense\n")).unwrap();
    let ReloadOutcome::Faulty(faults) = cluster.reload().unwrap() else { panic!("nonsense was taken") };
    let line = good.lines().count() + 2;
    assert!(faults.iter().any(|fault| fault.line == Some(line.try_into().unwrap())), "{faults:?}");
    assert_eq!(setting(&cluster, "work_mem"), "6MB");
    fs::write(&conf, &good).unwrap();
    assert_eq!(cluster.reload().unwrap(), ReloadOutcome::Taken);

    let rules = fs::read_to_string(&hba).unwrap();
    append(&hba, "\nnonsense\n");
    let ReloadOutcome::Faulty(faults) = cluster.reload().unwrap() else { panic!("nonsense was taken") };
    assert!(faults[0].file.as_ref().is_some_and(|file| file.ends_with("pg_hba.conf")), "{faults:?}");
    fs::write(&hba, "").unwrap();
    let ReloadOutcome::Faulty(faults) = cluster.reload().unwrap() else { panic!("an empty file was taken") };
    assert!(faults[0].error.contains("no rules"), "{faults:?}");
    fs::write(&hba, rules).unwrap();
    assert_eq!(cluster.transaction(|| cluster.reload()).unwrap(), ReloadOutcome::Taken);
}

#[test]
fn p016_a_role_that_may_not_see_the_files_is_told_less() {
    let cluster = fresh();
    let mut role = Role::new(unique("reloader"));
    role.login = true;
    let role = cluster.roles().create(role).unwrap();
    let other = crate::support::connect(cluster.current_database(), &role.name);
    assert!(matches!(other.reload(), Err(Error::Denied { .. })));
    let grant = pgsteward::sql!("GRANT EXECUTE ON FUNCTION pg_reload_conf() TO {}", pgsteward::Ident(&role.name));
    cluster.execute(&grant.to_string(), &[]).unwrap();
    assert_eq!(other.reload().unwrap(), ReloadOutcome::Unchecked);
}

#[test]
fn a_plan_collects_a_reload() {
    let cluster = fresh();
    let mut outcome = None;
    let plan = cluster.plan(|c| c.reload().map(|said| outcome = Some(said))).unwrap();
    assert_eq!(outcome, Some(ReloadOutcome::Planned));
    assert_eq!(plan.to_string(), "SELECT pg_catalog.pg_reload_conf();\n");
    plan.apply().unwrap();
}
