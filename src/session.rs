//! One connection, shared by everything that uses a cluster: the only way to the server.
use crate::connect::{self, Facts};
use crate::error::{Error, Result};
use crate::fate::{Changes, may_end};
use crate::row::Row;
use crate::sides::{INSIDE, Side, settings};
use crate::sql::Sql;
use crate::transaction::Level;
use postgres::error::SqlState;
use postgres::fallible_iterator::FallibleIterator;
use postgres::types::{ToSql, Type};
use postgres::{Client, Config, SimpleQueryMessage};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, ThreadId};

mod copy;
mod probe;

pub(crate) struct Session {
    /// None for a connection that was handed in, and cannot be made again.
    config: Option<Config>,
    role: Option<String>,
    facts: Facts,
    /// The server process that there is now; the one in `facts` was the first.
    pid: Arc<AtomicI32>,
    /// This one, and those to other databases that were made from it or that it was made from.
    family: Family,
    state: Mutex<State>,
    /// Wakes threads that wait for another one's transaction to end.
    turn: Condvar,
    undone: AtomicU64,
}

/// The sessions of one program to the databases of one cluster, as far as each came from another.
type Family = Arc<Mutex<Vec<Weak<Session>>>>;

pub(crate) struct State {
    /// None when it was lost, lent or given back.
    client: Option<Client>,
    pid: Arc<AtomicI32>,
    side: Side,
    pub(crate) levels: Vec<Level>,
    pub(crate) changes: Changes,
    /// Whether the user began a transaction by a statement of his own; none if he may have since it was asked.
    foreign: Option<bool>,
    /// The thread whose transaction is open.
    owner: Option<ThreadId>,
    gone: Option<Gone>,
}

/// Why there is no client.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Gone {
    Lost,
    Lent,
    GivenBack,
}

impl Session {
    pub(crate) fn connect(config: Config, role: Option<String>) -> Result<Arc<Self>> {
        Self::open(config, role, Family::default())
    }

    /// A session like this one, to another database.
    pub(crate) fn to_database(&self, name: &str) -> Result<Arc<Self>> {
        let config = self.config.as_ref().ok_or_else(|| {
            Error::unsupported("another database over a connection that was handed in", "Cluster::connect")
        })?;
        let mut config = config.clone();
        config.dbname(name);
        Self::open(config, self.role.clone(), self.family.clone())
    }

    fn open(config: Config, role: Option<String>, family: Family) -> Result<Arc<Self>> {
        let (client, facts) = connect::open(&config, role.as_deref())?;
        Ok(Self::new(Some(config), role, client, facts, family))
    }

    /// A session on a connection that somebody else made.
    pub(crate) fn adopt(mut client: Client) -> Result<Arc<Self>> {
        let (facts, _) = connect::inspect(&mut client, "use the connection")?;
        Ok(Self::new(None, None, client, facts, Family::default()))
    }

    fn new(config: Option<Config>, role: Option<String>, client: Client, facts: Facts, family: Family) -> Arc<Self> {
        let pid = Arc::new(AtomicI32::new(facts.pid));
        let state = State {
            client: Some(client),
            pid: pid.clone(),
            side: Side::User,
            levels: Vec::new(),
            changes: Changes::default(),
            foreign: None,
            owner: None,
            gone: None,
        };
        let session = Arc::new(Self {
            config,
            role,
            facts,
            pid,
            family: family.clone(),
            state: Mutex::new(state),
            turn: Condvar::new(),
            undone: AtomicU64::new(0),
        });
        let mut family = family.lock().unwrap_or_else(PoisonError::into_inner);
        family.retain(|member| member.strong_count() > 0);
        family.push(Arc::downgrade(&session));
        session
    }

    /// The server processes of this session and of those to other databases that are related to it,
    /// each with its database. Waits for no other thread's transaction.
    pub(crate) fn own_processes(&self) -> Vec<(i32, String)> {
        let family = self.family.lock().unwrap_or_else(PoisonError::into_inner);
        let living = family.iter().filter_map(Weak::upgrade);
        living.map(|member| (member.pid.load(Ordering::Acquire), member.facts.database.clone())).collect()
    }

    pub(crate) fn facts(&self) -> &Facts {
        &self.facts
    }

    /// How many times something was rolled back or the connection replaced: what was cached before is worth nothing.
    pub(crate) fn undone(&self) -> u64 {
        self.undone.load(Ordering::Acquire)
    }

    pub(crate) fn forget(&self) {
        self.undone.fetch_add(1, Ordering::AcqRel);
    }

