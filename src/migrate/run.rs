//! Running migrations, and the same as text for a plan.
use super::history::{self, Found, History, State};
use super::lock::Lock;
use super::options::{MigrateOptions, MissingSchema};
use super::prepared::{Mode, Prepared, Statement, WITHOUT_TRANSACTION};
use crate::error::{Error, Result};
use crate::name::Name;
use crate::script::Script;
use crate::session::Session;
use crate::sql::{Ident, Sql};
use postgres::error::SqlState;
use std::time::{Duration, Instant};

/// What was applied.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct MigrationReport {
    /// The migrations, in the order in which they were applied.
    pub applied: Vec<AppliedMigration>,
}

/// A migration that was applied.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct AppliedMigration {
    /// The number.
    pub version: u64,
    /// The name of the file.
    pub name: String,
    /// How many statements it has.
    pub statements: usize,
    /// How long it took.
    pub duration: Duration,
}

/// What has the server read strings as they were told apart here.
const STRINGS: &str = "SET standard_conforming_strings = on";

/// What has it read text as it is sent, also after a statement that may have changed that.
const READING: [&str; 2] = ["SET client_encoding = 'UTF8'", STRINGS];

/// Deferred constraints are checked while the settings are those of the migration.
const CONSTRAINTS: &str = "SET CONSTRAINTS ALL IMMEDIATE";

/// What a migration sets, becomes or makes for itself alone does not last. `RESET ALL` does not reset roles. It is
/// [`DISCARD ALL`](https://www.postgresql.org/docs/current/sql-discard.html) without what lets the lock go; nobody else
/// has prepared statements on this session.
const RESET: [&str; 7] = [
    "CLOSE ALL",
    "RESET SESSION AUTHORIZATION",
    "RESET ALL",
    "DEALLOCATE ALL",
    "UNLISTEN *",
    "DISCARD TEMP",
    "DISCARD SEQUENCES",
];

/// The settings under which the statements of a migration run.
fn settings(options: &MigrateOptions) -> Sql {
    let schemas = std::iter::once(&options.schema).chain(&options.search_path);
    sql!("SET search_path = {}", Sql::join(schemas.map(|schema| sql!("{}", Ident(schema))), ", "))
}

/// The role to become again.
fn role(session: &Session) -> Sql {
    match session.role() {
        Some(role) => sql!("SET ROLE {}", Ident(role)),
        None => sql!("RESET ROLE"),
    }
}

/// What is missing of schema and table.
pub(super) fn foundations(options: &MigrateOptions, table: &Name, found: &Found) -> Result<Vec<Sql>> {
    let mut missing = Vec::new();
    if !found.has_schema {
        match options.missing_schema {
            MissingSchema::Create => missing.push(sql!("CREATE SCHEMA {}", Ident(&options.schema))),
            MissingSchema::Refuse => {
                return Err(Error::NotFound {
                    what: format!("schema {:?}, which the migrations are for,", options.schema),
                });
            }
        }
    }
    if !found.has_table {
        missing.push(history::create(table));
    }
    Ok(missing)
}

/// Makes what is missing of schema and table. Migrators of other modules may be making the same: which of its objects the
/// server then says is there already (the table, its type, a row of a catalogue) depends on the moment.
pub(super) fn lay(session: &Session, options: &MigrateOptions, history: History<'_>, found: &Found) -> Result<()> {
    const MADE_BY_ANOTHER: [SqlState; 4] =
        [SqlState::UNIQUE_VIOLATION, SqlState::DUPLICATE_SCHEMA, SqlState::DUPLICATE_TABLE, SqlState::DUPLICATE_OBJECT];
    let action = format!("create {}, in which migrations are recorded", history.table);
    let made_by_another = |error: &Error| error.code().is_some_and(|code| MADE_BY_ANOTHER.contains(code));
    let mut missing = foundations(options, history.table, found)?;
    while let Some(first) = missing.first() {
        let result = session.run(&action, std::slice::from_ref(first)).map(drop);
        if result.as_ref().err().is_some_and(|error| !made_by_another(error)) {
            return result;
        }
        let left = foundations(options, history.table, &history::look(session, history.table, history.module)?)?;
        if left.len() >= missing.len() {
            return result;
        }
        missing = left;
    }
    Ok(())
}

/// What runs migrations on a session that is used for nothing else.
pub(super) struct Runner<'a> {
    pub(super) session: &'a Session,
    pub(super) lock: &'a Lock<'a>,
    pub(super) options: &'a MigrateOptions,
    pub(super) history: History<'a>,
}

