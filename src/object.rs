//! An object on the server.
use crate::change::again;
use crate::cluster::Cluster;
use crate::collection::Collection;
use crate::error::{Error, Result};
use crate::fate::Within;
use crate::kind::{Defined, Definition, DropBehavior, Key, Kind, Known};
use crate::script::Script;
use crate::seen::Seen;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// An object on the server: what the server has, and what you want.
///
/// The fields of `T` are read and written directly. Nothing is sent before [`alter`](Object::alter),
/// which sends the difference; [`changes`](Object::changes) shows it.
///
/// ```no_run
/// # fn main() -> pgsteward::Result<()> {
/// # let cluster = pgsteward::Cluster::connect("")?;
/// let mut role = cluster.roles().get("app")?;
/// role.connection_limit = 20;
/// print!("{}", role.changes()); // ALTER ROLE "app" CONNECTION LIMIT 20;
/// role.alter()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Object<T> {
    cluster: Cluster,
    /// What the server had when it was last asked, as long as that is not undone.
    server: Seen<T>,
    /// What is wanted. The same as what the server has, and shared with it, until the first write.
    wanted: Arc<T>,
}

impl<T> Deref for Object<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.wanted
    }
}

impl<T: Clone> DerefMut for Object<T> {
    fn deref_mut(&mut self) -> &mut T {
        Arc::make_mut(&mut self.wanted)
    }
}

impl<T: Kind> fmt::Debug for Object<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.wanted.fmt(f)
    }
}

impl<T: Kind> Object<T> {
    pub(crate) fn new(cluster: &Cluster, server: Arc<T>) -> Self {
        Self::seen(cluster, Seen::new(server, None))
    }

    pub(crate) fn seen(cluster: &Cluster, server: Seen<T>) -> Self {
        Self { cluster: cluster.clone(), wanted: server.value.clone(), server }
    }

    pub(crate) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// What the server has, as far as is known.
    pub(crate) fn server(&self) -> &Arc<T> {
        &self.server.last().value
    }

    /// Refuses an object of which nothing is known: all that was read of it, or of its definition, was undone.
    fn check_known(&self) -> Result<()> {
        let server = self.server.last();
        // Somebody else who shares the value may have read its definition; what is wanted may rest on it.
        let unfounded = server.value.definition_cell().is_some_and(Known::is_undone)
            && self.wanted.definition_cell().is_some_and(|cell| cell.get().is_some());
        match server.is_undone() || unfounded {
            false => Ok(()),
            true => Err(self.undone()),
        }
    }

    fn undone(&self) -> Error {
        let why = "it was read or made in a transaction that was undone; refresh() the object, or get it again";
        Error::invalid(format!("use of {}", self.title()), why)
    }

    /// The kind and the name that the server knows: `role "app"`.
    pub(crate) fn title(&self) -> String {
        title::<T>(&self.server().key())
    }

    /// The OID, which stays when the name changes; 0 for kinds that have none, and in a plan for
    /// what is yet to be made.
    pub fn oid(&self) -> u32 {
        self.server().oid()
    }

    /// The name that is wanted, or the number: what finds the object once it is altered.
    pub fn key(&self) -> T::Key {
        self.wanted.key()
    }

    /// The statements that [`alter`](Object::alter) would send. Nothing is sent.
    pub fn changes(&self) -> Script {
        let server = self.server();
        let mut changes = match Arc::ptr_eq(server, &self.wanted) {
            true => Script::new(),
            false => server.to_alter(&self.wanted, self.cluster.version()),
        };
        if let Err(undone) = self.check_known() {
            changes.refuse(undone);
        }
        changes
    }

    /// Whether [`alter`](Object::alter) would send anything.
    pub fn is_changed(&self) -> bool {
        !self.changes().is_empty()
    }

