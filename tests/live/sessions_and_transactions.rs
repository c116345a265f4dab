//! Connecting, losing connections, settings, transactions.
use crate::support::{connect, fresh, server, unique, wait_until};
use pgsteward::testing::{TestServer, TestServerOptions};
use pgsteward::{Cluster, ConnectOptions, Error, Object, Result, Role, Schema, Script, Sql, Table, sql};
use postgres::{Client, Config, NoTls};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

fn value(cluster: &Cluster, sql: &str) -> String {
    cluster.execute(sql, &[]).unwrap()[0].get(0)
}

fn client(database: &str) -> Client {
    Client::connect(&server().dsn_for(database, "postgres"), NoTls).unwrap()
}

#[test]
fn p001_connects_by_parameters_or_configuration_and_becomes_a_role() {
    let database = fresh();
    let role = database.roles().create(Role::new(unique("r"))).unwrap();
    let config: Config = server().dsn_for(database.current_database(), "postgres").parse().unwrap();
    let mut options = ConnectOptions::new();
    options.role = Some(role.name.clone());
    let cluster = Cluster::connect_with(config, options).unwrap();
    assert_eq!(value(&cluster, "SELECT current_user::text"), role.name);
    // Again after the connection was lost, and in another database.
    let pid = value(&cluster, "SELECT pg_backend_pid()::text");
    database.execute(&format!("SELECT pg_terminate_backend({pid})"), &[]).unwrap();
    wait_until("it is connected again", || cluster.execute("SELECT 1", &[]).is_ok());
    assert_eq!(value(&cluster, "SELECT current_user::text"), role.name);
    assert_eq!(value(&cluster.database("postgres").unwrap(), "SELECT current_user::text"), role.name);
}

#[test]
fn p002_knows_its_database_and_version() {
    let cluster = fresh();
    assert_eq!(cluster.current_database(), value(&cluster, "SELECT current_database()::text"));
    assert_eq!(cluster.version().major(), server().major());
    assert!(!cluster.version().at_least(99));
}

#[test]
fn p002_a_server_that_is_too_old_is_refused() {
    let Some(bin) = std::env::var_os("PGSTEWARD_OLD_PG_BIN") else {
        println!("SKIPPED: PGSTEWARD_OLD_PG_BIN names no server that is too old");
        return;
    };
    let mut options = TestServerOptions::new();
    options.bin = Some(bin.into());
    let old = TestServer::with(options).unwrap();
    let error = Cluster::connect(&old.dsn()).unwrap_err();
    assert!(matches!(&error, Error::Unsupported { needs, .. } if needs.contains("PostgreSQL 12")), "{error}");
    let client = Client::connect(&old.dsn(), NoTls).unwrap();
    assert!(matches!(Cluster::from_client(client), Err(Error::Unsupported { .. })));
}

#[test]
fn connecting_fails_in_words() {
    for (wrong, words) in [
        ("host", "invalid connection parameters"),
        ("nonsense=1", "invalid connection parameters"),
        ("host=x password=word geheim=x", "invalid connection parameters"),
        ("host=x password=word geheim", "invalid connection parameters"),
        ("host=x service=no_such_service", "service \"no_such_service\""),
        (
            "host=127.0.0.1 sslmode=verify-full sslrootcert=/nowhere",
            "root certificate file \"/nowhere\" does not exist",
        ),
        ("host=x require_auth=md5", "require_auth is not supported"),
        ("host=/nowhere user=x", "cannot connect to host=/nowhere"),
        ("host=127.0.0.1 port=1 user=x password=geheim", "cannot connect to host=127.0.0.1 port=1"),
    ] {
        let error = Cluster::connect(wrong).unwrap_err().to_string();
        assert!(error.contains(words) && !error.contains("geheim"), "{error}");
    }
    let error = Cluster::connect(&server().dsn_for("no such database", "postgres")).unwrap_err();
    assert!(error.is_not_found(), "{error}");
    let error = Cluster::connect(&server().dsn_for("postgres", "nobody at all")).unwrap_err();
    assert_eq!(error.code().unwrap().code(), "28000", "{error}");
}

