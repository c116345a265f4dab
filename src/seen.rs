//! What the server has, as far as is known.
use crate::fate::Fate;
use std::sync::Arc;

/// A value as it was seen on the server, and in which transaction: if that is undone, the server has what it had before.
pub(crate) struct Seen<T> {
    pub(crate) value: Arc<T>,
    within: Option<Arc<Fate>>,
    before: Option<Arc<Seen<T>>>,
}

impl<T> Clone for Seen<T> {
    fn clone(&self) -> Self {
        Self { value: self.value.clone(), within: self.within.clone(), before: self.before.clone() }
    }
}

impl<T> Seen<T> {
    pub(crate) fn new(value: impl Into<Arc<T>>, within: Option<Arc<Fate>>) -> Self {
        Self { value: value.into(), within, before: None }
    }

    /// What was seen last and is not undone; if all is, what was seen first.
    pub(crate) fn last(&self) -> &Self {
        let mut seen = self;
        while let (true, Some(before)) = (seen.is_undone(), &seen.before) {
            seen = before;
        }
        seen
    }

    /// Whether this was never there, as far as is known now.
    pub(crate) fn is_undone(&self) -> bool {
        self.within.as_ref().is_some_and(|fate| fate.is_undone())
    }

    /// In which transaction it was seen.
    pub(crate) fn within(&self) -> Option<&Arc<Fate>> {
        self.within.as_ref()
    }

    /// The same; without what was before it, if that can not come back.
    fn without_what_is_past(&self) -> Self {
        let kept = self.within.as_ref().is_none_or(|fate| fate.is_kept());
        let before = self.before.clone().filter(|_| !kept);
        Self { value: self.value.clone(), within: self.within.clone(), before }
    }

    /// Takes in what was seen after this.
    pub(crate) fn follow(&mut self, mut next: Self) {
        let last = self.last();
        let same = next.within.as_ref().map(Arc::as_ptr) == last.within.as_ref().map(Arc::as_ptr);
        next.before = match &next.within {
            Some(_) if same => last.before.clone(),
            Some(_) if !last.is_undone() => Some(Arc::new(last.without_what_is_past())),
            _ => None,
        };
        *self = next;
    }
}

/// One by one: the list may be too long for a call within a call for each.
impl<T> Drop for Seen<T> {
    fn drop(&mut self) {
        let mut next = self.before.take();
        while let Some(mut before) = next.and_then(|before| Arc::try_unwrap(before).ok()) {
            next = before.before.take();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_undone_gives_way_to_what_was_before() {
        let (outer, mut seen) = (Fate::within(None), Seen::new(1, None));
        let inner = Fate::within(Some(outer.clone()));
        seen.follow(Seen::new(2, Some(outer.clone())));
        seen.follow(Seen::new(3, Some(outer.clone())));
        seen.follow(Seen::new(4, Some(inner.clone())));
        assert_eq!(*seen.last().value, 4);
        inner.undo();
        assert_eq!(*seen.last().value, 3);
        seen.follow(Seen::new(5, Some(outer.clone())));
        outer.undo();
        assert_eq!(*seen.last().value, 1);
        assert!(!seen.last().is_undone());
        assert!(Seen::new(1, Some(inner)).last().is_undone());
    }

    #[test]
    fn what_was_committed_is_all_that_is_remembered() {
        let mut moments = crate::fate::Moments::new();
        let mut seen = Seen::new(0, None);
        for number in 1..5 {
            moments.next_name();
            moments.begin(None);
            seen.follow(Seen::new(number, moments.current().cloned()));
            moments.keep();
        }
        assert!(seen.before.as_ref().is_some_and(|before| *before.value == 3 && before.before.is_none()));
    }

    #[test]
    fn a_long_list_is_let_go_without_a_deep_stack() {
        let mut seen = Seen::new(0, None);
        for number in 1..200_000 {
            seen.follow(Seen::new(number, Some(Fate::within(None))));
        }
        drop(seen);
    }
}
