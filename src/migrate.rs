//! Migrations: the numbered files of SQL that make a schema what a program needs, each applied once.
//!
//! ```
//! # #[cfg(feature = "testing")] {
//! # let server = pgsteward::testing::TestServer::start()?;
//! use pgsteward::Cluster;
//! use pgsteward::migrate::{MigrateOptions, Migrations, Migrator};
//!
//! let migrations = Migrations::embedded([
//!     ("001_users.sql", "CREATE TABLE users (id bigint PRIMARY KEY, name text NOT NULL);"),
//!     ("002_names.sql", "CREATE UNIQUE INDEX ON {{tables.users}} (lower(name));"),
//! ])?;
//! let cluster = Cluster::connect(&server.dsn())?;
//! let migrator = Migrator::new(&cluster, migrations, MigrateOptions::new())?;
//! print!("{}", migrator.plan()?); // what would be sent
//! assert_eq!(migrator.apply()?.applied.len(), 2);
//! assert_eq!(migrator.apply()?.applied.len(), 0);
//! # }
//! # Ok::<(), pgsteward::Error>(())
//! ```
mod checksum;
mod file_name;
mod foreign;
mod history;
mod lock;
mod migrations;
mod options;
mod prepared;
mod run;
mod status;

pub use foreign::{ForeignHistory, ForeignProgram};
pub use migrations::{Migration, Migrations};
pub use options::{MigrateOptions, MissingSchema, Repair};
pub use run::{AppliedMigration, MigrationReport};
pub use status::{MigrationState, MigrationStatus};

use crate::cancel::Cancellation;
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::name::Name;
use crate::plan::Plan;
use crate::script::Script;
use crate::session::Session;
use crate::sql::{Ident, Lit, Sql};
use crate::template::Templates;
use history::{Found, History, State};
use lock::Lock;
use prepared::{Mode, Prepared};
use run::Runner;
use std::time::Duration;

/// The migrations of a module and the database that they are for.
///
/// What changes something runs on a connection of its own, with the same parameters and role, under an advisory lock of
/// the module, which is taken before anything is looked at. Of many programs that start at once, one applies each
/// migration, and the others wait until it is done.
#[derive(Clone, Debug)]
pub struct Migrator {
    cluster: Cluster,
    migrations: Migrations,
    options: MigrateOptions,
    table: Name,
    templates: Templates,
}

impl Migrator {
    /// Sends nothing.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name of a schema, a table or a module that no server takes.
    pub fn new(cluster: &Cluster, migrations: Migrations, options: MigrateOptions) -> Result<Self> {
        let table = Name::new(&options.schema, &options.table);
        table.check()?;
        let of_the_path = options.search_path.iter().map(|schema| sql!("{}", Ident(schema)));
        of_the_path.chain([sql!("{}", Lit(&options.module))]).try_for_each(|sql| sql.check())?;
        if options.module.is_empty() {
            return Err(Error::invalid("name of a module", "it is empty"));
        }
        let templates = Templates::new(&options.schema)?;
        Ok(Self { cluster: cluster.clone(), migrations, options, table, templates })
    }

    /// The migrations.
    pub fn migrations(&self) -> &Migrations {
        &self.migrations
    }

    /// The same for another cluster.
    fn on(&self, cluster: &Cluster) -> Self {
        Self { cluster: cluster.clone(), ..self.clone() }
    }

