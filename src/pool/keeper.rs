//! The thread of a pool: it makes clean what came back, ends what is too old, and keeps the minimum open.
use super::connection::{Connection, Setup};
use super::options::PoolOptions;
use super::shared::Shared;
use super::state::{GRACE, Job};
use crate::error::{Error, Result};
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long no connection is made after one could not be.
const PAUSE: Duration = Duration::from_secs(1);

/// Opens what is missing to the minimum, and starts the thread; it ends when the pool is closed.
pub(super) fn start(shared: Arc<Shared>) -> Result<()> {
    for _ in 1..shared.options.minimum {
        shared.lock().keeper_connects += 1;
        let made = shared.connect(Setup::Anything);
        let error = made.as_ref().err().cloned();
        shared.lock().connected(made.ok());
        error.map_or(Ok(()), Err)?;
    }
    let keep = move || keep(&shared);
    let thread = thread::Builder::new().name("pgsteward-pool".into()).spawn(keep);
    thread.map(drop).map_err(|error| Error::io("start the thread of a pool", error))
}

fn keep(shared: &Shared) {
    let mut may_connect_at = Instant::now();
    while let Some(job) = next_job(shared, may_connect_at) {
        match job {
            Job::Clean(connection) => clean(shared, *connection),
            Job::End(connections) => Connection::end_all(connections),
            Job::Connect => {
                let made = shared.connect(Setup::Anything);
                if let Err(error) = &made {
                    log::warn!("the pool has fewer connections than its minimum: {error}");
                    may_connect_at = Instant::now() + PAUSE;
                }
                put(shared, made.ok());
            }
        }
    }
}

/// The next work, when there is some; none when the pool is closed.
fn next_job(shared: &Shared, may_connect_at: Instant) -> Option<Job> {
    let mut state = shared.lock();
    loop {
        if state.closed {
            return None;
        }
        if let Some(limit) = shared.options.leak_warning {
            state.forgotten(limit).iter().for_each(|words| log::warn!("{words}"));
        }
        if let Some(job) = state.job(&shared.options, Instant::now() >= may_connect_at) {
            return Some(job);
        }
        state.keeper_sleeps = !state.is_lively();
        let rest = if state.keeper_sleeps { rest(&shared.options) } else { GRACE };
        state = shared.work.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner).0;
        state.keeper_sleeps = false;
    }
}

/// How long nothing can be overdue by more than half of its time.
fn rest(options: &PoolOptions) -> Duration {
    let limits = [options.idle_timeout, options.lifetime, options.leak_warning];
    let shortest = limits.into_iter().flatten().min().unwrap_or(Duration::MAX);
    let longest = if options.minimum > 0 { PAUSE } else { Duration::from_secs(60) };
    (shortest / 2).clamp(Duration::from_millis(5), longest)
}

fn clean(shared: &Shared, mut connection: Connection) {
    // There is time to ask for a sign of life first; a server that cannot be reached must not keep the keeper for long.
    connection.known.may_be_unread = true;
    let is_clean = !connection.is_expired(Instant::now())
        && shared.batches.clean(&mut connection).inspect_err(|error| log::debug!("{error}")).is_ok();
    let mut state = shared.lock();
    match is_clean && !state.closed {
        true => state.cleaned(Some(connection)),
        false => {
            state.cleaned(None);
            drop(state);
            connection.end();
        }
    }
}

/// Puts a new connection among the others, unless the pool was closed meanwhile.
fn put(shared: &Shared, made: Option<Connection>) {
    let mut state = shared.lock();
    let late = if state.closed { made } else { return state.connected(made) };
    state.count_closed(late.iter().len());
    state.connected(None);
    drop(state);
    if let Some(connection) = late {
        connection.end();
    }
}
