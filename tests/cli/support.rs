//! Running the program.
use pgsteward::testing::TestServer;
use pgsteward::{Cluster, Ident, sql};
use serde_json::Value;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The server of this run.
pub fn server() -> &'static TestServer {
    static SERVER: OnceLock<TestServer> = OnceLock::new();
    SERVER.get_or_init(|| TestServer::start().unwrap())
}

/// A connection of the test's own, as a superuser.
pub fn cluster() -> Cluster {
    Cluster::connect(&server().dsn()).unwrap()
}

/// A database for a test, and a connection to it.
pub fn fresh() -> Cluster {
    let name = unique("db");
    cluster().execute(&sql!("CREATE DATABASE {} TEMPLATE template0", Ident(&name)).to_string(), &[]).unwrap();
    Cluster::connect(&server().dsn_for(&name, "postgres")).unwrap()
}

/// A name that no other test uses.
pub fn unique(start: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("{start}_{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The directory of client programs that can dump the server; none, and a line that says so, where there is none.
/// `PGSTEWARD_CLIENT_BIN` names one that is not in the usual place.
pub fn programs() -> Option<String> {
    let major = server().major();
    let named = std::env::var_os("PGSTEWARD_CLIENT_BIN").map(PathBuf::from);
    let usual = (major..=18).map(|major| format!("/usr/lib/postgresql/{major}/bin").into());
    let all = named.into_iter().chain([server().bin().to_owned()]).chain(usual);
    let found = all.into_iter().find(|directory| version_of(&directory.join("pg_dump")) >= Some(major));
    if found.is_none() {
        println!("SKIPPED: pg_dump is not installed");
    }
    found.map(|path| path.to_str().unwrap().to_owned())
}

fn version_of(program: &Path) -> Option<u32> {
    let printed = String::from_utf8(Command::new(program).arg("--version").output().ok()?.stdout).ok()?;
    printed.split("(PostgreSQL) ").nth(1)?.split(['.', ' ', '\n']).next()?.parse().ok()
}

/// The program, knowing nothing but what it is given.
pub fn program(server: &TestServer) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgsteward"));
    command.env_clear().env("HOME", "/nonexistent").env("PGHOST", server.socket_directory());
    command.env("PGPORT", server.port().to_string()).env("PGUSER", "postgres").env("PGDATABASE", "postgres");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// How the program ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// It ended with that exit code.
    #[track_caller]
    pub fn with(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }
}

/// Runs the program with nothing on its standard input.
pub fn run(arguments: &[&str]) -> Ended {
    end(program(server()).args(arguments), "")
}

/// Runs the program in a database.
pub fn run_in(database: &str, arguments: &[&str]) -> Ended {
    end(program(server()).env("PGDATABASE", database).args(arguments), "")
}

/// Runs the program with an answer on its standard input.
pub fn answer(arguments: &[&str], answer: &str) -> Ended {
    end(program(server()).args(arguments).stdin(Stdio::piped()), answer)
}

/// The same in a database.
pub fn answer_in(database: &str, arguments: &[&str], answer: &str) -> Ended {
    end(program(server()).env("PGDATABASE", database).args(arguments).stdin(Stdio::piped()), answer)
}

/// Runs the program, and presses Ctrl-C when it is time. It has to end soon then.
pub fn interrupt(command: &mut Command, is_time: impl Fn() -> bool) -> Ended {
    end_by("INT", command, is_time)
}

/// Runs the program, and sends it a signal when it is time. It has to end soon then.
pub fn end_by(signal: &str, command: &mut Command, is_time: impl Fn() -> bool) -> Ended {
    end_by_all(&[signal], command, is_time)
}

/// The same with several signals, one at once after the other.
pub fn end_by_all(signals: &[&str], command: &mut Command, is_time: impl Fn() -> bool) -> Ended {
    let mut child = command.spawn().unwrap();
    let pid = child.id().to_string();
    let began = Instant::now();
    while !is_time() {
        assert!(began.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(20));
    }
    let sent = Instant::now();
    for signal in signals {
        Command::new("kill").args(["-s", signal, &pid]).status().unwrap();
    }
    while child.try_wait().unwrap().is_none() && sent.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(5));
    }
    // If it has not ended by itself, there is no exit code.
    let _ = child.kill();
    ended(child)
}

/// Whether a session with this application_name waits for a lock.
pub fn waits_for_a_lock(application: &str) -> bool {
    let question = "SELECT FROM pg_stat_activity WHERE application_name = $1 AND wait_event_type = 'Lock'";
    !cluster().execute(question, &[&application]).unwrap().is_empty()
}

pub fn end(command: &mut Command, input: &str) -> Ended {
    let mut child = command.spawn().unwrap();
    if let Some(mut stdin) = child.stdin.take() {
        // It may have ended without reading.
        let _ = stdin.write_all(input.as_bytes());
    }
    ended(child)
}

fn ended(child: Child) -> Ended {
    let output = child.wait_with_output().unwrap();
    Ended {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The program while it asks.
pub struct Asking {
    child: Child,
    /// What it said on standard error; in a terminal, on its screen.
    seen: Vec<u8>,
}

impl Asking {
    pub fn start(command: &mut Command) -> Self {
        Self { child: command.spawn().unwrap(), seen: Vec::new() }
    }

    /// Reads on until a text was said.
    pub fn wait_for(&mut self, text: &str) {
        let mut byte = [0];
        while !self.seen().contains(text) {
            let read = self.child.stderr.as_mut().unwrap().read(&mut byte).unwrap();
            assert_eq!(read, 1, "{text:?} is not in {:?}", self.seen());
            self.seen.extend_from_slice(&byte);
        }
    }

    pub fn seen(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    /// Answers, without an end of input.
    pub fn say(&mut self, text: &str) {
        self.child.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// The last answer.
    pub fn answer(mut self, text: &str) -> Ended {
        self.say(text);
        let output = self.child.wait_with_output().unwrap();
        self.seen.extend(output.stderr);
        Ended {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(self.seen).unwrap(),
        }
    }
}