#[test]
fn a_silent_server_does_not_hang_connecting() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let accepted = listener.accept();
        let _ = receiver.recv();
        drop(accepted);
    });
    let started = Instant::now();
    let error = Cluster::connect(&format!("host=127.0.0.1 port={port} user=x connect_timeout=1")).unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(10));
    assert!(matches!(&error, Error::Connection { reason, .. } if reason.contains("connect_timeout")), "{error}");
    sender.send(()).unwrap();
}

#[test]
fn a_lost_connection_is_an_error_that_says_so_and_the_next_call_connects_anew() {
    let cluster = fresh();
    let other = connect(cluster.current_database(), "postgres");
    let kill = || {
        let pid = value(&cluster, "SELECT pg_backend_pid()::text");
        let sql = format!("SELECT pg_terminate_backend({pid})::text");
        assert_eq!(value(&other, &sql), "true");
        let sql = format!("SELECT count(*)::text FROM pg_stat_activity WHERE pid = {pid}");
        wait_until("the session is gone", || value(&other, &sql) == "0");
    };
    kill();
    let error = cluster.tables().len().unwrap_err();
    assert!(matches!(error, Error::Connection { .. }), "{error}");
    assert_eq!(cluster.tables().len().unwrap(), 0);

    // Never inside a transaction: what was done before would be missing.
    let error = cluster
        .transaction(|| {
            cluster.schemas().create(Schema::new("lost"))?;
            kill();
            assert!(cluster.execute("SELECT 1", &[]).is_err());
            assert!(matches!(cluster.execute("SELECT 1", &[]), Err(Error::Connection { .. })));
            Ok(())
        })
        .unwrap_err();
    assert!(matches!(error, Error::Connection { .. }), "{error}");
    assert!(!cluster.schemas().contains("lost").unwrap());
}

#[test]
fn what_the_user_runs_has_the_connections_own_settings() {
    let cluster = fresh();
    cluster.execute("CREATE TABLE t (a int)", &[]).unwrap();
    assert!(cluster.tables().contains("public.t").unwrap());
    cluster.schemas().create(Schema::new("app")).unwrap();
    cluster.execute("SET search_path = app; SET datestyle = 'German'", &[]).unwrap();
    cluster.tables().refresh();
    assert!(!cluster.tables().contains("app.t").unwrap());
    cluster.execute("CREATE TABLE t (a int)", &[]).unwrap();
    cluster.tables().refresh();
    assert!(cluster.tables().contains("app.t").unwrap());
    assert_eq!(value(&cluster, "SHOW search_path"), "app");
    assert_eq!(value(&cluster, "SHOW datestyle"), "German, DMY");
}

#[test]
fn settings_of_a_transaction_end_with_it_and_those_of_the_session_stay() {
    let cluster = fresh();
    cluster.schemas().create(Schema::new("app")).unwrap();
    cluster
        .transaction(|| {
            cluster.execute("SET LOCAL search_path = app", &[])?;
            cluster.execute("SET datestyle = 'German'", &[])?;
            cluster.schemas().create(Schema::new("more"))?;
            assert_eq!(value(&cluster, "SHOW search_path"), "app");
            Ok(())
        })
        .unwrap();
    assert_eq!(value(&cluster, "SHOW search_path"), "\"$user\", public");
    assert_eq!(value(&cluster, "SHOW datestyle"), "German, DMY");
    assert_eq!(cluster.tables().len().unwrap(), 0);
    assert_eq!(value(&cluster, "SHOW datestyle"), "German, DMY");
}

