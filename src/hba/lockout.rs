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

#[cfg(test)]
mod tests {
    use super::super::connection::{Connection, Replication};
    use super::super::sample::{entries, world};
    use super::*;

    #[test]
    fn who_was_refused_before_is_not_locked_out_now() {
        let mut replica = Connection::tcp([10, 1, 2, 3], "", "bob");
        replica.replication = Replication::Physical;
        let sessions = [
            Peer::new(1, PeerKind::Own, Connection::tcp([10, 1, 2, 3], "db1", "alice")),
            Peer::new(2, PeerKind::Replica, replica),
            Peer::new(3, PeerKind::Other, Connection::local("db1", "carol")),
        ];
        let old = entries("host all all all md5\nhost replication all all md5\n");
        let new = entries("host all all all md5\n");
        let world = world(18);
        let (old, new) = (Judge::new(&old, &world), Judge::new(&new, &world));
        let pids = |found: Vec<LockOut>| found.into_iter().map(|lock_out| lock_out.peer.pid).collect::<Vec<_>>();
        assert_eq!(pids(lock_outs(Some(&old), &new, &sessions)), [2]);
        assert_eq!(pids(lock_outs(None, &new, &sessions)), [2, 3]);
        assert!(lock_outs(Some(&new), &old, &sessions).is_empty());
    }
}
