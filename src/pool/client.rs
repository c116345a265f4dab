//! The driver's client on a connection of a pool.
use super::connection::Connection;
use super::lent::Seat;
use postgres::types::ToSql;
use postgres::{Client, Error, Row, Statement};
use sealed::Kind;
use std::fmt;
use std::ops::{Deref, DerefMut};

/// A connection of a pool: [`Pool::get`](super::Pool::get). It is used as the driver's client that it derefs to, and goes
/// back when it is dropped, which sends nothing and does not wait.
///
/// [`execute`](PooledClient::execute), [`query`](PooledClient::query), [`query_one`](PooledClient::query_one) and
/// [`query_opt`](PooledClient::query_opt) are the driver's, with two differences. What was used by them alone is made clean by one
/// round trip instead of two. And a query without parameters and literals takes one round trip instead of two when the connection
/// has it prepared from the last time: it keeps
/// [`PoolOptions::prepared_statements`](super::PoolOptions::prepared_statements) of them. What
/// [`PREPARE`](https://www.postgresql.org/docs/current/sql-prepare.html) says goes for those: a plan and what row security lets a
/// role see may be kept, and a name leads to the same table until that changes, or the `search_path`.
pub struct PooledClient {
    seat: Seat,
}

/// What can be executed: a text, or a statement that the driver has prepared. No other type can implement it.
pub trait PooledStatement: sealed::Sealed {}

mod sealed {
    use postgres::Statement;

    pub enum Kind<'a> {
        Text(&'a str),
        Prepared(&'a Statement),
    }

    pub trait Sealed {
        fn kind(&self) -> Kind<'_>;
    }
}

impl PooledStatement for str {}

impl sealed::Sealed for str {
    fn kind(&self) -> Kind<'_> {
        Kind::Text(self)
    }
}

impl PooledStatement for Statement {}

impl sealed::Sealed for Statement {
    fn kind(&self) -> Kind<'_> {
        Kind::Prepared(self)
    }
}

impl PooledClient {
    pub(super) fn new(seat: Seat) -> Self {
        Self { seat }
    }

    /// Executes a statement, and returns how many rows it has changed.
    ///
    /// # Errors
    /// As for [`Client::execute`].
    pub fn execute<S>(&mut self, statement: &S, parameters: &[&(dyn ToSql + Sync)]) -> Result<u64, Error>
    where
        S: PooledStatement + ?Sized,
    {
        match statement.kind() {
            // One round trip without preparing anything. Rows are not asked for so: `query_typed` looks up types of the user's
            // own while the rows come, and waits for ever where they are many.
            Kind::Text(text) if parameters.is_empty() => self.reading(|client| client.execute_typed(text, &[])),
            kind => self.prepared(kind, |client, statement| client.execute(statement, parameters)),
        }
    }

    /// Executes a statement, and returns its rows.
    ///
    /// # Errors
    /// As for [`Client::query`].
    pub fn query<S>(&mut self, statement: &S, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Error>
    where
        S: PooledStatement + ?Sized,
    {
        self.prepared(statement.kind(), |client, statement| client.query(statement, parameters))
    }

    /// Executes a statement, and returns its one row.
    ///
    /// # Errors
    /// As for [`Client::query_one`]; also if there is no row, or more than one.
    pub fn query_one<S>(&mut self, statement: &S, parameters: &[&(dyn ToSql + Sync)]) -> Result<Row, Error>
    where
        S: PooledStatement + ?Sized,
    {
        self.prepared(statement.kind(), |client, statement| client.query_one(statement, parameters))
    }

    /// Executes a statement, and returns its row, if it has one.
    ///
    /// # Errors
    /// As for [`Client::query_opt`]; also if there is more than one row.
    pub fn query_opt<S>(&mut self, statement: &S, parameters: &[&(dyn ToSql + Sync)]) -> Result<Option<Row>, Error>
    where
        S: PooledStatement + ?Sized,
    {
        self.prepared(statement.kind(), |client, statement| client.query_opt(statement, parameters))
    }

    fn prepared<R>(
        &mut self,
        kind: Kind<'_>,
        mut execute: impl FnMut(&mut Client, &Statement) -> Result<R, Error>,
    ) -> Result<R, Error> {
        self.reading(|client| match kind {
            Kind::Text(text) => client.prepared_text(text, execute),
            Kind::Prepared(statement) => execute(client, statement),
        })
    }

    /// Executes a text that is prepared now, or is kept so from the last time.
    pub(crate) fn prepared_text<R>(
        &mut self,
        text: &str,
        execute: impl FnMut(&mut Client, &Statement) -> Result<R, Error>,
    ) -> Result<R, Error> {
        self.connection().prepared(text, execute)
    }

    /// Does what reads all that it has asked for, unless it fails.
    pub(crate) fn reading<R, E>(&mut self, f: impl FnOnce(&mut Self) -> Result<R, E>) -> Result<R, E> {
        let may_be_unread = std::mem::replace(&mut self.connection().known.may_be_unread, true);
        let result = f(self)?;
        self.connection().known.may_be_unread = may_be_unread;
        Ok(result)
    }

    fn connection(&mut self) -> &mut Connection {
        match &mut self.seat.connection {
            Some(connection) => connection,
            // Only the drop empties the place of a client.
            None => unreachable!("a client without its connection"),
        }
    }
}

impl Deref for PooledClient {
    type Target = Client;

    fn deref(&self) -> &Client {
        match &self.seat.connection {
            Some(connection) => &connection.client,
            None => unreachable!("a client without its connection"),
        }
    }
}

impl DerefMut for PooledClient {
    fn deref_mut(&mut self) -> &mut Client {
        // Nobody knows what the driver is told to do.
        let connection = self.connection();
        connection.known.may_be_unread = true;
        &mut connection.client
    }
}

impl fmt::Debug for PooledClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let process = self.seat.connection.as_ref().map(|connection| connection.known.facts.pid);
        f.debug_struct("PooledClient").field("server_process", &process).finish()
    }
}
