//! What a statement of the user's undoes: objects know of it.
use crate::support::{connect, fresh, server, wait_until};
use pgsteward::testing::{TestServer, TestServerOptions};
use pgsteward::{Cluster, Column, Error, Object, Result, Schema};
use postgres::{Client, NoTls};
use std::thread;

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
        cluster.schemas().len().unwrap();
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
        cluster.schemas().len().unwrap();
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

#[test]
fn what_was_read_or_made_in_a_transaction_that_was_undone_is_not_believed() {
    let cluster = fresh();
    let (mut first, mut seen) = (schema(&cluster), Vec::new());
    cluster.schemas().len().unwrap();
    for ours in [true, false] {
        let mut work = || -> Result<()> {
            says(&mut first, "x");
            seen.extend([cluster.schemas().get("app")?, cluster.schemas().create(Schema::new("ghost"))?]);
            cluster.execute("SELECT 1/0", &[]).map(drop)
        };
        if ours {
            assert!(cluster.transaction(work).is_err());
        } else {
            cluster.execute("BEGIN", &[]).unwrap();
            assert!(work().is_err());
            cluster.execute("ROLLBACK", &[]).unwrap();
        }
        assert!(first.is_changed() && !cluster.schemas().contains("ghost").unwrap());
        assert_eq!(cluster.schemas().get("app").unwrap().comment, None);
    }
    for mut object in seen {
        let ghost = object.name == "ghost";
        object.comment = Some("x".into());
        assert!(object.is_changed() && object.changes().to_string().starts_with("-- refused"));
        for refused in [object.alter(), object.script().map(drop), object.clone().drop()] {
            assert!(matches!(&refused, Err(Error::Invalid { why, .. }) if why.contains("refresh()")), "{refused:?}");
        }
        assert_eq!(object.refresh().is_err(), ghost);
        assert!(ghost || object.comment.is_none() && !object.is_changed());
    }
}

#[test]
fn a_definition_read_in_a_transaction_that_was_undone_is_not_believed() {
    let cluster = fresh();
    cluster.execute("CREATE TABLE t (a int)", &[]).unwrap();
    let (mut mine, mut other) = (cluster.tables().get("t").unwrap(), cluster.tables().get("t").unwrap());
    let undone: Result<()> = cluster.transaction(|| {
        mine.definition_mut()?.columns.push(Column::new("z", "integer"));
        mine.alter()?;
        assert_eq!(other.definition()?.columns.len(), 2);
        cluster.execute("SELECT 1/0", &[]).map(drop)
    });
    assert!(undone.is_err() && mine.is_changed());
    assert!(matches!(other.definition(), Err(Error::Invalid { .. })) && other.script().is_err());
    other.refresh().unwrap();
    assert_eq!(other.definition().unwrap().columns.len(), 1);
    assert!(mine.alter().is_err(), "what it was compared with is not known");
    // Read before the transaction, it is.
    other.definition_mut().unwrap().columns.push(Column::new("z", "integer"));
    let undone: Result<()> = cluster.transaction(|| {
        other.alter()?;
        cluster.execute("SELECT 1/0", &[]).map(drop)
    });
    assert!(undone.is_err() && other.is_changed());
    other.alter().unwrap();
    mine.refresh().unwrap();
    assert_eq!(mine.definition().unwrap().columns.len(), 2);
}

#[test]
fn collections_forget_what_the_user_made_and_undid() {
    let cluster = fresh();
    cluster.execute("BEGIN; CREATE SCHEMA later", &[]).unwrap();
    assert_eq!(cluster.schemas().len().unwrap(), 2);
    cluster.execute("ROLLBACK", &[]).unwrap();
    assert!(!cluster.schemas().contains("later").unwrap());
}

