//! Transactions that are open for long.
use super::activity::age;
use crate::cluster::Cluster;
use crate::error::Result;
use crate::row::Row;
use crate::sessions::{SessionState, fresh_statistics};
use crate::sql::Sql;
use std::time::Duration;

/// A transaction that is open: of a session, or prepared. What the current role may not see of others' sessions, it does
/// not see at all.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct OpenTransaction {
    /// The server process; none if it is prepared.
    pub pid: Option<i32>,
    /// The identifier, if it is prepared
    /// ([PREPARE TRANSACTION](https://www.postgresql.org/docs/current/sql-prepare-transaction.html)).
    pub prepared: Option<String>,
    /// The database; none for processes that are connected to none.
    pub database: Option<String>,
    /// The role that logged in, or that prepared it; none for processes without one, such as autovacuum's.
    pub role: Option<String>,
    /// `application_name`; none if it is prepared.
    pub application: Option<String>,
    /// What the session does; none if it is prepared, and for processes of the server's own.
    pub state: Option<SessionState>,
    /// How long it has been open, or prepared.
    pub age: Duration,
    /// How many transactions have begun since the oldest one whose rows it may still have to see, as the server counts
    /// them: VACUUM removes nothing that is younger
    /// ([`backend_xmin`](https://www.postgresql.org/docs/current/monitoring-stats.html#MONITORING-PG-STAT-ACTIVITY-VIEW)).
    /// None if it holds nothing back at this moment.
    pub xmin_age: Option<u32>,
    /// Its statement, or the last one; none if it is prepared.
    pub query: Option<String>,
}

fn query(open_for: Duration) -> Sql {
    // Rounded up: what is younger does not show.
    let milliseconds = u64::try_from(open_for.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
    sql!(
        "SELECT open.pid, open.gid, open.database, open.role, open.application, open.state, open.query, \
         pg_catalog.date_part('epoch', open.age)::text AS age, open.xmin_age::text \
         FROM (SELECT a.pid::text, NULL::text AS gid, a.datname AS database, a.usename AS role, \
         a.application_name AS application, a.state, pg_catalog.clock_timestamp() - a.xact_start AS age, \
         GREATEST(pg_catalog.age(a.backend_xmin), pg_catalog.age(a.backend_xid)) AS xmin_age, a.query \
         FROM pg_catalog.pg_stat_activity a \
         WHERE a.xact_start IS NOT NULL AND a.pid <> pg_catalog.pg_backend_pid() \
         UNION ALL SELECT NULL, p.gid, p.database, p.owner, NULL, NULL, \
         pg_catalog.clock_timestamp() - p.prepared, pg_catalog.age(p.transaction), NULL \
         FROM pg_catalog.pg_prepared_xacts p) AS open \
         WHERE pg_catalog.date_part('epoch', open.age) * 1000 >= {} ORDER BY open.age DESC, open.pid, open.gid",
        milliseconds
    )
}

fn read(row: &Row) -> Result<OpenTransaction> {
    Ok(OpenTransaction {
        pid: row.optional_number("pid")?,
        prepared: row.optional("gid")?,
        database: row.optional("database")?,
        role: row.optional("role")?,
        application: row.optional("application")?,
        state: row.optional("state")?.as_deref().and_then(SessionState::read),
        age: age(row, "age")?.unwrap_or_default(),
        xmin_age: row.optional_number("xmin_age")?,
        query: row.optional("query")?,
    })
}

pub(super) fn transactions(cluster: &Cluster, open_for: Duration) -> Result<Vec<OpenTransaction>> {
    let answers = cluster.session().run("look at open transactions", &[fresh_statistics(), query(open_for)])?;
    answers.iter().skip(1).flatten().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_least_so_long_is_not_rounded_down() {
        let asks_for = |open_for| query(open_for).to_string().contains(" * 1000 >= 1500 ORDER BY");
        assert!(asks_for(Duration::from_millis(1500)) && !asks_for(Duration::from_secs(1)));
        assert!(query(Duration::from_nanos(1)).to_string().contains(" * 1000 >= 1 ORDER BY"));
    }
}
