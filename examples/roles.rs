//! Who may log in, and since when not: reports the roles of a cluster, and takes LOGIN from those whose password ran out.
//!
//!     cargo run --example roles -- DSN            prints the report, and what would be changed
//!     cargo run --example roles -- DSN --apply    changes it
use pgsteward::{Cluster, Result, ValidUntil};
use std::process::ExitCode;
use std::time::SystemTime;

fn main() -> Result<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    let Some(dsn) = arguments.next() else {
        eprintln!("usage: roles DSN [--apply]");
        return Ok(ExitCode::from(2));
    };
    let cluster = Cluster::connect(&dsn)?;

    println!("{:30} {:9} {:6} {:5} valid until", "role", "superuser", "login", "limit");
    for role in cluster.roles().iter()? {
        let until = role.valid_until.as_ref().map(ToString::to_string).unwrap_or_default();
        println!("{:30} {:9} {:6} {:5} {until}", role.name, role.superuser, role.login, role.connection_limit);
    }

    let now = SystemTime::now();
    let plan = cluster.plan(|c| {
        for mut role in c.roles().iter()? {
            let expired = matches!(role.valid_until, Some(ValidUntil::Moment(until)) if SystemTime::from(until) < now);
            if role.login && expired {
                role.login = false;
                role.alter()?;
            }
        }
        Ok(())
    })?;
    print!("\n{plan}");
    match arguments.next().as_deref() {
        Some("--apply") => plan.apply()?,
        _ => println!("-- nothing was changed"),
    }
    Ok(ExitCode::SUCCESS)
}
