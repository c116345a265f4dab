//! What has become of each migration: the files beside what was recorded; pure.
use super::history::{Record, State};
use super::migrations::{Migration, Migrations};
use crate::error::{Error, Result};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

/// How a migration stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MigrationState {
    /// It was applied.
    Applied,
    /// It counts as applied, because what it does was there before.
    Baseline,
    /// It is to be applied.
    Pending,
    /// It runs without a transaction, at this moment or until it failed or was ended.
    Incomplete,
    /// It was incomplete, and is to go on: [`Repair::Resume`](super::Repair::Resume).
    Resumable,
    /// It was applied, and its file is another one now.
    Edited,
    /// It was applied, and its file is gone.
    Missing,
    /// It is not applied, but one with a higher number is.
    OutOfOrder,
}

impl MigrationState {
    /// The state in one word: `applied`, `out-of-order`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Baseline => "baseline",
            Self::Pending => "pending",
            Self::Incomplete => "incomplete",
            Self::Resumable => "resumable",
            Self::Edited => "edited",
            Self::Missing => "missing",
            Self::OutOfOrder => "out-of-order",
        }
    }

    /// Whether the next [`apply`](super::Migrator::apply) applies it, if nothing is wrong with others.
    pub fn is_pending(self) -> bool {
        matches!(self, Self::Pending | Self::Resumable)
    }
}

/// A migration, with what is recorded of it: [`Migrator::status`](super::Migrator::status).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct MigrationStatus {
    /// The number.
    pub version: u64,
    /// The name of the file; where that is gone, of the file that was applied.
    pub name: String,
    /// How it stands.
    pub state: MigrationState,
    /// When it was recorded.
    pub applied_at: Option<Timestamp>,
    /// The role that was logged in then.
    pub applied_by: Option<String>,
    /// How long it ran.
    pub duration: Option<Duration>,
    /// What is wrong, and what can be done; nothing is applied before that is mended.
    pub problem: Option<String>,
    /// How many of its statements were done, of one that is incomplete or resumable.
    pub statements_done: usize,
}

/// All migrations, those without a file too, in the order of their numbers.
pub(super) fn compare(migrations: &Migrations, records: &[Record]) -> Vec<MigrationStatus> {
    let mut pairs: BTreeMap<u64, (Option<&Migration>, Option<&Record>)> = BTreeMap::new();
    migrations.iter().for_each(|file| pairs.entry(file.version()).or_default().0 = Some(file));
    records.iter().for_each(|record| pairs.entry(record.version).or_default().1 = Some(record));
    let last = records.last();
    pairs.into_iter().map(|(version, (file, record))| status(version, file, record, last)).collect()
}

fn status(version: u64, file: Option<&Migration>, record: Option<&Record>, last: Option<&Record>) -> MigrationStatus {
    let (state, problem) = match (file, record) {
        (Some(file), Some(record)) => recorded(file, record),
        (Some(file), None) => unrecorded(file, last),
        (None, record) => (MigrationState::Missing, record.map(missing)),
    };
    let name = file.map(Migration::name).or(record.map(|record| record.name.as_str())).unwrap_or_default();
    MigrationStatus {
        version,
        name: name.to_owned(),
        state,
        applied_at: record.map(|record| record.applied_at),
        applied_by: record.map(|record| record.applied_by.clone()),
        duration: record.map(|record| record.duration),
        problem,
        statements_done: record.map_or(0, |record| record.statements_done),
    }
}

fn recorded(file: &Migration, record: &Record) -> (MigrationState, Option<String>) {
    let (name, Record { checksum, applied_at, statements_done: done, .. }) = (file.name(), record);
    let is_another = *checksum != file.checksum();
    match (record.state, is_another) {
        // One that was to go on has another file than the one that was looked at: it has to be looked at again.
        (State::Incomplete, _) | (State::Resumable, true) => (
            MigrationState::Incomplete,
            Some(format!(
                "{name:?} is not completed: {done} of its statements are done, and the one after that perhaps; unless \
                 somebody is running it now, look at what is there, then repair it: resume behind what is done, forget \
                 it to run it from its beginning, or accept it as applied"
            )),
        ),
        (State::Applied | State::Baseline, true) => (
            MigrationState::Edited,
            Some(format!(
                "{name:?} was edited after it was applied at {applied_at} (checksum {checksum} then, {} now); bring it \
                 back as it was and write a new migration, or repair: accept it as it is",
                file.checksum()
            )),
        ),
        (State::Applied, false) => (MigrationState::Applied, None),
        (State::Baseline, false) => (MigrationState::Baseline, None),
        (State::Resumable, false) => (MigrationState::Resumable, None),
    }
}

