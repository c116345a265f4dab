//! Migrations: numbered files of SQL, each applied once.
use super::super::context::Context;
use super::super::exit::Failure;
use super::super::output::{Output, Record};
use super::super::units::counted;
use clap::{Args, Subcommand, ValueEnum};
use pgsteward::migrate::{
    ForeignHistory, ForeignProgram, MigrateOptions, MigrationStatus, Migrations, Migrator, MissingSchema, Repair,
};
use pgsteward::{Cluster, Name};
use serde_json::Value;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    scope: Scope,
    #[command(subcommand)]
    verb: Verb,
}

/// Which migrations, and where to.
#[derive(Args)]
struct Scope {
    /// The folder of the files: 001_title.sql, V1__title.sql, 20260101120000_title.sql
    #[arg(long, global = true, default_value = "migrations")]
    directory: PathBuf,
    /// Whose migrations they are
    #[arg(long, global = true, default_value = "default")]
    module: String,
    /// The schema that they are for, and in which is recorded what was applied
    #[arg(long, global = true, default_value = "public")]
    schema: String,
    /// The table in which it is recorded
    #[arg(long, global = true, default_value = "pgsteward_migrations")]
    table: String,
    /// Another schema in which names without one are looked for; can be given many times
    #[arg(long, global = true, value_name = "SCHEMA")]
    search_path: Vec<String>,
    /// Make the schema where it is missing
    #[arg(long, global = true)]
    create_schema: bool,
    /// How long to wait for another migrator of the module, in seconds
    #[arg(long, global = true, default_value_t = 600, value_name = "SECONDS")]
    lock_wait: u64,
}

