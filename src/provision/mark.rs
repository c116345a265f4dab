//! What tells a client that is being made, or was half made, from one that is complete: its role's comment.
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::sql::{Lit, Sql};
use crate::transaction::Atomic;

/// A process of the server, and when it began: process numbers come again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: i32,
    /// In seconds, as the server prints them.
    pub(super) began: String,
}

impl Process {
    /// That of a session. Only the role that logged in, and not one that it became, can be sure to see when it began.
    pub(super) fn own(cluster: &Cluster) -> Result<Self> {
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
    pub(super) fn is_alive(&self) -> Sql {
        sql!(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_stat_get_activity(NULL) a WHERE a.pid = {} \
             AND COALESCE(pg_catalog.date_part('epoch', a.backend_start)::text = {}, true))::text AS alive",
            self.pid,
            Lit(&self.began)
        )
    }
}

fn start(database: &str) -> String {
    format!("pgsteward: database {database:?} is not complete; process ")
}

/// The comment of a role whose database is being made or dropped by this process.
pub(super) fn mark(database: &str, process: &Process) -> String {
    format!("{}{} since {}", start(database), process.pid, process.began)
}

/// Which process left the mark, if the comment is one.
pub(super) fn marked_by(comment: Option<&str>, database: &str) -> Option<Process> {
    let (pid, began) = comment?.strip_prefix(&start(database))?.split_once(" since ")?;
    Some(Process { pid: pid.parse().ok()?, began: began.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_written_and_nothing_else_is_one() {
        let process = Process { pid: 7, began: "1700000000.25".into() };
        for database in ["shop", "we\"ird; since \n", "é"] {
            assert_eq!(marked_by(Some(&mark(database, &process)), database), Some(process.clone()));
            assert_eq!(marked_by(Some(&mark(database, &process)), "other"), None);
        }
        for comment in
            [None, Some(""), Some("the shop"), Some("pgsteward: database \"shop\" is not complete; process x")]
        {
            assert_eq!(marked_by(comment, "shop"), None);
        }
    }
}
