//! Snapshots of the tables of a database.
use super::super::context::Context;
use super::super::exit::Failure;
use super::super::output::Record;
use super::super::units::{counted, readable, size};
use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use jiff::{Span, SpanRelativeTo};
use pgsteward::snapshot::{
    AddedColumns, ArchiveOptions, ArchivedSnapshot, CurrentRows, DatabaseCopyOptions, PruneOptions, RevertOptions,
    RevertReport, Snapshot, SnapshotDifference, SnapshotOptions, SnapshotSequence, TablePattern,
};
use pgsteward::{Cluster, Name};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Keep the rows of tables, all of them if not told which, and the values of their sequences
    Take(TakeOptions),
    /// The snapshots in the database, the newest first
    List,
    /// The tables and sequences in one
    Show { name: String },
    /// What has changed since one was taken; what is as it was is left out
    Compare {
        name: String,
        /// The tables that are as they were, too
        #[arg(long)]
        all: bool,
    },
    /// Bring the rows and the sequences of one back; first it says what has changed since
    Revert(RevertArguments),
    /// Write one to a new directory, read it back, and then drop it
    Archive {
        name: String,
        directory: PathBuf,
        /// Do not drop it
        #[arg(long)]
        keep: bool,
    },
    /// Make a snapshot of an archive again
    Load { directory: PathBuf },
    /// Drop those that are too old or too many; never the newest
    Prune(PruneArguments),
    /// Drop one
    Drop { name: String },
    /// Copy the whole database into a new one
    CopyDatabase {
        /// The name of the copy: the time and the database's name, if not given
        name: Option<String>,
        /// Not if it is larger: bytes, or with kB, MB, GB, TB
        #[arg(long, value_name = "SIZE", value_parser = size)]
        size_limit: Option<u64>,
    },
}

#[derive(Args)]
pub(crate) struct TakeOptions {
    /// What it is for, in words; it comes into the name
    #[arg(default_value = "")]
    label: String,
    /// The tables of this schema; can be given many times
    #[arg(long)]
    schema: Vec<String>,
    /// Tables: 'shop.order*', * and ? stand for other characters; can be given many times
    #[arg(long, value_name = "PATTERN", value_parser = pattern)]
    table: Vec<TablePattern>,
    /// Not these tables; can be given many times
    #[arg(long, value_name = "PATTERN", value_parser = pattern)]
    except: Vec<TablePattern>,
}

#[derive(Args)]
pub(crate) struct RevertArguments {
    name: String,
    /// What becomes of the rows that there are now
    #[arg(long, value_enum, default_value_t = Current::Keep, value_name = "WHAT")]
    current_rows: Current,
    /// What is done about columns that a table has got since
    #[arg(long, value_enum, default_value_t = Added::Refuse, value_name = "WHAT")]
    added_columns: Added,
}

#[derive(Clone, Copy, ValueEnum)]
enum Current {
    /// They are kept in a snapshot first
    Keep,
    /// They are lost
    Discard,
}

#[derive(Clone, Copy, ValueEnum)]
enum Added {
    /// Nothing is reverted
    Refuse,
    /// They take their default in every row
    FillWithDefault,
}

#[derive(Args)]
#[command(group(ArgGroup::new("what_stays").args(["keep", "older_than"]).required(true).multiple(true)))]
pub(crate) struct PruneArguments {
    /// So many of the newest stay
    #[arg(long, value_name = "NUMBER")]
    keep: Option<usize>,
    /// Those that are not older than this stay: 7d, 12h, 2w
    #[arg(long, value_name = "AGE", value_parser = age)]
    older_than: Option<Duration>,
    /// Only those with this label; the others stay, and are not counted
    #[arg(long)]
    label: Option<String>,
}

fn pattern(text: &str) -> Result<TablePattern, String> {
    TablePattern::parse(text).map_err(|error| error.to_string())
}

fn age(text: &str) -> Result<Duration, String> {
    let span: Span = text.parse().map_err(|error: jiff::Error| error.to_string())?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|error| error.to_string())?;
    Duration::try_from(duration).map_err(|_| "an age is not below zero".into())
}