#[test]
fn p007_falsy_parameters_reach_the_server_as_given() {
    let cluster = fresh();
    let row = &cluster
        .execute(
            "SELECT $1::int4 = 0, $2::bool = false, $3::text = '', $4::text[] = '{}', $5::text IS NULL",
            &[&0, &false, &"", &Vec::<String>::new(), &None::<String>],
        )
        .unwrap()[0];
    assert!((0..5).all(|column| row.get::<_, bool>(column)));
}

#[test]
fn p006_execute_takes_parameters_and_returns_rows() {
    let cluster = fresh();
    assert!(cluster.execute("SELECT 1 WHERE false", &[]).unwrap().is_empty());
    let names = vec!["postgres", "template1"];
    let rows =
        cluster.execute("SELECT datname FROM pg_database WHERE datname = ANY($1) ORDER BY 1", &[&names]).unwrap();
    assert_eq!(rows.len(), 2);
    let wrong = cluster.execute("SELECT $1::int4", &[&"text"]).unwrap_err();
    assert!(matches!(wrong, Error::Invalid { .. }), "{wrong}");
    assert!(cluster.execute("SELECT 1; SELECT 2", &[]).unwrap().is_empty());
    assert_eq!(value(&cluster, "SELECT 'a;b';"), "a;b");
}

#[test]
fn several_statements_inside_a_transaction_do_not_end_it() {
    let cluster = fresh();
    cluster
        .transaction(|| {
            cluster.execute("CREATE TABLE a (); CREATE TABLE b ()", &[])?;
            cluster.execute("SELECT 'x;y'", &[]).map(drop)
        })
        .unwrap();
    assert_eq!(cluster.tables().len().unwrap(), 2);
    let failed = cluster.execute("CREATE TABLE c (); SELECT 1/0", &[]);
    assert_eq!(failed.unwrap_err().code().unwrap().code(), "22012");
    cluster.refresh();
    assert_eq!(cluster.tables().len().unwrap(), 2);
}

#[test]
fn copy_without_its_data_is_refused_before_it_is_sent() {
    let cluster = fresh();
    cluster.execute("CREATE TABLE t (a int)", &[]).unwrap();
    cluster
        .transaction(|| {
            cluster.execute("INSERT INTO t VALUES (1)", &[])?;
            let script = Script::from(Sql::trusted("COPY t FROM STDIN"));
            for refused in [cluster.execute("copy t from stdin", &[]).map(drop), cluster.run(&script)] {
                let error = refused.unwrap_err();
                assert!(matches!(error, Error::Invalid { .. }) && error.to_string().contains("copy_in"), "{error}");
            }
            Ok(())
        })
        .unwrap();
    assert_eq!(value(&cluster, "SELECT count(*)::text FROM t"), "1");
}

#[test]
fn p008_the_drivers_client_commits_on_success_and_rolls_back_on_error() {
    let cluster = fresh();
    cluster.with_client(|client| client.batch_execute("CREATE TABLE kept (a int)")).unwrap();
    let failed: Result<()> = cluster.with_client(|client| {
        client.batch_execute("CREATE TABLE lost (a int)")?;
        client.batch_execute("SELECT 1/0")
    });
    assert_eq!(failed.unwrap_err().code().unwrap().code(), "22012");
    assert_eq!(cluster.tables().names().unwrap().len(), 1);
    let inside: Result<()> = cluster.with_client(|_| cluster.execute("SELECT 1", &[]).map(drop));
    assert!(matches!(inside, Err(Error::Invalid { .. })));
    assert!(cluster.execute("SELECT 1", &[]).is_ok());
}

