//! Commands of the server's operating system.
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::script::Script;
use crate::sql::{Data, Lit, Sql};
use bytes::Bytes;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

/// The longest output that is read, in bytes.
const MOST_OUTPUT: u32 = 1_000_000_000;

/// A command for [`Cluster::run_os_command`]: any text that the server's `/bin/sh` takes, of one
/// line or of many.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OsCommand {
    text: String,
    timeout: Option<Duration>,
    checked: bool,
}

/// What a command printed, and how it ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OsOutput {
    /// The exit code; 128 and a signal's number if the signal ended it, 127 if the command was not found.
    pub exit_code: i32,
    /// What it printed on standard output, byte for byte.
    pub stdout: Bytes,
    /// What it printed on standard error, byte for byte.
    pub stderr: Bytes,
}

impl OsCommand {
    /// The text of a shell script. What is put into it from elsewhere must be quoted for the shell.
    /// The server may log it (`log_statement`), this crate logs it at level debug, and errors repeat it: pass no
    /// secrets.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), timeout: None, checked: false }
    }

    /// Ends the command after a time: SIGTERM, and SIGKILL 5 seconds later, with all that it has
    /// started in its process group. Needs the program `timeout` on the server. Without a timeout
    /// the server's `statement_timeout` holds, which a command can ignore.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// An exit code other than 0 is [`Error::OsCommand`].
    pub fn checked(mut self) -> Self {
        self.checked = true;
        self
    }

    fn check(&self) -> Result<()> {
        if self.text.contains('\0') {
            return Err(Error::invalid("command of the operating system", "it contains a NUL byte"));
        }
        match self.timeout {
            // To `timeout` zero means for ever.
            Some(Duration::ZERO) => Err(Error::invalid("timeout of a command", "it is zero")),
            _ => Ok(()),
        }
    }

    fn failed(&self, failure: impl Into<String>, exit_code: Option<i32>, stderr: &[u8]) -> Error {
        let stderr = String::from_utf8_lossy(stderr).trim_end_matches('\n').to_owned();
        Error::OsCommand { command: format!("command {:?}", self.text), failure: failure.into(), exit_code, stderr }
    }

    /// Runs the command on the server, and leaves what came of it in files of the directory.
    ///
    /// The text travels as the program's input in base64, so that no quoting of the shell and no
    /// escape of COPY touches it. The inner shell outlives SIGTERM, so that `timeout` stays with the
    /// command until it is killed; a command that gets past it leaves no `code`.
    fn to_run(&self, directory: &Directory) -> Sql {
        let run = "trap : TERM; sh \"$0/command\" </dev/null >\"$0/stdout\" 2>\"$0/stderr\"; echo \"$?\" >\"$0/code\"";
        let start = match self.timeout {
            Some(timeout) => format!("timeout -k 5 {} ", timeout.as_secs_f64()),
            None => String::new(),
        };
        let available = if self.timeout.is_some() { "command -v timeout >/dev/null || exit 96; " } else { "" };
        // Nobody else is to look into the files; the command gets the umask that it would have anyway.
        let program = format!(
            "{available}mask=$(umask); umask 077; mkdir -p base/pgsql_tmp && mkdir \"{0}\" && base64 -d >\"{0}/command\" || exit 95; \
             umask \"$mask\"; {start}sh -c '{run}' \"{0}\"; echo \"$?\" >\"{0}/ended\"; exit 0",
            directory.path
        );
        let text = match self.text.is_ascii() {
            true => sql!("pg_catalog.convert_to({}, 'UTF8')", Lit(&self.text)),
            // A database in another encoding may have no such characters.
            false => sql!("{}", Data(self.text.as_bytes())),
        };
        sql!(
            "COPY (SELECT pg_catalog.translate(pg_catalog.encode({}, 'base64'), E'\\n', '')) TO PROGRAM {}",
            text,
            Lit(&program)
        )
    }
}

impl OsOutput {
    /// Standard output as text; what is not UTF-8 in it is replaced by `U+FFFD`.
    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text; what is not UTF-8 in it is replaced by `U+FFFD`.
    pub fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}

