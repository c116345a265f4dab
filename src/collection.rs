//! All objects of a kind.
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::fate::Within;
use crate::kind::{Defined, Definition, Key, Kind, Which};
use crate::object::{self, Object};
use crate::script::Script;
use crate::seen::Seen;
use postgres::error::SqlState;
use regex::Regex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// All objects of a kind: a cheap handle on what the cluster keeps of them.
///
/// Nothing is read before it is needed. The first call that needs all objects reads them with one
/// query; they are kept until [`refresh`](Collection::refresh), and kept right by every create,
/// alter and drop made through them. [`get`](Collection::get) on a collection not read yet
/// fetches the one object. The system's own objects are left out unless asked for by
/// [`with_system`](Collection::with_system).
#[derive(Clone)]
pub struct Collection<T> {
    cluster: Cluster,
    system: System,
    kind: std::marker::PhantomData<fn() -> T>,
}

/// Whether a collection holds the system's own objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum System {
    LeftOut,
    Included,
}

/// The objects of a kind that were read, in order of their keys. Two may have the same key where
/// it could not be read, hence the OID.
pub(crate) type Items<T> = BTreeMap<(<T as Kind>::Key, u32), Seen<T>>;

impl<T: Kind> Collection<T> {
    pub(crate) fn new(cluster: &Cluster) -> Self {
        Self { cluster: cluster.clone(), system: System::LeftOut, kind: std::marker::PhantomData }
    }

    pub(crate) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The same collection with the system's own objects in it.
    pub fn with_system(self) -> Self {
        Self { system: System::Included, ..self }
    }

    /// The object of that name.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Invalid`] for what cannot be a name, before anything is sent.
    pub fn get(&self, key: impl Into<T::Key>) -> Result<Object<T>> {
        let key = key.into();
        self.look_up(&key)?.ok_or_else(|| self.absent(&key))
    }

    /// The error for what is not there; it says so if the system has it.
    pub(crate) fn absent(&self, key: &T::Key) -> Error {
        let mut what = object::title::<T>(key);
        if self.system == System::LeftOut {
            match self.clone().with_system().look_up_all(key) {
                Err(error) => return error,
                Ok(found) if found.is_empty() => {}
                Ok(found) if found.iter().any(|object| object.is_system()) => {
                    what += " outside the system's own objects (Collection::with_system)";
                }
                Ok(_) => what += " in what was read of the collection (Collection::refresh)",
            }
        }
        Error::NotFound { what }
    }

    /// The object of that name, if there is one.
    ///
    /// # Errors
    /// [`Error::Invalid`] for what cannot be a name, before anything is sent.
    pub fn find(&self, key: impl Into<T::Key>) -> Result<Option<Object<T>>> {
        self.look_up(&key.into())
    }

    /// Whether there is an object of that name.
    ///
    /// # Errors
    /// [`Error::Invalid`] for what cannot be a name, before anything is sent.
    pub fn contains(&self, key: impl Into<T::Key>) -> Result<bool> {
        Ok(!self.look_up_all(&key.into())?.is_empty())
    }

    fn look_up(&self, key: &T::Key) -> Result<Option<Object<T>>> {
        let mut found = self.look_up_all(key)?;
        match found.len() {
            0 | 1 => Ok(found.pop()),
            _ => Err(several(key, &found)),
        }
    }

    /// The objects that a key stands for: at most one, unless the key is loose.
    pub(crate) fn look_up_all(&self, key: &T::Key) -> Result<Vec<Object<T>>> {
        T::check_key(key)?;
        if self.cluster.is_plan() {
            // Only what was read is kept right, and a plan's changes are nowhere else.
            self.load(|_| ())?;
        }
        let found = match self.kept(key) {
            Some(kept) if !kept.is_empty() || !key.is_loose() => kept,
            known => {
                let query = T::query(Which::Key(key), self.cluster.version());
                let found = self.cluster.fetch_all::<T>(&format!("read {}", object::title::<T>(key)), &query)?;
                match known {
                    // The server says which are meant, and what is kept whether they are still wanted.
                    Some(_) => found.iter().flat_map(|item| self.kept(&item.value.key())).flatten().collect(),
                    None => found
                        .into_iter()
                        .filter(|item| self.system == System::Included || !item.value.is_system())
                        .collect(),
                }
            }
        };
        Ok(found.into_iter().map(|item| Object::seen(&self.cluster, item)).collect())
    }

    /// What is kept that a key finds, if the collection was read.
    fn kept(&self, key: &T::Key) -> Option<Vec<Seen<T>>> {
        self.cluster.kept(self.system, |items: Option<&mut Items<T>>| {
            let from = items?.range((key.clone(), 0)..);
            Some(from.take_while(|((other, _), _)| key.finds(other)).map(|(_, item)| item.clone()).collect())
        })
    }

