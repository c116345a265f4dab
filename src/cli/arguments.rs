//! What can be given on the command line.
use super::nouns::{
    backup, db, hba, info, migrate, monitor, object, os, reassign, restore, role, script, snapshot, terminate,
};
use super::output::Format;
use clap::{ArgAction, Args, ColorChoice, Parser, Subcommand};
use std::path::PathBuf;

/// Administer a PostgreSQL cluster.
///
/// Connects as psql does: what is not given comes from the service file, the environment (PGHOST, PGUSER, ...) and
/// ~/.pgpass. Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 conflict, 5 denied, 6 declined; 129, 130 and 143 ended by
/// SIGHUP, Ctrl-C and SIGTERM.
#[derive(Parser)]
#[command(name = "pgsteward", version, disable_help_flag = true, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) connection: ConnectionArguments,
    #[command(flatten)]
    pub(crate) global: GlobalArguments,
    #[command(subcommand)]
    pub(crate) noun: Noun,
}

/// Where to connect.
#[derive(Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ConnectionArguments {
    /// A database, key=value pairs, or a postgresql:// URL; the options below count before what is in it
    #[arg(short = 'd', long, global = true)]
    pub(crate) dsn: Option<String>,
    /// A service of the service file
    #[arg(short = 'p', long, global = true)]
    pub(crate) service: Option<String>,
    /// The host, or the directory of the Unix-domain socket
    #[arg(short = 'h', long, global = true)]
    pub(crate) host: Option<String>,
    /// The port
    #[arg(short = 'P', long, global = true)]
    pub(crate) port: Option<u16>,
    /// The role to log in as
    #[arg(short = 'U', long, global = true, value_name = "ROLE")]
    pub(crate) username: Option<String>,
    /// Ask for the password before connecting
    #[arg(short = 'W', long, global = true)]
    pub(crate) password: bool,
}

/// How to work.
#[derive(Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalArguments {
    /// Print the SQL and do nothing
    #[arg(long, global = true)]
    pub(crate) plan: bool,
    /// How results are printed
    #[arg(long, global = true, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
    /// Do not ask before something is dropped or ended
    #[arg(short = 'y', long, visible_alias = "force", global = true)]
    pub(crate) yes: bool,
    /// Print no messages but errors
    #[arg(short = 'q', long, global = true)]
    pub(crate) quiet: bool,
    /// Print notices of the server, and steps of client programs; twice: the statements too
    #[arg(short = 'v', long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// When to color messages
    #[arg(long, global = true, value_enum, default_value_t = ColorChoice::Auto, value_name = "WHEN")]
    pub(crate) color: ColorChoice,
    /// Print help
    #[arg(short = '?', long, global = true, action = ArgAction::Help)]
    help: Option<bool>,
}

#[derive(Subcommand)]
pub(crate) enum Noun {
    /// Databases
    #[command(subcommand, visible_alias = "database")]
    Db(db::Verb),
    /// Roles
    #[command(subcommand)]
    Role(role::Verb),
    /// Schemas
    #[command(subcommand)]
    Schema(object::Verb),
    /// Tables
    #[command(subcommand)]
    Table(object::Verb),
    /// Views
    #[command(subcommand)]
    View(object::Verb),
    /// Materialized views
    #[command(subcommand)]
    MaterializedView(object::Verb),
    /// Sequences
    #[command(subcommand)]
    Sequence(object::Verb),
    /// Functions, procedures, aggregates: NAME or 'NAME(TYPES)'
    #[command(subcommand)]
    Procedure(object::Verb),
    /// Large objects, by their OIDs
    #[command(subcommand)]
    Lo(object::Verb),
    /// Replication slots
    #[command(subcommand)]
    Slot(object::Verb),
    /// Who may connect: pg_hba.conf
    #[command(subcommand)]
    Hba(hba::Verb),
    /// The rows of tables as they were, kept in the database
    #[command(subcommand)]
    Snapshot(snapshot::Verb),
    /// Numbered files of SQL, each applied once
    Migrate(migrate::Options),
    /// Dumps of databases
    #[command(subcommand)]
    Backup(backup::Verb),
    /// Restore a dump
    Restore(Box<restore::Options>),
    /// What goes on in the server; once, or again and again
    Monitor(monitor::Options),
    /// The statements that make objects
    Script(script::Options),
    /// End sessions
    Terminate(terminate::Options),
    /// Give what a role owns to another
    Reassign(reassign::Options),
    /// Run a command of the server's operating system
    Os(os::Options),
    /// Have the server read its configuration files
    Reload,
    /// What the server is, and what the current role may do
    Info(info::Options),
    /// Print the completions for a shell
    Completions { shell: clap_complete::Shell },
    /// Write the manual pages
    Man {
        /// Where to
        #[arg(default_value = ".")]
        directory: PathBuf,
    },
}
