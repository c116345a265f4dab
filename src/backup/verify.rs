//! Whether a dump can be restored, by doing it.
use super::contents::Contents;
use super::dump_options::DumpFormat;
use super::manifest::{Manifest, TableRows};
use super::messages::ProgramMessage;
use super::process::Watch;
use super::restore::{Made, Restore, Source};
use super::restore_options::{OnError, RestoreOptions, RestoreTransaction};
use super::{Place, ProgressCallback, around, check_outside, on_client, on_server, run_command, snapshot};
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::files::nonce;
use crate::kinds::Database;
use crate::name::Name;
use crate::plan;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

/// What came of restoring a dump into a scratch database: [`Cluster::verify_backup`].
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct VerifyReport {
    /// The manifest beside the dump, if there is one; the dump is what it tells.
    pub manifest: Option<Manifest>,
    /// What failed: the objects and their messages.
    pub errors: Vec<ProgramMessage>,
    /// How many entries of each kind are in the dump's list of contents.
    pub objects: BTreeMap<String, u64>,
    /// The entries of the dump's list of contents that the scratch database has no counterpart of, as pg_restore prints
    /// them: kind, schema, name, owner. Those of the database itself and of subscriptions are not restored, nor compared.
    pub missing: Vec<String>,
    /// What the scratch database has beyond the list of contents.
    pub unexpected: Vec<String>,
    /// How many tables had their rows counted and compared with the manifest.
    pub tables_compared: usize,
    /// The tables that have not as many rows as the manifest tells.
    pub rows: Vec<RowDifference>,
    /// The large objects of the manifest and of the scratch database, if they are not as many.
    pub large_objects: Option<(u64, u64)>,
    /// The scratch database, if it could not be dropped, and why: it is to be dropped by hand.
    pub left: Option<(String, Error)>,
}

/// A table with other rows than it should have.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RowDifference {
    /// The schema.
    pub schema: String,
    /// The name.
    pub name: String,
    /// How many rows the manifest tells.
    pub expected: u64,
    /// How many there are; none if there is no such table.
    pub found: Option<u64>,
}

impl VerifyReport {
    /// Whether all of the dump was restored, and all that was compared is equal. A scratch database that is left says
    /// nothing of the dump.
    pub fn is_good(&self) -> bool {
        self.errors.is_empty()
            && self.missing.is_empty()
            && self.unexpected.is_empty()
            && self.rows.is_empty()
            && self.large_objects.is_none()
    }
}

impl Cluster {
    /// Restores a dump of a whole database into a scratch database, compares that with the dump's list of contents and its
    /// manifest, and drops it. `restore` says where the dump is; its target is not used, and of its options only `jobs` and
    /// `role`. The scratch database has the encoding and locale of the one that this is connected to. Subscriptions are left
    /// out: they would reach for their publishers.
    ///
    /// A plain dump has no list of contents; what is found out is whether it can be restored without an error.
    ///
    /// # Errors
    /// As for [`restore`](Cluster::restore), but what fails within the scratch database is in the report;
    /// [`Error::Invalid`] in a plan, for a dump that comes from a program, and for one that is not what
    /// its manifest tells.
    pub fn verify_backup(&self, restore: &Restore) -> Result<VerifyReport> {
        self.verify_backup_with(restore, &mut |_| ControlFlow::Continue(()))
    }

    /// The same, with a callback that hears of progress and may end it.
    ///
    /// # Errors
    /// As for [`verify_backup`](Cluster::verify_backup).
    pub fn verify_backup_with(&self, restore: &Restore, progress: &mut ProgressCallback<'_>) -> Result<VerifyReport> {
        if self.plan_in_progress()?.is_some() {
            return Err(plan::not_in_a_plan("verify_backup"));
        }
        check_outside(self, "verify a backup")?;
        if let Place::Program(_) = restore.place {
            let why = "it is read twice; store it in a file first";
            return Err(Error::invalid("verification of a dump that comes from a program", why));
        }
        let mut watch = Watch::new(restore.timeout, progress);
        let run = |words: &[String]| run_command(self, &restore.place, words, restore.timeout);
        around(&restore.before, &restore.after, run, || verify(self, restore, &mut watch))
    }
}

