//! The driver's client on a connection of a pool.
use super::connection::Connection;
use super::lent::Seat;
use postgres::types::ToSql;
use postgres::{Client, Error, Row, Statement, ToStatement};
use std::fmt;
use std::ops::{Deref, DerefMut};

/// A connection of a pool: [`Pool::get`](super::Pool::get). It is used as the driver's client that it derefs to, and goes
/// back when it is dropped, which sends nothing and does not wait.
///
/// [`execute`](PooledClient::execute), [`query`](PooledClient::query), [`query_one`](PooledClient::query_one) and
/// [`query_opt`](PooledClient::query_opt) are the driver's, but what was used by them alone is made clean by one round trip
/// instead of two; and to execute a text without parameters takes one round trip where the driver takes two.
pub struct PooledClient {
    seat: Seat,
}

/// What can be executed: a text, or a statement that the driver has prepared. No other type can implement it.
pub trait PooledStatement: ToStatement + sealed::Sealed {}

mod sealed {
    pub trait Sealed {
        /// The statement, where it is a text.
        fn text(&self) -> Option<&str>;
    }
}

impl PooledStatement for str {}

impl sealed::Sealed for str {
    fn text(&self) -> Option<&str> {
        Some(self)
    }
}

impl PooledStatement for Statement {}

impl sealed::Sealed for Statement {
    fn text(&self) -> Option<&str> {
        None
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
        // Rows are not asked for so: `query_typed` looks up types of the user's own while the rows come, and waits for ever
        // where they are many.
        self.run(|client| match without_types(statement, parameters) {
            Some(text) => client.execute_typed(text, &[]),
            None => client.execute(statement, parameters),
        })
    }

    /// Executes a statement, and returns its rows.
    ///
    /// # Errors
    /// As for [`Client::query`].
    pub fn query<S>(&mut self, statement: &S, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Error>
    where
        S: PooledStatement + ?Sized,
    {
        self.run(|client| client.query(statement, parameters))
    }

    /// Executes a statement, and returns its one row.
    ///
    /// # Errors
    /// As for [`Client::query_one`]; also if there is no row, or more than one.
    pub fn query_one<S>(&mut self, statement: &S, parameters: &[&(dyn ToSql + Sync)]) -> Result<Row, Error>
    where
        S: PooledStatement + ?Sized,
    {
        self.run(|client| client.query_one(statement, parameters))
    }

    /// Executes a statement, and returns its row, if it has one.
    ///
    /// # Errors
    /// As for [`Client::query_opt`]; also if there is more than one row.
    pub fn query_opt<S>(&mut self, statement: &S, parameters: &[&(dyn ToSql + Sync)]) -> Result<Option<Row>, Error>
    where
        S: PooledStatement + ?Sized,
    {
        self.run(|client| client.query_opt(statement, parameters))
    }

    /// Does what reads all that it has asked for, unless it fails.
    pub(crate) fn run<R, E>(&mut self, f: impl FnOnce(&mut Client) -> Result<R, E>) -> Result<R, E> {
        let may_be_unread = self.connection().known.may_be_unread;
        let result = f(self);
        if result.is_ok() {
            self.connection().known.may_be_unread = may_be_unread;
        }
        result
    }

    fn connection(&mut self) -> &mut Connection {
        match &mut self.seat.connection {
            Some(connection) => connection,
            // Only the drop empties the place of a client.
            None => unreachable!("a client without its connection"),
        }
    }
}

/// The text of a statement that there are no types to ask the server for.
fn without_types<'a, S>(statement: &'a S, parameters: &[&(dyn ToSql + Sync)]) -> Option<&'a str>
where
    S: PooledStatement + ?Sized,
{
    sealed::Sealed::text(statement).filter(|_| parameters.is_empty())
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
