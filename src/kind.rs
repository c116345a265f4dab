//! What makes a kind of object, and how its statements are put together.
use crate::error::{Error, Result};
use crate::fate::Within;
use crate::name::Name;
use crate::row::Row;
use crate::script::{Field, Script};
use crate::sql::{Fragment, Ident, Lit, Sql};
use crate::version::ServerVersion;
use std::collections::BTreeMap;
use std::fmt::{self, Debug, Display};
use std::sync::{Arc, OnceLock};

/// A kind of object: a plain value, and the SQL that reads it and that makes one value into another.
///
/// All its functions are pure: they know no connection and never panic on what a server says.
/// The trait is sealed; the kinds are those of this crate.
pub trait Kind: sealed::Sealed + Clone + PartialEq + Debug + Send + Sync + 'static {
    /// What finds an object: its name, or its number.
    type Key: Key;
    /// What is costly to read, and is read on demand; [`Nothing`] where nothing is.
    type Definition: Definition;
    /// The kind's name in messages: `role`.
    const KIND: &'static str;
    /// Whether objects of other kinds, or of this one, change or go with one of these: a sequence
    /// with the table that owns it, a partition with its table.
    #[doc(hidden)]
    const DRAGS_OTHERS: bool = false;
    /// Whether a connection to one stands in the way of a change.
    #[doc(hidden)]
    const DRAGS_CONNECTIONS: bool = false;

    /// The catalogue query. Every column is text.
    fn query(which: Which<'_, Self::Key>, server: &ServerVersion) -> Sql;
    /// A row of [`query`](Kind::query) as a value.
    ///
    /// # Errors
    /// [`Error::Invalid`] if a column is not what the query promises.
    fn read(row: &Row) -> Result<Self>;
    /// What finds this object.
    fn key(&self) -> Self::Key;
    /// The OID, which stays when the name changes; 0 for what is not on a server, and for kinds that have none.
    fn oid(&self) -> u32;
    /// Refuses what no object of this kind can be found by.
    ///
    /// # Errors
    /// [`Error::Invalid`]
    fn check_key(key: &Self::Key) -> Result<()> {
        key.check()
    }
    /// Whether what is on the server now, under the same key, is the object that was read, and not
    /// another one that replaced it.
    fn is_same(&self, now: &Self) -> bool {
        self.oid() == 0 || now.oid() == self.oid()
    }
    /// The statements that make it anew: the difference of nothing and this.
    fn to_create(&self, server: &ServerVersion) -> Script;
    /// The statements that make this into `wanted`.
    fn to_alter(&self, wanted: &Self, server: &ServerVersion) -> Script;
    /// The statements that drop it: the difference of this and nothing.
    fn to_drop(&self, behavior: DropBehavior, server: &ServerVersion) -> Script;
    /// Whether it is one of the system's own, which collections leave out unless they are asked for.
    fn is_system(&self) -> bool {
        false
    }
    /// What the object on the server has that neither this value nor its definition holds:
    /// `privileges`, `trigger "x"`. A script would leave it out.
    fn uncovered(&self) -> Vec<String> {
        Vec::new()
    }
    /// What must not be in use while the object is made, in words, and a question: each row says in `who` who uses it.
    #[doc(hidden)]
    fn must_be_unused(&self) -> Option<(String, Sql)> {
        None
    }
    /// Whether [`to_alter`](Kind::to_alter) drops the object and makes another in its place.
    #[doc(hidden)]
    fn is_replaced_by(&self, _wanted: &Self) -> bool {
        false
    }
    /// Whether what this was to become is what it is `after` the statements, for what the server leaves undone with
    /// no more than a warning.
    #[doc(hidden)]
    fn check_taken(&self, _wanted: &Self, _after: &Self) -> Result<()> {
        Ok(())
    }
    /// Where the definition is kept once it is read.
    #[doc(hidden)]
    fn definition_cell(&self) -> Option<&Known<Self::Definition>> {
        None
    }
    #[doc(hidden)]
    fn definition_cell_mut(&mut self) -> Option<&mut Known<Self::Definition>> {
        None
    }
}

mod sealed {
    pub trait Sealed {}
}
pub(crate) use sealed::Sealed;

/// Kinds that have a [definition](Kind::Definition).
pub trait Defined: Kind {}

/// What finds an object of a kind.
pub trait Key: Clone + Ord + Debug + Display + Send + Sync + 'static {
    /// Refuses what no object can be found by.
    ///
    /// # Errors
    /// [`Error::Invalid`]
    fn check(&self) -> Result<()>;
    /// Whether it finds the object of that key: the same, or for a routine's name alone any of that name. In order,
    /// those that it finds follow it.
    fn finds(&self, other: &Self) -> bool {
        self == other
    }
    /// Whether it may find an object whose own key reads otherwise, so that only the server can
    /// tell: a routine by another name of a type.
    fn is_loose(&self) -> bool {
        false
    }
    /// For messages: `"app"`, `app.orders`, `16412`.
    fn title(&self) -> String {
        self.to_string()
    }
}