fn verify(cluster: &Cluster, restore: &Restore, watch: &mut Watch<'_>) -> Result<VerifyReport> {
    let source = restore.source(cluster, watch)?;
    let plain = source.format() == Some(DumpFormat::Plain);
    let mut trial = restore.clone();
    trial.options = RestoreOptions::new();
    trial.options.on_error = OnError::Continue;
    trial.options.role.clone_from(&restore.options.role);
    if plain {
        // What follows an error in a script can do harm, and its one exit code says nothing of others.
        (trial.options.on_error, trial.options.transaction) = (OnError::Stop, RestoreTransaction::None);
    } else {
        trial.options.jobs = restore.options.jobs;
        trial.options.no_subscriptions = true;
    }
    let scratch = scratch(cluster)?;
    let name = scratch.name.clone();
    let made = Made::create(cluster, scratch)?;
    match try_in(cluster, &trial, &source, &name, watch) {
        Ok(mut report) => {
            report.left = made.discard().err().map(|error| (name, error));
            Ok(report)
        }
        Err(error) => Err(made.undo(error)),
    }
}

/// Restores into a database that is there for it, and compares.
fn try_in(
    cluster: &Cluster,
    trial: &Restore,
    source: &Source<'_>,
    name: &str,
    watch: &mut Watch<'_>,
) -> Result<VerifyReport> {
    let restored = trial.to_database(cluster, source, name, watch)?;
    let mut report = VerifyReport { manifest: restored.manifest, errors: restored.errors, ..VerifyReport::default() };
    if source.format() != Some(DumpFormat::Plain) {
        let (dumped, there) = contents(cluster, trial, source, name, watch)?;
        report.objects = dumped.counts();
        report.missing = dumped.definitions_beyond(&there);
        report.unexpected = there.definitions_beyond(&dumped);
    }
    compare_rows(&cluster.database(name)?, &mut report, watch)?;
    Ok(report)
}

/// A database like the one at hand, and empty.
fn scratch(cluster: &Cluster) -> Result<Database> {
    let like = cluster.databases().with_system().get(cluster.current_database())?;
    let mut database = Database::new(format!("pgsteward_verify_{}", nonce()));
    database.template = Some("template0".into());
    database.encoding.clone_from(&like.encoding);
    database.locale_provider = like.locale_provider;
    database.collate.clone_from(&like.collate);
    database.ctype.clone_from(&like.ctype);
    database.locale.clone_from(&like.locale);
    database.icu_rules.clone_from(&like.icu_rules);
    Ok(database)
}

/// The lists of contents of a dump, and of the database that it was restored into.
fn contents(
    cluster: &Cluster,
    restore: &Restore,
    source: &Source<'_>,
    scratch: &str,
    watch: &mut Watch<'_>,
) -> Result<(Contents, Contents)> {
    let programs = restore.programs.as_deref();
    match source {
        Source::Server(dump) => on_server::contents(cluster, restore, dump, scratch, watch),
        Source::Program(..) => Ok(Default::default()),
        Source::File { path, manifest, .. } => {
            let written_by = manifest.as_ref().and_then(|manifest| manifest.written_by());
            let dumped = on_client::list(path, programs, written_by, watch)?;
            Ok((dumped, on_client::definitions(cluster, scratch, programs, watch)?))
        }
    }
}

fn compare_rows(scratch: &Cluster, report: &mut VerifyReport, watch: &mut Watch<'_>) -> Result<()> {
    let Some(manifest) = &report.manifest else { return Ok(()) };
    let session = scratch.session();
    if let Some(expected) = manifest.large_objects {
        let found = snapshot::count_large_objects(session)?;
        report.large_objects = (expected != found).then_some((expected, found));
    }
    if manifest.tables.is_empty() {
        return Ok(());
    }
    let present: BTreeSet<(String, String)> = snapshot::present(session)?;
    let is_there = |table: &&TableRows| present.contains(&(table.schema.clone(), table.name.clone()));
    let names: Vec<Name> =
        manifest.tables.iter().filter(is_there).map(|table| Name::new(&*table.schema, &*table.name)).collect();
    let counted: BTreeMap<(String, String), u64> = snapshot::count_rows(session, &names, watch)?
        .into_iter()
        .map(|table| ((table.schema, table.name), table.rows))
        .collect();
    for table in &manifest.tables {
        let found = counted.get(&(table.schema.clone(), table.name.clone())).copied();
        if found != Some(table.rows) {
            let (schema, name) = (table.schema.clone(), table.name.clone());
            report.rows.push(RowDifference { schema, name, expected: table.rows, found });
        }
    }
    report.tables_compared = manifest.tables.len();
    Ok(())
}
