//! Gives every table, view, sequence and routine of one schema to another role.
//!
//!     cargo run --example change_owner -- DSN SCHEMA ROLE            prints what would be changed
//!     cargo run --example change_owner -- DSN SCHEMA ROLE --apply    changes it
//!
//! Sequences that belong to a column, and the objects of an extension, are the server's to decide: a sequence
//! goes with its table.
use pgsteward::{Cluster, Result};
use std::process::ExitCode;

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (dsn, schema, role, apply) = match &arguments[..] {
        [dsn, schema, role] => (dsn, schema, role, false),
        [dsn, schema, role, last] if last == "--apply" => (dsn, schema, role, true),
        _ => {
            eprintln!("usage: change_owner DSN SCHEMA ROLE [--apply]");
            return Ok(ExitCode::from(2));
        }
    };
    let cluster = Cluster::connect(dsn)?;
    cluster.roles().with_system().get(role)?;
    if apply {
        // In batches that fit the server's lock table.
        change(&cluster, schema, role)?;
    } else {
        print!("{}", cluster.plan(|c| change(c, schema, role))?);
    }
    Ok(ExitCode::SUCCESS)
}

fn change(cluster: &Cluster, schema: &str, role: &str) -> Result<()> {
    let mut tables: Vec<_> = cluster.tables().iter()?.filter(|table| table.schema == schema).collect();
    let mut views: Vec<_> = cluster.views().iter()?.filter(|view| view.schema == schema).collect();
    let mut stored: Vec<_> = cluster.materialized_views().iter()?.filter(|view| view.schema == schema).collect();
    let mut routines: Vec<_> = cluster.procedures().iter()?.filter(|routine| routine.schema == schema).collect();
    let free = |sequence: &pgsteward::Sequence| sequence.schema == schema && sequence.owned_by.is_none();
    let mut sequences: Vec<_> = cluster.sequences().iter()?.filter(|sequence| free(sequence)).collect();
    cluster.reassign_owner(&mut tables, role)?;
    cluster.reassign_owner(&mut views, role)?;
    cluster.reassign_owner(&mut stored, role)?;
    cluster.reassign_owner(&mut routines, role)?;
    cluster.reassign_owner(&mut sequences, role)
}
