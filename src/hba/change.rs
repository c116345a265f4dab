//! A change of the file from end to end: written, checked, loaded, tried; or undone.
use super::alter_options::{HbaAlterOptions, HbaOutcome, HbaProbe, HbaWrite};
use super::diff;
use super::files::Files;
use super::in_place::name_copy;
use super::included::Included;
use super::managed::refuse_managed;
use super::proof::{self, Reload, Verdict};
use super::read::fetch_file;
use super::rights::{Right, Standing};
use super::swap::{Failed, Swap, is_torn, made_by_others, patiently};
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::sql::Lit;

/// One content of a server's file in the place of another.
pub(crate) struct Change<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) standing: &'a Standing,
    pub(crate) path: &'a str,
    pub(crate) old: &'a [u8],
    pub(crate) new: &'a [u8],
    pub(crate) options: &'a HbaAlterOptions,
    /// The files that the new content includes, as they were judged.
    pub(crate) included: Included<'a>,
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
                error.and(
                    "it has pg_write_server_files, with which the file can be overwritten in place (HbaWrite::InPlace)",
                )
            })?;
        }
        self.standing.need(&action, &rights)?;
        proof::check_settings(self.cluster, &action)
    }

    /// Makes the change, which was checked. Returns also the files as they were read for it.
    pub(crate) fn make(&self) -> Result<(HbaOutcome, Files)> {
        self.included.confirm()?;
        let backup = self.swap().write().map_err(|failed| match failed {
            Failed::Unchanged(error) => error,
            Failed::Unknown { error, copy } => self.undo(error, copy.as_deref()),
        })?;
        // Whoever asks for the rules has the server read all files: some versions crash on one that includes itself.
        let files = self.included.confirm().map_err(|error| self.undo(error, backup.as_deref()))?;
        match proof::judge(self.cluster, self.included.after) {
            Ok(Verdict::Accepted) => {}
            Ok(Verdict::AnotherContent) => return Err(self.overwritten()),
            Ok(Verdict::Refused { file, line, words }) => {
                let problem = format!("the server refuses it ({words})");
                let refused = Error::Hba { file, line: line.unwrap_or(1), column: 1, problem };
                return Err(self.undo(refused, backup.as_deref()));
            }
            Err(error) => return Err(self.undo(error, backup.as_deref())),
        }
        let reload = proof::reload(self.cluster).map_err(|error| self.undo(error, backup.as_deref()))?;
        self.prove(&reload, backup.as_deref())?;
        let (lines_added, lines_removed) = diff::counts(self.old, self.new);
        let probed = self.options.probe == HbaProbe::Connect;
        let write = Some(self.options.write);
        let planned = false;
        Ok((HbaOutcome { write, backup, lines_added, lines_removed, reloaded: true, probed, planned }, files))
    }

    /// Makes sure that the server has taken the rules, and lets in who it let in before.
    fn prove(&self, reload: &Reload, backup: Option<&str>) -> Result<()> {
        let taken = match self.options.probe {
            HbaProbe::Connect => reload.wait_by_connecting(self.cluster).map_err(|error| Error::Connection {
                action: format!("connect again under the new rules of {:?}", self.path),
                reason: error.to_string(),
            }),
            HbaProbe::Skip => reload.wait(self.cluster),
        };
        match taken {
            Ok(true) => {}
            Ok(false) => return Err(self.undo(self.not_read(), backup)),
            Err(error) => return Err(self.undo(error, backup)),
        }
        match patiently(|| proof::has_content(self.cluster, self.path, self.new)) {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.overwritten()),
            Err(error) => Err(error.and("the new rules were loaded; whether they are still in the file is not known")),
        }
    }

    fn action(&self) -> String {
        format!("change {:?}", self.path)
    }

    fn swap(&self) -> Swap<'_> {
        let HbaAlterOptions { write, backups, .. } = *self.options;
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
        Error::Conflict {
            what: format!("{:?}", self.path),
            mine: "written".into(),
            theirs: made_by_others(self.cluster, self.standing, self.path, self.new),
        }
        .and("refresh the rules, and look whether the change is still among them")
    }

    /// Puts the old file back if the new one is there, has the server load it, and says so in the error.
    fn undo(&self, error: Error, copy: Option<&str>) -> Error {
        self.without_timeout(|| match self.put_back() {
            Ok(()) => self.load_again(error, "the old file was put back"),
            Err(next) => match patiently(|| proof::has_content(self.cluster, self.path, self.old)) {
                Ok(true) => self.load_again(error, "the old file is there"),
                Ok(false) => name_copy(error.and(&format!("the old file could not be put back ({next})")), copy),
                Err(lost) => {
                    let unknown = format!("whether the old file is there or the new one is not known ({lost})");
                    name_copy(error.and(&unknown), copy)
                }
            },
        })
    }

    /// Writes the old content where the new one is, or the beginning of one of them that a write in place left there.
    fn put_back(&self) -> Result<()> {
        let over = |there: &[u8]| {
            let swap = Swap { old: there, new: self.old, copies: None, ..self.swap() };
            patiently(|| swap.write().map_err(Error::from)).map(drop)
        };
        let failed = match over(self.new) {
            Err(failed) if self.options.write == HbaWrite::InPlace => failed,
            result => return result,
        };
        match patiently(|| fetch_file(self.cluster, self.standing, self.path)) {
            Ok(Some(now)) if is_torn(&now, self.new) || is_torn(&now, self.old) => {
                // An old file may well be the beginning of the new one.
                if now == self.old { Err(failed) } else { over(&now) }
            }
            _ => Err(failed),
        }
    }

    /// Has the server load the old file. It may go by the new one without having been told of it by this change, or
    /// without its answer: it was started anew in between, or somebody else had it read its files.
    fn load_again(&self, error: Error, done: &str) -> Error {
        match patiently(|| proof::reload(self.cluster)?.wait(self.cluster)) {
            Ok(true) => error.and(&format!("{done} and loaded")),
            Ok(false) => error.and(&format!("{done}, and the server has not read it yet")),
            Err(next) => error.and(&format!("{done}, and could not be loaded ({next})")),
        }
    }

    /// A timeout of the user's is for what he asked for, and not to stand in the way of undoing it.
    fn without_timeout<R>(&self, f: impl FnOnce() -> R) -> R {
        let (session, action) = (self.cluster.session(), self.action());
        let now = sql!("SELECT pg_catalog.current_setting('statement_timeout') AS timeout");
        let off = sql!("SELECT pg_catalog.set_config('statement_timeout', '0', false)");
        // A very short one may stand in the way of this too.
        let turn_off = || patiently(|| session.run(&action, &[now.clone(), off.clone()]));
        let mut was = turn_off();
        for _ in 0..10 {
            if !matches!(was, Err(Error::Server { .. })) {
                break;
            }
            was = turn_off();
        }
        let result = f();
        let was = was.ok().and_then(|answers| answers.iter().flatten().next()?.text("timeout").ok());
        if let Some(was) = was {
            let on = sql!("SELECT pg_catalog.set_config('statement_timeout', {}, false)", Lit(&was));
            if let Err(error) = session.run(&action, &[on]) {
                log::warn!("{error}");
            }
        }
        result
    }
}
