//! One connection, shared by everything that uses a cluster: the only way to the server.
use crate::connect::{self, ConnectOptions, ConnectionParameters, Facts, Opened, Reached};
use crate::counter::Counter;
use crate::error::{Error, Result};
use crate::fate::{Mention, Moments, Within};
use crate::row::Row;
use crate::sides::Side;
use crate::sql::Sql;
use crate::state::{Gone, State, failed};
use postgres::error::SqlState;
use postgres::fallible_iterator::FallibleIterator;
use postgres::types::{ToSql, Type};
use postgres::{CancelToken, Client};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::{self, ThreadId};

mod copy;
pub(crate) mod load;
#[cfg(feature = "pool")]
mod pooled;
mod probe;
pub(crate) mod process;
#[cfg(feature = "monitor")]
mod single;

/// The sessions of one program to the databases of one cluster, as far as each came from another.
#[derive(Default)]
pub(crate) struct Family {
    members: Mutex<Vec<Weak<Session>>>,
    /// How often somebody has cancelled what they do.
    cancelled: AtomicU64,
}

impl Family {
    pub(crate) fn living(&self) -> Vec<Arc<Session>> {
        let members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        members.iter().filter_map(Weak::upgrade).collect()
    }

    fn add(&self, session: &Arc<Session>) {
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        members.retain(|member| member.strong_count() > 0);
        members.push(Arc::downgrade(session));
    }

    pub(crate) fn count_cancel(&self) {
        self.cancelled.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn cancelled(&self) -> u64 {
        self.cancelled.load(Ordering::Acquire)
    }
}

/// What a connection was made with, and another can be.
#[derive(Clone)]
pub(crate) struct Origin {
    pub(crate) parameters: ConnectionParameters,
    pub(crate) options: ConnectOptions,
    renewal: Renewal,
}

/// What becomes of a connection that was lost.
#[derive(Clone, Copy)]
#[allow(dead_code, reason = "the features decide who makes the last two")]
enum Renewal {
    /// Another is made in its place.
    Anew,
    /// It belongs to a pool, which replaces it.
    Pool,
    /// None is made: more than itself was lost with it.
    Never,
}

/// What another thread needs of a connection.
#[derive(Clone)]
struct Current {
    /// What cancels a statement.
    cancel: CancelToken,
    /// None for a connection that was handed in.
    reached: Option<Reached>,
}

pub(crate) struct Session {
    /// None for a connection that was handed in, and cannot be made again.
    origin: Option<Origin>,
    facts: Facts,
    /// The server process that there is now; the one in `facts` was the first.
    pid: Arc<AtomicI32>,
    /// This one, and those to other databases that were made from it or that it was made from.
    family: Arc<Family>,
    /// The connection that there is now.
    current: Mutex<Current>,
    state: Mutex<State>,
    /// Wakes threads that wait for another one's transaction to end.
    free: Condvar,
    undone: Arc<AtomicU64>,
    /// What counts the statements of the user's, if they are counted.
    counter: OnceLock<Counter>,
}

impl Origin {
    fn to_database(&self, name: &str) -> Self {
        Self { parameters: self.parameters.to_database(name), options: self.options.clone(), renewal: Renewal::Anew }
    }
}

impl Session {
    pub(crate) fn connect(parameters: ConnectionParameters, options: ConnectOptions) -> Result<Arc<Self>> {
        Self::open(Origin { parameters, options, renewal: Renewal::Anew }, Arc::default())
    }

    /// A session like this one, to another database.
    pub(crate) fn to_database(&self, name: &str) -> Result<Arc<Self>> {
        let origin = self.origin.as_ref().ok_or_else(|| {
            Error::unsupported("another database over a connection that was handed in", "Cluster::connect")
        })?;
        self.open_beside(origin.to_database(name))
    }

    fn open(origin: Origin, family: Arc<Family>) -> Result<Arc<Self>> {
        let Opened { client, facts, reached } = connect::open(&origin.parameters, &origin.options)?;
        Ok(Self::new(Some(origin), Some(reached), client, facts, family))
    }

