//! Migrations, each by itself; those of many programs at once are in `migrations_at_once`.
use crate::load::Folder;
use crate::support::{fresh, server, wait_until};
use pgsteward::migrate::{
    ForeignHistory, ForeignProgram, MigrateOptions, Migration, MigrationState, Migrations, Migrator, MissingSchema,
    Repair,
};
use pgsteward::{Cluster, ConnectOptions, Error, Name, Result};
use postgres::NoTls;
use std::thread;
use std::time::{Duration, Instant};

/// The module `users` in a schema of its name, which is made where it is missing.
fn options() -> MigrateOptions {
    let mut options = MigrateOptions::for_module("users");
    options.missing_schema = MissingSchema::Create;
    options
}

fn migrator(cluster: &Cluster, files: &[(&str, &str)]) -> Migrator {
    with(cluster, files, options())
}

fn with(cluster: &Cluster, files: &[(&str, &str)], options: MigrateOptions) -> Migrator {
    Migrator::new(cluster, Migrations::embedded(files.iter().copied()).unwrap(), options).unwrap()
}

fn applied(report: Result<pgsteward::migrate::MigrationReport>) -> Vec<u64> {
    report.unwrap().applied.iter().map(|each| each.version).collect()
}

fn states(migrator: &Migrator) -> Vec<(u64, &'static str)> {
    migrator.status().unwrap().iter().map(|each| (each.version, each.state.word())).collect()
}

fn texts(cluster: &Cluster, question: &str) -> Vec<String> {
    cluster.execute(question, &[]).unwrap().iter().map(|row| row.get(0)).collect()
}

/// The schemas and relations that are not the system's.
fn objects(cluster: &Cluster) -> Vec<String> {
    texts(
        cluster,
        "SELECT n.nspname || COALESCE('.' || c.relname, '') FROM pg_namespace n LEFT JOIN pg_class c \
         ON c.relnamespace = n.oid AND c.relkind IN ('r', 'v') WHERE n.nspname !~ '^pg_' \
         AND n.nspname <> 'information_schema' ORDER BY 1",
    )
}

const TWO: [(&str, &str); 2] = [
    ("001_users.sql", "CREATE TABLE users (id int PRIMARY KEY);\nINSERT INTO {{tables.users}} VALUES (1);\n"),
    ("002_orders.sql", "CREATE TABLE orders (customer int REFERENCES users);"),
];

#[test]
fn p120_each_migration_is_kept_with_its_record_and_applied_once() {
    let cluster = fresh();
    let first = migrator(&cluster, &TWO);
    let report = first.apply().unwrap();
    let told: Vec<_> = report.applied.iter().map(|each| (each.version, each.name.as_str(), each.statements)).collect();
    assert_eq!(told, [(1, "001_users.sql", 2), (2, "002_orders.sql", 1)]);
    assert_eq!(states(&first), [(1, "applied"), (2, "applied")]);
    assert_eq!(objects(&cluster), ["public", "users.orders", "users.pgsteward_migrations", "users.users"]);
    let status = &first.status().unwrap()[0];
    assert_eq!((status.applied_by.as_deref(), status.problem.as_deref()), (Some("postgres"), None));
    assert!(status.applied_at.unwrap().duration_until(jiff::Timestamp::now()).as_secs() < 600);
    assert!(status.duration.unwrap() > Duration::ZERO);
    assert!(applied(first.apply()).is_empty());
    assert_eq!(texts(&cluster, "SELECT count(*)::text FROM users.users"), ["1"]);
}

#[test]
fn p120_of_a_migration_that_fails_nothing_is_left_and_the_error_says_where_it_is() {
    let cluster = fresh();
    let files = [
        TWO[0],
        ("002_bad.sql", "CREATE TABLE a ();\n\n-- here\nALTER TABLE nothing ADD b int, ADD c text DEFAULT 'secret';\n"),
        ("003_c.sql", "CREATE TABLE c ();"),
    ];
    let failing = migrator(&cluster, &files);
    let error = failing.apply().unwrap_err();
    assert_eq!(error.code().unwrap().code(), "42P01");
    let text = error.to_string();
    for words in ["002_bad.sql", "line 4", "ALTER TABLE nothing", "42P01", "applied before it, and stay: 1"] {
        assert!(text.contains(words), "{text}");
    }
    assert!(!text.contains("secret"), "{text}");
    assert_eq!(states(&failing), [(1, "applied"), (2, "pending"), (3, "pending")]);
    assert_eq!(objects(&cluster), ["public", "users.pgsteward_migrations", "users.users"]);
    // A file that was not applied may be changed.
    let mended = [TWO[0], ("002_bad.sql", "CREATE TABLE a ();"), files[2]];
    assert_eq!(applied(migrator(&cluster, &mended).apply()), [2, 3]);
}

#[test]
fn p120_a_deferred_constraint_fails_the_migration_that_breaks_it() {
    let cluster = fresh();
    let files = [(
        "1_a.sql",
        "CREATE TABLE a (id int PRIMARY KEY, other int REFERENCES a DEFERRABLE INITIALLY DEFERRED);\nINSERT INTO a VALUES (1, 2);",
    )];
    let error = migrator(&cluster, &files).apply().unwrap_err();
    let text = error.to_string();
    assert!(
        error.code().unwrap().code() == "23503" && text.contains("1_a.sql") && text.contains("at its end"),
        "{text}"
    );
    assert_eq!(objects(&cluster), ["public", "users.pgsteward_migrations"]);
}

