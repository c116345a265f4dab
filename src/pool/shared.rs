//! What the handles of a pool, its keeper, and the connections that are out share.
use super::cleaning::Batches;
use super::connection::{Connection, Known, Setup, lifetime};
use super::metrics::PoolMetrics;
use super::options::PoolOptions;
use super::state::{Claim, State};
use super::statements::Statements;
use crate::connect::{self, ConnectionParameters, Opened};
use crate::error::{Error, Result};
use postgres::error::SqlState;
use std::panic::Location;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long a server process may take to leave after its connection was ended.
const LEAVING: Duration = Duration::from_secs(1);

/// How long a server that is full is not asked again.
const PAUSE: Duration = Duration::from_millis(10);

pub(super) struct Shared {
    pub(super) parameters: ConnectionParameters,
    pub(super) options: PoolOptions,
    pub(super) batches: Batches,
    state: Mutex<State>,
    /// Wakes the keeper.
    pub(super) work: Condvar,
}

impl Shared {
    /// With one connection.
    pub(super) fn open(parameters: ConnectionParameters, options: PoolOptions) -> Result<Self> {
        options.check()?;
        let batches = Batches::of(&options);
        let first = make(&parameters, &options, &batches, Setup::Anything, |_| 1)?;
        let state = Mutex::new(State::new(first));
        Ok(Self { parameters, options, batches, state, work: Condvar::new() })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // Under the lock there are only books to keep, which are never left half kept.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new connection; there must be room for it. A server with room for no more than the pool's maximum may have one still
    /// that was ended a moment ago: then it is asked again.
    pub(super) fn connect(&self, setup: Setup) -> Result<Connection> {
        let started = Instant::now();
        loop {
            let count = |facts: &connect::Facts| self.lock().count_created(facts);
            match make(&self.parameters, &self.options, &self.batches, setup, count) {
                Err(error)
                    if error.code() == Some(&SqlState::TOO_MANY_CONNECTIONS)
                        && started.elapsed() < LEAVING
                        && self.lock().has_ended_within(LEAVING) =>
                {
                    thread::sleep(PAUSE);
                }
                made => return made,
            }
        }
    }

    /// What there is for whoever asks, within the time; and his number among those who hold something.
    pub(super) fn claim(&self, place: &'static Location<'static>) -> Result<(u64, Claim)> {
        let mut state = self.lock();
        if state.closed {
            return Err(closed());
        }
        let claim = match state.claim_at_once(self.options.maximum) {
            Some(claim) => claim,
            None => {
                let (after, claim) = self.wait(state)?;
                state = after;
                claim
            }
        };
        Ok((state.hand_out(place), claim))
    }

    fn wait<'a>(&'a self, mut state: MutexGuard<'a, State>) -> Result<(MutexGuard<'a, State>, Claim)> {
        let (started, signal) = (Instant::now(), Arc::new(Condvar::new()));
        let place = state.line_up(&signal);
        loop {
            if state.closed {
                state.leave(place, started.elapsed());
                return Err(closed());
            }
            if let Some(claim) = state.claim_in_turn(place, self.options.maximum) {
                state.leave(place, started.elapsed());
                return Ok((state, claim));
            }
            let left = self.options.wait_timeout.saturating_sub(started.elapsed());
            if left.is_zero() {
                state.give_up(place, started.elapsed());
                return Err(self.exhausted(&state));
            }
            state = signal.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn exhausted(&self, state: &State) -> Error {
        let seconds = self.options.wait_timeout.as_secs_f32();
        Error::InUse {
            action: format!("get a connection from the pool within {seconds} seconds"),
            what: format!("each of its {} connections", self.options.maximum),
            by: state.who_holds(),
        }
    }

    /// Takes back what somebody held; nothing if it is gone.
    pub(super) fn take_back(&self, holder: u64, connection: Option<Connection>) {
        let mut state = self.lock();
        let gone = match connection {
            Some(connection) if state.closed => {
                state.count_closed(1);
                state.take_back(holder, None);
                Some(connection)
            }
            connection => {
                state.take_back(holder, connection);
                // Also where somebody waits: he takes one of those that came back, and there may be more.
                if state.keeper_sleeps {
                    self.work.notify_one();
                }
                None
            }
        };
        drop(state);
        if let Some(connection) = gone {
            connection.end();
        }
    }

    pub(super) fn metrics(&self) -> PoolMetrics {
        self.lock().metrics(&self.options)
    }

    pub(super) fn close(&self) {
        let (idle, returned) = self.lock().close();
        self.work.notify_one();
        returned.into_iter().for_each(Connection::end);
        Connection::end_all(idle);
    }
}

/// Makes a connection; `count` gives it its number.
fn make(
    parameters: &ConnectionParameters,
    options: &PoolOptions,
    batches: &Batches,
    setup: Setup,
    count: impl FnOnce(&connect::Facts) -> u64,
) -> Result<Connection> {
    let Opened { mut client, facts, reached } = connect::open(parameters, &options.connect)?;
    let roles = batches.begin(&mut client, setup)?;
    let (now, number) = (Instant::now(), count(&facts));
    let expires = options.lifetime.and_then(|limit| now.checked_add(lifetime(limit, number)));
    let statements = Statements::new(options.prepared_statements);
    let known = Known {
        facts,
        reached,
        roles,
        statements,
        made: now,
        expires,
        answered: now,
        returned: now,
        may_be_unread: false,
        setup,
    };
    Ok(Connection { client, known })
}

fn closed() -> Error {
    Error::Connection {
        action: "get a connection from the pool".into(),
        reason: "the pool was closed (Pool::close); make another one with Pool::connect".into(),
    }
}
