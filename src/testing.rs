//! Servers, databases and rows for tests.
//!
//! [`TestDatabase`] is a database for one test, perhaps a copy of a [`Template`], on a server that is there for tests or on
//! a [`TestServer`]. [`insert_json`] and [`load_fixture`] fill tables, [`TableRows`] tells what has become of one, and
//! [`with_rollback`] undoes what a test does.
//!
//! # Servers
//!
//! A [`TestServer`] is a server of its own: its data directory, its socket and its log are in a
//! new directory under the system's directory for temporary files, and all of it is gone when the value is
//! dropped. It is gone too when the process panics, exits with the server in a `static`, or is
//! killed: a small shell beside the server waits for the end of this process and cleans up.
//!
//! PostgreSQL must be installed; nothing is downloaded. [`find_binaries`] tells where it is
//! looked for. Run by root, the server runs as the user `postgres` or else `nobody`, since PostgreSQL refuses to run
//! as root.
//!
//! What is committed survives a crash of the server, but not of the machine (`fsync = off`): keep nothing here.
//!
//! No function of a server needs an async runtime, and all may be called inside one.
//!
//! ```
//! use pgsteward::testing::TestServer;
//!
//! let server = TestServer::start()?;
//! let mut client = postgres::Client::connect(&server.dsn(), postgres::NoTls)?;
//! let answer: i32 = client.query_one("SELECT 6 * 7", &[])?.get(0);
//! assert_eq!(answer, 42);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A server for all tests of a program:
//!
//! ```
//! use pgsteward::testing::TestServer;
//! use std::sync::OnceLock;
//!
//! fn server() -> &'static TestServer {
//!     static SERVER: OnceLock<TestServer> = OnceLock::new();
//!     SERVER.get_or_init(|| TestServer::start().expect("a test server"))
//! }
//! # server();
//! ```
#![cfg(unix)]

mod binaries;
mod directory;
mod fixture;
mod owned;
mod postmaster;
mod rollback;
mod standby;
mod table_rows;
mod template;
mod test_database;

use self::binaries::Binaries;
pub use self::binaries::find_binaries;
use self::directory::PrivateDirectory;
pub use self::fixture::{insert_json, load_fixture};
pub use self::owned::remove_left_overs;
use self::postmaster::Postmaster;
pub use self::rollback::with_rollback;
pub use self::table_rows::{RowsDifference, TableRows};
pub use self::template::Template;
pub use self::test_database::TestDatabase;
use crate::{Error, Result};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How often another port is tried when somebody else took the free one before the server could.
const PORT_ATTEMPTS: usize = 5;

/// How a [`TestServer`] is to be made.
///
/// ```
/// use pgsteward::testing::{TestServer, TestServerOptions};
///
/// let mut options = TestServerOptions::new();
/// options.settings.push(("password_encryption".into(), "scram-sha-256".into()));
/// let server = TestServer::with(options)?;
/// # Ok::<(), pgsteward::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TestServerOptions {
    /// The directory with `initdb` and `postgres`. `None` is [`find_binaries`].
    pub bin: Option<PathBuf>,
    /// Names and values for `postgresql.conf`; quoting is done here. They come after the ones made here, so
    /// that they win: `wal_level`, `fsync` and the rest can all be changed.
    pub settings: Vec<(String, String)>,
    /// The whole text of `pg_hba.conf`. `None` lets everybody in from this machine without a password.
    pub hba: Option<String>,
    /// Whether to leave the directory behind, for a look at what happened: [`TestServer::log`] is in it as
    /// `log`, the data directory as `data`. The server itself is stopped in any case.
    pub keep: bool,
    /// Whether to listen on a free port of 127.0.0.1 too, besides the Unix socket. True by default.
    pub tcp: bool,
    /// The encoding of the databases, as `initdb --encoding` takes it. `UTF8` by default.
    pub encoding: String,
    /// The locale of the databases, as `initdb --locale` takes it. `C` by default.
    pub locale: String,
}

impl Default for TestServerOptions {
    fn default() -> Self {
        Self {
            bin: None,
            settings: Vec::new(),
            hba: None,
            keep: false,
            tcp: true,
            encoding: "UTF8".into(),
            locale: "C".into(),
        }
    }
}

impl TestServerOptions {
    /// The defaults: what [`TestServer::start`] takes.
    pub fn new() -> Self {
        Self::default()
    }
}

