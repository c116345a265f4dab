//! What a statement of the user's undoes: objects know of it.
use crate::support::{connect, fresh, server, wait_until};
use pgsteward::{Cluster, Error, Object, Result, Schema};
use postgres::{Client, NoTls};

fn schema(cluster: &Cluster) -> Object<Schema> {
    cluster.schemas().create(Schema::new("app")).unwrap()
}

/// Saves a comment.
fn says(schema: &mut Object<Schema>, comment: &str) {
    schema.comment = Some(comment.into());
    schema.alter().unwrap();
    assert!(!schema.is_changed());
}

/// What the server has.
fn there(cluster: &Cluster) -> Option<String> {
    let other = connect(cluster.current_database(), "postgres");
    other.schemas().get("app").unwrap().comment.clone()
}

#[test]
fn an_object_saved_in_a_transaction_that_the_user_rolls_back_is_changed_again() {
    for (begin, end) in [
        ("BEGIN", "ROLLBACK"),
        ("START TRANSACTION ISOLATION LEVEL REPEATABLE READ", "abort"),
        ("BEGIN; SET LOCAL work_mem = '1MB'", "ROLLBACK AND CHAIN; COMMIT"),
        ("BEGIN", "ROLLBACK; CREATE TABLE t (); DROP TABLE t"),
        ("SET application_name = 'x'; BEGIN", "SELECT 'RELEASE'; ROLLBACK;"),
    ] {
        let cluster = fresh();
        let mut schema = schema(&cluster);
        cluster.execute(begin, &[]).unwrap();
        says(&mut schema, "x");
        cluster.execute("SELECT 1", &[]).unwrap();
        schema.refresh().unwrap();
        assert!(!schema.is_changed());
        cluster.execute(end, &[]).unwrap();
        assert_eq!(schema.changes().to_string(), "COMMENT ON SCHEMA \"app\" IS 'x';\n", "{end}");
        assert_eq!(cluster.schemas().get("app").unwrap().comment, None);
        schema.alter().unwrap();
        assert_eq!(there(&cluster).as_deref(), Some("x"));
    }
}

#[test]
fn an_object_saved_in_a_transaction_that_the_user_commits_is_saved() {
    let cluster = fresh();
    let mut schema = schema(&cluster);
    cluster.execute("BEGIN", &[]).unwrap();
    says(&mut schema, "x");
    cluster.execute("COMMIT AND CHAIN; -- and chain", &[]).unwrap();
    says(&mut schema, "y");
    cluster.execute("ROLLBACK", &[]).unwrap();
    assert_eq!(schema.changes().to_string(), "COMMENT ON SCHEMA \"app\" IS 'y';\n");
    schema.revert();
    assert_eq!((schema.comment.as_deref(), there(&cluster).as_deref()), (Some("x"), Some("x")));
    cluster.execute("BEGIN", &[]).unwrap();
    says(&mut schema, "z");
    cluster.execute("END", &[]).unwrap();
    // What is undone later is not this.
    cluster.execute("BEGIN", &[]).unwrap();
    cluster.execute("ROLLBACK", &[]).unwrap();
    assert!(!schema.is_changed());
    assert_eq!(there(&cluster).as_deref(), Some("z"));
}

#[test]
fn savepoints_of_the_user_undo_what_came_after_them_alone() {
    for ours in [false, true] {
        let cluster = fresh();
        let mut schema = schema(&cluster);
        let work = || -> Result<()> {
            says(&mut schema, "kept");
            cluster.execute("SAVEPOINT a", &[])?;
            says(&mut schema, "first");
            cluster.transaction(|| {
                says(&mut schema, "second");
                Ok(())
            })?;
            cluster.execute("ROLLBACK TO a", &[])?;
            assert_eq!(schema.changes().len(), 1);
            schema.revert();
            assert_eq!(schema.comment.as_deref(), Some("kept"));
            assert_eq!(cluster.schemas().get("app")?.comment.as_deref(), Some("kept"));
            says(&mut schema, "third");
            cluster.execute("ROLLBACK TO a; RELEASE a", &[])?;
            assert_eq!(schema.changes().len(), 1);
            schema.revert();
            cluster.execute("SELECT 1/0", &[]).map(drop).or(Ok(()))
        };
        if ours {
            assert!(cluster.transaction(work).is_err(), "the last statement failed it");
        } else {
            cluster.execute("BEGIN", &[]).unwrap();
            let mut work = work;
            work().unwrap();
            cluster.execute("COMMIT", &[]).unwrap();
        }
        assert_eq!(there(&cluster), None);
        assert_eq!(schema.to_value().comment.as_deref(), Some("kept"));
        assert!(schema.is_changed());
        schema.alter().unwrap();
        assert_eq!(there(&cluster).as_deref(), Some("kept"));
    }
}

#[test]
fn a_commit_that_fails_undoes() {
    let cluster = fresh();
    let mut schema = schema(&cluster);
    cluster
        .execute(
            "CREATE TABLE t (a int UNIQUE DEFERRABLE INITIALLY DEFERRED); BEGIN; INSERT INTO t VALUES (1), (1)",
            &[],
        )
        .unwrap();
    says(&mut schema, "x");
    assert!(cluster.execute("COMMIT", &[]).is_err());
    assert!(schema.is_changed());
    assert_eq!(there(&cluster), None);
}

#[test]
fn p019_a_connection_handed_in_inside_a_transaction_tells_what_became_of_it() {
    let database = fresh();
    let mut theirs = schema(&database);
    says(&mut theirs, "before");
    let begun = || {
        let mut client = Client::connect(&server().dsn_for(database.current_database(), "postgres"), NoTls).unwrap();
        client.batch_execute("BEGIN").unwrap();
        Cluster::from_client(client).unwrap()
    };
    let cluster = begun();
    let mut schema = cluster.schemas().get("app").unwrap();
    says(&mut schema, "x");
    cluster.execute("ROLLBACK", &[]).unwrap();
    assert!(schema.is_changed());

    // The closure that ends the transaction around it is told so, and the object too.
    let cluster = begun();
    let mut schema = cluster.schemas().get("app").unwrap();
    says(&mut schema, "x");
    let ended: Result<()> = cluster.with_client(|client| client.batch_execute("ROLLBACK"));
    assert!(matches!(ended, Err(Error::Invalid { .. })));
    assert!(schema.is_changed());

    // Nobody knows what becomes of it once the connection was given back.
    let cluster = begun();
    let mut schema = cluster.schemas().get("app").unwrap();
    says(&mut schema, "x");
    cluster.into_client().unwrap().batch_execute("ROLLBACK").unwrap();
    assert!(schema.is_changed());
    assert_eq!(there(&database).as_deref(), Some("before"));
}

#[test]
fn a_connection_that_was_lost_undoes() {
    let cluster = fresh();
    let other = connect(cluster.current_database(), "postgres");
    let mut schema = schema(&cluster);
    cluster.execute("BEGIN", &[]).unwrap();
    says(&mut schema, "x");
    let pid: i32 = cluster.execute("SELECT pg_backend_pid()", &[]).unwrap()[0].get(0);
    other.execute("SELECT pg_terminate_backend($1)", &[&pid]).unwrap();
    wait_until("the connection is known to be lost", || cluster.execute("SELECT 1", &[]).is_err());
    assert!(schema.is_changed());
    schema.alter().unwrap();
    assert_eq!(there(&cluster).as_deref(), Some("x"));
}
