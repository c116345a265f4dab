//! A part of a program with a schema of its own: statements on a shared pool that say `{{tables.users}}` and mean its table.
//!
//! ```
//! # #[cfg(feature = "testing")] {
//! use pgsteward::module::{Module, ModuleOptions};
//! use pgsteward::pool::{Pool, PoolOptions};
//!
//! # let server = pgsteward::testing::TestServer::start()?;
//! # let parameters = server.dsn();
//! let pool = Pool::connect(&parameters, PoolOptions::new())?; // one for all modules of the program
//! let mut options = ModuleOptions::new();
//! options.create_schema_if_missing = true;
//! let users = Module::with_options(&pool, "users", options)?;
//!
//! users.batch_execute("CREATE TABLE {{tables.users}} (id int GENERATED ALWAYS AS IDENTITY, email text UNIQUE)")?;
//! let id: i32 = users.value("INSERT INTO {{tables.users}} (email) VALUES ($1) RETURNING id", &[&"a@example.com"])?;
//! users.transaction(|t| {
//!     t.execute("UPDATE {{tables.users}} SET email = lower(email) WHERE id = $1", &[&id])?;
//!     t.execute("DELETE FROM {{tables.users}} WHERE email IS NULL", &[])
//! })?;
//! assert!(users.query("SELECT * FROM users", &[]).is_err()); // whose?
//! # }
//! # Ok::<(), pgsteward::Error>(())
//! ```
//!
//! A statement takes one round trip where the connection has it prepared (see [`PooledClient`]), and for `execute` without
//! parameters. Otherwise it takes two, as the driver asks the server for the types first.
//!
//! # Errors
//!
//! Every method has the same ones, inside a transaction and outside:
//!
//! - [`Error::Invalid`]: a template that is none, see [`Templates::replace`], before anything is sent;
//!   parameters or columns of another type or number.
//! - [`Error::Server`], [`Error::Denied`]: the server refused. The error shows the
//!   statement as it was sent.
//! - [`Error::Connection`], and all that [`Pool::get`] says.
//!
//! No value of a parameter, and nothing of the data of a `COPY`, is in an error or logged. For that, what the server
//! says of values is left out where there were any: of SQLSTATEs of the classes 22, 23 and 44 the detail (`Key (email)=(...)
//! already exists`), of class 22 also the message from the first quotation mark on. What stands in the text of a statement is
//! shown, and what a function of one's own says (`RAISE`), and the name of an object that the server was to look up and did not
//! find (`$1::regclass`): a secret belongs into a parameter, and is no name.
#[macro_use]
mod methods;
mod masked;
mod queries;
mod transaction;

use self::queries::Queries;
pub use self::transaction::ModuleTransaction;
use crate::counter::Counter;
use crate::error::{Error, Result};
use crate::pool::{Pool, PooledClient};
use crate::sql::Ident;
use crate::template::Templates;
use postgres::Row;
use postgres::error::SqlState;
use postgres::types::{FromSqlOwned, ToSql};
use std::io::{Read, Write};

/// What names without a schema mean in a module's statements: its
/// [`search_path`](https://www.postgresql.org/docs/current/runtime-config-client.html#GUC-SEARCH-PATH).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SearchPath {
    /// Nothing but what PostgreSQL has itself, and temporary tables: `users` without its schema is an error, and never the table
    /// of another module. That goes for what extensions bring too: it takes its schema, as in `public.citext`.
    #[default]
    Empty,
    /// Whatever the connections of the pool have, as the role, the database and the connection string say.
    OfThePool,
}

/// How a [`Module`] is to behave.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ModuleOptions {
    /// Whether the schema is made if it is not there; it belongs to the role of the connection then. Off by default.
    pub create_schema_if_missing: bool,
    /// What names without a schema mean. Nothing, by default.
    pub search_path: SearchPath,
}

impl ModuleOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }
}

/// A schema, and a pool over which its statements go; see [the module's page](crate::module).
///
/// Clones are handles on the same pool, for all threads. Each call takes a connection and gives it back; a
/// [`transaction`](Module::transaction) keeps one. So a `BEGIN`, a `SET` or a temporary table of one call is gone with it, and
/// is nothing to the next.
#[derive(Clone, Debug)]
pub struct Module {
    pool: Pool,
    templates: Templates,
    counter: Counter,
    search_path: SearchPath,
}

impl Module {
    /// A module with a schema of its own, whose name is taken as it stands. Sends nothing.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name that no schema can have.
    pub fn new(pool: &Pool, schema: &str) -> Result<Self> {
        Self::with_options(pool, schema, ModuleOptions::new())
    }

