//! The statements of a module on one connection.
use super::masked::{masked, without_values};
use crate::counter::{Coded, Counter};
use crate::error::{Error, Result};
use crate::pool::PooledClient;
use crate::statements::waits_for_data;
use crate::template::Templates;
use postgres::error::SqlState;
use postgres::fallible_iterator::FallibleIterator;
use postgres::types::{FromSqlOwned, ToSql};
use postgres::{Client, Row, Statement};
use std::io::{self, Read, Write};

type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

/// How much of a statement an error shows, in characters.
const SHOWN: usize = 2000;

/// A connection, and the schema that templates mean.
pub(super) struct Queries<'c> {
    pub(super) client: &'c mut PooledClient,
    pub(super) templates: &'c Templates,
    pub(super) counter: &'c Counter,
}

impl Queries<'_> {
    /// Sends statements that need no data with their templates replaced. What waits for data is refused: servers before
    /// PostgreSQL 14 would take what comes next, a ROLLBACK too, for those, and answer nothing.
    fn run<R>(&mut self, sql: &str, f: impl FnOnce(&mut PooledClient, &str) -> Result<R, Fault>) -> Result<R> {
        self.check_needs_no_data(sql)?;
        self.send(sql, f)
    }

    fn check_needs_no_data(&self, sql: &str) -> Result<()> {
        match waits_for_data(sql) {
            false => Ok(()),
            true => {
                let why = "COPY ... FROM STDIN takes data; copy_in sends them";
                Err(Error::invalid(format!("statement {}", self.shown(sql)?), why))
            }
        }
    }

    /// Sends a statement with its templates replaced.
    fn send<R>(&mut self, sql: &str, f: impl FnOnce(&mut PooledClient, &str) -> Result<R, Fault>) -> Result<R> {
        let sql = self.templates.replace(sql)?;
        self.counter.run(&sql, || f(self.client, &sql)).map_err(|fault| fault.explain(&sql))
    }

    /// The rows, no more than `most`. It is read to its end in any case: who stopped earlier would not know whether what the
    /// statement changes was changed, and would miss what went wrong at last.
    fn rows(&mut self, sql: &str, parameters: Parameters<'_>, most: usize) -> Result<Vec<Row>> {
        self.run(sql, |client, sql| {
            let rows = client.prepared_text(sql, |client, statement| {
                let mut rows = client.query_raw(statement, masked(parameters))?;
                let mut kept = Vec::new();
                while let Some(row) = rows.next()? {
                    if kept.len() < most {
                        kept.push(row);
                    }
                }
                Ok(kept)
            });
            rows.map_err(|error| Fault::of(error, parameters))
        })
    }

    pub(super) fn query(&mut self, sql: &str, parameters: Parameters<'_>) -> Result<Vec<Row>> {
        self.rows(sql, parameters, usize::MAX)
    }

    pub(super) fn query_opt(&mut self, sql: &str, parameters: Parameters<'_>) -> Result<Option<Row>> {
        let mut rows = self.rows(sql, parameters, 2)?;
        match (rows.pop(), rows.pop()) {
            (Some(_), Some(_)) => Err(Error::invalid(
                format!("result of {}", self.shown(sql)?),
                "it has more than one row; query gives all of them",
            )),
            (row, _) => Ok(row),
        }
    }

    pub(super) fn query_one(&mut self, sql: &str, parameters: Parameters<'_>) -> Result<Row> {
        match self.query_opt(sql, parameters)? {
            Some(row) => Ok(row),
            None => Err(Error::NotFound { what: format!("a row of {}", self.shown(sql)?) }),
        }
    }

    pub(super) fn value<T: FromSqlOwned>(&mut self, sql: &str, parameters: Parameters<'_>) -> Result<T> {
        let row = self.query_one(sql, parameters)?;
        match row.len() {
            1 => row.try_get(0).or_else(|error| Err(Error::driver(&format!("execute {}", self.shown(sql)?), &error))),
            columns => Err(Error::invalid(
                format!("result of {}", self.shown(sql)?),
                format!("a value is one column, and it has {columns}"),
            )),
        }
    }

    pub(super) fn execute(&mut self, sql: &str, parameters: Parameters<'_>) -> Result<u64> {
        self.run(sql, |client, sql| match parameters {
            [] => client.execute_typed(sql, &[]).map_err(Fault::Plain),
            _ => {
                let affected = client.prepared_text(sql, |client, statement| affected(client, statement, parameters));
                affected.map_err(Fault::Values)
            }
        })
    }

    pub(super) fn execute_many<'p, I>(&mut self, sql: &str, rows: I) -> Result<u64>
    where
        I: IntoIterator,
        I::Item: AsRef<[&'p (dyn ToSql + Sync)]>,
    {
        self.check_needs_no_data(sql)?;
        let Self { client, templates, counter } = self;
        let sql = templates.replace(sql)?;
        let execute = || {
            let mut rows = rows.into_iter();
            // What cannot be prepared is one statement that failed, and each row is one.
            let statement = match client.prepare(&sql) {
                Ok(statement) => statement,
                Err(error) => return counter.run(&sql, || Err(Fault::Plain(error))),
            };
            rows.try_fold(0, |sum, row| {
                let one = || affected(client, &statement, row.as_ref()).map_err(Fault::Values);
                Ok(sum + counter.run(&sql, one)?)
            })
        };
        execute().map_err(|fault| fault.explain(&sql))
    }

    pub(super) fn batch_execute(&mut self, sql: &str) -> Result<()> {
        self.run(sql, |client, sql| client.batch_execute(sql).map_err(Fault::Plain))
    }

    pub(super) fn copy_in(&mut self, sql: &str, mut data: impl Read) -> Result<u64> {
        self.send(sql, |client, sql| {
            let mut writer = client.copy_in(sql).map_err(Fault::Plain)?;
            io::copy(&mut data, &mut writer).map_err(|cause| Fault::Stream("read the data of", cause))?;
            writer.finish().map_err(Fault::Values)
        })
    }

    pub(super) fn copy_out(&mut self, sql: &str, mut target: impl Write) -> Result<u64> {
        self.run(sql, |client, sql| {
            let mut reader = client.copy_out(sql).map_err(Fault::Plain)?;
            io::copy(&mut reader, &mut target).map_err(|cause| Fault::Stream("write the data of", cause))
        })
    }

    pub(super) fn table_exists(&mut self, name: &str) -> Result<bool> {
        const TABLE: &str = "SELECT EXISTS (SELECT FROM pg_catalog.pg_class AS c \
            JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace \
            WHERE n.nspname OPERATOR(pg_catalog.=) $1::pg_catalog.text AND c.relname OPERATOR(pg_catalog.=) $2::pg_catalog.text \
            AND c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p,f}'))";
        let schema = self.templates.schema().to_owned();
        self.value(TABLE, &[&schema, &name])
    }

    fn shown(&self, sql: &str) -> Result<String> {
        self.templates.replace(sql).map(|sql| shown(&sql))
    }
}