#[test]
fn transactions_nest_and_objects_know_what_was_undone() {
    let cluster = fresh();
    let mut schema = cluster.schemas().create(Schema::new("app")).unwrap();
    let undone: Result<()> = cluster.transaction(|| {
        schema.comment = Some("outer".into());
        schema.alter()?;
        let inner: Result<()> = cluster.transaction(|| {
            schema.name = "renamed".into();
            schema.alter()?;
            assert!(!schema.is_changed());
            assert!(cluster.schemas().contains("renamed")?);
            Err(Error::NotFound { what: "x".into() })
        });
        assert!(inner.is_err());
        assert!(schema.is_changed(), "the inner change was undone");
        assert!(cluster.schemas().contains("app")?);
        schema.alter()?;
        assert!(!schema.is_changed());
        cluster.execute("SELECT 1/0", &[]).map(drop)
    });
    assert!(undone.is_err());
    assert_eq!(schema.changes().len(), 2, "{}", schema.changes());
    assert!(cluster.schemas().contains("app").unwrap() && !cluster.schemas().contains("renamed").unwrap());
    schema.alter().unwrap();
    assert_eq!(cluster.schemas().get("renamed").unwrap().comment.as_deref(), Some("outer"));
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        cluster.transaction(|| -> Result<()> {
            cluster.tables().create(Table::new("lost"))?;
            panic!("on purpose")
        })
    }));
    assert!(panicked.is_err());
    assert!(!cluster.tables().contains("lost").unwrap());
}

#[test]
fn a_transaction_whose_failure_was_ignored_is_no_success() {
    let cluster = fresh();
    let result = cluster.transaction(|| {
        cluster.execute("CREATE TABLE lost ()", &[])?;
        let _ = cluster.execute("SELECT 1/0", &[]);
        Ok(())
    });
    assert_eq!(result.unwrap_err().code().unwrap().code(), "25P02");
    assert!(!cluster.tables().contains("lost").unwrap());
    // A refused change of the crate's own is taken back alone.
    cluster
        .transaction(|| {
            cluster.schemas().create(Schema::new("kept"))?;
            assert!(cluster.schemas().create(Schema::new("kept")).is_err());
            cluster.schemas().create(Schema::new("too")).map(drop)
        })
        .unwrap();
    assert!(cluster.schemas().contains("kept").unwrap() && cluster.schemas().contains("too").unwrap());
}

#[test]
fn p019_a_connection_handed_in_keeps_its_transaction_role_and_settings() {
    let database = fresh();
    let role = database.roles().create(Role::new(unique("r"))).unwrap();
    let mut client = client(database.current_database());
    client.batch_execute("CREATE SCHEMA app; SET search_path = app; BEGIN; CREATE TABLE before ()").unwrap();
    let cluster = Cluster::from_client(client).unwrap();
    assert!(cluster.tables().contains("app.before").unwrap());
    let mut table = cluster.tables().create(Table::new("app.made")).unwrap();
    table.comment = Some("x".into());
    table.alter().unwrap();
    let failed: Result<()> = cluster.transaction(|| cluster.execute("SELECT 1/0", &[]).map(drop));
    assert!(failed.is_err());
    assert!(matches!(cluster.database("postgres"), Err(Error::Unsupported { .. })));
    let mut client = cluster.clone().into_client().unwrap();
    assert!(matches!(cluster.tables().len(), Err(Error::Connection { .. })), "it was given back");
    assert_eq!(client.query_one("SHOW search_path", &[]).unwrap().get::<_, String>(0), "app");
    assert_eq!(database.tables().len().unwrap(), 0, "the transaction is still open");
    client.batch_execute("COMMIT").unwrap();
    database.refresh();
    assert_eq!(database.tables().len().unwrap(), 2);

    client.batch_execute(&format!("SET ROLE {}", role.name)).unwrap();
    let cluster = Cluster::from_client(client).unwrap();
    assert_eq!(cluster.roles().get("postgres").unwrap().name, "postgres");
    assert_eq!(value(&cluster, "SELECT current_user::text"), role.name);
}

#[test]
fn a_transaction_begun_by_a_statement_is_left_to_the_user() {
    let cluster = fresh();
    cluster.execute("BEGIN", &[]).unwrap();
    let mut schema = cluster.schemas().create(Schema::new("app")).unwrap();
    schema.comment = Some("x".into());
    schema.alter().unwrap();
    cluster.execute("ROLLBACK", &[]).unwrap();
    cluster.refresh();
    assert!(!cluster.schemas().contains("app").unwrap());
    assert_eq!(value(&cluster, "SHOW search_path"), "\"$user\", public");
}

