//! What goes on in the server.
mod watch;

use super::super::context::Context;
use super::super::exit::Failure;
use super::super::output::Record;
use super::super::units::{counted, duration, readable};
use clap::{Args, Subcommand};
use pgsteward::monitor::{Activity, BlockingSession, IndexUse, OpenTransaction, TableSize, UnusedIndexes};
use pgsteward::{SessionState, Sessions};
use serde_json::Value;
use std::time::Duration;

/// How much of a statement a table shows, in characters.
const SHOWN: usize = 60;

#[derive(Args)]
pub(crate) struct Options {
    /// Ask again after so many seconds, until Ctrl-C; a terminal shows the latest answer
    #[arg(long, global = true, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    watch: Option<u64>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// The sessions that do something, and what; the busiest for longest come first
    Sessions {
        /// Those that wait for their clients, too
        #[arg(long)]
        all: bool,
        /// Those connected to this database; can be given many times
        #[arg(long)]
        database: Vec<String>,
        /// Those of this role; can be given many times
        #[arg(long)]
        role: Vec<String>,
    },
    /// Who waits for whom: behind each session come those that wait for it
    Blocking,
    /// The transactions that are open, prepared ones too, the oldest first
    Transactions {
        /// Those that have been open for at least so long
        #[arg(long, value_name = "SECONDS", default_value_t = 0)]
        open_for: u64,
    },
    /// What the tables in the database take on the disk, the largest first
    Sizes {
        /// No more than so many
        #[arg(long, value_name = "NUMBER")]
        limit: Option<usize>,
    },
    /// The indexes that no statement has used and nothing else needs
    UnusedIndexes,
}

pub(crate) fn run(context: &Context, options: &Options) -> Result<(), Failure> {
    let is_about_others = matches!(options.verb, Verb::Sessions { .. } | Verb::Blocking | Verb::Transactions { .. });
    let hides = is_about_others && !sees_all(context)?;
    let once = |before: &str| {
        once(context, &options.verb, before)?;
        if hides {
            context.output.say("what other roles do is not shown: that takes pg_read_all_stats, or pg_monitor");
        }
        Ok(())
    };
    match options.watch {
        Some(seconds) => watch::every(context, Duration::from_secs(seconds), once),
        None => once(""),
    }
}

/// Whether the role may see what others do: without, an empty answer would look like nothing to worry about.
fn sees_all(context: &Context) -> Result<bool, Failure> {
    let question = "SELECT pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE')";
    let rows = context.cluster.execute(question, &[])?;
    Ok(rows.first().is_none_or(|row| row.try_get(0).unwrap_or(true)))
}

/// Asks, and then prints a text and the answer behind it.
fn once(context: &Context, verb: &Verb, before: &str) -> Result<(), Failure> {
    let monitor = context.cluster.monitor();
    let print = |names: &[&'static str], shown: &[&str], records: Vec<Record>| {
        context.output.text(before)?;
        context.output.records(names, shown, &records)
    };
    match verb {
        Verb::Sessions { all, database, role } => {
            let found = monitor.sessions(&sessions(*all, database, role))?;
            print(&SESSIONS, &SHOWN_SESSIONS, found.iter().map(|activity| session(context, activity)).collect())
        }
        Verb::Blocking => {
            let found = monitor.blocking()?;
            print(&BLOCKING, &SHOWN_BLOCKING, found.iter().map(|session| blocking(context, session)).collect())
        }
        Verb::Transactions { open_for } => {
            let found = monitor.transactions(Duration::from_secs(*open_for))?;
            print(&TRANSACTIONS, &[], found.iter().map(|open| transaction(context, open)).collect())
        }
        Verb::Sizes { limit } => {
            let found = monitor.table_sizes()?;
            let limited = found.iter().take(limit.unwrap_or(usize::MAX));
            print(&SIZES, &[], limited.map(|table| size(context, table)).collect())
        }
        Verb::UnusedIndexes => {
            let found = monitor.unused_indexes()?;
            print(&INDEXES, &SHOWN_INDEXES, found.indexes.iter().map(|index| unused(context, index)).collect())?;
            context.output.say(&remark(&found));
            Ok(())
        }
    }
}

/// Filters that were not given let everything pass.
fn sessions(all: bool, databases: &[String], roles: &[String]) -> Sessions {
    let mut sessions = Sessions::new().all();
    if !databases.is_empty() {
        sessions = sessions.databases(databases.iter().map(String::as_str));
    }
    if !roles.is_empty() {
        sessions = sessions.roles(roles.iter().map(String::as_str));
    }
    if all { sessions } else { sessions.except_states([SessionState::Idle]) }
}

/// A duration: in words for people, in seconds for programs.
fn age(context: &Context, age: Option<Duration>) -> Value {
    match age {
        Some(age) if context.output.is_table() => duration(age).into(),
        // To a millisecond.
        Some(age) => (age.as_millis() as f64 / 1000.0).into(),
        None => Value::Null,
    }
}

/// A size: in words for people, in bytes for programs.
fn bytes(context: &Context, bytes: Option<u64>) -> Value {
    match bytes {
        Some(bytes) if context.output.is_table() => readable(bytes).into(),
        bytes => bytes.into(),
    }
}

/// A statement: its beginning for people.
fn statement(context: &Context, query: Option<&String>) -> Value {
    match query {
        Some(query) if context.output.is_table() => {
            let on_one_line = query.split_whitespace().collect::<Vec<_>>().join(" ");
            let start: String = on_one_line.chars().take(SHOWN).collect();
            if start == on_one_line { start.into() } else { format!("{start}...").into() }
        }
        query => query.cloned().into(),
    }
}