#[test]
fn migrations_are_applied_up_to_a_number() {
    let cluster = fresh();
    let migrator = migrator(&cluster, &[TWO[0], TWO[1], ("010_c.sql", "CREATE TABLE c ();")]);
    assert_eq!(applied(migrator.apply_to(2)), [1, 2]);
    assert_eq!(migrator.pending().unwrap().iter().map(|each| each.version()).collect::<Vec<_>>(), [10]);
    assert!(applied(migrator.apply_to(1)).is_empty());
    assert!(matches!(migrator.apply_to(3), Err(Error::NotFound { what }) if what.contains('3')));
    assert_eq!(applied(migrator.apply_to(10)), [10]);
}

/// Somebody who has an advisory lock of the test's own, for which a migration waits.
struct Gate(postgres::Client);

impl Gate {
    fn closed(cluster: &Cluster) -> Self {
        let mut client =
            postgres::Client::connect(&server().dsn_for(cluster.current_database(), "postgres"), NoTls).unwrap();
        client.batch_execute("SELECT pg_advisory_lock(77)").unwrap();
        Self(client)
    }

    fn wait_until_somebody_waits(&mut self) {
        wait_until("a migration waits", || {
            let waiting = "SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 77 AND NOT granted \
                           AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
            !self.0.query(waiting, &[]).unwrap().is_empty()
        });
    }

    fn open(&mut self) {
        self.0.batch_execute("SELECT pg_advisory_unlock(77)").unwrap();
    }
}

/// Another connection to the same database.
fn beside(cluster: &Cluster, more: &str) -> Cluster {
    let dsn = server().dsn_for(cluster.current_database(), "postgres");
    Cluster::connect(&format!("{dsn} {more}")).unwrap()
}

/// Sessions of this name in the database that are between two statements, in no transaction, with no snapshot; and all of
/// this name there.
fn idle_ones(cluster: &Cluster, application: &str) -> (usize, usize) {
    let question = format!(
        "SELECT COALESCE(state = 'idle' AND backend_xmin IS NULL AND xact_start IS NULL, false)::text FROM pg_stat_activity \
         WHERE application_name = '{application}' AND datname = current_database()"
    );
    let all = texts(cluster, &question);
    (all.iter().filter(|idle| *idle == "true").count(), all.len())
}

const WAITS: &str = "-- pgsteward:no-transaction\nSELECT pg_advisory_lock(77);\nSELECT pg_advisory_unlock(77);\n\
                     CREATE TABLE a (id int);\nCREATE INDEX CONCURRENTLY a_id ON a (id);";

#[test]
fn p121_p122_who_waits_for_another_migrator_has_no_snapshot_and_is_not_cut_short() {
    let cluster = fresh();
    let mut gate = Gate::closed(&cluster);
    let files = [("1_a.sql", WAITS), ("2_b.sql", "CREATE TABLE b ();")];
    let first = thread::spawn({
        let migrator = migrator(&beside(&cluster, "application_name=first"), &files);
        move || applied(migrator.apply())
    });
    gate.wait_until_somebody_waits();
    // The second one is there before the table is.
    let impatient = "application_name=second options='-c lock_timeout=1 -c statement_timeout=2000'";
    let second = thread::spawn({
        let migrator = migrator(&beside(&cluster, impatient), &files);
        move || applied(migrator.apply())
    });
    wait_until("the second one waits", || idle_ones(&cluster, "second") == (2, 2));
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(100) {
        assert_eq!(idle_ones(&cluster, "second").1, 2);
        assert!(!second.is_finished());
    }
    gate.open();
    assert_eq!((first.join().unwrap(), second.join().unwrap()), (vec![1, 2], vec![]));
}

#[test]
fn p121_who_waits_too_long_is_told_who_has_the_lock() {
    let cluster = fresh();
    let mut gate = Gate::closed(&cluster);
    let first = thread::spawn({
        let migrator = migrator(&beside(&cluster, "application_name=holder"), &[("1_a.sql", WAITS)]);
        move || applied(migrator.apply())
    });
    gate.wait_until_somebody_waits();
    let mut hasty = options();
    hasty.lock_wait = Duration::from_millis(50);
    let error = with(&cluster, &TWO, hasty.clone()).apply().unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::InUse { .. }) && text.contains("\"holder\"") && text.contains("process"), "{text}");
    // Other modules, tables and schemas have locks of their own; looking takes none.
    for change in [
        |options: &mut MigrateOptions| options.module = "orders".into(),
        |options: &mut MigrateOptions| options.table = "another".into(),
        |options: &mut MigrateOptions| options.schema = "another".into(),
    ] {
        let mut other = hasty.clone();
        change(&mut other);
        let files = [("7_x.sql", "SELECT 1;")];
        assert_eq!(applied(with(&cluster, &files, other).apply()), [7]);
    }
    let waiting = with(&cluster, &[("1_a.sql", WAITS)], hasty);
    assert_eq!(waiting.status().unwrap()[0].state, MigrationState::Incomplete);
    gate.open();
    assert_eq!(first.join().unwrap(), [1]);
}

#[test]
fn p121_a_wait_for_the_lock_can_be_cancelled() {
    let cluster = fresh();
    let mut gate = Gate::closed(&cluster);
    let holder = migrator(&beside(&cluster, ""), &[("1_a.sql", WAITS)]);
    let holder = thread::spawn(move || applied(holder.apply()));
    gate.wait_until_somebody_waits();
    let other = beside(&cluster, "application_name=other");
    let canceller = other.canceller();
    let waiting = migrator(&other, &TWO);
    let waiting = thread::spawn(move || waiting.apply().unwrap_err().to_string());
    wait_until("it waits", || idle_ones(&cluster, "other") == (2, 2));
    canceller.cancel().unwrap();
    let error = waiting.join().unwrap();
    assert!(error.contains("cancel"), "{error}");
    gate.open();
    assert_eq!(holder.join().unwrap(), [1]);
}

