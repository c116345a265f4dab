//! Dumps of databases, and their way back: pg_dump, pg_restore, pg_dumpall and psql, on this machine or on the server's.
//!
//! ```no_run
//! use pgsteward::backup::{Backup, DumpOptions, Restore};
//! use pgsteward::{Cluster, Database};
//!
//! # fn main() -> pgsteward::Result<()> {
//! let shop = Cluster::connect("host=db user=postgres dbname=shop")?;
//! let mut options = DumpOptions::new();
//! options.exclude_table_data = vec!["audit.*".into()];
//! shop.backup(&Backup::on_client("/backup/shop.dump").with(options))?;
//!
//! shop.restore(&Restore::on_client("/backup/shop.dump", Database::new("shop_copy")))?;
//! # Ok(())
//! # }
//! ```
//!
//! A dump is written under a temporary name beside its final one, brought to the disk, checked (`pg_restore --list`), and
//! only then renamed: at the final path there is a whole dump or none. A [`Manifest`] beside it has its hash and what it
//! is of. No shell is used on this machine, and no value of an option is code to anything.
mod access;
mod archive_file;
mod arguments;
mod contents;
mod dump_options;
mod globals_options;
mod manifest;
mod messages;
mod on_client;
mod on_server;
mod planned;
mod process;
mod program;
mod restore;
mod restore_options;
mod snapshot;
mod verify;

pub use self::archive_file::Existing;
pub use self::dump_options::{Compression, Content, DumpFormat, DumpOptions, LargeObjectData, RowForm, Section, Sync};
pub use self::globals_options::{GlobalObjects, GlobalsOptions};
pub use self::manifest::{Manifest, TableRows};
pub use self::messages::{MessageKind, ProgramMessage};
pub use self::restore::{Restore, RestoreReport, RestoreTarget};
pub use self::restore_options::{OnError, RestoreOptions, RestoreTransaction};
pub use self::verify::{RowDifference, VerifyReport};

use self::process::Watch;
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::version::ServerVersion;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;

/// Where a dump is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// A file of this machine, or a directory for [`DumpFormat::Directory`]. The programs run here.
    Client(PathBuf),
    /// A program of this machine that takes a dump on its standard input, or gives it on its standard output: its path or
    /// name, and its arguments. No shell is used. The other programs run here.
    Program(Vec<String>),
    /// A file or directory of the server's machine. The programs run there, by
    /// [`run_os_command`](crate::Cluster::run_os_command).
    Server(ServerFile),
}

/// A file of the server's machine.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerFile {
    /// The path: absolute, or relative to `base_path`.
    pub path: String,
    /// Where a relative path begins.
    pub base_path: Option<String>,
    /// The role that the programs connect as, over the server's own socket. None is what they take by themselves: the name
    /// of the operating system's user that the server runs as.
    pub user: Option<String>,
}

impl ServerFile {
    /// A file, and the programs connect as the server's user.
    pub fn new(path: impl Into<String>) -> Self {
        Self { path: path.into(), base_path: None, user: None }
    }
}

/// What is dumped.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Dump {
    /// The database that the cluster is connected to, by pg_dump.
    Database(Box<DumpOptions>),
    /// What belongs to no database, by pg_dumpall.
    Globals(GlobalsOptions),
}

impl From<DumpOptions> for Dump {
    fn from(options: DumpOptions) -> Self {
        Self::Database(Box::new(options))
    }
}

impl From<GlobalsOptions> for Dump {
    fn from(options: GlobalsOptions) -> Self {
        Self::Globals(options)
    }
}

impl Dump {
    fn program(&self) -> &'static str {
        match self {
            Self::Database(_) => "pg_dump",
            Self::Globals(_) => "pg_dumpall",
        }
    }

    fn format(&self) -> DumpFormat {
        match self {
            Self::Database(options) => options.format,
            Self::Globals(_) => DumpFormat::Plain,
        }
    }

    fn sync(&self) -> Sync {
        match self {
            Self::Database(options) => options.sync,
            Self::Globals(_) => Sync::Fsync,
        }
    }

    fn to_arguments(&self, version: &ServerVersion) -> Result<Vec<String>> {
        match self {
            Self::Database(options) => options.to_arguments(version),
            Self::Globals(options) => options.to_arguments(version),
        }
    }

    /// The same, as the role that the cluster's connection has become, unless it says another.
    fn as_role(&self, role: Option<&str>) -> Self {
        let mut dump = self.clone();
        let own = match &mut dump {
            Self::Database(options) => &mut options.role,
            Self::Globals(options) => &mut options.role,
        };
        if own.is_none() {
            *own = role.map(str::to_owned);
        }
        dump
    }
}

