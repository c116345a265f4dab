//! Who waits for whom.
use super::activity::{self, Activity};
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::name::Name;
use crate::row::Row;
use crate::sessions::fresh_statistics;
use crate::sql::Sql;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A session that waits for a lock, or that has one that others wait for.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct BlockingSession {
    /// How far it is from one that waits for nobody, which is 0. Sessions that wait for each other in a circle hang from the one with the lowest number.
    pub depth: usize,
    /// The server process; 0 stands for prepared transactions, which have none.
    pub pid: i32,
    /// What it does; none of prepared transactions, and of a session that has ended since.
    pub activity: Option<Activity>,
    /// The identifiers of the prepared transactions, where `pid` is 0 and they are known.
    pub prepared: Vec<String>,
    /// All that it waits for, those before it in the queue too. In the tree it stands once, behind the one of them that
    /// is nearest to the beginning.
    pub waits_for: Vec<i32>,
    /// What it waits for; none if it does not.
    pub lock: Option<AwaitedLock>,
}

/// A lock that somebody waits for
/// ([pg_locks](https://www.postgresql.org/docs/current/view-pg-locks.html)).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AwaitedLock {
    /// How it is wanted: `AccessExclusiveLock`.
    pub mode: String,
    /// What sort of thing it is on: `relation`, or `transactionid` where a row is waited for.
    pub lock_type: String,
    /// The relation, if it is on one of the current database or on part of one.
    pub relation: Option<Name>,
}

fn query() -> Sql {
    sql!(
        "WITH waiting AS MATERIALIZED (SELECT DISTINCT ON (l.pid) l.*, pg_catalog.pg_blocking_pids(l.pid) AS blockers \
         FROM pg_catalog.pg_locks l WHERE NOT l.granted AND l.pid IS NOT NULL ORDER BY l.pid), \
         involved AS (SELECT w.pid FROM waiting w UNION SELECT pg_catalog.unnest(w.blockers) FROM waiting w) \
         SELECT i.pid::text AS involved, w.blockers::text, w.mode, w.locktype AS lock_type, \
         n.nspname AS schema, c.relname AS relation, CASE WHEN 0 = ANY (w.blockers) THEN ARRAY( \
         SELECT p.gid FROM pg_catalog.pg_locks h JOIN pg_catalog.pg_locks own ON own.locktype = 'transactionid' \
         AND own.pid IS NULL AND own.virtualtransaction = h.virtualtransaction JOIN pg_catalog.pg_prepared_xacts p \
         ON p.transaction = own.transactionid WHERE h.granted AND h.pid IS NULL AND (h.locktype, \
         h.database, h.relation, h.page, h.tuple, h.virtualxid, h.transactionid, h.classid, h.objid, h.objsubid) \
         IS NOT DISTINCT FROM (w.locktype, w.database, w.relation, w.page, w.tuple, w.virtualxid, w.transactionid, \
         w.classid, w.objid, w.objsubid) ORDER BY 1)::text END AS prepared, {} \
         FROM involved i LEFT JOIN waiting w ON w.pid = i.pid LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = i.pid \
         LEFT JOIN pg_catalog.pg_class c ON c.oid = w.relation AND w.database IN (0, (SELECT d.oid \
         FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())) \
         LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace ORDER BY i.pid",
        activity::columns()
    )
}

/// A session as it was found, before it has its place in the tree.
fn read(row: &Row) -> Result<BlockingSession> {
    let relation = row.optional("schema")?.zip(row.optional("relation")?);
    let lock = match row.optional("mode")? {
        Some(mode) => Some(AwaitedLock { mode, lock_type: row.text("lock_type")?, relation: relation.map(Name::from) }),
        None => None,
    };
    let number = |pid: String| pid.parse().map_err(|_| Error::invalid("answer of the server", "a pid is no number"));
    let mut waits_for: Vec<i32> = row.list("blockers")?.into_iter().map(number).collect::<Result<_>>()?;
    // Of parallel workers the server gives the leader, once for each.
    waits_for.sort_unstable();
    waits_for.dedup();
    Ok(BlockingSession {
        depth: 0,
        pid: row.number("involved")?,
        activity: row.optional("pid")?.is_some().then(|| Activity::read(row)).transpose()?,
        prepared: row.list("prepared")?,
        waits_for,
        lock,
    })
}

pub(super) fn blocking(cluster: &Cluster) -> Result<Vec<BlockingSession>> {
    let answers = cluster.session().run("look at who waits for whom", &[fresh_statistics(), query()])?;
    Ok(tree(answers.iter().skip(1).flatten().map(read).collect::<Result<_>>()?))
}

