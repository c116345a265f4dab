//! Routines by their name: one name may stand for several.
use super::Procedure;
use crate::collection::{Collection, several};
use crate::error::Result;
use crate::object::Object;
use crate::signature::Signature;
use std::ops::{Deref, DerefMut};

/// The routines of a database: a [`Collection`] in which a name finds all routines that go by it.
///
/// ```no_run
/// # fn main() -> pgsteward::Result<()> {
/// # let cluster = pgsteward::Cluster::connect("")?;
/// for routine in cluster.procedures().get("app.area")? {
///     println!("{}", routine.key()); // app.area(double precision), app.area(integer, integer)
/// }
/// cluster.procedures().get("app.area(int, int)")?.one()?.drop()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Procedures(pub(super) Collection<Procedure>);

impl Procedures {
    /// The same collection with the system's own routines in it.
    pub fn with_system(self) -> Self {
        Self(self.0.with_system())
    }

    /// All routines of a name, or the one of a name and the types of its arguments.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound) if there is none; [`Error::Invalid`](crate::Error::Invalid) for
    /// what cannot be a name, before anything is sent.
    pub fn get(&self, key: impl Into<Signature>) -> Result<Variations> {
        let key = key.into();
        self.find(&key)?.ok_or_else(|| self.0.absent(&key))
    }

    /// As [`get`](Procedures::get), if there are any.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) for what cannot be a name, before anything is sent.
    pub fn find(&self, key: impl Into<Signature>) -> Result<Option<Variations>> {
        let key = key.into();
        let mut found = self.0.look_up_all(&key)?;
        found.sort_by_key(|routine| routine.key());
        Ok((!found.is_empty()).then_some(Variations { key, found }))
    }
}

impl Deref for Procedures {
    type Target = Collection<Procedure>;

    fn deref(&self) -> &Collection<Procedure> {
        &self.0
    }
}

/// The routines that a name stands for, at least one, in order of the types of their arguments.
#[derive(Clone, Debug)]
pub struct Variations {
    key: Signature,
    found: Vec<Object<Procedure>>,
}

impl Variations {
    /// The routine, if it is the only one.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) if there are several; it lists them.
    pub fn one(self) -> Result<Object<Procedure>> {
        match <[_; 1]>::try_from(self.found) {
            Ok([only]) => Ok(only),
            Err(found) => Err(several(&self.key, &found)),
        }
    }
}

impl Deref for Variations {
    type Target = [Object<Procedure>];

    fn deref(&self) -> &[Object<Procedure>] {
        &self.found
    }
}

impl DerefMut for Variations {
    fn deref_mut(&mut self) -> &mut [Object<Procedure>] {
        &mut self.found
    }
}

impl IntoIterator for Variations {
    type Item = Object<Procedure>;
    type IntoIter = std::vec::IntoIter<Object<Procedure>>;

    fn into_iter(self) -> Self::IntoIter {
        self.found.into_iter()
    }
}

impl<'v> IntoIterator for &'v Variations {
    type Item = &'v Object<Procedure>;
    type IntoIter = std::slice::Iter<'v, Object<Procedure>>;

    fn into_iter(self) -> Self::IntoIter {
        self.found.iter()
    }
}

impl<'v> IntoIterator for &'v mut Variations {
    type Item = &'v mut Object<Procedure>;
    type IntoIter = std::slice::IterMut<'v, Object<Procedure>>;

    fn into_iter(self) -> Self::IntoIter {
        self.found.iter_mut()
    }
}
