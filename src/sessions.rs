//! Ending sessions.
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::row::Row;
use crate::script::Script;
use crate::sql::{Lit, Sql};
use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

/// How long [`Cluster::terminate`] waits where the caller does not say.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which sessions are meant: those that pass every filter.
///
/// An empty list lets nothing pass. Exclusions alone are a filter; no filter at all is an error,
/// and [`all`](Sessions::all) says that all are meant. Names that do not exist match nothing.
///
/// ```
/// # fn main() -> pgsteward::Result<()> {
/// # let server = pgsteward::testing::TestServer::start()?;
/// # let cluster = pgsteward::Cluster::connect(&server.dsn())?;
/// use pgsteward::Sessions;
/// let report = cluster.terminate(Sessions::new().databases(["shop"]).except_roles(["monitor"]))?;
/// assert!(report.remaining.is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Sessions {
    databases: Filter<String>,
    roles: Filter<String>,
    pids: Filter<i32>,
    applications: Filter<String>,
    states: Filter<SessionState>,
    /// The session user by OID, which outlives its name.
    role_oid: Option<u32>,
    /// Sessions that are never meant: each a server process and its database, lest the process
    /// has become somebody else's.
    own: Vec<(i32, String)>,
    all: bool,
    walsenders: bool,
    timeout: Duration,
}

/// What one property must be, and what it must not be.
#[derive(Clone, Debug)]
struct Filter<T> {
    only: Option<Vec<T>>,
    except: Vec<T>,
}

/// What a session is doing
/// ([pg_stat_activity](https://www.postgresql.org/docs/current/monitoring-stats.html#MONITORING-PG-STAT-ACTIVITY-VIEW)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionState {
    /// It runs a statement.
    Active,
    /// It waits for a statement.
    Idle,
    /// It waits for a statement, in a transaction.
    IdleInTransaction,
    /// It waits for a statement, in a transaction in which one has failed.
    IdleInTransactionAborted,
    /// It runs a fast-path function.
    FastpathFunctionCall,
    /// `track_activities` is off for it.
    Disabled,
}

/// A session, as it was when it was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionInfo {
    /// The server process.
    pub pid: i32,
    /// The database; none for a walsender that streams.
    pub database: Option<String>,
    /// The role that logged in.
    pub role: Option<String>,
    /// `application_name`, as the client set it.
    pub application: Option<String>,
    /// What it was doing; none where the current role may not see it.
    pub state: Option<SessionState>,
    /// The client's address; none for a Unix socket, and where the current role may not see it.
    pub client_address: Option<String>,
    /// When it began; none where the current role may not see it.
    began: Option<String>,
}

/// What became of the sessions that were meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TerminateReport {
    /// Those that are gone.
    pub terminated: Vec<SessionInfo>,
    /// Those that were told to end, and were still there when the time was over.
    pub remaining: Vec<SessionInfo>,
    /// Those that the current role may not end.
    pub refused: Vec<SessionInfo>,
}

impl<T> Default for Filter<T> {
    fn default() -> Self {
        Self { only: None, except: Vec::new() }
    }
}

impl<T: PartialEq> Filter<T> {
    fn only(&mut self, values: impl IntoIterator<Item = impl Into<T>>) {
        self.only.get_or_insert_default().extend(values.into_iter().map(Into::into));
    }

    fn except(&mut self, values: impl IntoIterator<Item = impl Into<T>>) {
        self.except.extend(values.into_iter().map(Into::into));
    }

    fn is_set(&self) -> bool {
        self.only.is_some() || !self.except.is_empty()
    }

    /// The conditions on a column, whose absence is no reason to spare a session.
    fn conditions(&self, column: &'static str, literal: impl Fn(&T) -> Sql) -> Vec<Sql> {
        let list = |values: &[T]| Sql::join(values.iter().map(&literal), ", ");
        let only = self.only.as_ref().map(|values| match values.is_empty() {
            true => sql!("false"),
            false => sql!("{} IN ({})", column, list(values)),
        });
        let except = (!self.except.is_empty())
            .then(|| sql!("({} IS NULL OR {} NOT IN ({}))", column, column, list(&self.except)));
        only.into_iter().chain(except).collect()
    }
}

impl Default for Sessions {
    fn default() -> Self {
        Self::new()
    }
}

