//! Which snapshots are too old or too many.
use super::index::{Snapshot, moment};
use super::moment::clock;
use super::survey::no_answer;
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// Which snapshots [`Snapshots::prune`](super::Snapshots::prune) drops: those that every limit given lets go. The
/// newest stays in any case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PruneOptions {
    /// So many of the newest stay.
    pub keep: Option<usize>,
    /// Those that are not older than this stay.
    pub older_than: Option<Duration>,
    /// Those with another label stay, and are not counted.
    pub label: Option<String>,
}

impl PruneOptions {
    /// No limit yet: one of `keep` and `older_than` is needed.
    pub fn new() -> Self {
        Self::default()
    }

    pub(super) fn check(&self) -> Result<()> {
        match self.keep.is_some() || self.older_than.is_some() {
            true => Ok(()),
            false => Err(Error::invalid("options to prune snapshots", "they say neither how many to keep nor how old")),
        }
    }
}

/// The server's time: the one that snapshots are dated by.
pub(super) fn now(cluster: &Cluster) -> Result<Timestamp> {
    let answers = cluster.session().run("ask for the time", &[clock()])?;
    moment(answers.iter().flatten().next().ok_or_else(no_answer)?, "now")
}

/// Those to drop, of a list with the newest first.
pub(super) fn choose(snapshots: Vec<Snapshot>, options: &PruneOptions, now: Timestamp) -> Vec<Snapshot> {
    let meant =
        snapshots.into_iter().filter(|snapshot| options.label.as_ref().is_none_or(|label| *label == snapshot.label));
    let is_old = |snapshot: &Snapshot| {
        let age = now.duration_since(snapshot.taken);
        options.older_than.is_none_or(|limit| SignedDuration::try_from(limit).is_ok_and(|limit| age > limit))
    };
    meant.skip(options.keep.unwrap_or_default().max(1)).filter(is_old).collect()
}

#[cfg(test)]
mod tests {
    use super::super::index::TestSnapshot;
    use super::*;

    fn pruned(options: &PruneOptions) -> Vec<String> {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let day = |days: i64, label: &str| TestSnapshot::taken(now - SignedDuration::from_hours(24 * days), label);
        let snapshots = vec![day(0, "a"), day(1, "b"), day(2, "a"), day(9, "a"), day(30, "b")];
        let chosen = choose(snapshots, options, now);
        chosen.iter().map(|snapshot| snapshot.taken.strftime("%m-%d").to_string()).collect()
    }

    #[test]
    fn the_limits_hold_together_and_the_newest_stays() {
        let days = |days: u64| Some(Duration::from_secs(days * 86_400));
        let options =
            |keep, older_than, label: Option<&str>| PruneOptions { keep, older_than, label: label.map(str::to_owned) };
        assert!(options(None, None, Some("a")).check().is_err());
        assert_eq!(pruned(&options(Some(3), None, None)), ["11-12", "10-22"]);
        assert_eq!(pruned(&options(None, days(2), None)), ["11-12", "10-22"]);
        assert_eq!(pruned(&options(Some(4), days(2), None)), ["10-22"]);
        assert_eq!(pruned(&options(Some(0), Some(Duration::ZERO), None)), ["11-20", "11-19", "11-12", "10-22"]);
        assert_eq!(pruned(&options(Some(0), None, Some("b"))), ["10-22"]);
        assert!(pruned(&options(None, Some(Duration::MAX), None)).is_empty());
    }
}
