//! Pools of connections: what comes back clean, what is replaced, who waits, and the figures.
use crate::support::{fresh, logged, server, unique, wait_until};
use pgsteward::module::Module;
use pgsteward::pool::{Pool, PoolOptions, PooledClient};
use pgsteward::{Cluster, Error, Ident, Role, Sql, sql};
use postgres::fallible_iterator::FallibleIterator;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// A pool for a database of its own.
fn pool_with(change: impl FnOnce(&mut PoolOptions)) -> (Pool, Cluster) {
    let database = fresh();
    let mut options = PoolOptions::new();
    change(&mut options);
    let pool = Pool::connect(&server().dsn_for(database.current_database(), "postgres"), options).unwrap();
    (pool, database)
}

/// A pool with one connection, so that everybody gets the same.
fn single() -> (Pool, Cluster) {
    pool_with(|options| options.maximum = 1)
}

/// What a session shows of itself: all that a user can leave behind.
const TRACES: &str = "SELECT concat_ws('|', current_user, session_user, current_setting('role'), \
    (SELECT string_agg(name || '=' || setting, ',' ORDER BY name) FROM pg_settings WHERE source = 'session'), \
    NULLIF(current_setting('my.own', true), ''), \
    (SELECT count(*) FROM pg_cursors), (SELECT count(*) FROM pg_listening_channels()), \
    (SELECT count(*) FROM pg_prepared_statements WHERE from_sql AND name <> 'pgsteward_left'), \
    (SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory'), \
    (SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema()), \
    (SELECT count(*) FROM pg_proc WHERE pronamespace = pg_my_temp_schema()), \
    to_regclass('pg_temp.users'), statement_timestamp() = transaction_timestamp())";

fn traces(pool: &Pool) -> String {
    pool.get().unwrap().query_one(TRACES, &[]).unwrap().get(0)
}

fn pid(pool: &Pool) -> i32 {
    pool.get().unwrap().query_one("SELECT pg_backend_pid()", &[]).unwrap().get(0)
}

#[test]
fn p106_a_connection_returns_clean() {
    let (pool, database) = single();
    let (role, prepared) = (unique("other"), unique("prepared \"x\""));
    database.roles().create(Role::new(&role)).unwrap();
    database.execute("CREATE TABLE users (id serial, name text)", &[]).unwrap();
    let (fresh, process) = (traces(&pool), pid(&pool));
    let left: [&[Sql]; 22] = [
        &[sql!("SET statement_timeout = '77s'; SET search_path = pg_temp, public")],
        &[sql!("SELECT set_config('work_mem', '99MB', false), set_config('my.own', 'x', false)")],
        &[sql!("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY, ISOLATION LEVEL SERIALIZABLE")],
        &[sql!("SET TIME ZONE 'Asia/Tokyo'"), sql!("SET client_encoding = 'LATIN1'")],
        &[sql!("SET ROLE {}", Ident(&role))],
        &[sql!("SET SESSION AUTHORIZATION {}", Ident(&role))],
        &[sql!("SET SESSION AUTHORIZATION {}", Ident(&role)), sql!("SET ROLE {}", Ident(&role))],
        &[sql!("BEGIN"), sql!("LOCK TABLE users")],
        &[sql!("BEGIN"), sql!("SELECT 1/0")],
        &[sql!("BEGIN"), sql!("LOCK TABLE users"), sql!("SAVEPOINT a"), sql!("SELECT 1/0")],
        &[sql!("BEGIN"), sql!("SET ROLE {}", Ident(&role)), sql!("SET search_path = x"), sql!("CREATE TABLE t ()")],
        &[sql!("BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY")],
        &[sql!("SELECT pg_advisory_lock(1), pg_advisory_lock(1), pg_advisory_lock_shared(2, 3)")],
        &[sql!("BEGIN"), sql!("SELECT pg_advisory_lock(1), pg_advisory_xact_lock(2)"), sql!("nonsense")],
        &[sql!("CREATE TEMPORARY TABLE users (id text)"), sql!("CREATE TEMPORARY VIEW v AS SELECT 1")],
        &[sql!("CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'")],
        &[sql!("LISTEN a"), sql!("LISTEN b")],
        &[sql!("DECLARE c CURSOR WITH HOLD FOR SELECT generate_series(1, 1000)")],
        &[sql!("PREPARE {} AS SELECT 1", Ident(&prepared)), sql!("PREPARE p(int) AS SELECT $1")],
        &[sql!("BEGIN"), sql!("PREPARE p AS SELECT 1"), sql!("nonsense")],
        // Nothing of the crate's own is needed for the next user.
        &[sql!("DEALLOCATE ALL"), sql!("SET work_mem = '99MB'")],
        &[sql!("DISCARD ALL"), sql!("SET work_mem = '99MB'")],
    ];
    for statements in left {
        let mut client = pool.get().unwrap();
        for sql in statements {
            let _ = client.batch_execute(&sql.to_string());
        }
        drop(client);
        assert_eq!(traces(&pool), fresh, "after {statements:?}");
        if !statements.iter().any(|sql| sql.to_string().contains(" ALL")) {
            assert_eq!(pid(&pool), process, "after {statements:?}");
        }
    }
    let locks = "SELECT FROM pg_locks WHERE locktype = 'advisory' \
                 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    assert!(database.execute(locks, &[]).unwrap().is_empty());
    // By the pool's own methods too.
    for text in [
        "PrePare p AS SELECT 1",
        "DO $$ BEGIN EXECUTE 'PREPARE \"a \"\"b\"\"; --\" AS SELECT 1'; END $$",
        "SET work_mem = '99MB'",
    ] {
        assert_eq!(pool.get().unwrap().execute(text, &[]).unwrap(), 0);
        assert!(pool.get().unwrap().query_opt("SELECT 1 WHERE false", &[]).unwrap().is_none());
        assert_eq!(traces(&pool), fresh, "after {text}");
    }
    // The values of sequences that a session has seen.
    pool.get().unwrap().batch_execute("SELECT nextval('users_id_seq')").unwrap();
    assert!(pool.get().unwrap().batch_execute("SELECT lastval()").is_err());
    // A user's own statement of one connection is still there for him.
    let mut client = pool.get().unwrap();
    let statement = client.prepare("SELECT 41 + $1::int").unwrap();
    let process = client.query_one("SELECT pg_backend_pid()", &[]).unwrap().get::<_, i32>(0);
    drop(client);
    assert_eq!(process, pid(&pool));
    assert_eq!(pool.get().unwrap().query_one(&statement, &[&1]).unwrap().get::<_, i32>(0), 42);
}