    /// A session with the server that this one is connected to, and no other of the list; when it is lost it goes
    /// through the list again.
    fn open_beside(&self, origin: Origin) -> Result<Arc<Self>> {
        let Opened { client, facts, reached } = connect::open(&self.here(&origin.parameters), &origin.options)?;
        Ok(Self::new(Some(origin), Some(reached), client, facts, self.family.clone()))
    }

    /// Parameters for the server that there is now.
    fn here(&self, parameters: &ConnectionParameters) -> ConnectionParameters {
        self.current().reached.map_or_else(|| parameters.clone(), |reached| parameters.only(&reached))
    }

    /// A session on a connection that somebody else made.
    pub(crate) fn adopt(mut client: Client) -> Result<Arc<Self>> {
        let (facts, _) = connect::inspect(&mut client, "use the connection")?;
        Ok(Self::new(None, None, client, facts, Arc::default()))
    }

    fn new(
        origin: Option<Origin>,
        reached: Option<Reached>,
        client: Client,
        facts: Facts,
        family: Arc<Family>,
    ) -> Arc<Self> {
        let (pid, undone) = (Arc::new(AtomicI32::new(facts.pid)), Arc::new(AtomicU64::new(0)));
        let current = Mutex::new(Current { cancel: client.cancel_token(), reached });
        let state = State {
            client: Some(client),
            pid: pid.clone(),
            side: Side::User,
            levels: Vec::new(),
            moments: Moments::new(),
            foreign: None,
            owner: None,
            turns: 0,
            gone: None,
            undone: undone.clone(),
        };
        let session = Arc::new(Self {
            origin,
            facts,
            pid,
            family: family.clone(),
            current,
            state: Mutex::new(state),
            free: Condvar::new(),
            undone,
            counter: OnceLock::new(),
        });
        family.add(&session);
        session
    }

    /// The server processes of this session and of those to other databases that are related to it,
    /// each with its database. Waits for no other thread's transaction.
    pub(crate) fn own_processes(&self) -> Vec<(i32, String)> {
        let living = self.family.living().into_iter();
        living.map(|member| (member.pid.load(Ordering::Acquire), member.facts.database.clone())).collect()
    }

    pub(crate) fn family(&self) -> Arc<Family> {
        self.family.clone()
    }

    /// Asks the server to cancel what the connection that there is now is doing.
    pub(crate) fn cancel(&self) -> Result<()> {
        let Current { cancel, reached } = self.current();
        connect::cancel(cancel, reached)
    }

    fn current(&self) -> Current {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The server process that there is now.
    pub(crate) fn process(&self) -> i32 {
        self.pid.load(Ordering::Acquire)
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
            state = self.free.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state
    }

    /// The state with a live connection, made anew if the last one was lost.
    pub(crate) fn ready(&self, action: &str) -> Result<MutexGuard<'_, State>> {
        let mut state = self.lock();
        let lost = |reason: &str| Err(Error::Connection { action: action.into(), reason: reason.into() });
        match (state.gone, &self.origin) {
            (None, _) => Ok(state),
            (Some(Gone::Lent), _) => Err(Error::invalid(
                format!("attempt to {action}"),
                "the connection is in use by the closure of `with_client`; use the client it was given",
            )),
            (Some(Gone::GivenBack), Some(Origin { renewal: Renewal::Pool, .. })) => {
                lost("the connection has gone back to its pool")
            }
            (Some(Gone::GivenBack), _) => lost("the connection was given back by `into_client`"),
            (Some(Gone::Lost), _) if !state.levels.is_empty() => {
                lost("the connection was lost inside a transaction, and the transaction with it")
            }
            (Some(Gone::Lost), Some(Origin { renewal: Renewal::Pool, .. })) => {
                lost("the connection was lost; take another one from the pool")
            }
            (Some(Gone::Lost), Some(Origin { renewal: Renewal::Never, .. })) => {
                lost("the connection was lost, and with it what it had locked")
            }
            (Some(Gone::Lost), None) => lost("the connection was lost; it was handed in, and cannot be made anew"),
            (Some(Gone::Lost), Some(Origin { parameters, options, .. })) => {
                let Opened { client, facts, reached } = connect::open(parameters, options)?;
                let current = Current { cancel: client.cancel_token(), reached: Some(reached) };
                *self.current.lock().unwrap_or_else(PoisonError::into_inner) = current;
                state.client = Some(client);
                self.pid.store(facts.pid, Ordering::Release);
                (state.side, state.foreign, state.gone) = (Side::User, None, None);
                // Another server perhaps, after a fail-over, or the same one with another database of that name.
                self.forget();
                Ok(state)
            }
        }
    }