#[test]
fn p123_an_edited_a_missing_and_a_late_file_are_errors_that_name_it_and_nothing_is_run() {
    let cluster = fresh();
    migrator(&cluster, &[TWO[0], TWO[1], ("010_c.sql", "CREATE TABLE c ();")]).apply().unwrap();
    let next = ("011_d.sql", "CREATE TABLE d ();");
    let refused = |files: &[(&str, &str)], name: &str| {
        let migrator = migrator(&cluster, files);
        for error in [migrator.apply().unwrap_err(), migrator.verify().unwrap_err(), migrator.plan().unwrap_err()] {
            assert!(matches!(error, Error::Invalid { .. }) && error.to_string().contains(name), "{error}");
        }
        assert!(!objects(&cluster).contains(&"users.d".to_owned()));
        migrator
    };
    let c = ("10_renamed.sql", "\r\nCREATE TABLE c ();\r\n");
    let edited = refused(&[TWO[0], ("002_orders.sql", "CREATE TABLE orders ();"), c, next], "002_orders.sql");
    assert_eq!(states(&edited), [(1, "applied"), (2, "edited"), (10, "applied"), (11, "pending")]);
    let missing = refused(&[TWO[0], c, next], "002_orders.sql");
    assert_eq!(states(&missing)[1], (2, "missing"));
    let late = refused(&[TWO[0], TWO[1], ("9_late.sql", "SELECT 1"), c, next], "9_late.sql");
    assert_eq!(states(&late)[2], (9, "out-of-order"));
    // How lines end and what the file is called makes no difference.
    assert_eq!(applied(migrator(&cluster, &[TWO[0], TWO[1], c, next]).apply()), [11]);
}

#[test]
fn p123_repairs_are_for_one_migration_each() {
    let cluster = fresh();
    migrator(&cluster, &[TWO[0], TWO[1]]).apply().unwrap();
    let edited = migrator(&cluster, &[TWO[0], ("002_orders.sql", "SELECT 1;")]);
    assert!(matches!(edited.repair(1, Repair::Accept), Err(Error::Invalid { .. })));
    assert!(matches!(edited.repair(3, Repair::Accept), Err(Error::NotFound { .. })));
    assert!(matches!(edited.repair(2, Repair::Resume), Err(Error::Invalid { .. })));
    let plan = cluster.plan(|c| migrator_on(c, &edited).repair(2, Repair::Accept)).unwrap();
    assert!(plan.to_string().contains("UPDATE \"users\".\"pgsteward_migrations\" SET state = 'applied'"), "{plan}");
    assert_eq!(states(&edited)[1], (2, "edited"));
    plan.apply().unwrap();
    assert_eq!(states(&edited), [(1, "applied"), (2, "applied")]);
    let gone = migrator(&cluster, &[TWO[0]]);
    assert!(matches!(gone.repair(2, Repair::Accept), Err(Error::Invalid { .. })));
    gone.repair(2, Repair::Forget).unwrap();
    gone.verify().unwrap();
    // One that came late can be taken for applied, and nothing else.
    let late = migrator(&cluster, &[("000_late.sql", "SELECT 1/0"), TWO[0]]);
    assert!(late.verify().unwrap_err().to_string().contains("accept it as applied"));
    assert!(matches!(late.repair(0, Repair::Forget), Err(Error::NotFound { .. })));
    assert!(matches!(late.repair(0, Repair::Resume), Err(Error::NotFound { .. })));
    late.repair(0, Repair::Accept).unwrap();
    assert_eq!(states(&late), [(0, "baseline"), (1, "applied")]);
    late.repair(0, Repair::Forget).unwrap();
    assert_eq!(states(&late)[0], (0, "out-of-order"));
}

/// The same migrations on a plan's cluster.
fn migrator_on(cluster: &Cluster, like: &Migrator) -> Migrator {
    let files: Vec<_> = like.migrations().iter().map(|each: &Migration| (each.name(), each.text())).collect();
    migrator(cluster, &files)
}