/// Whether rows are counted for the manifest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RowCounts {
    /// They are not.
    #[default]
    None,
    /// Of each table whose data is dumped, and in the same moment: a session of its own exports a snapshot, and holds the
    /// tables that the role may read in ACCESS SHARE until all is done. Each table is read once more.
    Exact,
}

/// A dump to be made: [`Cluster::backup`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Backup {
    /// Where it goes.
    pub place: Place,
    /// What is dumped, and how.
    pub dump: Dump,
    /// The directory of `pg_dump` and the rest, on the machine where they run. None, here: that of the server's major
    /// version in the usual place, else what `PATH` has, else a newer one. None, on the server: its own.
    pub programs: Option<PathBuf>,
    /// What to do when there is a file already.
    pub existing: Existing,
    /// Whether rows are counted.
    pub row_counts: RowCounts,
    /// A command to run before, on the machine of the programs: its path or name, and its arguments. If it fails, nothing is
    /// dumped.
    pub before: Vec<String>,
    /// A command to run after, in any case.
    pub after: Vec<String>,
    /// How long it may take; each of the commands before and after as long again. None is for ever.
    pub timeout: Option<Duration>,
}

impl Backup {
    /// A dump of the database that the cluster is connected to, with the defaults of [`DumpOptions`].
    pub fn new(place: Place) -> Self {
        Self {
            place,
            dump: DumpOptions::new().into(),
            programs: None,
            existing: Existing::Refuse,
            row_counts: RowCounts::None,
            before: Vec::new(),
            after: Vec::new(),
            timeout: None,
        }
    }

    /// A dump by the programs of this machine into a file of it, which only its user may read.
    pub fn on_client(path: impl Into<PathBuf>) -> Self {
        Self::new(Place::Client(path.into()))
    }

    /// A dump by the programs of this machine into another program: its path or name, and its arguments.
    pub fn to_program<W: Into<String>>(words: impl IntoIterator<Item = W>) -> Self {
        Self::new(Place::Program(words.into_iter().map(Into::into).collect()))
    }

    /// A dump by the programs of the server's machine into a file of it.
    pub fn on_server(path: impl Into<String>) -> Self {
        Self::new(Place::Server(ServerFile::new(path)))
    }

    /// The same with other options: [`DumpOptions`] for the database, [`GlobalsOptions`] for what belongs to none.
    pub fn with(mut self, options: impl Into<Dump>) -> Self {
        self.dump = options.into();
        self
    }

    /// Refuses what no dump can be.
    fn check(&self) -> Result<()> {
        let why = match () {
            () if self.row_counts == RowCounts::None => return Ok(()),
            () if self.dump.format() == DumpFormat::Plain => "a plain dump has no list of the tables that are in it",
            () if matches!(self.place, Place::Program(_)) => "what a program took cannot be listed",
            () => return Ok(()),
        };
        Err(Error::invalid("row counts for a backup", why))
    }

    fn title(&self, cluster: &Cluster) -> String {
        match self.dump {
            Dump::Database(_) => format!("pg_dump of database {:?}", cluster.current_database()),
            Dump::Globals(_) => "pg_dumpall of what belongs to no database".into(),
        }
    }
}

/// What came of a backup.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct BackupReport {
    /// What is known of the dump, which is also in the file beside it. None in a plan.
    pub manifest: Option<Manifest>,
    /// The warnings of the programs.
    pub warnings: Vec<ProgramMessage>,
}

/// How far a program is.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Progress<'a> {
    /// It has said something: a step (with `verbose`), a warning, an error.
    Message(&'a ProgramMessage),
    /// So many bytes of the dump are written, handed on, or read for its hash. Told again at least ten times a second while a
    /// program runs here; 0 where nobody knows.
    Bytes(u64),
}