const SESSIONS: [&str; 14] = [
    "pid",
    "database",
    "role",
    "application",
    "client_address",
    "backend_type",
    "state",
    "wait_event_type",
    "wait_event",
    "session_age",
    "transaction_age",
    "query_age",
    "state_age",
    "query",
];
const SHOWN_SESSIONS: [&str; 9] =
    ["pid", "database", "role", "application", "state", "wait_event", "transaction_age", "query_age", "query"];

fn session(context: &Context, activity: &Activity) -> Record {
    let session = &activity.session;
    vec![
        ("pid", session.pid.into()),
        ("database", session.database.clone().into()),
        ("role", session.role.clone().into()),
        ("application", session.application.clone().into()),
        ("client_address", session.client_address.clone().into()),
        ("backend_type", activity.backend_type.clone().into()),
        ("state", session.state.map(|state| state.to_string()).into()),
        ("wait_event_type", activity.wait_event_type.clone().into()),
        ("wait_event", activity.wait_event.clone().into()),
        ("session_age", age(context, activity.session_age)),
        ("transaction_age", age(context, activity.transaction_age)),
        ("query_age", age(context, activity.query_age)),
        ("state_age", age(context, activity.state_age)),
        ("query", statement(context, activity.query.as_ref())),
    ]
}

const BLOCKING: [&str; 13] = [
    "depth",
    "pid",
    "prepared",
    "waits_for",
    "lock_mode",
    "lock_type",
    "relation",
    "database",
    "role",
    "application",
    "state",
    "transaction_age",
    "query",
];
const SHOWN_BLOCKING: [&str; 9] =
    ["pid", "lock_mode", "relation", "database", "role", "application", "state", "transaction_age", "query"];

fn blocking(context: &Context, blocking: &BlockingSession) -> Record {
    let BlockingSession { depth, pid, activity, prepared, waits_for, lock, .. } = blocking;
    let session = activity.as_ref().map(|activity| &activity.session);
    let tree = |text: String| Value::from(format!("{}{text}", "  ".repeat(*depth)));
    let pid = match (context.output.is_table(), prepared.is_empty()) {
        (true, true) => tree(pid.to_string()),
        (true, false) => tree(format!("prepared: {}", prepared.join(", "))),
        (false, _) => (*pid).into(),
    };
    vec![
        ("depth", (*depth).into()),
        ("pid", pid),
        ("prepared", prepared.clone().into()),
        ("waits_for", waits_for.clone().into()),
        ("lock_mode", lock.as_ref().map(|lock| lock.mode.clone()).into()),
        ("lock_type", lock.as_ref().map(|lock| lock.lock_type.clone()).into()),
        ("relation", lock.as_ref().and_then(|lock| lock.relation.as_ref()).map(ToString::to_string).into()),
        ("database", session.and_then(|session| session.database.clone()).into()),
        ("role", session.and_then(|session| session.role.clone()).into()),
        ("application", session.and_then(|session| session.application.clone()).into()),
        ("state", session.and_then(|session| session.state).map(|state| state.to_string()).into()),
        ("transaction_age", age(context, activity.as_ref().and_then(|activity| activity.transaction_age))),
        ("query", statement(context, activity.as_ref().and_then(|activity| activity.query.as_ref()))),
    ]
}

const TRANSACTIONS: [&str; 9] =
    ["pid", "prepared", "database", "role", "application", "state", "age", "xmin_age", "query"];

fn transaction(context: &Context, open: &OpenTransaction) -> Record {
    vec![
        ("pid", open.pid.into()),
        ("prepared", open.prepared.clone().into()),
        ("database", open.database.clone().into()),
        ("role", open.role.clone().into()),
        ("application", open.application.clone().into()),
        ("state", open.state.map(|state| state.to_string()).into()),
        ("age", age(context, Some(open.age))),
        ("xmin_age", open.xmin_age.into()),
        ("query", statement(context, open.query.as_ref())),
    ]
}

const SIZES: [&str; 8] = ["name", "partitions", "partition_of", "rows", "table", "toast", "indexes", "total"];

fn size(context: &Context, size: &TableSize) -> Record {
    vec![
        ("name", size.name.to_string().into()),
        ("partitions", size.partitions.into()),
        ("partition_of", size.partition_of.as_ref().map(ToString::to_string).into()),
        ("rows", size.rows.into()),
        ("table", bytes(context, size.table)),
        ("toast", bytes(context, size.toast)),
        ("indexes", bytes(context, size.indexes)),
        ("total", bytes(context, size.total)),
    ]
}

const INDEXES: [&str; 5] = ["name", "table", "partitions", "bytes", "valid"];
const SHOWN_INDEXES: [&str; 4] = ["name", "table", "bytes", "valid"];

fn unused(context: &Context, index: &IndexUse) -> Record {
    vec![
        ("name", index.name.to_string().into()),
        ("table", index.table.to_string().into()),
        ("partitions", index.partitions.into()),
        ("bytes", bytes(context, index.bytes)),
        ("valid", index.valid.into()),
    ]
}

/// What has to be known before one is dropped.
fn remark(unused: &UnusedIndexes) -> String {
    let since = match unused.since {
        Some(since) => format!("since {since}, when the statistics were last reset"),
        None => "since the statistics began".into(),
    };
    let elsewhere = match (unused.is_standby, unused.walsenders) {
        (true, _) => "; this is a standby, and the primary may use them".into(),
        (false, 0) => String::new(),
        (false, number) => format!("; {} of the WAL may use them, too", counted(number, "receiver")),
    };
    format!("uses are counted {since}{elsewhere}")
}
