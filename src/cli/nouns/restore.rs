//! The way back of dumps.
pub(crate) mod options;

use self::options::RestoreArguments;
use super::super::context::Context;
use super::super::exit::Failure;
use super::super::output::{self, on_one_line};
use super::super::units::{counted, readable};
use super::backup::dump_options::FormatName;
use super::backup::work::{Work, list, named, warn, watched};
use super::object::{self, assignment, set};
use clap::{ArgGroup, Args};
use pgsteward::backup::{
    Manifest, Place, Restore, RestoreOptions, RestoreReport, RestoreTarget, RowDifference, VerifyReport,
};
use pgsteward::{Cluster, Database};
use serde_json::{Map, Value, json};
use std::path::PathBuf;

#[derive(Args)]
#[command(group(ArgGroup::new("target").required(true).args(["into", "new_database", "create", "verify"])))]
pub(crate) struct Options {
    /// The dump
    #[arg(required_unless_present = "from_program")]
    path: Option<PathBuf>,
    /// Into this database; asks if it is not empty
    #[arg(long, value_name = "DATABASE")]
    into: Option<String>,
    /// Into a database that is made for it, and dropped again if the restore fails
    #[arg(long, value_name = "DATABASE")]
    new_database: Option<String>,
    /// A field of the new database and its value; can be given many times
    #[arg(short, long, value_name = "FIELD=VALUE", requires = "new_database", value_parser = assignment)]
    set: Vec<(String, String)>,
    /// Into the database that the dump itself makes; with --clean it is dropped before
    #[arg(long)]
    create: bool,
    /// Into a scratch database, which is compared with the dump and dropped
    #[arg(long, conflicts_with = "from_program")]
    verify: bool,
    /// From the program after --, on its standard output
    #[arg(long, requires = "words", conflicts_with = "path")]
    from_program: bool,
    /// The program and its arguments
    #[arg(last = true, requires = "from_program", value_name = "WORD")]
    words: Vec<String>,
    /// The form of the dump, where it cannot be seen: on the server, and from a program
    #[arg(long, value_enum, value_name = "FORMAT")]
    dump_format: Option<FormatName>,
    /// How many sessions restore at once
    #[arg(long, value_name = "N")]
    jobs: Option<u32>,
    /// The role to become
    #[arg(long)]
    role: Option<String>,
    #[command(flatten)]
    work: Work,
    #[command(flatten)]
    pub(crate) restore: RestoreArguments,
}

pub(crate) fn run(context: &Context, options: &Options) -> Result<(), Failure> {
    let restore = restore(options)?;
    if options.verify {
        if options.restore.options() != RestoreOptions::new() {
            return Err(Failure::invalid(
                "options for --verify",
                "all of the dump is restored; only --jobs and --role are for it",
            ));
        }
        return verify(context, &restore);
    }
    let (database, target) = match (&options.into, &options.new_database) {
        (Some(name), _) => (Some(name), format!("database {name}")),
        (_, Some(name)) => (None, format!("the new database {name}")),
        _ => (None, "the database that it makes".into()),
    };
    match database {
        Some(name) => ask_for_existing(context, name, options.restore.is_clean())?,
        None if options.create && options.restore.is_clean() => ask_for_replaced(context, &restore.place)?,
        None => {}
    }
    let mut report = RestoreReport::default();
    context.change("", |cluster| {
        let there = database.map_or(Ok(cluster.clone()), |name| cluster.database(name))?;
        report = watched(context, |progress| there.restore_with(&restore, progress))?;
        Ok(())
    })?;
    if context.is_planning() { Ok(()) } else { tell(context, &restore, &target, &report) }
}

fn restore(options: &Options) -> Result<Restore, Failure> {
    let place = options.work.place(options.path.as_deref(), &options.words)?;
    let target = match &options.new_database {
        Some(name) => {
            let mut database = Database::new(name);
            set(&mut database, &options.set)?;
            database.into()
        }
        None => RestoreTarget::CurrentDatabase,
    };
    let mut restore = Restore::new(place, target).with(options.restore.options());
    restore.options.create = options.create;
    restore.options.jobs = options.jobs;
    restore.options.role.clone_from(&options.role);
    restore.format = options.dump_format.map(Into::into);
    restore.programs.clone_from(&options.work.programs);
    restore.before.clone_from(&options.work.before);
    restore.after.clone_from(&options.work.after);
    restore.timeout = options.work.timeout();
    Ok(restore)
}

/// Asks before something is restored into a database in which there is something already.
fn ask_for_existing(context: &Context, name: &str, clean: bool) -> Result<(), Failure> {
    let along = what_is_there(context, name)?;
    if is_empty(&context.cluster.database(name)?)? {
        return Ok(());
    }
    let how = if clean { "drop in it what the dump has, and restore?" } else { "restore into it?" };
    context.ask(&format!("database {name:?} is not empty ({along}); {how}"))
}

