//! Who could not connect again.
use super::decide::Judge;
use super::decision::Outcome;
use super::world::{Peer, PeerKind};
use std::fmt;

/// A session that there is now, and that the rules would not let connect again. `Display` is one sentence.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LockOut {
    /// The session.
    pub peer: Peer,
    /// Why it could not.
    pub outcome: Outcome,
}

impl fmt::Display for LockOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whose = match self.peer.kind {
            PeerKind::Own => "this program's own session",
            PeerKind::Replica => "the replica, subscription or backup",
            PeerKind::Other => "the session",
        };
        write!(
            f,
            "{whose} of {} (process {}) could not connect again: {}",
            self.peer.connection, self.peer.pid, self.outcome
        )
    }
}

/// The sessions that are refused for certain under these rules, and were not under the old ones. Without old ones, all
/// that are refused.
pub(super) fn lock_outs(old: Option<&Judge<'_>>, new: &Judge<'_>, sessions: &[Peer]) -> Vec<LockOut> {
    let mut found: Vec<LockOut> = Vec::new();
    for peer in sessions {
        let outcome = new.outcome(&peer.connection);
        let was_refused = |old: &Judge<'_>| old.outcome(&peer.connection).is_refused() == Some(true);
        if outcome.is_refused() == Some(true) && !old.is_some_and(was_refused) {
            found.push(LockOut { peer: peer.clone(), outcome });
        }
    }
    found
}