#[test]
fn p124_migrations_of_pgdbm_are_taken_over_and_continued() {
    let cluster = fresh();
    // As pgdbm 0.5 makes it.
    let setup = "CREATE SCHEMA users; CREATE TABLE users.schema_migrations (id SERIAL PRIMARY KEY, filename VARCHAR(255) \
         NOT NULL, checksum VARCHAR(64) NOT NULL, module_name VARCHAR(100), applied_at TIMESTAMP NOT NULL DEFAULT \
         CURRENT_TIMESTAMP, applied_by VARCHAR(100) DEFAULT CURRENT_USER, execution_time_ms INTEGER, \
         UNIQUE(filename, module_name)); CREATE TABLE users.a (); CREATE TABLE users.b ()";
    cluster.execute(setup, &[]).unwrap();
    let files = [
        // A transaction of its own was possible there.
        ("001_a.sql", "BEGIN;\r\nCREATE TABLE {{tables.a}} ();\r\nCOMMIT;\r\n"),
        ("20260101_120000_b.sql", "CREATE TABLE {{tables.b}} ();"),
        ("20260101_120001_c.sql", "CREATE TABLE {{tables.c}} ();"),
    ];
    let pgdbm = ForeignHistory::new(ForeignProgram::Pgdbm);
    let migrator = migrator(&cluster, &files);
    let error = migrator.adopt(&pgdbm).unwrap_err().to_string();
    assert!(error.contains("none of module \"users\""), "{error}");
    let insert = "INSERT INTO users.schema_migrations (filename, checksum, module_name, applied_at, applied_by, execution_time_ms) \
         VALUES ('001_a.sql', encode(sha256(convert_to(E'BEGIN;\\nCREATE TABLE {{tables.a}} ();\\nCOMMIT;', 'UTF8')), 'hex'), \
         'users', '2025-02-03 04:05:06', 'somebody', 12), ('20260101_120000_b.sql', \
         encode(sha256('CREATE TABLE {{tables.b}} ();'), 'hex'), 'users', now(), NULL, NULL), ('20260101_120000_b.sql', \
         encode(sha256('CREATE TABLE {{tables.b}} ();'), 'hex'), NULL, now(), NULL, NULL), \
         ('001_z.sql', 'x', 'another', now(), 'x', 1)";
    cluster.execute(insert, &[]).unwrap();
    let plan = cluster.plan(|c| migrator_on(c, &migrator).adopt(&pgdbm)).unwrap();
    assert!(plan.to_string().contains("INSERT INTO \"users\".\"pgsteward_migrations\""), "{plan}");
    migrator.adopt(&pgdbm).unwrap();
    let status = migrator.status().unwrap();
    assert_eq!((status[0].state, status[0].applied_by.as_deref()), (MigrationState::Applied, Some("somebody")));
    assert_eq!(status[0].duration, Some(Duration::from_millis(12)));
    assert_eq!(applied(migrator.apply()), [20_260_101_120_001]);
    // Again there is nothing left to take over.
    migrator.adopt(&pgdbm).unwrap();
    cluster.execute("UPDATE users.schema_migrations SET checksum = 'other' WHERE filename = '001_a.sql'", &[]).unwrap();
    let error = migrator.adopt(&pgdbm).unwrap_err().to_string();
    assert!(error.contains("001_a.sql") && error.contains("edited"), "{error}");
    let more = "INSERT INTO users.schema_migrations (filename, checksum) VALUES ('init.sql', 'x')";
    cluster.execute(more, &[]).unwrap();
    assert!(migrator.adopt(&pgdbm).unwrap_err().to_string().contains("init.sql"));
}

/// pgdbm itself applies what is in a folder.
const PGDBM: &str = "
import asyncio, sys
from pgdbm import AsyncDatabaseManager, AsyncMigrationManager, DatabaseConfig
async def main(dsn, folder):
    pool = await AsyncDatabaseManager.create_shared_pool(DatabaseConfig(connection_string=dsn))
    db = AsyncDatabaseManager(pool=pool, schema='users')
    await AsyncMigrationManager(db, folder).apply_pending_migrations()
    await pool.close()
asyncio.run(main(*sys.argv[1:]))
";

#[test]
fn p124_what_pgdbm_itself_applied_is_taken_over() {
    let Ok(package) = std::env::var("PGSTEWARD_PGDBM") else {
        println!("SKIPPED: PGSTEWARD_PGDBM names no directory with the Python package pgdbm");
        return;
    };
    let (cluster, folder) = (fresh(), Folder::new());
    cluster.execute("CREATE SCHEMA users", &[]).unwrap();
    folder.write("001_a.sql", "\n\t-- büro\r\nCREATE TABLE {{tables.a}} (id int);\r\n\r\n");
    folder.write("V2__b.sql", "-- pgdbm:no-transaction\nCREATE INDEX CONCURRENTLY ON {{tables.a}} (id);\n");
    folder.write("20260101_120000_c.sql", "CREATE TABLE {{tables.c}} ();\r");
    let (socket, port) = (server().socket_directory().display(), server().port());
    let dsn = format!("postgresql://postgres@/{}?host={socket}&port={port}", cluster.current_database());
    let mut python = std::process::Command::new("python3");
    python.env("PYTHONPATH", package).args(["-c", PGDBM, &dsn]).arg(folder.path());
    let output = python.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    folder.write("20260101_120001_d.sql", "CREATE TABLE {{tables.d}} ();");
    let migrator = Migrator::new(&cluster, Migrations::from_directory(folder.path()).unwrap(), options()).unwrap();
    migrator.adopt(&ForeignHistory::new(ForeignProgram::Pgdbm)).unwrap();
    assert_eq!(applied(migrator.apply()), [20_260_101_120_001]);
    assert!(migrator.status().unwrap()[0].applied_at.unwrap().duration_until(jiff::Timestamp::now()).as_secs() < 600);
}

#[test]
fn p124_migrations_of_refinery_are_taken_over_and_continued() {
    let cluster = fresh();
    // As refinery 0.8 left it, with the checksums that it made.
    let setup = "CREATE TABLE refinery_schema_history (version INT4 PRIMARY KEY, name VARCHAR(255), applied_on VARCHAR(255), \
         checksum VARCHAR(255)); INSERT INTO refinery_schema_history VALUES \
         (1, 'initial', '2026-11-21T18:58:03.123456789Z', '1091441964215326441'), \
         (12, 'büro_x', '2026-11-21T19:58:03.5+01:00', '2219037538230265446')";
    cluster.execute(setup, &[]).unwrap();
    let files = [
        ("V1__initial.sql", "CREATE TABLE persons (id int);\n"),
        ("V12__büro_x.sql", "SELECT 'é';\r\n"),
        ("V13__more.sql", "CREATE TABLE more ();"),
    ];
    let migrator = migrator(&cluster, &files);
    let mut refinery = ForeignHistory::new(ForeignProgram::Refinery);
    assert!(migrator.adopt(&refinery).unwrap_err().is_not_found());
    refinery.table = Some(Name::new("public", "refinery_schema_history"));
    migrator.adopt(&refinery).unwrap();
    let status = migrator.status().unwrap();
    assert_eq!(status[1].applied_at, Some("2026-11-21T18:58:03.5Z".parse().unwrap()));
    assert_eq!(applied(migrator.apply()), [13]);
    let other =
        with(&cluster, &[("V1__initial.sql", "CREATE TABLE persons (id int);"), files[1]], MigrateOptions::new());
    let error = other.adopt(&refinery).unwrap_err().to_string();
    assert!(error.contains("V1__initial.sql") && error.contains("edited") && !error.contains("V12"), "{error}");
}

