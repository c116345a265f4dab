//! The front door: a connection to one database of a cluster.
use crate::collection::{Items, System};
use crate::connect::{ConnectOptions, ConnectionParameters};
use crate::error::{Error, Result};
use crate::kind::Kind;
use crate::plan::{self, Effect, Plan, Recorder};
use crate::script::Script;
use crate::seen::Seen;
use crate::session::Session;
use crate::sql::Sql;
use crate::statements;
use crate::version::ServerVersion;
use postgres::Client;
use postgres::error::SqlState;
use postgres::types::ToSql;
use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

/// A connection to one database of a PostgreSQL cluster, and what was read through it.
///
/// Clones share the connection; it can be sent to other threads, and each call of one thread
/// waits for the transaction of another to end. The calls block: in an async program, use the
/// cluster within `tokio::task::spawn_blocking`, because the driver panics inside a runtime.
#[derive(Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

struct Inner {
    session: Arc<Session>,
    kept: Mutex<HashMap<(TypeId, System), Box<dyn Any + Send>>>,
    /// Where writes go instead of to the server, in a plan.
    plan: Option<Scope>,
    /// The threads that are making a plan on this connection, each once for each of its plans.
    planning: Arc<Mutex<Vec<ThreadId>>>,
    databases: Mutex<HashMap<String, Cluster>>,
}

/// A plan in the making, and the cluster that it is for.
struct Scope {
    recorder: Recorder,
    root: Cluster,
}

/// What is kept of a kind, and how many times something had been undone when it was read.
struct Kept<T: Kind> {
    items: Items<T>,
    undone: u64,
}

impl Cluster {
    /// Connects with connection parameters as libpq reads them: a conninfo string (`host=db user=postgres`,
    /// `service=prod`) or a URL (`postgresql://postgres@db`). What is not given comes, as with psql, from the service file, the
    /// environment and the password file: see [`ConnectionParameters`]. Of several hosts the first counts that answers and
    /// is what `target_session_attrs` asks for. `connect_timeout` (30 seconds where it is not given, or not above 0) is how
    /// long the attempt at each address may take as a whole; looking up a name may take as long.
    ///
    /// # Errors
    /// Those of [`ConnectionParameters::parse`] and [`connect_with`](Cluster::connect_with).
    pub fn connect(parameters: &str) -> Result<Self> {
        Self::connect_with(ConnectionParameters::parse(parameters)?, ConnectOptions::new())
    }

    /// Connects with parameters that were read before, or a driver's configuration
    /// ([`postgres::Config`]), and with options.
    ///
    /// # Errors
    /// [`Error::Invalid`] for parameters and options that cannot be used, [`Error::Connection`] if there is no connection
    /// within the time, [`Error::Server`] for a refused password or an unknown database, [`Error::Unsupported`] for a
    /// server older than PostgreSQL 12, one that is not PostgreSQL, and a pooler in transaction mode.
    pub fn connect_with(parameters: impl Into<ConnectionParameters>, options: ConnectOptions) -> Result<Self> {
        Ok(Self::new(Session::connect(parameters.into(), options)?))
    }

    /// Uses a connection that exists already, also one that is inside a transaction that has not failed: changes are
    /// then savepoints in it. Its settings and its role stay as they are;
    /// [`into_client`](Cluster::into_client) gives it back. It cannot be made anew when it is lost.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a server older than PostgreSQL 12, or one that is not PostgreSQL.
    pub fn from_client(client: Client) -> Result<Self> {
        Ok(Self::new(Session::adopt(client)?))
    }

    /// Gives the connection back with the settings that it came with, and some named `pgsteward.*`. Other handles on this cluster can use it no more;
    /// objects that were saved in a transaction that is still open take that for undone.
    ///
    /// # Errors
    /// [`Error::Connection`] if it was lost.
    pub fn into_client(self) -> Result<Client> {
        self.session().give_back()
    }

    pub(crate) fn new(session: Arc<Session>) -> Self {
        Self::with_plan(session, None, Arc::default())
    }

