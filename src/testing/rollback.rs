//! Tests that leave nothing, without a database of their own.
use crate::state::failed;
use crate::{Cluster, Error, Result, plan};

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
    if cluster.plan_in_progress()?.is_some() {
        return Err(plan::not_in_a_plan("with_rollback"));
    }
    let mut returned = None;
    let undone = cluster.transaction(|| {
        let began = moment(cluster)?;
        let result = f(cluster)?;
        match moment(cluster) {
            Ok(now) if now != began => return Err(ended()),
            // It is still there, and takes nothing but its end.
            Err(error) if !failed(&error) => return Err(error),
            _ => {}
        }
        returned = Some(result);
        // An error is what rolls it back.
        Err::<(), _>(ended())
    });
    match returned {
        Some(result) => Ok(result),
        None => Err(undone.err().unwrap_or_else(ended)),
    }
}

fn ended() -> Error {
    Error::invalid("COMMIT or ROLLBACK in a transaction that is to be rolled back", "what was done by then is kept")
}

/// When the transaction began.
fn moment(cluster: &Cluster) -> Result<Option<String>> {
    let question = sql!("SELECT pg_catalog.now()::text AS began");
    let answers = cluster.session().run("look at the transaction", &[question])?;
    answers.iter().flatten().next().map(|row| row.text("began")).transpose()
}