pub(crate) fn run(context: &Context, verb: &Verb) -> Result<(), Failure> {
    let snapshots = context.cluster.snapshots();
    match verb {
        Verb::Take(options) => take(context, options),
        Verb::List => many(context, &snapshots.list()?),
        Verb::Show { name } => show(context, &snapshots.get(name)?),
        Verb::Compare { name, all } => compare(context, &snapshots.compare(name)?, *all),
        Verb::Revert(options) => revert(context, options),
        Verb::Archive { name, directory, keep } => {
            let mut options = ArchiveOptions::new();
            options.snapshot = if *keep { ArchivedSnapshot::Keep } else { ArchivedSnapshot::Drop };
            let archive = |cluster: &Cluster| cluster.snapshots().archive(name, directory, &options);
            let Some(report) = context.make(archive)? else { return Ok(()) };
            context.output.record(&vec![
                ("directory", report.directory.display().to_string().into()),
                ("rows", report.rows.into()),
                ("bytes", report.bytes.into()),
                ("snapshot_kept", (*keep).into()),
            ])
        }
        Verb::Load { directory } => one(context, context.make(|cluster| cluster.snapshots().load(directory))?),
        Verb::Prune(options) => prune(context, options),
        Verb::Drop { name } => {
            let snapshot = snapshots.get(name)?;
            context.ask(&format!("drop {}?", title(&snapshot)))?;
            context.change(&format!("dropped snapshot {name}"), |cluster| cluster.snapshots().drop(name))
        }
        Verb::CopyDatabase { name, size_limit } => {
            let mut options = DatabaseCopyOptions::new();
            options.name.clone_from(name);
            options.size_limit = *size_limit;
            let Some(copy) = context.make(|cluster| cluster.snapshots().copy_database(&options))? else {
                return Ok(());
            };
            context.output.record(&vec![
                ("name", copy.name.clone().into()),
                ("owner", copy.owner.clone().into()),
                ("allow_connections", copy.allow_connections.into()),
                ("comment", copy.comment.clone().into()),
            ])
        }
    }
}

fn take(context: &Context, options: &TakeOptions) -> Result<(), Failure> {
    let TakeOptions { label, schema, table, except } = options;
    let mut options = SnapshotOptions::new(label);
    (options.schemas, options.tables, options.except) = (schema.clone(), table.clone(), except.clone());
    one(context, context.make(|cluster| cluster.snapshots().take(&options))?)
}

const NAMES: [&str; 12] = [
    "name",
    "label",
    "taken",
    "database",
    "role",
    "server_version",
    "tables",
    "rows",
    "sequences",
    "skipped",
    "bytes",
    "readable_size",
];

fn record(snapshot: &Snapshot) -> Record {
    let values: [Value; 12] = [
        snapshot.name.clone().into(),
        snapshot.label.clone().into(),
        snapshot.taken.to_string().into(),
        snapshot.database.clone().into(),
        snapshot.role.clone().into(),
        snapshot.server_version.clone().into(),
        snapshot.tables.len().into(),
        snapshot.rows().into(),
        snapshot.sequences.len().into(),
        texts(&snapshot.skipped),
        snapshot.bytes.into(),
        readable(snapshot.bytes).into(),
    ];
    NAMES.into_iter().zip(values).collect()
}

fn texts(names: &[Name]) -> Value {
    names.iter().map(ToString::to_string).collect::<Vec<_>>().into()
}

fn one(context: &Context, made: Option<Snapshot>) -> Result<(), Failure> {
    made.map_or(Ok(()), |snapshot| context.output.record(&record(&snapshot)))
}

fn many(context: &Context, snapshots: &[Snapshot]) -> Result<(), Failure> {
    let records: Vec<_> = snapshots.iter().map(record).collect();
    context.output.records(&NAMES, &["name", "role", "tables", "rows", "readable_size"], &records)
}

/// A snapshot, and how much is in it.
fn title(snapshot: &Snapshot) -> String {
    let Snapshot { name, tables, bytes, .. } = snapshot;
    let (tables, rows) = (counted(tables.len(), "table"), counted(snapshot.rows(), "row"));
    format!("snapshot {name:?} ({tables}, {rows}, {})", readable(*bytes))
}

const CONTENTS: [&str; 6] = ["kind", "schema", "name", "rows", "last_value", "is_called"];

fn show(context: &Context, snapshot: &Snapshot) -> Result<(), Failure> {
    let entry = |kind: &str, name: &Name, rest: [Value; 3]| -> Record {
        let first: [Value; 3] = [kind.into(), name.schema.clone().into(), name.name.clone().into()];
        CONTENTS.into_iter().zip(first.into_iter().chain(rest)).collect()
    };
    let none = || Value::Null;
    let tables = snapshot.tables.iter().map(|table| entry("table", &table.name, [table.rows.into(), none(), none()]));
    let sequences = snapshot.sequences.iter().map(|sequence| {
        entry("sequence", &sequence.name, [none(), sequence.last_value.into(), sequence.is_called.into()])
    });
    let skipped = snapshot.skipped.iter().map(|name| entry("skipped", name, [none(), none(), none()]));
    let records: Vec<_> = tables.chain(sequences).chain(skipped).collect();
    context.output.records(&CONTENTS, &[], &records)
}

const DIFFERENCE: [&str; 9] =
    ["kind", "schema", "name", "rows_added", "rows_removed", "rows_changed", "structure", "then", "now"];

