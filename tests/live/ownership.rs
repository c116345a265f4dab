//! Many objects, another owner.
use crate::support::{fresh, unique};
use pgsteward::testing::TestServer;
use pgsteward::{Cluster, Database, Reach, Role, Table};

#[test]
fn ten_thousand_objects_are_given_away_without_exhausting_the_lock_table() {
    let cluster = fresh();
    let role = cluster.roles().create(Role::new(unique("r"))).unwrap();
    let make = "DO $$ BEGIN FOR i IN 1..1000 LOOP EXECUTE format('CREATE TABLE t%s_%s ()', $N, i); END LOOP; END $$";
    for n in 0..10 {
        cluster.execute(&make.replace("$N", &n.to_string()), &[]).unwrap();
    }
    let mut tables: Vec<_> = cluster.tables().iter().unwrap().collect();
    assert_eq!(tables.len(), 10_000);
    cluster.reassign_owner(&mut tables, &role.name).unwrap();
    assert!(tables.iter().all(|table| table.owner == role.name && !table.is_changed()));
    assert!(cluster.tables().iter().unwrap().all(|table| table.owner == role.name), "what is kept is right");
    cluster.refresh();
    assert!(cluster.tables().iter().unwrap().all(|table| table.owner == role.name));
}

#[test]
fn p017_only_the_owner_changes_whatever_else_is_pending() {
    let cluster = fresh();
    let role = cluster.roles().create(Role::new(unique("r"))).unwrap();
    let mut table = cluster.tables().create(Table::new("t")).unwrap();
    table.comment = Some("pending".into());
    table.name = "pending".into();
    cluster.reassign_owner([&mut table], &role.name).unwrap();
    let now = cluster.tables().get("t").unwrap();
    assert_eq!((now.owner.as_str(), now.comment.as_deref()), (role.name.as_str(), None));
    assert_eq!(table.changes().len(), 2, "{}", table.changes());
    table.alter().unwrap();
    assert_eq!(cluster.tables().get("pending").unwrap().owner, role.name);
    assert!(cluster.reassign_owner([&mut table], "no such role").unwrap_err().is_not_found());
}

#[test]
fn p017_what_a_role_owns_is_given_away_in_every_database() {
    // A server of its own: other tests rename and drop databases.
    let server = TestServer::start().unwrap();
    let here = Cluster::connect(&server.dsn()).unwrap();
    here.databases().create(Database::new("there")).unwrap();
    let there = Cluster::connect(&server.dsn_for("there", "postgres")).unwrap();
    let (from, to) = (unique("from"), unique("to"));
    for name in [&from, &to] {
        here.roles().create(Role::new(name)).unwrap();
    }
    let make = format!(
        "CREATE TABLE t (); ALTER TABLE t OWNER TO {from}; ALTER DATABASE {} OWNER TO {from}",
        there.current_database()
    );
    here.execute(&make, &[]).unwrap();
    there.execute("CREATE TABLE t ()", &[]).unwrap();
    there.execute(&format!("ALTER TABLE t OWNER TO {from}"), &[]).unwrap();
    here.reassign_owned(&from, &to, Reach::CurrentDatabase).unwrap();
    assert_eq!(here.tables().get("t").unwrap().owner, to);
    assert_eq!(there.tables().get("t").unwrap().owner, from);
    here.reassign_owned(&from, &to, Reach::EveryDatabase).unwrap();
    there.refresh();
    assert_eq!(there.tables().get("t").unwrap().owner, to);
}