impl Runner<'_> {
    /// Runs one; `done` says how many of its statements were run before, none of a migration that is new.
    pub(super) fn run(&self, prepared: &Prepared<'_>, done: Option<usize>) -> Result<AppliedMigration> {
        let began = Instant::now();
        self.lock.check()?;
        match prepared.mode {
            Mode::Transaction => self.in_transaction(prepared, began)?,
            Mode::EachByItself => self.one_by_one(prepared, done, began)?,
        }
        let (migration, duration) = (prepared.migration, began.elapsed());
        log::info!("applied migration {:?} in {duration:.1?}", migration.name());
        let statements = prepared.statements.len();
        Ok(AppliedMigration { version: migration.version(), name: migration.name().into(), statements, duration })
    }

    fn in_transaction(&self, prepared: &Prepared<'_>, began: Instant) -> Result<()> {
        let migration = prepared.migration;
        let action = format!("apply migration {:?}", migration.name());
        self.session.transaction(&action, || {
            self.set(&action)?;
            prepared.statements.iter().try_for_each(|statement| self.send(prepared, statement))?;
            let at_the_end = format!("run migration {:?}, at its end (deferred constraints)", migration.name());
            self.session.send_text(&at_the_end, CONSTRAINTS)?;
            self.reset(&action)?;
            let row = self.history.insert(migration, State::Applied, prepared.statements.len(), began.elapsed());
            self.session.run(&format!("record migration {:?}", migration.name()), &[row]).map(drop)
        })
    }

    fn one_by_one(&self, prepared: &Prepared<'_>, done: Option<usize>, began: Instant) -> Result<()> {
        let (migration, total) = (prepared.migration, prepared.statements.len());
        let action = format!("apply migration {:?}", migration.name());
        let note = |sql| self.session.run(&format!("record migration {:?}", migration.name()), &[sql]).map(drop);
        let advance = |state, done| note(self.history.advance(migration.version(), state, done, began.elapsed()));
        match done {
            None => note(self.history.insert(migration, State::Incomplete, 0, Duration::ZERO))?,
            Some(done) => advance(State::Incomplete, done)?,
        }
        self.set(&action)?;
        let done = done.unwrap_or_default();
        prepared.settings_of(done).try_for_each(|statement| self.send(prepared, statement))?;
        for (number, statement) in prepared.statements.iter().enumerate().skip(done) {
            let told = |error: Error| error.and(&stopped(number, total, statement));
            self.send(prepared, statement).and_then(|()| advance(State::Incomplete, number + 1)).map_err(told)?;
        }
        self.reset(&action)?;
        advance(State::Applied, total)
    }

    fn send(&self, prepared: &Prepared<'_>, statement: &Statement) -> Result<()> {
        let action = statement.action(prepared.migration);
        let sent = texts(statement).try_for_each(|text| self.session.send_text(&action, text));
        sent.map_err(|error| match (prepared.mode, error.code() == Some(&SqlState::ACTIVE_SQL_TRANSACTION)) {
            (Mode::Transaction, true) => {
                let line = WITHOUT_TRANSACTION[0];
                error.and(&format!("a line {line:?} in the file has its statements run without one"))
            }
            _ => error,
        })
    }

    fn set(&self, action: &str) -> Result<()> {
        self.session.run_for_user(action, &[settings(self.options)])?;
        self.session.send_text(action, STRINGS)
    }

    fn reset(&self, action: &str) -> Result<()> {
        RESET.iter().try_for_each(|text| self.session.send_text(action, text))?;
        self.session.run_for_user(action, &[role(self.session)])
    }
}

/// What is sent for a statement.
fn texts(statement: &Statement) -> impl Iterator<Item = &str> {
    let reading = READING.into_iter().filter(|_| statement.changes_reading);
    std::iter::once(statement.text.as_str()).chain(reading)
}

/// What is left of a migration without a transaction that did not come to its end.
fn stopped(done: usize, total: usize, statement: &Statement) -> String {
    format!(
        "{done} of its {total} statements are done and stay, and it is recorded as incomplete: look at what the one in \
         line {} has left, then repair",
        statement.line
    )
}

/// What [`Runner::run`] sends, but for what it asks.
pub(super) fn script(
    options: &MigrateOptions,
    history: History<'_>,
    session: &Session,
    prepared: &Prepared<'_>,
    done: Option<usize>,
) -> Script {
    let (migration, total) = (prepared.migration, prepared.statements.len());
    let mut script = Script::new();
    let mut add = |sql| script.add_alone(sql, Vec::new());
    let begun = match done {
        None => history.insert(migration, State::Incomplete, 0, Duration::ZERO),
        Some(done) => history.advance(migration.version(), State::Incomplete, done, Duration::ZERO),
    };
    // The name of a migration's file has nothing in it that would end a comment.
    add(Sql::trusted(format!("-- migration {}", migration.name())));
    match prepared.mode {
        Mode::Transaction => add(sql!("BEGIN")),
        Mode::EachByItself => add(begun),
    }
    add(settings(options));
    add(Sql::trusted(STRINGS));
    let done = done.unwrap_or_default();
    prepared.settings_of(done).flat_map(texts).for_each(|text| add(Sql::trusted(text)));
    for (number, statement) in prepared.statements.iter().enumerate().skip(done) {
        texts(statement).for_each(|text| add(Sql::trusted(text)));
        if prepared.mode == Mode::EachByItself {
            add(history.advance(migration.version(), State::Incomplete, number + 1, Duration::ZERO));
        }
    }
    if prepared.mode == Mode::Transaction {
        add(Sql::trusted(CONSTRAINTS));
    }
    RESET.into_iter().for_each(|text| add(Sql::trusted(text)));
    add(role(session));
    match prepared.mode {
        Mode::Transaction => {
            add(history.insert(migration, State::Applied, total, Duration::ZERO));
            add(sql!("COMMIT"));
        }
        Mode::EachByItself => add(history.advance(migration.version(), State::Applied, total, Duration::ZERO)),
    }
    script
}
