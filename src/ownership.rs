//! Giving objects another owner, many at a time.
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::fate::Within;
use crate::kind::{Kind, Which};
use crate::object::{self, Object};
use crate::script::Script;
use crate::sql::{Ident, Sql};
use std::collections::HashMap;

/// How many objects change their owner in one transaction at the most: larger batches gain nothing.
const BATCH: usize = 100;

/// The entries of the lock table that one object may take: itself, its TOAST table, indexes, sequences.
const LOCKS_EACH: usize = 16;

/// Kinds whose objects have an owner.
pub trait Owned: Kind {
    /// The owner.
    fn owner(&self) -> &str;
    /// Gives it another owner.
    #[doc(hidden)]
    fn set_owner(&mut self, owner: &str);
}

macro_rules! owned {
    ($($kind:ty),*) => { $(
        impl Owned for $kind {
            fn owner(&self) -> &str {
                &self.owner
            }

            fn set_owner(&mut self, owner: &str) {
                owner.clone_into(&mut self.owner);
            }
        }
    )* };
}
owned!(
    crate::Database,
    crate::LargeObject,
    crate::MaterializedView,
    crate::Procedure,
    crate::Schema,
    crate::Sequence,
    crate::Table,
    crate::View
);

/// Where [`Cluster::reassign_owned`] looks for objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reach {
    /// In the current database; and databases and tablespaces themselves.
    #[default]
    CurrentDatabase,
    /// In every database that accepts connections.
    EveryDatabase,
}

impl Cluster {
    /// Gives the objects another owner, and changes nothing else: what is pending on them stays
    /// pending. Objects are sent in batches, each a transaction of its own that fits into the
    /// server's lock table; ACCESS EXCLUSIVE locks on tables are held while a batch runs.
    ///
    /// # Errors
    /// [`Error::Conflict`] if an object was dropped, replaced, renamed or given another owner since
    /// it was read. Batches before the one that failed are done, and their objects say so.
    pub fn reassign_owner<'o, T: Owned>(
        &self,
        objects: impl IntoIterator<Item = &'o mut Object<T>>,
        to: &str,
    ) -> Result<()> {
        let mut objects: Vec<_> = objects.into_iter().filter(|object| object.server().owner() != to).collect();
        if objects.is_empty() {
            return Ok(());
        }
        sql!("{}", Ident(to)).check()?;
        if self.plan_in_progress()?.is_some() {
            return objects.into_iter().try_for_each(|object| object.own_only(to));
        }
        let batch = self.batch_size()?;
        for batch in objects.chunks_mut(batch) {
            let _turn = self.session().turn();
            let (after, within) = self.reassign_batch(batch, to)?;
            for (object, after) in batch.iter_mut().zip(after) {
                object.took_owner(after, within.clone());
            }
        }
        Ok(())
    }

    /// One batch, checked before and after as a single `alter` is.
    fn reassign_batch<T: Owned>(&self, objects: &[&mut Object<T>], to: &str) -> Result<(Vec<T>, Within)> {
        let action = format!("reassign {} objects to {to:?}", objects.len());
        let oids: Vec<u32> = objects.iter().map(|object| object.server().oid()).collect();
        let look = T::query(Which::Oids(&oids), self.version());
        let mut script = Script::new();
        for object in objects {
            script.append(object.owner_change(to));
        }
        script.check()?;
        let mut statements: Vec<Sql> = script.statements().cloned().collect();
        statements.push(look.clone());
        self.session().atomically(&action, |transaction| {
            let before = by_oid::<T>(&transaction.send(std::slice::from_ref(&look))?)?;
            for object in objects {
                object.check_owner(before.get(&object.server().oid()), object.server().owner())?;
            }
            let mut after = by_oid::<T>(&transaction.send(&statements)?)?;
            let found = objects.iter().map(|object| {
                let after = after.remove(&object.server().oid());
                object.check_owner(after.as_ref(), to)?;
                after.ok_or_else(|| object.gone())
            });
            found.collect()
        })
    }

    /// How many objects fit into one transaction
    /// ([max_locks_per_transaction](https://www.postgresql.org/docs/current/runtime-config-locks.html)).
    fn batch_size(&self) -> Result<usize> {
        let question = sql!(
            "SELECT pg_catalog.current_setting('max_locks_per_transaction')::int8 * \
             (pg_catalog.current_setting('max_connections')::int8 + \
             pg_catalog.current_setting('max_prepared_transactions')::int8) AS entries"
        );
        let answer = self.session().run("read the size of the lock table", &[question])?;
        let entries = answer.iter().flatten().next().map(|row| row.number::<usize>("entries")).transpose()?;
        Ok(entries.map_or(BATCH, |entries| (entries / LOCKS_EACH).clamp(1, BATCH)))
    }

    /// Gives everything that one role owns to another: `REASSIGN OWNED`
    /// ([REASSIGN OWNED](https://www.postgresql.org/docs/current/sql-reassign-owned.html)). Databases
    /// and tablespaces go with the first database that is visited. Each database is a transaction of its own.
    ///
    /// # Errors
    /// Those of the server, and of connecting to a database; databases visited before it are done.
    pub fn reassign_owned(&self, from: &str, to: &str, reach: Reach) -> Result<()> {
        let script = Script::from(sql!("REASSIGN OWNED BY {} TO {}", Ident(from), Ident(to)));
        script.check()?;
        let others = match reach {
            Reach::CurrentDatabase => Vec::new(),
            Reach::EveryDatabase => self.other_databases()?,
        };
        self.write("reassign what a role owns", script.clone())?;
        for name in others {
            let was_open = self.is_connected_to(&name);
            self.database(&name)?.write("reassign what a role owns", script.clone())?;
            if !was_open {
                self.disconnect_from(&name);
            }
        }
        Ok(())
    }

    fn other_databases(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        let question = sql!(
            "SELECT datname AS name FROM pg_catalog.pg_database \
             WHERE datallowconn AND datname <> pg_catalog.current_database() ORDER BY datname"
        );
        self.session().read("list the databases", &question, |row| {
            names.push(row.text("name")?);
            Ok(())
        })?;
        Ok(names)
    }

    /// Runs statements of the crate's own that are about no single object, all or nothing; what was
    /// read before is forgotten. In a plan they are collected.
    pub(crate) fn write(&self, action: &'static str, script: Script) -> Result<()> {
        script.check()?;
        if let Some(plan) = self.plan_in_progress()? {
            plan.record(script.clone(), move |cluster| cluster.write(action, script));
            return Ok(());
        }
        let statements: Vec<Sql> = script.statements().cloned().collect();
        self.session().atomically(action, |transaction| transaction.send(&statements))?;
        self.refresh();
        Ok(())
    }
}

