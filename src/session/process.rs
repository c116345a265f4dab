//! A server process, which may outlive its connection.
use super::Session;
use crate::error::{Error, Result};
use crate::sql::Lit;
use crate::transaction::Atomic;

/// The server process of a connection. Its number may be another one's when it has ended: one that starts after it was
/// seen.
pub(crate) struct Process {
    pid: String,
    seen: String,
}

impl Process {
    /// The one that a transaction runs in. It is not looked up among the sessions, where a role may not see all of them.
    pub(crate) fn of(within: &Atomic<'_>) -> Result<Self> {
        let now = sql!("SELECT pg_catalog.pg_backend_pid()::text AS pid, pg_catalog.clock_timestamp()::text AS seen");
        match within.send(&[now])?.iter().flatten().next() {
            Some(row) => Ok(Self { pid: row.text("pid")?, seen: row.text("seen")? }),
            None => Err(Error::invalid("answer of the server", "it has no row")),
        }
    }
}

impl Session {
    /// Has a process of a connection that was lost end
    /// ([documentation](https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-ADMIN-SIGNAL)):
    /// an error of the connection as long as it is still there. Every role may end what it logged in to.
    pub(crate) fn end(&self, action: &str, process: &Process) -> Result<()> {
        let Process { pid, seen } = process;
        let signal = sql!(
            "SELECT pg_catalog.pg_terminate_backend(pid)::text FROM pg_catalog.pg_stat_activity \
             WHERE pid = {}::pg_catalog.int4 AND backend_start <= {}::pg_catalog.timestamptz",
            Lit(pid),
            Lit(seen)
        );
        let (answers, _) =
            self.atomically(action, |within| within.send(&[sql!("SET LOCAL ROLE NONE"), signal.clone()]))?;
        match answers.iter().flatten().next() {
            None => Ok(()),
            Some(_) => Err(Error::Connection {
                action: action.into(),
                reason: format!("the server process {pid} of a connection that was lost has not ended"),
            }),
        }
    }
}
