//! Lists databases, makes one as a copy of another, or drops one with the sessions in it.
//!
//!     cargo run --example databases -- DSN
//!     cargo run --example databases -- DSN create NAME [TEMPLATE]
//!     cargo run --example databases -- DSN drop NAME
use pgsteward::{Cluster, Database, Result};
use std::process::ExitCode;

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [dsn] => list(&Cluster::connect(dsn)?)?,
        [dsn, "create", name] => create(&Cluster::connect(dsn)?, name, None)?,
        [dsn, "create", name, template] => create(&Cluster::connect(dsn)?, name, Some(template))?,
        [dsn, "drop", name] => Cluster::connect(dsn)?.databases().get(name)?.drop_force()?,
        _ => {
            eprintln!("usage: databases DSN [create NAME [TEMPLATE] | drop NAME]");
            return Ok(ExitCode::from(2));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(cluster: &Cluster) -> Result<()> {
    for database in cluster.databases().with_system().iter()? {
        let closed = if database.allow_connections { "" } else { " (closed)" };
        let encoding = database.encoding.as_deref().unwrap_or_default();
        println!("{:30} {:15} {encoding}{closed}", database.name, database.owner);
    }
    Ok(())
}

fn create(cluster: &Cluster, name: &str, template: Option<&str>) -> Result<()> {
    let mut wanted = Database::new(name);
    if let Some(template) = template {
        wanted.template = Some(template.into());
        // What CREATE DATABASE does not copy from its template.
        let template = cluster.databases().with_system().get(template)?;
        wanted.owner.clone_from(&template.owner);
        wanted.connection_limit = template.connection_limit;
        wanted.comment.clone_from(&template.comment);
    }
    let made = cluster.databases().create(wanted)?;
    println!("database {:?} made, owner {:?}, OID {}", made.name, made.owner, made.oid());
    Ok(())
}