const INDEXES: &str = "-- pgsteward:no-transaction\nCREATE INDEX CONCURRENTLY one ON users (id);\n\
                       CREATE UNIQUE INDEX CONCURRENTLY two ON users (name);\nCREATE INDEX CONCURRENTLY three ON users (name);";

#[test]
fn p125_what_was_done_without_a_transaction_is_told_and_nothing_goes_on_before_it_is_repaired() {
    let cluster = fresh();
    let users =
        ("001_users.sql", "CREATE TABLE users (id int, name text); INSERT INTO users VALUES (1, 'a'), (2, 'a');");
    let all = [users, ("002_indexes.sql", INDEXES), ("003_more.sql", "CREATE TABLE more ();")];
    let migrator = migrator(&cluster, &all);
    let error = migrator.apply().unwrap_err();
    let text = error.to_string();
    assert_eq!(error.code().unwrap().code(), "23505");
    for words in ["002_indexes.sql", "line 3", "1 of its 3 statements are done", "repair"] {
        assert!(text.contains(words), "{text}");
    }
    assert_eq!(states(&migrator), [(1, "applied"), (2, "incomplete"), (3, "pending")]);
    let error = migrator.apply().unwrap_err().to_string();
    assert!(error.contains("002_indexes.sql") && error.contains("1 of its statements"), "{error}");
    // The second index is there, and not valid.
    cluster.execute("DROP INDEX users.two; UPDATE users.users SET name = id", &[]).unwrap();
    migrator.repair(2, Repair::Resume).unwrap();
    assert_eq!(states(&migrator)[1], (2, "resumable"));
    let plan = migrator.plan().unwrap().to_string();
    assert!(plan.contains("CONCURRENTLY two") && !plan.contains("CONCURRENTLY one"), "{plan}");
    assert_eq!(applied(migrator.apply()), [2, 3]);
    let indexes = "SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = 'users.users'::regclass AND indisvalid ORDER BY 1";
    assert_eq!(texts(&cluster, indexes), ["users.one", "users.three", "users.two"]);
}

#[test]
fn p125_what_is_resumed_has_the_settings_of_the_statements_that_were_done() {
    let cluster = fresh();
    cluster.execute("CREATE SCHEMA other", &[]).unwrap();
    let text = "-- pgsteward:no-transaction\nSET search_path = other;\nSET work_mem = '64kB';\nRESET work_mem;\nCREATE TABLE a ();\n\
                SELECT 1 / count(*) FROM pg_class WHERE relname = 'gate';\nCREATE TABLE b ();";
    let migrator = migrator(&cluster, &[("1_a.sql", text)]);
    let error = migrator.apply().unwrap_err();
    assert!(error.code().unwrap().code() == "22012" && error.to_string().contains("4 of its 6"), "{error}");
    cluster.execute("CREATE TABLE public.gate ()", &[]).unwrap();
    migrator.repair(1, Repair::Resume).unwrap();
    // A file that changes after that is looked at again before it goes on, and never counts as one that was applied.
    let changed = format!("{text}\nCREATE TABLE c ();");
    let changed = self::migrator(&cluster, &[("1_a.sql", changed.as_str())]);
    assert_eq!(states(&changed), [(1, "incomplete")]);
    changed.repair(1, Repair::Resume).unwrap();
    migrator.repair(1, Repair::Resume).unwrap();
    let plan = migrator.plan().unwrap().to_string();
    let places = ["SET search_path = \"users\"", "SET search_path = other", "RESET work_mem", "TABLE b"]
        .map(|words| plan.find(words).unwrap_or_else(|| panic!("{words}: {plan}")));
    assert!(places.is_sorted() && !plan.contains("TABLE a"), "{plan}");
    assert_eq!(applied(migrator.apply()), [1]);
    assert_eq!(objects(&cluster)[..2], ["other.a", "other.b"]);
}

#[test]
fn p125_an_incomplete_migration_can_be_forgotten_or_accepted() {
    let cluster = fresh();
    let text = "-- pgsteward:no-transaction\nCREATE TABLE IF NOT EXISTS a ();\nSELECT 1 / count(*) FROM pg_class WHERE relname = 'b'";
    let migrator = migrator(&cluster, &[("1_a.sql", text)]);
    assert_eq!(migrator.apply().unwrap_err().code().unwrap().code(), "22012");
    migrator.repair(1, Repair::Forget).unwrap();
    assert_eq!(states(&migrator), [(1, "pending")]);
    assert_eq!(migrator.apply().unwrap_err().code().unwrap().code(), "22012");
    migrator.repair(1, Repair::Accept).unwrap();
    assert_eq!(states(&migrator), [(1, "applied")]);
    assert!(applied(migrator.apply()).is_empty());
}