#[test]
fn a_connection_handed_in_again_has_numbers_of_its_own() {
    let database = fresh();
    schema(&database);
    let mut client = Client::connect(&server().dsn_for(database.current_database(), "postgres"), NoTls).unwrap();
    for (end, left) in [("COMMIT", "3"), ("ROLLBACK", "3")] {
        client.batch_execute("BEGIN").unwrap();
        let cluster = Cluster::from_client(client).unwrap();
        let mut schema = cluster.schemas().get("app").unwrap();
        for comment in ["1", "2", "3"] {
            says(&mut schema, comment);
        }
        cluster.execute(end, &[]).unwrap();
        assert_eq!(schema.is_changed(), end == "ROLLBACK");
        assert_eq!(there(&database).as_deref(), Some(left));
        client = cluster.into_client().unwrap();
    }
}

#[test]
fn settings_that_are_reset_and_transactions_that_are_prepared_are_no_rollback_and_no_commit() {
    let cluster = fresh();
    let mut schema = schema(&cluster);
    cluster.execute("BEGIN", &[]).unwrap();
    says(&mut schema, "x");
    cluster.execute("RESET ALL", &[]).unwrap();
    cluster.execute("COMMIT", &[]).unwrap();
    assert!(!schema.is_changed());
    let prepared = TestServer::with(with_prepared_transactions()).unwrap();
    let cluster = Cluster::connect(&prepared.dsn()).unwrap();
    let mut schema = cluster.schemas().create(Schema::new("app")).unwrap();
    cluster.execute("BEGIN", &[]).unwrap();
    says(&mut schema, "x");
    cluster.execute("PREPARE TRANSACTION 'later'", &[]).unwrap();
    assert!(schema.is_changed(), "nobody knows what becomes of it");
    cluster.execute("ROLLBACK PREPARED 'later'", &[]).unwrap();
}

fn with_prepared_transactions() -> TestServerOptions {
    let mut options = TestServerOptions::new();
    options.settings.push(("max_prepared_transactions".into(), "2".into()));
    options
}

#[test]
fn a_closure_that_begins_another_transaction_is_no_success() {
    let cluster = fresh();
    let mut schema = schema(&cluster);
    for (end, kept) in [("ROLLBACK AND CHAIN", None), ("ROLLBACK; BEGIN", None), ("COMMIT AND CHAIN", Some("x"))] {
        for last in [Ok(()), Err(Error::NotFound { what: "x".into() })] {
            let result: Result<()> = cluster.transaction(|| {
                says(&mut schema, "x");
                cluster.execute(end, &[])?;
                last
            });
            assert!(result.is_err(), "{end}");
            assert_eq!((schema.is_changed(), there(&cluster).as_deref()), (kept.is_none(), kept), "{end}");
        }
    }
    assert!(
        cluster.transaction(|| cluster.execute("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", &[]).map(drop)).is_ok()
    );
    let committed: Result<()> = cluster.transaction(|| {
        says(&mut schema, "y");
        cluster.execute("COMMIT", &[]).map(drop)
    });
    assert!(committed.is_err() && !schema.is_changed());
    assert_eq!(there(&cluster).as_deref(), Some("y"));
}

#[test]
fn what_a_panic_leaves_is_looked_at() {
    let cluster = fresh();
    let mut schema = schema(&cluster);
    cluster.execute("BEGIN", &[]).unwrap();
    says(&mut schema, "x");
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        cluster.with_client(|client| -> std::result::Result<(), postgres::Error> {
            client.batch_execute("ROLLBACK")?;
            panic!("on purpose")
        })
    }));
    assert!(panicked.is_err() && schema.is_changed());
}

#[test]
fn a_commit_of_the_users_is_not_undone_by_what_comes_later() {
    let cluster = fresh();
    let other = connect(cluster.current_database(), "postgres");
    let mut schema = schema(&cluster);
    cluster.execute("BEGIN", &[]).unwrap();
    says(&mut schema, "x");
    cluster.execute("COMMIT", &[]).unwrap();
    let pid: i32 = cluster.execute("SELECT pg_backend_pid()", &[]).unwrap()[0].get(0);
    other.execute("SELECT pg_terminate_backend($1)", &[&pid]).unwrap();
    wait_until("the connection is known to be lost", || cluster.execute("SELECT 1", &[]).is_err());
    assert!(!schema.is_changed());
    cluster.execute("BEGIN", &[]).unwrap();
    says(&mut schema, "y");
    cluster.with_client(|client| client.batch_execute("SELECT 1")).unwrap();
    let pid: i32 = cluster.execute("SELECT pg_backend_pid()", &[]).unwrap()[0].get(0);
    let lost: Result<()> = cluster.with_client(|client| {
        other.execute("SELECT pg_terminate_backend($1)", &[&pid])?;
        wait_until("the connection is lost", || client.batch_execute("SELECT 1").is_err());
        Ok::<_, Error>(())
    });
    assert!(lost.is_err() && schema.is_changed());
}

