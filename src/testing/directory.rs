//! The directory of one server, the user it belongs to, and the shell that outlives this process to remove it.
use crate::{Error, Result};
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Reads until this process ends, however it ends, and closes the pipe by that. Then it stops all of its own
/// process group, which is what [`PrivateDirectory::command`] has started, and removes the directory.
const WATCHDOG: &str = r#"
while read -r line; do :; done
cd /
trap '' QUIT
kill -s QUIT 0
tries=0
while [ -e "$1/data/postmaster.pid" ] && [ "$tries" -lt 200 ]; do
    sleep 0.1
    tries=$((tries + 1))
done
[ "$2" = keep ] || rm -rf "$1" || { [ -e "$1/data" ] && sleep 1 && rm -rf "$1"; }
kill -s KILL 0
"#;

/// The shortest limit of a Unix socket's path is that of macOS, 103 bytes; this leaves room for a port of five digits.
const LONGEST_PATH: usize = 103 - "/.s.PGSQL.65535".len();

/// A user of this machine.
#[derive(Clone, Debug)]
struct User {
    name: String,
    uid: u32,
    gid: u32,
}

/// A new directory, removed when dropped.
#[derive(Debug)]
pub(super) struct PrivateDirectory {
    path: PathBuf,
    /// Whom the files belong to and the programs run as, when not us: PostgreSQL refuses to run as root.
    user: Option<User>,
    keep: bool,
    watchdog: Option<Child>,
}

impl PrivateDirectory {
    pub(super) fn create(keep: bool) -> Result<Self> {
        let mut failure = None;
        for base in [std::env::temp_dir(), PathBuf::from("/tmp")] {
            let path = base.join(unique_name());
            if path.as_os_str().len() > LONGEST_PATH {
                continue;
            }
            match Self::create_at(path, keep) {
                Ok(directory) => return Ok(directory),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        let too_long = || Error::invalid("directory for temporary files", "its path is too long to hold a Unix socket");
        Err(failure.unwrap_or_else(too_long))
    }

    fn create_at(path: PathBuf, keep: bool) -> Result<Self> {
        let failed = |e| Error::io(format!("make the private directory {path:?}"), e);
        DirBuilder::new().mode(0o700).create(&path).map_err(failed)?;
        // From here on, dropping it removes it.
        let mut directory = Self { path: path.clone(), user: None, keep, watchdog: None };
        if path.metadata().map_err(failed)?.uid() == 0 {
            directory.user = Some(unprivileged_user()?);
            directory.give(&path)?;
        }
        directory.watchdog = Some(directory.start_watchdog()?);
        Ok(directory)
    }

    /// Fails too when the user has no way to the directory.
    fn start_watchdog(&self) -> Result<Child> {
        let mut shell = self.plain_command(Path::new("/bin/sh"));
        shell.arg("-c").arg(WATCHDOG).arg("pgsteward-watchdog").arg(&self.path);
        shell.arg(if self.keep { "keep" } else { "remove" }).stdin(Stdio::piped()).process_group(0);
        shell.spawn().map_err(|e| Error::io(format!("run /bin/sh in {:?}{}", self.path, self.as_user()), e))
    }

    pub(super) fn keeps(&self) -> bool {
        self.keep
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    /// A program that runs here, as the server's user, and whose end is the watchdog's business too.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = self.plain_command(program);
        if let Some(group) = self.watchdog.as_ref().and_then(|shell| i32::try_from(shell.id()).ok()) {
            command.process_group(group);
        }
        command
    }

    fn plain_command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // What a person has set for libpq is not meant for this server. TZ spares initdb a search for the time zone.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PG")) {
            command.env_remove(name);
        }
        command.env("LC_ALL", "C").env("TZ", "UTC");
        if let Some(user) = &self.user {
            command.uid(user.uid).gid(user.gid);
        }
        command
    }

    /// For messages: ` as user "postgres"`, or nothing when that is us.
    pub(super) fn as_user(&self) -> String {
        self.user.as_ref().map_or_else(String::new, |user| format!(" as user {:?}", user.name))
    }

