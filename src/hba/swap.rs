//! Has the server replace its file, and says what became of it.
use super::alter_options::HbaWrite;
use super::diff;
use super::feed::Feed;
use super::in_place;
use super::read::{fetch_file, no_file};
use super::replace::{Failure, REPORTS, Replace};
use super::rights::{Right, Standing};
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::shell::Directory;
use crate::sql::{Lit, Sql};
use sha2::{Digest, Sha256};
use std::thread;
use std::time::{Duration, Instant};

/// One content in the place of another.
#[derive(Clone, Copy)]
pub(super) struct Swap<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) standing: &'a Standing,
    /// The path on the server.
    pub(super) path: &'a str,
    pub(super) old: &'a [u8],
    pub(super) new: &'a [u8],
    pub(super) write: HbaWrite,
    /// How many copies to keep; none makes no copy of the old content.
    pub(super) copies: Option<usize>,
}

/// Why the new content is not there.
#[derive(Debug)]
pub(super) enum Failed {
    /// The file is as it was.
    Unchanged(Error),
    /// It may have been written: the statement was cancelled perhaps when it was all done, or the connection was lost.
    /// With the path of the copy of the old content, as far as that is known.
    Unknown { error: Error, copy: Option<String> },
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        match error {
            Error::Connection { .. } | Error::Server { .. } => Self::Unknown { error, copy: None },
            // What is refused has not begun.
            other => Self::Unchanged(other),
        }
    }
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Unchanged(error) | Failed::Unknown { error, .. } => error,
        }
    }
}

/// The SHA-256 hash, in hexadecimal digits.
pub(super) fn hash(bytes: &[u8]) -> String {
    crate::sql::hex(&Sha256::digest(bytes))
}

/// Whether this is the beginning of a content, as a write in place leaves it that did not come to its end.
pub(super) fn is_torn(now: &[u8], content: &[u8]) -> bool {
    now.len() < content.len() && content.starts_with(now)
}