fn by_oid<T: Kind>(answers: &[Vec<crate::Row>]) -> Result<HashMap<u32, T>> {
    let rows = answers.last().into_iter().flatten();
    rows.map(|row| T::read(row).map(|value| (value.oid(), value))).collect()
}

impl<T: Owned> Object<T> {
    fn owner_change(&self, to: &str) -> Script {
        let mut wanted = T::clone(self.server());
        wanted.set_owner(to);
        self.server().to_alter(&wanted, self.cluster().version())
    }

    /// Changes the owner, and leaves what else is pending as it is.
    fn own_only(&mut self, to: &str) -> Result<()> {
        let pending = self.is_changed().then(|| self.to_value());
        self.revert();
        self.set_owner(to);
        self.alter()?;
        if let Some(mut pending) = pending {
            pending.set_owner(to);
            **self = pending;
        }
        Ok(())
    }

    /// Takes over what the server has now; what is pending stays so.
    fn took_owner(&mut self, after: T, within: Within) {
        let pending = self.is_changed().then(|| self.to_value());
        self.took_one_of_many(after, within);
        if let Some(mut pending) = pending {
            pending.set_owner(self.server().owner());
            **self = pending;
        }
    }

    fn check_owner(&self, now: Option<&T>, owner: &str) -> Result<()> {
        let now = now.ok_or_else(|| self.gone())?;
        if now.key() == self.server().key() && now.owner() == owner {
            return Ok(());
        }
        Err(Error::Conflict {
            what: self.title(),
            mine: "a new owner".into(),
            theirs: format!("{} with the owner {:?}", object::title::<T>(&now.key()), now.owner()),
        })
    }

    fn gone(&self) -> Error {
        Error::Conflict {
            what: self.title(),
            mine: "a new owner".into(),
            theirs: "no such object: it was dropped".into(),
        }
    }
}
