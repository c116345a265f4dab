//! The private servers of the `testing` module: that they work, and above all that they go away.
use pgsteward::testing::{TestServer, TestServerOptions};
use pgsteward::{Error, Result};
use postgres::{Client, NoTls};
use std::io::{self, BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

type TestResult = std::result::Result<(), Box<dyn std::error::Error>>;

fn ask(dsn: &str, question: &str) -> std::result::Result<String, postgres::Error> {
    Client::connect(dsn, NoTls)?.query_one(question, &[])?.try_get(0)
}

/// The process id of the server in this directory.
fn process_of(server: &TestServer) -> u32 {
    let lock = std::fs::read_to_string(server.data_directory().join("postmaster.pid")).unwrap();
    lock.lines().next().unwrap().parse().unwrap()
}

fn is_running(process: u32) -> bool {
    let found = Command::new("ps").args(["-p", &process.to_string(), "-o", "state="]).output().unwrap();
    let state = String::from_utf8_lossy(&found.stdout).trim().to_owned();
    !state.is_empty() && !state.starts_with('Z')
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(30), "{what}: not within 30 s");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn answers_over_socket_and_tcp() -> TestResult {
    let server = TestServer::start()?;
    let version = ask(&server.dsn(), "SHOW server_version_num")?;
    assert_eq!(version.parse::<u32>()? / 10_000, server.major());
    assert!(server.version().starts_with("postgres (PostgreSQL) "));
    assert_eq!(ask(&server.tcp_dsn()?, "SELECT host(inet_server_addr())")?, "127.0.0.1");
    assert_eq!(ask(&server.tcp_dsn()?, "SHOW port")?, server.port().to_string());
    assert_eq!(ask(&server.dsn(), "SHOW data_directory")?, server.data_directory().to_str().unwrap());
    assert!(server.log()?.contains("ready to accept connections"));
    assert!(server.bin().join("postgres").exists());
    Ok(())
}

#[test]
fn obeys_its_options() -> TestResult {
    let mut options = TestServerOptions::new();
    options.tcp = false;
    options.encoding = "LATIN1".into();
    options.settings.push(("cluster_name".into(), r"a'b\c".into()));
    options.hba = Some("local all postgres trust\nlocal postgres guest trust\n".into());
    let server = TestServer::with(options)?;
    assert_eq!(ask(&server.dsn(), "SHOW cluster_name")?, r"a'b\c");
    assert_eq!(ask(&server.dsn(), "SHOW server_encoding")?, "LATIN1");
    assert!(matches!(server.tcp_dsn(), Err(Error::Unsupported { .. })));
    let refused = ask(&server.dsn_for("template1", "guest"), "SELECT 1").unwrap_err();
    assert_eq!(refused.code().unwrap().code(), "28000");
    Ok(())
}

#[test]
fn connects_whatever_the_names() -> TestResult {
    let server = TestServer::start()?;
    let mut client = Client::connect(&server.dsn(), NoTls)?;
    client.batch_execute(r#"CREATE ROLE "o'b\ r" LOGIN"#)?;
    client.batch_execute(r#"CREATE DATABASE "d' \ b""#)?;
    let dsn = server.dsn_for(r"d' \ b", r"o'b\ r");
    assert_eq!(ask(&dsn, "SELECT current_database() || '|' || current_user")?, r"d' \ b|o'b\ r");
    Ok(())
}

#[test]
fn stops_crashes_and_restarts() -> TestResult {
    let server = TestServer::start()?;
    let mut client = Client::connect(&server.dsn(), NoTls)?;
    client.batch_execute("CREATE TABLE kept ()")?;
    server.stop_immediately()?;
    assert!(client.batch_execute("SELECT 1").is_err());
    assert!(ask(&server.dsn(), "SELECT ''").is_err());
    server.restart()?;
    assert_eq!(ask(&server.dsn(), "SELECT 'kept'::regclass::text")?, "kept");
    assert!(server.log()?.contains("was not properly shut down"));
    server.stop()?;
    server.stop()?;
    server.restart()?;
    server.restart()?;
    assert_eq!(ask(&server.tcp_dsn()?, "SELECT 'kept'::regclass::text")?, "kept");
    Ok(())
}

#[test]
fn a_standby_follows() -> TestResult {
    let server = TestServer::start()?;
    let mut client = Client::connect(&server.dsn(), NoTls)?;
    let tablespace = server.data_directory().parent().unwrap().join("space");
    let made =
        Command::new("cp").arg("-a").arg(server.data_directory().join("pg_twophase")).arg(&tablespace).status()?;
    assert!(made.success());
    client.batch_execute(&format!("CREATE TABLESPACE other LOCATION '{}'", tablespace.display()))?;
    client.batch_execute("CREATE TABLE before TABLESPACE other AS SELECT 1 AS a")?;
    let standby = server.standby()?;
    client.batch_execute("CREATE TABLE after TABLESPACE other AS SELECT 1 AS a")?;
    assert_eq!(ask(&standby.dsn(), "SELECT pg_is_in_recovery()::text")?, "true");
    assert_eq!(ask(&standby.dsn(), "SELECT count(*)::text FROM before")?, "1");
    let question = "SELECT (to_regclass('after') IS NOT NULL)::text";
    wait_until("the standby has the new table", || ask(&standby.dsn(), question).is_ok_and(|answer| answer == "true"));
    let refused = Client::connect(&standby.dsn(), NoTls)?.batch_execute("CREATE TABLE no ()").unwrap_err();
    assert_eq!(refused.code().unwrap().code(), "25006");
    // Promotion removes the signal file, which therefore has to belong to the server's user.
    assert_eq!(ask(&standby.dsn(), "SELECT pg_promote()::text")?, "true");
    Client::connect(&standby.dsn(), NoTls)?.batch_execute("CREATE TABLE yes TABLESPACE other AS SELECT 1")?;
    assert_ne!(standby.port(), server.port());
    Ok(())
}

#[test]
fn a_server_that_does_not_start_says_why() {
    let mut options = TestServerOptions::new();
    options.settings.push(("shared_buffers".into(), "a lot".into()));
    let error = TestServer::with(options).unwrap_err().to_string();
    assert!(error.contains("invalid value for parameter \"shared_buffers\""), "{error}");

    let mut options = TestServerOptions::new();
    options.encoding = "KLINGON".into();
    let error = TestServer::with(options).unwrap_err().to_string();
    assert!(error.contains("KLINGON"), "{error}");

    let mut options = TestServerOptions::new();
    options.bin = Some("/nowhere".into());
    let error = TestServer::with(options).unwrap_err().to_string();
    assert!(error.contains("/nowhere"), "{error}");
}

#[test]
fn goes_away_when_dropped() -> Result<()> {
    let server = TestServer::start()?;
    let (directory, process) = (server.socket_directory().to_owned(), process_of(&server));
    assert!(is_running(process));
    drop(server);
    assert!(!directory.exists());
    assert!(!is_running(process));
    Ok(())
}

#[test]
fn stays_to_be_looked_at_when_told_so() -> TestResult {
    let mut options = TestServerOptions::new();
    options.keep = true;
    let server = TestServer::with(options)?;
    let (directory, process) = (server.socket_directory().to_owned(), process_of(&server));
    drop(server);
    assert!(!is_running(process));
    assert!(directory.join("log").exists());
    assert!(directory.join("data/PG_VERSION").exists());
    std::fs::remove_dir_all(directory)?;
    Ok(())
}

#[test]
fn several_at_once_do_not_meet() {
    std::thread::scope(|scope| {
        let start = || TestServer::start().and_then(|server| server.restart().map(|()| server));
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(start)).collect();
        let servers: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap().unwrap()).collect();
        for server in &servers {
            assert_eq!(ask(&server.dsn(), "SHOW port").unwrap(), server.port().to_string());
        }
    });
}

/// What [`child`] does with its server.
const CHILD: &str = "PGSTEWARD_TEST_CHILD";

/// The other process in the tests below. Started for nothing, it does nothing.
#[test]
fn child() {
    static SERVER: OnceLock<TestServer> = OnceLock::new();
    let Ok(end) = std::env::var(CHILD) else { return };
    let report = |server: &TestServer| {
        println!("\nserver {} {}", process_of(server), server.socket_directory().display());
    };
    match end.as_str() {
        "exit" => report(SERVER.get_or_init(|| TestServer::start().unwrap())),
        "stopped" => {
            let server = SERVER.get_or_init(|| TestServer::start().unwrap());
            report(server);
            server.stop().unwrap();
        }
        "panic" => {
            let server = TestServer::start().unwrap();
            report(&server);
            panic!("on purpose");
        }
        _ => {
            report(SERVER.get_or_init(|| TestServer::start().unwrap()));
            std::thread::sleep(Duration::from_secs(60));
        }
    }
}

/// Runs [`child`] until it has a server. What it prints later is not read, but must have a reader.
fn run_child(end: &str) -> (Child, Lines<BufReader<ChildStdout>>, u32, PathBuf) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--nocapture"]).env(CHILD, end);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let report = lines.by_ref().map(io::Result::unwrap).find(|line| line.starts_with("server ")).unwrap();
    let mut words = report.split(' ').skip(1);
    let process = words.next().unwrap().parse().unwrap();
    (child, lines, process, words.next().unwrap().into())
}

fn wait_until_gone(process: u32, directory: &Path) {
    wait_until("the server ends", || !is_running(process));
    wait_until("the directory goes", || !directory.exists());
}

#[test]
fn a_static_server_goes_away_with_its_process() {
    let (mut child, _output, process, directory) = run_child("exit");
    assert!(child.wait().unwrap().success());
    wait_until_gone(process, &directory);
}

#[test]
fn a_stopped_static_server_goes_away_too() {
    let (mut child, _output, process, directory) = run_child("stopped");
    assert!(child.wait().unwrap().success());
    wait_until_gone(process, &directory);
}

#[test]
fn goes_away_after_a_panic() {
    let (mut child, _output, process, directory) = run_child("panic");
    assert!(!child.wait().unwrap().success());
    assert!(!is_running(process));
    assert!(!directory.exists());
}

#[test]
fn goes_away_when_its_process_is_killed() {
    let (mut child, _output, process, directory) = run_child("sleep");
    assert!(is_running(process));
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until_gone(process, &directory);
}