#[test]
fn p106_nothing_that_was_heard_is_for_the_next_user() {
    let (pool, database) = single();
    let mut client = pool.get().unwrap();
    client.batch_execute("LISTEN news").unwrap();
    database.execute("NOTIFY news, 'one'", &[]).unwrap();
    client.batch_execute("SELECT 1").unwrap();
    database.execute("NOTIFY news, 'two'", &[]).unwrap();
    drop(client);
    let mut client = pool.get().unwrap();
    client.batch_execute("SELECT 1").unwrap();
    assert!(client.notifications().iter().next().unwrap().is_none());
}

#[test]
fn p106_copies_that_were_left_half_way_leave_nothing_behind() {
    let (pool, database) = single();
    database.execute("CREATE TABLE t (n int)", &[]).unwrap();
    let clean = traces(&pool);
    let mut client = pool.get().unwrap();
    let mut writer = client.copy_in("COPY t FROM STDIN").unwrap();
    writer.write_all(b"1\n2\n").unwrap();
    drop(writer);
    drop(client);
    assert_eq!(traces(&pool), clean);
    assert_eq!(pool.get().unwrap().query_one("SELECT count(*) FROM t", &[]).unwrap().get::<_, i64>(0), 0);

    let mut client = pool.get().unwrap();
    drop(client.copy_out("COPY (SELECT generate_series(1, 100000)) TO STDOUT").unwrap());
    drop(client);
    assert_eq!(traces(&pool), clean);

    let mut client = pool.get().unwrap();
    let rows = client.query_raw("SELECT generate_series(1, 100000)", Vec::<String>::new()).unwrap();
    assert_eq!(rows.take(3).count().unwrap(), 3);
    drop(client);
    assert_eq!(traces(&pool), clean);

    // A writer that was never dropped has the connection wait for its end, and so has a copy without one: it is given up, and
    // replaced, whether somebody needs it or not. Its server process hears no cancel, and would hold up whoever drops a
    // database.
    let forget_the_writer = |client: &mut PooledClient| std::mem::forget(client.copy_in("COPY t FROM STDIN").unwrap());
    let never_send = |client: &mut PooledClient| drop(client.execute("COPY t FROM STDIN", &[]).unwrap_err());
    for (leave, is_needed) in
        [(&forget_the_writer as &dyn Fn(&mut PooledClient), true), (&forget_the_writer, false), (&never_send, true)]
    {
        let before = pid(&pool);
        leave(&mut pool.get().unwrap());
        if is_needed {
            assert_ne!(pid(&pool), before);
        }
        let gone = || database.execute("SELECT FROM pg_stat_activity WHERE pid = $1", &[&before]).unwrap().is_empty();
        wait_until("the server process of the copy is gone", gone);
    }
    assert_eq!(traces(&pool), clean);
}

#[test]
fn p106_a_connection_returns_clean_after_a_panic() {
    let (pool, database) = single();
    database.execute("CREATE TABLE t (n int)", &[]).unwrap();
    let clean = traces(&pool);
    let attempt = catch_unwind(AssertUnwindSafe(|| {
        let mut client = pool.get().unwrap();
        let mut transaction = client.transaction().unwrap();
        transaction.execute("INSERT INTO t VALUES (1)", &[]).unwrap();
        transaction.batch_execute("SET work_mem = '99MB'").unwrap();
        panic!("the user's code");
    }));
    assert!(attempt.is_err());
    assert_eq!(traces(&pool), clean);
    assert!(database.execute("SELECT FROM t", &[]).unwrap().is_empty());
}

