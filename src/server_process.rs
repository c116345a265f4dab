//! A process of the server, as it is told in names and comments: who left them, and whether he is still there.
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::sql::{Lit, Sql};
use crate::transaction::Atomic;

/// A process of the server, and when it began: process numbers come again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerProcess {
    pub(crate) pid: i32,
    /// In seconds, as the server prints them.
    pub(crate) began: String,
}

impl ServerProcess {
    /// That of a session. Only the role that logged in, and not one that it became, can be sure to see when it began.
    pub(crate) fn own(cluster: &Cluster) -> Result<Self> {
        let questions = [
            sql!("SET LOCAL ROLE NONE"),
            sql!(
                "SELECT a.pid::text, pg_catalog.date_part('epoch', a.backend_start)::text AS began \
                 FROM pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid()) a"
            ),
        ];
        let look = |transaction: &Atomic<'_>| transaction.send(&questions);
        let (answers, _) = cluster.session().atomically("look at the session", look)?;
        match answers.iter().flatten().next() {
            Some(row) => Ok(Self { pid: row.number("pid")?, began: row.text("began")? }),
            None => Err(Error::invalid("answer of the server", "it says nothing of the session")),
        }
    }

    /// Whether it is there still. Who may not see when it began takes it for the same.
    pub(crate) fn is_alive(&self) -> Sql {
        sql!(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_stat_get_activity(NULL) a WHERE a.pid = {} \
             AND COALESCE(pg_catalog.date_part('epoch', a.backend_start)::text = {}, true))::text AS alive",
            self.pid,
            Lit(&self.began)
        )
    }
}
