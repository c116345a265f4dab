//! Dumps.
#[cfg(test)]
mod complete;
mod compression;
pub(crate) mod content;
pub(crate) mod dump_options;
mod globals_options;
pub(crate) mod work;

use self::dump_options::DumpArguments;
use self::globals_options::GlobalsArguments;
use self::work::{Work, named, warn, watched};
use super::super::context::Context;
use super::super::exit::Failure;
use super::super::output::{Output, Record};
use super::super::units::readable;
use clap::{Args, Subcommand};
use pgsteward::Error;
use pgsteward::backup::{Backup, BackupReport, Dump, DumpFormat, Existing, Manifest, RowCounts, TableRows};
use serde_json::{Map, Value, json};
use std::path::PathBuf;

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Dump the database
    Create(Box<CreateOptions>),
    /// Dump what belongs to no database: roles and tablespaces
    Globals(Box<GlobalsOptions>),
    /// What is known of a dump, from the file beside it
    Show(ShowOptions),
}

#[derive(Args)]
pub(crate) struct CreateOptions {
    #[command(flatten)]
    destination: Destination,
    /// Do not count the rows for the manifest, which reads each table once more. Those of a plain dump, and of what
    /// another program takes, are never counted
    #[arg(long)]
    no_count_rows: bool,
    #[command(flatten)]
    work: Work,
    #[command(flatten)]
    dump: DumpArguments,
}

#[derive(Args)]
pub(crate) struct GlobalsOptions {
    #[command(flatten)]
    destination: Destination,
    #[command(flatten)]
    work: Work,
    #[command(flatten)]
    dump: GlobalsArguments,
}

#[derive(Args)]
struct Destination {
    /// The file, or the directory of the directory format
    #[arg(required_unless_present = "to_program")]
    path: Option<PathBuf>,
    /// In the place of the file that is there
    #[arg(long)]
    replace: bool,
    /// To the program after --, on its standard input
    #[arg(long, requires = "words", conflicts_with_all = ["path", "replace"])]
    to_program: bool,
    /// The program and its arguments
    #[arg(last = true, requires = "to_program", value_name = "WORD")]
    words: Vec<String>,
}

#[derive(Args)]
pub(crate) struct ShowOptions {
    /// The dump
    path: PathBuf,
    /// The tables with their rows
    #[arg(long, conflicts_with = "objects")]
    tables: bool,
    /// How many objects of each kind it has
    #[arg(long)]
    objects: bool,
}

pub(crate) fn run(context: &Context, verb: &Verb) -> Result<(), Failure> {
    let verbose = context.output.tells_steps();
    match verb {
        Verb::Create(options) => {
            let CreateOptions { destination, no_count_rows, work, dump } = &**options;
            let dump = dump.options(verbose);
            let counts = !no_count_rows && !destination.to_program && dump.format != DumpFormat::Plain;
            let mut backup = backup(destination, work)?.with(dump);
            if counts {
                backup.row_counts = RowCounts::Exact;
            }
            create(context, &backup)
        }
        Verb::Globals(options) => {
            let GlobalsOptions { destination, work, dump } = &**options;
            create(context, &backup(destination, work)?.with(dump.options(verbose)))
        }
        Verb::Show(options) => show(&context.output, options),
    }
}

fn backup(destination: &Destination, work: &Work) -> Result<Backup, Failure> {
    let Destination { path, replace, to_program: _, words } = destination;
    let mut backup = Backup::new(work.place(path.as_deref(), words)?);
    if *replace {
        backup.existing = Existing::Replace;
    }
    backup.programs.clone_from(&work.programs);
    backup.before.clone_from(&work.before);
    backup.after.clone_from(&work.after);
    backup.timeout = work.timeout();
    Ok(backup)
}

fn create(context: &Context, backup: &Backup) -> Result<(), Failure> {
    let mut report = BackupReport::default();
    context.change("", |cluster| {
        report = watched(context, |progress| cluster.backup_with(backup, progress))?;
        Ok(())
    })?;
    // None in a plan.
    let Some(manifest) = &report.manifest else { return Ok(()) };
    warn(context, &report.warnings);
    let what = match backup.dump {
        Dump::Globals(_) => "what belongs to no database".into(),
        _ => format!("database {}", context.cluster.current_database()),
    };
    let place = named(&backup.place);
    context.output.say(&format!("backed up {what} to {place} ({})", readable(manifest.size)));
    let mut record = known(&context.output, &place, manifest);
    record.push(("warnings", work::list(&report.warnings)));
    if context.output.is_json() { context.output.record(&record) } else { Ok(()) }
}

/// Prints the manifest of a dump of this machine, which takes no connection.
pub(crate) fn show(output: &Output, options: &ShowOptions) -> Result<(), Failure> {
    let ShowOptions { path, tables, objects } = options;
    let manifest = Manifest::beside(path)?
        .ok_or_else(|| Error::NotFound { what: format!("the manifest {:?}", Manifest::path_for(path)) })?;
    if *tables {
        let record = |table: &TableRows| -> Record {
            vec![
                ("schema", table.schema.clone().into()),
                ("name", table.name.clone().into()),
                ("rows", table.rows.into()),
            ]
        };
        let records: Vec<Record> = manifest.tables.iter().map(record).collect();
        return output.records(&["schema", "name", "rows"], &[], &records);
    }
    if *objects {
        let record = |(kind, count): (&String, &u64)| -> Record {
            vec![("kind", kind.clone().into()), ("count", (*count).into())]
        };
        let records: Vec<Record> = manifest.objects.iter().map(record).collect();
        return output.records(&["kind", "count"], &[], &records);
    }
    output.record(&known(output, &path.display().to_string(), &manifest))
}

/// What is known of a dump. The tables may be very many: only JSON has them here.
fn known(output: &Output, path: &str, manifest: &Manifest) -> Record {
    let objects: Map<String, Value> =
        manifest.objects.iter().map(|(kind, count)| (kind.clone(), (*count).into())).collect();
    let mut record: Record = vec![
        ("path", path.into()),
        ("database", manifest.database.clone().into()),
        ("format", manifest.format.name().into()),
        ("size", manifest.size.into()),
        ("sha256", manifest.sha256.clone().into()),
        ("server_version", manifest.server_version.clone().into()),
        ("program", manifest.program.clone().into()),
        ("program_version", manifest.program_version.clone().into()),
        ("started", manifest.started.to_string().into()),
        ("ended", manifest.ended.to_string().into()),
        ("objects", Value::Object(objects)),
        ("large_objects", manifest.large_objects.into()),
    ];
    if output.is_json() {
        let table = |table: &TableRows| json!({"schema": table.schema, "name": table.name, "rows": table.rows});
        record.push(("tables", manifest.tables.iter().map(table).collect()));
    }
    record
}
