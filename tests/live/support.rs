//! The server that the tests share, and a database for each of them.
use pgsteward::testing::TestServer;
use pgsteward::{Canceller, Cluster, Ident, Script, sql};
use postgres::{Client, NoTls};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

/// The server of this run, started when it is first needed.
pub fn server() -> &'static TestServer {
    static SERVER: OnceLock<TestServer> = OnceLock::new();
    SERVER.get_or_init(|| {
        let server = TestServer::start().unwrap();
        println!("tests run on {}", server.version());
        server
    })
}

/// A new, empty database, and a connection to it as a superuser.
pub fn fresh() -> Cluster {
    let name = unique("db");
    let maintenance = Cluster::connect(&server().dsn()).unwrap();
    maintenance.execute(&sql!("CREATE DATABASE {} TEMPLATE template0", Ident(&name)).to_string(), &[]).unwrap();
    connect(&name, "postgres")
}

/// A server with nothing on it, and a connection to it as a superuser: for a standby, since a copy of the server of all tests
/// has the databases of all of them.
pub fn alone() -> (TestServer, Cluster) {
    let server = TestServer::start().unwrap();
    let cluster = Cluster::connect(&server.dsn()).unwrap();
    (server, cluster)
}

/// A connection to a database as a role.
pub fn connect(database: &str, role: &str) -> Cluster {
    Cluster::connect(&server().dsn_for(database, role)).unwrap()
}

/// A name that no other test uses.
pub fn unique(start: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("{start}_{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The major version of the server.
pub fn major() -> u32 {
    server().major()
}

/// The directory of client programs that can dump the server; none, and a line that says so, where there is none.
/// `PGSTEWARD_CLIENT_BIN` names one that is not in the usual place.
pub fn programs() -> Option<PathBuf> {
    let named = std::env::var_os("PGSTEWARD_CLIENT_BIN").map(PathBuf::from);
    let usual = (major()..=18).map(|major| format!("/usr/lib/postgresql/{major}/bin").into());
    let all = named.into_iter().chain([server().bin().to_owned()]).chain(usual);
    let found = all.into_iter().find(|directory| version_of(&directory.join("pg_dump")) >= Some(major()));
    if found.is_none() {
        println!("SKIPPED: pg_dump is not installed");
    }
    found
}

/// The major version of a program of PostgreSQL's; none where it is not there.
pub fn version_of(program: &Path) -> Option<u32> {
    let printed = String::from_utf8(Command::new(program).arg("--version").output().ok()?.stdout).ok()?;
    printed.split("(PostgreSQL) ").nth(1)?.split(['.', ' ', '\n']).next()?.parse().ok()
}

/// The statements, for comparison.
pub fn statements(script: &Script) -> Vec<String> {
    script.statements().map(ToString::to_string).collect()
}

/// Everything that is logged in this process, at every level.
pub fn logged() -> &'static Mutex<String> {
    struct Collector;
    static LINES: Mutex<String> = Mutex::new(String::new());
    impl log::Log for Collector {
        fn enabled(&self, _: &log::Metadata) -> bool {
            true
        }
        fn log(&self, record: &log::Record) {
            LINES.lock().unwrap().push_str(&format!("{}\n", record.args()));
        }
        fn flush(&self) {}
    }
    static START: OnceLock<()> = OnceLock::new();
    START.get_or_init(|| {
        log::set_logger(&Collector).unwrap();
        log::set_max_level(log::LevelFilter::Trace);
    });
    &LINES
}

/// Waits until something holds, and gives up when it does not within half a minute.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(30), "still waiting: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Clients that connect to a database again as soon as their session has ended, until this is dropped.
pub struct ReturningClients {
    stop: Arc<AtomicBool>,
    clients: Vec<thread::JoinHandle<()>>,
}

impl ReturningClients {
    /// As many clients, all of them there once.
    pub fn of(database: &str, number: usize) -> Self {
        let (stop, dsn) = (Arc::new(AtomicBool::new(false)), server().dsn_for(database, "postgres"));
        let there = Arc::new(AtomicU32::new(0));
        let client = |_| {
            let (stop, dsn, there) = (stop.clone(), dsn.clone(), there.clone());
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    if let Ok(session) = Cluster::connect(&dsn) {
                        there.fetch_add(1, Ordering::Relaxed);
                        while !stop.load(Ordering::Relaxed) && session.execute("SELECT pg_sleep(0.01)", &[]).is_ok() {}
                    }
                }
            })
        };
        let clients: Vec<_> = (0..number).map(client).collect();
        wait_until("the clients are there", || there.load(Ordering::Relaxed) as usize >= number);
        Self { stop, clients }
    }
}

impl Drop for ReturningClients {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.clients.drain(..).for_each(|client| drop(client.join()));
    }
}

/// How much memory this process has had at once, in bytes.
#[cfg(target_os = "linux")]
pub fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// Locks a catalogue against changes, and cancels the first statement that waits for it; then the lock goes away.
pub struct CancelledOnce {
    locked: Mutex<Client>,
    catalogue: &'static str,
}

impl CancelledOnce {
    pub fn new(dsn: &str, catalogue: &'static str) -> Self {
        Self { locked: Mutex::new(Client::connect(dsn, NoTls).unwrap()), catalogue }
    }

    pub fn lock(&self) {
        let lock = format!("BEGIN; LOCK TABLE pg_catalog.{} IN SHARE MODE", self.catalogue);
        self.locked.lock().unwrap().batch_execute(&lock).unwrap();
    }

    pub fn cancel(&self, dsn: &str, canceller: &Canceller) {
        let waiting = "SELECT pid || ' ' || query_start FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND \
            pid IN (SELECT pid FROM pg_locks WHERE NOT granted AND relation = $1::text::regclass)";
        let (watch, mut first) = (Cluster::connect(dsn).unwrap(), Vec::new());
        let waiting = || -> Vec<String> {
            watch.execute(waiting, &[&self.catalogue]).unwrap().iter().map(|row| row.get(0)).collect()
        };
        wait_until("it waits for the lock", || {
            first = waiting();
            !first.is_empty()
        });
        canceller.cancel().unwrap();
        wait_until("it was cancelled", || waiting() != first);
        self.locked.lock().unwrap().batch_execute("ROLLBACK").unwrap();
    }
}