    /// The objects, in order of their names.
    ///
    /// # Errors
    /// [`Error::Connection`] and [`Error::Server`], where the server has to be asked.
    pub fn iter(&self) -> Result<impl ExactSizeIterator<Item = Object<T>> + use<T>> {
        let (cluster, items) = (self.cluster.clone(), self.items()?);
        Ok(items.into_iter().map(move |item| Object::seen(&cluster, item)))
    }

    /// The objects whose name, as it prints (`app.orders`), matches.
    ///
    /// # Errors
    /// [`Error::Connection`] and [`Error::Server`], where the server has to be asked.
    pub fn matching(&self, pattern: &Regex) -> Result<Vec<Object<T>>> {
        Ok(self.iter()?.filter(|object| pattern.is_match(&object.key().to_string())).collect())
    }

    /// The names, in order.
    ///
    /// # Errors
    /// [`Error::Connection`] and [`Error::Server`], where the server has to be asked.
    pub fn names(&self) -> Result<Vec<T::Key>> {
        Ok(self.items()?.iter().map(|item| item.value.key()).collect())
    }

    /// How many objects there are.
    ///
    /// # Errors
    /// [`Error::Connection`] and [`Error::Server`], where the server has to be asked.
    pub fn len(&self) -> Result<usize> {
        self.load(|items| items.len())
    }

    /// Whether there are none.
    ///
    /// # Errors
    /// [`Error::Connection`] and [`Error::Server`], where the server has to be asked.
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Forgets what was read: the next use reads anew. Sends nothing.
    pub fn refresh(&self) {
        self.cluster.forget_kind::<T>();
    }

    /// Makes an object, all or nothing, and reads it back.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`]; [`Error::Invalid`] and [`Error::Unsupported`] before anything is sent.
    pub fn create(&self, value: T) -> Result<Object<T>> {
        let script = value.to_create(self.cluster.version());
        self.create_by(value, script)
    }

    /// Makes an object by these statements, once nobody uses what must be unused meanwhile.
    pub(crate) fn create_by(&self, value: T, script: Script) -> Result<Object<T>> {
        script.check()?;
        T::check_key(&value.key())?;
        if let Some(plan) = self.cluster.plan_in_progress()? {
            self.load_for_plan()?;
            let step = (value.clone(), script.clone());
            plan.record(script, move |cluster| Collection::<T>::new(cluster).create_by(step.0, step.1).map(drop));
            return self.planned(value);
        }
        self.check_unused(&value)?;
        self.create_regardless(value, script)
    }

    /// Keeps what a plan makes.
    pub(crate) fn planned(&self, value: T) -> Result<Object<T>> {
        self.load_for_plan()?;
        let made = Seen::new(value, None);
        self.cluster.saw(None, &made);
        Ok(Object::seen(&self.cluster, made))
    }

    /// Refuses at once what the server would refuse after a while, and says who is in the way.
    fn check_unused(&self, value: &T) -> Result<()> {
        let Some((what, question)) = value.must_be_unused() else { return Ok(()) };
        if T::DRAGS_CONNECTIONS {
            self.cluster.disconnect_others();
        }
        let action = format!("create {}", object::title::<T>(&value.key()));
        // A session that has just ended still shows for a moment.
        for pause in [10, 30, 60, 100, 0] {
            let answers = self.cluster.session().run(&action, std::slice::from_ref(&question))?;
            let users = answers.iter().flatten().map(|row| row.text("who")).collect::<Result<Vec<_>>>()?;
            match (users.is_empty(), pause) {
                (true, _) => return Ok(()),
                (false, 0) => return Err(Error::InUse { action, what, by: users.join("; ") }),
                (false, _) => thread::sleep(Duration::from_millis(pause)),
            }
        }
        Ok(())
    }

    /// Makes an object by these statements, whoever is in the way.
    pub(crate) fn create_regardless(&self, value: T, script: Script) -> Result<Object<T>> {
        let _turn = self.cluster.session().turn();
        let key = value.key();
        script.check()?;
        T::check_key(&key)?;
        if T::DRAGS_CONNECTIONS {
            self.cluster.disconnect_others();
        }
        let action = format!("create {}", object::title::<T>(&key));
        let (made, within) = self.make(&action, &value, &script, &key).map_err(|error| self.explain(error, &key))?;
        let made = Seen::new(made.ok_or_else(|| Error::NotFound { what: object::title::<T>(&key) })?, within);
        self.cluster.saw(None, &made);
        Ok(Object::seen(&self.cluster, made))
    }