    /// Lets the server's user own a file that we have made.
    pub(super) fn give(&self, path: &Path) -> Result<()> {
        let Some(user) = &self.user else { return Ok(()) };
        chown(path, Some(user.uid), Some(user.gid))
            .map_err(|e| Error::io(format!("give {path:?} to user {:?}", user.name), e))
    }

    fn log_path(&self) -> PathBuf {
        self.path.join("log")
    }

    /// The log, for writing at its end.
    pub(super) fn open_log(&self) -> Result<File> {
        let path = self.log_path();
        let file = File::options().append(true).create(true).open(&path);
        let file = file.map_err(|e| Error::io(format!("open {path:?}"), e))?;
        self.give(&path)?;
        Ok(file)
    }

    pub(super) fn read_log(&self) -> Result<String> {
        let path = self.log_path();
        let bytes = fs::read(&path).map_err(|e| Error::io(format!("read {path:?}"), e))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    pub(super) fn forget_log(&self) -> Result<()> {
        self.open_log()?.set_len(0).map_err(|e| Error::io(format!("empty {:?}", self.log_path()), e))
    }
}

impl Drop for PrivateDirectory {
    fn drop(&mut self) {
        if let Some(mut shell) = self.watchdog.take() {
            drop(shell.stdin.take());
            wait_at_most(&mut shell, Duration::from_secs(30));
        }
        // The watchdog may be gone, or lack the right to remove the directory itself.
        if !self.keep {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Waits for the end of a program, and kills it when it takes longer than that. Whether it ended by itself.
pub(super) fn wait_at_most(child: &mut Child, time: Duration) -> bool {
    let start = std::time::Instant::now();
    while let Ok(None) = child.try_wait() {
        if start.elapsed() > time {
            let _ = child.kill();
            let _ = child.wait();
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

/// Unlike any other of this process (the counter), of this machine (the process), and of others that share the
/// directory (the time).
fn unique_name() -> String {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_micros() % 1_000_000_000);
    format!("pgsteward-{}-{count}-{time:x}", std::process::id())
}

/// The user that runs the server for root.
fn unprivileged_user() -> Result<User> {
    let users = fs::read_to_string("/etc/passwd").map_err(|e| Error::io("read \"/etc/passwd\"", e))?;
    choose_user(&users).ok_or_else(|| {
        let cause = io::Error::new(io::ErrorKind::NotFound, "neither \"postgres\" nor \"nobody\" is in /etc/passwd");
        Error::io("find a user to run PostgreSQL, which refuses to run as root", cause)
    })
}

fn choose_user(passwd: &str) -> Option<User> {
    let find = |wanted: &str| passwd.lines().filter_map(parse_user).find(|user| user.name == wanted && user.uid != 0);
    find("postgres").or_else(|| find("nobody"))
}

/// A line of /etc/passwd: `name:password:uid:gid:...`.
fn parse_user(line: &str) -> Option<User> {
    let mut fields = line.split(':');
    let name = fields.next()?.to_owned();
    let uid = parse_id(fields.nth(1)?)?;
    let gid = parse_id(fields.next()?)?;
    Some(User { name, uid, gid })
}

/// A number of a user or a group; macOS writes that of `nobody` as -2.
fn parse_id(text: &str) -> Option<u32> {
    text.parse().ok().or_else(|| text.parse().ok().map(|id: i32| id as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_runs_the_server_as_postgres_or_nobody() {
        let chosen = |passwd: &str| choose_user(passwd).map(|user| (user.name, user.uid, user.gid));
        let both = "root:x:0:0::/:/bin/sh\nnobody:*:-2:-2::/:\npostgres:x:107:110:,,,:/:/bin/bash\n";
        assert_eq!(chosen(both), Some(("postgres".into(), 107, 110)));
        assert_eq!(chosen("# x\nnobody:*:-2:-2::/:\n"), Some(("nobody".into(), u32::MAX - 1, u32::MAX - 1)));
        assert_eq!(chosen("nobody:x:65534:65534:::\n"), Some(("nobody".into(), 65534, 65534)));
        assert_eq!(chosen("postgres:x:0:0:::\nnobody\nnobody:x:y:z"), None);
    }

    #[test]
    fn names_of_directories_differ() {
        assert_ne!(unique_name(), unique_name());
    }
}