fn compare(context: &Context, difference: &SnapshotDifference, all: bool) -> Result<(), Failure> {
    let entry = |kind: &str, name: &Name, rest: [Value; 6]| -> Record {
        let first: [Value; 3] = [kind.into(), name.schema.clone().into(), name.name.clone().into()];
        DIFFERENCE.into_iter().zip(first.into_iter().chain(rest)).collect()
    };
    let none = || Value::Null;
    let tables = difference.tables.iter().filter(|table| all || !table.is_empty()).map(|table| {
        let structure: Vec<_> = table.structure.iter().map(ToString::to_string).collect();
        let rows = [table.rows_added, table.rows_removed, table.rows_changed].map(Value::from);
        let [added, removed, changed] = rows;
        entry("table", &table.name, [added, removed, changed, structure.into(), none(), none()])
    });
    let value =
        |sequence: &SnapshotSequence| json!({"last_value": sequence.last_value, "is_called": sequence.is_called});
    let sequences = difference.sequences.iter().map(|both| {
        let now = both.now.as_ref().map_or(Value::Null, value);
        entry("sequence", &both.then.name, [none(), none(), none(), none(), value(&both.then), now])
    });
    let new = difference.new_partitions.iter();
    let new = new.map(|name| entry("new_partition", name, [none(), none(), none(), none(), none(), none()]));
    let records: Vec<_> = tables.chain(sequences).chain(new).collect();
    context.output.records(&DIFFERENCE, &[], &records)?;
    if difference.is_empty() {
        context.output.say("nothing differs from the snapshot");
    }
    Ok(())
}

fn revert(context: &Context, arguments: &RevertArguments) -> Result<(), Failure> {
    let RevertArguments { name, current_rows, added_columns } = arguments;
    let mut options = RevertOptions::new();
    options.current_rows = match current_rows {
        Current::Keep => CurrentRows::Keep,
        Current::Discard => CurrentRows::Discard,
    };
    options.added_columns = match added_columns {
        Added::Refuse => AddedColumns::Refuse,
        Added::FillWithDefault => AddedColumns::FillWithDefault,
    };
    if context.asks() {
        // A plan refuses what the revert would, before anybody is asked.
        context.cluster.plan(|cluster| cluster.snapshots().revert(name, &options).map(drop))?;
        context.ask(&revert_question(&context.cluster, name, options.current_rows)?)?;
    }
    let Some(report) = context.make(|cluster| cluster.snapshots().revert(name, &options))? else { return Ok(()) };
    let RevertReport { kept, tables, rows, stale_materialized_views, .. } = report;
    context.output.record(&vec![
        ("kept", kept.into()),
        ("tables", tables.into()),
        ("rows", rows.into()),
        ("stale_materialized_views", texts(&stale_materialized_views)),
    ])
}

/// What has changed since, and what becomes of it.
fn revert_question(cluster: &Cluster, name: &str, current: CurrentRows) -> pgsteward::Result<String> {
    let difference = cluster.snapshots().compare(name)?;
    let mut lines = Vec::new();
    for table in difference.tables.iter().filter(|table| !table.is_empty()) {
        let (added, removed) = (counted(table.rows_added, "row"), table.rows_removed);
        lines.push(format!("  {}: {added} added since, {removed} removed, {} changed", table.name, table.rows_changed));
    }
    for both in &difference.sequences {
        let now = both.now.as_ref().map_or("gone".to_owned(), |now| format!("at {}", now.last_value));
        lines.push(format!("  {}: was at {}, is {now}", both.then.name, both.then.last_value));
    }
    lines.push(match (lines.is_empty(), current) {
        (true, _) => "nothing differs from the snapshot".into(),
        (_, CurrentRows::Discard) => "all that is lost".into(),
        _ => "what there is now is kept in another snapshot first".into(),
    });
    Ok(format!("{}\nrevert to {}?", lines.join("\n"), title(&cluster.snapshots().get(name)?)))
}

fn prune(context: &Context, arguments: &PruneArguments) -> Result<(), Failure> {
    let PruneArguments { keep, older_than, label } = arguments;
    let mut options = PruneOptions::new();
    (options.keep, options.older_than, options.label) = (*keep, *older_than, label.clone());
    let mut old = Vec::new();
    context.cluster.plan(|cluster| {
        old = cluster.snapshots().prune(&options)?;
        Ok(())
    })?;
    if !old.is_empty() {
        let lines: Vec<_> = old.iter().map(|snapshot| format!("  {}", title(snapshot))).collect();
        context.ask(&format!("{}\ndrop {}?", lines.join("\n"), counted(old.len(), "snapshot")))?;
    }
    // Those that were named, and no others that became too old meanwhile.
    let dropped =
        context.make(|cluster| old.iter().try_for_each(|snapshot| cluster.snapshots().drop(&snapshot.name)))?;
    if dropped.is_none() { Ok(()) } else { many(context, &old) }
}

#[cfg(test)]
mod tests {
    use super::age;
    use std::time::Duration;

    #[test]
    fn ages_are_read_with_their_units() {
        for (text, hours) in [("7d", 168), ("12h", 12), ("2w", 336), ("1d 1h", 25), ("P1D", 24)] {
            assert_eq!(age(text), Ok(Duration::from_secs(hours * 3600)), "{text}");
        }
        for text in ["", "7", "-1d", "1month", "d"] {
            assert!(age(text).is_err(), "{text}");
        }
    }
}
