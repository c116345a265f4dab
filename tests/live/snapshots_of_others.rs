//! Snapshots that others made, changed, or take away.
use crate::support::{connect, fresh, unique, wait_until};
use pgsteward::snapshot::{Snapshot, SnapshotOptions, TablePattern};
use pgsteward::{Cluster, Error, Ident, sql};
use std::thread;

fn run(cluster: &Cluster, sql: &str) {
    cluster.execute(sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error}"));
}

fn number(cluster: &Cluster, sql: &str) -> i64 {
    cluster.execute(sql, &[]).unwrap()[0].get(0)
}

fn schema(snapshot: &Snapshot) -> String {
    sql!("{}", Ident(&snapshot.name)).to_string()
}

/// Waits until so many sessions wait for a lock.
fn waiting(cluster: &Cluster, count: i64) {
    let question = "SELECT count(*) FROM pg_locks WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    wait_until("somebody waits for a lock", || number(cluster, question) == count);
}

/// A role that may make schemas, and a snapshot of its table `app.t`; `app.f()` writes down who calls it.
struct Other {
    superuser: Cluster,
    owner: Cluster,
    role: String,
    snapshot: Snapshot,
}

impl Other {
    fn new() -> Self {
        let (superuser, role) = (fresh(), unique("other"));
        let database = superuser.current_database().to_owned();
        run(&superuser, &format!("CREATE ROLE {role} LOGIN; GRANT CREATE ON DATABASE {database} TO {role}"));
        let owner = connect(&database, &role);
        run(
            &owner,
            "CREATE SCHEMA app; CREATE TABLE app.t AS SELECT 1 AS n; CREATE TABLE app.canary (who text);
            CREATE FUNCTION app.f() RETURNS int LANGUAGE plpgsql AS $$ BEGIN
            INSERT INTO app.canary VALUES (current_user); RETURN 1; END $$",
        );
        let mut options = SnapshotOptions::new("");
        options.tables = vec![TablePattern::table(("app", "t"))];
        let snapshot = owner.snapshots().take(&options).unwrap();
        Self { superuser, owner, role, snapshot }
    }

    /// Runs something as a superuser in a thread of its own.
    fn look<R: Send + 'static>(&self, f: impl FnOnce(&Cluster) -> R + Send + 'static) -> thread::JoinHandle<R> {
        let database = self.superuser.current_database().to_owned();
        thread::spawn(move || f(&connect(&database, "postgres")))
    }

    fn calls(&self) -> i64 {
        number(&self.superuser, "SELECT count(*) FROM app.canary")
    }
}

#[test]
fn a_view_that_takes_the_place_of_a_table_while_it_is_waited_for_runs_nothing() {
    let other = Other::new();
    let schema = schema(&other.snapshot);
    run(&other.owner, "BEGIN");
    run(
        &other.owner,
        &format!(
            "ALTER TABLE {schema}.about RENAME TO gone; CREATE VIEW {schema}.about AS SELECT g.*, app.f() FROM {schema}.gone g"
        ),
    );
    let list = other.look(|cluster| cluster.snapshots().list());
    waiting(&other.superuser, 1);
    run(&other.owner, "COMMIT");
    assert!(list.join().unwrap().is_err());
    assert_eq!(other.calls(), 0);
    // From now on it is none.
    assert!(other.superuser.snapshots().list().unwrap().is_empty());

    let other = Other::new();
    let (name, schema) = (other.snapshot.name.clone(), self::schema(&other.snapshot));
    let holder = connect(other.superuser.current_database(), &other.role);
    run(&holder, "BEGIN; LOCK TABLE app.t IN ACCESS EXCLUSIVE MODE");
    let compare = other.look(move |cluster| {
        cluster.execute("SET application_name = 'looks'", &[]).unwrap();
        cluster.snapshots().compare(&name)
    });
    waiting(&other.superuser, 1);
    // The moment that is compared comes before the view does, the lock on the copy after it.
    run(&other.owner, "BEGIN");
    run(&other.owner, &format!("DROP TABLE {schema}.\"1\"; CREATE VIEW {schema}.\"1\" AS SELECT app.f() AS n"));
    run(&holder, "COMMIT");
    let at_the_copy = "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE NOT granted \
        AND application_name = 'looks' AND relation <> 'app.t'::regclass";
    wait_until("the copy is waited for", || number(&other.superuser, at_the_copy) == 1);
    run(&other.owner, "COMMIT");
    assert!(compare.join().unwrap().is_err());
    assert_eq!(other.calls(), 0);
}