/// A private server, stopped and removed when dropped. See the [module](self).
///
/// The superuser is `postgres`, without a password. All methods may be called from several threads at once.
#[derive(Debug)]
pub struct TestServer {
    binaries: Binaries,
    port: u16,
    tcp: bool,
    // Before the directory: it is dropped first, and the directory can go only when the server is gone.
    postmaster: Mutex<Postmaster>,
    directory: PrivateDirectory,
}

impl TestServer {
    /// Makes and starts a server, and waits until it accepts connections.
    ///
    /// # Errors
    ///
    /// As [`TestServer::with`].
    pub fn start() -> Result<Self> {
        Self::with(TestServerOptions::new())
    }

    /// Makes and starts a server as told by `options`, and waits until it accepts connections, 60 s at most.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] when no PostgreSQL is found, [`Error::OsCommand`] with the end of the log when
    /// `initdb` or the server fails, [`Error::Invalid`] for settings that no file can hold, [`Error::Io`]
    /// otherwise.
    pub fn with(options: TestServerOptions) -> Result<Self> {
        let settings = settings_text(&options.settings)?;
        let directory = PrivateDirectory::create(options.keep)?;
        let bin = options.bin.map_or_else(find_binaries, Ok)?;
        let binaries = Binaries::check(bin, &directory)?;

        let mut initdb = directory.command(&binaries.program("initdb"));
        initdb.args(["--auth=trust", "--no-sync", "--username=postgres", "--encoding", &options.encoding]);
        initdb.arg(format!("--locale={}", options.locale)).arg("--pgdata").arg(directory.data());
        binaries::run(&mut initdb, "initdb")?;
        if let Some(hba) = &options.hba {
            write(&directory.data().join("pg_hba.conf"), hba)?;
        }
        // Other tests' checkpoints would recycle the log that a new standby still needs.
        let keep = if binaries.major < 13 { "wal_keep_segments = 64" } else { "wal_keep_size = '1GB'" };
        append(&directory.data().join("postgresql.conf"), &format!("{BASE_SETTINGS}{keep}\n{settings}"))?;
        Self::launch(binaries, directory, options.tcp)
    }

    /// Starts a server on a data directory that lacks nothing but its own addresses.
    fn launch(binaries: Binaries, directory: PrivateDirectory, tcp: bool) -> Result<Self> {
        let mut server = Self { binaries, port: 0, tcp, postmaster: Mutex::default(), directory };
        let mut attempts = PORT_ATTEMPTS;
        loop {
            server.port = free_port()?;
            append(&server.directory.data().join("postgresql.conf"), &server.address_settings()?)?;
            attempts -= 1;
            match server.restart() {
                Err(_) if attempts > 0 && server.port_is_taken() => server.directory.forget_log()?,
                result => return result.map(|()| server),
            }
        }
    }

    fn address_settings(&self) -> Result<String> {
        settings_text(&[
            ("port".into(), self.port.to_string()),
            ("listen_addresses".into(), if self.tcp { "127.0.0.1".into() } else { String::new() }),
            ("unix_socket_directories".into(), self.socket_directory().display().to_string()),
        ])
    }

    fn port_is_taken(&self) -> bool {
        self.log().is_ok_and(|log| log.contains("Address already in use"))
    }

    /// What to connect to: the user and the database `postgres` over the Unix socket, as a libpq connection string.
    pub fn dsn(&self) -> String {
        self.dsn_for("postgres", "postgres")
    }

    /// [`TestServer::dsn`] for another database and user, whatever their names consist of.
    pub fn dsn_for(&self, database: &str, user: &str) -> String {
        conninfo(&[
            ("host", &self.socket_directory().display().to_string()),
            ("port", &self.port.to_string()),
            ("user", user),
            ("dbname", database),
        ])
    }

    /// [`TestServer::dsn`] over TCP.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for a server made with [`TestServerOptions::tcp`] off.
    pub fn tcp_dsn(&self) -> Result<String> {
        self.tcp_dsn_for("postgres", "postgres")
    }

    /// [`TestServer::dsn_for`] over TCP.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for a server made with [`TestServerOptions::tcp`] off.
    pub fn tcp_dsn_for(&self, database: &str, user: &str) -> Result<String> {
        if !self.tcp {
            return Err(Error::unsupported("a TCP connection to this test server", "TestServerOptions::tcp"));
        }
        let port = self.port.to_string();
        Ok(conninfo(&[("host", "127.0.0.1"), ("port", &port), ("user", user), ("dbname", database)]))
    }

    /// The port: of the TCP address, and in the name of the Unix socket.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The directory of the Unix socket: what `PGHOST` or `psql -h` takes.
    pub fn socket_directory(&self) -> &Path {
        self.directory.path()
    }