impl Sessions {
    /// No filter yet.
    pub fn new() -> Self {
        Self {
            databases: Filter::default(),
            roles: Filter::default(),
            pids: Filter::default(),
            applications: Filter::default(),
            states: Filter::default(),
            role_oid: None,
            own: Vec::new(),
            all: false,
            walsenders: false,
            timeout: PATIENCE,
        }
    }

    /// Those connected to one of these databases.
    pub fn databases(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.databases.only(names);
        self
    }

    /// Those not connected to any of these databases; one that is connected to none passes.
    pub fn except_databases(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.databases.except(names);
        self
    }

    /// Those that logged in as one of these roles, whatever they have become since.
    pub fn roles(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.roles.only(names);
        self
    }

    /// Those that did not log in as any of these roles.
    pub fn except_roles(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.roles.except(names);
        self
    }

    /// Those of these server processes.
    pub fn pids(mut self, pids: impl IntoIterator<Item = i32>) -> Self {
        self.pids.only(pids);
        self
    }

    /// Those of other server processes than these.
    pub fn except_pids(mut self, pids: impl IntoIterator<Item = i32>) -> Self {
        self.pids.except(pids);
        self
    }

    /// Those with one of these `application_name`s.
    pub fn applications(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.applications.only(names);
        self
    }

    /// Those with none of these `application_name`s.
    pub fn except_applications(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.applications.except(names);
        self
    }

    /// Those in one of these states. A session whose state the current role may not see does not pass.
    pub fn states(mut self, states: impl IntoIterator<Item = SessionState>) -> Self {
        self.states.only(states);
        self
    }

    /// Those in none of these states. A session whose state the current role may not see does not pass.
    pub fn except_states(mut self, states: impl IntoIterator<Item = SessionState>) -> Self {
        self.states.except(states);
        self
    }

    /// All, as far as the filters let them pass.
    pub fn all(mut self) -> Self {
        self.all = true;
        self
    }

    /// Walsenders (standbys, subscribers, backups) too, which are spared otherwise.
    pub fn walsenders(mut self) -> Self {
        self.walsenders = true;
        self
    }

    /// How long to wait for the sessions to end, 10 seconds where this is not called; zero for not at all.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Those that logged in as the role of this OID, walsenders included.
    pub(crate) fn of_role(oid: u32) -> Self {
        Self { role_oid: Some(oid), walsenders: true, ..Self::new() }
    }

    pub(crate) fn sparing(mut self, own: Vec<(i32, String)>) -> Self {
        self.own = own;
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        let Self { databases, roles, pids, applications, states, role_oid, own: _, all, walsenders: _, timeout: _ } =
            self;
        let filtered =
            databases.is_set() || roles.is_set() || pids.is_set() || applications.is_set() || states.is_set();
        match filtered || *all || role_oid.is_some() {
            true => Ok(()),
            false => Err(Error::invalid("sessions to terminate", "no filter is given, not even `all`")),
        }
    }

    /// `FROM ... WHERE ...`: the sessions that pass, as `a`, and their roles, as `them`.
    pub(crate) fn which(&self) -> Sql {
        let Self { databases, roles, pids, applications, states, role_oid, own, all: _, walsenders, timeout: _ } = self;
        let text = |text: &String| sql!("{}", Lit(text));
        let mut conditions = vec![sql!("a.pid <> pg_catalog.pg_backend_pid()"), self.backends(*walsenders)];
        let spared = |(pid, database): &(i32, String)| sql!("NOT (a.pid = {} AND a.datname = {})", *pid, Lit(database));
        conditions.extend(own.iter().map(spared));
        conditions.extend(databases.conditions("a.datname", text));
        conditions.extend(roles.conditions("a.usename", text));
        conditions.extend(pids.conditions("a.pid", |pid| sql!("{}", *pid)));
        conditions.extend(applications.conditions("a.application_name", text));
        conditions.extend(states.conditions("a.state", |state| sql!("{}", Lit(state.as_str()))));
        if states.is_set() {
            conditions.push(sql!("a.state IS NOT NULL"));
        }
        conditions.extend(role_oid.map(|oid| sql!("a.usesysid = {}", oid)));
        sql!(
            "FROM pg_catalog.pg_stat_activity a LEFT JOIN pg_catalog.pg_roles them ON them.oid = a.usesysid WHERE {}",
            Sql::join(conditions, " AND ")
        )
    }