    /// The state, when no other thread's transaction is open.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere says nothing about the connection, which answers for itself.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.owner.is_some_and(|owner| owner != thread::current().id()) {
            state = self.turn.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state
    }

    /// The state with a live connection, made anew if the last one was lost.
    pub(crate) fn ready(&self, action: &str) -> Result<MutexGuard<'_, State>> {
        let mut state = self.lock();
        let lost = |reason: &str| Err(Error::Connection { action: action.into(), reason: reason.into() });
        match (state.gone, &self.config) {
            (None, _) => Ok(state),
            (Some(Gone::Lent), _) => Err(Error::invalid(
                format!("attempt to {action}"),
                "the connection is in use by the closure of `with_client`; use the client it was given",
            )),
            (Some(Gone::GivenBack), _) => lost("the connection was given back by `into_client`"),
            (Some(Gone::Lost), _) if !state.levels.is_empty() => {
                lost("the connection was lost inside a transaction, and the transaction with it")
            }
            (Some(Gone::Lost), None) => lost("the connection was lost; it was handed in, and cannot be made anew"),
            (Some(Gone::Lost), Some(config)) => {
                let (client, facts) = connect::open(config, self.role.as_deref())?;
                state.client = Some(client);
                self.pid.store(facts.pid, Ordering::Release);
                (state.side, state.foreign, state.gone) = (Side::User, None, None);
                // Another server perhaps, after a fail-over, or the same one with another database of that name.
                self.forget();
                Ok(state)
            }
        }
    }

    /// Reads rows one at a time: one round trip, whatever their number.
    pub(crate) fn read(&self, action: &str, sql: &Sql, mut each: impl FnMut(Row) -> Result<()>) -> Result<()> {
        sql.check()?;
        let mut state = self.ready(action)?;
        state.switch(Side::Own, action)?;
        log::debug!("{sql}");
        state.call(action, |client| {
            let mut rows = client.query_typed_raw(sql.text(), std::iter::empty::<(i32, Type)>())?;
            while let Some(row) = rows.next()? {
                if let Err(error) = each(row.into()) {
                    return Ok(Err(error));
                }
            }
            Ok(Ok(()))
        })?
    }

    /// Runs one statement of the crate's own with parameters, for what travels better as bytes than as text.
    pub(crate) fn typed(
        &self,
        action: &str,
        sql: &Sql,
        parameters: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<postgres::Row>> {
        sql.check()?;
        let mut state = self.ready(action)?;
        state.switch(Side::Own, action)?;
        log::debug!("{sql}");
        state.call(action, |client| client.query_typed(sql.text(), parameters))
    }

    /// Runs statements of the crate's own, each by itself.
    pub(crate) fn run(&self, action: &str, statements: &[Sql]) -> Result<Vec<Vec<Row>>> {
        let mut state = self.ready(action)?;
        state.switch(Side::Own, action)?;
        state.batch(action, statements)
    }

    /// Runs statements of the user's, under his own settings.
    pub(crate) fn run_for_user(&self, action: &str, statements: &[Sql]) -> Result<()> {
        let mut state = self.ready(action)?;
        state.hand_over(action)?;
        state.batch(action, statements).map(drop)
    }

    /// Runs a statement of the user's, under his own settings; several when there are no parameters.
    pub(crate) fn query(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<postgres::Row>> {
        let action = "execute a statement";
        let mut state = self.ready(action)?;
        state.hand_over(action)?;
        let result = Self::query_in(&mut state, action, sql, parameters);
        if result.is_err() || may_end(sql) {
            self.look_back(&mut state);
        }
        result
    }

    fn query_in(
        state: &mut State,
        action: &str,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<postgres::Row>> {
        if !parameters.is_empty() || !sql.trim_end().trim_end_matches(';').contains(';') {
            return state.call(action, |client| client.query(sql, parameters));
        }
        // Perhaps several statements. The server says so when it is asked to prepare them; a
        // savepoint keeps its refusal from ending a transaction that is open.
        let guarded = match state.is_inside(action) {
            // Nothing is lost in a failed transaction; the statements may be the ones that end it.
            Err(error) if error.code() == Some(&SqlState::IN_FAILED_SQL_TRANSACTION) => false,
            inside => inside?,
        };
        if guarded {
            state.call(action, |client| client.batch_execute("SAVEPOINT pgsteward_probe"))?;
        }
        state.foreign = None;
        let prepared = state.call(action, |client| client.prepare(sql));
        let several = matches!(&prepared, Err(Error::Server { cause, .. })
            if cause.code == SqlState::SYNTAX_ERROR && cause.routine.as_deref() == Some("exec_parse_message"));
        if guarded {
            let end = if prepared.is_err() {
                "ROLLBACK TO pgsteward_probe; RELEASE pgsteward_probe"
            } else {
                "RELEASE pgsteward_probe"
            };
            state.call(action, |client| client.batch_execute(end))?;
        }
        match several {
            true => state.call(action, |client| client.batch_execute(sql)).map(|()| Vec::new()),
            // Another fault of the text is said again, so that it ends the transaction as it does in psql.
            false => state.call(action, |client| client.query(sql, &[])),
        }
    }

    /// Runs a statement of the user's in a read-only transaction, which is undone.
    pub(crate) fn query_read_only(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<postgres::Row>> {
        let action = "execute a statement";
        let mut state = self.ready(action)?;
        state.hand_over(action)?;
        let (begin, end) = match state.is_inside(action)? {
            true => (
                "SAVEPOINT pgsteward_look; SET TRANSACTION READ ONLY",
                "ROLLBACK TO pgsteward_look; RELEASE pgsteward_look",
            ),
            false => ("BEGIN READ ONLY", "ROLLBACK"),
        };
        state.call(action, |client| client.batch_execute(begin))?;
        let result = state.call(action, |client| client.query(sql, parameters));
        state.call(action, |client| client.batch_execute(end))?;
        result
    }

    /// Asks which of the changes in a transaction that is, or was, open are still there, if there were any: a
    /// statement of the user's may have undone them.
    pub(crate) fn look_back(&self, state: &mut State) {
        if state.changes.is_empty() {
            return;
        }
        let answer = state.batch("look for what was undone", &[Changes::question()]);
        match answer.and_then(|answer| state.changes.settle(&answer)) {
            Ok(false) => {}
            Ok(true) => self.forget(),
            // In a failed transaction there is no answer before the statement that ends it.
            Err(error) => log::debug!("{error}"),
        }
    }

    /// Lends the connection to a closure.
    pub(crate) fn lend<R>(&self, f: impl FnOnce(&mut Client) -> R) -> Result<R> {
        let action = "use the connection";
        let mut state = self.ready(action)?;
        state.hand_over(action)?;
        let owner = state.owner.replace(thread::current().id());
        let client = state.take(Gone::Lent);
        drop(state);
        let mut lent = Lent { session: self, client, owner };
        match lent.client.as_mut() {
            Some(client) => Ok(f(client)),
            None => Err(Error::Connection { action: action.into(), reason: "it was lost".into() }),
        }
    }

    /// Gives the connection back to whoever handed it in, with its own settings.
    pub(crate) fn give_back(&self) -> Result<Client> {
        let action = "give the connection back";
        let mut state = self.ready(action)?;
        state.hand_over(action)?;
        let lost = || Error::Connection { action: action.into(), reason: "it was lost".into() };
        state.take(Gone::GivenBack).ok_or_else(lost)
    }

    /// Says that this thread's transaction is open, or that none is.
    pub(crate) fn owned(&self, state: &mut State) {
        state.owner = (!state.levels.is_empty()).then(|| thread::current().id());
        self.turn.notify_all();
    }
}

/// The connection while it is lent; it comes back also when the closure panics.
struct Lent<'a> {
    session: &'a Session,
    client: Option<Client>,
    owner: Option<ThreadId>,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut state = self.session.lock();
        let alive = self.client.as_ref().is_some_and(|client| !client.is_closed());
        (state.client, state.gone) = (self.client.take(), (!alive).then_some(Gone::Lost));
        state.owner = self.owner;
        self.session.turn.notify_all();
    }
}

impl State {
    fn take(&mut self, gone: Gone) -> Option<Client> {
        if gone != Gone::Lent {
            self.changes.lose();
        }
        self.gone = Some(gone);
        self.client.take()
    }

    /// Calls the driver; a connection that is lost is let go.
    fn call<R>(&mut self, action: &str, f: impl FnOnce(&mut Client) -> Result<R, postgres::Error>) -> Result<R> {
        let Some(client) = self.client.as_mut() else {
            return Err(Error::Connection { action: action.into(), reason: "the connection was lost".into() });
        };
        let result = f(client).map_err(|error| Error::driver(action, &error));
        let closed = client.is_closed();
        if closed || matches!(result, Err(Error::Connection { .. })) {
            self.take(Gone::Lost);
        }
        result
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.gone == Some(Gone::Lost)
    }

    pub(crate) fn side(&self) -> Side {
        self.side
    }

    /// What the settings are after a transaction ended: those from before it.
    pub(crate) fn fall_back_to(&mut self, side: Side) {
        self.side = side;
    }

    /// Sets the connection for the statements of one side or the other; no round trip when it is
    /// set so already. Inside a transaction the settings are local to it, so that its end brings
    /// back what the user had set.
    pub(crate) fn switch(&mut self, side: Side, action: &str) -> Result<()> {
        if self.side == Side::Unknown {
            let question = sql!("SELECT pg_catalog.current_setting('pgsteward.side', true) AS side");
            let answer = self.batch(action, &[question])?;
            let own = answer.iter().flatten().next().map(|row| row.optional("side")).transpose()?.flatten();
            self.side = if own.as_deref() == Some("own") { Side::Own } else { Side::User };
        }
        if self.side == side {
            return Ok(());
        }
        let answer = match self.batch(action, &[settings(side, self.pid.load(Ordering::Acquire))]) {
            // Nothing but the user's own ROLLBACK can be said in a failed transaction, and it brings
            // back the settings from before.
            Err(error) if side == Side::User && error.code() == Some(&SqlState::IN_FAILED_SQL_TRANSACTION) => {
                self.side = Side::Unknown;
                return Ok(());
            }
            answer => answer?,
        };
        // No row: this is another server process than the one that was connected to.
        let Some(row) = answer.iter().flatten().next() else {
            self.take(Gone::Lost);
            return Err(connect::pooled());
        };
        let inside = row.truth("inside")?;
        if self.levels.iter().any(|level| level.opened) && !inside {
            return Err(ended_early(action));
        }
        self.foreign = Some(self.levels.is_empty() && inside);
        self.side = side;
        Ok(())
    }

    /// Whether a transaction is open: one of this crate's, or one that the user began by a statement.
    pub(crate) fn is_inside(&mut self, action: &str) -> Result<bool> {
        if let (true, None) = (self.levels.is_empty(), self.foreign) {
            let answer = self.batch(action, &[sql!("SELECT {} AS inside", INSIDE)])?;
            let inside = answer.iter().flatten().next().map(|row| row.truth("inside")).transpose()?;
            self.foreign = Some(inside == Some(true));
        }
        Ok(!self.levels.is_empty() || self.foreign == Some(true))
    }

    /// Statements of the user's are about to run, which may begin or end a transaction.
    fn hand_over(&mut self, action: &str) -> Result<()> {
        self.switch(Side::User, action)?;
        self.foreign = None;
        Ok(())
    }

    /// Sends statements, as few round trips as can be, and returns the rows of each. All are
    /// checked before the first is sent.
    pub(crate) fn batch(&mut self, action: &str, statements: &[Sql]) -> Result<Vec<Vec<Row>>> {
        statements.iter().try_for_each(Sql::check)?;
        let mut answers = Vec::new();
        // The driver logs the text of a batch, but not that of a single typed statement.
        for group in statements.chunk_by(|a, b| !a.is_secret() && !b.is_secret()) {
            group.iter().for_each(|sql| log::debug!("{sql}"));
            match group {
                [secret] if secret.is_secret() => {
                    self.call(action, |client| client.execute_typed(secret.text(), &[]))?;
                    answers.push(Vec::new());
                }
                plain => {
                    let text: String = plain.iter().flat_map(|sql| [sql.text(), sql.end(), "\n"]).collect();
                    answers.extend(by_statement(self.call(action, |client| client.simple_query(&text))?));
                }
            }
        }
        Ok(answers)
    }
}

/// The error for a closure that ended the transaction around it by a statement of its own.
pub(crate) fn ended_early(action: &str) -> Error {
    Error::invalid(
        format!("COMMIT or ROLLBACK inside an attempt to {action}"),
        "it ended the transaction early, and what came after it was made by itself",
    )
}

/// The rows of each statement of a batch.
fn by_statement(messages: Vec<SimpleQueryMessage>) -> Vec<Vec<Row>> {
    let mut answers = Vec::new();
    let mut rows = Vec::new();
    for message in messages {
        match message {
            SimpleQueryMessage::Row(row) => rows.push(row.into()),
            SimpleQueryMessage::CommandComplete(_) => answers.push(std::mem::take(&mut rows)),
            _ => {}
        }
    }
    answers
}