    fn history(&self) -> History<'_> {
        History { table: &self.table, module: &self.options.module }
    }

    fn found(&self) -> Result<Found> {
        history::look(self.cluster.session(), &self.table, &self.options.module)
    }

    /// How each migration stands, in the order of their numbers; those whose file is gone, too. Makes nothing, also where
    /// nothing was applied yet; two queries.
    ///
    /// # Errors
    /// [`Error::Denied`] and [`Error::Server`] if the table cannot be read.
    pub fn status(&self) -> Result<Vec<MigrationStatus>> {
        Ok(status::compare(&self.migrations, &self.found()?.records))
    }

    /// Those that [`apply`](Migrator::apply) would apply, in that order. Makes nothing.
    ///
    /// # Errors
    /// As for [`verify`](Migrator::verify).
    pub fn pending(&self) -> Result<Vec<&Migration>> {
        let found = self.found()?;
        Ok(self.to_apply(&found, None)?.into_iter().map(|(prepared, _)| prepared.migration).collect())
    }

    /// Refuses what [`apply`](Migrator::apply) would refuse before it runs anything. Makes nothing.
    ///
    /// # Errors
    /// [`Error::Invalid`] names each migration that was edited, is missing, incomplete or out of order; the file and the
    /// line of what no migration may hold; [`Error::NotFound`] without the schema, unless it is to be made; as for
    /// [`status`](Migrator::status).
    pub fn verify(&self) -> Result<()> {
        self.pending().map(drop)
    }

    /// What [`apply`](Migrator::apply) would send. Makes nothing, also where nothing was applied yet.
    ///
    /// # Errors
    /// As for [`verify`](Migrator::verify).
    pub fn plan(&self) -> Result<Plan> {
        self.cluster.plan(|cluster| self.on(cluster).apply().map(drop))
    }

    /// Applies all that are pending, each with its record in one transaction. If one fails, nothing of it is left, those
    /// before it stay, and those after it are not run.
    ///
    /// A migration in which a line begins with `-- pgsteward:no-transaction` (outside strings and other comments) is run
    /// statement by statement, for `CREATE INDEX CONCURRENTLY` and its like. If it fails, what was done stays, and
    /// nothing is applied until it was repaired.
    ///
    /// Names without a schema mean what is in the schema of the migrations, which is the only one in `search_path` but
    /// for those of [`MigrateOptions::search_path`], and `{{tables.users}}` and `{{schema}}` become names in it
    /// ([`Templates`]). What a migration sets, and temporary tables, do not outlive it; its role is that of the
    /// connection.
    ///
    /// In a plan it is collected, and the report is empty.
    ///
    /// # Errors
    /// Before anything is run: as for [`verify`](Migrator::verify), and [`Error::InUse`] names who has the lock.
    /// [`Error::Server`] and [`Error::Denied`] name file, line and the beginning of the statement. [`Error::Invalid`] in a
    /// transaction; [`Error::Unsupported`] on a connection that was handed in.
    pub fn apply(&self) -> Result<MigrationReport> {
        self.apply_until(None)
    }

    /// The same for the migrations up to this number, which must be that of one.
    ///
    /// # Errors
    /// As for [`apply`](Migrator::apply); [`Error::NotFound`].
    pub fn apply_to(&self, version: u64) -> Result<MigrationReport> {
        self.migrations.get(version)?;
        self.apply_until(Some(version))
    }

    fn apply_until(&self, last: Option<u64>) -> Result<MigrationReport> {
        if let Some(plan) = self.cluster.plan_in_progress()? {
            let again = self.clone();
            let script = self.script(last)?;
            if !script.is_empty() {
                plan.record(script, move |cluster| again.on(cluster).apply_until(last).map(drop));
            }
            return Ok(MigrationReport::default());
        }
        self.locked("apply migrations", |session, lock, found| {
            let to_apply = self.to_apply(found, last)?;
            if !to_apply.is_empty() {
                run::lay(session, &self.options, self.history(), found)?;
            }
            let runner = Runner { session, lock, options: &self.options, history: self.history() };
            let mut report = MigrationReport::default();
            for (prepared, done) in &to_apply {
                let count = report.applied.len();
                let told = |error: Error| match count {
                    0 => error,
                    _ => error.and(&format!("migrations that were applied before it, and stay: {count}")),
                };
                report.applied.push(runner.run(prepared, *done).map_err(told)?);
            }
            Ok(report)
        })
    }

    /// What is to be applied, and how many of its statements are done where it was begun before; refuses all that can be
    /// refused before it is run.
    fn to_apply(&self, found: &Found, last: Option<u64>) -> Result<Vec<(Prepared<'_>, Option<usize>)>> {
        let all = status::compare(&self.migrations, &found.records);
        status::check(&self.options.module, &all)?;
        let wanted = all.iter().filter(|each| each.state.is_pending() && last.is_none_or(|last| each.version <= last));
        let prepare = |each: &MigrationStatus| {
            let prepared = Prepared::new(self.migrations.get(each.version)?, &self.templates)?;
            Ok((prepared, (each.state == MigrationState::Resumable).then_some(each.statements_done)))
        };
        let to_apply: Vec<_> = wanted.map(prepare).collect::<Result<_>>()?;
        if !to_apply.is_empty() {
            run::foundations(&self.options, &self.table, found)?;
        }
        Ok(to_apply)
    }

    fn script(&self, last: Option<u64>) -> Result<Script> {
        let found = self.found()?;
        let to_apply = self.to_apply(&found, last)?;
        if to_apply.is_empty() {
            return Ok(Script::new());
        }
        let mut script = alone(run::foundations(&self.options, &self.table, &found)?);
        for (prepared, done) in &to_apply {
            script.append(run::script(&self.options, self.history(), self.cluster.session(), prepared, *done));
        }
        Ok(script)
    }

    /// Records the migrations up to this number as applied without running them: for a database that has what they
    /// make. In a plan it is collected.
    ///
    /// # Errors
    /// [`Error::NotFound`] if no migration has this number; [`Error::Invalid`] if one up to it is incomplete or edited,
    /// or a higher one was applied; as for [`apply`](Migrator::apply).
    pub fn baseline(&self, version: u64) -> Result<()> {
        self.migrations.get(version)?;
        let statements = move |migrator: &Self, _: &Session, found: &Found| {
            let all = status::compare(&migrator.migrations, &found.records);
            status::check(&migrator.options.module, &all)?;
            let new = all.iter().filter(|each| each.version <= version && each.state == MigrationState::Pending);
            let insert = |each: &MigrationStatus| {
                let migration = migrator.migrations.get(each.version)?;
                Ok(migrator.history().insert(migration, State::Baseline, 0, Duration::ZERO))
            };
            new.map(insert).collect()
        };
        self.record("record migrations as applied", statements)
    }

    /// Mends what is recorded of one migration, after somebody has looked at what is there. In a plan it is collected.
    ///
    /// # Errors
    /// [`Error::NotFound`] if nothing is recorded of it; [`Error::Invalid`] if it needs no such repair; as for
    /// [`apply`](Migrator::apply).
    pub fn repair(&self, version: u64, how: Repair) -> Result<()> {
        let statement = move |migrator: &Self, _: &Session, found: &Found| {
            migrator.repairing(version, how, found).map(|statement| vec![statement])
        };
        self.record("repair the record of migrations", statement)
    }

    fn repairing(&self, version: u64, how: Repair, found: &Found) -> Result<Sql> {
        let all = status::compare(&self.migrations, &found.records);
        let there = found.records.iter().any(|record| record.version == version);
        let may_be_repaired = |state| there || (state, how) == (MigrationState::OutOfOrder, Repair::Accept);
        let status = all.iter().find(|each| each.version == version && may_be_repaired(each.state));
        let what = format!("record of migration {version}");
        let Some(status) = status else { return Err(Error::NotFound { what }) };
        let refused = |why: &str| Err(Error::invalid(what.clone(), why));
        match (how, status.state) {
            (_, MigrationState::OutOfOrder) => {
                Ok(self.history().insert(self.migrations.get(version)?, State::Baseline, 0, Duration::ZERO))
            }
            (Repair::Forget, _) => Ok(self.history().forget(version)),
            (_, MigrationState::Missing) => refused("its file is gone: bring it back, or forget it"),
            (Repair::Accept, MigrationState::Edited | MigrationState::Incomplete | MigrationState::Resumable) => {
                Ok(self.history().accept(self.migrations.get(version)?, State::Applied))
            }
            (Repair::Resume, MigrationState::Incomplete | MigrationState::Resumable) => {
                let migration = self.migrations.get(version)?;
                let prepared = Prepared::new(migration, &self.templates)?;
                match prepared.mode == Mode::EachByItself && prepared.statements.len() >= status.statements_done {
                    true => Ok(self.history().accept(migration, State::Resumable)),
                    false => refused(
                        "its file is no longer one that can be resumed: it has a transaction, or fewer statements",
                    ),
                }
            }
            (_, state) => refused(&format!("it is {}, and there is nothing to be repaired so", state.word())),
        }
    }

    /// Takes over what another program has recorded: each of its migrations must have its file here, with the checksum
    /// that the program keeps, and is then recorded here as applied when and by whom it was. What is recorded here
    /// already is left out, and the other program's table stays as it is. Moments that pgdbm keeps are read in the time
    /// zone of the connection. In a plan it is collected.
    ///
    /// # Errors
    /// [`Error::Invalid`] names each migration without a file, or with another checksum; as for
    /// [`apply`](Migrator::apply).
    pub fn adopt(&self, history: &ForeignHistory) -> Result<()> {
        let action = foreign::described(history, &self.options.schema);
        let history = history.clone();
        let statements = move |migrator: &Self, session: &Session, found: &Found| {
            foreign::take_over(session, &history, &migrator.migrations, migrator.history(), found)
        };
        self.record(&action, statements)
    }

    /// Changes what is recorded, all or nothing, or has the plan collect it.
    fn record(
        &self,
        action: &str,
        statements: impl Fn(&Self, &Session, &Found) -> Result<Vec<Sql>> + Send + 'static,
    ) -> Result<()> {
        if let Some(plan) = self.cluster.plan_in_progress()? {
            let found = self.found()?;
            let changes = statements(self, self.cluster.session(), &found)?;
            if changes.is_empty() {
                return Ok(());
            }
            let mut script = alone(run::foundations(&self.options, &self.table, &found)?);
            script.append(alone(changes));
            let (again, action) = (self.clone(), action.to_owned());
            plan.record(script, move |cluster| again.on(cluster).record(&action, statements));
            return Ok(());
        }
        self.locked(action, |session, _, found| {
            let changes = statements(self, session, found)?;
            if changes.is_empty() {
                return Ok(());
            }
            run::lay(session, &self.options, self.history(), found)?;
            session.atomically(action, |transaction| transaction.send(&changes)).map(drop)
        })
    }

    /// Does something on a connection of its own, under the lock of the module, with what there is then.
    fn locked<R>(&self, action: &str, f: impl FnOnce(&Session, &Lock<'_>, &Found) -> Result<R>) -> Result<R> {
        if self.cluster.session().is_inside("look for a transaction")? {
            let why = "it runs on a connection of its own, and would not be part of it; call it outside";
            return Err(Error::invalid(format!("attempt to {action} in a transaction"), why));
        }
        let cancelled = Cancellation::of(self.cluster.session().family());
        let session = self.cluster.session().beside_once()?;
        let key = lock::key(&self.table, &self.options.module);
        let lock = Lock::take(&session, action, key, self.options.lock_wait, &cancelled)?;
        let result =
            history::look(&session, &self.table, &self.options.module).and_then(|found| f(&session, &lock, &found));
        // The lock ends with the session in any case; what was done is done.
        if let Err(error) = lock.release() {
            log::debug!("{error}");
        }
        self.cluster.refresh();
        result
    }
}

/// Statements that are no part of a transaction around them: they are sent on another connection.
fn alone(statements: Vec<Sql>) -> Script {
    let mut script = Script::new();
    statements.into_iter().for_each(|sql| script.add_alone(sql, Vec::new()));
    script
}
