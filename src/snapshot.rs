//! Snapshots: the rows of many tables as they were at one moment, kept in a schema of their own.
//!
//! ```
//! # #[cfg(feature = "testing")] {
//! # let server = pgsteward::testing::TestServer::start()?;
//! use pgsteward::Cluster;
//! use pgsteward::snapshot::{RevertOptions, SnapshotOptions};
//!
//! let cluster = Cluster::connect(&server.dsn())?;
//! cluster.execute("CREATE TABLE orders (id int PRIMARY KEY); INSERT INTO orders VALUES (1), (2)", &[])?;
//! let snapshot = cluster.snapshots().take(&SnapshotOptions::new("before the release"))?;
//! assert_eq!(snapshot.rows(), 2);
//!
//! cluster.execute("DELETE FROM orders WHERE id = 1", &[])?;
//! assert_eq!(cluster.snapshots().compare(&snapshot.name)?.tables[0].rows_removed, 1);
//! let report = cluster.snapshots().revert(&snapshot.name, &RevertOptions::new())?;
//! assert_eq!(report.rows, 2);
//! assert!(report.kept.is_some()); // the snapshot of what there was before
//! # }
//! # Ok::<(), pgsteward::Error>(())
//! ```
mod archive;
mod compare;
mod database_copy;
mod index;
mod load;
mod moment;
mod name;
mod pattern;
mod prune;
mod revert;
mod selection;
mod structure;
mod surroundings;
mod survey;
mod take;

pub use archive::{ArchiveOptions, ArchiveReport, ArchivedSnapshot};
pub use compare::{SequenceDifference, SnapshotDifference, TableDifference};
pub use database_copy::DatabaseCopyOptions;
pub use index::{Snapshot, SnapshotSequence, SnapshotTable};
pub use pattern::TablePattern;
pub use prune::PruneOptions;
pub use revert::{AddedColumns, CurrentRows, RevertOptions, RevertReport};
pub use selection::SnapshotOptions;
pub use structure::StructureChange;

use crate::cluster::Cluster;
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::kinds::Database;
use crate::object::Object;
use crate::script::Script;
use std::path::Path;

/// The snapshots in a database: [`Cluster::snapshots`].
#[derive(Clone, Debug)]
pub struct Snapshots {
    cluster: Cluster,
}

impl Cluster {
    /// The snapshots in the current database. They are read anew each time.
    pub fn snapshots(&self) -> Snapshots {
        Snapshots { cluster: self.clone() }
    }
}

impl Snapshots {
    /// The snapshots that the current role may look into, the newest first. Two round trips, however many there are.
    ///
    /// # Errors
    /// [`Error::Connection`] and [`Error::Server`]; [`Error::Invalid`] for one that a newer version of this library
    /// made.
    pub fn list(&self) -> Result<Vec<Snapshot>> {
        take::list(&self.cluster)
    }

    /// The snapshot of this name: the whole name of its schema.
    ///
    /// # Errors
    /// [`Error::NotFound`]; as for [`list`](Snapshots::list).
    pub fn get(&self, name: &str) -> Result<Snapshot> {
        take::get(&self.cluster, name)
    }

    /// Copies the rows of tables, and the values of sequences, as they are at one moment: all or nothing, in a
    /// transaction that is REPEATABLE READ
    /// ([Transaction Isolation](https://www.postgresql.org/docs/current/transaction-iso.html#XACT-REPEATABLE-READ)).
    ///
    /// The tables are locked with ACCESS SHARE: others read and write, and wait to change definitions or to TRUNCATE.
    /// Within a transaction that is READ COMMITTED they are locked with SHARE instead, so that nobody writes until its
    /// end. Generated columns are not copied, nor are temporary tables, large objects, views, and the tables of
    /// extensions unless a schema or a pattern names them. Only the current role and superusers can look into the new
    /// schema.
    ///
    /// In a plan it is collected, and the snapshot that is returned has its tables, but no rows yet.
    ///
    /// # Errors
    /// [`Error::NotFound`] where a schema or a pattern has no table; [`Error::Denied`] without CREATE on the database
    /// and SELECT on all that is copied, and where row level security would hide rows; [`Error::Conflict`] if others
    /// keep making and dropping such tables.
    pub fn take(&self, options: &SnapshotOptions) -> Result<Snapshot> {
        take::take(&self.cluster, options)
    }

