//! Transactions, nested as deep as wanted.
use crate::error::{Error, Result};
use crate::fate::Fate;
use crate::row::Row;
use crate::session::{Session, State, ended_early};
use crate::sides::Side;
use crate::sql::Sql;
use postgres::error::SqlState;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

/// How often a change is tried that the server refuses for concurrency alone.
const TRIES: u32 = 5;

/// An open transaction, or a savepoint in one.
pub(crate) struct Level {
    fate: Arc<Fate>,
    /// Whether its first statement was sent.
    pub(crate) opened: bool,
    /// The settings that its end brings back.
    side: Side,
    savepoint: bool,
}

impl Session {
    /// Whether a transaction is open, of this crate's or of the user's own.
    pub(crate) fn is_inside(&self, action: &str) -> Result<bool> {
        self.ready(action)?.is_inside(action)
    }

    /// The fate of what is read now, if a transaction is open: that of the last change in it, or its own.
    pub(crate) fn fate(&self) -> Option<Arc<Fate>> {
        let state = self.lock();
        let level = state.levels.last().map(|level| &level.fate);
        state.changes.last_within(level).or(level).cloned()
    }

    /// Runs a closure in a transaction: kept if it returns `Ok`, undone if it returns an error or panics.
    pub(crate) fn transaction<R>(&self, action: &str, f: impl FnOnce() -> Result<R>) -> Result<R> {
        let mut state = self.ready(action)?;
        // What the user sets inside is to last as it would without this crate.
        state.switch(Side::User, action)?;
        drop(state);
        let transaction = Atomic::enter(self, action, Scope::User)?;
        transaction.open(sql!("BEGIN"), &[])?;
        let result = f();
        let result = transaction.leave(result);
        if result.is_err() {
            self.look_back(&mut self.lock());
        }
        result
    }

    /// Runs a change of the crate's own in a transaction, and again when the server refuses it
    /// for concurrency alone. The transaction is opened by the first statements, without a round trip.
    pub(crate) fn atomically<R>(&self, action: &str, mut f: impl FnMut(&Atomic<'_>) -> Result<R>) -> Result<R> {
        self.ready(action)?.switch(Side::Own, action)?;
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
        let around = state.levels.last().map(|level| level.fate.clone());
        let savepoint = state.is_inside(action)?;
        let fate = Fate::within(around);
        let side = state.side();
        state.levels.push(Level { fate, opened: false, side, savepoint });
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
        let savepoint = state.levels.get_mut(self.depth - 1).is_some_and(|level| {
            level.opened = true;
            level.savepoint
        });
        let begin = if savepoint { sql!("SAVEPOINT pgsteward_{}", self.depth) } else { begin };
        let mut batch = vec![begin];
        batch.extend_from_slice(statements);
        let mut answers = state.batch(self.action, &batch)?;
        answers.remove(0);
        Ok(answers)
    }

    /// Ends the transaction: keeps it when all went well.
    fn leave<R>(self, result: Result<R>) -> Result<R> {
        let kept = match &result {
            Ok(_) => self.end(true),
            Err(_) => Ok(()),
        };
        // Dropping it rolls back what was not kept.
        kept.and(result)
    }

    /// Commits. COMMIT in a failed transaction rolls back without a word, and where there is none it
    /// says little more; a savepoint before it fails in both.
    fn commit(&self, state: &mut State) -> Result<Vec<Vec<Row>>> {
        state.batch(self.action, &[sql!("SAVEPOINT pgsteward_end"), sql!("COMMIT")])
    }

    /// Keeps what was done since a savepoint, as far as what is around it is kept.
    fn release(&self, state: &mut State, fate: Arc<Fate>) -> Result<Vec<Vec<Row>>> {
        let note = state.changes.add(fate);
        state.batch(self.action, &[note, sql!("RELEASE SAVEPOINT pgsteward_{}", self.depth)])
    }

    /// An error at the end, in other words if the end came before.
    fn explain(&self, error: Error) -> Error {
        match error.code() {
            Some(code) if [SqlState::NO_ACTIVE_SQL_TRANSACTION, SqlState::S_E_INVALID_SPECIFICATION].contains(code) => {
                ended_early(self.action)
            }
            _ => error,
        }
    }

    fn end(&self, keep: bool) -> Result<()> {
        let mut state = self.session.lock();
        let depth = self.depth;
        let Some(level) = state.levels.get(depth - 1) else { return Ok(()) };
        let (opened, savepoint, side, fate) = (level.opened, level.savepoint, level.side, level.fate.clone());
        let ended = match (opened && !state.is_lost(), keep, savepoint) {
            (false, _, _) if opened && keep => Err(Error::Connection {
                action: self.action.into(),
                reason: "the connection was lost inside a transaction, and the transaction with it".into(),
            }),
            (false, _, _) => Ok(Vec::new()),
            (true, true, false) => self.commit(&mut state),
            (true, true, true) => self.release(&mut state, fate.clone()),
            (true, false, false) => state.batch(self.action, &[sql!("ROLLBACK")]),
            (true, false, true) => state.batch(
                self.action,
                &[sql!("ROLLBACK TO SAVEPOINT pgsteward_{}", depth), sql!("RELEASE SAVEPOINT pgsteward_{}", depth)],
            ),
        };
        if keep && ended.is_err() {
            // Still there to be rolled back.
            return ended.map(drop).map_err(|error| self.explain(error));
        }
        state.levels.truncate(depth - 1);
        if !savepoint || !keep {
            state.fall_back_to(side);
        }
        if !savepoint && keep {
            state.changes.keep();
        }
        if opened && !keep {
            fate.undo();
            state.changes.forget_undone();
            // What a change of the crate's own does is kept only after it succeeded.
            if self.scope == Scope::User {
                self.session.forget();
            }
        }
        self.session.owned(&mut state);
        ended.map(drop)
    }
}

impl Drop for Atomic<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.end(false) {
            log::warn!("{error}");
        }
    }
}
