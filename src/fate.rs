//! What became of the changes that were made in a transaction.
use crate::error::Result;
use crate::row::Row;
use crate::sql::Sql;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What became of a transaction, or of one change in it: objects that were saved in it ask.
#[derive(Debug)]
pub(crate) struct Fate {
    undone: AtomicBool,
    around: Option<Arc<Fate>>,
}

impl Fate {
    pub(crate) fn within(around: Option<Arc<Fate>>) -> Arc<Self> {
        Arc::new(Self { undone: AtomicBool::new(false), around })
    }

    /// Whether it, or one around it, was rolled back.
    pub(crate) fn is_undone(&self) -> bool {
        self.undone.load(Ordering::Acquire) || self.around.as_ref().is_some_and(|around| around.is_undone())
    }

    pub(crate) fn undo(&self) {
        self.undone.store(true, Ordering::Release);
    }

    fn is_within(&self, around: Option<&Arc<Fate>>) -> bool {
        self.around.as_ref().map(Arc::as_ptr) == around.map(Arc::as_ptr)
    }
}

/// The changes in a transaction that is still open. A statement of the user's can undo any of them:
/// the end of a transaction that he began, or of a savepoint.
///
/// Each has a number, and a setting of the session holds the last one: it falls back with what is
/// rolled back, and tells which are still there.
#[derive(Default)]
pub(crate) struct Changes {
    last: u64,
    made: Vec<(u64, Arc<Fate>)>,
}

impl Changes {
    /// Takes in a change; returns the statement that says so to the server.
    pub(crate) fn add(&mut self, fate: Arc<Fate>) -> Sql {
        self.last += 1;
        self.made.push((self.last, fate));
        sql!("SELECT pg_catalog.set_config('pgsteward.changes', '{}', false)", self.last)
    }

    /// The last change, if it was made directly in this transaction.
    pub(crate) fn last_within(&self, level: Option<&Arc<Fate>>) -> Option<&Arc<Fate>> {
        self.made.last().map(|(_, fate)| fate).filter(|fate| fate.is_within(level))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.made.is_empty()
    }

    /// What tells which of them are still there.
    pub(crate) fn question() -> Sql {
        sql!("SELECT pg_catalog.current_setting('pgsteward.changes', true) AS last, {} AS inside", crate::sides::INSIDE)
    }

    /// Takes in what the server says; returns whether something was undone.
    pub(crate) fn settle(&mut self, answers: &[Vec<Row>]) -> Result<bool> {
        let Some(row) = answers.iter().flatten().next() else { return Ok(false) };
        let there = row.optional("last")?.and_then(|last| last.parse().ok()).unwrap_or(0);
        let undone = self.undo_after(there);
        if !row.truth("inside")? {
            self.keep();
        }
        Ok(undone)
    }

    fn undo_after(&mut self, there: u64) -> bool {
        let gone = self.made.split_off(self.made.partition_point(|(number, _)| *number <= there));
        gone.iter().for_each(|(_, fate)| fate.undo());
        !gone.is_empty()
    }

    /// They were committed.
    pub(crate) fn keep(&mut self) {
        self.made.clear();
    }

    /// They went with the connection, as far as can be known.
    pub(crate) fn lose(&mut self) {
        self.undo_after(0);
    }

    /// Forgets those whose transaction is known to be undone.
    pub(crate) fn forget_undone(&mut self) {
        while self.made.last().is_some_and(|(_, fate)| fate.is_undone()) {
            self.made.pop();
        }
    }
}

/// Whether a text can undo or keep what was changed before it: without one of these words it cannot.
pub(crate) fn may_end(sql: &str) -> bool {
    let sql = sql.to_ascii_lowercase();
    ["rollback", "abort", "commit", "end", "prepare"].iter().any(|word| sql.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_undone_is_known_to_all_within() {
        let outer = Fate::within(None);
        let inner = Fate::within(Some(outer.clone()));
        let mut changes = Changes::default();
        let said = changes.add(inner.clone()).to_string();
        assert_eq!(said, "SELECT pg_catalog.set_config('pgsteward.changes', '1', false)");
        assert!(changes.last_within(Some(&outer)).is_some() && changes.last_within(None).is_none());
        let second = Fate::within(None);
        changes.add(second.clone());
        assert!(changes.undo_after(1) && second.is_undone() && !inner.is_undone());
        outer.undo();
        assert!(inner.is_undone());
        changes.forget_undone();
        assert!(changes.is_empty());
    }

    #[test]
    fn words_that_end_a_transaction_are_seen() {
        assert!(may_end("select 1; RollBack to a") && may_end("END") && may_end("/**/abort"));
        assert!(!may_end("SELECT 1") && !may_end("SAVEPOINT a; RELEASE a"));
    }
}
