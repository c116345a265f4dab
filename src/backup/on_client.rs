//! Backup and restore by the client programs of this machine.
use super::access::Access;
use super::archive_file::{Unfinished, digest};
use super::contents::Contents;
use super::dump_options::{DumpFormat, Sync};
use super::manifest::Manifest;
use super::messages::ProgramMessage;
use super::process::{self, Running, Taken, Tolerance, Watch};
use super::program::Program;
use super::restore::{Restore, Source};
use super::restore_options::OnError;
use super::snapshot::Snapshot;
use super::{Backup, BackupReport, Dump, RowCounts};
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::version::OLDEST;
use jiff::Timestamp;
use std::fs::{self, File};
use std::ops::ControlFlow;
use std::path::{Path, absolute};
use std::process::{Command, Stdio};
use std::time::Duration;

/// What a backup is made with.
struct Dumper {
    program: Program,
    command: Command,
    title: String,
    started: Timestamp,
}

impl Dumper {
    fn new(cluster: &Cluster, backup: &Backup, snapshot: Option<&str>) -> Result<Self> {
        let major = cluster.version().major();
        let program = Program::find(backup.dump.program(), backup.programs.as_deref(), major, major)?;
        let access = Access::of(cluster)?;
        let mut dump = backup.dump.as_role(access.role.as_deref());
        if let (Dump::Database(options), Some(name)) = (&mut dump, snapshot) {
            options.snapshot = Some(name.to_owned());
        }
        let mut command = program.command();
        access.give(&mut command, cluster.current_database());
        command.args(dump.to_arguments(&program.version)?);
        Ok(Self { program, command, title: backup.title(cluster), started: Timestamp::now() })
    }

    fn manifest(&self, cluster: &Cluster, dump: &Dump) -> Manifest {
        Manifest {
            database: matches!(dump, Dump::Database(_)).then(|| cluster.current_database().to_owned()),
            format: dump.format(),
            size: 0,
            sha256: String::new(),
            server_version: cluster.version().to_string(),
            program: dump.program().into(),
            program_version: self.program.version.to_string(),
            started: self.started,
            ended: self.started,
            objects: Default::default(),
            tables: Vec::new(),
            large_objects: None,
        }
    }
}

/// Makes a dump in a file or directory.
pub(super) fn back_up(cluster: &Cluster, backup: &Backup, path: &Path, watch: &mut Watch<'_>) -> Result<BackupReport> {
    let format = backup.dump.format();
    let unfinished = Unfinished::beside(path, backup.existing, format)?;
    // Before anything is asked of the server: a program that is missing, an option that it does not have.
    Dumper::new(cluster, backup, None)?;
    let snapshot = match backup.row_counts {
        RowCounts::None => None,
        RowCounts::Exact => Some(Snapshot::export(cluster, backup.dump.lock_wait_timeout(), watch)?),
    };
    let mut dumper = Dumper::new(cluster, backup, snapshot.as_ref().map(|snapshot| snapshot.name.as_str()))?;
    // Not standard output: from version 16 on pg_dump appends there, and cannot go back to note where each table's data
    // begins. What exists it empties, so that the file keeps its mode.
    if format != DumpFormat::Directory {
        unfinished.create()?;
    }
    dumper.command.arg(file_argument(&unfinished.path)?);
    let running = Running::start(&dumper.title, &mut dumper.command)?;
    let size = || fs::metadata(&unfinished.path).map_or(0, |file| if file.is_dir() { 0 } else { file.len() });
    let warnings = process::wait(running, watch, Tolerance::None, size)?;

    let mut manifest = dumper.manifest(cluster, &backup.dump);
    if format != DumpFormat::Plain {
        let contents = list(&unfinished.path, backup.programs.as_deref(), manifest.written_by(), watch)?;
        manifest.objects = contents.counts();
        if let Some(snapshot) = &snapshot {
            let (tables, large_objects) = snapshot.count(&contents, watch)?;
            (manifest.tables, manifest.large_objects) = (tables, Some(large_objects));
        }
    }
    drop(snapshot);
    let digested = digest(&unfinished.path, watch)?;
    (manifest.size, manifest.sha256, manifest.ended) = (digested.size, digested.sha256, Timestamp::now());
    let told = manifest.write_beside(path)?;
    let sync = backup.dump.sync() != Sync::No;
    unfinished.complete(sync)?;
    if unfinished.replaces() {
        forget_manifest(path)?;
    }
    unfinished.publish(sync)?;
    told.publish(sync)?;
    Ok(BackupReport { manifest: Some(manifest), warnings })
}

/// The manifest of an older dump must not stay beside a newer one.
fn forget_manifest(path: &Path) -> Result<()> {
    let manifest = Manifest::path_for(path);
    match fs::remove_file(&manifest) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io(format!("remove {manifest:?}"), error))
        }
        _ => Ok(()),
    }
}

/// Makes a dump and hands it to another program.
pub(super) fn back_up_to_program(
    cluster: &Cluster,
    backup: &Backup,
    words: &[String],
    watch: &mut Watch<'_>,
) -> Result<BackupReport> {
    if backup.dump.format() == DumpFormat::Directory {
        return Err(Error::invalid("backup to a program", "the directory format is many files; choose another one"));
    }
    let mut dumper = Dumper::new(cluster, backup, None)?;
    let mut taker = command(words)?;
    let taker = Running::start(title(words), taker.stdin(Stdio::piped()).stdout(Stdio::null()))?;
    let running = Running::start(&dumper.title, dumper.command.stdout(Stdio::piped()))?;
    let passed = process::pipe(running, taker, watch, Tolerance::None, Taken::All)?;
    let mut manifest = dumper.manifest(cluster, &backup.dump);
    (manifest.size, manifest.sha256, manifest.ended) = (passed.bytes, passed.sha256, Timestamp::now());
    Ok(BackupReport { manifest: Some(manifest), warnings: passed.messages })
}