#[derive(Subcommand)]
enum Verb {
    /// How each migration stands
    Status,
    /// Apply those that are pending
    Apply {
        /// Up to this number
        #[arg(long, value_name = "NUMBER")]
        to: Option<u64>,
    },
    /// Make the file of the next migration
    New {
        /// What it is for: letters, digits, blanks, _ and -
        title: String,
    },
    /// Look for what would keep `apply` from running: files that were edited, are missing, late, or cannot be run
    Verify,
    /// Record the migrations up to a number as applied, without running them
    Baseline {
        /// The number of the last one
        number: u64,
    },
    /// Mend what is recorded of one migration, after a look at what is there
    Repair {
        /// Its number
        number: u64,
        /// What it is to be from now on
        #[arg(value_enum)]
        how: How,
    },
    /// Take over what another program has recorded
    Adopt {
        #[arg(value_enum)]
        program: Program,
        /// Its table, if it is not the usual one in the schema of the migrations
        #[arg(long, value_name = "SCHEMA.TABLE")]
        from: Option<String>,
        /// Its name for the module, if it is another one
        #[arg(long, value_name = "MODULE")]
        from_module: Option<String>,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum How {
    /// An edited or incomplete one, or one that came late, counts as applied, with its file as it is
    Accept,
    /// It was never run; one whose file is gone is no longer missed
    Forget,
    /// An incomplete one goes on behind the statements that are done
    Resume,
}

#[derive(Clone, Copy, ValueEnum)]
enum Program {
    Pgdbm,
    Refinery,
}

/// What needs no connection; none if the verb does.
pub(crate) fn run_unconnected(output: &Output, options: &Options) -> Option<Result<(), Failure>> {
    match &options.verb {
        Verb::New { title } => Some(new(output, &options.scope, title)),
        _ => None,
    }
}

pub(crate) fn run(context: &Context, options: &Options) -> Result<(), Failure> {
    let migrations = Migrations::from_directory(&options.scope.directory)?;
    let migrator = |cluster: &Cluster| Migrator::new(cluster, migrations.clone(), options.scope.migrate_options());
    match &options.verb {
        Verb::Status => status(context, &migrator(&context.cluster)?.status()?),
        Verb::Apply { to } => apply(context, *to, migrator),
        Verb::New { title } => new(&context.output, &options.scope, title),
        Verb::Verify => {
            let pending = migrator(&context.cluster)?.pending()?.len();
            context.output.say(&format!("nothing is wrong; {} to be applied", counted(pending, "migration")));
            Ok(())
        }
        Verb::Baseline { number } => {
            let done = format!("the migrations up to {number} count as applied");
            context.change(&done, |cluster| migrator(cluster)?.baseline(*number))
        }
        Verb::Repair { number, how } => {
            let (how, done) = match how {
                How::Accept => (Repair::Accept, "counts as applied"),
                How::Forget => (Repair::Forget, "is no longer recorded"),
                How::Resume => (Repair::Resume, "will be resumed"),
            };
            context.change(&format!("migration {number} {done}"), |cluster| migrator(cluster)?.repair(*number, how))
        }
        Verb::Adopt { program, from, from_module } => {
            let mut history = ForeignHistory::new(match program {
                Program::Pgdbm => ForeignProgram::Pgdbm,
                Program::Refinery => ForeignProgram::Refinery,
            });
            history.table = from.as_deref().map(Name::parse).transpose()?;
            history.module.clone_from(from_module);
            context.change("took them over", |cluster| migrator(cluster)?.adopt(&history))
        }
    }
}

impl Scope {
    fn migrate_options(&self) -> MigrateOptions {
        let mut options = MigrateOptions::new();
        options.module.clone_from(&self.module);
        options.schema.clone_from(&self.schema);
        options.table.clone_from(&self.table);
        options.search_path.clone_from(&self.search_path);
        options.missing_schema = if self.create_schema { MissingSchema::Create } else { MissingSchema::Refuse };
        options.lock_wait = Duration::from_secs(self.lock_wait);
        options
    }
}

const NAMES: [&str; 8] =
    ["version", "name", "state", "applied_at", "applied_by", "seconds", "statements_done", "problem"];
const SHOWN: [&str; 5] = ["version", "name", "state", "applied_at", "applied_by"];

fn status(context: &Context, all: &[MigrationStatus]) -> Result<(), Failure> {
    let record = |status: &MigrationStatus| -> Record {
        let values: [Value; 8] = [
            status.version.into(),
            status.name.clone().into(),
            status.state.word().into(),
            status.applied_at.map(|moment| moment.to_string()).into(),
            status.applied_by.clone().into(),
            status.duration.map(|duration| duration.as_secs_f64()).into(),
            status.statements_done.into(),
            status.problem.clone().into(),
        ];
        NAMES.into_iter().zip(values).collect()
    };
    context.output.records(&NAMES, &SHOWN, &all.iter().map(record).collect::<Vec<_>>())?;
    // Whoever reads JSON or CSV has them there.
    let problems = all.iter().filter_map(|status| status.problem.as_deref()).filter(|_| context.output.is_table());
    problems.for_each(|problem| context.output.say(problem));
    Ok(())
}

fn apply(
    context: &Context,
    to: Option<u64>,
    migrator: impl Fn(&Cluster) -> pgsteward::Result<Migrator>,
) -> Result<(), Failure> {
    let apply = |cluster: &Cluster| match to {
        Some(number) => migrator(cluster)?.apply_to(number),
        None => migrator(cluster)?.apply(),
    };
    let Some(report) = context.make(apply)? else { return Ok(()) };
    let records = report.applied.iter().map(|each| -> Record {
        vec![
            ("version", each.version.into()),
            ("name", each.name.clone().into()),
            ("statements", each.statements.into()),
            ("seconds", each.duration.as_secs_f64().into()),
        ]
    });
    let records: Vec<Record> = records.collect();
    if records.is_empty() && context.output.is_table() {
        context.output.say("there was nothing to apply");
        return Ok(());
    }
    // How long it took is for machines: it is another time in each run.
    context.output.records(&["version", "name", "statements", "seconds"], &["version", "name", "statements"], &records)
}

/// Makes a file that has nothing but its title in it, which cannot be applied as it is.
fn new(output: &Output, scope: &Scope, title: &str) -> Result<(), Failure> {
    let name = Migrations::from_directory(&scope.directory)?.next_name(title)?;
    let path = scope.directory.join(name);
    let failed = |error| Failure::io(format!("make {path:?}"), error);
    let mut file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(failed)?;
    file.write_all(format!("-- {}\n", title.trim()).as_bytes()).map_err(failed)?;
    output.text(&format!("{}\n", path.display()))
}