/// How many rows a statement with parameters has affected.
fn affected(client: &mut Client, statement: &Statement, parameters: Parameters<'_>) -> Result<u64, postgres::Error> {
    let mut rows = client.query_raw(statement, masked(parameters))?;
    while rows.next()?.is_some() {}
    Ok(rows.rows_affected().unwrap_or_default())
}

/// A statement in a message: its beginning, if it is very long.
fn shown(sql: &str) -> String {
    match sql.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", sql.get(..end).unwrap_or_default()),
        None => sql.into(),
    }
}

/// What went wrong with a statement.
enum Fault {
    /// Whatever the server says, it is about the text.
    Plain(postgres::Error),
    /// The server may say a value that was sent.
    Values(postgres::Error),
    /// The caller's stream, or the connection under it.
    Stream(&'static str, io::Error),
}

impl Coded for Fault {
    fn sqlstate(&self) -> Option<&SqlState> {
        match self {
            Self::Plain(error) | Self::Values(error) => error.code(),
            Self::Stream(_, cause) => cause.get_ref()?.downcast_ref::<postgres::Error>()?.code(),
        }
    }
}

impl Fault {
    fn of(error: postgres::Error, parameters: Parameters<'_>) -> Self {
        if parameters.is_empty() { Self::Plain(error) } else { Self::Values(error) }
    }

    fn explain(self, sql: &str) -> Error {
        let action = format!("execute {}", shown(sql));
        match self {
            Self::Plain(error) => Error::driver(&action, &error),
            Self::Values(error) => without_values(Error::driver(&action, &error)),
            Self::Stream(what, cause) => match cause.get_ref().and_then(|inner| inner.downcast_ref()) {
                Some(error) => without_values(Error::driver(&action, error)),
                None => Error::io(format!("{what} {}", shown(sql)), cause),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_statement_is_shown_up_to_its_bound() {
        assert_eq!(shown("SELECT 'é'"), "SELECT 'é'");
        assert_eq!(shown(&"é".repeat(2001)), "é".repeat(2000) + "...");
    }
}
