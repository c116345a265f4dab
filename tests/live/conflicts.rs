//! Two administrators at work.
use crate::support::{connect, fresh, unique, wait_until};
use pgsteward::{Cluster, Column, Error, Object, Role, Schema, Table};
use std::thread;

fn two() -> (Cluster, Cluster) {
    let mine = fresh();
    let theirs = connect(mine.current_database(), "postgres");
    (mine, theirs)
}

fn conflict(error: Error) -> (String, String) {
    match error {
        Error::Conflict { mine, theirs, .. } => (mine, theirs),
        other => panic!("no conflict: {other}"),
    }
}

/// Waits until the statement of a session in this database that begins so is waiting for a lock.
fn until_it_waits(database: &str, statement: &str) {
    let cluster = connect(database, "postgres");
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' \
               AND strpos(query, $1) = 1";
    wait_until(statement, || cluster.execute(sql, &[&statement]).unwrap()[0].get::<_, i64>(0) > 0);
}

#[test]
fn the_same_field_changed_by_somebody_else_is_a_conflict_another_is_not() {
    let (mine, theirs) = two();
    let names = [unique("a"), unique("b")];
    for name in &names {
        mine.roles().create(Role::new(name)).unwrap();
    }
    mine.tables().create(Table::new("t")).unwrap();
    let (mut a, mut b) = (mine.tables().get("t").unwrap(), theirs.tables().get("t").unwrap());
    a.owner = names[0].clone();
    b.owner = names[1].clone();
    b.alter().unwrap();
    let (my_change, their_change) = conflict(a.alter().unwrap_err());
    assert!(my_change.contains(&names[0]) && their_change.contains(&names[1]), "{my_change} {their_change}");
    assert!(a.is_changed(), "the change is kept");
    a.revert();
    a.comment = Some("mine".into());
    a.alter().unwrap();
    assert_eq!(a.owner, names[1], "what they changed is seen");
    a.refresh().unwrap();
    assert_eq!((a.comment.as_deref(), a.owner.as_str()), (Some("mine"), names[1].as_str()));
}

#[test]
fn parts_are_compared_one_by_one() {
    let (mine, theirs) = two();
    mine.execute("CREATE TABLE t (a int, b int)", &[]).unwrap();
    let mut a = mine.tables().get("t").unwrap();
    a.definition_mut().unwrap().columns.get_mut("a").unwrap().not_null = true;
    let mut b = theirs.tables().get("t").unwrap();
    b.definition_mut().unwrap().columns.get_mut("b").unwrap().not_null = true;
    b.alter().unwrap();
    a.alter().unwrap();
    assert!(a.definition().unwrap().columns.iter().all(|column| column.not_null), "theirs is seen");
    let mut stale = b;
    stale.refresh().unwrap();
    stale.definition_mut().unwrap().columns.get_mut("a").unwrap().name = "x".into();
    let mut fresh = mine.tables().get("t").unwrap();
    fresh.definition_mut().unwrap().columns.get_mut("a").unwrap().name = "y".into();
    fresh.alter().unwrap();
    assert!(stale.alter().unwrap_err().is_conflict());
}

#[test]
fn an_object_that_went_away_or_was_replaced_is_a_conflict() {
    let (mine, theirs) = two();
    for case in ["dropped", "replaced", "renamed"] {
        theirs.tables().create(Table::new("t")).unwrap();
        mine.tables().refresh();
        let mut object = mine.tables().get("t").unwrap();
        object.comment = Some("mine".into());
        let mut other = theirs.tables().get("t").unwrap();
        match case {
            "dropped" => other.drop().unwrap(),
            "replaced" => {
                other.drop().unwrap();
                theirs.tables().create(Table::new("t")).unwrap();
            }
            _ => {
                other.name = "elsewhere".into();
                other.alter().unwrap();
            }
        }
        conflict(object.alter().unwrap_err());
        conflict(object.clone().drop().unwrap_err());
        match case {
            "renamed" => {
                object.refresh().unwrap();
                assert_eq!(object.name, "elsewhere");
                object.drop().unwrap();
            }
            _ => assert!(matches!(object.refresh(), Err(Error::NotFound { .. })), "{case}"),
        }
        theirs.execute("DROP TABLE IF EXISTS t", &[]).unwrap();
    }
}

