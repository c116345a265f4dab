//! What the parts for services cost, beside others on the same private server, over its Unix socket:
//! `cargo bench --bench services -- [SECTION...]`. With PGSTEWARD_PGDBM, a Python that has the package pgdbm, also beside that.
use pgsteward::module::{Module, ModuleOptions};
use pgsteward::monitor::{Statistics, StatisticsOptions};
use pgsteward::pool::{Pool, PoolOptions};
use pgsteward::testing::TestServer;
use postgres::types::ToSql;
use postgres::{Client, NoTls, Row};
use r2d2_postgres::PostgresConnectionManager;
use std::error::Error;
use std::hint::black_box;
use std::process::Command;
use std::thread;
use std::time::Instant;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// A part of this file, by the name that the command line gives it.
type Section = (&'static str, fn(&TestServer) -> Result<()>);

const SECTIONS: [Section; 4] = [("pool", pools), ("template", templates), ("counting", counting), ("crowd", crowd)];

/// How many connections each pool has, from the start: what r2d2 has when it is not told otherwise.
const CONNECTIONS: u32 = 10;

/// How often each way has its turn.
const ROUNDS: usize = 400;

const ONE: &str = "SELECT 1";
const PARAMETER: &str = "SELECT $1::int";
const MANY: &str = "SELECT n, name FROM public.fetched";
const FETCHED: &str = "CREATE TABLE public.fetched AS SELECT n, 'row ' || n AS name FROM generate_series(1, 1000) AS n";

fn main() -> Result<()> {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let server = TestServer::start()?;
    println!("{}, {} processors", server.version(), thread::available_parallelism()?);
    for (name, section) in SECTIONS {
        if wanted.is_empty() || wanted.iter().any(|other| other == name) {
            section(&server)?;
        }
    }
    Ok(())
}

/// One way to do a job, and the times that it took for one, in microseconds.
struct Way<'a> {
    name: &'a str,
    job: Box<dyn FnMut() -> Result<()> + 'a>,
    times: Vec<f64>,
}

impl<'a> Way<'a> {
    fn new(name: &'a str, job: impl FnMut() -> Result<()> + 'a) -> Self {
        Self { name, job: Box::new(job), times: Vec::new() }
    }

    /// The median; and what a tenth of the rounds did not exceed, in which the machine had little else to do.
    fn figures(&mut self) -> [f64; 2] {
        self.times.sort_by(f64::total_cmp);
        [self.times[self.times.len() / 2], self.times[self.times.len() / 10]]
    }
}

/// Does a job in each of several ways by turns, so that what else the machine does meets all of them.
fn compare(ways: &mut [Way], rounds: usize, jobs: u32) -> Result<()> {
    for round in 0..=rounds {
        for way in &mut *ways {
            let started = Instant::now();
            for _ in 0..jobs {
                (way.job)()?;
            }
            // The first round is for warming up.
            if round > 0 {
                way.times.push(started.elapsed().as_secs_f64() * 1e6 / f64::from(jobs));
            }
        }
    }
    Ok(())
}

fn pools(server: &TestServer) -> Result<()> {
    let (ours, theirs) = both(server)?;
    let mut bare = Client::connect(&server.dsn(), NoTls)?;
    bare.batch_execute(FETCHED)?;
    let pgdbm = pgdbm(server)?;
    let none: &[&(dyn ToSql + Sync)] = &[];
    // What has parameters does not stay prepared.
    let cases =
        [("SELECT 1", ONE, none, 1, 50), ("1,000 rows", MANY, none, 1000, 5), ("SELECT $1", PARAMETER, &[&1], 1, 50)];
    for (case, sql, parameters, rows, jobs) in cases {
        let check = |found: Vec<Row>| match found.len() {
            found if found == rows => Ok(()),
            found => Err(format!("{found} rows instead of {rows}").into()),
        };
        let mut ways = [
            Way::new("pgsteward", || check(ours.get()?.query(sql, parameters)?)),
            Way::new("r2d2", || check(theirs.get()?.query(sql, parameters)?)),
            Way::new("no pool", || check(bare.query(sql, parameters)?)),
        ];
        compare(&mut ways, ROUNDS, jobs)?;
        println!(
            "pool, {case}: taken, queried and given back; us in the median of {ROUNDS} rounds, and in the quiet tenth"
        );
        let mut figures: Vec<_> = ways.iter_mut().map(|way| (way.name, way.figures())).collect();
        figures.extend(pgdbm.iter().filter(|(name, _)| name == case).map(|(_, figures)| ("pgdbm", *figures)));
        let own = figures[0].1;
        for (name, [median, quiet]) in figures {
            let [of_median, of_quiet] = [own[0] / median, own[1] / quiet];
            println!("  {name:<10} {median:8.1} {quiet:8.1}   pgsteward takes {of_median:.2} and {of_quiet:.2} of it");
        }
    }
    Ok(())
}

/// Ours, and that of r2d2.
fn both(server: &TestServer) -> Result<(Pool, r2d2::Pool<PostgresConnectionManager<NoTls>>)> {
    let mut options = PoolOptions::new();
    options.maximum = usize::try_from(CONNECTIONS)?;
    options.minimum = options.maximum;
    let manager = PostgresConnectionManager::new(server.dsn().parse()?, NoTls);
    Ok((Pool::connect(&server.dsn(), options)?, r2d2::Pool::builder().max_size(CONNECTIONS).build(manager)?))
}

