//! How long making databases for clients takes, beside a loop of createdb and psql with as many at a time, on the same
//! private server: `cargo bench --bench provision -- [DATABASES TABLES [JOBS]]`.
use pgsteward::testing::{TestServer, TestServerOptions};
use pgsteward::{ClientDatabase, Cluster, Provision};
use std::error::Error;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let numbers: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let (databases, tables) = (numbers.first().copied().unwrap_or(40), numbers.get(1).copied().unwrap_or(50));
    let jobs = numbers.get(2).copied().unwrap_or(4);
    let folder = std::env::temp_dir().join(format!("pgsteward-bench-{}", std::process::id()));
    std::fs::create_dir(&folder)?;
    let result = compare(&folder, databases, tables, jobs);
    std::fs::remove_dir_all(&folder)?;
    result
}

fn compare(folder: &Path, databases: usize, tables: usize, jobs: usize) -> Result<()> {
    let schema = folder.join("schema.sql");
    std::fs::write(&schema, text(tables))?;
    for fsync in ["off", "on"] {
        let mut options = TestServerOptions::new();
        options.settings.push(("fsync".into(), fsync.into()));
        let server = TestServer::with(options)?;
        println!("{}, fsync {fsync}: {databases} databases of {tables} tables, {jobs} at a time", server.version());
        // Each takes its turn to be first: what the server has written by then is not the same.
        for round in 1..=3 {
            let mut times = [Duration::ZERO; 2];
            for which in [round % 2, (round + 1) % 2] {
                times[which] = match which {
                    0 => provision(&server, &schema, &format!("a{round}_"), databases, jobs)?,
                    _ => shell(&server, &schema, &format!("b{round}_"), databases, jobs)?,
                };
            }
            let rate = |time: Duration| databases as f64 / time.as_secs_f64();
            println!(
                "  round {round}: provision {:.1} a second, createdb and psql {:.1} a second, times {:.2}",
                rate(times[0]),
                rate(times[1]),
                rate(times[0]) / rate(times[1])
            );
        }
    }
    Ok(())
}

fn text(tables: usize) -> String {
    let table = |number: usize| {
        format!(
            "CREATE TABLE t{number} (\n    id bigserial PRIMARY KEY,\n    name text NOT NULL DEFAULT 'none',\n    \
             price numeric(12,2) CHECK (price >= 0),\n    made timestamptz DEFAULT now()\n);\n\
             CREATE INDEX ON t{number} (name);\nCOMMENT ON TABLE t{number} IS 'table; number {number}';\n\n"
        )
    };
    (0..tables).map(table).collect()
}

fn provision(server: &TestServer, schema: &Path, start: &str, databases: usize, jobs: usize) -> Result<Duration> {
    let mut provision = Provision::new(ClientDatabase::by_pattern(&format!("{start}{{1..{databases}}}"))?);
    provision.files.push(schema.into());
    provision.jobs = jobs;
    let started = Instant::now();
    let report = Cluster::connect(&server.dsn())?.provision(&provision, |_| ControlFlow::Continue(()))?;
    match report.failed.first() {
        Some((_, error)) => Err(error.clone().into()),
        None => Ok(started.elapsed()),
    }
}

fn shell(server: &TestServer, schema: &Path, start: &str, databases: usize, jobs: usize) -> Result<Duration> {
    let next = AtomicUsize::new(1);
    let run = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.env("PGHOST", server.socket_directory()).env("PGPORT", server.port().to_string());
        command.env("PGUSER", "postgres").args(arguments);
        let output = command.output().map_err(|error| format!("{program}: {error}"))?;
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
    };
    let one = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number > databases {
                return Ok(());
            }
            let (name, schema) = (format!("{start}{number}"), schema.display().to_string());
            run("createdb", &[&name])?;
            run("psql", &["-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", "-d", &name, "-f", &schema])?;
        }
    };
    let started = Instant::now();
    thread::scope(|scope| {
        let crew: Vec<_> = (0..jobs).map(|_| scope.spawn(one)).collect();
        crew.into_iter().try_for_each(|one| one.join().unwrap_or_else(|_| Err("a thread panicked".into())))
    })
    .map_err(|error: String| -> Box<dyn Error> { error.into() })?;
    Ok(started.elapsed())
}
