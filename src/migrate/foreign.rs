//! What other programs recorded of the migrations that they applied.
use super::checksum;
use super::history::{Found, History, ISO};
use super::migrations::{Migration, Migrations};
use crate::error::{Error, Result};
use crate::name::Name;
use crate::row::Row;
use crate::session::Session;
use crate::sql::Sql;
use std::collections::BTreeSet;
use std::time::Duration;

/// Which program applied the migrations so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForeignProgram {
    /// [pgdbm](https://pypi.org/project/pgdbm/), whose table is `schema_migrations`.
    Pgdbm,
    /// [refinery](https://docs.rs/refinery), whose table is `refinery_schema_history`.
    Refinery,
}

/// The record of another program: [`Migrator::adopt`](super::Migrator::adopt).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ForeignHistory {
    /// Whose it is.
    pub program: ForeignProgram,
    /// Its table, if it is not the usual one in the schema of the migrations.
    pub table: Option<Name>,
    /// Whose rows of the table, if not those of a module of the same name. Only pgdbm has modules.
    pub module: Option<String>,
}

impl ForeignHistory {
    /// The usual table of a program, in the schema of the migrations.
    pub fn new(program: ForeignProgram) -> Self {
        Self { program, table: None, module: None }
    }

    fn table(&self, schema: &str) -> Name {
        let usual = match self.program {
            ForeignProgram::Pgdbm => "schema_migrations",
            ForeignProgram::Refinery => "refinery_schema_history",
        };
        self.table.clone().unwrap_or_else(|| Name::new(schema, usual))
    }

    fn query(&self, table: &Name) -> Sql {
        match self.program {
            ForeignProgram::Pgdbm => sql!(
                "SELECT filename AS name, NULL AS version, checksum, module_name AS module, applied_by, \
                 pg_catalog.to_char(applied_at::pg_catalog.timestamptz AT TIME ZONE 'UTC', {}) AS applied_at, \
                 execution_time_ms::text AS milliseconds FROM {} ORDER BY id",
                ISO,
                table
            ),
            ForeignProgram::Refinery => sql!(
                "SELECT name, version::text AS version, checksum, NULL AS module, NULL AS applied_by, applied_on AS applied_at, \
                 NULL AS milliseconds FROM {} h ORDER BY h.version",
                table
            ),
        }
    }
}

/// A row of another program's table.
struct ForeignRecord {
    name: String,
    version: Option<u64>,
    checksum: String,
    module: Option<String>,
    applied_by: Option<String>,
    applied_at: String,
    milliseconds: u64,
}

impl ForeignRecord {
    fn read(row: &Row) -> Result<Self> {
        Ok(Self {
            name: row.text("name")?,
            version: row.optional_number("version")?,
            checksum: row.text("checksum")?,
            module: row.optional("module")?,
            applied_by: row.optional("applied_by")?,
            applied_at: row.text("applied_at")?,
            milliseconds: row.optional_number("milliseconds")?.unwrap_or_default(),
        })
    }

    /// The migration that this is about, or what is wrong.
    fn find<'m>(&self, program: ForeignProgram, migrations: &'m Migrations) -> Result<&'m Migration, String> {
        let is_it = |migration: &&Migration| match program {
            ForeignProgram::Pgdbm => migration.name() == self.name,
            ForeignProgram::Refinery => Some(migration.version()) == self.version && migration.file.title == self.name,
        };
        let named = match self.version {
            Some(version) => format!("V{version}__{}", self.name),
            None => self.name.clone(),
        };
        let Some(found) = migrations.iter().find(is_it) else {
            return Err(format!("{named:?}, applied at {}, has no file", self.applied_at));
        };
        let same = match program {
            ForeignProgram::Pgdbm => found.checksum() == self.checksum,
            ForeignProgram::Refinery => {
                checksum::refinery(&found.file.title, found.version(), found.text()).contains(&self.checksum)
            }
        };
        match same {
            true => Ok(found),
            false => Err(format!("{:?} was edited after it was applied at {}", found.name(), self.applied_at)),
        }
    }
}

/// The statements that record here what was recorded there, and is not yet.
pub(super) fn take_over(
    session: &Session,
    foreign: &ForeignHistory,
    migrations: &Migrations,
    history: History<'_>,
    found: &Found,
) -> Result<Vec<Sql>> {
    let table = foreign.table(&history.table.schema);
    let (mut records, action) = (Vec::new(), format!("read the migrations recorded in {table}"));
    session.read(&action, &foreign.query(&table), |row| {
        records.push(ForeignRecord::read(&row)?);
        Ok(())
    })?;
    let module = foreign.module.as_deref().unwrap_or(history.module);
    let (of_module, others): (Vec<_>, Vec<_>) =
        records.into_iter().partition(|record| record.module.as_deref().is_none_or(|name| name == module));
    let refused = |why: String| Err(Error::invalid(format!("migrations recorded in {table}"), why));
    if of_module.is_empty() {
        let names: BTreeSet<&str> = others.iter().filter_map(|record| record.module.as_deref()).collect();
        return refused(format!("there are none of module {module:?}; modules there are: {names:?}"));
    }
    let (mut statements, mut problems) = (Vec::new(), Vec::new());
    // The key of pgdbm's table lets a migration without a module be there twice.
    let mut known: BTreeSet<u64> = found.records.iter().map(|record| record.version).collect();
    for record in of_module {
        match record.find(foreign.program, migrations) {
            Ok(migration) if !known.insert(migration.version()) => {}
            Ok(migration) => {
                let duration = Duration::from_millis(record.milliseconds);
                statements.push(history.take_over(
                    migration,
                    &record.applied_at,
                    record.applied_by.as_deref(),
                    duration,
                ));
            }
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(statements) } else { refused(problems.join("; and ")) }
}

/// For messages: whose record it is.
pub(super) fn described(foreign: &ForeignHistory, schema: &str) -> String {
    format!("take over the migrations recorded in {}", foreign.table(schema))
}