impl Key for String {
    fn check(&self) -> Result<()> {
        sql!("{}", Ident(self)).check()
    }

    fn title(&self) -> String {
        format!("{self:?}")
    }
}

impl Key for Name {
    fn check(&self) -> Result<()> {
        Name::check(self)
    }
}

impl Key for u32 {
    fn check(&self) -> Result<()> {
        Ok(())
    }
}

/// Which objects of a kind are asked for.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Which<'a, K> {
    /// All but the system's own.
    All,
    /// All.
    WithSystem,
    /// The one of that key, be it the system's own or not.
    Key(&'a K),
    /// Those of these OIDs.
    Oids(&'a [u32]),
}

/// A condition for the rows whose OID is one of these.
pub(crate) fn one_of(column: &'static str, oids: &[u32]) -> Sql {
    let list = Sql::join(oids.iter().map(|oid| sql!("{}", *oid)), ",");
    sql!("{} = ANY (ARRAY[{}]::oid[])", column, list)
}

/// Whether a schema is the system's own, or holds what is temporary in a session.
pub(crate) fn is_system_schema(name: &str) -> bool {
    ["pg_catalog", "information_schema", "pg_toast"].contains(&name)
        || ["pg_temp_", "pg_toast_temp_"].iter().any(|start| name.starts_with(start))
}

/// Whether what depends on an object goes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropBehavior {
    /// Refuse while something depends on it.
    Restrict,
    /// Drop what depends on it too.
    Cascade,
}

impl DropBehavior {
    /// What follows the name in `DROP`.
    pub(crate) fn clause(self) -> &'static str {
        match self {
            Self::Restrict => "",
            Self::Cascade => " CASCADE",
        }
    }
}

/// The part of an object that is costly to read.
pub trait Definition: Clone + Default + PartialEq + Debug + Send + Sync + 'static {
    /// The queries that read it: for one object by its OID, or for all. Every column is text;
    /// the column `object` is the OID of the object that a row is a part of.
    #[doc(hidden)]
    fn queries(object: Option<u32>, server: &ServerVersion) -> Vec<Sql>;
    /// The definitions by the OID of their objects, from the rows of each query.
    #[doc(hidden)]
    fn read(answers: &[Vec<Row>]) -> Result<BTreeMap<u32, Self>>;
}

/// A definition that may be read after the value that it belongs to, also by those who share the value.
#[derive(Clone)]
pub struct Known<D> {
    /// With the transaction that it was read in.
    read: OnceLock<(Arc<D>, Within)>,
    /// What was made of it by one who has the value for himself.
    own: Option<Arc<D>>,
}

impl<D> Default for Known<D> {
    fn default() -> Self {
        Self { read: OnceLock::new(), own: None }
    }
}

impl<D: Clone + Default> Known<D> {
    /// The definition; none if it was not read, or in a transaction that was undone.
    pub(crate) fn get(&self) -> Option<&Arc<D>> {
        let read = self.read.get().filter(|_| !self.is_undone());
        self.own.as_ref().or(read.map(|(definition, _)| definition))
    }

    /// Whether it was read in a transaction that was undone.
    pub(crate) fn is_undone(&self) -> bool {
        self.read.get().is_some_and(|(_, within)| within.as_ref().is_some_and(|fate| fate.is_undone()))
    }

    /// Keeps what was read, unless something was read before.
    pub(crate) fn set(&self, definition: Arc<D>, within: Within) {
        let _ = self.read.set((definition, within));
    }

    /// Lets another value that is on the server like this one know as much.
    pub(crate) fn share_with(&self, other: &Self) {
        if let Some(definition) = self.get() {
            other.set(definition.clone(), self.read.get().and_then(|(_, within)| within.clone()));
        }
    }

    /// The definition to change; an empty one if nothing is known.
    pub(crate) fn to_mut(&mut self) -> &mut D {
        let known = self.get().cloned().unwrap_or_default();
        Arc::make_mut(self.own.get_or_insert(known))
    }
}

impl<D: Clone + Default + PartialEq> PartialEq for Known<D> {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl<D: Clone + Default + Debug> Debug for Known<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

/// The definition of kinds that have none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Nothing;

impl Definition for Nothing {
    fn queries(_: Option<u32>, _: &ServerVersion) -> Vec<Sql> {
        Vec::new()
    }

    fn read(_: &[Vec<Row>]) -> Result<BTreeMap<u32, Self>> {
        Ok(BTreeMap::new())
    }
}

/// The error for making a copy of what was read only in part.
pub(crate) fn unread(kind: &str, name: &Name) -> Error {
    Error::invalid(
        format!("new {kind} {name}"),
        "its definition was not read; call Object::definition before Object::to_value, or use Object::script",
    )
}

/// The two definitions, where both were read and they are not one and the same.
pub(crate) fn definitions<'a, T: Kind>(old: &'a T, new: &'a T) -> Option<(&'a T::Definition, &'a T::Definition)> {
    let (old, new) = (old.definition_cell()?.get()?, new.definition_cell()?.get()?);
    (!Arc::ptr_eq(old, new)).then_some((&**old, &**new))
}