    fn make(&self, action: &str, value: &T, script: &Script, key: &T::Key) -> Result<(Option<T>, Within)> {
        let (session, version) = (self.cluster.session(), self.cluster.version());
        let mut statements: Vec<_> = script.statements().cloned().collect();
        let look = T::query(Which::Key(key), version);
        let (answers, within) = if script.parts().iter().any(|statement| statement.alone) {
            let mut made = false;
            let each = statements
                .iter()
                .chain([&look])
                .map(|statement| session.run(action, std::slice::from_ref(statement)).inspect(|_| made = true));
            let answers = each.collect::<Result<Vec<_>>>();
            if answers.is_err() && made {
                // No transaction can undo it: take away what was half made.
                let undo = value.to_drop(crate::DropBehavior::Restrict, version);
                let undo: Vec<_> = undo.statements().cloned().collect();
                let _ = session.run(action, &undo).inspect_err(|error| log::warn!("{error}"));
            }
            (answers?.into_iter().flatten().collect(), None)
        } else {
            statements.push(look);
            session.atomically(action, |transaction| {
                let answers = transaction.send(&statements)?;
                match answers.last() {
                    Some(rows) if rows.is_empty() => Err(Error::NotFound { what: object::title::<T>(key) }),
                    _ => Ok(answers),
                }
            })?
        };
        Ok((answers.last().and_then(|rows| rows.first()).map(T::read).transpose()?, within))
    }

    /// An error that says that a name is taken, if it is this object's.
    fn explain(&self, error: Error, key: &T::Key) -> Error {
        const TAKEN: [SqlState; 6] = [
            SqlState::DUPLICATE_OBJECT,
            SqlState::DUPLICATE_DATABASE,
            SqlState::DUPLICATE_SCHEMA,
            SqlState::DUPLICATE_TABLE,
            SqlState::DUPLICATE_FUNCTION,
            // Two sessions that make the same object at the same moment.
            SqlState::UNIQUE_VIOLATION,
        ];
        let taken = error.code().is_some_and(|code| TAKEN.contains(code));
        let there = || {
            self.cluster
                .fetch::<T>("look for it", &T::query(Which::Key(key), self.cluster.version()))
                .is_ok_and(|found| found.is_some())
        };
        if taken && there() { Error::AlreadyExists { what: object::title::<T>(key) } } else { error }
    }

    fn items(&self) -> Result<Vec<Seen<T>>> {
        self.load(|items| items.values().cloned().collect())
    }

    /// Reads what a change in a plan is to show in: nothing on the server will tell of it.
    pub(crate) fn load_for_plan(&self) -> Result<()> {
        for system in [System::LeftOut, System::Included] {
            Self { system, ..self.clone() }.load(|_| ())?;
        }
        Ok(())
    }

    /// Reads the objects if they were not read yet, with one query, one row at a time.
    fn load<R>(&self, mut use_items: impl FnMut(&mut Items<T>) -> R) -> Result<R> {
        let _turn = self.cluster.session().turn();
        if let Some(result) = self.cluster.kept(self.system, |items| items.map(&mut use_items)) {
            return Ok(result);
        }
        let which = match self.system {
            System::LeftOut => Which::All,
            System::Included => Which::WithSystem,
        };
        let mut items = Items::<T>::new();
        let mut found = Vec::new();
        let (action, query) = (format!("list every {}", T::KIND), T::query(which, self.cluster.version()));
        let within = self.cluster.session().read(&action, &query, |row| {
            found.push(T::read(&row)?);
            Ok(())
        })?;
        items.extend(found.into_iter().map(|item| ((item.key(), item.oid()), Seen::new(item, within.clone()))));
        let result = use_items(&mut items);
        self.cluster.keep::<T>(self.system, items);
        Ok(result)
    }
}

/// The error for a key that stands for several where one is meant.
pub(crate) fn several<T: Kind>(key: &T::Key, found: &[Object<T>]) -> Error {
    let names: Vec<_> = found.iter().map(|object| object.key().to_string()).collect();
    Error::invalid(object::title::<T>(key), format!("it stands for several: {}", names.join("; ")))
}

impl<T: Defined> Collection<T> {
    /// Reads the definitions of all objects, with a fixed number of queries in one round trip.
    ///
    /// # Errors
    /// [`Error::Connection`] and [`Error::Server`].
    pub fn load_definitions(&self) -> Result<()> {
        let items = self.items()?;
        let questions = T::Definition::queries(None, self.cluster.version());
        let action = format!("read the definition of every {}", T::KIND);
        let (answers, within) = self.cluster.session().look(&action, &questions)?;
        let mut definitions = T::Definition::read(&answers)?;
        for item in items.iter().map(|item| &item.value) {
            if let Some((cell, definition)) = item.definition_cell().zip(definitions.remove(&item.oid())) {
                cell.set(Arc::new(definition), within.clone());
            }
        }
        Ok(())
    }
}