/// The same with four users for each connection, who wait for each other.
fn crowd(server: &TestServer) -> Result<()> {
    let (ours, theirs) = both(server)?;
    let (threads, jobs) = (4 * CONNECTIONS, 100);
    let rate = |job: &(dyn Fn() -> Result<()> + Sync)| -> Result<f64> {
        let started = Instant::now();
        thread::scope(|scope| {
            let user = || (0..jobs).try_for_each(|_| job().map_err(|error| error.to_string()));
            let users: Vec<_> = (0..threads).map(|_| scope.spawn(user)).collect();
            users.into_iter().try_for_each(|user| user.join().unwrap_or_else(|_| Err("a thread panicked".into())))
        })?;
        Ok(f64::from(threads * jobs) / started.elapsed().as_secs_f64())
    };
    let mut rates = [Vec::new(), Vec::new()];
    for _ in 0..7 {
        rates[0].push(rate(&|| ours.get()?.query(ONE, &[]).map(drop).map_err(Into::into))?);
        rates[1].push(rate(&|| theirs.get()?.query(ONE, &[]).map(drop).map_err(Into::into))?);
    }
    let [own, other] = rates.map(|mut rates| {
        rates.sort_by(f64::total_cmp);
        rates[rates.len() / 2]
    });
    println!("pool, {threads} threads on {CONNECTIONS} connections: SELECT 1, medians of 7 rounds");
    println!(
        "  pgsteward  {own:8.0} a second\n  r2d2       {other:8.0} a second   pgsteward does {:.2} of it",
        own / other
    );
    Ok(())
}

/// How much of a query the replacing of its templates is: of the cheapest that a module can send, and of one that is prepared
/// and takes no pool.
fn templates(server: &TestServer) -> Result<()> {
    const TEMPLATE: &str = "SELECT email FROM {{tables.users}} WHERE id = 1";
    let pool = Pool::connect(&server.dsn(), PoolOptions::new())?;
    let mut options = ModuleOptions::new();
    options.create_schema_if_missing = true;
    let module = Module::with_options(&pool, "bench", options)?;
    let mut bare = Client::connect(&server.dsn(), NoTls)?;
    let statement = bare.prepare(ONE)?;
    let templates = module.templates();
    let mut ways = [
        Way::new("replacing", || {
            let mut hundred = 0..100;
            hundred.try_for_each(|_| black_box(templates.replace(black_box(TEMPLATE))).map(drop)).map_err(Into::into)
        }),
        Way::new("module", || module.query(ONE, &[]).map(drop).map_err(Into::into)),
        Way::new("prepared", || bare.query(&statement, &[]).map(drop).map_err(Into::into)),
    ];
    compare(&mut ways, ROUNDS, 20)?;
    let [replacing, queries @ ..] = &mut ways;
    let replacing = replacing.figures().map(|time| time / 100.0);
    println!("template, in {TEMPLATE:?}; us in the median of {ROUNDS} rounds, and in the quiet tenth");
    println!("  {:<10} {:8.3} {:8.3}", "replacing", replacing[0], replacing[1]);
    for query in queries {
        let [median, quiet] = query.figures();
        let shares = [100.0 * replacing[0] / median, 100.0 * replacing[1] / quiet];
        println!(
            "  {:<10} {median:8.1} {quiet:8.1}   replacing is {:.2} % and {:.2} % of it",
            query.name, shares[0], shares[1]
        );
    }
    Ok(())
}

/// What counting the statements of a module adds to the cheapest of them.
fn counting(server: &TestServer) -> Result<()> {
    let statistics = Statistics::new(StatisticsOptions::new());
    let module = |statistics| -> Result<Module> {
        let mut options = PoolOptions::new();
        options.statistics = statistics;
        Ok(Module::alone(&Pool::connect(&server.dsn(), options)?)?)
    };
    let (silent, counted) = (module(None)?, module(Some(statistics.clone()))?);
    let mut ways = [
        Way::new("nothing", || {
            (0..100).for_each(|_| _ = black_box(statistics.measure(ONE, || Ok::<_, postgres::Error>(ONE))));
            Ok(())
        }),
        Way::new("not counted", || silent.query(ONE, &[]).map(drop).map_err(Into::into)),
        Way::new("counted", || counted.query(ONE, &[]).map(drop).map_err(Into::into)),
    ];
    compare(&mut ways, ROUNDS, 20)?;
    let [nothing, silent, counted] = ways.each_mut().map(Way::figures);
    let nothing = nothing.map(|time| time / 100.0);
    println!("counting, SELECT 1 of a module; us in the median of {ROUNDS} rounds, and in the quiet tenth");
    println!("  to count nothing {:8.3} {:8.3}", nothing[0], nothing[1]);
    println!("  not counted      {:8.1} {:8.1}", silent[0], silent[1]);
    println!(
        "  counted          {:8.1} {:8.1}   which is {:.3} and {:.3} times as long",
        counted[0],
        counted[1],
        counted[0] / silent[0],
        counted[1] / silent[1]
    );
    Ok(())
}

/// What pgdbm takes for the same, by the names of the cases, if it is there.
fn pgdbm(server: &TestServer) -> Result<Vec<(String, [f64; 2])>> {
    let Some(python) = std::env::var_os("PGSTEWARD_PGDBM") else { return Ok(Vec::new()) };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/services.py");
    let directory = server.socket_directory().display().to_string();
    let mut command = Command::new(python);
    command.arg(script).args([
        &directory,
        &server.port().to_string(),
        &CONNECTIONS.to_string(),
        &ROUNDS.to_string(),
        ONE,
        MANY,
    ]);
    let output = command.output()?;
    if !output.status.success() {
        return Err(format!("benches/services.py: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let mut times = Vec::new();
    for (line, case) in String::from_utf8(output.stdout)?.lines().zip(["SELECT 1", "1,000 rows"]) {
        let (median, quiet) = line.split_once(' ').ok_or("no two figures")?;
        times.push((case.to_owned(), [median.parse()?, quiet.parse()?]));
    }
    Ok(times)
}
