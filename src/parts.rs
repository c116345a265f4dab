//! What an object is made of: ordered lists of parts, and the difference of two of them.
//!
//! A part is to its object what a kind is to the cluster: a plain value, and pure functions that
//! add, change and drop it. Each sort of part is one file below this one.
mod column;
mod constraint;
mod data_type;
mod index;

pub use column::{Column, Generated, Identity, Storage};
pub use constraint::Constraint;
pub use data_type::DataType;
pub use index::Index;

use crate::kind::Alter;
use std::fmt::Debug;
use std::ops::{Deref, DerefMut};

/// A part of an object: a column of a table, a constraint, an index.
pub trait Part: sealed::Sealed + Clone + PartialEq + Debug {
    /// What stays when the name changes: the attribute number or the OID; 0 for a part that is not on a server.
    fn id(&self) -> u32;
    /// The name.
    fn name(&self) -> &str;
    /// Adds the part to the object that `alter` changes.
    #[doc(hidden)]
    fn add(&self, alter: &mut PartAlter);
    /// Makes the part into `wanted`, but for its name.
    #[doc(hidden)]
    fn change(&self, wanted: &Self, alter: &mut PartAlter);
    /// Gives the part another name.
    #[doc(hidden)]
    fn rename(&self, from: &str, to: &str, alter: &mut PartAlter);
    /// Drops the part.
    #[doc(hidden)]
    fn drop(&self, alter: &mut PartAlter);
}

mod sealed {
    pub trait Sealed {}
}

/// The statements of an object's change, and the server that they are for.
#[doc(hidden)]
pub struct PartAlter<'a> {
    pub(crate) alter: &'a mut Alter,
    pub(crate) schema: &'a str,
    pub(crate) server: &'a crate::ServerVersion,
}

/// An ordered list of parts. It reads as a slice; parts are added, taken out and found by name.
///
/// A part keeps its identity on the server when it is changed in place, so that a changed name is
/// a rename. A part that is taken out and made anew is dropped and added.
#[derive(Clone, Debug, PartialEq)]
pub struct Parts<P>(Vec<P>);

impl<P> Default for Parts<P> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<P: Part> Parts<P> {
    /// Adds a part at the end.
    pub fn push(&mut self, part: P) {
        self.0.push(part);
    }

    /// The part of that name.
    pub fn get(&self, name: &str) -> Option<&P> {
        self.0.iter().find(|part| part.name() == name)
    }

    /// The part of that name, to change.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut P> {
        self.0.iter_mut().find(|part| part.name() == name)
    }

    /// Whether there is a part of that name.
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Takes out the part of that name.
    pub fn remove(&mut self, name: &str) -> Option<P> {
        let position = self.0.iter().position(|part| part.name() == name)?;
        Some(self.0.remove(position))
    }

    /// Keeps only the parts for which the closure says so.
    pub fn retain(&mut self, keep: impl FnMut(&P) -> bool) {
        self.0.retain(keep);
    }

    fn by_id(&self, id: u32) -> Option<&P> {
        self.0.iter().find(|part| id != 0 && part.id() == id)
    }

    /// Drops the parts that `wanted` has no more.
    pub(crate) fn drop_gone(&self, wanted: &Self, alter: &mut PartAlter) {
        self.0.iter().filter(|part| wanted.by_id(part.id()).is_none()).for_each(|part| part.drop(alter));
    }

    /// Renames, then changes, then adds parts, in that order: a new part may take a name that
    /// another gives up.
    pub(crate) fn change_and_add(&self, wanted: &Self, alter: &mut PartAlter) {
        let both = || wanted.0.iter().filter_map(|new| Some((self.by_id(new.id())?, new)));
        let mut renames: Vec<_> = both()
            .filter(|(old, new)| old.name() != new.name())
            .map(|(old, new)| (old, old.name().to_owned(), new))
            .collect();
        while !renames.is_empty() {
            let free = renames.iter().position(|(_, _, new)| renames.iter().all(|(_, from, _)| from != new.name()));
            match free {
                Some(position) => {
                    let (old, from, new) = renames.remove(position);
                    old.rename(&from, new.name(), alter);
                }
                // Names that go round in a circle: one waits under a name of its own.
                None => {
                    if let Some((old, from, _)) = renames.first_mut() {
                        let aside = format!("pgsteward_{}", old.id());
                        old.rename(from, &aside, alter);
                        *from = aside;
                    }
                }
            }
        }
        both().filter(|(old, new)| old != new).for_each(|(old, new)| old.change(new, alter));
        wanted.0.iter().filter(|new| self.by_id(new.id()).is_none()).for_each(|new| new.add(alter));
    }
}

impl<P> Deref for Parts<P> {
    type Target = [P];

    fn deref(&self) -> &[P] {
        &self.0
    }
}

impl<P> DerefMut for Parts<P> {
    fn deref_mut(&mut self) -> &mut [P] {
        &mut self.0
    }
}

impl<P> FromIterator<P> for Parts<P> {
    fn from_iter<I: IntoIterator<Item = P>>(parts: I) -> Self {
        Self(parts.into_iter().collect())
    }
}

impl<P> Extend<P> for Parts<P> {
    fn extend<I: IntoIterator<Item = P>>(&mut self, parts: I) {
        self.0.extend(parts);
    }
}

impl<P> IntoIterator for Parts<P> {
    type Item = P;
    type IntoIter = std::vec::IntoIter<P>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a, P> IntoIterator for &'a Parts<P> {
    type Item = &'a P;
    type IntoIter = std::slice::Iter<'a, P>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}
