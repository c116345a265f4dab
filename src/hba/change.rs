//! A change of the file from end to end: written, checked, loaded, tried; or undone.
use super::alter_options::{HbaOutcome, HbaProbe, HbaWrite};
use super::diff;
use super::files::Files;
use super::in_place::name_copy;
use super::included;
use super::list::HbaFile;
use super::proof::{self, Reload, Verdict};
use super::read::fetch_file;
use super::rights::Right;
use super::swap::{Failed, Swap, is_torn, made_by_others, patiently};
use crate::error::{Error, Result};
use crate::sql::Lit;

/// One content of a server's file in the place of another.
pub(super) struct Change<'a> {
    pub(super) swap: Swap<'a>,
    /// The new content, with the files that it includes as they were judged.
    pub(super) after: &'a HbaFile,
    /// What errors call it: it is not in the file yet, or no longer.
    pub(super) name: &'a str,
    pub(super) probe: HbaProbe,
}

impl Change<'_> {
    /// Refuses, before anything is written, what cannot be done as a whole, or could not be undone.
    pub(super) fn check(&self) -> Result<()> {
        let Swap { cluster, standing, path, .. } = self.swap;
        let action = format!("change {path:?}");
        if cluster.session().is_inside(&action)? {
            let why = "a rollback would not bring the old file back; make it before the transaction, or after";
            return Err(Error::invalid(format!("change of {path:?} inside a transaction"), why));
        }
        if self.probe == HbaProbe::Connect && !cluster.session().can_connect_again() {
            let what = "a new connection to try the rules, where this one was handed in,";
            return Err(Error::unsupported(what, "Cluster::connect, or to be left out by name (HbaProbe::Skip)"));
        }
        standing
            .need(&action, &[standing.to_read(path), &[Right::SeeRules, Right::Reload], self.swap.rights()].concat())
            .map_err(|error| match self.swap.write == HbaWrite::Replace && standing.has(Right::WriteFiles) {
                true => error.and(
                    "it has pg_write_server_files, with which the file can be overwritten in place (HbaWrite::InPlace)",
                ),
                false => error,
            })?;
        self.swap.check()?;
        proof::check_settings(cluster, &action)
    }

    /// Makes the change, which was checked. Returns also the files as they were read for it.
    pub(crate) fn make(&self) -> Result<(HbaOutcome, Files)> {
        let Swap { cluster, standing, old, new, write, .. } = self.swap;
        included::confirm(cluster, standing, self.after)?;
        let backup = self.swap.write().map_err(|failed| match failed {
            Failed::Unchanged(error) => error,
            Failed::Unknown { error, copy } => self.undo(error, copy.as_deref()),
        })?;
        // Whoever asks for the rules has the server read all files: some versions crash on one that includes itself.
        let files =
            included::confirm(cluster, standing, self.after).map_err(|error| self.undo(error, backup.as_deref()))?;
        match proof::judge(cluster, self.after) {
            Ok(Verdict::Accepted) => {}
            Ok(Verdict::AnotherContent) => return Err(self.overwritten()),
            Ok(Verdict::Refused { file, line, words }) => {
                let problem = format!("the server refuses it ({words})");
                let file = if file == self.swap.path { self.name.to_owned() } else { file };
                let refused = Error::Hba { file, line: line.unwrap_or(1), column: 1, problem };
                return Err(self.undo(refused, backup.as_deref()));
            }
            Err(error) => return Err(self.undo(error, backup.as_deref())),
        }
        let reload = proof::reload(cluster).map_err(|error| self.undo(error, backup.as_deref()))?;
        self.prove(&reload, backup.as_deref())?;
        let (lines_added, lines_removed) = diff::counts(old, new);
        let (write, probed, planned) = (Some(write), self.probe == HbaProbe::Connect, false);
        Ok((HbaOutcome { write, backup, lines_added, lines_removed, reloaded: true, probed, planned }, files))
    }

    /// Makes sure that the server has taken the rules, and lets in who it let in before.
    fn prove(&self, reload: &Reload, backup: Option<&str>) -> Result<()> {
        let Swap { cluster, path, new, .. } = self.swap;
        let taken = match self.probe {
            HbaProbe::Connect => reload.wait_by_connecting(cluster).map_err(|error| Error::Connection {
                action: format!("connect again under the new rules of {path:?}"),
                reason: error.to_string(),
            }),
            HbaProbe::Skip => reload.wait(cluster),
        };
        match taken {
            Ok(true) => {}
            Ok(false) => return Err(self.undo(self.not_read(), backup)),
            Err(error) => return Err(self.undo(error, backup)),
        }
        match patiently(|| proof::has_content(cluster, path, new)) {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.overwritten()),
            Err(error) => Err(error.and("the new rules were loaded; whether they are still in the file is not known")),
        }
    }

    fn not_read(&self) -> Error {
        Error::Connection {
            action: format!("have the server read {:?}", self.swap.path),
            reason: "it did not within 10 seconds".into(),
        }
    }

    /// The error for a file that somebody else changed after this change.
    fn overwritten(&self) -> Error {
        let Swap { cluster, standing, path, new, .. } = self.swap;
        Error::Conflict {
            what: format!("{path:?}"),
            mine: "written".into(),
            theirs: made_by_others(cluster, standing, path, new),
        }
        .and("refresh the rules, and look whether the change is still among them")
    }

    /// Puts the old file back if the new one is there, has the server load it, and says so in the error.
    fn undo(&self, error: Error, copy: Option<&str>) -> Error {
        let Swap { cluster, path, old, .. } = self.swap;
        self.without_timeout(|| match once_more(|| self.put_back()) {
            Ok(()) => self.load_again(error, "the old file was put back"),
            Err(next) => match once_more(|| patiently(|| proof::has_content(cluster, path, old))) {
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
        let Swap { cluster, standing, path, old, new, write, .. } = self.swap;
        let over = |there: &[u8]| {
            let back = Swap { old: there, new: old, copies: None, ..self.swap };
            patiently(|| back.write().map_err(Error::from)).map(drop)
        };
        let failed = match over(new) {
            Err(failed) if write == HbaWrite::InPlace => failed,
            result => return result,
        };
        match patiently(|| fetch_file(cluster, standing, path)) {
            // An old file may well be the beginning of the new one.
            Ok(Some(now)) if now != old && (is_torn(&now, new) || is_torn(&now, old)) => over(&now),
            _ => Err(failed),
        }
    }

    /// Has the server load the old file. It may go by the new one without having been told of it by this change, or
    /// without its answer: it was started anew in between, or somebody else had it read its files.
    fn load_again(&self, error: Error, done: &str) -> Error {
        let load = || patiently(|| proof::reload(self.swap.cluster)?.wait(self.swap.cluster));
        match once_more(load) {
            Ok(true) => error.and(&format!("{done} and loaded")),
            Ok(false) => error.and(&format!("{done}, and the server has not read it yet")),
            Err(next) => error.and(&format!("{done}, and could not be loaded ({next})")),
        }
    }

    /// A timeout of the user's is for what he asked for, and not to stand in the way of undoing it.
    fn without_timeout<R>(&self, f: impl FnOnce() -> R) -> R {
        let (session, action) = (self.swap.cluster.session(), format!("change {:?} back", self.swap.path));
        // From PostgreSQL 17 on there are both.
        let timeouts = sql!("pg_catalog.pg_settings WHERE name IN ('statement_timeout', 'transaction_timeout')");
        let now = sql!("SELECT name, setting FROM {}", timeouts);
        let off = sql!("SELECT pg_catalog.set_config(name, '0', false) FROM {}", timeouts);
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
        for row in was.iter().flat_map(|answers| answers.first()).flatten() {
            let on = |name: String, value: String| {
                let on = sql!("SELECT pg_catalog.set_config({}, {}, false)", Lit(&name), Lit(&value));
                session.run(&action, &[on]).map(drop)
            };
            if let Err(error) = row.text("name").and_then(|name| on(name, row.text("setting")?)) {
                log::warn!("{error}");
            }
        }
        result
    }
}

/// Tries again what undoes a change and was perhaps stopped by a cancellation of the change itself that came late.
fn once_more<R>(mut f: impl FnMut() -> Result<R>) -> Result<R> {
    match f() {
        Err(Error::Server { .. } | Error::OsCommand { .. }) => f(),
        result => result,
    }
}
