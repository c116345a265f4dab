//! Ending sessions.
use super::super::context::Context;
use super::super::exit::Failure;
use super::super::output::Record;
use clap::{Args, ValueEnum};
use pgsteward::{SessionInfo, SessionState, Sessions};
use std::time::Duration;

/// Those that pass every filter; this one is never meant
#[derive(Args)]
pub(crate) struct Options {
    /// Those connected to this database; can be given many times
    #[arg(long)]
    database: Vec<String>,
    /// Not those connected to this database
    #[arg(long)]
    except_database: Vec<String>,
    /// Those of this role
    #[arg(long)]
    role: Vec<String>,
    /// Not those of this role
    #[arg(long)]
    except_role: Vec<String>,
    /// Those of this server process
    #[arg(long)]
    pid: Vec<i32>,
    /// Not those of this server process
    #[arg(long)]
    except_pid: Vec<i32>,
    /// Those with this application_name
    #[arg(long)]
    application: Vec<String>,
    /// Not those with this application_name
    #[arg(long)]
    except_application: Vec<String>,
    /// Those in this state
    #[arg(long)]
    state: Vec<State>,
    /// Not those in this state
    #[arg(long)]
    except_state: Vec<State>,
    /// All, as far as the filters let them pass
    #[arg(long)]
    all: bool,
    /// Standbys, subscribers and backups too
    #[arg(long)]
    walsenders: bool,
    /// How long to wait for the sessions to end
    #[arg(long, default_value_t = 10, value_name = "SECONDS")]
    timeout: u64,
}

#[derive(Clone, Copy, ValueEnum)]
enum State {
    Active,
    Idle,
    IdleInTransaction,
    IdleInTransactionAborted,
}

impl From<State> for SessionState {
    fn from(state: State) -> Self {
        match state {
            State::Active => Self::Active,
            State::Idle => Self::Idle,
            State::IdleInTransaction => Self::IdleInTransaction,
            State::IdleInTransactionAborted => Self::IdleInTransactionAborted,
        }
    }
}

/// A filter that was not given lets everything pass; an empty list would let nothing.
fn filter<T: Clone>(sessions: Sessions, given: &[T], apply: impl FnOnce(Sessions, Vec<T>) -> Sessions) -> Sessions {
    if given.is_empty() { sessions } else { apply(sessions, given.to_vec()) }
}

impl Options {
    fn sessions(&self) -> Sessions {
        let Self {
            database,
            except_database,
            role,
            except_role,
            pid,
            except_pid,
            application,
            except_application,
            state,
            except_state,
            all,
            walsenders,
            timeout,
        } = self;
        let mut sessions = Sessions::new().timeout(Duration::from_secs(*timeout));
        sessions = filter(sessions, database, Sessions::databases);
        sessions = filter(sessions, except_database, Sessions::except_databases);
        sessions = filter(sessions, role, Sessions::roles);
        sessions = filter(sessions, except_role, Sessions::except_roles);
        sessions = filter(sessions, pid, Sessions::pids);
        sessions = filter(sessions, except_pid, Sessions::except_pids);
        sessions = filter(sessions, application, Sessions::applications);
        sessions = filter(sessions, except_application, Sessions::except_applications);
        let states = |states: Vec<State>| states.into_iter().map(SessionState::from);
        sessions = filter(sessions, state, |sessions, given| sessions.states(states(given)));
        sessions = filter(sessions, except_state, |sessions, given| sessions.except_states(states(given)));
        if *all {
            sessions = sessions.all();
        }
        if *walsenders { sessions.walsenders() } else { sessions }
    }
}

pub(crate) fn run(context: &Context, options: &Options) -> Result<(), Failure> {
    let sessions = options.sessions();
    let found = context.cluster.sessions(&sessions)?;
    if context.is_planning() {
        return context.change("", |cluster| cluster.terminate(sessions).map(drop));
    }
    if found.is_empty() {
        return context.output.records(&NAMES, &[], &[]);
    }
    context.ask(&format!("these sessions will be ended:\n{}end them?", listed(&found)))?;
    let report = context.cluster.terminate(sessions)?;
    let outcome = |sessions: &[SessionInfo], outcome: &'static str| -> Vec<Record> {
        sessions.iter().map(|session| record(session, outcome)).collect()
    };
    let records = [
        outcome(&report.terminated, "terminated"),
        outcome(&report.remaining, "remaining"),
        outcome(&report.refused, "refused"),
    ]
    .concat();
    context.output.records(&NAMES, &[], &records)?;
    match report.remaining.is_empty() && report.refused.is_empty() {
        true => Ok(()),
        false => Err(Failure::Said),
    }
}

/// Sessions for a question, one a line.
pub(crate) fn listed(sessions: &[SessionInfo]) -> String {
    let line = |session: &SessionInfo| match &session.database {
        Some(database) => format!("  {session}, database {database:?}\n"),
        None => format!("  {session}\n"),
    };
    sessions.iter().map(line).collect()
}

const NAMES: [&str; 7] = ["pid", "database", "role", "application", "state", "client_address", "outcome"];

fn record(session: &SessionInfo, outcome: &str) -> Record {
    vec![
        ("pid", session.pid.into()),
        ("database", session.database.clone().into()),
        ("role", session.role.clone().into()),
        ("application", session.application.clone().into()),
        ("state", session.state.map(|state| state.to_string()).into()),
        ("client_address", session.client_address.clone().into()),
        ("outcome", outcome.into()),
    ]
}
