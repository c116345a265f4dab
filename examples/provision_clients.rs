//! Makes a database for each client, with a role of its own, and runs SQL files in each; or takes them away again.
//!
//!     cargo run --example provision_clients -- DSN PATTERN PASSWORD_FILE [SQL_FILE_OR_FOLDER...]
//!     cargo run --example provision_clients -- DSN PATTERN --drop
//!
//! A pattern is a name with ranges: `client{1..50}_inventory`. The passwords go to a new file, as lines of a `.pgpass`.
use pgsteward::{ClientDatabase, Cluster, Provision, ProvisionEvent, Result};
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::Instant;

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [dsn, pattern, option] if option == "--drop" => remove(&Cluster::connect(dsn)?, pattern),
        [dsn, pattern, passwords, files @ ..] => make(&Cluster::connect(dsn)?, pattern, passwords, files),
        _ => {
            eprintln!("usage: provision_clients DSN PATTERN (PASSWORD_FILE [SQL_FILE_OR_FOLDER...] | --drop)");
            Ok(ExitCode::from(2))
        }
    }
}

fn make(cluster: &Cluster, pattern: &str, passwords: &str, files: &[String]) -> Result<ExitCode> {
    let mut provision = Provision::new(ClientDatabase::by_pattern(pattern)?);
    provision.files = files.iter().map(Into::into).collect();
    provision.password_file = Some(passwords.into());
    let (started, count) = (Instant::now(), provision.clients.len());
    let mut done = 0;
    let report = cluster.provision(&provision, |event| {
        match event {
            ProvisionEvent::Made(client) => println!("{}/{count} {} made", done + 1, client.database),
            ProvisionEvent::Skipped(client) => println!("{}/{count} {} was there", done + 1, client.database),
            ProvisionEvent::Failed(client, error) => eprintln!("{}/{count} {}: {error}", done + 1, client.database),
            _ => return ControlFlow::Continue(()),
        }
        done += 1;
        ControlFlow::Continue(())
    })?;
    let (made, skipped) = (report.made.len(), report.skipped.len());
    let (failed, not_tried) = (report.failed.len(), report.not_tried.len());
    println!("{made} made, {skipped} there, {failed} failed, {not_tried} not tried, in {:.1?}", started.elapsed());
    println!("open to everybody, and to these roles: {}", report.open_databases.join(", "));
    Ok(if report.is_complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn remove(cluster: &Cluster, pattern: &str) -> Result<ExitCode> {
    let report = cluster.deprovision_without_archive(&ClientDatabase::by_pattern(pattern)?)?;
    report.dropped.iter().for_each(|client| println!("{} dropped", client.database));
    report.absent.iter().for_each(|client| println!("{} was not there", client.database));
    report.failed.iter().for_each(|(client, error)| eprintln!("{}: {error}", client.database));
    Ok(if report.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
