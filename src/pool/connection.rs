//! One connection of a pool.
use super::cleaning::Roles;
use super::statements::Statements;
use crate::connect::{self, Facts, Reached};
use crate::error::{Error, Result};
use postgres::Client;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// A connection, and what the pool knows of it.
pub(super) struct Connection {
    pub(super) client: Client,
    pub(super) known: Known,
}

/// What the pool knows of a connection.
pub(super) struct Known {
    pub(super) facts: Facts,
    pub(super) reached: Reached,
    pub(super) roles: Roles,
    pub(super) statements: Statements,
    pub(super) made: Instant,
    /// When it is too old; never where there is no limit.
    pub(super) expires: Option<Instant>,
    /// When the server last answered to the pool.
    pub(super) answered: Instant,
    /// When it came back; when it was made, before that.
    pub(super) returned: Instant,
    /// Whether its user may have left something of an answer unread, or of a `COPY` unsent.
    pub(super) may_be_unread: bool,
    /// What its session is set up for, or was when its last user got it.
    pub(super) setup: Setup,
}

/// What a session is set up for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setup {
    /// Anything: it is as it was connected, and as the options of the pool say.
    Anything,
    /// Statements of modules.
    Modules,
}

impl Connection {
    pub(super) fn is_expired(&self, now: Instant) -> bool {
        self.known.expires.is_some_and(|expires| expires <= now)
    }

    /// Ends it, whatever it is doing: the driver reads to the end what a user has not, which may never come to an end, and
    /// would do so here. So the server is asked to stop, and a thread waits for it. A COPY that waits for data hears no
    /// cancel, and would hold up every DROP DATABASE of the server: its server process is ended.
    pub(super) fn end(self) {
        elsewhere(move || {
            let (reached, process, made) = (self.known.reached.clone(), self.known.facts.pid, self.known.made);
            let _ = connect::cancel(self.client.cancel_token(), Some(reached.clone()));
            let (sender, ended) = mpsc::channel::<()>();
            elsewhere(move || drop((self, sender)));
            if ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                terminate(&reached, process, made).unwrap_or_else(|error| log::warn!("{error}"));
            }
        });
    }

    /// Ends connections that are doing nothing, and waits for it; also inside an async runtime, where the driver panics.
    pub(super) fn end_all(idle: Vec<Self>) {
        if !idle.is_empty() {
            elsewhere(move || drop(idle)).map(thread::JoinHandle::join);
        }
    }
}

/// How long the end of a connection may take before its server process is ended.
const PATIENCE: Duration = Duration::from_secs(1);

/// Ends a server process by another connection, unless it is younger than ours was: then it is somebody else's, who has got its
/// number since.
fn terminate(reached: &Reached, process: i32, made: Instant) -> Result<()> {
    let action = "end a connection that does not end by itself";
    let mut client = connect::dial(&reached.config, &reached.tls, &reached.host, action)?;
    let sql = sql!(
        "SELECT pg_catalog.pg_terminate_backend(s.pid) FROM pg_catalog.pg_stat_activity AS s \
         WHERE s.pid OPERATOR(pg_catalog.=) {} AND s.backend_start OPERATOR(pg_catalog.<=) \
         (pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) pg_catalog.make_interval(secs => {}))",
        process,
        made.elapsed().as_secs().saturating_sub(1)
    );
    client.batch_execute(sql.text()).map_err(|error| Error::driver(action, &error))
}

fn elsewhere(end: impl FnOnce() + Send + 'static) -> Option<thread::JoinHandle<()>> {
    let thread = thread::Builder::new().name("pgsteward-pool-end".into()).spawn(end);
    thread.map_err(|error| log::warn!("cannot start a thread that ends connections: {error}")).ok()
}

/// How long a connection may live: up to a tenth less than the limit, another share for each of ten in a row.
pub(super) fn lifetime(limit: Duration, number: u64) -> Duration {
    let share = u32::try_from(number % 10).unwrap_or_default();
    limit - limit / 100 * share
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_made_together_do_not_end_together() {
        let lives: Vec<_> = (0..11).map(|number| lifetime(Duration::from_secs(1000), number).as_secs()).collect();
        assert_eq!(lives, [1000, 990, 980, 970, 960, 950, 940, 930, 920, 910, 1000]);
    }
}