#[test]
fn p106_session_setup_is_applied_again_each_time() {
    let database = fresh();
    let (role, own) = (unique("worker"), unique("own"));
    let mut login = Role::new(&own);
    login.login = true;
    database.roles().create(login).unwrap();
    database.roles().create(Role::new(&role)).unwrap();
    for sql in [
        sql!("GRANT {} TO {}", Ident(&role), Ident(&own)),
        sql!("ALTER ROLE {} SET role = {}", Ident(&own), Ident(&role)),
    ] {
        database.execute(&sql.to_string(), &[]).unwrap();
    }
    let shows = |pool: &Pool| -> String {
        let asked = "SELECT concat_ws('|', current_user, current_setting('search_path'), current_setting('work_mem'))";
        pool.get().unwrap().query_one(asked, &[]).unwrap().get(0)
    };
    let dsn = |user: &str| server().dsn_for(database.current_database(), user);
    let spoil = |pool: &Pool| {
        let spoilt = sql!("SET search_path = x; SET work_mem = '99MB'; SET ROLE {}", Ident(&own));
        pool.get().unwrap().batch_execute(&spoilt.to_string()).unwrap();
    };
    // By a role's own default, which RESET SESSION AUTHORIZATION alone would lose.
    let mut options = PoolOptions::new();
    options.maximum = 1;
    options.session_setup =
        vec![sql!("SELECT set_config('search_path', 'app', false)"), sql!("SET work_mem = '5MB' -- enough")];
    let pool = Pool::connect(&dsn(&own), options.clone()).unwrap();
    for _ in 0..3 {
        assert_eq!(shows(&pool), format!("{role}|app|5MB"));
        spoil(&pool);
    }
    assert_eq!(pool.metrics().created, 1, "what has rows is set up again too");
    // By the options of connecting.
    options.session_setup.clear();
    options.connect.role = Some(role.clone());
    let started = format!("{} options='-c search_path=app -c work_mem=5MB'", dsn("postgres"));
    let pool = Pool::connect(&started, options.clone()).unwrap();
    for _ in 0..3 {
        assert_eq!(shows(&pool), format!("{role}|app|5MB"));
        spoil(&pool);
    }
    options.session_setup = vec![sql!("SET no_such_setting = 1")];
    let error = Pool::connect(&dsn("postgres"), options).unwrap_err();
    assert!(error.to_string().starts_with("cannot set up a session for the pool: "), "{error}");
}

#[test]
fn p106_a_transaction_that_was_left_open_holds_nothing_while_its_connection_is_idle() {
    let server = pgsteward::testing::TestServer::start().unwrap();
    let database = Cluster::connect(&server.dsn()).unwrap();
    let pool = Pool::connect(&server.dsn(), PoolOptions::new()).unwrap();
    database.execute("CREATE TABLE t (n int)", &[]).unwrap();
    for end in ["SELECT 1", "SELECT 1/0"] {
        let mut client = pool.get().unwrap();
        client.batch_execute("BEGIN; LOCK TABLE t; SAVEPOINT a").unwrap();
        let _ = client.batch_execute(end);
        drop(client);
        // Nobody asks the pool for anything.
        let locks = "SELECT FROM pg_locks WHERE relation = 't'::regclass";
        wait_until("the lock is gone", || database.execute(locks, &[]).unwrap().is_empty());
    }
    for _ in 0..10 {
        pool.get().unwrap().query("SELECT 1", &[]).unwrap();
        pool.get().unwrap().batch_execute("SET ROLE pg_monitor").unwrap();
    }
    assert_eq!(pool.metrics().closed, 0);
    // A ROLLBACK where no transaction is open would be a warning each time.
    let log = server.log().unwrap();
    assert!(!log.contains("WARNING"), "{log}");
}

#[test]
fn p106_what_comes_back_while_somebody_waits_for_another_is_made_clean_too() {
    let (pool, database) = pool_with(|options| options.maximum = 2);
    let locks = "SELECT FROM pg_locks WHERE locktype = 'advisory' \
                 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    let mut held: Vec<_> = (0..2).map(|_| pool.get().unwrap()).collect();
    held.iter_mut().for_each(|client| client.batch_execute("BEGIN; SELECT pg_advisory_lock_shared(1)").unwrap());
    let (done, is_done) = std::sync::mpsc::channel::<()>();
    let waiting = thread::spawn({
        let pool = pool.clone();
        move || {
            let _client = pool.get().unwrap();
            let _ = is_done.recv();
        }
    });
    wait_until("it waits", || pool.metrics().waiting == 1);
    // By then the pool's own thread has nothing to do until it is called.
    thread::sleep(Duration::from_millis(200));
    // Both come back before whoever waits has taken the first.
    drop(held);
    wait_until("the locks are gone", || database.execute(locks, &[]).unwrap().is_empty());
    drop(done);
    waiting.join().unwrap();
}

#[test]
fn p107_a_dead_connection_is_replaced_without_the_caller_noticing() {
    let (pool, database) = pool_with(|options| options.minimum = 3);
    let name = database.current_database().to_owned();
    for _ in 0..3 {
        let alive = || {
            let sql =
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()";
            database.execute(sql, &[&name]).unwrap().len()
        };
        assert!(alive() > 0);
        wait_until("they are gone", || alive() == 0);
        let clients: Vec<_> = (0..3).map(|_| pool.get().unwrap()).collect();
        for mut client in clients {
            assert_eq!(client.query_one("SELECT 1", &[]).unwrap().get::<_, i32>(0), 1);
        }
    }
    // One that dies in its user's hands is replaced for the next.
    let mut client = pool.get().unwrap();
    assert!(client.batch_execute("SELECT pg_terminate_backend(pg_backend_pid())").is_err());
    drop(client);
    for _ in 0..4 {
        pool.get().unwrap().batch_execute("SELECT 1").unwrap();
    }
}

