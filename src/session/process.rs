//! A server process, which may outlive its connection.
use super::Session;
use crate::error::{Error, Result};
use crate::row::Row;
use crate::sql::Lit;
use crate::transaction::Atomic;

/// The server process of a connection. Its number may be another one's when it has ended, but not its start as well.
pub(crate) struct Process {
    pid: String,
    start: String,
}

impl Process {
    /// The one that a transaction runs in. It shows to the role that logged in, but perhaps not to the one it became.
    pub(crate) fn of(within: &Atomic<'_>) -> Result<Option<Self>> {
        let answers = within.send(&[
            sql!("SAVEPOINT pgsteward_process"),
            sql!("SET LOCAL ROLE NONE"),
            sql!(
                "SELECT pid::text, backend_start::text AS start FROM pg_catalog.pg_stat_activity \
                 WHERE pid = pg_catalog.pg_backend_pid()"
            ),
            sql!("ROLLBACK TO SAVEPOINT pgsteward_process"),
        ])?;
        let read = |row: &Row| Ok(Self { pid: row.text("pid")?, start: row.text("start")? });
        answers.iter().flatten().next().map(read).transpose()
    }
}

impl Session {
    /// Has a process of a connection that was lost end
    /// ([documentation](https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-ADMIN-SIGNAL)):
    /// an error of the connection as long as it is still there. Every role may end what it logged in to.
    pub(crate) fn end(&self, action: &str, process: &Process) -> Result<()> {
        let Process { pid, start } = process;
        let signal = sql!(
            "SELECT pg_catalog.pg_terminate_backend(pid)::text FROM pg_catalog.pg_stat_activity \
             WHERE pid = {}::pg_catalog.int4 AND backend_start = {}::pg_catalog.timestamptz",
            Lit(pid),
            Lit(start)
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
