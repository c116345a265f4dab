//! A transaction of a module, and savepoints in it.
use super::masked::without_values;
use super::queries::Queries;
use crate::counter::Counter;
use crate::error::{Error, Result};
use crate::pool::PooledClient;
use crate::template::Templates;
use postgres::error::SqlState;
use postgres::types::{FromSqlOwned, ToSql};
use postgres::{Client, Row};
use std::io::{Read, Write};

/// An open transaction of a [`Module`](super::Module), on a connection of its own, or a savepoint in it.
///
/// [`Module::transaction`](super::Module::transaction) gives it to a closure. What goes through the `Module` itself meanwhile
/// takes another connection, and is not in the transaction.
pub struct ModuleTransaction<'c> {
    client: &'c mut PooledClient,
    templates: &'c Templates,
    counter: &'c Counter,
    /// How many transactions it is in.
    depth: usize,
    /// Whether the server has it open still.
    is_open: bool,
}

const COMMIT: &str = "commit the transaction";

impl ModuleTransaction<'_> {
    /// Runs a closure in a transaction: kept if it returns `Ok`, undone if it returns an error or panics.
    pub(super) fn run<R>(
        client: &mut PooledClient,
        templates: &Templates,
        counter: &Counter,
        depth: usize,
        f: impl FnOnce(&mut ModuleTransaction<'_>) -> Result<R>,
    ) -> Result<R> {
        let begin = if depth == 0 { "BEGIN".into() } else { format!("SAVEPOINT pgsteward_{depth}") };
        let began = counter.run(&begin, || client.batch_execute(&begin));
        began.map_err(|error| Error::driver("begin a transaction", &error))?;
        let mut transaction = ModuleTransaction { client, templates, counter, depth, is_open: true };
        let result = f(&mut transaction)?;
        transaction.commit()?;
        Ok(result)
    }

    /// Runs a closure in a savepoint: what it does is undone if it returns an error or panics, and what was done before it
    /// stays. The transaction can go on after it.
    ///
    /// # Errors
    /// Those of the closure, and of [the module](crate::module#errors).
    pub fn transaction<R>(&mut self, f: impl FnOnce(&mut ModuleTransaction<'_>) -> Result<R>) -> Result<R> {
        ModuleTransaction::run(self.client, self.templates, self.counter, self.depth + 1, f)
    }

    /// Runs a statement for each of many rows of parameters; returns how many rows were changed or found by all. The statement
    /// is prepared once.
    ///
    /// # Errors
    /// As [the module](crate::module#errors) says.
    pub fn execute_many<'p, I>(&mut self, sql: &str, rows: I) -> Result<u64>
    where
        I: IntoIterator,
        I::Item: AsRef<[&'p (dyn ToSql + Sync)]>,
    {
        self.on_connection(|queries| queries.execute_many(sql, rows))
    }

    /// The driver's client, for what is not here: large results row by row, portals, types. It replaces no templates
    /// ([`Templates::replace`] does), its `transaction()` would begin another one, and it logs parameters at debug level.
    /// A `COPY ... FROM STDIN` needs its `copy_in`: sent by another method, it can have the connection wait without end.
    pub fn client(&mut self) -> &mut Client {
        self.client
    }

    fn on_connection<R>(&mut self, f: impl FnOnce(&mut Queries<'_>) -> Result<R>) -> Result<R> {
        f(&mut Queries { client: self.client, templates: self.templates, counter: self.counter })
    }

    /// A COMMIT outside a transaction, or in one that has failed, would succeed without a word: a savepoint does not.
    fn commit(&mut self) -> Result<()> {
        let end = match self.depth {
            0 => "SAVEPOINT pgsteward_end; COMMIT".into(),
            depth => format!("RELEASE SAVEPOINT pgsteward_{depth}"),
        };
        let Err(error) = self.counter.run(&end, || self.client.batch_execute(&end)) else {
            self.is_open = false;
            return Ok(());
        };
        // Where the COMMIT itself was refused, that has ended it.
        self.is_open = self.depth > 0 || error.code() == Some(&SqlState::IN_FAILED_SQL_TRANSACTION);
        Err(match error.code() {
            Some(code) if *code == SqlState::IN_FAILED_SQL_TRANSACTION => Error::invalid(
                format!("attempt to {COMMIT}"),
                "one of its statements has failed, and all of it is undone; return the error from the closure, or run what may \
                 fail in a transaction within",
            ),
            Some(code)
                if *code == SqlState::NO_ACTIVE_SQL_TRANSACTION || *code == SqlState::S_E_INVALID_SPECIFICATION =>
            {
                self.is_open = false;
                Error::invalid(
                    format!("attempt to {COMMIT}"),
                    "a statement within has ended it; leave that to its closure",
                )
            }
            _ => without_values(Error::driver(COMMIT, &error)),
        })
    }

    fn roll_back(&mut self) -> Result<()> {
        let back = match self.depth {
            0 => "ROLLBACK".into(),
            depth => format!("ROLLBACK TO SAVEPOINT pgsteward_{depth}; RELEASE SAVEPOINT pgsteward_{depth}"),
        };
        let ended = self.counter.run(&back, || self.client.batch_execute(&back));
        ended.map_err(|error| Error::driver("roll back a transaction", &error))
    }
}

impl Drop for ModuleTransaction<'_> {
    fn drop(&mut self) {
        // A connection that was lost has taken the transaction with it.
        if self.is_open && !self.client.is_closed() {
            if let Err(error) = self.roll_back() {
                log::warn!("{error}");
            }
        }
    }
}

methods!(ModuleTransaction<'_>, (&mut self), self);
