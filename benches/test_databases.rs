//! What a database for a test costs, from its making to its end, with one query in between: a copy of a template of 50 tables
//! with a primary key, beside an empty database into which the same tables are loaded. With PGSTEWARD_PGDBM, a Python that
//! has the package pgdbm, also beside its test database, in both ways: `cargo bench --bench test_databases -- [ROUNDS]`.
use pgsteward::testing::{Template, TestDatabase, TestServer};
use std::error::Error;
use std::process::Command;
use std::time::Instant;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The template for who cannot make one.
const PREPARED: &str = "bench_template";

fn main() -> Result<()> {
    let rounds = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(30);
    let server = TestServer::start()?;
    let schema: String = (1..=50)
        .map(|n| format!("CREATE TABLE t{n} (id bigint PRIMARY KEY, name text NOT NULL DEFAULT '', at timestamptz);\n"))
        .collect();
    let load = |database: &TestDatabase| database.with_client(|client| client.batch_execute(&schema));
    let template = Template::prepare(&server.dsn(), "bench", &schema, load)?;
    let mut ways = [("pgsteward, from a template", Vec::new()), ("pgsteward, loaded anew", Vec::new())];
    for round in 0..=rounds {
        for (way, (_, times)) in ways.iter_mut().enumerate() {
            let started = Instant::now();
            let database = match way {
                0 => TestDatabase::from_template(&template)?,
                _ => TestDatabase::new(&server.dsn())?,
            };
            if way == 1 {
                load(&database)?;
            }
            database.execute("SELECT count(*) FROM t50", &[])?;
            drop(database);
            // The first round is for warming up.
            if round > 0 {
                times.push(started.elapsed().as_secs_f64() * 1e3);
            }
        }
    }
    println!("{}, {rounds} rounds: ms from the making of a test database to its end, the median", server.version());
    let mut figures = Vec::new();
    for (name, mut times) in ways {
        times.sort_by(f64::total_cmp);
        figures.push((name.to_owned(), times[times.len() / 2]));
    }
    figures.extend(pgdbm(&server, &schema, rounds)?);
    let own = figures[0].1;
    for (name, median) in figures {
        println!("  {name:<28} {median:7.1}   a copy of our template takes {:.2} of it", own / median);
    }
    Ok(())
}

/// What pgdbm takes for the same, if it is there.
fn pgdbm(server: &TestServer, schema: &str, rounds: usize) -> Result<Vec<(String, f64)>> {
    let Some(python) = std::env::var_os("PGSTEWARD_PGDBM") else { return Ok(Vec::new()) };
    let mut client = postgres::Client::connect(&server.dsn(), postgres::NoTls)?;
    client.batch_execute(&format!("CREATE DATABASE {PREPARED} TEMPLATE template0"))?;
    let mut prepared = postgres::Client::connect(&server.dsn_for(PREPARED, "postgres"), postgres::NoTls)?;
    prepared.batch_execute(schema)?;
    prepared.close()?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/test_databases.py");
    let arguments = [server.port().to_string(), rounds.to_string(), PREPARED.into(), schema.into()];
    let output = Command::new(python).arg(script).args(arguments).output()?;
    if !output.status.success() {
        return Err(format!("benches/test_databases.py: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let names = ["pgdbm, from a template", "pgdbm, loaded anew"];
    let lines = String::from_utf8(output.stdout)?;
    names.iter().zip(lines.lines()).map(|(name, median)| Ok(((*name).to_owned(), median.parse()?))).collect()
}
