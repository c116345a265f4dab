//! A change of the file from end to end: written, checked, loaded, tried; or undone.
use super::diff;
use super::managed::refuse_managed;
use super::options::{HbaOptions, HbaOutcome, HbaProbe, HbaWrite};
use super::proof::{self, Reload, Verdict};
use super::read::fetch_file;
use super::rights::{Right, Standing};
use super::swap::Swap;
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use std::thread;
use std::time::{Duration, Instant};

/// How long a lost connection is tried again to put the old file back.
const PATIENCE: Duration = Duration::from_secs(5);

/// One content of a server's file in the place of another.
pub(crate) struct Change<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) standing: &'a Standing,
    pub(crate) path: &'a str,
    pub(crate) old: &'a [u8],
    pub(crate) new: &'a [u8],
    pub(crate) options: &'a HbaOptions,
}

impl Change<'_> {
    /// Refuses, before anything is written, what cannot be done as a whole.
    pub(crate) fn check(&self) -> Result<()> {
        let action = self.action();
        refuse_managed(self.path, self.old)?;
        if self.cluster.session().is_inside(&action)? {
            let why = "a rollback would not bring the old file back; make it before the transaction, or after";
            return Err(Error::invalid(format!("change of {:?} inside a transaction", self.path), why));
        }
        if self.options.probe == HbaProbe::Connect && !self.cluster.session().can_connect_again() {
            let what = "a new connection to try the rules, where this one was handed in,";
            return Err(Error::unsupported(what, "Cluster::connect, or to be left out by name (HbaProbe::Skip)"));
        }
        let mut rights = self.standing.to_read(self.path).to_vec();
        rights.extend([Right::SeeRules, Right::Reload]);
        rights.extend(Swap::rights(self.standing, self.options.write));
        if self.options.write == HbaWrite::Replace && self.standing.has(Right::WriteFiles) {
            self.standing.need(&action, &rights).map_err(|error| {
                error.and("it has pg_write_server_files, with which the file can be overwritten in place (HbaWrite::InPlace)")
            })?;
        }
        self.standing.need(&action, &rights)
    }

    /// Makes the change, which was checked.
    pub(crate) fn make(&self) -> Result<HbaOutcome> {
        let backup = match self.swap().write() {
            Ok(backup) => backup,
            Err(error) if error.is_conflict() => return Err(error),
            Err(error) => return Err(self.look_after(error)),
        };
        match proof::judge(self.cluster, self.path, self.new) {
            Ok(Verdict::Accepted) => {}
            Ok(Verdict::AnotherContent) => return Err(self.overwritten()),
            Ok(Verdict::Refused { file, line, words }) => {
                let line = line.map(|line| format!(", line {line}")).unwrap_or_default();
                let refused = Error::invalid(format!("rules for {file:?}{line}"), format!("the server says: {words}"));
                return Err(self.undo(refused, Loaded::Old));
            }
            Err(error) => return Err(self.undo(error, Loaded::Old)),
        }
        let reload = proof::reload(self.cluster).map_err(|error| self.undo(error, Loaded::Old))?;
        self.prove(&reload)?;
        let (lines_added, lines_removed) = diff::counts(self.old, self.new);
        let probed = self.options.probe == HbaProbe::Connect;
        Ok(HbaOutcome { write: Some(self.options.write), backup, lines_added, lines_removed, reloaded: true, probed })
    }

    /// Makes sure that the server has taken the rules, and lets in who it let in before.
    fn prove(&self, reload: &Reload) -> Result<()> {
        let taken = match self.options.probe {
            HbaProbe::Connect => reload.wait_by_connecting(self.cluster).map_err(|error| Error::Connection {
                action: format!("connect again under the new rules of {:?}", self.path),
                reason: error.to_string(),
            }),
            HbaProbe::Skip => reload.wait(self.cluster),
        };
        match taken {
            Ok(true) => {}
            Ok(false) => return Err(self.undo(self.not_read(), Loaded::Perhaps)),
            Err(error) => return Err(self.undo(error, Loaded::Perhaps)),
        }
        match proof::has_content(self.cluster, self.path, self.new)? {
            true => Ok(()),
            false => Err(self.overwritten()),
        }
    }

    fn action(&self) -> String {
        format!("change {:?}", self.path)
    }

    fn swap(&self) -> Swap<'_> {
        let HbaOptions { write, backups, .. } = *self.options;
        let Self { cluster, standing, path, old, new, .. } = *self;
        Swap { cluster, standing, path, old, new, write, copies: Some(backups) }
    }

    fn not_read(&self) -> Error {
        Error::Connection {
            action: format!("have the server read {:?}", self.path),
            reason: "it did not within 10 seconds".into(),
        }
    }

    /// The error for a file that somebody else changed after this change.
    fn overwritten(&self) -> Error {
        let now = fetch_file(self.cluster, self.standing, self.path).ok().flatten().unwrap_or_default();
        Error::Conflict {
            what: format!("{:?}", self.path),
            mine: "written".into(),
            theirs: format!("this since then:\n{}", diff::unified(self.path, self.new, &now)),
        }
    }

    /// After an error of the write: a statement that was cancelled, or whose connection was lost, may have
    /// done all that it was to do.
    fn look_after(&self, error: Error) -> Error {
        match self.patiently(|| proof::has_content(self.cluster, self.path, self.new)) {
            Ok(false) => error,
            Ok(true) => self.undo(error, Loaded::Old),
            Err(lost) => error.and(&format!("whether {:?} is the old file or the new one is not known ({lost})", self.path)),
        }
    }

    /// Puts the old file back, and says so in the error.
    fn undo(&self, error: Error, loaded: Loaded) -> Error {
        let swap = Swap { old: self.new, new: self.old, copies: None, ..self.swap() };
        match self.patiently(|| swap.write()) {
            Ok(_) if loaded == Loaded::Old => error.and("the old file was put back"),
            Ok(_) => match proof::reload(self.cluster).and_then(|reload| reload.wait(self.cluster)) {
                Ok(true) => error.and("the old file was put back and loaded"),
                Ok(false) => error.and("the old file was put back, and the server has not read it yet"),
                Err(next) => error.and(&format!("the old file was put back, and could not be loaded ({next})")),
            },
            Err(next) => error.and(&format!("the old file could not be put back ({next})")),
        }
    }

    /// Tries again while there is no connection: a server that ended one may be back in a moment.
    fn patiently<R>(&self, mut f: impl FnMut() -> Result<R>) -> Result<R> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match f() {
                Err(Error::Connection { .. }) if Instant::now() < deadline => thread::sleep(Duration::from_millis(100)),
                result => return result,
            }
        }
    }
}

/// Which rules the server goes by when a change is undone.
#[derive(Clone, Copy, PartialEq)]
enum Loaded {
    /// The old ones: it was not told of the new ones.
    Old,
    /// The old ones or the new ones.
    Perhaps,
}
