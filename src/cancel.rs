//! Cancelling what a connection is doing, from another thread.
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::session::Family;
use postgres::NoTls;
use std::sync::{PoisonError, Weak};

/// Cancels what the connections of a cluster are doing: [`Cluster::canceller`].
#[derive(Clone)]
pub struct Canceller {
    family: Family,
}

impl Cluster {
    /// What cancels the statements that this cluster's connection, and those to other databases that came from it, run
    /// at that moment. It works from any thread, and keeps no connection open.
    pub fn canceller(&self) -> Canceller {
        Canceller { family: self.session().family() }
    }
}

impl Canceller {
    /// Asks the server to cancel the statements that run now; what they were part of fails with SQLSTATE 57014. Where
    /// none runs nothing happens
    /// ([Canceling Requests in Progress](https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-CANCELING-REQUESTS)).
    ///
    /// # Errors
    /// [`Error::Connection`] if the server cannot be asked; the other connections were asked.
    pub fn cancel(&self) -> Result<()> {
        let members: Vec<_> = {
            let family = self.family.lock().unwrap_or_else(PoisonError::into_inner);
            family.iter().filter_map(Weak::upgrade).collect()
        };
        let asked = members.iter().map(|session| {
            session.cancel_token().cancel_query(NoTls).map_err(|error| Error::driver("cancel a statement", &error))
        });
        asked.fold(Ok(()), Result::and)
    }
}
