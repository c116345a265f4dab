//! Transactions, nested as deep as wanted.
use crate::error::{Error, Result};
use crate::fate::Within;
use crate::fate::{Fate, Mention};
use crate::row::Row;
use crate::session::Session;
use crate::sides::{Side, name_transaction};
use crate::sql::{Lit, Sql};
use crate::state::{State, ended_early};
use postgres::error::SqlState;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

/// How often a change is tried that the server refuses for concurrency alone.
const TRIES: u32 = 5;

/// What the server is made to complain of when it is in another transaction than it should be.
const ANOTHER: &str = "pgsteward: another transaction";

/// An open transaction, or a savepoint in one.
pub(crate) struct Level {
    pub(crate) fate: Arc<Fate>,
    /// What the server calls the transaction while it is open, if statements of the user's run in it.
    pub(crate) name: Option<String>,
    /// Whether its first statement was sent.
    pub(crate) opened: bool,
    /// The settings that its end brings back.
    side: Side,
    /// Whether it is a savepoint in a transaction that was there before.
    pub(crate) savepoint: bool,
}

impl Session {
    /// Whether a transaction is open, of this crate's or of the user's own.
    pub(crate) fn is_inside(&self, action: &str) -> Result<bool> {
        self.ready(action)?.is_inside(action)
    }

    /// Runs a closure in a transaction: kept if it returns `Ok`, undone if it returns an error or panics.
    pub(crate) fn transaction<R>(&self, action: &str, f: impl FnOnce() -> Result<R>) -> Result<R> {
        let transaction = Atomic::enter(self, action, Scope::User)?;
        transaction.open(sql!("BEGIN"), &[])?;
        transaction.leave(f()).map(|(result, _)| result)
    }

    /// Runs a change of the crate's own in a transaction, and again when the server refuses it
    /// for concurrency alone. The transaction is opened by the first statements, without a round trip.
    /// Returns also in which transaction it was, if one was open around it.
    pub(crate) fn atomically<R>(
        &self,
        action: &str,
        mut f: impl FnMut(&Atomic<'_>) -> Result<R>,
    ) -> Result<(R, Within)> {
        let mut tried = 0;
        loop {
            let transaction = Atomic::enter(self, action, Scope::Change)?;
            let result = f(&transaction);
            let result = transaction.leave(result);
            tried += 1;
            match &result {
                Err(error) if error.is_transient() && tried < TRIES && self.may_try_again(error) => pause(tried),
                _ => return result,
            }
        }
    }

    /// A deadlock is not undone by a savepoint: the locks of the transaction around it stay.
    fn may_try_again(&self, error: &Error) -> bool {
        let outermost =
            self.ready("try again").and_then(|mut state| state.is_inside("try again")).is_ok_and(|inside| !inside);
        outermost || error.code() != Some(&SqlState::T_R_DEADLOCK_DETECTED)
    }
}

/// Waits longer each time, and not as long as others who wait for the same.
fn pause(tried: u32) {
    let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.subsec_nanos());
    thread::sleep(Duration::from_millis(u64::from(5_u32 << tried) + u64::from(nanos % 20)));
}

/// A transaction of the crate's own, rolled back when it is dropped.
pub(crate) struct Atomic<'s> {
    session: &'s Session,
    action: &'s str,
    depth: usize,
    scope: Scope,
}

/// What a transaction is around.
#[derive(Clone, Copy, PartialEq)]
enum Scope {
    /// One change of the crate's own.
    Change,
    /// Whatever a closure of the user's does.
    User,
}

impl<'s> Atomic<'s> {
    fn enter(session: &'s Session, action: &'s str, scope: Scope) -> Result<Self> {
        let mut state = session.ready(action)?;
        // What the user sets inside is to last as it would without this crate.
        state.switch(if scope == Scope::User { Side::User } else { Side::Own }, action)?;
        let around = state.levels.last().map(|level| level.fate.clone());
        let savepoint = state.is_inside(action)?;
        let fate = Fate::within(around);
        let side = state.side();
        let name = (scope == Scope::User && !savepoint).then(|| state.moments.next_name());
        state.levels.push(Level { fate, name, opened: false, side, savepoint });
        let depth = state.levels.len();
        session.owned(&mut state);
        Ok(Self { session, action, depth, scope })
    }

    /// Sends statements inside the transaction; returns the rows of each.
    pub(crate) fn send(&self, statements: &[Sql]) -> Result<Vec<Vec<Row>>> {
        let mut state = self.session.ready(self.action)?;
        statements.iter().try_for_each(Sql::check)?;
        if state.levels.get(self.depth - 1).is_none_or(|level| level.opened) {
            return state.batch(self.action, statements);
        }
        drop(state);
        // Each statement must see what others have committed by then: that is how a change is checked.
        self.open(sql!("BEGIN ISOLATION LEVEL READ COMMITTED"), statements)
    }

