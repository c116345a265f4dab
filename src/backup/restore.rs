//! A dump's way back.
use super::archive_file::{digest, recognize};
use super::dump_options::DumpFormat;
use super::manifest::Manifest;
use super::messages::{MessageKind, ProgramMessage};
use super::process::Watch;
use super::restore_options::RestoreOptions;
use super::{Place, ProgressCallback, ServerFile, around, check_outside, on_client, on_server, planned, run_command};
use crate::cancel;
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::kinds::Database;
use crate::object::Object;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where a dump is restored to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RestoreTarget {
    /// The database that the cluster is connected to. What was restored before an error stays there, unless it was one
    /// transaction.
    CurrentDatabase,
    /// A database that is made for it, and dropped again if the restore fails. Where it names no template, it is a copy of
    /// `template0`: what is in `template1` would get in the way.
    NewDatabase(Box<Database>),
}

impl From<Database> for RestoreTarget {
    fn from(database: Database) -> Self {
        Self::NewDatabase(Box::new(database))
    }
}

/// A dump to be restored: [`Cluster::restore`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Restore {
    /// Where it is.
    pub place: Place,
    /// Where it is restored to.
    pub target: RestoreTarget,
    /// How.
    pub options: RestoreOptions,
    /// The form of the dump. None is what it looks like; of what comes from a program, and on the server, an archive for
    /// pg_restore.
    pub format: Option<DumpFormat>,
    /// The directory of `pg_restore` and `psql`, on the machine where they run; as for [`Backup`](super::Backup::programs).
    pub programs: Option<PathBuf>,
    /// A command to run before, on the machine of the programs: its path or name, and its arguments.
    pub before: Vec<String>,
    /// A command to run after, in any case.
    pub after: Vec<String>,
    /// How long it may take; each of the commands before and after as long again. None is for ever.
    pub timeout: Option<Duration>,
}

impl Restore {
    /// All of a dump, up to the first error.
    pub fn new(place: Place, target: impl Into<RestoreTarget>) -> Self {
        Self {
            place,
            target: target.into(),
            options: RestoreOptions::new(),
            format: None,
            programs: None,
            before: Vec::new(),
            after: Vec::new(),
            timeout: None,
        }
    }

    /// A dump in a file of this machine, restored by the programs of this machine.
    pub fn on_client(path: impl Into<PathBuf>, target: impl Into<RestoreTarget>) -> Self {
        Self::new(Place::Client(path.into()), target)
    }

    /// A dump that a program of this machine prints: its path or name, and its arguments.
    pub fn from_program<W: Into<String>>(words: impl IntoIterator<Item = W>, target: impl Into<RestoreTarget>) -> Self {
        Self::new(Place::Program(words.into_iter().map(Into::into).collect()), target)
    }

    /// A dump in a file of the server's machine, restored by the programs of that machine.
    pub fn on_server(path: impl Into<String>, target: impl Into<RestoreTarget>) -> Self {
        Self::new(Place::Server(ServerFile::new(path)), target)
    }

    /// The same with other options.
    pub fn with(mut self, options: RestoreOptions) -> Self {
        self.options = options;
        self
    }

