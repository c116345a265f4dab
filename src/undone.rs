//! What is done to be looked at, and never kept.
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::plan;
use crate::state::failed;

/// Runs a closure in a transaction, or a savepoint in one that is open, that is rolled back however the closure ends.
pub(crate) fn undone<R>(cluster: &Cluster, what: &str, f: impl FnOnce(&Cluster) -> Result<R>) -> Result<R> {
    if cluster.plan_in_progress()?.is_some() {
        return Err(plan::not_in_a_plan(what));
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