    /// Opens the transaction, and sends its first statements.
    fn open(&self, begin: Sql, statements: &[Sql]) -> Result<Vec<Vec<Row>>> {
        let mut state = self.session.ready(self.action)?;
        let Some(level) = state.levels.get_mut(self.depth - 1) else { return Err(ended_early(self.action)) };
        level.opened = true;
        let mut batch = vec![if level.savepoint { sql!("SAVEPOINT pgsteward_{}", self.depth) } else { begin }];
        batch.extend(level.name.as_deref().map(name_transaction));
        let before = batch.len();
        batch.extend_from_slice(statements);
        let mut answers = state.batch(self.action, &batch)?;
        Ok(answers.split_off(before.min(answers.len())))
    }

    /// Ends the transaction: keeps it when all went well. Returns in which it was, too.
    fn leave<R>(self, result: Result<R>) -> Result<(R, Within)> {
        // Dropping it rolls back what was not kept.
        let result = result?;
        let within = self.end(true)?;
        Ok((result, within))
    }

    /// Commits, if it is this transaction that is open, and not one that a statement of the user's
    /// began after he had ended this one. COMMIT in a failed transaction would roll back without a word.
    fn commit(&self, state: &mut State, name: Option<&str>) -> Result<Vec<Vec<Row>>> {
        let check = match name {
            None => sql!("SAVEPOINT pgsteward_end"),
            Some(name) => sql!(
                "SELECT (CASE WHEN pg_catalog.current_setting('pgsteward.transaction', true) OPERATOR(pg_catalog.=) {} \
                 THEN '0' ELSE {} END)::pg_catalog.int4",
                Lit(name),
                Lit(ANOTHER)
            ),
        };
        state.batch(self.action, &[check, sql!("COMMIT")])
    }

    /// An error at the end, in other words if the end came before.
    fn explain(&self, error: Error) -> Error {
        match error.code() {
            Some(code) if *code == SqlState::NO_ACTIVE_SQL_TRANSACTION => ended_early(self.action),
            Some(code) if *code == SqlState::INVALID_TEXT_REPRESENTATION && error.to_string().contains(ANOTHER) => {
                ended_early(self.action)
            }
            Some(code) if *code == SqlState::S_E_INVALID_SPECIFICATION => Error::invalid(
                format!("ROLLBACK or RELEASE inside an attempt to {}", self.action),
                "it ended the savepoint that this began, and what came after it is rolled back",
            ),
            _ => error,
        }
    }

    fn end(&self, keep: bool) -> Result<Within> {
        let mut state = self.session.lock();
        let depth = self.depth;
        let Some(level) = state.levels.get(depth - 1) else { return Ok(None) };
        let (opened, savepoint, side, fate) = (level.opened, level.savepoint, level.side, level.fate.clone());
        let name = level.name.clone();
        let ended = match (opened && !state.is_lost(), keep, savepoint) {
            (false, _, _) if opened && keep => Err(Error::Connection {
                action: self.action.into(),
                reason: "the connection was lost inside a transaction, and the transaction with it".into(),
            }),
            (false, _, _) => Ok(Vec::new()),
            (true, true, false) => self.commit(&mut state, name.as_deref()),
            (true, true, true) => state.batch(self.action, &[sql!("RELEASE SAVEPOINT pgsteward_{}", depth)]),
            (true, false, _) => self.roll_back(&mut state, savepoint),
        };
        if keep && ended.is_err() {
            // Still there to be rolled back.
            return ended.map(|_| None).map_err(|error| self.explain(error));
        }
        state.levels.truncate(depth - 1);
        if !savepoint || !keep {
            state.fall_back_to(side);
        }
        match (keep, savepoint) {
            (true, true) => {}
            (true, false) => state.moments.keep(),
            (false, _) if opened => {
                fate.undo();
                state.moments.forget_undone();
                // What a change of the crate's own does is kept only after it succeeded.
                if self.scope == Scope::User {
                    self.session.forget();
                }
            }
            (false, _) => {}
        }
        let within = state.within();
        self.session.owned(&mut state);
        ended.map(|_| within)
    }

    fn roll_back(&self, state: &mut State, savepoint: bool) -> Result<Vec<Vec<Row>>> {
        // A statement of the user's may have ended it before, and kept what was done by then.
        if self.scope == Scope::User && !state.moments.is_empty() {
            self.session.settle(state, Mention::End);
        }
        match savepoint {
            false => state.batch(self.action, &[sql!("ROLLBACK")]),
            true => {
                let back = sql!("ROLLBACK TO SAVEPOINT pgsteward_{}", self.depth);
                state.batch(self.action, &[back, sql!("RELEASE SAVEPOINT pgsteward_{}", self.depth)])
            }
        }
    }
}

impl Drop for Atomic<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.end(false) {
            log::warn!("{error}");
        }
    }
}
