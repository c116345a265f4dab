//! What became of what was seen in a transaction.
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// What became of a transaction, or of a stretch of one: what was seen in it asks.
#[derive(Debug)]
pub(crate) struct Fate {
    outcome: AtomicU8,
    around: Option<Arc<Fate>>,
}

/// In which transaction something was seen, if in any.
pub(crate) type Within = Option<Arc<Fate>>;

const OPEN: u8 = 0;
const KEPT: u8 = 1;
const UNDONE: u8 = 2;

impl Fate {
    pub(crate) fn within(around: Option<Arc<Fate>>) -> Arc<Self> {
        Arc::new(Self { outcome: AtomicU8::new(OPEN), around })
    }

    /// Whether it, or one around it, was rolled back.
    pub(crate) fn is_undone(&self) -> bool {
        match self.outcome.load(Ordering::Acquire) {
            OPEN => self.around.as_ref().is_some_and(|around| around.is_undone()),
            outcome => outcome == UNDONE,
        }
    }

    /// Whether it is known to have been committed: nothing undoes it any more.
    pub(crate) fn is_kept(&self) -> bool {
        self.outcome.load(Ordering::Acquire) == KEPT
    }

    pub(crate) fn undo(&self) {
        self.outcome.store(UNDONE, Ordering::Release);
    }

    /// It was committed, whatever becomes of the transaction that was around it.
    fn keep(&self) {
        let _ = self.outcome.compare_exchange(OPEN, KEPT, Ordering::AcqRel, Ordering::Acquire);
    }
}

/// The moments of an open transaction: each begins when the crate's own statements follow the
/// user's. A statement of the user's can undo any number of the last ones, by the end of a
/// transaction that he began, or of a savepoint.
///
/// Each has a number, and a setting of the session holds that of the last. The setting falls back
/// with what is rolled back, and tells how many there still are.
pub(crate) struct Moments {
    /// Tells the numbers of this session from those that another one left in the same server process.
    mark: u64,
    last: u64,
    open: Vec<(u64, Arc<Fate>)>,
}

impl Moments {
    pub(crate) fn new() -> Self {
        Self { mark: RandomState::new().build_hasher().finish(), last: 0, open: Vec::new() }
    }

    /// The name of the next moment, for the setting.
    pub(crate) fn next_name(&mut self) -> String {
        self.last += 1;
        self.name(self.last)
    }

    fn name(&self, number: u64) -> String {
        format!("{:x}.{number}", self.mark)
    }

    /// The moment that was named last has begun, in a transaction.
    pub(crate) fn begin(&mut self, around: Option<Arc<Fate>>) {
        self.open.push((self.last, Fate::within(around)));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// What is seen now belongs to this one.
    pub(crate) fn current(&self) -> Option<&Arc<Fate>> {
        self.open.last().map(|(_, fate)| fate)
    }

    /// The name of the current one.
    pub(crate) fn current_name(&self) -> Option<String> {
        self.open.last().map(|(number, _)| self.name(*number))
    }

    /// Takes in the name that the setting has now; returns whether something was undone.
    pub(crate) fn fall_back_to(&mut self, name: &str) -> bool {
        let number = name.split_once('.').filter(|(mark, _)| *mark == format!("{:x}", self.mark));
        self.undo_after(number.and_then(|(_, number)| number.parse().ok()).unwrap_or(0))
    }

    fn undo_after(&mut self, number: u64) -> bool {
        let gone = self.open.split_off(self.open.partition_point(|(open, _)| *open <= number));
        gone.iter().for_each(|(_, fate)| fate.undo());
        !gone.is_empty()
    }

    /// All of them were committed.
    pub(crate) fn keep(&mut self) {
        self.open.drain(..).for_each(|(_, fate)| fate.keep());
    }

    /// Nobody knows what becomes of them.
    pub(crate) fn lose(&mut self) -> bool {
        self.undo_after(0)
    }

    /// Forgets those that were undone with what was around them.
    pub(crate) fn forget_undone(&mut self) {
        while self.current().is_some_and(|fate| fate.is_undone()) {
            self.open.pop();
        }
    }
}

/// What a statement of the user's may do to moments. A text without these words cannot do it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mention {
    Nothing,
    /// The end of a transaction or of a savepoint.
    End,
    /// A transaction that goes on without this session.
    Prepare,
    /// All settings as they are by default.
    Reset,
}

impl Mention {
    pub(crate) fn of(sql: &str) -> Self {
        let sql = sql.to_ascii_lowercase();
        let any = |words: &[&str]| words.iter().any(|word| sql.contains(word));
        match () {
            () if any(&["prepare"]) && any(&["transaction"]) => Self::Prepare,
            () if any(&["rollback", "abort", "commit", "end"]) => Self::End,
            () if any(&["reset", "discard"]) => Self::Reset,
            () => Self::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_undone_is_known_to_all_within() {
        let outer = Fate::within(None);
        let mut moments = Moments::new();
        let begin = |moments: &mut Moments, around: Option<&Arc<Fate>>| {
            let name = moments.next_name();
            moments.begin(around.cloned());
            (name, moments.current().unwrap().clone())
        };
        let (first, one) = begin(&mut moments, Some(&outer));
        let (second, two) = begin(&mut moments, None);
        let (_, three) = begin(&mut moments, None);
        assert!(moments.fall_back_to(&second) && three.is_undone() && !two.is_undone());
        assert!(!moments.fall_back_to(&second));
        assert_eq!(moments.current_name(), Some(second));
        assert!(moments.fall_back_to(&first) && two.is_undone() && !one.is_undone());
        outer.undo();
        assert!(one.is_undone());
        moments.forget_undone();
        assert!(moments.is_empty());
    }

    #[test]
    fn numbers_of_another_session_are_none_of_ours() {
        let (mut ours, mut theirs) = (Moments::new(), Moments::new());
        ours.next_name();
        ours.begin(None);
        theirs.next_name();
        assert!(ours.fall_back_to(&theirs.next_name()));
    }

    #[test]
    fn what_was_committed_stays_when_what_was_around_it_is_undone() {
        let (around, mut moments) = (Fate::within(None), Moments::new());
        moments.next_name();
        moments.begin(Some(around.clone()));
        let fate = moments.current().unwrap().clone();
        moments.keep();
        around.undo();
        assert!(!fate.is_undone());
    }

    #[test]
    fn words_that_end_a_transaction_are_seen() {
        for (sql, mention) in [
            ("select 1; RollBack to a", Mention::End),
            ("END", Mention::End),
            ("/**/abort", Mention::End),
            ("Prepare Transaction 'x'", Mention::Prepare),
            ("RESET ALL", Mention::Reset),
            ("SELECT 1", Mention::Nothing),
            ("SAVEPOINT a; RELEASE a", Mention::Nothing),
        ] {
            assert_eq!(Mention::of(sql), mention, "{sql}");
        }
    }
}
