//! Cancelling what a connection is doing, from another thread.
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::session::Family;
use postgres::error::SqlState;
use std::io;
use std::sync::Arc;

/// Cancels what the connections of a cluster are doing: [`Cluster::canceller`].
#[derive(Clone)]
pub struct Canceller {
    family: Arc<Family>,
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
    /// none runs nothing happens. What is done in many steps, such as [`provision`](Cluster::provision), goes no further, and
    /// undoes what it has half done
    /// ([Canceling Requests in Progress](https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-CANCELING-REQUESTS)).
    ///
    /// # Errors
    /// [`Error::Connection`] if the server cannot be asked, or does not answer within `connect_timeout` (30 seconds where it
    /// is not given); the other connections were asked.
    pub fn cancel(&self) -> Result<()> {
        self.family.count_cancel();
        let members = self.family.living();
        members.iter().map(|session| session.cancel()).fold(Ok(()), Result::and)
    }
}

/// Whether somebody has cancelled since a work of many steps began: between two of them nothing runs on the server that
/// could be cancelled there.
#[derive(Clone)]
pub(crate) struct Cancellation {
    family: Arc<Family>,
    before: u64,
}

impl Cancellation {
    /// From now on.
    pub(crate) fn of(family: Arc<Family>) -> Self {
        let before = family.cancelled();
        Self { family, before }
    }

    pub(crate) fn happened(&self) -> bool {
        self.family.cancelled() != self.before
    }

    /// # Errors
    /// [`Error::Io`] if it happened.
    pub(crate) fn check(&self, action: &str) -> Result<()> {
        match self.happened() {
            true => Err(Error::io(action, io::Error::new(io::ErrorKind::Interrupted, "it was cancelled"))),
            false => Ok(()),
        }
    }
}

/// Undoes what is half done, once more if that was cancelled: what ended the work may have ended a program first, and
/// reach the server only now.
pub(crate) fn in_any_case<R>(mut undo: impl FnMut() -> Result<R>) -> Result<R> {
    let was_cancelled = |error: &Error| error.code() == Some(&SqlState::QUERY_CANCELED);
    undo().or_else(|error| if was_cancelled(&error) { undo() } else { Err(error) })
}
