//! How much of the disk an object takes.
use crate::error::{Error, Result};
use crate::kind::Kind;
use crate::kinds::{MaterializedView, Schema, Table};
use crate::object::Object;
use crate::sql::Sql;

/// The bytes that relations, `c`, take: with their indexes, and what is kept out of line.
fn total_size<T: Kind>(object: &Object<T>, which: Sql) -> Result<u64> {
    let question = sql!(
        "SELECT COALESCE(pg_catalog.sum(pg_catalog.pg_total_relation_size(c.oid)), 0)::text AS size \
         FROM pg_catalog.pg_class c WHERE {}",
        which
    );
    let action = format!("read the size of {}", object.title());
    let answers = object.cluster().session().run(&action, &[question])?;
    let row = answers.iter().flatten().next();
    row.ok_or_else(|| Error::invalid("answer of the server", "it has no size"))?.number("size")
}

impl Object<Table> {
    /// How many bytes it takes on the disk, with its indexes, what is kept out of line (TOAST), and its partitions
    /// ([pg_total_relation_size](https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-ADMIN-DBSIZE)).
    /// Waits for whoever has it locked for himself alone. None of it once it is gone.
    ///
    /// # Errors
    /// [`Error::Server`], [`Error::Connection`].
    pub fn total_size(&self) -> Result<u64> {
        let parts = sql!("SELECT relid FROM pg_catalog.pg_partition_tree({})", self.oid());
        total_size(self, sql!("c.oid = {} OR c.oid IN ({})", self.oid(), parts))
    }
}

impl Object<MaterializedView> {
    /// How many bytes it takes on the disk, with its indexes and what is kept out of line (TOAST); as for a table.
    ///
    /// # Errors
    /// [`Error::Server`], [`Error::Connection`].
    pub fn total_size(&self) -> Result<u64> {
        total_size(self, sql!("c.oid = {}", self.oid()))
    }
}

impl Object<Schema> {
    /// How many bytes the tables, materialized views and sequences in it take on the disk, with their indexes and what is
    /// kept out of line (TOAST). Waits for whoever has one of them locked for himself alone.
    ///
    /// # Errors
    /// [`Error::Server`], [`Error::Connection`].
    pub fn total_size(&self) -> Result<u64> {
        total_size(self, sql!("c.relnamespace = {} AND c.relkind IN ('r', 'm', 'S')", self.oid()))
    }
}
