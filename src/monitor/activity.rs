//! What sessions do.
use crate::cluster::Cluster;
use crate::error::Result;
use crate::row::Row;
use crate::sessions::{COLUMNS, SessionInfo, Sessions, fresh_statistics};
use std::time::Duration;

/// A session and what it does, as it was when it was looked at. What the current role may not see of it is none.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Activity {
    /// Who it is.
    pub session: SessionInfo,
    /// What sort of process it is: `client backend`, `autovacuum worker`.
    pub backend_type: Option<String>,
    /// What it waits for, if it does: `Lock`
    /// ([wait events](https://www.postgresql.org/docs/current/monitoring-stats.html#WAIT-EVENT-TABLE)).
    pub wait_event_type: Option<String>,
    /// What exactly: `transactionid`.
    pub wait_event: Option<String>,
    /// Since when it is connected.
    pub session_age: Option<Duration>,
    /// How long its transaction has been open; none if there is none.
    pub transaction_age: Option<Duration>,
    /// How long ago its statement, or the last one, began.
    pub query_age: Option<Duration>,
    /// How long it has been in its state.
    pub state_age: Option<Duration>,
    /// Its statement, or the last one, as far as `track_activity_query_size` goes. Values that stand in its text show.
    pub query: Option<String>,
}

/// What [`Activity`] is made of, of sessions `a`.
pub(super) fn columns() -> crate::sql::Sql {
    sql!(
        "{}, a.backend_type, a.wait_event_type, a.wait_event, \
         pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - a.backend_start)::text AS session_age, \
         pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - a.xact_start)::text AS transaction_age, \
         pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - a.query_start)::text AS query_age, \
         pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - a.state_change)::text AS state_age, \
         CASE WHEN a.query NOT IN ('', '<insufficient privilege>') THEN a.query END AS query",
        COLUMNS
    )
}

impl Activity {
    pub(super) fn read(row: &Row) -> Result<Self> {
        Ok(Self {
            session: SessionInfo::read(row)?,
            backend_type: row.optional("backend_type")?,
            wait_event_type: row.optional("wait_event_type")?,
            wait_event: row.optional("wait_event")?,
            session_age: age(row, "session_age")?,
            transaction_age: age(row, "transaction_age")?,
            query_age: age(row, "query_age")?,
            state_age: age(row, "state_age")?,
            query: row.optional("query")?,
        })
    }
}

/// Seconds as a duration; nothing is younger than now, whatever the server's clock does.
pub(super) fn age(row: &Row, column: &str) -> Result<Option<Duration>> {
    let seconds: Option<f64> = row.optional_number(column)?;
    Ok(seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds.max(0.0)).ok()))
}

pub(super) fn sessions(cluster: &Cluster, sessions: &Sessions) -> Result<Vec<Activity>> {
    sessions.check()?;
    let sessions = sessions.clone().sparing(cluster.session().own_processes());
    let question = sql!(
        "SELECT {} {} ORDER BY COALESCE(a.xact_start, a.query_start, a.backend_start), a.pid",
        columns(),
        sessions.which()
    );
    let answers = cluster.session().run("look at sessions", &[fresh_statistics(), question])?;
    answers.iter().skip(1).flatten().map(Activity::read).collect()
}