    /// Compares the tables and sequences as they are with what they were: how many rows were added, removed and
    /// changed, and what is different about the columns. The rows are compared by what they say as text; all tables are
    /// read in full, at one moment, under the same locks as for [`take`](Snapshots::take).
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Denied`], [`Error::Server`].
    pub fn compare(&self, name: &str) -> Result<SnapshotDifference> {
        compare::compare(&self.cluster, &self.get(name)?)
    }

    /// Brings the tables back to what they were, all or nothing. What there is now is kept as a snapshot first, unless
    /// the options say otherwise.
    ///
    /// The tables stay the ones they are, with their OIDs, views, foreign keys, grants, policies, triggers and
    /// comments: they are locked with ACCESS EXCLUSIVE in a fixed order, emptied together by TRUNCATE, and filled from
    /// the snapshot ([TRUNCATE](https://www.postgresql.org/docs/current/sql-truncate.html)). No trigger or rule of the
    /// user's fires: those that are on are off meanwhile, and on again afterwards in the mode in which they were.
    /// Checks, foreign keys and unique constraints are checked by the server as for any INSERT; constraints that may
    /// wait are checked before the end. Generated columns are computed anew. Sequences take the values that they had,
    /// which is undone with the rest if it fails.
    ///
    /// Refused, with all reasons at once: a table that is gone or goes by another name, a column that is gone or of
    /// another type, a column added since (see [`AddedColumns`]), a table that became a partition since, and foreign
    /// keys from tables that are not in the snapshot, because TRUNCATE is; and before these a snapshot that has lost or
    /// got rows. Transactions of others that began before it,
    /// and look at a table only afterwards, see it empty.
    ///
    /// In a plan it is collected; what it printed is worked out again when the plan is applied.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Invalid`] for what is refused, and inside a REPEATABLE READ transaction;
    /// [`Error::Denied`] if the current role does not own the tables, or if the snapshot's owner could not write to
    /// them; [`Error::Server`] for rows that a constraint does not take any more.
    pub fn revert(&self, name: &str, options: &RevertOptions) -> Result<RevertReport> {
        revert::revert(&self.cluster, &self.get(name)?, options)
    }

    /// Drops a snapshot: its tables and its schema, and nothing that somebody else made on top of them.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Server`] names what depends on it; [`Error::Denied`].
    pub fn drop(&self, name: &str) -> Result<()> {
        self.drop_all(&[self.get(name)?])
    }

    fn drop_all(&self, snapshots: &[Snapshot]) -> Result<()> {
        for snapshot in snapshots {
            let statements = snapshot.to_drop();
            if let Some(plan) = self.cluster.plan_in_progress()? {
                let mut script = Script::new();
                statements.into_iter().for_each(|sql| script.push(sql));
                let name = snapshot.name.clone();
                plan.record(script, move |cluster| cluster.snapshots().drop(&name));
                continue;
            }
            let action = format!("drop snapshot {:?}", snapshot.name);
            self.cluster.session().atomically(&action, |transaction| transaction.send(&statements))?;
            self.cluster.refresh();
        }
        Ok(())
    }

    /// Drops snapshots by age and number, but never the newest, and returns them. In a plan it returns those that would
    /// be dropped.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the options say neither; as for [`drop`](Snapshots::drop): those before are gone then.
    pub fn prune(&self, options: &PruneOptions) -> Result<Vec<Snapshot>> {
        options.check()?;
        let old = prune::choose(self.list()?, options, prune::now(&self.cluster)?);
        self.drop_all(&old)?;
        Ok(old)
    }

    /// Writes a snapshot into a new directory on this machine, reads it back, and only then drops it.
    ///
    /// There is a file of COPY's text format for each table, and `SHA256SUMS`, which `sha256sum -c` takes. They are
    /// written under a temporary name, synced, read back and compared (hashes, and numbers of rows), and renamed. What
    /// did not come to its end leaves nothing, and the snapshot is still there. In a plan it is a step of its own.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::AlreadyExists`] if there is something at the path; [`Error::Io`];
    /// [`Error::Invalid`] if what was read back is something else.
    pub fn archive(&self, name: &str, directory: &Path, options: &ArchiveOptions) -> Result<ArchiveReport> {
        archive::archive(&self.cluster, &self.get(name)?, directory, options)
    }

    /// Makes a snapshot of an archive, all or nothing, under a name of its old time and label. The types of its columns
    /// must exist. Refused in a plan.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Invalid`] for an archive that is not whole or was changed; [`Error::Server`] for rows
    /// or types that this database does not take.
    pub fn load(&self, directory: &Path) -> Result<Snapshot> {
        load::load(&self.cluster, directory)
    }

    /// Copies the whole current database into a new one: the snapshot for what is small enough, with
    /// everything in it ([Template Databases](https://www.postgresql.org/docs/current/manage-ag-templatedbs.html)).
    ///
    /// Nobody can connect to the copy until its `allow_connections` is set, because privileges on databases are not
    /// copied. It needs CREATEDB, and no other session in the database; it cannot run in a transaction.
    ///
    /// # Errors
    /// [`Error::InUse`] names the sessions that are in the way; [`Error::Invalid`] says the size if it is over the limit;
    /// [`Error::AlreadyExists`], [`Error::Denied`].
    pub fn copy_database(&self, options: &DatabaseCopyOptions) -> Result<Object<Database>> {
        database_copy::copy(&self.cluster, options)
    }
}