    fn with_plan(session: Arc<Session>, plan: Option<Scope>, planning: Arc<Mutex<Vec<ThreadId>>>) -> Self {
        let inner = Inner { session, kept: Mutex::default(), plan, planning, databases: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    /// The server's version.
    pub fn version(&self) -> &ServerVersion {
        &self.session().facts().version
    }

    /// The name of the database that this is connected to.
    pub fn current_database(&self) -> &str {
        &self.session().facts().database
    }

    /// A cluster connected to another database, with the same parameters and role. It is opened
    /// when it is first asked for, and kept.
    ///
    /// # Errors
    /// As for [`connect`](Cluster::connect); [`Error::Unsupported`] on a connection that was handed in.
    pub fn database(&self, name: &str) -> Result<Cluster> {
        if name == self.current_database() {
            return Ok(self.clone());
        }
        if let Some(scope) = &self.inner.plan {
            let there = scope.root.database(name)?;
            let inside = Scope { recorder: scope.recorder.elsewhere(name), root: there.clone() };
            return Ok(Self::with_plan(there.inner.session.clone(), Some(inside), there.inner.planning.clone()));
        }
        if let Some(known) = lock(&self.inner.databases).get(name) {
            return Ok(known.clone());
        }
        let session = self.session().to_database(name)?;
        let there = Self::with_plan(session, None, self.inner.planning.clone());
        lock(&self.inner.databases).insert(name.to_owned(), there.clone());
        Ok(there)
    }

    /// A cluster on another connection like this one.
    pub(crate) fn beside(&self) -> Result<Cluster> {
        self.beside_in(self.current_database())
    }

    /// A cluster on a connection of its own to a database, which is not kept. In a plan, of the same plan.
    pub(crate) fn beside_in(&self, database: &str) -> Result<Cluster> {
        let there = Self::with_plan(self.session().beside(database)?, None, self.inner.planning.clone());
        let Some(scope) = &self.inner.plan else { return Ok(there) };
        let inside = Scope { recorder: scope.recorder.elsewhere(database), root: there.clone() };
        Ok(Self::with_plan(there.inner.session.clone(), Some(inside), self.inner.planning.clone()))
    }

    pub(crate) fn is_connected_to(&self, database: &str) -> bool {
        lock(&self.inner.databases).contains_key(database)
    }

    pub(crate) fn disconnect_from(&self, database: &str) {
        lock(&self.inner.databases).remove(database);
    }

    /// Lets go of the connections to other databases: they stand in the way of what changes one of them.
    pub(crate) fn disconnect_others(&self) {
        lock(&self.inner.databases).clear();
    }

    /// Forgets everything that was read: every collection is read anew when it is next used. Sends nothing.
    pub fn refresh(&self) {
        let _turn = self.session().turn();
        lock(&self.inner.kept).clear();
    }

    /// Runs a statement with parameters `$1`, `$2`, ... and returns its rows; without parameters
    /// also several statements, which return none. It runs under the connection's own settings, as
    /// in psql. What collections keep is not looked at again: see [`refresh`](Cluster::refresh).
    ///
    /// In a plan, what a read-only transaction allows is run, and undone; what it refuses is
    /// collected, and so is what sets or resets settings. Statements that begin or end a transaction are refused
    /// there. What no transaction undoes (`pg_terminate_backend`, a slot made by a function)
    /// happens at once: use the methods of this crate for it, which are collected.
    ///
    /// # Errors
    /// [`Error::Server`], [`Error::Denied`]; [`Error::Invalid`] for parameters of the wrong type
    /// or number, and for `COPY ... FROM STDIN`, for which there are no data here.
    pub fn execute(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<postgres::Row>> {
        check_needs_no_data(sql)?;
        let Some(plan) = self.plan_in_progress()? else { return self.session().query(sql, parameters) };
        let mut script = Script::new();
        match plan::effect_of(sql) {
            Effect::Transaction => return Err(plan::not_in_a_plan("a statement that begins or ends a transaction")),
            Effect::Setting => script.push(Sql::trusted(sql)),
            Effect::Other => {
                let result = self.session().query_read_only(sql, parameters);
                match result.as_ref().err().and_then(Error::code) {
                    Some(code) if *code == SqlState::READ_ONLY_SQL_TRANSACTION => script.push(Sql::trusted(sql)),
                    Some(code) if *code == SqlState::ACTIVE_SQL_TRANSACTION => {
                        script.add_alone(Sql::trusted(sql), Vec::new());
                    }
                    _ => return result,
                }
            }
        }
        if !parameters.is_empty() {
            return Err(plan::not_in_a_plan("a writing statement with parameters"));
        }
        plan.record(script.clone(), move |cluster| cluster.run(&script));
        Ok(Vec::new())
    }

    /// Runs a script, all or nothing, under the connection's own settings. Statements that refuse
    /// to run in a transaction run one by one.
    ///
    /// # Errors
    /// [`Error::Invalid`] and [`Error::Unsupported`] before anything is sent.
    pub fn run(&self, script: &Script) -> Result<()> {
        script.check()?;
        script.statements().try_for_each(|sql| check_needs_no_data(sql.text()))?;
        if let Some(plan) = self.plan_in_progress()? {
            let step = script.clone();
            plan.record(script.clone(), move |cluster| cluster.run(&step));
            return Ok(());
        }
        let (action, session) = ("run a script", self.session());
        let statements: Vec<Sql> = script.statements().cloned().collect();
        if script.parts().iter().any(|statement| statement.alone) {
            return statements.iter().try_for_each(|sql| session.run_for_user(action, std::slice::from_ref(sql)));
        }
        session.transaction(action, || session.run_for_user(action, &statements))
    }

    /// Runs a closure with the driver's client, in a transaction: kept if it returns `Ok`, undone if not.
    /// Inside, use savepoints: the client's own `transaction()` sends BEGIN and COMMIT, which end this one. `RESET ALL`
    /// there takes away what the transaction is known by, and is an error for that.
    ///
    /// # Errors
    /// Those of the closure, and of the transaction.
    pub fn with_client<R, E: Into<Error>>(&self, f: impl FnOnce(&mut Client) -> Result<R, E>) -> Result<R> {
        if self.plan_in_progress()?.is_some() {
            return Err(plan::not_in_a_plan("the driver's client"));
        }
        self.transaction(|| self.session().lend(f)?.map_err(Into::into))
    }

    /// Runs a closure in a transaction: kept if it returns `Ok`, undone if it returns an error or
    /// panics. Transactions nest, as savepoints. Objects that were saved in a transaction that is
    /// undone know that they are not.
    ///
    /// # Errors
    /// Those of the closure, and of the transaction.
    pub fn transaction<R>(&self, f: impl FnOnce() -> Result<R>) -> Result<R> {
        self.session().transaction("run a transaction", f)
    }

    /// Collects what a closure would change, and changes nothing: reads run, every write made
    /// through the cluster it is given (and through objects from it) is kept in the plan. Writes on
    /// the same thread through other handles are refused meanwhile.
    ///
    /// ```no_run
    /// # fn main() -> pgsteward::Result<()> {
    /// # let cluster = pgsteward::Cluster::connect("")?;
    /// let plan = cluster.plan(|c| c.roles().get("old_app")?.drop())?;
    /// print!("{plan}"); // DROP ROLE "old_app";
    /// plan.apply()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of the closure.
    pub fn plan<R>(&self, f: impl FnOnce(&Cluster) -> Result<R>) -> Result<Plan> {
        let scope = Scope { recorder: Recorder::default(), root: self.clone() };
        let scope = Self::with_plan(self.inner.session.clone(), Some(scope), self.inner.planning.clone());
        lock(&self.inner.planning).push(thread::current().id());
        let _end = EndOfPlan { planning: &self.inner.planning };
        f(&scope)?;
        match &scope.inner.plan {
            Some(scope) => Ok(scope.recorder.finish(self)),
            None => Err(plan::not_in_a_plan("a plan")),
        }
    }

    /// Where a write goes: into the plan if this is a plan's cluster, to the server if not.
    pub(crate) fn plan_in_progress(&self) -> Result<Option<&Recorder>> {
        if self.inner.plan.is_none() && lock(&self.inner.planning).contains(&thread::current().id()) {
            return Err(Error::invalid(
                "change made while a plan is collected",
                "it would reach the server; use the cluster that the plan's closure is given, and objects from it",
            ));
        }
        Ok(self.inner.plan.as_ref().map(|scope| &scope.recorder))
    }

    pub(crate) fn is_plan(&self) -> bool {
        self.inner.plan.is_some()
    }

    pub(crate) fn session(&self) -> &Session {
        &self.inner.session
    }

    /// Reads one object.
    pub(crate) fn fetch<T: Kind>(&self, action: &str, query: &Sql) -> Result<Option<Seen<T>>> {
        Ok(self.fetch_all(action, query)?.pop())
    }

    /// Reads the objects that a query finds: more than one where a key is loose.
    pub(crate) fn fetch_all<T: Kind>(&self, action: &str, query: &Sql) -> Result<Vec<Seen<T>>> {
        let mut found = Vec::new();
        let within = self.session().read(action, query, |row| {
            found.push(T::read(&row)?);
            Ok(())
        })?;
        Ok(found.into_iter().map(|value| Seen::new(value, within.clone())).collect())
    }

    /// What is kept of a kind, unless something was undone since it was read. What another thread does
    /// in a transaction that is open does not show.
    pub(crate) fn kept<T: Kind, R>(&self, system: System, f: impl FnOnce(Option<&mut Items<T>>) -> R) -> R {
        let _turn = self.session().lock();
        let undone = self.session().undone();
        let mut kept = lock(&self.inner.kept);
        let kept = kept.get_mut(&(TypeId::of::<T>(), system)).and_then(|kept| kept.downcast_mut::<Kept<T>>());
        f(kept.filter(|kept| self.inner.plan.is_some() || kept.undone == undone).map(|kept| &mut kept.items))
    }

    /// Keeps what was read in this turn.
    pub(crate) fn keep<T: Kind>(&self, system: System, items: Items<T>) {
        let undone = self.session().undone();
        lock(&self.inner.kept).insert((TypeId::of::<T>(), system), Box::new(Kept { items, undone }));
    }

    /// Forgets what is kept of a kind.
    pub(crate) fn forget_kind<T: Kind>(&self) {
        let _turn = self.session().turn();
        lock(&self.inner.kept).retain(|(kind, _), _| *kind != TypeId::of::<T>());
    }

    /// Forgets what may have gone with an object that was dropped. Not in a plan, where nothing has gone.
    pub(crate) fn forget_what_went_along(&self) {
        if self.inner.plan.is_none() {
            self.refresh();
        }
    }

    /// Takes over what became of an object, in the turn in which that was seen: what was under `before` is now `after`.
    pub(crate) fn saw<T: Kind>(&self, before: Option<&T::Key>, after: &Seen<T>) {
        for system in [System::LeftOut, System::Included] {
            self.kept::<T, ()>(system, |items| {
                let Some(items) = items else { return };
                // One of the system's own objects does not enter a collection without them.
                if before.is_none_or(|before| take_out::<T>(items, before)) {
                    items.insert((after.value.key(), after.value.oid()), after.clone());
                }
            });
        }
        if before.is_some_and(|before| after.value.key() != *before) || T::DRAGS_OTHERS {
            self.forget_other_kinds::<T>();
        }
    }

    /// Takes over that an object is gone.
    pub(crate) fn gone<T: Kind>(&self, key: &T::Key) {
        for system in [System::LeftOut, System::Included] {
            self.kept::<T, ()>(system, |items| {
                if let Some(items) = items {
                    take_out::<T>(items, key);
                }
            });
        }
        self.forget_other_kinds::<T>();
    }

    /// What other kinds say of an object that was renamed or dropped (an owner, a schema) is read anew. Not in a
    /// plan: the server has not moved it, and what is kept is all there is of the changes.
    fn forget_other_kinds<T: Kind>(&self) {
        if self.inner.plan.is_none() {
            lock(&self.inner.kept).retain(|(kind, _), _| *kind == TypeId::of::<T>());
        }
    }
}

/// Takes what is kept under a key out; returns whether there was something.
fn take_out<T: Kind>(items: &mut Items<T>, key: &T::Key) -> bool {
    let range = (key.clone(), 0)..=(key.clone(), u32::MAX);
    let gone: Vec<_> = items.range(range).map(|(key, _)| key.clone()).collect();
    gone.iter().for_each(|key| drop(items.remove(key)));
    !gone.is_empty()
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("database", &self.current_database())
            .field("version", self.version())
            .finish_non_exhaustive()
    }
}

/// Ends the scope of a plan, also when its closure panics.
struct EndOfPlan<'a> {
    planning: &'a Mutex<Vec<ThreadId>>,
}

impl Drop for EndOfPlan<'_> {
    fn drop(&mut self) {
        let mut planning = lock(self.planning);
        if let Some(position) = planning.iter().position(|thread| *thread == thread::current().id()) {
            planning.remove(position);
        }
    }
}

/// A lock whose holder panicked is as good as any: each change under it is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Refuses what waits for data: servers before PostgreSQL 14 would take what comes next, a ROLLBACK too, for those, and
/// answer nothing.
fn check_needs_no_data(sql: &str) -> Result<()> {
    match statements::waits_for_data(sql) {
        false => Ok(()),
        true => Err(Error::invalid(
            "statement",
            "COPY ... FROM STDIN takes data: copy_in of the client in `with_client` sends them, `load_files` reads them from a file",
        )),
    }
}