    /// The server's own processes are never meant. Without `pg_read_all_stats` the type of other
    /// roles' sessions does not show; then a process that is connected to a database as a role, or is listed as a
    /// walsender, is one of theirs.
    fn backends(&self, walsenders: bool) -> Sql {
        let sender = sql!("a.pid IN (SELECT w.pid FROM pg_catalog.pg_stat_replication w)");
        match walsenders {
            true => sql!(
                "(a.backend_type IN ('client backend', 'walsender') OR a.backend_type IS NULL \
                 AND a.usesysid IS NOT NULL AND (a.datid IS NOT NULL OR {}))",
                sender
            ),
            false => sql!(
                "(a.backend_type = 'client backend' OR a.backend_type IS NULL \
                 AND a.usesysid IS NOT NULL AND a.datid IS NOT NULL AND NOT {})",
                sender
            ),
        }
    }

    /// Ends those that may be ended, and lists all.
    pub(crate) fn to_terminate(&self) -> Sql {
        sql!(
            "SELECT {}, CASE WHEN {} THEN pg_catalog.pg_terminate_backend(a.pid)::text END AS signalled {}",
            COLUMNS,
            MAY,
            self.which()
        )
    }
}

/// What [`SessionInfo`] is made of.
pub(crate) const COLUMNS: &str = "a.pid::text, a.datname AS database, a.usename AS role, a.application_name AS application, a.state, \
    a.client_addr::text, a.backend_start::text";

/// Whether the current role may end the session: pg_terminate_backend would fail for all sessions if it may not
/// end one.
pub(crate) const MAY: &str = "(SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) \
    OR NOT COALESCE(them.rolsuper, false) AND (pg_catalog.pg_has_role(a.usesysid, 'USAGE') \
    OR pg_catalog.pg_has_role('pg_signal_backend', 'USAGE'))";

impl SessionState {
    const ALL: [Self; 6] = [
        Self::Active,
        Self::Idle,
        Self::IdleInTransaction,
        Self::IdleInTransactionAborted,
        Self::FastpathFunctionCall,
        Self::Disabled,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Idle => "idle",
            Self::IdleInTransaction => "idle in transaction",
            Self::IdleInTransactionAborted => "idle in transaction (aborted)",
            Self::FastpathFunctionCall => "fastpath function call",
            Self::Disabled => "disabled",
        }
    }

    pub(crate) fn read(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// As `pg_stat_activity` writes it: `idle in transaction`.
impl fmt::Display for SessionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl SessionInfo {
    pub(crate) fn read(row: &Row) -> Result<Self> {
        Ok(Self {
            pid: row.number("pid")?,
            database: row.optional("database")?,
            role: row.optional("role")?,
            application: row.optional("application")?,
            state: row.optional("state")?.as_deref().and_then(SessionState::read),
            client_address: row.optional("client_addr")?,
            began: row.optional("backend_start")?,
        })
    }
}

/// In words: `session 4711 of role "app", application "psql"`.
impl fmt::Display for SessionInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "session {}", self.pid)?;
        if let Some(role) = &self.role {
            write!(f, " of role {role:?}")?;
        }
        match self.application.as_deref() {
            None | Some("") => Ok(()),
            Some(application) => write!(f, ", application {application:?}"),
        }
    }
}

impl Cluster {
    /// The sessions that [`terminate`](Cluster::terminate) would end, or try to, as they are now.
    ///
    /// # Errors
    /// [`Error::Invalid`] if there is no filter at all.
    pub fn sessions(&self, sessions: &Sessions) -> Result<Vec<SessionInfo>> {
        sessions.check()?;
        let sessions = sessions.clone().sparing(self.session().own_processes());
        let question = sql!("SELECT {} {} ORDER BY a.pid", COLUMNS, sessions.which());
        let answers = self.session().run("list sessions", &[fresh_statistics(), question])?;
        answers.iter().skip(1).flatten().map(SessionInfo::read).collect()
    }