#[test]
fn one_thread_waits_for_the_transaction_of_another() {
    let cluster = fresh();
    let (began, wait) = mpsc::channel();
    let other = cluster.clone();
    let thread = thread::spawn(move || {
        other.transaction(|| {
            other.schemas().create(Schema::new("lost"))?;
            began.send(()).unwrap();
            // The other thread is waiting, or about to; either way it must not see this.
            thread::yield_now();
            Err::<(), _>(Error::NotFound { what: "nothing".into() })
        })
    });
    wait.recv().unwrap();
    assert!(!cluster.schemas().contains("lost").unwrap());
    assert!(thread.join().unwrap().is_err());
}

#[test]
fn threads_do_not_meet_in_each_others_settings() {
    let cluster = fresh();
    cluster
        .execute("CREATE SCHEMA app; CREATE VIEW app.v AS SELECT 1 AS a; SET search_path = app, public", &[])
        .unwrap();
    let mut view = cluster.views().get("app.v").unwrap();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    cluster.execute("SELECT 1", &[]).unwrap();
                    cluster.schemas().refresh();
                    cluster.schemas().contains("app").unwrap();
                }
            });
        }
        let works = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for round in 0..150 {
                view.definition_mut().unwrap().query = sql!("SELECT {} AS a", round);
                view.alter().unwrap();
                let path = format!("app, s{round}");
                let set = format!("SET search_path = {path}");
                cluster.transaction(|| cluster.execute(&set, &[]).map(drop)).unwrap();
                assert_eq!(value(&cluster, "SHOW search_path"), path);
            }
        }));
        stop.store(true, Ordering::Relaxed);
        works.unwrap();
    });
}

#[test]
fn one_thread_does_not_see_what_another_has_not_committed() {
    let cluster = fresh();
    let mut schema = cluster.schemas().create(Schema::new("app")).unwrap();
    cluster.schemas().len().unwrap();
    let (changed, wait) = mpsc::channel();
    thread::scope(|scope| {
        let cluster = &cluster;
        let reader = scope.spawn(move || {
            wait.recv().unwrap();
            cluster.schemas().get("app").unwrap().comment.clone()
        });
        let undone: Result<()> = cluster.transaction(|| {
            schema.comment = Some("x".into());
            schema.alter()?;
            changed.send(()).unwrap();
            thread::yield_now();
            cluster.execute("SELECT pg_sleep(0.05), 1/0", &[]).map(drop)
        });
        assert!(undone.is_err());
        assert_eq!(reader.join().unwrap(), None);
    });
}

#[test]
fn a_failed_transaction_of_the_users_is_ended_after_any_other_statement() {
    let cluster = fresh();
    cluster.execute("CREATE SEQUENCE s; SET search_path = pg_catalog, public", &[]).unwrap();
    let sequence = cluster.sequences().get("s").unwrap();
    cluster.execute("BEGIN", &[]).unwrap();
    assert!(sequence.currval().is_err());
    assert!(cluster.execute("SELECT 1", &[]).is_err());
    assert!(cluster.schemas().len().is_err());
    cluster.execute("ROLLBACK", &[]).unwrap();
    assert_eq!(value(&cluster, "SHOW search_path"), "pg_catalog, public");
}

#[test]
fn settings_survive_a_closure_that_ended_its_transaction() {
    let cluster = fresh();
    cluster.execute("SET search_path = mine, public", &[]).unwrap();
    for end in ["COMMIT", "ROLLBACK"] {
        let ended = cluster.transaction(|| {
            cluster.execute(end, &[])?;
            cluster.schemas().len()
        });
        assert!(matches!(ended, Err(Error::Invalid { .. })));
        assert_eq!(value(&cluster, "SHOW search_path"), "mine, public");
        cluster.schemas().refresh();
        cluster.schemas().len().unwrap();
        assert_eq!(value(&cluster, "SHOW search_path"), "mine, public");
    }
}

