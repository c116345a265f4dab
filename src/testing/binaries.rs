//! Where PostgreSQL's programs are.
use super::directory::PrivateDirectory;
use crate::{Error, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The programs without which there is no server.
const PROGRAMS: [&str; 2] = ["initdb", "postgres"];

/// Where the packages of Debian, Fedora, Homebrew (on both sorts of Mac) and others put a major version's programs.
const VERSIONED: [&str; 4] = [
    "/usr/lib/postgresql/{}/bin",
    "/usr/pgsql-{}/bin",
    "/opt/homebrew/opt/postgresql@{}/bin",
    "/usr/local/opt/postgresql@{}/bin",
];

/// The directories whose programs may be of any version.
const UNVERSIONED: [&str; 5] =
    ["/usr/bin", "/usr/local/bin", "/usr/local/pgsql/bin", "/opt/homebrew/bin", "/usr/libexec/postgresql"];

/// The directory of the installed PostgreSQL's `initdb` and `postgres`.
///
/// The environment variable `PGSTEWARD_PG_BIN` names it, and then nothing else is looked at. Otherwise the
/// first that has both programs is taken: the directories of `PATH` (through symbolic links), what `pg_config --bindir`
/// prints, the usual directories of Debian, Fedora and Homebrew from the highest version to the lowest.
///
/// # Errors
///
/// [`Error::Unsupported`], with all that was looked at, when there is none.
pub fn find_binaries() -> Result<PathBuf> {
    if let Some(given) = std::env::var_os("PGSTEWARD_PG_BIN").filter(|given| !given.is_empty()) {
        let given = PathBuf::from(given);
        if has_programs(&given) {
            return Ok(given);
        }
        return Err(Error::invalid(
            format!("PGSTEWARD_PG_BIN {given:?}"),
            "it must be the directory with the programs initdb and postgres",
        ));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path: Vec<_> = std::env::split_paths(&path).map(|directory| resolve(&directory)).collect();
    // pg_config is a program, which is asked only when the PATH has no server.
    let elsewhere = std::iter::once_with(pg_config).flatten().chain(usual_directories());
    let found = in_path.iter().cloned().chain(elsewhere).find(|directory| has_programs(directory));
    found.ok_or_else(|| {
        let mut looked: Vec<_> = in_path.iter().map(|directory| directory.display().to_string()).collect();
        looked.push("what pg_config --bindir prints".into());
        looked.extend(VERSIONED.iter().map(|pattern| pattern.replace("{}", "N")));
        looked.extend(UNVERSIONED.map(String::from));
        let needs = format!(
            "the programs initdb and postgres in one directory, but none of these has them: {}. Install PostgreSQL, or \
             set PGSTEWARD_PG_BIN to the directory that has them, or run scripts/test, which does both",
            looked.join(", ")
        );
        Error::unsupported("a test server", needs)
    })
}

/// Where the directory's `postgres` really is, when it is a link.
fn resolve(directory: &Path) -> PathBuf {
    let real = fs::canonicalize(directory.join("postgres")).ok();
    real.as_deref().and_then(Path::parent).unwrap_or(directory).to_owned()
}

fn has_programs(directory: &Path) -> bool {
    PROGRAMS.iter().all(|program| directory.join(program).is_file())
}

fn pg_config() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(PathBuf::from(text.trim_end())).filter(|path| output.status.success() && path.is_absolute())
}

fn usual_directories() -> impl Iterator<Item = PathBuf> {
    // Far above any version there is; looking costs nothing.
    let majors = (9..=30).rev();
    let versioned = majors.flat_map(|major: u32| VERSIONED.map(|pattern| pattern.replace("{}", &major.to_string())));
    versioned.chain(UNVERSIONED.map(String::from)).map(PathBuf::from)
}

/// Programs that have been tried.
#[derive(Clone, Debug)]
pub(super) struct Binaries {
    pub(super) directory: PathBuf,
    pub(super) version: String,
    pub(super) major: u32,
}

impl Binaries {
    /// Asks the server program for its version, as the user who will run it.
    pub(super) fn check(bin: PathBuf, directory: &PrivateDirectory) -> Result<Self> {
        let bin = fs::canonicalize(&bin).map_err(|e| Error::io(format!("open the directory {bin:?}"), e))?;
        let program = bin.join("postgres");
        let mut command = directory.command(&program);
        let output = command.arg("--version").stdout(Stdio::piped()).stderr(Stdio::piped()).output().map_err(|e| {
            let reach = match directory.as_user() {
                user if user.is_empty() => user,
                user => format!(
                    "{user} (root may not run it: that user must be able to read it and to enter all directories above)"
                ),
            };
            Error::io(format!("run {program:?}{reach}"), e)
        })?;
        let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        match parse_major(&version) {
            Some(major) => Ok(Self { directory: bin, version, major }),
            None => Err(Error::OsCommand {
                command: format!("{} --version", program.display()),
                failure: format!("printed no version ({})", output.status),
                exit_code: output.status.code(),
                stderr: format!("{version}{}", String::from_utf8_lossy(&output.stderr).trim_end()),
            }),
        }
    }

    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

/// Runs a program to its end.
pub(super) fn run(command: &mut Command, name: &str) -> Result<()> {
    let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output();
    let output = output.map_err(|e| Error::io(format!("run {name}"), e))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::OsCommand {
        command: name.into(),
        failure: format!("failed ({})", output.status),
        exit_code: output.status.code(),
        stderr: String::from_utf8_lossy(&output.stderr).trim_end().to_owned(),
    })
}

/// `postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)` is 15, `postgres (PostgreSQL) 19devel` is 19.
fn parse_major(version: &str) -> Option<u32> {
    let (_, number) = version.split_once("(PostgreSQL) ")?;
    let digits = number.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_all_sorts() {
        assert_eq!(parse_major("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)"), Some(15));
        assert_eq!(parse_major("postgres (PostgreSQL) 19devel"), Some(19));
        assert_eq!(parse_major("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(parse_major("psql"), None);
        assert_eq!(parse_major("postgres (PostgreSQL) x"), None);
    }

    #[test]
    fn the_highest_version_comes_first() {
        let all: Vec<_> = usual_directories().collect();
        let place = |path: &str| all.iter().position(|candidate| candidate == Path::new(path));
        assert!(place("/usr/lib/postgresql/18/bin") < place("/usr/lib/postgresql/9/bin"));
        assert!(place("/usr/lib/postgresql/9/bin") < place("/usr/bin"));
    }
}