    /// Sends the changes, all or nothing, and reads the object back; nothing when nothing changed.
    ///
    /// The object is read again inside the transaction of the change, before it and after it, so
    /// that a change by somebody else is neither overwritten nor taken for this object's. No lock
    /// is taken but those of the statements themselves. What the server refuses because of others
    /// at work at that moment (a tuple updated concurrently, a deadlock, a lock timeout) is tried again up to five times.
    ///
    /// # Errors
    /// [`Error::Conflict`] when the object was dropped, replaced or renamed since it was read, or
    /// when a field that is being changed was changed by somebody else. [`Error::Invalid`] and
    /// [`Error::Unsupported`] before anything is sent. After any error the server is as it was,
    /// and the changes are kept.
    pub fn alter(&mut self) -> Result<()> {
        let cluster = self.cluster.clone();
        let _turn = cluster.session().turn();
        let changes = self.changes();
        if changes.is_empty() {
            self.wanted = self.server().clone();
            return Ok(());
        }
        changes.check()?;
        let (server, wanted) = (self.server().clone(), self.wanted.clone());
        if let Some(plan) = cluster.plan_in_progress()? {
            let step = (server.clone(), wanted.clone());
            Collection::<T>::new(&cluster).load_for_plan()?;
            plan.record(changes, move |cluster| Object::wanting(cluster, step.0, step.1).alter());
            self.took(Seen::new(wanted, None));
            return Ok(());
        }
        let action = format!("alter {}", title::<T>(&server.key()));
        let (after, within) = self.change(&action, &changes, Some(&wanted))?;
        let after = after.ok_or_else(|| self.not_found())?;
        self.took(Seen::new(after, within));
        Ok(())
    }

    fn wanting(cluster: &Cluster, server: Arc<T>, wanted: Arc<T>) -> Self {
        Self { cluster: cluster.clone(), server: Seen::new(server, None), wanted }
    }

    /// Takes over what a change that was made for many objects at once left on the server.
    pub(crate) fn took_one_of_many(&mut self, after: T, within: Within) {
        share_definition(&**self.server(), &after);
        self.took(Seen::new(after, within));
    }

    /// Takes over what the server has now.
    fn took(&mut self, after: Seen<T>) {
        self.cluster.saw(Some(&self.server().key()), &after);
        self.wanted = after.value.clone();
        self.server.follow(after);
    }

    /// Forgets the changes.
    pub fn revert(&mut self) {
        self.wanted = self.server().clone();
    }

    /// Reads the object again, under whatever name it goes now; changes not sent are forgotten.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it is gone.
    pub fn refresh(&mut self) -> Result<()> {
        let (cluster, server) = (self.cluster.clone(), self.server().clone());
        let _turn = cluster.session().turn();
        let action = format!("read {}", self.title());
        let Some(now) = cluster.fetch::<T>(&action, &again(&*server, cluster.version()))? else {
            cluster.gone::<T>(&server.key());
            return Err(self.not_found());
        };
        self.took(now);
        Ok(())
    }

    /// The statements that make an equal object. Reads the definition, where the kind has one.
    ///
    /// # Errors
    /// [`Error::Unsupported`] names what the object has that cannot be scripted yet.
    pub fn script(&self) -> Result<Script> {
        self.check_known()?;
        self.load_definition()?;
        if self.wanted.definition_cell().is_some_and(Known::is_undone) {
            return Err(self.undone());
        }
        let uncovered = self.wanted.uncovered();
        if !uncovered.is_empty() {
            let what = format!("a script of {} with its {}", self.title(), uncovered.join(", "));
            return Err(Error::unsupported(what, "a newer version of this crate, or pg_dump"));
        }
        let script = self.wanted.to_create(self.cluster.version());
        script.check()?;
        Ok(script)
    }

    /// The plain value, on its own from now on.
    pub fn to_value(&self) -> T {
        T::clone(&self.wanted)
    }

    /// Drops the object; refused while something depends on it.
    ///
    /// # Errors
    /// [`Error::Conflict`] when it was dropped, replaced or renamed since it was read.
    pub fn drop(self) -> Result<()> {
        self.drop_with(DropBehavior::Restrict)
    }

    pub(crate) fn drop_with(self, behavior: DropBehavior) -> Result<()> {
        let script = self.server().to_drop(behavior, self.cluster.version());
        let cluster = self.cluster.clone();
        self.drop_by(script)?;
        if behavior == DropBehavior::Cascade || T::DRAGS_OTHERS {
            cluster.forget_what_went_along();
        }
        Ok(())
    }