fn unrecorded(file: &Migration, last: Option<&Record>) -> (MigrationState, Option<String>) {
    match last.filter(|last| last.version > file.version()) {
        None => (MigrationState::Pending, None),
        Some(last) => (
            MigrationState::OutOfOrder,
            Some(format!(
                "{:?} is not applied, but {:?} behind it is; give it a higher number, or, where what it does is there, \
                 repair: accept it as applied",
                file.name(),
                last.name
            )),
        ),
    }
}

fn missing(record: &Record) -> String {
    format!(
        "{:?}, applied at {}, is gone; bring the file back, or repair: forget number {}",
        record.name, record.applied_at, record.version
    )
}

/// Refuses to go on where something is wrong with any of them.
pub(super) fn check(module: &str, all: &[MigrationStatus]) -> Result<()> {
    let problems: Vec<&str> = all.iter().filter_map(|status| status.problem.as_deref()).collect();
    match problems.is_empty() {
        true => Ok(()),
        false => Err(Error::invalid(format!("migrations of module {module:?}"), problems.join("; and "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(migration: &Migration, state: State) -> Record {
        Record {
            version: migration.version(),
            name: migration.name().into(),
            checksum: migration.checksum().into(),
            state,
            statements_done: 1,
            applied_at: "2026-01-02T03:04:05Z".parse().unwrap(),
            applied_by: "app".into(),
            duration: Duration::from_millis(7),
        }
    }

    #[test]
    fn p123_each_migration_stands_as_its_file_and_its_record_say() {
        let all =
            Migrations::embedded([("1_a.sql", "a"), ("2_b.sql", "b"), ("3_c.sql", "c"), ("10_d.sql", "d")]).unwrap();
        let of = |version| record(all.get(version).unwrap(), State::Applied);
        let states = |files: &Migrations, records: &[Record]| -> Vec<(u64, &str)> {
            compare(files, records).iter().map(|each| (each.version, each.state.word())).collect()
        };
        assert_eq!(states(&all, &[]), [(1, "pending"), (2, "pending"), (3, "pending"), (10, "pending")]);
        assert!(check("m", &compare(&all, &[of(1), of(2)])).is_ok());
        let late = [of(1), of(10)];
        assert_eq!(states(&all, &late), [(1, "applied"), (2, "out-of-order"), (3, "out-of-order"), (10, "applied")]);
        let error = check("m", &compare(&all, &late)).unwrap_err().to_string();
        assert!(error.contains("2_b.sql") && error.contains("3_c.sql") && error.contains("10_d.sql"), "{error}");

        let fewer = Migrations::embedded([("1_a.sql", "other"), ("3_c.sql", "c")]).unwrap();
        let records = [of(1), of(2), of(3)];
        assert_eq!(states(&fewer, &records), [(1, "edited"), (2, "missing"), (3, "applied")]);
        let error = check("m", &compare(&fewer, &records)).unwrap_err().to_string();
        assert!(error.contains("1_a.sql") && error.contains("2_b.sql") && !error.contains("3_c.sql"), "{error}");

        let halves = [record(all.get(1).unwrap(), State::Incomplete), record(all.get(2).unwrap(), State::Resumable)];
        assert_eq!(states(&all, &halves)[..2], [(1, "incomplete"), (2, "resumable")]);
        // What is to go on and got another file has to be looked at again.
        let changed = Migrations::embedded([("1_a.sql", "a"), ("2_b.sql", "other")]).unwrap();
        assert_eq!(states(&changed, &halves[1..])[1], (2, "incomplete"));
        // A file may get another title.
        let renamed = Migrations::embedded([("001_z.sql", "a")]).unwrap();
        assert_eq!(states(&renamed, &[of(1)]), [(1, "applied")]);
    }
}