#[test]
fn a_long_transaction_is_let_go_without_a_deep_stack() {
    let cluster = fresh();
    let mut schema = schema(&cluster);
    cluster
        .transaction(|| {
            for _ in 0..3000 {
                schema.refresh()?;
            }
            Ok(())
        })
        .unwrap();
    // On a stack that is too small for a call within a call for each.
    thread::Builder::new().stack_size(64 * 1024).spawn(move || drop(schema)).unwrap().join().unwrap();
}

/// A random walk: what an object says after `revert` is what the server has, as the same session sees it.
#[test]
fn objects_and_collections_agree_with_the_server_whatever_is_begun_and_undone() {
    let cluster = fresh();
    cluster.execute("CREATE SCHEMA app", &[]).unwrap();
    for seed in 1..=25 {
        let mut walk = Walk {
            cluster: connect(cluster.current_database(), "postgres"),
            schema: cluster.schemas().get("app").unwrap(),
            random: seed,
            steps: Vec::new(),
        };
        walk.schema = walk.cluster.schemas().get("app").unwrap();
        for _ in 0..40 {
            let _ = walk.step(0);
        }
    }
}

struct Walk {
    cluster: Cluster,
    schema: Object<Schema>,
    random: u64,
    steps: Vec<String>,
}

impl Walk {
    fn random(&mut self, below: u64) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % below
    }

    fn step(&mut self, depth: u32) -> Result<()> {
        let savepoint = ["a", "b"][usize::try_from(self.random(2)).unwrap()];
        let result = match self.random(18) {
            0 | 1 if depth == 0 => self.run("BEGIN"),
            2 if depth == 0 => self.run(["COMMIT", "COMMIT AND CHAIN"][usize::from(savepoint == "a")]),
            3 if depth == 0 => self.run(["ROLLBACK", "ROLLBACK AND CHAIN"][usize::from(savepoint == "a")]),
            4 | 5 => self.run(&format!("SAVEPOINT {savepoint}")),
            6 | 7 => self.run(&format!("ROLLBACK TO {savepoint}")),
            8 => self.run("SELECT 1/0"),
            9 => self.schema.refresh(),
            10 | 11 if depth < 3 => self.transaction(depth),
            12 => {
                self.cluster.schemas().refresh();
                self.cluster.schemas().len().map(drop)
            }
            _ => {
                self.schema.revert();
                self.schema.comment = Some(self.random(1000).to_string());
                self.steps.push(format!("{:?}", self.schema.comment));
                self.schema.alter()
            }
        };
        // Not always: a statement of the user's between two of the crate's own changes what is known.
        if self.random(2) == 0 {
            self.compare();
        }
        result
    }

    fn run(&mut self, sql: &str) -> Result<()> {
        self.steps.push(sql.into());
        self.cluster.execute(sql, &[]).map(drop)
    }

    fn transaction(&mut self, depth: u32) -> Result<()> {
        let (cluster, steps, fails) = (self.cluster.clone(), self.random(4), self.random(3) == 0);
        self.steps.push("{".into());
        let result = cluster.transaction(|| {
            (0..steps).try_for_each(|_| self.step(depth + 1))?;
            if fails { Err(Error::NotFound { what: "x".into() }) } else { Ok(()) }
        });
        self.steps.push("}".into());
        result
    }

    fn compare(&self) {
        let sql = "SELECT pg_catalog.obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = 'app'";
        // In a failed transaction the server does not say.
        let Ok(rows) = self.cluster.execute(sql, &[]) else { return };
        let (server, mut object) = (rows[0].get::<_, Option<String>>(0), self.schema.clone());
        object.revert();
        assert_eq!(object.comment, server, "{:?}", self.steps);
        assert_eq!(self.cluster.schemas().get("app").unwrap().comment, server, "{:?}", self.steps);
    }
}