#[test]
fn p126_statements_are_sent_whole() {
    let cluster = fresh();
    let text = "CREATE TABLE \"a;b\" (id int, \"c;d\" text);\nINSERT INTO \"a;b\" VALUES (1, E'a\\';b'), (2, 'it''s;'); /* ; /* ; */ ; */\n\
        CREATE RULE r AS ON DELETE TO \"a;b\" DO ALSO (SELECT 1; SELECT 2);\n\
        CREATE FUNCTION f() RETURNS text LANGUAGE plpgsql AS $a$b$ BEGIN RETURN $$;$$; END; $a$b$;\n\
        DO $x$ BEGIN PERFORM 1; END; $x$;\nSELECT 1 AS a$b$;\n";
    // `$a$b$` is no delimiter: it is `$a$` and what follows.
    let text = text.replace("$a$b$", "$a$");
    let atomic =
        "CREATE FUNCTION g() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END;\nSELECT 3";
    let major = cluster.version().major();
    let mut files = vec![("1_a.sql", text.as_str())];
    if major >= 14 {
        files.push(("2_b.sql", atomic));
    }
    let report = migrator(&cluster, &files).apply().unwrap();
    assert_eq!(report.applied[0].statements, 6);
    assert!(major < 14 || report.applied[1].statements == 2);
    assert_eq!(texts(&cluster, "SELECT \"c;d\" FROM users.\"a;b\" ORDER BY id"), ["a';b", "it's;"]);
    assert_eq!(texts(&cluster, "SELECT users.f()"), [";"]);
}

#[test]
fn p127_what_cannot_be_run_is_refused_before_anything_is() {
    let cluster = fresh();
    for (text, word) in [
        ("CREATE TABLE a ();\nCOMMIT;", "COMMIT"),
        ("CREATE TABLE a ();\nROLLBACK;", "ROLLBACK"),
        ("CREATE TABLE a ();\nCOPY a FROM stdin;\n\\.\n", "COPY"),
        ("CREATE TABLE a ();\n\\copy a from 'x'\n", "\\copy"),
        ("CREATE TABLE a ();\nSELECT {{tables.a", "braces"),
        ("-- nothing\n", "no statement"),
        ("", "no statement"),
    ] {
        let migrator = migrator(&cluster, &[TWO[0], ("002_bad.sql", text)]);
        for error in [migrator.apply().unwrap_err(), migrator.verify().unwrap_err(), migrator.plan().unwrap_err()] {
            let text = error.to_string();
            assert!(text.contains("002_bad.sql") && text.contains(word), "{text}");
        }
        assert_eq!(objects(&cluster), ["public"]);
        // What is applied up to is all that has to be right.
        assert_eq!(states(&migrator), [(1, "pending"), (2, "pending")]);
    }
    assert_eq!(applied(migrator(&cluster, &[("1_a.sql", "\u{feff}CREATE TABLE a ();")]).apply()), [1]);
}

#[test]
fn p127_looking_and_planning_make_nothing_in_a_fresh_database() {
    let cluster = fresh();
    let migrator = migrator(
        &cluster,
        &[TWO[0], ("002_index.sql", "-- pgsteward:no-transaction\nCREATE INDEX CONCURRENTLY ON users (id)")],
    );
    assert_eq!(states(&migrator), [(1, "pending"), (2, "pending")]);
    migrator.verify().unwrap();
    let plan = migrator.plan().unwrap();
    let text = plan.to_string();
    let expected = [
        "CREATE SCHEMA \"users\";",
        "CREATE TABLE \"users\".\"pgsteward_migrations\"",
        "BEGIN;",
        "SET search_path = \"users\";",
        "INSERT INTO \"users\".\"users\" VALUES (1);",
        "'applied', 2, ",
        "COMMIT;",
        "'incomplete', 0, ",
        "CONCURRENTLY ON users",
        "SET state = 'incomplete', statements_done = 1",
        "SET state = 'applied'",
    ];
    let places: Vec<_> =
        expected.iter().map(|words| text.find(words).unwrap_or_else(|| panic!("{words}: {text}"))).collect();
    assert!(places.is_sorted(), "{text}");
    assert_eq!(objects(&cluster), ["public"]);
    plan.apply().unwrap();
    assert_eq!(states(&migrator), [(1, "applied"), (2, "applied")]);
    assert!(migrator.plan().unwrap().is_empty());
}

#[test]
fn p127_the_statements_of_a_plan_do_what_applying_does() {
    let cluster = fresh();
    let migrator = migrator(&cluster, &[TWO[0], TWO[1], ("3_c.sql", "SET search_path = public; SET ROLE pg_monitor;")]);
    let plan = migrator.plan().unwrap();
    let mut client =
        postgres::Client::connect(&server().dsn_for(cluster.current_database(), "postgres"), NoTls).unwrap();
    for statement in plan.script().statements() {
        client.batch_execute(&statement.to_string()).unwrap();
    }
    assert_eq!(states(&migrator), [(1, "applied"), (2, "applied"), (3, "applied")]);
    assert!(applied(migrator.apply()).is_empty());
}

