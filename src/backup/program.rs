//! The client programs of PostgreSQL on this machine.
use super::access::without_environment;
use crate::error::{Error, Result};
use crate::version::ServerVersion;
use std::collections::BTreeSet;
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where the packages of Debian, Fedora, Homebrew and others put a major version's programs.
const VERSIONED: [&str; 4] = [
    "/usr/lib/postgresql/{}/bin",
    "/usr/pgsql-{}/bin",
    "/opt/homebrew/opt/postgresql@{}/bin",
    "/usr/local/opt/postgresql@{}/bin",
];

/// How many major versions beyond the one that is needed are looked for.
const AHEAD: u32 = 10;

/// A client program that was found.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) path: PathBuf,
    pub(super) version: ServerVersion,
}

impl Program {
    /// Finds a program of at least a major version: in the directory, if one is given; else that of the version that is
    /// liked best, then in `PATH`, then the lowest version above.
    pub(super) fn find(name: &'static str, directory: Option<&Path>, best: u32, major: u32) -> Result<Self> {
        let mut seen = Vec::new();
        for candidate in candidates(name, directory, best.max(major)) {
            let version = version_of(name, &candidate)?;
            if version.at_least(major) {
                return Ok(Self { path: candidate, version });
            }
            seen.push(format!("{} is of version {version}", candidate.display()));
        }
        let place = directory.map_or("PATH and the usual directories".to_owned(), |path| path.display().to_string());
        let found = if seen.is_empty() { format!("there is none in {place}") } else { seen.join(", ") };
        Err(Error::unsupported(
            format!("running {name} for a server of PostgreSQL {major} ({found})"),
            format!("the client programs of PostgreSQL {major} or newer, in PATH or where `programs` says"),
        ))
    }

    /// A command that runs it, with messages in English, no terminal, and nothing of this program's environment that would
    /// lead it to another server.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        without_environment(&mut command);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    }
}

fn candidates(name: &str, directory: Option<&Path>, major: u32) -> Vec<PathBuf> {
    let directories: Vec<PathBuf> = match directory {
        Some(directory) => vec![directory.to_owned()],
        None => {
            let versioned =
                |major: u32| VERSIONED.iter().map(move |form| form.replace("{}", &major.to_string()).into());
            let path = env::var_os("PATH").unwrap_or_default();
            let path: Vec<_> = env::split_paths(&path).filter(|directory| !is_wrapper(&directory.join(name))).collect();
            versioned(major).chain(path).chain((major + 1..=major + AHEAD).flat_map(versioned)).collect()
        }
    };
    let mut known = BTreeSet::new();
    let programs = directories.into_iter().map(|directory| directory.join(name));
    programs.filter(|program| program.is_file() && known.insert(program.clone())).collect()
}

/// Debian's programs in `/usr/bin` are links to one that chooses a version for each call, by what it is told of the server.
fn is_wrapper(program: &Path) -> bool {
    program.canonicalize().is_ok_and(|path| path.file_name() != program.file_name())
}

fn version_of(name: &str, program: &Path) -> Result<ServerVersion> {
    let action = format!("run {program:?} --version");
    let mut command = Command::new(program);
    without_environment(&mut command);
    let output = command.arg("--version").stdin(Stdio::null()).output().map_err(|error| Error::io(&action, error))?;
    read_version(name, &String::from_utf8_lossy(&output.stdout))
}

/// Reads what `--version` prints: `pg_dump (PostgreSQL) 15.14 (Debian 15.14-1)`.
pub(super) fn read_version(name: &str, printed: &str) -> Result<ServerVersion> {
    let version = printed.split_once("(PostgreSQL) ").map(|(_, version)| version);
    version.and_then(|version| ServerVersion::parse(version).ok()).ok_or_else(|| {
        Error::invalid(format!("answer {:?} of {name} --version", printed.trim()), "it tells no version of PostgreSQL")
    })
}