    /// Looks at the dump, and refuses one that is not what its manifest tells.
    pub(super) fn source(&self, cluster: &Cluster, watch: &mut Watch<'_>) -> Result<Source<'_>> {
        match &self.place {
            Place::Client(path) => {
                let format = self.format.map_or_else(|| recognize(path), Ok)?;
                let manifest = Manifest::beside(path)?;
                if let Some(manifest) = &manifest {
                    manifest.check(&format!("{path:?}"), &digest(path, watch)?)?;
                }
                Ok(Source::File { path, format, manifest: manifest.map(Box::new) })
            }
            Place::Program(words) => Ok(Source::Program(words, self.format)),
            Place::Server(file) => on_server::source(cluster, self, file, watch),
        }
    }

    /// Restores a dump that was looked at into a database that exists.
    pub(super) fn to_database(
        &self,
        cluster: &Cluster,
        source: &Source<'_>,
        database: &str,
        watch: &mut Watch<'_>,
    ) -> Result<RestoreReport> {
        let messages = match source {
            Source::Server(dump) => on_server::restore(cluster, self, dump, database, watch)?,
            _ => on_client::restore(cluster, self, source, database, watch)?,
        };
        let (errors, warnings) = messages.into_iter().partition(|message| message.kind == MessageKind::Error);
        Ok(RestoreReport { manifest: source.manifest().cloned(), errors, warnings })
    }
}

/// A dump that was looked at.
pub(super) enum Source<'a> {
    File { path: &'a Path, format: DumpFormat, manifest: Option<Box<Manifest>> },
    Program(&'a [String], Option<DumpFormat>),
    Server(Box<on_server::ServerDump<'a>>),
}

impl Source<'_> {
    pub(super) fn format(&self) -> Option<DumpFormat> {
        match self {
            Self::File { format, .. } => Some(*format),
            Self::Program(_, format) => *format,
            Self::Server(dump) => dump.format,
        }
    }

    pub(super) fn manifest(&self) -> Option<&Manifest> {
        match self {
            Self::File { manifest, .. } => manifest.as_deref(),
            Self::Program(..) => None,
            Self::Server(dump) => dump.manifest.as_ref(),
        }
    }
}

/// What came of a restore.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RestoreReport {
    /// The manifest that was beside the dump, if there was one; the dump is what it tells.
    pub manifest: Option<Manifest>,
    /// What failed, with [`OnError::Continue`](super::OnError::Continue): the objects and their messages. The first 10,000.
    pub errors: Vec<ProgramMessage>,
    /// The warnings of the programs.
    pub warnings: Vec<ProgramMessage>,
}

impl Cluster {
    /// Restores a dump, into the database that this is connected to or a new one: by pg_restore, a plain one by psql. A dump
    /// with a manifest beside it is compared with that first.
    ///
    /// Objects are made with the locks of their statements. A plain dump is a script for psql, which can run commands of the
    /// operating system: restore none that you do not trust. When the time is over, the caller gives up, or this program ends
    /// the call with a panic, the program is ended, and cancels what it has running on the server.
    ///
    /// In a plan it is collected, and prints as a comment with the program's arguments; the report is empty then.
    ///
    /// # Errors
    /// [`Error::Io`] with the operating system's words for a dump that cannot be read; [`Error::Invalid`] for one that is not
    /// what its manifest tells, and inside a transaction; [`Error::AlreadyExists`] for a new database that exists;
    /// [`Error::Unsupported`] for a missing program, one older than that which wrote the dump, and an option that it does not
    /// have; [`Error::OsCommand`] with the program's messages when it fails.
    pub fn restore(&self, restore: &Restore) -> Result<RestoreReport> {
        self.restore_with(restore, &mut |_| ControlFlow::Continue(()))
    }

    /// The same, with a callback that hears of progress and may end it.
    ///
    /// # Errors
    /// As for [`restore`](Cluster::restore); [`Error::OsCommand`] when the callback has ended it.
    pub fn restore_with(&self, restore: &Restore, progress: &mut ProgressCallback<'_>) -> Result<RestoreReport> {
        if let Some(plan) = self.plan_in_progress()? {
            let step = restore.clone();
            plan.record(planned::restore(self, restore)?, move |cluster| cluster.restore(&step).map(drop));
            return Ok(RestoreReport::default());
        }
        check_outside(self, "restore a database")?;
        let mut watch = Watch::new(restore.timeout, progress);
        let run = |words: &[String]| run_command(self, &restore.place, words, restore.timeout);
        around(&restore.before, &restore.after, run, || {
            // A dump that is missing or damaged is found before anything is made.
            let source = restore.source(self, &mut watch)?;
            match &restore.target {
                RestoreTarget::CurrentDatabase => {
                    let report = restore.to_database(self, &source, self.current_database(), &mut watch);
                    self.refresh();
                    report
                }
                RestoreTarget::NewDatabase(_) if restore.options.create => {
                    let why = "the dump makes its own; restore it into the current database";
                    Err(Error::invalid("option create for a restore into a new database", why))
                }
                RestoreTarget::NewDatabase(database) => {
                    let made = Made::create(self, (**database).clone())?;
                    match restore.to_database(self, &source, &database.name, &mut watch) {
                        Ok(report) => {
                            made.keep();
                            Ok(report)
                        }
                        Err(error) => Err(made.undo(error)),
                    }
                }
            }
        })
    }
}

/// A database that was made, and is dropped again unless it is kept.
pub(super) struct Made<'a> {
    cluster: &'a Cluster,
    database: Option<Object<Database>>,
}

impl<'a> Made<'a> {
    pub(super) fn create(cluster: &'a Cluster, mut database: Database) -> Result<Self> {
        database.template.get_or_insert_with(|| "template0".into());
        Ok(Self { cluster, database: Some(cluster.databases().create(database)?) })
    }

    fn keep(mut self) {
        self.database = None;
    }

    /// Drops it.
    pub(super) fn discard(mut self) -> Result<()> {
        self.drop_it()
    }

    /// Drops it after an error, which then says so if that fails.
    pub(super) fn undo(self, error: Error) -> Error {
        let name = self.database.as_ref().map(|database| database.name.clone()).unwrap_or_default();
        match self.discard() {
            Ok(()) => error,
            Err(left) => error.and(&format!("database {name:?} is left ({left}); drop it")),
        }
    }

    fn drop_it(&mut self) -> Result<()> {
        let Some(database) = self.database.take() else { return Ok(()) };
        self.cluster.disconnect_from(&database.name);
        cancel::in_any_case(|| database.clone().drop_force())
    }
}

impl Drop for Made<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.drop_it() {
            log::warn!("{error}");
        }
    }
}