#[test]
fn p005_refresh_reads_everything_anew() {
    let cluster = fresh();
    let other = connect(cluster.current_database(), "postgres");
    assert_eq!(cluster.schemas().names().unwrap(), ["public"]);
    other.schemas().create(Schema::new("app")).unwrap();
    other.tables().create(Table::new("app.t")).unwrap();
    assert_eq!((cluster.schemas().len().unwrap(), cluster.tables().len().unwrap()), (1, 1));
    cluster.refresh();
    assert_eq!((cluster.schemas().len().unwrap(), cluster.tables().len().unwrap()), (2, 1));
    let _: Vec<Object<Table>> = cluster.tables().matching(&regex::Regex::new(r"^app\.").unwrap()).unwrap();
}

#[test]
fn a_failed_transaction_of_the_users_own_can_be_ended() {
    let cluster = fresh();
    cluster.execute("CREATE SEQUENCE s; SET search_path = pg_catalog, public", &[]).unwrap();
    let sequence = cluster.sequences().get("s").unwrap();
    cluster.execute("BEGIN", &[]).unwrap();
    assert!(sequence.currval().is_err());
    cluster.execute("ROLLBACK", &[]).unwrap();
    assert_eq!(value(&cluster, "SHOW search_path"), "pg_catalog, public");
    cluster
        .transaction(|| {
            cluster.execute("SAVEPOINT a", &[])?;
            assert!(sequence.currval().is_err());
            cluster.execute("ROLLBACK TO a", &[])?;
            assert_eq!(value(&cluster, "SHOW search_path"), "pg_catalog, public");
            cluster.schemas().create(Schema::new("kept")).map(drop)
        })
        .unwrap();
    assert!(cluster.schemas().contains("kept").unwrap());
    assert_eq!(value(&cluster, "SHOW search_path"), "pg_catalog, public");
}

#[test]
fn savepoints_of_the_user_and_several_statements_do_not_meet() {
    let cluster = fresh();
    cluster
        .transaction(|| {
            cluster.execute("SAVEPOINT a", &[])?;
            cluster.execute("RELEASE a; -- done", &[])?;
            cluster.execute("SAVEPOINT a", &[])?;
            cluster.execute("ROLLBACK TO a; -- back", &[])?;
            cluster.execute("CREATE TABLE t (); -- made", &[]).map(drop)
        })
        .unwrap();
    assert!(cluster.tables().contains("t").unwrap());
}

#[test]
fn a_transaction_that_was_ended_inside_is_no_success() {
    let cluster = fresh();
    for end in ["COMMIT", "ROLLBACK"] {
        let result = cluster.transaction(|| cluster.execute(end, &[]).map(drop));
        assert!(matches!(result, Err(Error::Invalid { .. })), "{end}");
    }
    assert!(cluster.transaction(|| Ok(())).is_ok());
}

#[test]
fn an_object_that_was_refreshed_in_a_transaction_knows_that_it_was_undone() {
    let cluster = fresh();
    let mut schema = cluster.schemas().create(Schema::new("app")).unwrap();
    let undone: Result<()> = cluster.transaction(|| {
        schema.comment = Some("x".into());
        schema.alter()?;
        schema.refresh()?;
        Err(Error::NotFound { what: "x".into() })
    });
    assert!(undone.is_err() && schema.is_changed());
    schema.alter().unwrap();
    assert_eq!(cluster.schemas().get("app").unwrap().comment.as_deref(), Some("x"));
}

