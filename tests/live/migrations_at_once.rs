//! Migrations by many programs at once, and by programs that are killed.
use crate::load::Folder;
use crate::support::wait_until;
use pgsteward::Cluster;
use pgsteward::migrate::{MigrateOptions, MigrationState, Migrations, Migrator, MissingSchema, Repair};
use pgsteward::testing::{TestServer, TestServerOptions};
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What the program does that is started many times, or killed: it applies the migrations that it is told.
#[test]
#[ignore = "run by the tests that start it"]
fn the_program_that_migrates() {
    let Ok(dsn) = std::env::var("PGSTEWARD_MIGRATE_DSN") else { return };
    let migrations = Migrations::from_directory(std::env::var_os("PGSTEWARD_MIGRATE_DIRECTORY").unwrap()).unwrap();
    let cluster = Cluster::connect(&dsn).unwrap();
    // All begin when the test lets them.
    cluster.execute("SELECT pg_advisory_lock_shared(1)", &[]).unwrap();
    cluster.execute("SELECT pg_advisory_unlock_shared(1)", &[]).unwrap();
    let schema = std::env::var("PGSTEWARD_MIGRATE_SCHEMA").unwrap();
    let report = migrator(&cluster, migrations, &schema).apply().unwrap();
    println!("applied {}.", report.applied.len());
}

fn migrator(cluster: &Cluster, migrations: Migrations, schema: &str) -> Migrator {
    let mut options = MigrateOptions::for_module(schema);
    options.missing_schema = MissingSchema::Create;
    Migrator::new(cluster, migrations, options).unwrap()
}

/// A server and a folder for programs that migrate.
struct Stage {
    server: TestServer,
    cluster: Cluster,
    folder: Folder,
}

impl Stage {
    fn new(files: &[(&str, &str)]) -> Self {
        let mut options = TestServerOptions::new();
        options.settings.push(("max_connections".into(), "150".into()));
        let server = TestServer::with(options).unwrap();
        let (cluster, folder) = (Cluster::connect(&server.dsn()).unwrap(), Folder::new());
        files.iter().for_each(|(name, text)| drop(folder.write(name, text)));
        Self { server, cluster, folder }
    }

    fn migrator(&self, schema: &str) -> Migrator {
        migrator(&self.cluster, Migrations::from_directory(self.folder.path()).unwrap(), schema)
    }

