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
pub(crate) use data_type::{Spelling, spelling};
pub use index::Index;

use crate::error::{Error, Result};
use crate::kind::Alter;
use crate::row::Row;
use std::fmt::Debug;
use std::ops::{Deref, DerefMut};
use std::ptr;

/// A part of an object: a column of a table, a constraint, an index.
///
/// Where a part was read does not count when two are compared.
pub trait Part: sealed::Sealed + Clone + PartialEq + Debug {
    /// What stays when the name changes: the attribute number or the OID; 0 for a part that is not on a server.
    fn id(&self) -> u32;
    /// The name.
    fn name(&self) -> &str;
    /// Where it was read.
    #[doc(hidden)]
    fn origin(&self) -> Origin;
    /// The same as a new part, which was read nowhere.
    #[doc(hidden)]
    fn anew(self) -> Self;
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

/// Where a part was read: the relation, and what in it stays when the name changes. Attribute numbers
/// repeat from table to table, and a definition may be assigned from one to another.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Origin {
    relation: u32,
    id: u32,
}

impl Origin {
    /// From the columns `object` and `id` of a row.
    fn read(row: &Row, id: &str) -> Result<Self> {
        Ok(Self { relation: row.number("object")?, id: row.number(id)? })
    }

    /// Whether both are one and the same part.
    fn is(&self, other: &Self) -> bool {
        self.id != 0 && (self.relation, self.id) == (other.relation, other.id)
    }
}

/// It is no part of what a part is.
impl PartialEq for Origin {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// The statements of an object's change, and the server that they are for.
#[doc(hidden)]
pub struct PartAlter<'a> {
    pub(crate) alter: &'a mut Alter,
    pub(crate) schema: &'a str,
    /// The OID of the object as it was; 0 if it is new.
    pub(crate) object: u32,
    pub(crate) server: &'a crate::ServerVersion,
}

/// An ordered list of parts. It reads as a slice; parts are added, taken out and found by name.
///
/// A part keeps its identity on the server when it is changed in place, so that a changed name is
/// a rename. What is pushed is new, also where it is a copy of another part: a part that is taken out and pushed
/// again is dropped and added. A list that is collected keeps the parts of the same object as they are;
/// those of another object are new.
#[derive(Clone, Debug, PartialEq)]
pub struct Parts<P>(Vec<P>);

impl<P> Default for Parts<P> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<P: Part> Parts<P> {
    /// Adds a part at the end, as a new one.
    pub fn push(&mut self, part: P) {
        self.0.push(part.anew());
    }

    /// Adds a part as it was read.
    pub(crate) fn push_read(&mut self, part: P) {
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

    /// The parts of `wanted`, each with what it is here, if it is.
    ///
    /// What was read is the same part under whatever name; of several copies the one that kept the name,
    /// else the first. What was not, because a plan adds it, is known by its name.
    fn matched<'a>(&'a self, wanted: &'a Self) -> Vec<(Option<&'a P>, &'a P)> {
        let was_read = |part: &P| self.0.iter().any(|old| old.origin().is(&part.origin()));
        let kept = self.0.iter().filter_map(|old| {
            let is_same = |new: &&P| match old.id() {
                0 => new.name() == old.name() && !was_read(new),
                _ => new.origin().is(&old.origin()),
            };
            let copies = || wanted.0.iter().filter(is_same);
            Some((old, copies().find(|new| new.name() == old.name()).or_else(|| copies().next())?))
        });
        let kept: Vec<_> = kept.collect();
        let old = |new: &P| kept.iter().find(|(_, kept)| ptr::eq(*kept, new)).map(|(old, _)| *old);
        wanted.0.iter().map(|new| (old(new), new)).collect()
    }

    /// Drops the parts that `wanted` has no more.
    pub(crate) fn drop_gone(&self, wanted: &Self, alter: &mut PartAlter) {
        let matched = self.matched(wanted);
        let is_gone = |part: &&P| !matched.iter().any(|(old, _)| old.is_some_and(|old| ptr::eq(old, *part)));
        for part in self.0.iter().filter(is_gone) {
            if part.id() == 0 && matched.iter().any(|(old, _)| old.is_none()) {
                alter.alter.refuse(Error::invalid(
                    format!("change of {:?}, which is not on the server yet", part.name()),
                    "it cannot be told whether it is renamed or another takes its place;                      apply the plan before renaming what it adds",
                ));
            }
            part.drop(alter);
        }
    }

    /// Renames, then changes, then adds parts, in that order: a new part may take a name that
    /// another gives up.
    pub(crate) fn change_and_add(&self, wanted: &Self, alter: &mut PartAlter) {
        let matched = self.matched(wanted);
        let both = || matched.iter().filter_map(|(old, new)| Some(((*old)?, *new)));
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
        // What a plan added is what the server made of it, in the server's words.
        let object = alter.object;
        let was_made = |old: &P, new: &P| old.id() == 0 && new.id() != 0 && new.origin().relation == object;
        let changed = both().filter(|(old, new)| old != new && !was_made(old, new));
        changed.for_each(|(old, new)| old.change(new, alter));
        let new = matched.iter().filter(|(old, _)| old.is_none());
        new.for_each(|(_, new)| P::clone(new).anew().add(alter));
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

/// Adds parts at the end, as new ones.
impl<P: Part> Extend<P> for Parts<P> {
    fn extend<I: IntoIterator<Item = P>>(&mut self, parts: I) {
        self.0.extend(parts.into_iter().map(P::anew));
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