/// Where a command's files are: where the server keeps its own temporary files, relative to its data directory.
/// A base backup leaves it out, and a restart of the server clears it, whatever happens to this program.
pub(crate) struct Directory {
    path: String,
}

impl Directory {
    /// A name that nobody can guess.
    pub(crate) fn new() -> Self {
        // The standard library keys its hashers at random.
        let random = || RandomState::new().build_hasher().finish();
        Self { path: format!("base/pgsql_tmp/pgsql_tmp_steward_{:016x}{:016x}", random(), random()) }
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The 32 hexadecimal digits in its name.
    pub(crate) fn nonce(&self) -> &str {
        self.path.rsplit('_').next().unwrap_or_default()
    }

    /// Files in it, each a value of type bytea, up to so many bytes; NULL for one that does not exist.
    pub(crate) fn to_read<const N: usize>(&self, files: [&str; N], bytes: u32) -> Sql {
        let file = |name: &str| {
            let path = format!("{}/{name}", self.path);
            sql!("pg_catalog.pg_read_binary_file({}, 0, {}, true)", Lit(&path), bytes)
        };
        sql!("SELECT {}", Sql::join(files.map(file), ", "))
    }

    /// Leaves a sign for a program that may still be running when its connection was lost: it is to stop. One
    /// that has not yet begun finds that the directory exists.
    pub(crate) fn to_stop(&self) -> Sql {
        sql!(
            "COPY (SELECT '') TO PROGRAM {}",
            Lit(&format!("cat >/dev/null; mkdir -p \"{0}\" && : >\"{0}/stop\"", self.path))
        )
    }

    pub(crate) fn to_remove(&self) -> Sql {
        sql!("COPY (SELECT '') TO PROGRAM {}", Lit(&format!("cat >/dev/null; rm -rf \"{}\"", self.path)))
    }
}

impl Cluster {
    /// Runs a command on the server, as the server's user of the operating system, in its data
    /// directory, with nothing on standard input. Works on a standby too, and in a read-only
    /// transaction; what the command does is not undone by the end of a transaction.
    ///
    /// The output is kept in files of the server while the command runs, and then held in memory: up to 1 GB of
    /// each. Jobs in the background go on when the command has ended. In a plan the command is collected, and the
    /// output is empty.
    ///
    /// # Errors
    /// [`Error::OsCommand`] when the time is over, and with [`checked`](OsCommand::checked) for an
    /// exit code other than 0; [`Error::Denied`] without the rights of a superuser, or those of
    /// `pg_execute_server_program` and `EXECUTE` on `pg_read_binary_file`;
    /// [`Error::Unsupported`] where a timeout is asked for and the server has no program `timeout`.
    pub fn run_os_command(&self, command: OsCommand) -> Result<OsOutput> {
        command.check()?;
        let directory = Directory::new();
        if let Some(plan) = self.plan_in_progress()? {
            let mut script = Script::new();
            script.add_alone(command.to_run(&directory), Vec::new());
            script.add_alone(directory.to_remove(), Vec::new());
            plan.record(script, move |cluster| cluster.run_os_command(command).map(drop));
            return Ok(OsOutput::default());
        }
        let (action, session) = ("run a command of the operating system", self.session());
        self.may_run_os_commands(action)?;
        let result =
            session.run(action, &[command.to_run(&directory)]).map_err(|error| command.explain(error)).and_then(|_| {
                session.typed(action, &directory.to_read(["ended", "code", "stdout", "stderr"], MOST_OUTPUT), &[])
            });
        // Also after an error, when some of it may be there; the first error says more.
        let removed = session.run(action, &[directory.to_remove()]);
        let rows = result?;
        removed?;
        let bytes = |column: usize| -> Result<Option<Vec<u8>>> {
            let Some(row) = rows.first() else { return Ok(None) };
            row.try_get(column).map_err(|error| Error::driver(action, &error))
        };
        command.judge(number(bytes(0)?), number(bytes(1)?), bytes(2)?, bytes(3)?)
    }