/// The list of contents of an archive.
pub(super) fn list(
    path: &Path,
    programs: Option<&Path>,
    written_by: Option<u32>,
    watch: &mut Watch<'_>,
) -> Result<Contents> {
    let major = written_by.unwrap_or(OLDEST);
    let program = Program::find("pg_restore", programs, major, major)?;
    let path = full(path)?;
    let mut command = program.command();
    let title = format!("pg_restore --list of {path:?}");
    let printed = process::capture(&title, command.arg("--list").arg(path), watch)?;
    Ok(Contents::read(&String::from_utf8_lossy(&printed)))
}

/// Restores a dump into a database that exists.
pub(super) fn restore(
    cluster: &Cluster,
    restore: &Restore,
    source: &Source<'_>,
    database: &str,
    watch: &mut Watch<'_>,
) -> Result<Vec<ProgramMessage>> {
    let access = Access::of(cluster)?;
    let mut options = restore.options.clone();
    options.role = options.role.or_else(|| access.role.clone());
    let plain = source.format() == Some(DumpFormat::Plain);
    let name = if plain { "psql" } else { "pg_restore" };
    let least = source.manifest().and_then(Manifest::written_by).unwrap_or(OLDEST);
    let program = Program::find(name, restore.programs.as_deref(), cluster.version().major(), least)?;
    let arguments = match plain {
        true => options.to_psql_arguments(&program.version)?,
        false => options.to_arguments(&program.version)?,
    };
    let mut command = program.command();
    access.give(&mut command, database);
    command.args(arguments);
    let tolerance = match options.on_error {
        OnError::Stop => Tolerance::None,
        OnError::Continue => Tolerance::IgnoredErrors,
    };
    let title = format!("{name} into database {database:?}");
    match source {
        Source::File { path, .. } if plain => {
            let file = File::open(path).map_err(|error| Error::io(format!("read {path:?}"), error))?;
            let running = Running::start(title, command.stdin(file))?;
            process::wait(running, watch, tolerance, || 0)
        }
        Source::File { path, .. } => {
            let running = Running::start(title, command.arg(full(path)?))?;
            process::wait(running, watch, tolerance, || 0)
        }
        Source::Program(words, _) => {
            if options.jobs.is_some_and(|jobs| jobs > 1) {
                return Err(Error::invalid("jobs of a restore from a program", "its output can be read only once"));
            }
            let mut giver = self::command(words)?;
            let giver = Running::start(self::title(words), giver.stdin(Stdio::null()).stdout(Stdio::piped()))?;
            let running = Running::start(title, command.stdin(Stdio::piped()))?;
            let taken = if plain { Taken::All } else { Taken::Enough };
            process::pipe(giver, running, watch, tolerance, taken).map(|passed| passed.messages)
        }
        Source::Server(_) => Err(Error::invalid("place of a dump", "it is not on this machine")),
    }
}

/// The definitions that are in a database, as pg_dump sees them.
pub(super) fn definitions(
    cluster: &Cluster,
    database: &str,
    programs: Option<&Path>,
    watch: &mut Watch<'_>,
) -> Result<Contents> {
    let there = cluster.database(database)?;
    let folder = std::env::temp_dir();
    let unfinished = Unfinished::beside(&folder.join(database), super::Existing::Refuse, DumpFormat::Custom)?;
    let mut options = super::DumpOptions::new();
    options.content = super::Content::SchemaOnly;
    let mut backup = Backup::on_client(&unfinished.path).with(options);
    backup.programs = programs.map(Path::to_owned);
    let mut dumper = Dumper::new(&there, &backup, None)?;
    unfinished.create()?;
    let running = Running::start(&dumper.title, dumper.command.arg(file_argument(&unfinished.path)?))?;
    process::wait(running, watch, Tolerance::None, || 0)?;
    list(&unfinished.path, programs, Some(dumper.program.version.major()), watch)
}

/// Runs a command of the caller's to its end.
pub(super) fn run(words: &[String], timeout: Option<Duration>) -> Result<()> {
    let mut command = command(words)?;
    let running = Running::start(title(words), command.stdin(Stdio::null()).stdout(Stdio::null()))?;
    let mut silent = |_: &super::Progress<'_>| ControlFlow::Continue(());
    process::wait(running, &mut Watch::new(timeout, &mut silent), Tolerance::None, || 0).map(drop)
}

fn command(words: &[String]) -> Result<Command> {
    let (program, arguments) =
        words.split_first().ok_or_else(|| Error::invalid("program of a backup or restore", "it has no name"))?;
    let mut command = Command::new(program);
    command.args(arguments);
    Ok(command)
}

/// The arguments may hold secrets, and are in no message.
fn title(words: &[String]) -> String {
    format!("program {:?}", words.first().map_or("", String::as_str))
}

/// A path that no program can take for an option.
fn full(path: &Path) -> Result<std::path::PathBuf> {
    absolute(path).map_err(|error| Error::io(format!("find {path:?}"), error))
}

fn file_argument(path: &Path) -> Result<std::ffi::OsString> {
    let mut argument = std::ffi::OsString::from("--file=");
    argument.push(full(path)?);
    Ok(argument)
}
