//! Tests that leave nothing, without a database of their own.
#[cfg(doc)]
use crate::Error;
use crate::undone::undone;
use crate::{Cluster, Result};

/// Runs a closure in a transaction that is always rolled back, and returns what the closure returned.
///
/// It is quicker than a database for each test; but sequences go on, and deferred constraints are not checked.
///
/// ```
/// # let server = pgsteward::testing::TestServer::start()?;
/// # let cluster = pgsteward::Cluster::connect(&server.dsn())?;
/// use pgsteward::{Role, testing::with_rollback};
///
/// with_rollback(&cluster, |cluster| {
///     cluster.roles().create(Role::new("app"))?;
///     assert!(cluster.roles().contains("app")?);
///     Ok(())
/// })?;
/// assert!(!cluster.roles().contains("app")?);
/// # Ok::<(), pgsteward::Error>(())
/// ```
///
/// # Errors
/// Those of the closure; [`Error::Invalid`] if it ended the transaction: what it did by then is kept.
pub fn with_rollback<R>(cluster: &Cluster, f: impl FnOnce(&Cluster) -> Result<R>) -> Result<R> {
    undone(cluster, "with_rollback", f)
}
