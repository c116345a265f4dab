//! A pooler between the crate and the server.
use crate::support::{fresh, server, wait_until};
use pgsteward::{Cluster, Error, Schema};
use postgres::SimpleQueryMessage;
use std::fs::{self, Permissions};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// A pgbouncer in front of the tests' server.
struct Pooler {
    process: Child,
    port: u16,
    directory: PathBuf,
}

impl Pooler {
    fn start(mode: &str) -> Option<Self> {
        let program =
            ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer", "/opt/homebrew/bin/pgbouncer", "/usr/local/bin/pgbouncer"]
                .into_iter()
                .find(|path| fs::exists(path).unwrap_or(false))?;
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let directory = std::env::temp_dir().join(format!("pgsteward-pooler-{port}"));
        fs::create_dir(&directory).unwrap();
        fs::set_permissions(&directory, Permissions::from_mode(0o777)).unwrap();
        let settings = directory.join("pgbouncer.ini");
        let server_port = server().port();
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={server_port} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = {mode}\n\
             ignore_startup_parameters = extra_float_digits\n"
        );
        fs::write(&settings, text).unwrap();
        // It refuses to run as root, and then needs a user to become.
        let user: &[&str] = if process_is_root() { &["-u", "nobody"] } else { &[] };
        let process = Command::new(program).arg("-q").args(user).arg(settings).stderr(Stdio::null()).spawn().unwrap();
        let pooler = Self { process, port, directory };
        wait_until("the pooler listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Some(pooler)
    }

    fn dsn(&self, database: &str) -> String {
        format!("host=127.0.0.1 port={} user=postgres dbname={database}", self.port)
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn process_is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap().stdout;
    id.trim_ascii() == b"0"
}

#[test]
fn a_pooler_in_transaction_mode_is_refused_and_one_in_session_mode_is_not() {
    let database = fresh();
    let name = database.current_database();
    for mode in ["transaction", "statement"] {
        let Some(pooler) = Pooler::start(mode) else {
            println!("SKIPPED: pgbouncer is not installed");
            return;
        };
        let error = Cluster::connect(&pooler.dsn(name)).unwrap_err();
        assert!(matches!(&error, Error::Unsupported { what, .. } if what.contains("pooler")), "{error}");
        // Nothing was left behind in the server's session.
        let mut other = postgres::Client::connect(&pooler.dsn(name), postgres::NoTls).unwrap();
        let answer = other.simple_query("SHOW search_path").unwrap();
        let path = answer.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        assert_eq!(path, Some("\"$user\", public"));
    }
    let pooler = Pooler::start("session").unwrap();
    let cluster = Cluster::connect(&pooler.dsn(name)).unwrap();
    let mut schema = cluster.schemas().create(Schema::new("app")).unwrap();
    schema.comment = Some("x".into());
    schema.alter().unwrap();
}