    /// The data directory. It belongs to the user the server runs as.
    pub fn data_directory(&self) -> PathBuf {
        self.directory.data()
    }

    /// What the server has written to its log so far.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the log cannot be read.
    pub fn log(&self) -> Result<String> {
        self.directory.read_log()
    }

    /// The version as `postgres --version` prints it: `postgres (PostgreSQL) 15.14`.
    pub fn version(&self) -> &str {
        &self.binaries.version
    }

    /// The major version: 15.
    pub fn major(&self) -> u32 {
        self.binaries.major
    }

    /// The directory of `initdb`, `postgres` and, where they are installed, `pg_dump`, `psql` and the rest.
    pub fn bin(&self) -> &Path {
        &self.binaries.directory
    }

    /// Ends all sessions and stops the server in good order (a fast shutdown). Nothing happens when it is stopped.
    ///
    /// # Errors
    ///
    /// [`Error::OsCommand`] when the server did not end within 20 s and had to be killed.
    pub fn stop(&self) -> Result<()> {
        self.postmaster().stop("INT")
    }

    /// Ends the server as a crash would (an immediate shutdown): what was committed comes back by recovery at
    /// the next [`TestServer::restart`]. Nothing happens when it is stopped.
    ///
    /// # Errors
    ///
    /// [`Error::OsCommand`] when the server did not end within 20 s and had to be killed.
    pub fn stop_immediately(&self) -> Result<()> {
        self.postmaster().stop("QUIT")
    }

    /// Stops the server, unless it is stopped, and starts it again with the same data and addresses.
    ///
    /// # Errors
    ///
    /// [`Error::OsCommand`] with the end of the log when the server does not come back.
    pub fn restart(&self) -> Result<()> {
        let mut postmaster = self.postmaster();
        postmaster.stop("INT")?;
        postmaster.start(&self.binaries, &self.directory)
    }

    fn postmaster(&self) -> MutexGuard<'_, Postmaster> {
        self.postmaster.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Fast, and with room for replication.
const BASE_SETTINGS: &str = "
fsync = off
full_page_writes = off
wal_level = logical
max_wal_senders = 20
max_replication_slots = 20
unix_socket_permissions = 0777
";

/// The lines of `postgresql.conf` for these settings.
fn settings_text(settings: &[(String, String)]) -> Result<String> {
    let mut text = String::new();
    for (name, value) in settings {
        let fits = |c: char| c.is_ascii_alphanumeric() || "_.$".contains(c);
        if name.is_empty() || !name.chars().all(fits) {
            return Err(Error::invalid(format!("setting {name:?}"), "this is no name of a setting"));
        }
        if value.contains('\0') {
            return Err(Error::invalid(format!("value of setting {name}"), "it contains a zero byte"));
        }
        let value = value.replace('\\', "\\\\").replace('\'', "''").replace('\n', "\\n").replace('\r', "\\r");
        text.push_str(&format!("{name} = '{value}'\n"));
    }
    Ok(text)
}

/// A libpq connection string. All values are quoted, so that any value will do.
fn conninfo(parameters: &[(&str, &str)]) -> String {
    let quoted = |value: &str| value.replace('\\', "\\\\").replace('\'', "\\'");
    let words: Vec<_> = parameters.iter().map(|(key, value)| format!("{key}='{}'", quoted(value))).collect();
    words.join(" ")
}

/// A port that was free a moment ago.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    listener.map(|address| address.port()).map_err(|e| Error::io("find a free TCP port on 127.0.0.1", e))
}

/// Writes a file that the server's user owns already.
fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(|e| Error::io(format!("write {path:?}"), e))
}

fn append(path: &Path, text: &str) -> Result<()> {
    use std::io::Write;
    let file = fs::OpenOptions::new().append(true).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|e| Error::io(format!("write {path:?}"), e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_strings_hold_any_name() {
        assert_eq!(conninfo(&[("user", r"o'brien\ x"), ("dbname", "")]), r"user='o\'brien\\ x' dbname=''");
    }

    #[test]
    fn settings_hold_any_value() -> Result<()> {
        let pair = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
        assert_eq!(settings_text(&pair("my.name", "a'b\\c\nd"))?, "my.name = 'a''b\\\\c\\nd'\n");
        assert!(settings_text(&pair("a\nb", "")).is_err());
        assert!(settings_text(&pair("", "")).is_err());
        assert!(settings_text(&pair("a", "\0")).is_err());
        Ok(())
    }
}