/// Asks before the database that a dump makes is dropped, if there is one.
fn ask_for_replaced(context: &Context, place: &Place) -> Result<(), Failure> {
    let manifest = match place {
        Place::Client(path) => Manifest::beside(path)?,
        _ => None,
    };
    let Some(name) = manifest.and_then(|manifest| manifest.database) else {
        return context.ask("drop the database that the dump is of, if there is one, and make it again?");
    };
    if !context.cluster.databases().with_system().contains(&name)? {
        return Ok(());
    }
    let along = what_is_there(context, &name)?;
    context.ask(&format!("drop database {name:?} ({along}) and make it again?"))
}

/// The size and the sessions of a database.
fn what_is_there(context: &Context, name: &str) -> Result<String, Failure> {
    let preview = object::find::<Database>(&context.cluster, name)?.drop_preview()?;
    let mut along = Vec::new();
    along.extend(preview.size.map(readable));
    let who: Vec<_> = preview.sessions.iter().map(ToString::to_string).collect();
    along.push(match who.as_slice() {
        [] => "no sessions".into(),
        who => format!("{}: {}", counted(who.len(), "session"), who.join("; ")),
    });
    Ok(along.join("; "))
}

/// Whether a database has nothing but what each new one has, which has the OIDs below this one.
fn is_empty(cluster: &Cluster) -> Result<bool, Failure> {
    let question = "SELECT NOT EXISTS (\
        SELECT oid FROM pg_catalog.pg_class WHERE oid >= 16384 AND relpersistence <> 't' \
        UNION ALL SELECT oid FROM pg_catalog.pg_namespace WHERE oid >= 16384 AND nspname NOT LIKE 'pg\\_%' \
        UNION ALL SELECT oid FROM pg_catalog.pg_proc WHERE oid >= 16384 \
        UNION ALL SELECT oid FROM pg_catalog.pg_type WHERE oid >= 16384 AND typrelid = 0 AND typelem = 0 \
        UNION ALL SELECT oid FROM pg_catalog.pg_extension WHERE oid >= 16384 \
        UNION ALL SELECT oid FROM pg_catalog.pg_largeobject_metadata)";
    let rows = cluster.execute(question, &[])?;
    Ok(rows.first().is_some_and(|row| row.get(0)))
}

fn tell(context: &Context, restore: &Restore, target: &str, report: &RestoreReport) -> Result<(), Failure> {
    warn(context, &report.warnings);
    report.errors.iter().for_each(|error| output::tell(&on_one_line(&error.to_string())));
    let place = named(&restore.place);
    let errors = if report.errors.is_empty() { "" } else { ", with errors" };
    context.output.say(&format!("restored {place} into {target}{errors}"));
    if context.output.is_json() {
        context.output.record(&vec![
            ("path", place.into()),
            ("target", target.into()),
            ("errors", list(&report.errors)),
            ("warnings", list(&report.warnings)),
        ])?;
    }
    if report.errors.is_empty() { Ok(()) } else { Err(Failure::Said) }
}

fn verify(context: &Context, restore: &Restore) -> Result<(), Failure> {
    let mut report = VerifyReport::default();
    let mut verified = |cluster: &Cluster| {
        report = watched(context, |progress| cluster.verify_backup_with(restore, progress))?;
        Ok(())
    };
    // In a plan it is refused.
    context.change("", &mut verified)?;
    problems(&report).iter().for_each(|problem| output::tell(&on_one_line(problem)));
    let row = |row: &RowDifference| json!({"schema": row.schema, "name": row.name, "expected": row.expected, "found": row.found});
    let objects: Map<String, Value> =
        report.objects.iter().map(|(kind, count)| (kind.clone(), (*count).into())).collect();
    context.output.record(&vec![
        ("path", named(&restore.place).into()),
        ("good", report.is_good().into()),
        ("manifest", report.manifest.is_some().into()),
        ("objects", Value::Object(objects)),
        ("missing", report.missing.clone().into()),
        ("unexpected", report.unexpected.clone().into()),
        ("tables_compared", report.tables_compared.into()),
        ("rows", report.rows.iter().map(row).collect()),
        (
            "large_objects",
            report.large_objects.map(|(expected, found)| json!({"expected": expected, "found": found})).into(),
        ),
        ("errors", list(&report.errors)),
        ("database_left", report.left.as_ref().map(|(name, _)| name.clone()).into()),
    ])?;
    if report.is_good() && report.left.is_none() { Ok(()) } else { Err(Failure::Said) }
}

/// What is not as it should be, one a line.
fn problems(report: &VerifyReport) -> Vec<String> {
    let mut problems: Vec<String> = report.errors.iter().map(ToString::to_string).collect();
    problems.extend(report.missing.iter().map(|entry| format!("missing: {entry}")));
    problems.extend(report.unexpected.iter().map(|entry| format!("unexpected: {entry}")));
    problems.extend(report.rows.iter().map(|row| {
        let found = row.found.map_or("no such table".into(), |found| format!("{found} rows"));
        format!("table {}.{}: {found} instead of {}", row.schema, row.name, row.expected)
    }));
    problems.extend(report.left.iter().map(|(name, error)| format!("database {name:?} is left ({error}); drop it")));
    problems
        .extend(report.large_objects.map(|(expected, found)| format!("{found} large objects instead of {expected}")));
    problems
}