impl Swap<'_> {
    /// What it takes besides reading the file.
    pub(super) fn rights(&self) -> &'static [Right] {
        match (self.write, self.runs_program()) {
            (HbaWrite::InPlace, false) if self.standing.may_export_files() => &[],
            (HbaWrite::InPlace, false) => &[Right::WriteFiles],
            _ => &[Right::RunPrograms],
        }
    }

    /// Whether the server's shell does it, and not SQL alone.
    fn runs_program(&self) -> bool {
        self.write == HbaWrite::Replace || (self.standing.is_posix() && self.standing.has(Right::RunPrograms))
    }

    /// Refuses, for a role with all the rights, what cannot be written, and what could not be put back: a change that
    /// was begun is undone without asking.
    pub(super) fn check(&self) -> Result<()> {
        if self.write == HbaWrite::Replace && !self.standing.is_posix() {
            let what = format!("replacing {:?} on a server that is not on a POSIX system", self.path);
            return Err(Error::unsupported(what, "to be allowed by name to overwrite it (HbaWrite::InPlace)"));
        }
        for content in [self.new, self.old] {
            if !self.runs_program() {
                in_place::check(self, content)?;
            }
            Feed::choose(self.standing).check(self.standing, content, &self.action())?;
        }
        Ok(())
    }

    /// Writes the new content where the old one is; returns the path of the copy of the old one.
    pub(super) fn write(&self) -> Result<Option<String>, Failed> {
        if self.write == HbaWrite::InPlace {
            log::warn!(
                "{:?} is overwritten in place: a crash of the server at this moment leaves half of it",
                self.path
            );
        }
        match self.runs_program() {
            true => self.run_program(),
            false => in_place::write(self),
        }
    }

    pub(super) fn action(&self) -> String {
        format!("replace {:?}", self.path)
    }

    fn run_program(&self) -> Result<Option<String>, Failed> {
        let (action, session, directory) = (self.action(), self.cluster.session(), Directory::new());
        let feed = Feed::choose(self.standing);
        let (old, new) = (hash(self.old), hash(self.new));
        let replace = Replace {
            path: self.path,
            old: &old,
            new: &new,
            write: self.write,
            copies: self.copies,
            report: directory.path(),
            nonce: directory.nonce(),
        };
        let statement = to_run(&replace.program(), feed.content());
        let ran = session.atomically(&action, |within| {
            feed.send(self.cluster, within, &action, self.new)?;
            within.send(std::slice::from_ref(&statement)).map(drop)
        });
        let to_read = directory.to_read(REPORTS, LONGEST_REPORT);
        if let Err(error @ Error::Connection { .. }) = ran {
            // The program may still be running. Where this does not get through, nothing will.
            let stopped = patiently(|| session.run(&action, &[directory.to_stop()]));
            let copy = stopped.ok().and_then(|_| report_in(&session.typed(&action, &to_read, &[]).ok()?, 0));
            return Err(Failed::Unknown { error, copy });
        }
        let reports = session.typed(&action, &to_read, &[]);
        if !matches!(&ran, Err(error) if failure_in(error) == Some(Failure::Broken)) {
            // Without it nothing is lost; a restart of the server removes it too.
            let removed = session.atomically(&action, |within| {
                within.send(&[sql!("SET LOCAL statement_timeout = 0"), directory.to_remove()]).map(drop)
            });
            if let Err(error) = removed {
                log::warn!("{error}");
            }
        }
        let report = |column: usize| reports.as_ref().ok().and_then(|rows| report_in(rows, column));
        if let Some(note) = report(1) {
            log::warn!("{:?}.bak was left as it is: {note}", self.path);
        }
        match ran {
            Ok(_) => Ok(report(0)),
            Err(error) => Err(self.explain(error, &report(2).unwrap_or_default())),
        }
    }

    /// What the end of the program means.
    fn explain(&self, error: Error, said: &str) -> Failed {
        match failure_in(&error) {
            Some(Failure::Changed) => Failed::Unchanged(self.conflict()),
            Some(failure) => Failed::Unchanged(self.failure(failure, said)),
            None => error.into(),
        }
    }

    fn failure(&self, failure: Failure, said: &str) -> Error {
        let path = self.path;
        let failed = |failure: &str| Error::OsCommand {
            command: format!("the replacement of {path:?}"),
            failure: format!("{failure}; the file is as it was"),
            exit_code: None,
            stderr: said.to_owned(),
        };
        let denied =
            |reason: String, remedy: &str| Error::Denied { action: self.action(), reason, remedy: remedy.into() };
        match failure {
            Failure::Attributes => denied(
                format!("the server cannot give a new file the mode, owner and group of the old one ({said})"),
                "make the server's user of the operating system its owner, or allow by name to overwrite it in place \
                 (HbaWrite::InPlace)",
            ),
            Failure::Denied => denied(
                format!("the operating system refuses it ({said}); the file is as it was"),
                "let the server's user of the operating system write to the file and to its directory, or to the file \
                 alone, and allow by name to overwrite it in place (HbaWrite::InPlace)",
            ),
            Failure::Full => failed("found no room on the server's disk"),
            Failure::ReadOnly => failed("found a read-only file system; make the change where its content comes from"),
            Failure::Mounted => failed(
                "failed because the file is mounted by itself, and can only be overwritten in place (HbaWrite::InPlace)",
            ),
            Failure::Broken => Error::OsCommand {
                command: format!("the replacement of {path:?}"),
                failure: format!(
                    "failed, and the file is broken: it has neither its old content nor the new one; what was there is \
                     in {said:?}, put it back before the server is started anew"
                ),
                exit_code: None,
                stderr: String::new(),
            },
            Failure::Interrupted => failed("was interrupted"),
            Failure::Locked => failed("waited 30 seconds for another one"),
            Failure::NoProgram => {
                Error::unsupported(self.action(), format!("the program `{said}` on the server (coreutils)"))
            }
            Failure::NoFile => no_file(path),
            Failure::Changed | Failure::Other => failed("failed"),
        }
    }

    /// The error for a file that somebody else has changed, with what the others did.
    pub(super) fn conflict(&self) -> Error {
        let mine = diff::unified(self.path, self.old, self.new);
        Error::Conflict {
            what: format!("{:?}", self.path),
            mine: "for the file as it was read".into(),
            theirs: format!(
                "{}\nWhat was to be changed, and can be after a refresh:\n{}",
                made_by_others(self.cluster, self.standing, self.path, self.old),
                mine.trim_end()
            ),
        }
    }
}

/// What somebody else made of a file that had this content.
pub(super) fn made_by_others(cluster: &Cluster, standing: &Standing, path: &str, content: &[u8]) -> String {
    match fetch_file(cluster, standing, path) {
        Ok(Some(now)) => {
            format!("another one by now. What others have changed:\n{}", diff::unified(path, content, &now).trim_end())
        }
        Ok(None) => "no such file any more".into(),
        Err(error) => format!("another one by now, which could not be read ({error})"),
    }
}

/// What the program left in one of its files.
fn report_in(rows: &[postgres::Row], column: usize) -> Option<String> {
    let bytes: Option<Vec<u8>> = rows.first()?.try_get(column).ok()?;
    bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// How the program ended, if the server says so.
fn failure_in(error: &Error) -> Option<Failure> {
    match error {
        Error::Server { cause, .. } if cause.code.code() == "38000" => {
            cause.detail.as_deref().and_then(Failure::of_detail)
        }
        _ => None,
    }
}

/// The longest report that is read, in bytes.
const LONGEST_REPORT: u32 = 1 << 16;

/// How long a lost connection is tried again.
const PATIENCE: Duration = Duration::from_secs(5);

/// Tries again while there is no connection: a server that ended one may be back in a moment.
pub(super) fn patiently<R>(mut f: impl FnMut() -> Result<R>) -> Result<R> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match f() {
            Err(Error::Connection { .. }) if Instant::now() < deadline => thread::sleep(Duration::from_millis(50)),
            result => return result,
        }
    }
}

/// The statement that runs a program and passes it the content, in base64 on one line.
fn to_run(program: &str, content: Sql) -> Sql {
    sql!(
        "COPY (SELECT pg_catalog.translate(pg_catalog.encode({}, 'base64'), E'\\n', '')) TO PROGRAM {}",
        content,
        Lit(program)
    )
}
