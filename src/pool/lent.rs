//! What users of a pool hold.
use super::connection::{Connection, Known, Setup};
use super::shared::Shared;
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::session::Session;
use std::fmt;
use std::ops::Deref;
use std::panic::Location;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a connection that was idle has for a sign of life.
const PATIENCE: Duration = Duration::from_secs(5);

/// A place in a pool, and the connection on it. Both go back when it is dropped, whatever happens.
pub(super) struct Seat {
    shared: Arc<Shared>,
    holder: u64,
    pub(super) connection: Option<Connection>,
}

impl Seat {
    /// A place with a connection that is clean and alive.
    pub(super) fn take(shared: &Arc<Shared>, setup: Setup, place: &'static Location<'static>) -> Result<Self> {
        let (holder, claim) = shared.claim(place)?;
        // The place comes first: what is claimed finds its way back from here, also when the driver panics.
        let mut seat = Self { shared: shared.clone(), holder, connection: claim.connection };
        if !seat.is_ready(setup, claim.is_clean) {
            seat.end();
            seat.connection = Some(shared.connect(setup)?);
        }
        let process = seat.connection.as_ref().map_or(0, |connection| connection.known.facts.pid);
        shared.lock().check_out(holder, process);
        Ok(seat)
    }

    /// Whether the connection can be handed out; one that came back, or is set up for something else, is made clean first.
    fn is_ready(&mut self, setup: Setup, is_clean: bool) -> bool {
        let now = Instant::now();
        let Some(connection) = self.connection.as_mut().filter(|connection| !connection.is_expired(now)) else {
            return false;
        };
        let is_set_up = std::mem::replace(&mut connection.known.setup, setup) == setup;
        if !is_clean || !is_set_up {
            let cleaned = self.shared.batches.clean(connection);
            return cleaned.inspect_err(|error| log::debug!("{error}")).is_ok();
        }
        let answered = now.saturating_duration_since(connection.known.answered);
        if answered >= self.shared.options.check_after {
            let Ok(()) = connection.client.is_valid(PATIENCE) else { return false };
            connection.known.answered = Instant::now();
        }
        !connection.client.is_closed()
    }

    /// Ends the connection, and keeps the place.
    fn end(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.shared.lock().count_closed(1);
            connection.end();
        }
    }

    /// Takes the connection off the place.
    fn lend(&mut self) -> Result<Connection> {
        let lost = || Error::Connection { action: "use a connection of the pool".into(), reason: "it was lost".into() };
        self.connection.take().ok_or_else(lost)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.shared.take_back(self.holder, self.connection.take());
    }
}

/// A cluster on a connection of a pool: [`Pool::cluster`](super::Pool::cluster). Of other databases, and where a connection
/// of its own is needed, it opens ones that are not the pool's. A connection that is lost is not made anew here: take
/// another one from the pool.
pub struct PooledCluster {
    cluster: Cluster,
    seat: Seat,
    known: Option<Known>,
}

impl PooledCluster {
    pub(super) fn new(mut seat: Seat) -> Result<Self> {
        let Connection { client, known } = seat.lend()?;
        let (parameters, options) = (seat.shared.parameters.clone(), seat.shared.options.connect.clone());
        let session = Session::of_a_pool(parameters, options, known.reached.clone(), client, known.facts.clone());
        session.count_with(seat.shared.options.counter());
        Ok(Self { cluster: Cluster::new(session), seat, known: Some(known) })
    }
}

impl Drop for PooledCluster {
    fn drop(&mut self) {
        match (self.cluster.session().take_back(), self.known.take()) {
            (Some(client), Some(mut known)) => {
                known.may_be_unread = true;
                self.seat.connection = Some(Connection { client, known });
            }
            _ => self.seat.shared.lock().count_closed(1),
        }
    }
}

impl Deref for PooledCluster {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}

impl fmt::Debug for PooledCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PooledCluster").field("server_process", &self.cluster.session().process()).finish()
    }
}