/// Hears of progress, and ends the work by [`ControlFlow::Break`]. It is called on the caller's thread.
pub type ProgressCallback<'a> = dyn FnMut(&Progress<'_>) -> ControlFlow<()> + 'a;

impl Cluster {
    /// Makes a dump, of the database that this is connected to or of what belongs to no database, and checks that it can be
    /// read. pg_dump must be of the server's major version or newer.
    ///
    /// pg_dump holds the tables that it dumps in ACCESS SHARE: readers and writers go on, `DROP`, `TRUNCATE` and most forms
    /// of `ALTER TABLE` wait. On this machine, it gets the connection's parameters and its password in its environment. What
    /// is in the variables `PG...` of this program's own environment does not count.
    ///
    /// When the time is over, the caller gives up, or this program ends the call with a panic, pg_dump is ended, cancels what
    /// it has running on the server, and what it has written is removed. Of a program that is killed there stays a file
    /// `.NAME.pgsteward-....part` at most.
    ///
    /// In a plan it is collected, and prints as a comment with the program's arguments; the report is empty then.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] for a file that is there; [`Error::Io`] with the operating system's words for a folder that is
    /// not; [`Error::Unsupported`] for a missing or too old program, an option that it does not have, and on a connection
    /// that was handed in; [`Error::OsCommand`] with the program's messages when one fails, and when the time is over;
    /// [`Error::Invalid`] inside a transaction, of which pg_dump would see nothing.
    pub fn backup(&self, backup: &Backup) -> Result<BackupReport> {
        self.backup_with(backup, &mut |_| ControlFlow::Continue(()))
    }

    /// The same, with a callback that hears of progress and may end it. A program on the server tells what it said when it
    /// has ended.
    ///
    /// # Errors
    /// As for [`backup`](Cluster::backup); [`Error::OsCommand`] when the callback has ended it.
    pub fn backup_with(&self, backup: &Backup, progress: &mut ProgressCallback<'_>) -> Result<BackupReport> {
        backup.check()?;
        if let Some(plan) = self.plan_in_progress()? {
            let step = backup.clone();
            plan.record(planned::backup(self, backup)?, move |cluster| cluster.backup(&step).map(drop));
            return Ok(BackupReport::default());
        }
        check_outside(self, "back up a database")?;
        let mut watch = Watch::new(backup.timeout, progress);
        let run = |words: &[String]| run_command(self, &backup.place, words, backup.timeout);
        around(&backup.before, &backup.after, run, || match &backup.place {
            Place::Client(path) => on_client::back_up(self, backup, path, &mut watch),
            Place::Program(words) => on_client::back_up_to_program(self, backup, words, &mut watch),
            Place::Server(file) => on_server::back_up(self, backup, file, &mut watch),
        })
    }
}

impl Place {
    /// For messages.
    fn shown(&self) -> String {
        match self {
            Self::Client(path) => format!("{path:?}"),
            Self::Program(words) => format!("the program {:?}", words.first().map_or("", String::as_str)),
            Self::Server(file) => format!("{:?} on the server", file.path),
        }
    }
}

/// Runs the commands before and after, the latter in any case. The first error counts.
fn around<R>(
    before: &[String],
    after: &[String],
    run: impl Fn(&[String]) -> Result<()>,
    work: impl FnOnce() -> Result<R>,
) -> Result<R> {
    let result = run(before).and_then(|()| work());
    let ran = run(after).inspect_err(|error| log::warn!("the command after a backup or restore: {error}"));
    let result = result?;
    ran.map(|()| result)
}

fn run_command(cluster: &Cluster, place: &Place, words: &[String], timeout: Option<Duration>) -> Result<()> {
    match (words.is_empty(), place) {
        (true, _) => Ok(()),
        (false, Place::Server(_)) => on_server::run(cluster, words, timeout).map(drop),
        (false, _) => on_client::run(words, timeout),
    }
}

/// Refuses an open transaction: another session would see nothing of it, and wait for its locks.
fn check_outside(cluster: &Cluster, action: &str) -> Result<()> {
    match cluster.session().is_inside(action)? {
        false => Ok(()),
        true => Err(Error::invalid(
            format!("attempt to {action} in a transaction"),
            "a program in another session sees nothing of it, and may wait for its locks; end it first",
        )),
    }
}
