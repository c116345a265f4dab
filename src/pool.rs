//! Connections that are kept for a program's next job: the pool.
//!
//! ```
//! # #[cfg(feature = "testing")] {
//! use pgsteward::pool::{Pool, PoolOptions};
//!
//! # let server = pgsteward::testing::TestServer::start()?;
//! # let parameters = server.dsn();
//! let pool = Pool::connect(&parameters, PoolOptions::new())?;
//! let mut client = pool.get()?;
//! client.batch_execute("SET statement_timeout = '1s'; CREATE TEMPORARY TABLE scratch (n int)")?;
//! drop(client); // the pool has it again, and takes the setting and the table off it
//!
//! assert!(pool.cluster()?.roles().contains("postgres")?);
//! println!("{}", pool.metrics());
//! # }
//! # Ok::<(), pgsteward::Error>(())
//! ```
use crate::connect::ConnectionParameters;
use crate::error::Result;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

mod cleaning;
mod client;
mod connection;
mod keeper;
mod lent;
mod metrics;
mod options;
mod shared;
mod state;
mod statements;

pub use client::{PooledClient, PooledStatement};
pub use lent::PooledCluster;
pub use metrics::PoolMetrics;
pub use options::PoolOptions;

use connection::Setup;
use lent::Seat;
use shared::Shared;

/// A number of connections to one database, handed out one by one and kept when they come back.
///
/// Clones are handles on the same pool, for all threads of a program: make one, and give clones of it away. A clone that is
/// dropped closes nothing; when the last is dropped, or by [`close`](Pool::close), the pool ends.
///
/// A connection comes back *clean*: nothing that its last user set, opened, locked, listened to, prepared in SQL or made for
/// the session is there for the next one, also when a transaction was left open or has failed, or the user's code has
/// panicked. Giving back sends nothing: this is done by whoever needs the connection next, or a millisecond later by a thread
/// of the pool's own. What cannot be made clean is closed.
///
/// The calls block: in an async program use the pool within `tokio::task::spawn_blocking`, because the driver panics inside
/// a runtime.
#[derive(Clone)]
pub struct Pool {
    owner: Arc<Owner>,
}

/// The last handle ends the pool.
struct Owner {
    shared: Arc<Shared>,
}

impl Pool {
    /// Makes a pool for a connection string, with the meaning and the surroundings that it has for
    /// [`Cluster::connect`](crate::Cluster::connect). Opens [`PoolOptions::minimum`] connections, and one at least.
    ///
    /// # Errors
    /// As for [`Cluster::connect`](crate::Cluster::connect): a pool that could not connect once is not made.
    /// [`Error::Invalid`](crate::Error::Invalid) for options that contradict each other.
    pub fn connect(parameters: &str, options: PoolOptions) -> Result<Self> {
        Self::connect_with(ConnectionParameters::parse(parameters)?, options)
    }

    /// As [`connect`](Pool::connect), with [`ConnectionParameters`], or a driver's configuration.
    ///
    /// # Errors
    /// As for [`connect`](Pool::connect).
    pub fn connect_with(parameters: impl Into<ConnectionParameters>, options: PoolOptions) -> Result<Self> {
        let shared = Arc::new(Shared::open(parameters.into(), options)?);
        // From here on the end of the owner closes what was opened.
        let owner = Arc::new(Owner { shared: shared.clone() });
        keeper::start(shared)?;
        Ok(Self { owner })
    }

    /// A connection: one that is there, or a new one while there are fewer than [`PoolOptions::maximum`], or the next that
    /// comes back. Who came first is served first. It goes back when it is dropped.
    ///
    /// One that was idle for longer than [`PoolOptions::check_after`] is asked for a sign of life (one round trip), and
    /// replaced when there is none.
    ///
    /// # Errors
    /// [`Error::InUse`](crate::Error::InUse) when none came back within [`PoolOptions::wait_timeout`]; it says who has them.
    /// [`Error::Connection`](crate::Error::Connection) on a pool that was closed. As for
    /// [`Cluster::connect`](crate::Cluster::connect) where a new one cannot be made.
    #[track_caller]
    pub fn get(&self) -> Result<PooledClient> {
        let place = Location::caller();
        Seat::take(&self.owner.shared, Setup::Anything, place).map(PooledClient::new)
    }

    /// A connection on which names without a schema mean nothing: see [`SearchPath`](crate::module::SearchPath). It costs no
    /// round trip when a module had it before.
    #[track_caller]
    pub(crate) fn get_for_modules(&self) -> Result<PooledClient> {
        let place = Location::caller();
        Seat::take(&self.owner.shared, Setup::Modules, place).map(PooledClient::new)
    }

    /// A [`Cluster`](crate::Cluster) on a connection of the pool. It goes back when the `PooledCluster` is dropped; clones of
    /// the cluster, and objects from it, can do nothing more then.
    ///
    /// # Errors
    /// As for [`get`](Pool::get).
    #[track_caller]
    pub fn cluster(&self) -> Result<PooledCluster> {
        let place = Location::caller();
        Seat::take(&self.owner.shared, Setup::Anything, place).and_then(PooledCluster::new)
    }

    /// The figures of this moment. Sends nothing.
    pub fn metrics(&self) -> PoolMetrics {
        self.owner.shared.metrics()
    }

    /// Closes the pool for all of its handles: connections that are idle are closed, those in use when they come back. Who
    /// waits for one, and every later [`get`](Pool::get), has an error. A pool that is closed already stays so.
    pub fn close(&self) {
        self.owner.shared.close();
    }

    /// The options that it was made with.
    pub fn options(&self) -> &PoolOptions {
        &self.owner.shared.options
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool ({})", self.metrics())
    }
}