    fn start(&self, schema: &str) -> Child {
        let mut program = Command::new(std::env::current_exe().unwrap());
        program.args(["--exact", "--ignored", "--nocapture", "migrations_at_once::the_program_that_migrates"]);
        program.env("PGSTEWARD_MIGRATE_DSN", format!("{} application_name=migrator", self.server.dsn()));
        program.env("PGSTEWARD_MIGRATE_DIRECTORY", self.folder.path()).env("PGSTEWARD_MIGRATE_SCHEMA", schema);
        program.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn count(&self, question: &str) -> i64 {
        self.cluster.execute(question, &[]).unwrap()[0].get(0)
    }

    fn hold(&self) {
        self.cluster.execute("SELECT pg_advisory_lock(1)", &[]).unwrap();
    }

    /// Lets them go when so many of them wait.
    fn release(&self, programs: i64) {
        let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
        wait_until("all programs are there", || self.count(waiting) == programs);
        self.cluster.execute("SELECT pg_advisory_unlock(1)", &[]).unwrap();
    }

    /// Waits until the server has noticed that programs are gone.
    fn wait_for_the_end(&self) {
        let there = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'migrator'";
        wait_until("the sessions have ended", || self.count(there) == 0);
    }
}

const AT_ONCE: [(&str, &str); 3] = [
    ("001_items.sql", "CREATE TABLE items (id int);\nINSERT INTO items VALUES (1);"),
    ("002_index.sql", "-- pgsteward:no-transaction\nCREATE INDEX CONCURRENTLY items_id ON items (id);"),
    ("003_more.sql", "INSERT INTO items VALUES (2);"),
];

fn many_start_at_once(rounds: usize, programs: i64) {
    let stage = Stage::new(&AT_ONCE);
    let mut slowest = Duration::ZERO;
    for round in 0..rounds {
        let schema = format!("round_{round}");
        stage.hold();
        let children: Vec<Child> = (0..programs).map(|_| stage.start(&schema)).collect();
        stage.release(programs);
        let began = Instant::now();
        let mut applied = BTreeMap::new();
        for child in children {
            let output = child.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
            let number = said.split("applied ").nth(1).unwrap().split('.').next().unwrap().to_owned();
            *applied.entry(number).or_insert(0) += 1;
        }
        slowest = slowest.max(began.elapsed());
        assert_eq!(applied, BTreeMap::from([("0".into(), programs - 1), ("3".into(), 1)]), "round {round}");
        assert_eq!(stage.count(&format!("SELECT sum(id) FROM {schema}.items")), 3);
        stage.migrator(&schema).verify().unwrap();
    }
    println!("{programs} programs, {rounds} rounds: none failed, each migration applied once, {slowest:.1?} at most");
}

#[test]
fn p122_of_many_programs_that_start_at_once_one_applies_each_migration() {
    many_start_at_once(3, 12);
}

#[test]
#[ignore = "takes minutes; scripts/soak runs it"]
fn fifty_times_32_programs_start_at_once() {
    many_start_at_once(50, 32);
}

/// Migrations of which each can be told how much of it was done: `done` has a row for each statement.
fn files_to_be_killed() -> Vec<(String, String)> {
    let text = |number: usize| match number {
        1 => "CREATE TABLE done (migration int, statement int);".to_owned(),
        _ => {
            let mark = if number % 3 == 0 { "-- pgsteward:no-transaction\n" } else { "" };
            let insert =
                |statement: usize| format!("INSERT INTO done SELECT {number}, {statement} FROM pg_sleep(0.001);\n");
            format!("{mark}{}", (1..=STATEMENTS).map(insert).collect::<String>())
        }
    };
    (1..=MIGRATIONS).map(|number| (format!("{number:03}_step.sql"), text(number))).collect()
}

const MIGRATIONS: usize = 7;
const STATEMENTS: usize = 5;

/// What is in the database is what is recorded; returns the migration that is incomplete, and how much of it was done
/// that is not recorded.
fn compare(stage: &Stage, schema: &str) -> Option<(u64, i64)> {
    let mut incomplete = None;
    for status in stage.migrator(schema).status().unwrap().iter().skip(1) {
        let made = stage.count(&format!("SELECT count(to_regclass('{schema}.done'))")) == 1;
        let count = format!("SELECT count(*) FROM {schema}.done WHERE migration = {}", status.version);
        let there = if made { stage.count(&count) } else { 0 };
        match status.state {
            MigrationState::Applied => assert_eq!(there, STATEMENTS as i64, "{status:?}"),
            MigrationState::Pending => assert_eq!(there, 0, "{status:?}"),
            MigrationState::Incomplete => {
                let more = there - status.statements_done as i64;
                assert!(more == 0 || more == 1, "{status:?} {there}");
                assert!(incomplete.replace((status.version, more)).is_none());
            }
            _ => panic!("{status:?}"),
        }
    }
    incomplete
}

fn killed_at_random_moments(rounds: u64) {
    let files = files_to_be_killed();
    let files: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let stage = Stage::new(&files);
    let recorded = |schema: &str| {
        let status = stage.migrator(schema).status().unwrap();
        status.iter().filter(|each| !each.state.is_pending()).count()
    };
    // Killed when so many migrations are recorded, and a little later.
    let run = |schema: &str, kill: Option<(usize, Duration)>| {
        stage.hold();
        let mut child = stage.start(schema);
        stage.release(1);
        if let Some((enough, later)) = kill {
            wait_until("migrations are recorded", || recorded(schema) >= enough || child.try_wait().unwrap().is_some());
            std::thread::sleep(later);
            child.kill().unwrap();
        }
        let output = child.wait_with_output().unwrap();
        assert!(kill.is_some() || output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        stage.wait_for_the_end();
    };
    let (mut halves, mut ends) = (0, BTreeMap::new());
    for round in 0..rounds {
        let (schema, random) = (format!("round_{round}"), RandomState::new().hash_one(round));
        run(&schema, Some((random as usize % MIGRATIONS, Duration::from_micros(random >> 8 & 0x7fff))));
        let incomplete = compare(&stage, &schema);
        *ends.entry(recorded(&schema)).or_insert(0) += 1;
        if let Some((version, more)) = incomplete {
            halves += 1;
            if more == 1 {
                let last = format!(
                    "DELETE FROM {schema}.done d WHERE migration = {version} AND statement = \
                     (SELECT max(statement) FROM {schema}.done WHERE migration = {version})"
                );
                stage.cluster.execute(&last, &[]).unwrap();
            }
            stage.migrator(&schema).repair(version, Repair::Resume).unwrap();
        }
        run(&schema, None);
        assert_eq!(compare(&stage, &schema), None);
        let complete = ((MIGRATIONS - 1) * STATEMENTS) as i64;
        assert_eq!(stage.count(&format!("SELECT count(*) FROM (SELECT DISTINCT * FROM {schema}.done) d")), complete);
        assert_eq!(stage.count(&format!("SELECT count(*) FROM {schema}.done")), complete);
    }
    println!(
        "{rounds} killed with so many migrations recorded (times): {ends:?}; {halves} incomplete and resumed, none half recorded"
    );
}

#[test]
fn p120_a_program_that_is_killed_leaves_no_migration_half_recorded() {
    killed_at_random_moments(8);
}

#[test]
#[ignore = "takes a minute; scripts/soak runs it"]
fn a_hundred_programs_killed_at_random_moments() {
    killed_at_random_moments(100);
}