#[test]
fn the_users_encoding_and_default_places_do_not_reach_the_crates_own_statements() {
    let cluster = fresh();
    cluster.execute("SET client_encoding = 'LATIN1'; SET default_table_access_method = 'heap'", &[]).unwrap();
    cluster.schemas().create(Schema::new("größe")).unwrap();
    let other = connect(cluster.current_database(), "postgres");
    assert!(other.schemas().contains("größe").unwrap());
}

#[test]
fn p019_a_transaction_handed_in_is_not_committed() {
    let database = fresh();
    let mut client = client(database.current_database());
    client.batch_execute("BEGIN; CREATE TABLE before ()").unwrap();
    let cluster = Cluster::from_client(client).unwrap();
    cluster.transaction(|| cluster.execute("CREATE TABLE inside ()", &[]).map(drop)).unwrap();
    cluster.with_client(|client| client.batch_execute("CREATE TABLE lent ()")).unwrap();
    let mut client = cluster.into_client().unwrap();
    client.batch_execute("ROLLBACK").unwrap();
    assert!(database.tables().is_empty().unwrap());
}

#[test]
fn a_transaction_begun_and_ended_by_statements_is_forgotten() {
    let cluster = fresh();
    cluster.execute("BEGIN", &[]).unwrap();
    cluster.tables().len().unwrap();
    cluster.execute("COMMIT", &[]).unwrap();
    cluster.transaction(|| cluster.execute("CREATE TABLE t ()", &[]).map(drop)).unwrap();
    cluster.execute("BEGIN", &[]).unwrap();
    assert!(cluster.execute("SELECT 1/0", &[]).is_err());
    cluster.execute("ROLLBACK; CREATE TABLE u ()", &[]).unwrap();
    cluster.refresh();
    assert_eq!(cluster.tables().len().unwrap(), 2);
    cluster.execute("BEGIN; CREATE TABLE v ()", &[]).unwrap();
    cluster.transaction(|| cluster.execute("CREATE TABLE w ()", &[]).map(drop)).unwrap();
    cluster.execute("ROLLBACK", &[]).unwrap();
    cluster.refresh();
    assert_eq!(cluster.tables().len().unwrap(), 2, "the transaction was the user's to end");
}

#[test]
fn a_transaction_that_the_lent_client_ends_is_no_success() {
    let cluster = fresh();
    let result: Result<()> = cluster.with_client(|client| client.batch_execute("COMMIT"));
    assert!(matches!(result, Err(Error::Invalid { .. })));
    let result = cluster.transaction(|| {
        cluster.execute("COMMIT", &[])?;
        cluster.tables().len()
    });
    assert!(matches!(result, Err(Error::Invalid { .. })));
    assert_eq!(cluster.tables().len().unwrap(), 0);
}

#[test]
fn copy_by_execute_is_refused_in_words() {
    let cluster = fresh();
    let error = cluster.execute("COPY (SELECT 1) TO STDOUT", &[]).unwrap_err();
    assert!(matches!(&error, Error::Invalid { why, .. } if why.contains("with_client")), "{error}");
    assert_eq!(cluster.tables().len().unwrap(), 0);
}

/// A server that lets one in and then says no more.
#[test]
fn a_server_that_falls_silent_after_the_login_does_not_hang_connecting() {
    use std::io::{Read, Write};
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
        stream.write_all(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I").unwrap();
        let _ = receiver.recv();
    });
    let started = Instant::now();
    let dsn = format!("host=127.0.0.1 port={port} user=x connect_timeout=1 sslmode=disable");
    assert!(matches!(Cluster::connect(&dsn), Err(Error::Connection { .. })));
    assert!(started.elapsed() < Duration::from_secs(10));
    sender.send(()).unwrap();
}

#[test]
fn an_async_program_calls_from_a_blocking_task() {
    let dsn = server().dsn();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let task =
        async { tokio::task::spawn_blocking(move || Cluster::connect(&dsn)?.roles().contains("postgres")).await };
    assert!(runtime.block_on(task).unwrap().unwrap());
}
