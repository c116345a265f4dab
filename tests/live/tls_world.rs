//! One server whose certificate and rules change from test to test, and two clients of it: psql and us.
use crate::support::{unique, wait_until};
use crate::tls_certificates::Certificate;
use pgsteward::Cluster;
use pgsteward::testing::{TestServer, TestServerOptions};
use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

pub const MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];
pub const NAMED: &str = "host=db.example.com";

/// Asks whether the connection has TLS.
pub fn question() -> &'static str {
    "SELECT ssl FROM pg_catalog.pg_stat_ssl WHERE pid = pg_catalog.pg_backend_pid()"
}

/// How an attempt to connect ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Tls,
    Plain,
    Refused,
}

pub struct World {
    pub server: TestServer,
}

impl World {
    /// The server, for one test at a time; None where a program is missing.
    pub fn shared() -> Option<MutexGuard<'static, Self>> {
        for program in ["openssl", "psql"] {
            if Command::new(program).arg("--version").output().is_err() {
                println!("SKIPPED: {program} is not installed");
                return None;
            }
        }
        static WORLD: OnceLock<Mutex<World>> = OnceLock::new();
        let start = || {
            let mut options = TestServerOptions::new();
            options.settings.push(("password_encryption".into(), "scram-sha-256".into()));
            let world = World { server: TestServer::with(options).unwrap() };
            world.superuser().execute("CREATE ROLE app LOGIN PASSWORD 'secret'", &[]).unwrap();
            Mutex::new(world)
        };
        Some(WORLD.get_or_init(start).lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn superuser(&self) -> Cluster {
        Cluster::connect(&self.server.dsn()).unwrap()
    }

    /// A new directory, for certificates; it goes with the server.
    pub fn directory(&self) -> PathBuf {
        let directory = self.server.socket_directory().join(unique("certificates"));
        fs::create_dir(&directory).unwrap();
        // The server's user removes it.
        fs::set_permissions(&directory, Permissions::from_mode(0o777)).unwrap();
        directory
    }

    /// Gives the server a certificate, or none, and rules; returns when new connections find them. The server takes
    /// client certificates of the authority `root` beside its own.
    pub fn set_up(&self, certificate: Option<&Certificate>, rules: &str, settings: &[(&str, &str)]) {
        let data = self.server.data_directory();
        let owner = fs::metadata(&data).unwrap();
        let give = |name: &str, content: &str| {
            let path = data.join(name);
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
        };
        if let Some(certificate) = certificate {
            let root = PathBuf::from(&certificate.certificate).with_file_name("root.crt");
            give("server.crt", &fs::read_to_string(&certificate.certificate).unwrap());
            give("server.key", &fs::read_to_string(&certificate.key).unwrap());
            give("client_ca.crt", &fs::read_to_string(root).unwrap());
        }
        give("pg_hba.conf", &format!("local all all trust\n{rules}\n"));
        // The server has taken all of it once this has changed.
        let marker = unique("setup");
        let superuser = self.superuser();
        superuser.execute("ALTER SYSTEM RESET ALL", &[]).unwrap();
        let (ssl, prefix) = (if certificate.is_some() { "on" } else { "off" }, format!("'{marker}'"));
        let fixed = [("ssl", ssl), ("ssl_ca_file", "'client_ca.crt'"), ("log_line_prefix", &prefix)];
        for (name, value) in fixed.iter().chain(settings) {
            superuser.execute(&format!("ALTER SYSTEM SET {name} = {value}"), &[]).unwrap();
        }
        superuser.execute("SELECT pg_catalog.pg_reload_conf()", &[]).unwrap();
        wait_until("the server has its new certificate", || {
            let rows = self.superuser().execute("SELECT pg_catalog.current_setting('log_line_prefix')", &[]);
            rows.unwrap()[0].get::<_, String>(0) == marker
        });
    }

    /// Connection parameters for the server: those that keep the files of this machine's user out, then the given ones.
    pub fn parameters(&self, mode: &str, given: &str) -> String {
        let nowhere = self.server.socket_directory().join("nowhere");
        let (nowhere, port) = (nowhere.display(), self.server.port());
        format!(
            "hostaddr=127.0.0.1 port={port} dbname=postgres user=postgres sslrootcert={nowhere} sslcert={nowhere} \
             sslkey={nowhere} sslcrl={nowhere} sslmode={mode} {given}"
        )
    }

    /// Waits until a statement with this word in it runs.
    pub fn wait_for_statement(&self, word: &str) {
        let superuser = self.superuser();
        let running = "SELECT count(*) FROM pg_catalog.pg_stat_activity \
            WHERE state = 'active' AND wait_event = 'PgSleep' AND query LIKE '%' || $1::text || '%'";
        wait_until("the statement runs", || superuser.execute(running, &[&word]).unwrap()[0].get::<_, i64>(0) == 1);
    }

    /// A port before the server's.
    pub fn watch(&self) -> Watch {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, server) = (listener.local_addr().unwrap().port(), self.server.port());
        let (seen, clear) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let counts = (seen.clone(), clear.clone());
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, server) = (client.unwrap(), TcpStream::connect(("127.0.0.1", server)).unwrap());
                let counts = counts.clone();
                thread::spawn(move || forward(client, server, &counts));
            }
        });
        Watch { port, seen, clear }
    }
}

/// What came to a port before the server's.
pub struct Watch {
    pub port: u16,
    seen: Arc<AtomicUsize>,
    clear: Arc<AtomicUsize>,
}

impl Watch {
    /// How many connections.
    pub fn seen(&self) -> usize {
        self.seen.load(Ordering::Acquire)
    }

    /// How many cancel requests that anybody on the way can read.
    pub fn cancelled_in_the_clear(&self) -> usize {
        self.clear.load(Ordering::Acquire)
    }
}

fn forward(mut client: TcpStream, mut server: TcpStream, (seen, clear): &(Arc<AtomicUsize>, Arc<AtomicUsize>)) {
    const CANCEL_REQUEST: [u8; 4] = 80_877_102_u32.to_be_bytes();
    let mut first = [0; 8];
    if client.read_exact(&mut first).is_ok() {
        clear.fetch_add(usize::from(first[4..] == CANCEL_REQUEST), Ordering::AcqRel);
        seen.fetch_add(1, Ordering::AcqRel);
        let _ = server.write_all(&first);
    }
    let (mut back, mut to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    let answers = thread::spawn(move || {
        let _ = std::io::copy(&mut back, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    let _ = std::io::copy(&mut client, &mut server);
    let _ = server.shutdown(Shutdown::Write);
    let _ = answers.join();
}

/// What psql makes of the parameters, and what it says.
pub fn by_psql(parameters: &str) -> (End, String) {
    let mut psql = Command::new("psql");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PG")) {
        psql.env_remove(name);
    }
    // Without a terminal it cannot ask for a password.
    psql.args(["-XAtqw", "-c", question(), "-d", parameters]).stdin(Stdio::null());
    let output = psql.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    match output.stdout.trim_ascii() {
        b"t" => (End::Tls, said),
        b"f" => (End::Plain, said),
        _ => (End::Refused, said),
    }
}

/// What we make of them, and what we say.
pub fn by_us(parameters: &str) -> (End, String) {
    match Cluster::connect(parameters).and_then(|cluster| cluster.execute(question(), &[])) {
        Ok(rows) if rows[0].get(0) => (End::Tls, String::new()),
        Ok(_) => (End::Plain, String::new()),
        Err(error) => (End::Refused, error.to_string()),
    }
}