    /// Ends sessions, waits until they are gone, and reports what became of each. Never ended are this
    /// session, those to other databases that [`database`](Cluster::database) made from it or that it was made from,
    /// and the server's own processes. What a transaction does later does not bring them back. In a plan it is collected, and the report is empty
    /// ([pg_terminate_backend](https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-ADMIN-SIGNAL)).
    ///
    /// A role that is no superuser needs the rights of the sessions' roles or of `pg_signal_backend`,
    /// and cannot end a superuser's sessions; those that it may not end are reported as refused.
    ///
    /// # Errors
    /// [`Error::Invalid`] if there is no filter at all.
    pub fn terminate(&self, sessions: Sessions) -> Result<TerminateReport> {
        sessions.check()?;
        let sessions = sessions.sparing(self.session().own_processes());
        let statement = sessions.to_terminate();
        statement.check()?;
        if let Some(plan) = self.plan_in_progress()? {
            let mut script = Script::new();
            script.add_alone(statement, Vec::new());
            plan.record(script, move |cluster| cluster.terminate(sessions).map(drop));
            return Ok(TerminateReport::default());
        }
        // None where that is longer than any clock goes.
        let deadline = Instant::now().checked_add(sessions.timeout);
        let answers = self.session().run("terminate sessions", &[fresh_statistics(), statement])?;
        let (mut told, mut refused) = (Vec::new(), Vec::new());
        for row in answers.iter().skip(1).flatten() {
            let session = SessionInfo::read(row)?;
            match row.optional("signalled")? {
                Some(_) => told.push(session),
                None => refused.push(session),
            }
        }
        let remaining = self.wait_for_the_end_of(&told, deadline)?;
        let terminated = told.into_iter().filter(|session| !remaining.contains(session)).collect();
        Ok(TerminateReport { terminated, remaining, refused })
    }

    /// Those that are still there at the deadline, if there is one.
    fn wait_for_the_end_of(&self, told: &[SessionInfo], deadline: Option<Instant>) -> Result<Vec<SessionInfo>> {
        let mut remaining = told.to_vec();
        let mut pause = Duration::from_millis(1);
        loop {
            if remaining.is_empty() {
                return Ok(remaining);
            }
            let pids = Sql::join(remaining.iter().map(|session| sql!("{}", session.pid)), ", ");
            let question = sql!("SELECT {} FROM pg_catalog.pg_stat_activity a WHERE a.pid IN ({})", COLUMNS, pids);
            let answers = self.session().run("wait for sessions to end", &[fresh_statistics(), question])?;
            let there = answers.iter().skip(1).flatten().map(SessionInfo::read).collect::<Result<Vec<_>>>()?;
            // A pid may belong to another session by now: the moment of its beginning tells them apart.
            remaining.retain(|session| there.iter().any(|now| now.pid == session.pid && now.began == session.began));
            let left = deadline.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Ok(remaining);
            }
            thread::sleep(pause.min(left));
            pause = (pause * 2).min(Duration::from_millis(100));
        }
    }
}

/// In a transaction, the sessions are shown as they were when they were first looked at.
pub(crate) fn fresh_statistics() -> Sql {
    sql!("SELECT pg_catalog.pg_stat_clear_snapshot()")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions(sessions: &Sessions) -> String {
        let sql = sessions.which().to_string();
        sql.split_once("AND NOT a.pid IN").map_or(sql.clone(), |(_, rest)| rest.to_owned())
    }

    #[test]
    fn p009_filters_combine_with_and_and_none_is_an_error() {
        assert!(matches!(Sessions::new().check(), Err(Error::Invalid { .. })));
        assert!(Sessions::new().walsenders().check().is_err());
        assert!(Sessions::new().all().check().is_ok());
        assert!(Sessions::new().except_roles(["x"]).check().is_ok());
        let sessions = Sessions::new().databases(["a'b"]).except_roles(["c"]).pids([7]);
        assert!(
            conditions(&sessions).ends_with(
                " AND a.datname IN ('a''b') AND (a.usename IS NULL OR a.usename NOT IN ('c')) AND a.pid IN (7)"
            ),
            "{}",
            conditions(&sessions)
        );
    }

    #[test]
    fn an_empty_list_is_nobody_and_not_everybody() {
        let nobody = Sessions::new().databases(Vec::<String>::new());
        assert!(nobody.check().is_ok());
        assert!(conditions(&nobody).ends_with(" AND false"));
    }

    #[test]
    fn states_are_read_as_they_are_written() {
        for state in SessionState::ALL {
            assert_eq!(SessionState::read(&state.to_string()), Some(state));
        }
        assert_eq!(SessionState::read("asleep"), None);
    }
}