    /// Reads rows one at a time: one round trip, whatever their number. Returns in which transaction.
    pub(crate) fn read(&self, action: &str, sql: &Sql, mut each: impl FnMut(Row) -> Result<()>) -> Result<Within> {
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
        })??;
        Ok(state.within())
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
        self.look(action, statements).map(|(answers, _)| answers)
    }

    /// As [`run`](Session::run); returns in which transaction, too.
    pub(crate) fn look(&self, action: &str, statements: &[Sql]) -> Result<(Vec<Vec<Row>>, Within)> {
        let mut state = self.ready(action)?;
        state.switch(Side::Own, action)?;
        let answers = state.batch(action, statements)?;
        Ok((answers, state.within()))
    }

    /// Runs statements of the user's, under his own settings.
    pub(crate) fn run_for_user(&self, action: &str, statements: &[Sql]) -> Result<()> {
        let mut state = self.ready(action)?;
        state.hand_over(action)?;
        let mut run = || state.batch(action, statements);
        match self.counter.get() {
            // As they may be seen: without secrets.
            Some(counter) => counter.run(&Sql::join(statements.iter().cloned(), "; ").to_string(), run),
            None => run(),
        }?;
        statements.iter().for_each(|sql| self.look_back(&mut state, sql.text()));
        Ok(())
    }

    /// Runs a statement of the user's, under his own settings; several when there are no parameters.
    pub(crate) fn query(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<postgres::Row>> {
        let action = "execute a statement";
        let mut state = self.ready(action)?;
        state.hand_over(action)?;
        let mut run = || Self::query_in(&mut state, action, sql, parameters);
        let result = match self.counter.get() {
            Some(counter) => counter.run(sql, run),
            None => run(),
        };
        self.look_back(&mut state, sql);
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
            Err(error) if failed(&error) => false,
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

    /// After a statement of the user's that may have undone something: learns what.
    fn look_back(&self, state: &mut State, sql: &str) {
        if state.moments.is_empty() && state.levels.is_empty() {
            return;
        }
        match Mention::of(sql) {
            Mention::Reset => state.set_names_again(),
            Mention::End | Mention::Prepare if state.moments.is_empty() => {}
            Mention::Nothing => {}
            mention => self.settle(state, mention),
        }
    }

    /// Learns from the server what was undone.
    pub(crate) fn settle(&self, state: &mut State, mention: Mention) {
        match state.settle(mention) {
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

    /// Says that this thread's transaction is open, or its turn not over, or neither.
    pub(crate) fn owned(&self, state: &mut State) {
        state.owner = (!state.levels.is_empty() || state.turns > 0).then(|| thread::current().id());
        self.free.notify_all();
    }

    /// Has other threads wait until what this one does, and what it then takes over of it, is whole.
    pub(crate) fn turn(&self) -> Turn<'_> {
        let mut state = self.lock();
        state.turns += 1;
        self.owned(&mut state);
        Turn { session: self }
    }
}

/// Other threads wait until it is dropped.
pub(crate) struct Turn<'a> {
    session: &'a Session,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.session.lock();
        state.turns = state.turns.saturating_sub(1);
        self.session.owned(&mut state);
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
        match self.client.take().filter(|client| !client.is_closed()) {
            // Meanwhile the pool that it belongs to has counted it as gone.
            client if state.gone == Some(Gone::GivenBack) => drop(client),
            None => drop(state.take(Gone::Lost)),
            client => (state.client, state.gone) = (client, None),
        }
        state.owner = self.owner;
        self.session.free.notify_all();
    }
}
