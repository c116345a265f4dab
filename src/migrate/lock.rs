//! The lock that lets one migrator of a module work at a time.
use crate::cancel::Cancellation;
use crate::error::{Error, Result};
use crate::name::Name;
use crate::session::Session;
use crate::sql::Sql;
use sha2::{Digest, Sha256};
use std::thread;
use std::time::{Duration, Instant};

/// How long the first pause is, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));

/// The lock's number: the first 8 bytes of a hash of what it is for. Locks of this sort are each database's own.
pub(super) fn key(table: &Name, module: &str) -> i64 {
    let hash = Sha256::digest(format!("pgsteward migrate\0{}\0{}\0{module}", table.schema, table.name));
    let first: [u8; 8] = std::array::from_fn(|place| hash.get(place).copied().unwrap_or_default());
    i64::from_be_bytes(first)
}

/// An advisory lock of a session, which ends with it.
pub(super) struct Lock<'s> {
    session: &'s Session,
    action: &'s str,
    key: i64,
}

impl<'s> Lock<'s> {
    /// Asks for the lock until it is had. Between two questions no statement runs: who waits within one has a snapshot,
    /// for which CREATE INDEX CONCURRENTLY of the one who has the lock would wait, and both for ever; and the server's
    /// timeouts would end the wait.
    pub(super) fn take(
        session: &'s Session,
        action: &'s str,
        key: i64,
        wait: Duration,
        cancelled: &Cancellation,
    ) -> Result<Self> {
        let (began, mut pause) = (Instant::now(), PAUSES.0);
        let lock = Self { session, action, key };
        while !lock.ask(sql!("SELECT pg_catalog.pg_try_advisory_lock({})::text AS answer", key))? {
            cancelled.check(action)?;
            if began.elapsed() >= wait {
                return Err(lock.held_by_others(wait));
            }
            if pause == PAUSES.0 {
                log::info!("waiting until {} is done with migrations", lock.holder());
            }
            thread::sleep(pause.min(wait.saturating_sub(began.elapsed())));
            pause = (pause * 3 / 2).min(PAUSES.1);
        }
        Ok(lock)
    }

    /// Refuses to go on without it: a statement of a migration may have let it go.
    pub(super) fn check(&self) -> Result<()> {
        match self.ask(sql!(
            "SELECT (EXISTS (SELECT {} AND l.pid = pg_catalog.pg_backend_pid()))::text AS answer",
            self.row()
        ))? {
            true => Ok(()),
            false => Err(Error::invalid(
                format!("attempt to {}", self.action),
                "its lock is gone: a statement of a migration released all advisory locks (DISCARD ALL or \
                 pg_advisory_unlock_all()); take that out",
            )),
        }
    }

    pub(super) fn release(self) -> Result<()> {
        self.ask(sql!("SELECT pg_catalog.pg_advisory_unlock({})::text AS answer", self.key)).map(drop)
    }

    fn ask(&self, question: Sql) -> Result<bool> {
        let answers = self.session.run(self.action, &[question])?;
        answers.iter().flatten().next().map_or(Ok(false), |row| row.truth("answer"))
    }

    /// The lock's row among all locks.
    fn row(&self) -> Sql {
        let [a, b, c, d, e, f, g, h] = self.key.to_be_bytes();
        let (high, low) = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]));
        sql!(
            "FROM pg_catalog.pg_locks l WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 \
             AND l.classid::pg_catalog.int8 = {} AND l.objid::pg_catalog.int8 = {} AND l.database = \
             (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())",
            high,
            low
        )
    }

    /// Who has it, in words.
    fn holder(&self) -> String {
        let question = sql!(
            "SELECT l.pid::text AS pid, a.usename AS role, a.application_name AS application FROM (SELECT l.pid {}) l \
             LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid",
            self.row()
        );
        let named = || -> Result<Option<String>> {
            let answers = self.session.run(self.action, &[question])?;
            let Some(row) = answers.iter().flatten().next() else { return Ok(None) };
            let known = |column: &str| Ok::<_, Error>(row.optional(column)?.unwrap_or_default());
            let (pid, role, application) = (row.text("pid")?, known("role")?, known("application")?);
            Ok(Some(format!("the session with process {pid} (role {role:?}, application {application:?})")))
        };
        named().ok().flatten().unwrap_or_else(|| "another session".into())
    }

    fn held_by_others(&self, wait: Duration) -> Error {
        Error::InUse {
            action: self.action.into(),
            what: format!("the migrations' lock, waited for {} seconds,", wait.as_secs_f32()),
            by: self.holder(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p121_the_lock_is_one_for_each_schema_table_and_module() {
        let name = |schema: &str, table: &str| Name::new(schema, table);
        let key_of = |schema: &str, table: &str, module: &str| key(&name(schema, table), module);
        let one = key_of("a", "t", "m");
        assert_eq!(one, key_of("a", "t", "m"));
        for other in [key_of("b", "t", "m"), key_of("a", "u", "m"), key_of("a", "t", "n"), key_of("at", "", "m")] {
            assert_ne!(one, other);
        }
    }
}