#[test]
fn p107_a_server_that_was_restarted_is_found_again() {
    let server = pgsteward::testing::TestServer::start().unwrap();
    for dsn in [server.dsn(), server.tcp_dsn().unwrap()] {
        let mut options = PoolOptions::new();
        options.minimum = 2;
        let pool = Pool::connect(&dsn, options).unwrap();
        server.restart().unwrap();
        let clients: Vec<_> = (0..3).map(|_| pool.get().unwrap()).collect();
        for mut client in clients {
            client.batch_execute("SELECT 1").unwrap();
        }
        server.stop().unwrap();
        let error = pool.get().unwrap_err();
        assert!(matches!(error, Error::Connection { .. }), "{error}");
        assert_eq!(pool.metrics().in_use, 0);
        server.restart().unwrap();
        pool.get().unwrap().batch_execute("SELECT 1").unwrap();
        // The minimum comes back by itself.
        wait_until("there are two", || pool.metrics().idle >= 2);
    }
}

/// A way to a server on which the connections made so far can fall silent, as when a network is gone: nothing arrives any
/// more, and nobody hears that.
struct Way {
    port: u16,
    made: Arc<AtomicUsize>,
    /// Those before this one are silent.
    silent: Arc<AtomicUsize>,
}

impl Way {
    fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let way = Self { port: listener.local_addr().unwrap().port(), made: Arc::default(), silent: Arc::default() };
        let (made, silent) = (way.made.clone(), way.silent.clone());
        let path = server().socket_directory().join(format!(".s.PGSQL.{}", server().port()));
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, upstream) = (client.unwrap(), UnixStream::connect(&path).unwrap());
                let (number, silent) = (made.fetch_add(1, Ordering::SeqCst), silent.clone());
                let (to_client, from_server) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
                thread::spawn(move || pass_on(from_server, to_client, || silent.load(Ordering::SeqCst) > number));
                thread::spawn(move || pass_on(client, upstream, || false));
            }
        });
        way
    }

    fn fall_silent(&self) {
        self.silent.store(self.made.load(Ordering::SeqCst), Ordering::SeqCst);
    }
}

fn pass_on(mut from: impl Read, mut to: impl Write, is_silent: impl Fn() -> bool) {
    let mut bytes = [0; 8192];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        if !is_silent() && to.write_all(&bytes[..length]).is_err() {
            return;
        }
    }
}

#[test]
fn p107_a_connection_that_fell_silent_in_its_users_hands_holds_up_nobody_for_long() {
    let way = Way::open();
    let mut options = PoolOptions::new();
    options.maximum = 1;
    let dsn = format!("host=127.0.0.1 port={} user=postgres dbname=postgres sslmode=disable", way.port);
    let pool = Pool::connect(&dsn, options).unwrap();
    for keeper_comes_first in [false, true] {
        let before = pid(&pool);
        let mut client = pool.get().unwrap();
        client.query("SELECT pg_sleep(1.1)", &[]).unwrap();
        way.fall_silent();
        drop(client);
        if keeper_comes_first {
            wait_until("it is being made clean", || pool.metrics().server_processes.is_empty());
        }
        let (sender, next) = std::sync::mpsc::channel();
        let next_pool = pool.clone();
        thread::spawn(move || sender.send(pid(&next_pool)));
        let next = next.recv_timeout(Duration::from_secs(20)).expect("the next user waits without end");
        assert_ne!(next, before);
    }
}

#[test]
fn p107_an_empty_pool_times_out_and_says_who_has_the_connections() {
    let (pool, _database) = pool_with(|options| {
        options.maximum = 2;
        options.wait_timeout = Duration::from_millis(150);
    });
    let first = pool.get().unwrap();
    let line = line!() + 1;
    let second = pool.cluster().unwrap();
    let started = Instant::now();
    let error = pool.get().unwrap_err();
    assert!(started.elapsed() >= Duration::from_millis(150));
    let text = error.to_string();
    assert!(matches!(error, Error::InUse { .. }), "{text}");
    assert!(
        text.starts_with("cannot get a connection from the pool within 0.15 seconds: each of its 2 connections"),
        "{text}"
    );
    assert!(text.contains(&format!("{}:{line}:", file!())) && text.contains("the one that waits"), "{text}");
    let figures = pool.metrics();
    assert_eq!((figures.timeouts, figures.waiting, figures.in_use), (1, 0, 2));
    assert!(figures.wait >= Duration::from_millis(150) && figures.longest_wait <= figures.wait);
    drop(second);
    pool.get().unwrap().batch_execute("SELECT 1").unwrap();
    drop(first);
}

