//! What the server is, and what the current role may do.
use super::super::context::Context;
use super::super::exit::Failure;
use super::super::output::Record;
use super::super::units::readable;
use clap::Args;
use pgsteward::{Cluster, Sessions};
use postgres::Row;
use postgres::types::FromSql;
use serde_json::Value;

#[derive(Args)]
pub(crate) struct Options {
    /// One record for each database instead: its size and its sessions
    #[arg(long)]
    databases: bool,
}

pub(crate) fn run(context: &Context, options: &Options) -> Result<(), Failure> {
    if options.databases { databases(context) } else { server(context) }
}

/// Asks the server something, with nothing in the search path: a database may bring along one in which functions and
/// operators of its owner's come before the server's.
fn ask(cluster: &Cluster, question: &str) -> pgsteward::Result<Vec<Row>> {
    cluster.execute("SET search_path TO ''", &[])?;
    cluster.execute(question, &[])
}

/// A value of an answer. The server may say what this program cannot read: a name in another encoding.
fn value<T: for<'a> FromSql<'a>>(row: &Row, place: usize) -> pgsteward::Result<T> {
    Ok(row.try_get(place)?)
}

fn server(context: &Context) -> Result<(), Failure> {
    let cluster = &context.cluster;
    let question = "SELECT current_user::text, session_user::text, rolsuper, rolcreaterole, rolcreatedb, rolreplication, \
        pg_catalog.pg_is_in_recovery(), pg_catalog.to_char(pg_catalog.pg_postmaster_start_time() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS+00'), \
        pg_catalog.current_setting('port')::int4, \
        (SELECT count(*) FROM pg_catalog.pg_database), \
        pg_catalog.pg_has_role('pg_signal_backend', 'USAGE'), \
        pg_catalog.pg_has_role('pg_execute_server_program', 'USAGE') \
        FROM pg_catalog.pg_roles WHERE rolname = current_user";
    let rows = ask(cluster, question)?;
    let row =
        rows.first().ok_or_else(|| Failure::invalid("answer of the server", "it does not know the current role"))?;
    let sessions = cluster.sessions(&Sessions::new().all())?;
    let text = |place| value::<String>(row, place).map(Value::from);
    let truth = |place| value::<bool>(row, place).map(Value::from);
    context.output.record(&vec![
        ("version", cluster.version().to_string().into()),
        ("standby", truth(6)?),
        ("started", text(7)?),
        ("port", value::<i32>(row, 8)?.into()),
        ("database", cluster.current_database().into()),
        ("role", text(0)?),
        ("login_role", text(1)?),
        ("superuser", truth(2)?),
        ("create_role", truth(3)?),
        ("create_database", truth(4)?),
        ("replication", truth(5)?),
        ("signal_sessions", truth(10)?),
        ("run_commands", truth(11)?),
        ("databases", value::<i64>(row, 9)?.into()),
        ("other_sessions", sessions.len().into()),
    ])
}

fn databases(context: &Context) -> Result<(), Failure> {
    let question = "SELECT datname::text, pg_catalog.pg_get_userbyid(datdba)::text, \
        CASE WHEN pg_catalog.has_database_privilege(oid, 'CONNECT') OR pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE') \
        THEN pg_catalog.pg_database_size(oid) END, \
        (SELECT count(*) FROM pg_catalog.pg_stat_activity a WHERE a.datid = d.oid AND a.pid <> pg_catalog.pg_backend_pid()) \
        FROM pg_catalog.pg_database d ORDER BY datname";
    let mut records: Vec<Record> = Vec::new();
    for row in ask(&context.cluster, question)? {
        let size = value::<Option<i64>>(&row, 2)?.and_then(|size| u64::try_from(size).ok());
        records.push(vec![
            ("name", value::<String>(&row, 0)?.into()),
            ("owner", value::<String>(&row, 1)?.into()),
            ("size", size.into()),
            ("readable_size", size.map(readable).into()),
            ("sessions", value::<i64>(&row, 3)?.into()),
        ]);
    }
    let names = ["name", "owner", "size", "readable_size", "sessions"];
    context.output.records(&names, &["name", "owner", "readable_size", "sessions"], &records)
}
