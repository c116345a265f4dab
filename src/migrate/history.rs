//! The table in which is recorded what was applied: its statements, all of the crate's own, and its rows.
use super::migrations::Migration;
use crate::error::{Error, Result};
use crate::name::Name;
use crate::row::Row;
use crate::session::Session;
use crate::sql::{Lit, Sql};
use jiff::Timestamp;
use std::time::Duration;

/// A row of the table.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Record {
    pub(super) version: u64,
    pub(super) name: String,
    pub(super) checksum: String,
    pub(super) state: State,
    pub(super) statements_done: usize,
    pub(super) applied_at: Timestamp,
    pub(super) applied_by: String,
    pub(super) duration: Duration,
}

/// How far a migration is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Applied,
    /// It was not run, because what it does was there.
    Baseline,
    /// It runs without a transaction, or did.
    Incomplete,
    /// Somebody has looked, and wants it to go on.
    Resumable,
}

impl State {
    const ALL: [Self; 4] = [Self::Applied, Self::Baseline, Self::Incomplete, Self::Resumable];

    /// What stands in the table.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Baseline => "baseline",
            Self::Incomplete => "incomplete",
            Self::Resumable => "resumable",
        }
    }
}

/// What there is of a module.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    pub(super) has_schema: bool,
    pub(super) has_table: bool,
    /// In the order of their versions.
    pub(super) records: Vec<Record>,
}

/// The form of a moment that is read here, as a literal.
pub(super) const ISO: &str = "'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'";

/// Looks at the table, if there is one. Makes nothing.
pub(super) fn look(session: &Session, table: &Name, module: &str) -> Result<Found> {
    let action = format!("read the migrations recorded in {table}");
    let answers = session.run(&action, &[existence(table)])?;
    let Some(row) = answers.iter().flatten().next() else { return Ok(Found::default()) };
    let (has_schema, has_table) = (row.truth("has_schema")?, row.truth("has_table")?);
    let mut records = Vec::new();
    if has_table {
        let answers = session.run(&action, &[rows(table, module)])?;
        records = answers.iter().flatten().map(|row| read(row, table)).collect::<Result<_>>()?;
    }
    Ok(Found { has_schema, has_table, records })
}

/// Whether there is the schema, and the table in it.
fn existence(table: &Name) -> Sql {
    sql!(
        "SELECT (EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = {}))::text AS has_schema, \
         (EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = {} AND c.relname = {}))::text AS has_table",
        Lit(&table.schema),
        Lit(&table.schema),
        Lit(&table.name)
    )
}

pub(super) fn create(table: &Name) -> Sql {
    sql!(
        "CREATE TABLE {} (module pg_catalog.text, version pg_catalog.int8, name pg_catalog.text NOT NULL, \
         checksum pg_catalog.text NOT NULL, state pg_catalog.text NOT NULL \
         CHECK (state IN ('applied', 'baseline', 'incomplete', 'resumable')), \
         statements_done pg_catalog.int4 NOT NULL, applied_at pg_catalog.timestamptz NOT NULL, \
         applied_by pg_catalog.text NOT NULL, duration pg_catalog.interval NOT NULL, PRIMARY KEY (module, version))",
        table
    )
}

fn rows(table: &Name, module: &str) -> Sql {
    sql!(
        "SELECT version::text, name, checksum, state, statements_done::text, \
         pg_catalog.to_char(applied_at AT TIME ZONE 'UTC', {}) AS applied_at, applied_by, \
         pg_catalog.round((EXTRACT(epoch FROM duration) * 1000000)::pg_catalog.numeric)::text AS microseconds \
         FROM {} h WHERE module = {} ORDER BY h.version",
        ISO,
        table,
        Lit(module)
    )
}

fn read(row: &Row, table: &Name) -> Result<Record> {
    let unknown = |what: &str, value: &str| {
        Error::invalid(
            format!("{what} {value:?} in {table}"),
            "a newer version of pgsteward wrote it, or somebody by hand",
        )
    };
    let (state, applied_at) = (row.text("state")?, row.text("applied_at")?);
    Ok(Record {
        version: row.number("version")?,
        name: row.text("name")?,
        checksum: row.text("checksum")?,
        state: State::ALL.into_iter().find(|each| each.word() == state).ok_or_else(|| unknown("state", &state))?,
        statements_done: row.number("statements_done")?,
        applied_at: applied_at.parse().map_err(|_| unknown("moment", &applied_at))?,
        applied_by: row.text("applied_by")?,
        duration: Duration::from_micros(row.number("microseconds")?),
    })
}

/// A table, and whose rows in it.
#[derive(Clone, Copy)]
pub(super) struct History<'a> {
    pub(super) table: &'a Name,
    pub(super) module: &'a str,
}

impl History<'_> {
    /// Records a migration, as of now and by whoever is logged in.
    pub(super) fn insert(self, migration: &Migration, state: State, done: usize, duration: Duration) -> Sql {
        let now = sql!("pg_catalog.clock_timestamp(), SESSION_USER");
        self.insert_as_of(migration, state, done, &sql!("{}, {}", now, interval(duration)))
    }

    /// Records a migration that another program applied.
    pub(super) fn take_over(self, migration: &Migration, at: &str, by: Option<&str>, duration: Duration) -> Sql {
        let by = by.map_or_else(|| sql!("SESSION_USER"), |name| sql!("{}", Lit(name)));
        let when = sql!("{}::pg_catalog.timestamptz, {}, {}", Lit(at), by, interval(duration));
        self.insert_as_of(migration, State::Applied, 0, &when)
    }

    fn insert_as_of(self, migration: &Migration, state: State, done: usize, when: &Sql) -> Sql {
        sql!(
            "INSERT INTO {} (module, version, name, checksum, state, statements_done, applied_at, applied_by, duration) \
             VALUES ({}, {}, {}, {}, {}, {}, {})",
            self.table,
            Lit(self.module),
            migration.version(),
            Lit(migration.name()),
            Lit(migration.checksum()),
            Lit(state.word()),
            done,
            when
        )
    }

    /// How far a migration without a transaction is.
    pub(super) fn advance(self, version: u64, state: State, done: usize, duration: Duration) -> Sql {
        sql!(
            "UPDATE {} SET state = {}, statements_done = {}, applied_at = pg_catalog.clock_timestamp(), \
             duration = {} WHERE {}",
            self.table,
            Lit(state.word()),
            done,
            interval(duration),
            self.row(version)
        )
    }

    /// Takes a file as it is now for what was recorded.
    pub(super) fn accept(self, migration: &Migration, state: State) -> Sql {
        sql!(
            "UPDATE {} SET state = {}, name = {}, checksum = {} WHERE {}",
            self.table,
            Lit(state.word()),
            Lit(migration.name()),
            Lit(migration.checksum()),
            self.row(migration.version())
        )
    }

    pub(super) fn forget(self, version: u64) -> Sql {
        sql!("DELETE FROM {} WHERE {}", self.table, self.row(version))
    }

    fn row(self, version: u64) -> Sql {
        sql!("module = {} AND version = {}", Lit(self.module), version)
    }
}

fn interval(duration: Duration) -> Sql {
    sql!("{} * INTERVAL '1 microsecond'", u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
}