    /// Drops the object by these statements.
    pub(crate) fn drop_by(self, script: Script) -> Result<()> {
        let (cluster, server) = (self.cluster.clone(), self.server().clone());
        let _turn = cluster.session().turn();
        self.check_known()?;
        script.check()?;
        if let Some(plan) = self.cluster.plan_in_progress()? {
            Collection::<T>::new(&self.cluster).load_for_plan()?;
            let (step, again) = (server.clone(), script.clone());
            plan.record(script, move |cluster| Object::new(cluster, step).drop_by(again));
        } else {
            self.change(&format!("drop {}", self.title()), &script, None)?;
        }
        self.cluster.gone::<T>(&server.key());
        Ok(())
    }

    /// Runs statements that change what is no field of the object, with the same checks as
    /// [`alter`](Object::alter): the object is still there under its name, before and after. Pending
    /// changes stay pending. In a plan they are collected.
    pub(crate) fn perform(&mut self, verb: &str, script: Script) -> Result<()> {
        let (cluster, server) = (self.cluster.clone(), self.server().clone());
        let _turn = cluster.session().turn();
        script.check()?;
        self.check_known()?;
        if let Some(plan) = self.cluster.plan_in_progress()? {
            let (verb, step) = (verb.to_owned(), script.clone());
            plan.record(script, move |cluster| Object::new(cluster, server).perform(&verb, step));
            return Ok(());
        }
        let (after, within) = self.change(&format!("{verb} {}", self.title()), &script, Some(&server))?;
        if let Some(after) = after.filter(|_| Arc::ptr_eq(&server, &self.wanted)) {
            self.took(Seen::new(after, within));
        }
        Ok(())
    }

    /// Takes over what is known of the definition since a write, none if nothing is known now. Only
    /// for kinds whose definition cannot be changed otherwise.
    pub(crate) fn saw_definition(&mut self, definition: Option<T::Definition>) {
        let definition = definition.map(Arc::new);
        let mut server = T::clone(self.server());
        for value in [&mut server, Arc::make_mut(&mut self.wanted)] {
            if let Some(cell) = value.definition_cell_mut() {
                *cell = Known::default();
                definition.iter().for_each(|definition| cell.set(definition.clone(), None));
            }
        }
        let server = Seen::new(server, self.server.last().within().cloned());
        self.cluster.saw(Some(&server.value.key()), &server);
        self.server.follow(server);
    }

    pub(crate) fn not_found(&self) -> Error {
        Error::NotFound { what: self.title() }
    }

    /// Reads the definition, if it was not read yet, for what the server has and for what is wanted.
    fn load_definition(&self) -> Result<()> {
        let server = self.server();
        let Some(cell) = server.definition_cell() else { return Ok(()) };
        if cell.get().is_none() && server.oid() != 0 {
            let action = format!("read the definition of {}", self.title());
            let questions = T::Definition::queries(Some(server.oid()), self.cluster.version());
            let (answers, within) = self.cluster.session().look(&action, &questions)?;
            let definition = T::Definition::read(&answers)?.remove(&server.oid()).ok_or_else(|| self.not_found())?;
            cell.set(Arc::new(definition), within);
        }
        share_definition(&**server, &*self.wanted);
        Ok(())
    }
}

impl<T: Defined> Object<T> {
    /// What is costly to read, read now if it was not read before: one round trip.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the object is gone; [`Error::Invalid`] if it was read in a transaction that was undone.
    pub fn definition(&self) -> Result<Arc<T::Definition>> {
        self.check_known()?;
        self.load_definition()?;
        let cell = self.wanted.definition_cell();
        cell.and_then(|cell| cell.get().cloned()).ok_or_else(|| self.undone())
    }

    /// The definition, to change; [`alter`](Object::alter) sends the fewest statements that do it.
    ///
    /// # Errors
    /// As for [`definition`](Object::definition).
    pub fn definition_mut(&mut self) -> Result<&mut T::Definition> {
        self.definition()?;
        let not_found = self.not_found();
        let cell = Arc::make_mut(&mut self.wanted).definition_cell_mut();
        Ok(cell.ok_or(not_found)?.to_mut())
    }
}

/// `role "app"`
pub(crate) fn title<T: Kind>(key: &T::Key) -> String {
    format!("{} {}", T::KIND, key.title())
}

/// Lets a value that the server has in place of another know of its definition what that one knew.
pub(crate) fn share_definition<T: Kind>(from: &T, to: &T) {
    if let Some((from, to)) = from.definition_cell().zip(to.definition_cell()) {
        from.share_with(to);
    }
}