/// Puts together the statements that change one object: `ALTER <what> <name> <clause>`.
pub(crate) struct Alter {
    /// `ALTER TABLE`
    verb: &'static str,
    /// As the server knows it at this point of the script.
    name: Sql,
    script: Script,
    /// Clauses that share one statement, not yet in the script.
    pending: Vec<(Field, Sql)>,
    separator: &'static str,
}

impl Alter {
    /// Changes to the object of that name; clauses that share a statement stand with `separator` between.
    pub(crate) fn new(verb: &'static str, name: impl Fragment, separator: &'static str) -> Self {
        Self { verb, name: sql!("{}", name), script: Script::new(), pending: Vec::new(), separator }
    }

    /// A clause that shares one `ALTER` with the clauses next to it.
    pub(crate) fn clause(&mut self, field: impl Into<Field>, clause: Sql) {
        self.pending.push((field.into(), clause));
    }

    /// A clause that needs an `ALTER` of its own.
    pub(crate) fn single(&mut self, field: impl Into<Field>, clause: Sql) {
        let statement = sql!("{} {} {}", self.verb, self.name, clause);
        self.statement(field, statement);
    }

    /// A whole statement.
    pub(crate) fn statement(&mut self, field: impl Into<Field>, statement: Sql) {
        self.flush();
        self.script.add(statement, vec![field.into()]);
    }

    /// A whole statement that changes or states anew, several fields.
    pub(crate) fn statement_about(&mut self, fields: Vec<Field>, statement: Sql) {
        self.flush();
        self.script.add(statement, fields);
    }

    /// A whole statement that refuses to run in a transaction.
    pub(crate) fn statement_alone(&mut self, field: impl Into<Field>, statement: Sql) {
        self.flush();
        self.script.add_alone(statement, vec![field.into()]);
    }

    /// Refuses the whole change.
    pub(crate) fn refuse(&mut self, error: Error) {
        self.script.refuse(error);
    }

    /// Refuses a property that the server is too old for.
    pub(crate) fn needs(&mut self, major: u32, what: &'static str, server: &ServerVersion) {
        if !server.at_least(major) {
            self.refuse(Error::unsupported(what, format!("PostgreSQL {major}, and this is {server}")));
        }
    }

    /// `OWNER TO`, where the owner changed.
    pub(crate) fn owner(&mut self, old: &str, new: &str) {
        if old != new {
            self.single("owner", sql!("OWNER TO {}", Ident(new)));
        }
    }

    /// `COMMENT ON`, where the comment changed; `verb` is `COMMENT ON TABLE`.
    pub(crate) fn comment(&mut self, verb: &'static str, old: &Option<String>, new: &Option<String>) {
        if old != new {
            let statement = comment(verb, &self.name, new.as_deref());
            self.statement("comment", statement);
        }
    }

    /// `SET SCHEMA` and `RENAME TO`, where they changed. The object goes by its new name from here on.
    pub(crate) fn rename(&mut self, old: &Name, new: &Name) {
        if old.schema != new.schema {
            self.single("schema", sql!("SET SCHEMA {}", Ident(&new.schema)));
            self.name = sql!("{}.{}", Ident(&new.schema), Ident(&old.name));
        }
        if old.name != new.name {
            self.single("name", sql!("RENAME TO {}", Ident(&new.name)));
            self.name = sql!("{}", new);
        }
    }

    /// The object's name at this point of the script.
    pub(crate) fn name(&self) -> &Sql {
        &self.name
    }

    fn flush(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let (fields, clauses): (Vec<_>, Vec<_>) = self.pending.drain(..).unzip();
        let clauses = Sql::join(clauses, self.separator);
        self.script.add(sql!("{} {} {}", self.verb, self.name, clauses), fields);
    }

    /// The statements.
    pub(crate) fn finish(mut self) -> Script {
        self.flush();
        self.script
    }
}

/// `COMMENT ON <what> <name> IS ...`
pub(crate) fn comment(verb: &'static str, name: impl Fragment, text: Option<&str>) -> Sql {
    match text {
        Some(text) => sql!("{} {} IS {}", verb, name, Lit(text)),
        None => sql!("{} {} IS NULL", verb, name),
    }
}

/// A limit on connections: -1 for none.
pub(crate) fn check_connection_limit(limit: i32) -> Result<()> {
    match limit {
        ..-1 => Err(Error::invalid(format!("connection limit {limit}"), "it is 0 or more, or -1 for none")),
        _ => Ok(()),
    }
}