    /// A module that has a database for itself, and its tables in `public`. The same statements work in both. Sends nothing.
    ///
    /// # Errors
    /// None: the name is good.
    pub fn alone(pool: &Pool) -> Result<Self> {
        Self::new(pool, "public")
    }

    /// A module with options. Sends one or two statements if the schema is to be made, and nothing otherwise. Any number of
    /// programs may make it at once.
    ///
    /// # Errors
    /// As for [`new`](Module::new); those of [the module](crate::module#errors) if the schema is to be made.
    #[track_caller]
    pub fn with_options(pool: &Pool, schema: &str, options: ModuleOptions) -> Result<Self> {
        let ModuleOptions { create_schema_if_missing, search_path } = options;
        let (templates, counter) = (Templates::new(schema)?, pool.options().counter());
        let module = Self { pool: pool.clone(), templates, counter, search_path };
        if create_schema_if_missing {
            module.create_schema()?;
        }
        Ok(module)
    }

    /// The name of the schema, without quotes.
    pub fn schema(&self) -> &str {
        self.templates.schema()
    }

    /// What templates mean here: for SQL that goes another way.
    pub fn templates(&self) -> &Templates {
        &self.templates
    }

    /// The pool.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Runs a closure in a transaction: kept if it returns `Ok`, undone if it returns an error or panics. It has a connection
    /// for itself, from one round trip before the closure to one after it. Within, `SET TRANSACTION` sets the isolation
    /// level, and [`ModuleTransaction::transaction`] makes savepoints.
    ///
    /// # Errors
    /// Those of the closure and of [the module](crate::module#errors);
    /// [`Error::Invalid`] if it returns `Ok` though a statement in it has failed or has ended the
    /// transaction. One that ends it and begins another (`ROLLBACK AND CHAIN`) is not noticed.
    #[track_caller]
    pub fn transaction<R>(&self, f: impl FnOnce(&mut ModuleTransaction<'_>) -> Result<R>) -> Result<R> {
        ModuleTransaction::run(&mut self.connection()?, &self.templates, &self.counter, 0, f)
    }

    /// Runs a statement for each of many rows of parameters, in one transaction; returns how many rows were changed or found
    /// by all. The statement is prepared once, and each row of parameters takes a round trip; [`copy_in`](Module::copy_in)
    /// is faster for thousands.
    ///
    /// ```no_run
    /// # use postgres::types::ToSql;
    /// # fn example(users: &pgsteward::module::Module) -> pgsteward::Result<()> {
    /// let all = [(1, "a"), (2, "b")];
    /// let rows = all.iter().map(|(id, name)| [id as &(dyn ToSql + Sync), name]);
    /// users.execute_many("INSERT INTO {{tables.users}} VALUES ($1, $2)", rows)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [the module](crate::module#errors) says.
    #[track_caller]
    pub fn execute_many<'p, I>(&self, sql: &str, rows: I) -> Result<u64>
    where
        I: IntoIterator,
        I::Item: AsRef<[&'p (dyn ToSql + Sync)]>,
    {
        self.transaction(|transaction| transaction.execute_many(sql, rows))
    }

    #[track_caller]
    fn on_connection<R>(&self, f: impl FnOnce(&mut Queries<'_>) -> Result<R>) -> Result<R> {
        let (templates, counter) = (&self.templates, &self.counter);
        self.connection()?.reading(|client| f(&mut Queries { client, templates, counter }))
    }

    #[track_caller]
    fn connection(&self) -> Result<PooledClient> {
        match self.search_path {
            SearchPath::Empty => self.pool.get_for_modules(),
            SearchPath::OfThePool => self.pool.get(),
        }
    }

    /// Makes the schema if it is not there. Whoever is second waits for the first one's commit, and finds it then.
    #[track_caller]
    fn create_schema(&self) -> Result<()> {
        const IS_THERE: &str = "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace AS n \
            WHERE n.nspname OPERATOR(pg_catalog.=) $1::pg_catalog.text)";
        let mut client = self.connection()?;
        let mut queries = Queries { client: &mut client, templates: &self.templates, counter: &self.counter };
        // First: where it is there, it takes no right.
        if queries.value(IS_THERE, &[&self.schema()])? {
            return Ok(());
        }
        let action = format!("create schema {:?}", self.schema());
        let create = sql!("CREATE SCHEMA {}", Ident(self.schema()));
        match client.batch_execute(create.text()) {
            Err(error) if was_made_meanwhile(&error) => Ok(()),
            made => made.map_err(|error| Error::driver(&action, &error)),
        }
    }
}

fn was_made_meanwhile(error: &postgres::Error) -> bool {
    error.code().is_some_and(|code| [SqlState::DUPLICATE_SCHEMA, SqlState::UNIQUE_VIOLATION].contains(code))
}

methods!(Module, (&self), self);