#[test]
fn what_only_looks_like_a_snapshot_keeps_nobody_from_the_others() {
    let other = Other::new();
    let name = "pgsteward_snapshot_none";
    run(
        &other.owner,
        &format!(
            "CREATE SCHEMA {name}; CREATE TABLE {name}.about (form text); CREATE TABLE {name}.tables (); \
            CREATE TABLE {name}.columns (); CREATE TABLE {name}.sequences ()"
        ),
    );
    let snapshots = other.superuser.snapshots();
    assert_eq!(snapshots.list().unwrap(), std::slice::from_ref(&other.snapshot));
    assert!(snapshots.get(name).unwrap_err().is_not_found());
    // One who may look into the schema, and into no table of it.
    let guest = unique("guest");
    run(
        &other.superuser,
        &format!("CREATE ROLE {guest} LOGIN; GRANT USAGE ON SCHEMA {} TO {guest}", schema(&other.snapshot)),
    );
    assert!(connect(other.superuser.current_database(), &guest).snapshots().list().unwrap().is_empty());
}

#[test]
fn snapshots_are_listed_while_others_come_and_go() {
    let cluster = fresh();
    run(&cluster, "CREATE TABLE a ()");
    let database = cluster.current_database().to_owned();
    let worker = thread::spawn(move || {
        let cluster = connect(&database, "postgres");
        for _ in 0..40 {
            let snapshot = cluster.snapshots().take(&SnapshotOptions::new("")).unwrap();
            cluster.snapshots().drop(&snapshot.name).unwrap();
        }
    });
    while !worker.is_finished() {
        cluster.snapshots().list().unwrap();
        // In a transaction of one's own, which goes on.
        let count = cluster.transaction(|| {
            cluster.snapshots().list()?;
            Ok(number(&cluster, "SELECT count(*) FROM a"))
        });
        assert_eq!(count.unwrap(), 0);
    }
    worker.join().unwrap();
    let settings = "SELECT count(*) FROM pg_settings WHERE name IN ('row_security', 'restrict_nonsystem_relation_kind') \
        AND setting IS DISTINCT FROM boot_val";
    run(&cluster, "CREATE VIEW v AS SELECT 1; BEGIN");
    cluster.snapshots().take(&SnapshotOptions::new("")).unwrap();
    cluster.snapshots().list().unwrap();
    assert_eq!(number(&cluster, settings), 0);
    run(&cluster, "TABLE v");
    run(&cluster, "COMMIT");
}

#[test]
fn a_snapshot_that_has_lost_rows_is_not_reverted_to() {
    let other = Other::new();
    run(&other.owner, &format!("DELETE FROM {}.\"1\"", schema(&other.snapshot)));
    let revert = pgsteward::snapshot::RevertOptions::new();
    let error = other.owner.snapshots().revert(&other.snapshot.name, &revert).unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }), "{error}");
    assert!(error.to_string().contains("app.t has 0 rows, and should have 1"), "{error}");
    assert_eq!(number(&other.owner, "SELECT count(*) FROM app.t"), 1);
}

#[test]
fn what_a_plan_prints_is_all_or_nothing_too_and_no_policy_hides_rows_from_it() {
    let other = Other::new();
    run(&other.owner, "UPDATE app.t SET n = 2; ALTER TABLE app.t ADD CHECK (n > 1)");
    let name = other.snapshot.name.clone();
    let revert = pgsteward::snapshot::RevertOptions::new();
    let plan = other.owner.plan(|c| c.snapshots().revert(&name, &revert)).unwrap();
    // As psql goes on after an error.
    let failed = plan.script().statements().filter(|sql| other.owner.execute(&sql.to_string(), &[]).is_err()).count();
    assert!(failed > 0);
    assert_eq!(number(&other.owner, "SELECT sum(n) FROM app.t"), 2);
    assert_eq!(other.owner.snapshots().list().unwrap().len(), 1);

    run(&other.owner, "ALTER TABLE app.t ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY");
    let mut options = SnapshotOptions::new("");
    options.schemas = vec!["app".into()];
    let plan = other.owner.plan(|c| c.snapshots().take(&options)).unwrap();
    let failed = plan.script().statements().filter(|sql| other.owner.execute(&sql.to_string(), &[]).is_err()).count();
    assert!(failed > 0);
    assert_eq!(other.owner.snapshots().list().unwrap().len(), 1);
}