#[test]
fn p128_a_module_keeps_to_its_schema_and_its_table() {
    let cluster = fresh();
    let (users, mut orders) = (migrator(&cluster, &TWO), MigrateOptions::for_module("orders"));
    users.apply().unwrap();
    let files = [("001_items.sql", "CREATE TABLE items ();")];
    let without = with(&cluster, &files, orders.clone());
    for error in [without.apply().unwrap_err(), without.verify().unwrap_err(), without.plan().unwrap_err()] {
        assert!(matches!(&error, Error::NotFound { what } if what.contains("\"orders\"")), "{error}");
    }
    assert_eq!(states(&without), [(1, "pending")]);
    assert_eq!(objects(&cluster).len(), 4);
    orders.missing_schema = MissingSchema::Create;
    orders.table = "History".into();
    assert_eq!(applied(with(&cluster, &files, orders.clone()).apply()), [1]);
    assert!(objects(&cluster).contains(&"orders.History".to_owned()));
    // What belongs to another module is found only by its schema.
    let reaching = [files[0], ("002_reach.sql", "INSERT INTO users VALUES (2);")];
    assert_eq!(with(&cluster, &reaching, orders.clone()).apply().unwrap_err().code().unwrap().code(), "42P01");
    let named = [files[0], ("002_reach.sql", "INSERT INTO {{tables.users.users}} VALUES (2);")];
    assert_eq!(applied(with(&cluster, &named, orders.clone()).apply()), [2]);
    orders.search_path = vec!["users".into()];
    let opted = [files[0], named[1], ("003_reach.sql", "INSERT INTO users VALUES (3);")];
    assert_eq!(applied(with(&cluster, &opted, orders).apply()), [3]);
    assert_eq!(states(&users), [(1, "applied"), (2, "applied")]);
    // Two modules in one schema share a table.
    let mut third = options();
    third.module = "third".into();
    assert_eq!(applied(with(&cluster, &[("001_t.sql", "CREATE TABLE t ();")], third).apply()), [1]);
    assert_eq!(states(&users).len(), 2);
}

#[test]
fn p105_modules_that_make_one_schema_and_one_table_at_once_do_not_fail() {
    for _ in 0..5 {
        let cluster = fresh();
        let start = std::sync::Barrier::new(8);
        thread::scope(|scope| {
            for number in 0..8 {
                let (own, start) = (beside(&cluster, ""), &start);
                scope.spawn(move || {
                    let mut options = options();
                    options.module = format!("module_{number}");
                    let text = format!("CREATE TABLE t{number} ()");
                    let migrator = with(&own, &[("1_t.sql", text.as_str())], options);
                    start.wait();
                    assert_eq!(applied(migrator.apply()), [1]);
                });
            }
        });
        assert_eq!(objects(&cluster).len(), 10);
    }
}

#[test]
fn what_a_migration_sets_or_becomes_does_not_reach_the_next() {
    let cluster = fresh();
    cluster.execute("CREATE TABLE public.t (id int)", &[]).unwrap();
    let look = "DO $$ BEGIN IF current_setting('search_path') <> 'users' OR current_setting('work_mem') <> '123kB' \
        OR current_user <> 'postgres' OR to_regclass('pg_temp.t') IS NOT NULL THEN RAISE 'it leaked: % % %', \
        current_setting('search_path'), current_setting('work_mem'), current_user; END IF; END $$";
    let leak = "SET search_path = public; SET work_mem = '64kB'; CREATE TEMP TABLE t (); PREPARE p AS SELECT 1; \
        DECLARE c CURSOR WITH HOLD FOR SELECT FROM pg_temp.t; LISTEN l; SET ROLE pg_monitor;";
    let nothing = "DO $$ BEGIN IF EXISTS (SELECT FROM pg_prepared_statements) OR EXISTS (SELECT FROM pg_listening_channels()) \
        OR EXISTS (SELECT FROM pg_cursors WHERE is_holdable) THEN RAISE 'it leaked'; END IF; END $$";
    let alone = "-- pgsteward:no-transaction\nSET work_mem = '64kB';\nSET standard_conforming_strings = on; RESET ALL; SELECT '\\';";
    let look = format!("{look};\n{nothing}");
    let files = [("1_a.sql", leak), ("2_b.sql", &look), ("3_c.sql", alone), ("4_d.sql", &look), ("5_e.sql", leak)];
    let settings = beside(&cluster, "options='-c work_mem=123kB -c standard_conforming_strings=off'");
    assert_eq!(applied(migrator(&settings, &files).apply()), [1, 2, 3, 4, 5]);
    assert_eq!(texts(&cluster, "SELECT to_regclass('public.t')::text"), ["t"]);
}

#[test]
fn the_text_of_a_migration_is_read_in_utf_8_whatever_it_sets() {
    let cluster = fresh();
    let text = "SET client_encoding = 'LATIN1';\nCREATE TABLE t AS SELECT 'é'::text AS a;\nSET NAMES 'LATIN1';\n\
                INSERT INTO t VALUES ('é');";
    let migrator = migrator(&cluster, &[("1_a.sql", text)]);
    let plan = migrator.plan().unwrap();
    assert_eq!(applied(migrator.apply()), [1]);
    assert_eq!(texts(&cluster, "SELECT DISTINCT a FROM users.t"), ["é"]);
    assert_eq!(plan.to_string().matches("SET client_encoding = 'UTF8'").count(), 2, "{plan}");
}

#[test]
fn migrations_run_as_the_role_that_the_cluster_becomes() {
    let cluster = fresh();
    let role = crate::support::unique("owner");
    cluster
        .execute(&format!("CREATE ROLE {role}; GRANT CREATE ON DATABASE {} TO {role}", cluster.current_database()), &[])
        .unwrap();
    let mut connect = ConnectOptions::new();
    connect.role = Some(role.clone());
    let config: postgres::Config = server().dsn_for(cluster.current_database(), "postgres").parse().unwrap();
    let owner = Cluster::connect_with(config, connect).unwrap();
    let files =
        [TWO[0], ("2_b.sql", "RESET ROLE; SET SESSION AUTHORIZATION pg_monitor"), ("3_c.sql", "CREATE TABLE c ()")];
    assert_eq!(applied(migrator(&owner, &files).apply()), [1, 2, 3]);
    let owners = "SELECT DISTINCT tableowner::text FROM pg_tables WHERE schemaname = 'users'";
    assert_eq!(texts(&cluster, owners), [role]);
    assert_eq!(migrator(&owner, &files).status().unwrap()[2].applied_by.as_deref(), Some("postgres"));
}