#[test]
fn p107_who_came_first_is_served_first() {
    let (pool, _database) = single();
    let held = pool.get().unwrap();
    let served = Arc::new(Mutex::new(Vec::new()));
    let threads: Vec<_> = (0..8)
        .map(|number| {
            let thread = thread::spawn({
                let (pool, served) = (pool.clone(), served.clone());
                move || {
                    let mut client = pool.get().unwrap();
                    served.lock().unwrap().push(number);
                    client.batch_execute("SELECT 1").unwrap();
                }
            });
            wait_until("it waits", || pool.metrics().waiting == number + 1);
            thread
        })
        .collect();
    drop(held);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(*served.lock().unwrap(), (0..8).collect::<Vec<_>>());
    assert_eq!(pool.metrics().created, 1);
}

#[test]
fn p104_a_pool_is_shared_by_its_clones_and_says_when_it_is_closed() {
    let (pool, database) = pool_with(|options| options.maximum = 3);
    drop(pool.clone());
    let (held, cluster) = (pool.get().unwrap(), pool.cluster().unwrap());
    drop(pool.get().unwrap());
    let waiting = thread::spawn({
        let pool = pool.clone();
        let third = pool.get().unwrap();
        move || {
            let _third = third;
            pool.get().map(drop)
        }
    });
    wait_until("it waits", || pool.metrics().waiting == 1);
    pool.clone().close();
    pool.close();
    for error in [waiting.join().unwrap().unwrap_err(), pool.get().unwrap_err(), pool.cluster().unwrap_err()] {
        assert!(error.to_string().contains("make another one with Pool::connect"), "{error}");
    }
    // What is in somebody's hands works to its end, and is closed then.
    let mut held = held;
    held.batch_execute("SELECT 1").unwrap();
    cluster.execute("SELECT 1", &[]).unwrap();
    drop((held, cluster));
    let sessions = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    wait_until("all are gone", || database.execute(sessions, &[]).unwrap().is_empty());
    let figures = pool.metrics();
    assert_eq!((figures.size, figures.created, figures.closed), (0, 3, 3));
    for change in [|options: &mut PoolOptions| options.maximum = 0, |options: &mut PoolOptions| options.minimum = 11] {
        let mut options = PoolOptions::new();
        change(&mut options);
        assert!(matches!(Pool::connect(&server().dsn(), options), Err(Error::Invalid { .. })));
    }
}

#[test]
fn p104_dropping_the_last_handle_closes_what_is_idle() {
    let (pool, database) = pool_with(|options| options.minimum = 3);
    let held = pool.get().unwrap();
    drop(pool);
    let sessions = || {
        let sql = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
        database.execute(sql, &[]).unwrap().len()
    };
    wait_until("the idle ones are gone", || sessions() == 1);
    drop(held);
    wait_until("all are gone", || sessions() == 0);
}

#[test]
fn p104_a_cluster_on_a_pooled_connection_gives_it_back_clean() {
    let (pool, _database) = single();
    let (clean, process) = (traces(&pool), pid(&pool));
    let cluster = pool.cluster().unwrap();
    let copy = (*cluster).clone();
    assert_eq!(cluster.current_database(), pool.metrics().database);
    cluster.execute("SET work_mem = '99MB'", &[]).unwrap();
    cluster.execute("BEGIN", &[]).unwrap();
    assert!(cluster.schemas().contains("public").unwrap());
    assert_eq!(cluster.database("postgres").unwrap().current_database(), "postgres");
    drop(cluster);
    assert_eq!((traces(&pool), pid(&pool)), (clean.clone(), process));
    let error = copy.execute("SELECT 1", &[]).unwrap_err();
    assert!(error.to_string().contains("gone back to its pool"), "{error}");
    // In the middle of a transaction, of a plan, of a panic.
    let attempt = catch_unwind(AssertUnwindSafe(|| {
        let cluster = pool.cluster().unwrap();
        cluster.transaction(|| -> pgsteward::Result<()> {
            cluster.execute("CREATE TABLE t ()", &[])?;
            panic!("the user's code")
        })
    }));
    assert!(attempt.is_err());
    assert_eq!((traces(&pool), pid(&pool)), (clean, process));
    // One that is lost is not made anew behind the pool's back.
    let cluster = pool.cluster().unwrap();
    cluster.execute("SELECT pg_terminate_backend(pg_backend_pid())", &[]).unwrap_err();
    let error = cluster.execute("SELECT 1", &[]).unwrap_err();
    assert!(error.to_string().contains("take another one from the pool"), "{error}");
    drop(cluster);
    assert_ne!(pid(&pool), process);
    assert_eq!((pool.metrics().created, pool.metrics().closed), (2, 1));
}

#[test]
fn p104_a_connection_that_is_lent_when_its_cluster_goes_back_is_closed() {
    let (pool, _database) = single();
    let process = pid(&pool);
    let cluster = pool.cluster().unwrap();
    let copy = (*cluster).clone();
    let after = copy.with_client(|client| {
        drop(cluster);
        client.batch_execute("SELECT 1")
    });
    assert!(matches!(after, Err(Error::Connection { .. })), "its transaction has no end");
    let error = copy.execute("SELECT 1", &[]).unwrap_err();
    assert!(error.to_string().contains("gone back to its pool"), "{error}");
    assert_ne!(pid(&pool), process);
    assert_eq!((pool.metrics().created, pool.metrics().closed), (2, 1));
}