/// The sessions in the order of a tree. Each stands once, however many it waits for, and however they wait for each other.
fn tree(found: Vec<BlockingSession>) -> Vec<BlockingSession> {
    // What is known of prepared transactions was found with those that wait for them.
    let prepared: BTreeSet<String> = found.iter().flat_map(|session| session.prepared.iter().cloned()).collect();
    let mut sessions: BTreeMap<i32, BlockingSession> =
        found.into_iter().map(|session| (session.pid, BlockingSession { prepared: Vec::new(), ..session })).collect();
    if let Some(session) = sessions.get_mut(&0) {
        session.prepared = prepared.into_iter().collect();
    }
    let mut blocked: BTreeMap<i32, BTreeSet<i32>> = BTreeMap::new();
    for session in sessions.values() {
        for blocker in &session.waits_for {
            blocked.entry(*blocker).or_default().insert(session.pid);
        }
    }
    // One that waits for nobody any more, and that nobody waits for, has got its lock meanwhile.
    sessions.retain(|pid, session| !session.waits_for.is_empty() || blocked.contains_key(pid));
    let children = children(&sessions, &blocked);
    let mut ordered = Vec::new();
    let mut next: Vec<(usize, i32)> = children.get(&None).into_iter().flatten().rev().map(|pid| (0, *pid)).collect();
    while let Some((depth, pid)) = next.pop() {
        ordered.extend(sessions.remove(&pid).map(|session| BlockingSession { depth, ..session }));
        next.extend(children.get(&Some(pid)).into_iter().flatten().rev().map(|pid| (depth + 1, *pid)));
    }
    ordered
}

/// Which sessions stand behind which: each behind the nearest to those that wait for nobody, which stand behind none.
fn children(
    sessions: &BTreeMap<i32, BlockingSession>,
    blocked: &BTreeMap<i32, BTreeSet<i32>>,
) -> BTreeMap<Option<i32>, BTreeSet<i32>> {
    let mut children: BTreeMap<Option<i32>, BTreeSet<i32>> = BTreeMap::new();
    let mut placed = BTreeSet::new();
    // First those that wait for nobody; then, of whatever is left, which is circles, the first.
    let free = sessions.values().filter(|session| session.waits_for.is_empty()).map(|session| session.pid);
    let mut starts: Vec<BTreeSet<i32>> = vec![free.collect()];
    starts.extend(sessions.keys().map(|pid| BTreeSet::from([*pid])));
    for start in starts {
        let start: BTreeSet<i32> = start.into_iter().filter(|pid| placed.insert(*pid)).collect();
        let mut queue: VecDeque<i32> = start.iter().copied().collect();
        children.entry(None).or_default().extend(start);
        while let Some(blocker) = queue.pop_front() {
            for pid in blocked.get(&blocker).into_iter().flatten().filter(|pid| placed.insert(**pid)) {
                children.entry(Some(blocker)).or_default().insert(*pid);
                queue.push_back(*pid);
            }
        }
    }
    children
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(pid: i32, waits_for: &[i32]) -> BlockingSession {
        BlockingSession {
            depth: 0,
            pid,
            activity: None,
            prepared: Vec::new(),
            waits_for: waits_for.to_vec(),
            lock: None,
        }
    }

    fn shape(sessions: &[(i32, &[i32])]) -> Vec<(usize, i32)> {
        let found = sessions.iter().map(|(pid, waits_for)| session(*pid, waits_for)).collect();
        tree(found).into_iter().map(|session| (session.depth, session.pid)).collect()
    }

    #[test]
    fn each_session_stands_once_behind_the_nearest_that_it_waits_for() {
        assert_eq!(shape(&[]), []);
        // A chain, and a queue: those behind wait for those before them too.
        assert_eq!(shape(&[(3, &[]), (1, &[3]), (2, &[1])]), [(0, 3), (1, 1), (2, 2)]);
        assert_eq!(shape(&[(9, &[]), (1, &[9]), (2, &[1, 9]), (3, &[1, 2, 9])]), [(0, 9), (1, 1), (1, 2), (1, 3)]);
        // Two that wait for nobody, and one that waits for both.
        assert_eq!(shape(&[(4, &[]), (5, &[]), (6, &[4, 5])]), [(0, 4), (1, 6), (0, 5)]);
        // It has got its lock meanwhile.
        assert_eq!(shape(&[(7, &[])]), []);
    }

    #[test]
    fn circles_end() {
        assert_eq!(shape(&[(1, &[2]), (2, &[1])]), [(0, 1), (1, 2)]);
        assert_eq!(shape(&[(1, &[1])]), [(0, 1)]);
        // A circle that waits for somebody hangs from him, and one that somebody waits for has him behind it.
        assert_eq!(shape(&[(1, &[2, 9]), (2, &[1]), (9, &[])]), [(0, 9), (1, 1), (2, 2)]);
        assert_eq!(shape(&[(5, &[6]), (6, &[5]), (1, &[6])]), [(0, 1), (0, 5), (1, 6)]);
    }

    #[test]
    fn a_queue_of_many_is_not_walked_through_in_all_ways() {
        let queue: Vec<_> = (0..500).map(|pid| session(pid, &(0..pid).collect::<Vec<_>>())).collect();
        let ordered = tree(queue);
        assert_eq!(ordered.len(), 500);
        assert!(ordered.iter().skip(1).all(|session| session.depth == 1));
        let chain: Vec<_> =
            (0..5000).map(|pid| session(pid, &(pid > 0).then_some(pid - 1).map_or(vec![], |p| vec![p]))).collect();
        assert_eq!(tree(chain).last().map(|session| session.depth), Some(4999));
    }

    #[test]
    fn prepared_transactions_are_named_once() {
        let waiting = |pid, gid: &str| BlockingSession { prepared: vec![gid.into()], ..session(pid, &[0]) };
        let ordered = tree(vec![session(0, &[]), waiting(1, "b"), waiting(2, "a"), waiting(3, "b")]);
        assert_eq!(ordered[0].prepared, ["a", "b"]);
        assert!(ordered.iter().skip(1).all(|session| session.prepared.is_empty()));
    }
}