#[test]
fn a_migration_that_lets_go_of_the_lock_is_the_last_one() {
    let cluster = fresh();
    let files = [("1_a.sql", "-- pgsteward:no-transaction\nSELECT pg_advisory_unlock_all();"), ("2_b.sql", "SELECT 1")];
    let error = migrator(&cluster, &files).apply().unwrap_err().to_string();
    assert!(error.contains("lock is gone"), "{error}");
    assert_eq!(states(&migrator(&cluster, &files)), [(1, "applied"), (2, "pending")]);
}

#[test]
fn migrators_whose_connection_is_lost_do_not_go_on() {
    let cluster = fresh();
    let files = [(
        "1_a.sql",
        "-- pgsteward:no-transaction\nCREATE TABLE a ();\nSELECT pg_terminate_backend(pg_backend_pid());\nCREATE TABLE b ();",
    )];
    let migrator = migrator(&cluster, &files);
    let error = migrator.apply().unwrap_err();
    assert!(matches!(error, Error::Connection { .. }) && error.to_string().contains("1 of its 3"), "{error}");
    assert_eq!(objects(&cluster), ["public", "users.a", "users.pgsteward_migrations"]);
    assert_eq!(states(&migrator), [(1, "incomplete")]);
}

#[test]
fn a_baseline_counts_as_applied_and_is_not_run() {
    let cluster = fresh();
    cluster.execute("CREATE SCHEMA users; CREATE TABLE users.users (id int PRIMARY KEY)", &[]).unwrap();
    let migrator = migrator(&cluster, &TWO);
    assert!(matches!(migrator.baseline(7), Err(Error::NotFound { .. })));
    let plan = cluster.plan(|c| migrator_on(c, &migrator).baseline(1)).unwrap();
    assert!(plan.to_string().contains("'baseline'") && objects(&cluster).len() == 2, "{plan}");
    migrator.baseline(1).unwrap();
    migrator.baseline(1).unwrap();
    assert_eq!(states(&migrator), [(1, "baseline"), (2, "pending")]);
    assert_eq!(applied(migrator.apply()), [2]);
    assert_eq!(texts(&cluster, "SELECT count(*)::text FROM users.users"), ["0"]);
}

#[test]
fn migrations_are_refused_where_they_would_be_part_of_something_else() {
    let cluster = fresh();
    let migrator = migrator(&cluster, &TWO);
    let inside = cluster.transaction(|| migrator.apply());
    assert!(inside.unwrap_err().to_string().contains("transaction"));
    let client = postgres::Client::connect(&server().dsn_for(cluster.current_database(), "postgres"), NoTls).unwrap();
    let handed_in = Cluster::from_client(client).unwrap();
    assert!(matches!(migrator_on(&handed_in, &migrator).apply(), Err(Error::Unsupported { .. })));
    assert_eq!(states(&migrator_on(&handed_in, &migrator)), [(1, "pending"), (2, "pending")]);
    assert_eq!(objects(&cluster), ["public"]);
    // What a transaction refuses is told with its SQLSTATE.
    let error =
        self::migrator(&cluster, &[("1_a.sql", "CREATE TABLE a (id int);\nCREATE INDEX CONCURRENTLY ON a (id)")]);
    let error = error.apply().unwrap_err();
    assert_eq!(error.code().unwrap().code(), "25001");
    assert!(error.to_string().contains("\"-- pgsteward:no-transaction\""), "{error}");
}

#[test]
fn a_role_without_rights_is_told_what_it_lacks() {
    let cluster = fresh();
    let role = crate::support::unique("poor");
    cluster.execute(&format!("CREATE ROLE {role} LOGIN; CREATE SCHEMA users"), &[]).unwrap();
    let poor = crate::support::connect(cluster.current_database(), &role);
    let error = migrator(&poor, &TWO).apply().unwrap_err();
    assert!(matches!(error, Error::Denied { .. }) && error.to_string().contains("pgsteward_migrations"), "{error}");
    migrator(&cluster, &TWO).apply().unwrap();
    assert!(matches!(migrator(&poor, &TWO).status(), Err(Error::Denied { .. })));
}

#[test]
fn migrations_are_read_from_a_folder() {
    let (cluster, folder) = (fresh(), Folder::new());
    let read = || Migrations::from_directory(folder.path());
    assert!(read().unwrap().is_empty());
    assert_eq!(read().unwrap().next_name("users").unwrap(), "001_users.sql");
    folder.write("001_users.sql", TWO[0].1);
    folder.write("README.md", "no migration");
    std::fs::create_dir(folder.path().join("003_folder.sql")).unwrap();
    let migrator = Migrator::new(&cluster, read().unwrap(), options()).unwrap();
    assert_eq!(applied(migrator.apply()), [1]);
    std::os::unix::fs::symlink("/nowhere/at/all", folder.path().join("002_gone.sql")).unwrap();
    let gone = read().unwrap_err();
    assert!(matches!(gone, Error::Io { .. }) && gone.to_string().contains("002_gone.sql"), "{gone}");
    std::fs::remove_file(folder.path().join("002_gone.sql")).unwrap();
    folder.write("setup.sql", "SELECT 1");
    assert!(read().unwrap_err().to_string().contains("setup.sql"));
    let gone = Migrations::from_directory(folder.path().join("none")).unwrap_err();
    assert!(matches!(gone, Error::Io { .. }) && gone.to_string().contains("none"), "{gone}");
}