#[test]
fn p109_the_figures_are_true() {
    let (pool, database) = pool_with(|options| {
        options.minimum = 2;
        options.maximum = 5;
    });
    let figures = pool.metrics();
    assert_eq!((figures.minimum, figures.maximum, figures.size, figures.idle, figures.in_use), (2, 5, 2, 2, 0));
    assert_eq!((figures.created, figures.closed, figures.checkouts, figures.waiting), (2, 0, 0, 0));
    assert_eq!(figures.database, database.current_database());
    assert_eq!(figures.server_version.major(), server().major());
    let there = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() \
         AND backend_type = 'client backend' ORDER BY 1";
    let there = || -> Vec<i32> { database.execute(there, &[]).unwrap().iter().map(|row| row.get(0)).collect() };
    assert_eq!(figures.server_processes, there());
    let held: Vec<_> = (0..4).map(|_| pool.get().unwrap()).collect();
    let figures = pool.metrics();
    assert_eq!((figures.size, figures.idle, figures.in_use, figures.created, figures.checkouts), (4, 0, 4, 4, 4));
    assert_eq!(figures.server_processes, there());
    let said = figures.to_string();
    assert!(
        said.starts_with("4 of 5 connections to database ") && said.contains(": 4 in use, 0 idle, 0 waiting;"),
        "{said}"
    );
    drop(held);
    let figures = pool.metrics();
    assert_eq!((figures.size, figures.idle, figures.in_use), (4, 4, 0));
    assert_eq!((figures.timeouts, figures.wait), (0, Duration::ZERO));
}

#[test]
fn connections_that_are_old_or_idle_for_long_are_replaced() {
    let (pool, _database) = pool_with(|options| {
        options.minimum = 1;
        options.idle_timeout = Some(Duration::from_millis(50));
    });
    drop((0..3).map(|_| pool.get().unwrap()).collect::<Vec<_>>());
    wait_until("one is left", || pool.metrics().size == 1);
    let figures = pool.metrics();
    assert_eq!((figures.created, figures.closed), (3, 2));

    let (pool, _database) = pool_with(|options| {
        options.minimum = 1;
        options.lifetime = Some(Duration::from_millis(50));
    });
    let first = pool.metrics().server_processes;
    wait_until("another has its place", || {
        let now = pool.metrics().server_processes;
        now.len() == 1 && now != first
    });
    // One in use is not ended.
    let mut client = pool.get().unwrap();
    let process: i32 = client.query_one("SELECT pg_backend_pid(), pg_sleep(0.1)", &[]).unwrap().get(0);
    client.batch_execute("SELECT 1").unwrap();
    drop(client);
    assert_ne!(pid(&pool), process);
}

#[test]
fn one_takes_the_place_of_another_where_the_server_has_room_for_no_more() {
    let database = fresh();
    let mut role = Role::new(unique("limited"));
    (role.login, role.connection_limit) = (true, 1);
    let role = database.roles().create(role).unwrap();
    let mut options = PoolOptions::new();
    (options.maximum, options.lifetime) = (1, Some(Duration::from_millis(5)));
    let dsn = server().dsn_for(database.current_database(), &role.name);
    let pool = Pool::connect(&dsn, options).unwrap();
    for round in 0..40 {
        let mut client = pool.get().unwrap_or_else(|error| panic!("round {round}: {error}"));
        client.batch_execute("SELECT pg_sleep(0.006)").unwrap();
        // In every other round the server is busy with it when it is ended.
        if round % 2 == 0 {
            let _ = client.query_raw("SELECT generate_series(1, 100000)", Vec::<String>::new()).unwrap().next();
        }
    }
    assert!(pool.metrics().created >= 40);
    // Whoever else has the room does not go: that is said.
    let _held = pool.get().unwrap();
    let error = Pool::connect(&dsn, PoolOptions::new()).unwrap_err();
    assert_eq!(error.code().map(|code| code.code()), Some("53300"), "{error}");
}

