//! Dumps a database with its rows counted, proves that the dump can be restored, or restores it into a new database.
//!
//!     cargo run --example backup_restore -- DSN backup FILE
//!     cargo run --example backup_restore -- DSN verify FILE
//!     cargo run --example backup_restore -- DSN restore FILE NEW_DATABASE
use pgsteward::backup::{Backup, DumpOptions, MessageKind, Progress, Restore, RestoreTarget, RowCounts};
use pgsteward::{Cluster, Database, Result};
use std::ops::ControlFlow;
use std::process::ExitCode;

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [dsn, "backup", file] => back_up(&Cluster::connect(dsn)?, file)?,
        [dsn, "verify", file] => return verify(&Cluster::connect(dsn)?, file),
        [dsn, "restore", file, name] => {
            Cluster::connect(dsn)?.restore_with(&Restore::on_client(file, Database::new(name)), &mut tell)?;
        }
        _ => {
            eprintln!("usage: backup_restore DSN (backup FILE | verify FILE | restore FILE NEW_DATABASE)");
            return Ok(ExitCode::from(2));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn back_up(cluster: &Cluster, file: &str) -> Result<()> {
    let mut options = DumpOptions::new();
    options.verbose = true;
    let mut backup = Backup::on_client(file).with(options);
    backup.row_counts = RowCounts::Exact;
    let report = cluster.backup_with(&backup, &mut tell)?;
    for table in report.manifest.iter().flat_map(|manifest| &manifest.tables) {
        println!("{:>12} rows  {}.{}", table.rows, table.schema, table.name);
    }
    if let Some(manifest) = &report.manifest {
        println!("{:>12} bytes in {file}, SHA-256 {}", manifest.size, manifest.sha256);
    }
    Ok(())
}

fn verify(cluster: &Cluster, file: &str) -> Result<ExitCode> {
    let restore = Restore::on_client(file, RestoreTarget::CurrentDatabase); // the target is not used
    let report = cluster.verify_backup_with(&restore, &mut tell)?;
    report.missing.iter().for_each(|entry| println!("missing: {entry}"));
    report.unexpected.iter().for_each(|entry| println!("unexpected: {entry}"));
    for table in &report.rows {
        println!("{}.{}: {:?} rows instead of {}", table.schema, table.name, table.found, table.expected);
    }
    let objects: u64 = report.objects.values().sum();
    println!("{objects} entries restored, {} tables counted, {} errors", report.tables_compared, report.errors.len());
    Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Shows what the programs say; a callback that breaks off would end them.
fn tell(progress: &Progress<'_>) -> ControlFlow<()> {
    if let Progress::Message(message) = progress {
        match message.kind {
            MessageKind::Step => eprintln!("{message}"),
            _ => eprintln!("! {message}"),
        }
    }
    ControlFlow::Continue(())
}
