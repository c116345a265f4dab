//! Ends the sessions in a database that have a transaction open and do nothing in it.
//!
//!     cargo run --example terminate -- DSN DATABASE [ROLE TO SPARE]...
use pgsteward::{Cluster, Result, SessionInfo, SessionState, Sessions};
use std::process::ExitCode;
use std::time::Duration;

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [dsn, database, spared @ ..] = &arguments[..] else {
        eprintln!("usage: terminate DSN DATABASE [ROLE TO SPARE]...");
        return Ok(ExitCode::from(2));
    };
    let sessions = Sessions::new()
        .databases([database])
        .except_roles(spared)
        .states([SessionState::IdleInTransaction, SessionState::IdleInTransactionAborted])
        .timeout(Duration::from_secs(15));
    let report = Cluster::connect(dsn)?.terminate(sessions)?;
    list("terminated", &report.terminated);
    list("still there", &report.remaining);
    list("not allowed", &report.refused);
    let all_gone = report.remaining.is_empty() && report.refused.is_empty();
    Ok(if all_gone { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn list(what: &str, sessions: &[SessionInfo]) {
    println!("{what}: {}", sessions.len());
    for session in sessions {
        let role = session.role.as_deref().unwrap_or_default();
        let application = session.application.as_deref().unwrap_or_default();
        println!("  pid {} {role} {application}", session.pid);
    }
}