#[test]
fn sixteen_threads_share_four_connections_and_none_sees_what_another_left() {
    let (pool, database) = pool_with(|options| options.maximum = 4);
    database.execute("CREATE TABLE counted (n int NOT NULL)", &[]).unwrap();
    database.execute("INSERT INTO counted VALUES (0)", &[]).unwrap();
    let (most, rounds) = (AtomicUsize::new(0), 60);
    thread::scope(|scope| {
        for number in 0..16 {
            let (pool, most) = (&pool, &most);
            scope.spawn(move || {
                for round in 0..rounds {
                    let mut client = pool.get().unwrap();
                    let name = client
                        .query_one("SELECT concat(current_setting('my.name', true), current_setting('work_mem'))", &[]);
                    assert_eq!(name.unwrap().get::<_, String>(0), "4MB");
                    client.batch_execute(&format!("SET my.name = '{number}'; SET work_mem = '99MB'")).unwrap();
                    client.execute("UPDATE counted SET n = n + 1", &[]).unwrap();
                    match (number + round) % 7 {
                        0 => client.batch_execute("BEGIN; UPDATE counted SET n = 0").unwrap(),
                        1 => drop(client.batch_execute("BEGIN; UPDATE counted SET n = 0; SELECT 1/0")),
                        2 => client.batch_execute("CREATE TEMPORARY TABLE counted (n int)").unwrap(),
                        3 => drop(client.batch_execute("SELECT pg_terminate_backend(pg_backend_pid())")),
                        _ => {}
                    }
                    most.fetch_max(pool.metrics().size, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(database.execute("SELECT n FROM counted", &[]).unwrap()[0].get::<_, i32>(0), 16 * rounds);
    assert!(most.into_inner() <= 4);
    let figures = pool.metrics();
    assert_eq!((figures.in_use, figures.waiting, figures.timeouts), (0, 0, 0));
    assert_eq!(figures.checkouts, 16 * u64::try_from(rounds).unwrap());
    assert_eq!(figures.size as u64, figures.created - figures.closed);
}

#[test]
fn a_type_of_the_users_own_stays_known_to_the_driver() {
    let (pool, database) = single();
    database.execute("CREATE TYPE mood AS ENUM ('good', 'bad')", &[]).unwrap();
    database.execute("CREATE TYPE size AS ENUM ('big', 'small')", &[]).unwrap();
    for sql in ["SELECT 'good'::mood", "SELECT 'big'::size"] {
        let row = pool.get().unwrap().query_one(sql, &[]).unwrap();
        assert_eq!(row.columns()[0].type_().name(), sql.rsplit(':').next().unwrap());
    }
}

#[test]
fn many_rows_with_a_type_of_the_users_own_that_the_driver_has_not_seen_are_read() {
    let (pool, database) = single();
    database.execute("CREATE TYPE public.mood AS ENUM ('good', 'bad')", &[]).unwrap();
    let module = Module::new(&pool, "public").unwrap();
    let rows = "SELECT 'good'::public.mood, repeat('x', 1000) FROM generate_series(1, 1000)";
    let ways: [fn(&Pool, &Module, &str) -> usize; 4] = [
        |pool, _, rows| pool.get().unwrap().query(rows, &[]).unwrap().len(),
        |pool, _, rows| pool.get().unwrap().execute(rows, &[]).unwrap() as usize,
        |_, module, rows| module.query(rows, &[]).unwrap().len(),
        |_, module, rows| module.transaction(|t| t.query(rows, &[])).unwrap().len(),
    ];
    for way in ways {
        let (pool, module, (sender, answer)) = (pool.clone(), module.clone(), std::sync::mpsc::channel());
        thread::spawn(move || {
            // A new connection has seen no types.
            pool.get().unwrap().batch_execute("DISCARD ALL").unwrap();
            sender.send(way(&pool, &module, rows))
        });
        assert_eq!(answer.recv_timeout(Duration::from_secs(30)).expect("it has an end"), 1000);
    }
}

#[test]
fn inside_an_async_runtime_a_pool_survives_the_panic_of_the_driver() {
    let (pool, _database) = pool_with(|options| {
        options.maximum = 1;
        options.check_after = Duration::ZERO;
    });
    let held = pool.get().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        // Giving back is no call of the driver's.
        drop(held);
    });
    wait_until("it is idle", || pool.metrics().idle == 1);
    let attempt = catch_unwind(AssertUnwindSafe(|| runtime.block_on(async { pool.get().map(drop) })));
    assert!(attempt.is_err(), "the driver panics inside a runtime");
    assert_eq!(pool.metrics().in_use, 0);
    pool.get().unwrap().batch_execute("SELECT 1").unwrap();
    runtime.block_on(async move { drop(pool) });
}

#[test]
fn a_connection_that_is_forgotten_is_reported_once_with_the_place_where_it_was_taken() {
    let logged = logged();
    let (pool, _database) = pool_with(|options| options.leak_warning = Some(Duration::from_millis(30)));
    let line = line!() + 1;
    let held = pool.get().unwrap();
    let words = format!("a connection of the pool that was taken at {}:{line}:", file!());
    let times = || logged.lock().unwrap().matches(&words).count();
    wait_until("it is reported", || times() > 0);
    drop(held);
    // One that is taken later is another one; by then the first would have been reported again.
    let line = line!() + 1;
    let other = pool.cluster().unwrap();
    let next = format!("a connection of the pool that was taken at {}:{line}:", file!());
    wait_until("it is reported", || logged.lock().unwrap().contains(&next));
    drop(other);
    assert_eq!(times(), 1);
}

#[test]
fn a_text_that_is_kept_prepared_says_what_it_would_say_anew() {
    let (pool, database) = pool_with(|options| (options.maximum, options.prepared_statements) = (1, 3));
    let run = |sql: &str| database.execute(sql, &[]).map(drop).unwrap();
    run("CREATE TABLE t (n int); INSERT INTO t VALUES (1)");
    run(
        "CREATE SCHEMA b; CREATE TYPE b.mood AS ENUM ('good'); CREATE TABLE b.t (m b.mood); INSERT INTO b.t VALUES ('good')",
    );
    let all = "SELECT t.*, t::text FROM t";
    let says = |client: &mut PooledClient| client.query_one(all, &[]).unwrap().columns().len();
    let text = |client: &mut PooledClient| -> String { client.query_one(all, &[]).unwrap().try_get("t").unwrap() };
    assert_eq!(says(&mut pool.get().unwrap()), 2);
    // The table changes, and with it the rows.
    run("ALTER TABLE t ADD COLUMN more int");
    assert_eq!(says(&mut pool.get().unwrap()), 3);
    // So does what the name means.
    for _ in 0..2 {
        let mut client = pool.get().unwrap();
        client.execute("SET search_path = b", &[]).unwrap();
        assert_eq!(text(&mut client), "(good)");
        drop(client);
        assert_eq!(text(&mut pool.get().unwrap()), "(1,)");
    }
    let mut client = pool.get().unwrap();
    client.batch_execute("CREATE TEMPORARY TABLE t AS SELECT 7 AS n").unwrap();
    assert_eq!(text(&mut client), "(7)");
    // And the statement can be gone.
    client.batch_execute("DEALLOCATE ALL").unwrap();
    assert_eq!(text(&mut client), "(7)");
    drop(client);
    // In a transaction it is an error that names the reason, and the next one begins anew.
    let mut client = pool.get().unwrap();
    client.batch_execute("BEGIN; ALTER TABLE t DROP COLUMN more").unwrap();
    says(&mut client);
    client.batch_execute("ALTER TABLE t ADD COLUMN other int").unwrap();
    let error = client.query(all, &[]).unwrap_err();
    assert!(error.as_db_error().unwrap().message().contains("cached plan"), "{error:?}");
    client.batch_execute("ROLLBACK").unwrap();
    assert_eq!(text(&mut client), "(1,)");
    drop(client);
    // No more are kept than there may be; what settings have a say in is not kept.
    let mut client = pool.get().unwrap();
    for n in 0..9 {
        client.query(&*format!("SELECT {n}"), &[]).unwrap();
        client.query_opt(&*format!("SELECT {n} + $1::int"), &[&1]).unwrap();
        client.execute(&*format!("SELECT {n} - $1::int"), &[&1]).unwrap();
        assert_eq!(client.query_one("SELECT DATE '01.02.2026'", &[]).unwrap().len(), 1);
    }
    let kept = "SELECT string_agg(statement, '|' ORDER BY prepare_time) FROM pg_prepared_statements WHERE NOT from_sql \
                AND statement NOT LIKE '%prepare_time%'";
    wait_until("the others are closed", || {
        client.query_one(kept, &[]).unwrap().get::<_, String>(0) == "SELECT 6|SELECT 7|SELECT 8"
    });
}

#[test]
fn what_a_procedure_has_committed_before_it_failed_is_not_done_again() {
    let (pool, database) = single();
    database.execute("CREATE TABLE done (n int)", &[]).unwrap();
    let procedure = "CREATE PROCEDURE p(n int) LANGUAGE plpgsql AS \
                     'BEGIN INSERT INTO done VALUES (n); COMMIT; IF n > 1 THEN EXECUTE ''EXECUTE nowhere''; END IF; END'";
    database.execute(procedure, &[]).unwrap();
    let mut client = pool.get().unwrap();
    client.execute("CALL p($1)", &[&1]).unwrap();
    let error = client.execute("CALL p($1)", &[&2]).unwrap_err();
    assert_eq!(error.code().unwrap().code(), "26000");
    assert_eq!(client.query_one("SELECT count(*) FROM done", &[]).unwrap().get::<_, i64>(0), 2);
}

#[test]
fn a_temporary_table_is_found_where_an_earlier_user_had_another() {
    let (pool, database) = single();
    database.execute("CREATE TABLE t (n int)", &[]).unwrap();
    let count = |client: &mut PooledClient| -> i64 { client.query_one("SELECT count(*) FROM t", &[]).unwrap().get(0) };
    assert_eq!(count(&mut pool.get().unwrap()), 0);
    pool.get().unwrap().execute("CREATE TEMPORARY TABLE other (n int)", &[]).unwrap();
    assert_eq!(count(&mut pool.get().unwrap()), 0);
    let mut client = pool.get().unwrap();
    assert_eq!(count(&mut client), 0);
    client.execute("CREATE TEMPORARY TABLE t AS SELECT 1 AS n", &[]).unwrap();
    assert_eq!(count(&mut client), 1);
}

#[test]
fn a_very_long_text_is_not_kept_prepared() {
    let (pool, _database) = single();
    let mut client = pool.get().unwrap();
    for ones in [3, 3000] {
        client.query(&*format!("SELECT 1{}", " + 1".repeat(ones)), &[]).unwrap();
    }
    let kept = "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE 'SELECT 1 + %'";
    wait_until("the long one is closed", || client.query_one(kept, &[]).unwrap().get::<_, i64>(0) == 1);
}

#[test]
fn a_role_of_the_pool_that_was_dropped_and_made_again_is_found() {
    let (database, role) = (fresh(), unique("again"));
    database.roles().create(Role::new(&role)).unwrap();
    let mut options = PoolOptions::new();
    options.maximum = 1;
    options.connect.role = Some(role.clone());
    let pool = Pool::connect(&server().dsn_for(database.current_database(), "postgres"), options).unwrap();
    let user = || pool.get().unwrap().query_one("SELECT current_user::text", &[]).unwrap().get::<_, String>(0);
    assert_eq!(user(), role);
    let again = sql!("DROP ROLE {}; CREATE ROLE {}", Ident(&role), Ident(&role)).to_string();
    // Idle ones were made clean before; the next user's clean-up comes after it.
    let held = pool.get().unwrap();
    database.execute(&again, &[]).unwrap();
    drop(held);
    assert_eq!(user(), role);
}
