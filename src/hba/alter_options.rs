//! How a changed file is brought to the server, and what came of it.
use super::backups;
use std::fmt;

/// How `HbaRules::alter_with` goes about it.
///
/// ```
/// use pgsteward::hba::{HbaAlterOptions, HbaWrite};
/// let mut options = HbaAlterOptions::new();
/// options.write = HbaWrite::InPlace;
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HbaAlterOptions {
    /// How the file is written. [`HbaWrite::Replace`] by default.
    pub write: HbaWrite,
    /// How many copies of older files are kept, see [`HbaRules::backups`](super::HbaRules::backups): 10 by default. The
    /// newest is kept in any case.
    pub backups: usize,
    /// Whether a new connection must be let in under the new rules. [`HbaProbe::Connect`] by default.
    pub probe: HbaProbe,
    /// What is done about rules that lock somebody out. [`OnLockOut::Refuse`] by default.
    pub lock_out: OnLockOut,
}

impl Default for HbaAlterOptions {
    fn default() -> Self {
        Self { write: HbaWrite::Replace, backups: 10, probe: HbaProbe::Connect, lock_out: OnLockOut::Refuse }
    }
}

impl HbaAlterOptions {
    /// The defaults, which are the safe ones.
    pub fn new() -> Self {
        Self::default()
    }
}

/// How the file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HbaWrite {
    /// A new file is written beside the old one, with its mode and owner, and put in its place when it is whole and on
    /// disk: whatever happens, the file is the old or the new one. It needs a server on a POSIX system, and the role
    /// `pg_execute_server_program`.
    Replace,
    /// The file itself is overwritten: a crash or a full disk at that moment leaves half of it. For a file that
    /// cannot be replaced because it is mounted by itself (a Kubernetes ConfigMap, `docker run -v file:...`), and for a
    /// role that has `pg_write_server_files` and not `pg_execute_server_program`.
    ///
    /// Without `pg_execute_server_program`, or without a shell, SQL alone writes the file. Then older copies are never
    /// removed, and the link `.bak` is not moved. With `EXECUTE` on `lo_export` the content goes through a large
    /// object, so that all of it, passwords too, gets into the server's write-ahead log (WAL), and from there into its archive
    /// and to its replicas; a warning is logged where there is a password in it.
    InPlace,
}

impl fmt::Display for HbaWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Replace => "replaced",
            Self::InPlace => "overwritten in place",
        })
    }
}

/// Whether a new connection must be let in under the new rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HbaProbe {
    /// A connection is made with the parameters of the present one. When it fails, the old file is put back and loaded.
    Connect,
    /// None is made: for a connection that was handed in, and for rules that are to keep the present user out.
    Skip,
}

/// What is done about rules under which the present session, or a replica that is now connected, could not connect again,
/// or perhaps not, because it is asked for another proof than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnLockOut {
    /// They are refused before anything is written.
    Refuse,
    /// They are written.
    Allow,
}

/// What became of a change of pg_hba.conf.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HbaOutcome {
    /// How the file was written; none if there was nothing to change, and in a plan.
    pub write: Option<HbaWrite>,
    /// The path of the copy of the old file; none where nothing was written.
    pub backup: Option<String>,
    /// How many lines are new, or will be by a plan; a changed line is one that is gone and one that is new.
    pub lines_added: usize,
    /// How many lines are gone.
    pub lines_removed: usize,
    /// Whether the server is known to have read the file.
    pub reloaded: bool,
    /// Whether a new connection was let in after that.
    pub probed: bool,
    /// Whether it is in a plan, and nothing was done yet.
    pub planned: bool,
}

impl HbaOutcome {
    /// What becomes of no change.
    pub(super) fn nothing() -> Self {
        Self {
            write: None,
            backup: None,
            lines_added: 0,
            lines_removed: 0,
            reloaded: false,
            probed: false,
            planned: false,
        }
    }

    /// What becomes of a change in a plan: so many lines will be new, and gone.
    pub(super) fn planned((lines_added, lines_removed): (usize, usize)) -> Self {
        Self { lines_added, lines_removed, planned: true, ..Self::nothing() }
    }
}

/// A copy of an older file, made by an earlier change of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct HbaBackup {
    /// The path on the server.
    pub path: String,
    /// When it was made.
    pub time: jiff::Timestamp,
    /// Its size in bytes.
    pub size: u64,
}

impl HbaBackup {
    /// Whether it is a copy of this content, as far as the hash in its name tells.
    pub fn is_of(&self, content: &[u8]) -> bool {
        backups::is_of(&self.path, content)
    }
}