    /// The server would say the half of what is missing.
    fn may_run_os_commands(&self, action: &str) -> Result<()> {
        let question = sql!(
            "SELECT pg_catalog.pg_has_role('pg_execute_server_program', 'MEMBER')::text AS program, \
             pg_catalog.has_function_privilege('pg_catalog.pg_read_binary_file(text,bigint,bigint,boolean)', \
             'EXECUTE')::text AS read"
        );
        let answers = self.session().run(action, &[question])?;
        let Some(row) = answers.iter().flatten().next() else { return Ok(()) };
        let (program, read) = (row.truth("program")?, row.truth("read")?);
        let missing = match (program, read) {
            (true, true) => return Ok(()),
            (false, _) => "the role pg_execute_server_program",
            (true, false) => "EXECUTE on the function pg_read_binary_file",
        };
        Err(Error::Denied {
            action: action.into(),
            reason: format!("the current role lacks {missing}"),
            remedy: "connect as a superuser, or GRANT pg_execute_server_program, and GRANT EXECUTE ON FUNCTION \
                     pg_catalog.pg_read_binary_file(text, bigint, bigint, boolean), to the current role"
                .into(),
        })
    }
}

impl OsCommand {
    /// An error of the program around the command.
    fn explain(&self, error: Error) -> Error {
        let detail = match &error {
            Error::Server { cause, .. } if cause.code.code() == "38000" => cause.detail.clone().unwrap_or_default(),
            _ => return error,
        };
        match () {
            // The detail is translated; the number is not.
            () if detail.ends_with("96") && self.timeout.is_some() => {
                Error::unsupported("a timeout of a command", "the program `timeout` (coreutils) on the server")
            }
            () => self.failed(format!("was not run to its end ({detail})"), None, b""),
        }
    }

    /// What to make of a command that was run.
    fn judge(
        &self,
        ended: Option<i32>,
        code: Option<i32>,
        stdout: Option<Vec<u8>>,
        stderr: Option<Vec<u8>>,
    ) -> Result<OsOutput> {
        let (stdout, stderr) = (stdout.unwrap_or_default(), stderr.unwrap_or_default());
        match (self.timeout, ended, code) {
            (_, Some(0), Some(0)) => {}
            (_, Some(0), Some(code)) if self.checked => {
                return Err(self.failed(format!("ended with exit code {code}"), Some(code), &stderr));
            }
            (_, Some(0), Some(_)) => {}
            (Some(timeout), _, _) => {
                let failure = format!("was ended after {} seconds (timeout)", timeout.as_secs_f64());
                return Err(self.failed(failure, None, &stderr));
            }
            (None, _, _) => return Err(self.failed("was ended from outside", None, &stderr)),
        }
        Ok(OsOutput { exit_code: code.unwrap_or_default(), stdout: stdout.into(), stderr: stderr.into() })
    }
}

fn number(file: Option<Vec<u8>>) -> Option<i32> {
    String::from_utf8(file?).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_command_is_data_to_the_program_that_runs_it() {
        let directory = Directory { path: "d".into() };
        let sql = OsCommand::new("echo 'a' \\N").to_run(&directory).to_string();
        let text = "COPY (SELECT pg_catalog.translate(pg_catalog.encode(pg_catalog.convert_to( E'echo ''a'' \\\\N', 'UTF8'), \
            'base64'), E'\\n', '')) TO PROGRAM '";
        assert!(sql.starts_with(text), "{sql}");
        assert!(!sql.contains("timeout"));
        let sql = OsCommand::new("é").timeout(Duration::from_millis(1500)).to_run(&directory).to_string();
        assert!(sql.contains("decode('c3a9', 'hex')") && sql.contains("timeout -k 5 1.5 sh -c"), "{sql}");
    }

    #[test]
    fn what_cannot_be_run_is_refused() {
        assert!(matches!(OsCommand::new("a\0b").check(), Err(Error::Invalid { .. })));
        assert!(matches!(OsCommand::new("a").timeout(Duration::ZERO).check(), Err(Error::Invalid { .. })));
    }

    #[test]
    fn directories_have_names_of_their_own() {
        assert_ne!(Directory::new().path, Directory::new().path);
    }
}