/// A statement that waits for a lock looks its name up again, and would hit another table.
#[test]
fn a_change_that_waited_does_not_hit_another_object() {
    let (mine, theirs) = two();
    mine.execute("CREATE TABLE t (); CREATE TABLE other ()", &[]).unwrap();
    for drop in [false, true] {
        let mut object = mine.tables().get("t").unwrap();
        let oid = object.oid();
        object.comment = Some("mine".into());
        theirs
            .execute(
                "BEGIN; ALTER TABLE t RENAME TO swap; ALTER TABLE other RENAME TO t; ALTER TABLE swap RENAME TO other",
                &[],
            )
            .unwrap();
        let waiting = thread::spawn(move || if drop { object.drop() } else { object.alter() });
        let statement = if drop { "DROP TABLE \"public\".\"t\"" } else { "COMMENT ON TABLE \"public\".\"t\"" };
        until_it_waits(theirs.current_database(), statement);
        theirs.execute("COMMIT", &[]).unwrap();
        conflict(waiting.join().unwrap().unwrap_err());
        mine.refresh();
        let tables: Vec<Object<Table>> = mine.tables().iter().unwrap().collect();
        assert!(tables.len() == 2 && tables.iter().all(|table| table.comment.is_none()), "nothing was hit");
        assert_eq!(mine.tables().get("other").unwrap().oid(), oid);
        theirs.refresh();
    }
}

#[test]
fn what_is_refused_for_concurrency_alone_is_tried_again() {
    let (mine, theirs) = two();
    let role = mine.roles().create(Role::new(unique("r"))).unwrap();
    // Two sessions that alter one role: the second gets XX000 when the first commits.
    let mut object = mine.roles().get(role.name.clone()).unwrap();
    object.connection_limit = 7;
    theirs.execute(&format!("BEGIN; ALTER ROLE {} CREATEDB", role.name), &[]).unwrap();
    let waiting = thread::spawn(move || {
        object.alter().unwrap();
        object
    });
    until_it_waits(theirs.current_database(), &format!("ALTER ROLE \"{}\"", role.name));
    theirs.execute("COMMIT", &[]).unwrap();
    let object = waiting.join().unwrap();
    assert!(object.create_database && object.connection_limit == 7);

    // A lock timeout is bounded.
    mine.tables().create(Table::new("t")).unwrap();
    mine.execute("SET lock_timeout = '30ms'", &[]).unwrap();
    theirs.execute("BEGIN; LOCK TABLE t", &[]).unwrap();
    let mut table = mine.tables().get("t").unwrap();
    table.comment = Some("x".into());
    assert_eq!(table.alter().unwrap_err().code().unwrap().code(), "55P03");
    theirs.execute("COMMIT", &[]).unwrap();
    table.alter().unwrap();
}

#[test]
fn p024_a_failing_alter_leaves_nothing_half_done() {
    let (mine, _) = two();
    mine.execute("CREATE TABLE t (a int); INSERT INTO t VALUES (NULL)", &[]).unwrap();
    let mut table = mine.tables().get("t").unwrap();
    table.comment = Some("x".into());
    table.name = "renamed".into();
    table.definition_mut().unwrap().columns.push(Column::new("more", "text"));
    table.definition_mut().unwrap().columns.get_mut("a").unwrap().not_null = true;
    let changes = table.changes().to_string();
    assert_eq!(table.alter().unwrap_err().code().unwrap().code(), "23502");
    assert_eq!(table.changes().to_string(), changes, "the changes are kept");
    let now = mine.tables().get("t").unwrap();
    assert!(now.comment.is_none() && now.definition().unwrap().columns.len() == 1);
    mine.execute("UPDATE t SET a = 1", &[]).unwrap();
    table.alter().unwrap();
    assert!(mine.tables().contains("renamed").unwrap());
    let mut schema = mine.schemas().create(Schema::new("app")).unwrap();
    schema.owner = "no such role".into();
    assert!(schema.alter().unwrap_err().is_not_found());
    assert!(schema.is_changed());
}

/// A snapshot of the transaction's beginning would hide that the statement hit another table.
#[test]
fn a_change_that_waited_is_checked_at_every_isolation_level() {
    let (mine, theirs) = two();
    mine.execute(
        "CREATE TABLE t (); CREATE TABLE other (); SET default_transaction_isolation = 'repeatable read'",
        &[],
    )
    .unwrap();
    let mut object = mine.tables().get("t").unwrap();
    object.comment = Some("mine".into());
    let swap = "BEGIN; ALTER TABLE t RENAME TO swap; ALTER TABLE other RENAME TO t; ALTER TABLE swap RENAME TO other";
    theirs.execute(swap, &[]).unwrap();
    let waiting = thread::spawn(move || object.alter());
    until_it_waits(theirs.current_database(), "COMMENT ON TABLE \"public\".\"t\"");
    theirs.execute("COMMIT", &[]).unwrap();
    conflict(waiting.join().unwrap().unwrap_err());
    mine.refresh();
    assert!(mine.tables().iter().unwrap().all(|table| table.comment.is_none()));
}
