//! A session on a connection of a pool.
use super::{Gone, Origin, Renewal, Session};
use crate::connect::{ConnectOptions, ConnectionParameters, Facts, Reached};
use crate::counter::Counter;
use postgres::Client;
use std::sync::{Arc, PoisonError};

impl Session {
    /// A session on a connection that the pool has made with these parameters. Nothing is asked.
    pub(crate) fn of_a_pool(
        parameters: ConnectionParameters,
        options: ConnectOptions,
        reached: Reached,
        client: Client,
        facts: Facts,
    ) -> Arc<Self> {
        let origin = Origin { parameters, options, renewal: Renewal::Pool };
        Self::new(Some(origin), Some(reached), client, facts, Arc::default())
    }

    /// Has the statements of the user's counted.
    pub(crate) fn count_with(&self, counter: Counter) {
        // It is done once, before anybody has the session.
        let _ = self.counter.set(counter);
    }

    /// The connection, for the pool; none if it was lost or is lent. It comes as it is, with another thread's transaction
    /// too: a pool that waited for that to end could wait for ever.
    pub(crate) fn take_back(&self) -> Option<Client> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let client = state.take(Gone::GivenBack);
        self.free.notify_all();
        client
    }
}
