//! What goes on in a server: sessions and what they do, who waits for whom, transactions that are open for long, sizes,
//! indexes that nobody uses, plans of statements: [`Cluster::monitor`]. And what one's own program does: [`Statistics`].
//!
//! ```
//! # #[cfg(feature = "testing")] {
//! # let server = pgsteward::testing::TestServer::start()?;
//! use pgsteward::{Cluster, Sessions};
//! use std::time::Duration;
//!
//! let cluster = Cluster::connect(&server.dsn())?;
//! let monitor = cluster.monitor();
//! assert!(monitor.sessions(&Sessions::new().all())?.is_empty()); // this one is left out
//! assert!(monitor.blocking()?.is_empty());
//! assert!(monitor.transactions(Duration::from_secs(60))?.is_empty());
//! assert!(monitor.table_sizes()?.is_empty());
//! # }
//! # Ok::<(), pgsteward::Error>(())
//! ```
//!
//! Each question is one round trip (but for [`Monitor::explain_analyze`], which needs a transaction), and looks at the
//! server as it is at that moment, also inside a transaction. What others do shows to their own roles, superusers and
//! members of `pg_read_all_stats` (which `pg_monitor` is); to everybody else such a session shows with its process,
//! database, role and application alone.
mod activity;
mod blocking;
mod explain;
mod indexes;
mod sizes;
mod transactions;

pub use activity::Activity;
pub use blocking::{AwaitedLock, BlockingSession};
pub use explain::{ExplainFormat, ExplainOptions};
pub use indexes::{IndexUse, UnusedIndexes};
pub use sizes::TableSize;
pub use transactions::OpenTransaction;

pub use crate::statistics::{Histogram, SlowStatement, Statistics, StatisticsOptions, StatisticsReport};

use crate::cluster::Cluster;
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::sessions::Sessions;
use postgres::types::ToSql;
use std::time::Duration;

/// What can be asked of a server: [`Cluster::monitor`].
#[derive(Clone, Debug)]
pub struct Monitor {
    cluster: Cluster,
}

impl Cluster {
    /// What goes on in the server.
    pub fn monitor(&self) -> Monitor {
        Monitor { cluster: self.clone() }
    }
}

impl Monitor {
    /// The sessions that pass the filters, and what each of them does; the one that has been busy for longest comes first.
    /// This one is left out, and so are those to other databases that [`Cluster::database`] made from it
    /// ([pg_stat_activity](https://www.postgresql.org/docs/current/monitoring-stats.html#MONITORING-PG-STAT-ACTIVITY-VIEW)).
    ///
    /// # Errors
    /// [`Error::Invalid`] if there is no filter at all; [`Sessions::all`] is one.
    pub fn sessions(&self, sessions: &Sessions) -> Result<Vec<Activity>> {
        activity::sessions(&self.cluster, sessions)
    }

    /// The sessions that wait for a lock and those that they wait for, in the order of a tree: behind each come those that
    /// wait for it, one [deeper](BlockingSession::depth). Empty if nobody waits
    /// ([pg_blocking_pids](https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-INFO-SESSION)).
    ///
    /// To be asked now and then, and not in a loop: the server stops its lock manager for a moment to answer.
    ///
    /// # Errors
    /// [`Error::Server`], [`Error::Connection`].
    pub fn blocking(&self) -> Result<Vec<BlockingSession>> {
        blocking::blocking(&self.cluster)
    }

    /// The transactions that have been open for at least this long, prepared ones too, the oldest first; this session's
    /// own is left out. They keep VACUUM from removing what they might still see
    /// ([Routine Vacuuming](https://www.postgresql.org/docs/current/routine-vacuuming.html)).
    ///
    /// # Errors
    /// [`Error::Server`], [`Error::Connection`].
    pub fn transactions(&self, open_for: Duration) -> Result<Vec<OpenTransaction>> {
        transactions::transactions(&self.cluster, open_for)
    }

    /// What the tables and materialized views in the current database take on the disk, but for the system's, the largest
    /// first
    /// ([Database Object Size Functions](https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-ADMIN-DBSIZE)).
    /// A table that somebody has, or wants, for himself alone is not waited for: its sizes are not known.
    ///
    /// # Errors
    /// [`Error::Server`], [`Error::Connection`].
    pub fn table_sizes(&self) -> Result<Vec<TableSize>> {
        sizes::table_sizes(&self.cluster)
    }

    /// The indexes in the current database, but for the system's, and how often they were used; the largest first. Of a
    /// partitioned index, all parts together are one. They are not waited for, as with [`table_sizes`](Monitor::table_sizes).
    ///
    /// # Errors
    /// [`Error::Server`], [`Error::Connection`].
    pub fn indexes(&self) -> Result<Vec<IndexUse>> {
        Ok(indexes::look(&self.cluster)?.indexes)
    }

    /// The [`indexes`](Monitor::indexes) that no statement has used, and that serve for nothing else: they are not unique,
    /// no constraint needs them, and they are no replica identity. Before one is dropped: statistics are each server's own,
    /// so that the same index may be in use on a standby, and [count](UnusedIndexes::since) from when they were last reset;
    /// the planner also takes statistics of expressions from indexes that it does not use.
    ///
    /// # Errors
    /// [`Error::Server`], [`Error::Connection`].
    pub fn unused_indexes(&self) -> Result<UnusedIndexes> {
        let mut all = indexes::look(&self.cluster)?;
        all.indexes.retain(IndexUse::is_unused);
        Ok(all)
    }

    /// The plan of a statement, under the connection's own settings. It is not run
    /// ([EXPLAIN](https://www.postgresql.org/docs/current/sql-explain.html)).
    ///
    /// ```
    /// # #[cfg(feature = "testing")] {
    /// # let server = pgsteward::testing::TestServer::start()?;
    /// # let cluster = pgsteward::Cluster::connect(&server.dsn())?;
    /// use pgsteward::monitor::ExplainOptions;
    /// let plan = cluster.monitor().explain("SELECT $1::int", &[&7], &ExplainOptions::new())?;
    /// assert!(plan.starts_with("Result"));
    /// # }
    /// # Ok::<(), pgsteward::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Server`] for what has no plan, and for several statements; [`Error::Invalid`] for parameters of the wrong
    /// type or number.
    pub fn explain(
        &self,
        statement: &str,
        parameters: &[&(dyn ToSql + Sync)],
        options: &ExplainOptions,
    ) -> Result<String> {
        explain::explain(&self.cluster, statement, parameters, options)
    }

    /// The plan of a statement, and what became of it when it was run: how many rows, how long, which buffers. The
    /// statement runs in a transaction that is rolled back, also when it only seems to read; in a transaction that is open,
    /// in a savepoint. It takes its locks, and fires its triggers, but not those that are deferred. What no rollback
    /// undoes stays: sequences go on, and what functions do outside of the database.
    ///
    /// # Errors
    /// As for [`explain`](Monitor::explain), and those of the statement. [`Error::Invalid`] in a plan.
    pub fn explain_analyze(
        &self,
        statement: &str,
        parameters: &[&(dyn ToSql + Sync)],
        options: &ExplainOptions,
    ) -> Result<String> {
        explain::explain_analyze(&self.cluster, statement, parameters, options)
    }
}