#[test]
fn a_transaction_of_the_users_stays_his_after_one_inside_it() {
    let cluster = fresh();
    let mut schema = schema(&cluster);
    cluster.execute("BEGIN", &[]).unwrap();
    cluster
        .transaction(|| {
            says(&mut schema, "a");
            Ok(())
        })
        .unwrap();
    says(&mut schema, "b");
    assert_eq!(there(&cluster), None);
    cluster.execute("ROLLBACK", &[]).unwrap();
    assert!(there(&cluster).is_none() && schema.is_changed());
}

#[test]
fn what_is_done_in_a_transaction_that_the_closure_began_is_an_error() {
    let cluster = fresh();
    let mut schema = schema(&cluster);
    let result: Result<()> = cluster.transaction(|| {
        cluster.execute("COMMIT; BEGIN", &[])?;
        schema.comment = Some("x".into());
        schema.alter()
    });
    assert!(matches!(result, Err(Error::Invalid { .. })) && schema.is_changed());
    assert_eq!(there(&cluster), None);
    let mut schema = cluster.schemas().get("app").unwrap();
    says(&mut schema, "y");
}

#[test]
fn settings_can_be_reset_in_a_transaction() {
    let cluster = fresh();
    let mut schema = schema(&cluster);
    cluster
        .transaction(|| {
            says(&mut schema, "x");
            cluster.execute("RESET ALL", &[]).map(drop)
        })
        .unwrap();
    cluster.transaction(|| cluster.execute("RESET ALL", &[]).map(drop)).unwrap();
    cluster.plan(|c| c.execute("RESET ALL", &[]).map(drop)).unwrap().apply().unwrap();
    assert_eq!(there(&cluster).as_deref(), Some("x"));
}

#[test]
fn collections_forget_what_went_with_a_connection_at_once() {
    let cluster = fresh();
    let other = connect(cluster.current_database(), "postgres");
    cluster.schemas().len().unwrap();
    cluster.execute("BEGIN", &[]).unwrap();
    schema(&cluster);
    let pid: i32 = cluster.execute("SELECT pg_backend_pid()", &[]).unwrap()[0].get(0);
    other.execute("SELECT pg_terminate_backend($1)", &[&pid]).unwrap();
    wait_until("the connection is known to be lost", || cluster.execute("SELECT 1", &[]).is_err());
    assert_eq!(cluster.schemas().names().unwrap(), ["public"]);
}

#[test]
fn a_failed_transaction_leaves_what_was_read_outside_it_as_it_is() {
    let cluster = fresh();
    cluster.execute("CREATE TABLE t (a int)", &[]).unwrap();
    cluster.tables().len().unwrap();
    let mut table = cluster.tables().get("t").unwrap();
    let failed: Result<()> = cluster.transaction(|| {
        cluster.tables().get("t")?.definition()?;
        Err(Error::NotFound { what: "x".into() })
    });
    assert!(failed.is_err());
    table.comment = Some("x".into());
    table.alter().unwrap();
    assert_eq!(table.definition().unwrap().columns.len(), 1);
}

#[test]
fn a_collection_is_right_after_the_changes_of_two_threads() {
    let cluster = fresh();
    schema(&cluster);
    for round in 0..60 {
        cluster.schemas().len().unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut schema = cluster.schemas().get("app").unwrap();
                schema.comment = Some(format!("a{round}"));
                let _ = schema.alter();
            });
            scope.spawn(|| {
                cluster.transaction(|| {
                    let mut schema = cluster.schemas().get("app")?;
                    schema.refresh()?;
                    schema.comment = Some(format!("b{round}"));
                    schema.alter()
                })
            });
        });
        assert_eq!(cluster.schemas().get("app").unwrap().comment, there(&cluster), "{round}");
    }
}
