//! The same connection parameters for psql and for this crate, with the same environment and files, and what came of them.
use pgsteward::{Cluster, Error};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// What is asked where a connection was made.
const QUESTION: &str = "SELECT concat_ws('|', COALESCE(inet_server_port()::text, 'socket'), current_user, current_database(), \
    current_setting('application_name'), current_setting('TimeZone'), current_setting('DateStyle'), current_setting('geqo'))";

/// psql, and its major version; none where it is not installed. `PGSTEWARD_PSQL` names another one.
pub fn psql() -> Option<(PathBuf, u32)> {
    let program = std::env::var_os("PGSTEWARD_PSQL").map_or_else(installed, PathBuf::from);
    let answer = Command::new(&program).arg("--version").output().ok()?;
    let text = String::from_utf8(answer.stdout).ok()?;
    let major = text.split(' ').nth(2)?.split('.').next()?.trim().parse().ok()?;
    Some((program, major))
}

/// The newest one itself: what Debian has on the path is a script that sets `PGHOST`.
fn installed() -> PathBuf {
    let directories = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let found = directories.map(|directory| directory.path().join("bin/psql")).filter(|path| path.exists()).max();
    found.unwrap_or("psql".into())
}

/// A home directory, gone at the end, and variables.
pub struct Surroundings {
    home: PathBuf,
    variables: Vec<(String, OsString)>,
}

impl Surroundings {
    pub fn new(name: &str) -> Self {
        let home = std::env::temp_dir().join(format!("pgsteward-beside-{name}-{}", std::process::id()));
        fs::create_dir_all(&home).unwrap();
        Self { home, variables: Vec::new() }
    }

    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Writes a file that is the user's own.
    pub fn file(&self, name: &str, text: &str) {
        self.file_with_mode(name, text, 0o600);
    }

    pub fn file_with_mode(&self, name: &str, text: &str, mode: u32) {
        let path = self.home.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Sets variables, instead of those that were set before.
    pub fn set(&mut self, variables: &[(&str, &str)]) -> &Self {
        let home = self.home.to_str().unwrap();
        let set = |(name, value): &(&str, &str)| ((*name).to_owned(), value.replace("HOME", home).into());
        self.variables = variables.iter().map(set).collect();
        self
    }

    /// Sets a variable besides, to what may be no text.
    pub fn set_bytes(&mut self, name: &str, value: &[u8]) {
        self.variables.push((name.to_owned(), OsStr::from_bytes(value).to_owned()));
    }

    fn give(&self, command: &mut Command) {
        let path = std::env::var_os("PATH").unwrap_or_default();
        command.env_clear().env("PATH", path).env("HOME", &self.home).env("LC_ALL", "C").current_dir(&self.home);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
    }

    /// What psql reaches; none if it fails.
    pub fn psql(&self, program: &Path, text: &str) -> Result<String, String> {
        let mut command = Command::new(program);
        self.give(&mut command);
        let words = ["-X", "-w", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", QUESTION, "-d", text];
        let answer = command.args(words).stdin(Stdio::null()).output().unwrap();
        match answer.status.success() {
            // psql has a name of its own, where none is given.
            true => Ok(String::from_utf8(answer.stdout).unwrap().trim_end().replace("|psql|", "||")),
            false => Err(String::from_utf8_lossy(&answer.stderr).trim_end().to_owned()),
        }
    }

    /// A program that connects by this crate.
    pub fn ours(&self) -> Ours {
        let mut command = Command::new(std::env::current_exe().unwrap());
        self.give(&mut command);
        command.args(["--exact", "beside_psql::the_program_that_connects", "--nocapture", "--quiet"]).env(MARK, "1");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Ours { child, input: Some(input), output }
    }
}

impl Drop for Surroundings {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.home).unwrap();
    }
}

/// A program of this crate's, in surroundings of its own: a process has one environment.
pub struct Ours {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Ours {
    /// What a connection string reaches.
    pub fn connect(&mut self, text: &str) -> Result<String, String> {
        let line: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
        loop {
            let mut line = String::new();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "the program has ended at {text:?}");
            let line = line.trim_end_matches('\n');
            if let Some(found) = line.strip_prefix("REACHED ") {
                return Ok(found.to_owned());
            }
            if let Some(error) = line.strip_prefix("FAILED ") {
                return Err(error.to_owned());
            }
        }
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        self.input = None;
        self.child.wait().unwrap();
    }
}

const MARK: &str = "PGSTEWARD_CONNECTS";

/// What [`Surroundings::ours`] runs: it connects to what it reads, a connection string in hexadecimal on each line.
#[test]
fn the_program_that_connects() {
    if std::env::var_os(MARK).is_none() {
        return;
    }
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let bytes: Vec<u8> =
            (0..line.len() / 2).map(|n| u8::from_str_radix(&line[2 * n..2 * n + 2], 16).unwrap()).collect();
        let text = String::from_utf8(bytes).unwrap();
        let reached =
            Cluster::connect(&text).and_then(|cluster| Ok(cluster.execute(QUESTION, &[])?[0].get::<_, String>(0)));
        match reached {
            Ok(found) => println!("\nREACHED {found}"),
            Err(error) => {
                assert!(!matches!(error, Error::Io { .. }) || !error.to_string().contains("panicked"), "{error}");
                println!("\nFAILED {}", error.to_string().replace('\n', " "));
            }
        }
    }
}
