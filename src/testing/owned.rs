//! Databases that go with their owner: a connection, whose server process is told by their names.
//!
//! So whoever finds such a database can tell whether its owner is still there, wherever he runs, and from the first
//! moment on: a comment would come later than the database.
use crate::server_process::ServerProcess;
use crate::sql::{Ident, Lit, Sql};
use crate::{Cluster, Error, Result, Sessions};
use sha2::{Digest, Sha256};
use std::io::{self, Write};
use std::time::Duration;

/// What the names begin with.
const START: &str = "pgsteward_test_";

/// How long a dropped database's sessions are waited for: they have been told to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// From which size on it is quicker to copy the files of a template, with a checkpoint before and after, than to write
/// all its pages to the WAL; both take some tenths of a second there.
const LARGE: u64 = 64 * 1024 * 1024;

/// The variable that says which databases are to stay.
const KEEP: &str = "PGSTEWARD_KEEP_TEST_DATABASES";

/// What a database is made from.
pub(super) struct Original<'n> {
    pub(super) name: &'n str,
    pub(super) bytes: u64,
}

/// What PostgreSQL itself brings.
pub(super) const EMPTY: Original<'_> = Original { name: "template0", bytes: 0 };

/// Which databases stay when their tests end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    None,
    Failed,
    All,
}

impl Keep {
    fn wanted() -> Result<Self> {
        match std::env::var(KEEP).unwrap_or_default().as_str() {
            "" => Ok(Self::None),
            "failed" => Ok(Self::Failed),
            "all" => Ok(Self::All),
            other => Err(Error::invalid(format!("{KEEP} {other:?}"), "it is neither `all` nor `failed`")),
        }
    }
}

/// A database that is dropped with this value, unless it is kept.
pub(super) struct OwnedDatabase {
    name: String,
    /// The owner: a connection to another database.
    owner: Cluster,
    keep: Keep,
    /// Whether it is no longer the owner's to drop.
    released: bool,
}

impl OwnedDatabase {
    /// Makes a database that did not exist, and drops those whose owners are gone.
    pub(super) fn create(dsn: &str, original: &Original<'_>) -> Result<Self> {
        let keep = Keep::wanted()?;
        let owner = connect(dsn)?;
        let process = ServerProcess::own(&owner)?;
        drop_orphans(&owner)?;
        let name = name_of(&process);
        let action = format!("create database {name:?} from {:?}", original.name);
        let strategy = match owner.version().at_least(15) && original.bytes >= LARGE {
            true => sql!(" STRATEGY FILE_COPY"),
            false => sql!(""),
        };
        let create = sql!("CREATE DATABASE {} TEMPLATE {}{}", Ident(&name), Ident(original.name), strategy);
        owner.session().run(&action, &[create])?;
        let made = Self { name, owner, keep, released: false };
        if keep == Keep::All {
            made.stay()?;
        }
        Ok(made)
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Keeps it, and tells its name.
    pub(super) fn keep(&mut self) -> Result<()> {
        if self.keep != Keep::All {
            self.stay()?;
        }
        self.keep = Keep::All;
        Ok(())
    }

    /// A database with a comment is nobody's left-over.
    fn stay(&self) -> Result<()> {
        let comment = sql!("COMMENT ON DATABASE {} IS 'A test database that was kept on demand'", Ident(&self.name));
        self.owner.session().run(&format!("keep database {:?}", self.name), &[comment])?;
        // `eprintln!` would not show in a test that passes. Where nobody reads, there is nobody to tell.
        let _ = writeln!(io::stderr(), "the test database {:?} is kept", self.name);
        Ok(())
    }

    /// Gives it its last name and a comment, at once, and lets nobody connect to it any more.
    pub(super) fn publish(mut self, name: &str, comment: &str) -> Result<()> {
        let action = format!("rename database {:?} to {name:?}", self.name);
        self.end_sessions()?;
        let session = self.owner.session();
        let steps = [
            sql!("ALTER DATABASE {} RENAME TO {}", Ident(&self.name), Ident(name)),
            sql!("COMMENT ON DATABASE {} IS {}", Ident(name), Lit(comment)),
            sql!("ALTER DATABASE {} ALLOW_CONNECTIONS false", Ident(name)),
        ];
        session.transaction(&action, || session.run(&action, &steps))?;
        self.released = true;
        Ok(())
    }

    /// Ends the sessions in it. They are waited for here, because the server looks again only after a tenth of a second.
    pub(super) fn end_sessions(&self) -> Result<()> {
        let sessions = Sessions::new().databases([&self.name]).walsenders().timeout(PATIENCE);
        self.owner.terminate(sessions).map(drop)
    }

    fn drop_now(&self) -> Result<()> {
        match self.end_sessions() {
            // A test may have ended all sessions, this one too: the next call connects anew.
            Err(Error::Connection { .. }) => self.end_sessions()?,
            result => result?,
        }
        self.owner.databases().get(self.name.as_str())?.drop_force()
    }
}

impl Drop for OwnedDatabase {
    fn drop(&mut self) {
        if self.released || self.keep == Keep::All {
            return;
        }
        let result = match self.keep == Keep::Failed && std::thread::panicking() {
            true => self.stay(),
            false => self.drop_now(),
        };
        // The next test that makes a database tries it again.
        if let Err(error) = result {
            log::warn!("{error}");
        }
    }
}

/// A connection that may be idle for as long as tests take.
pub(super) fn connect(dsn: &str) -> Result<Cluster> {
    let cluster = Cluster::connect(dsn)?;
    if cluster.version().at_least(14) {
        cluster.session().run("set idle_session_timeout", &[sql!("SET idle_session_timeout = 0")])?;
    }
    Ok(cluster)
}

/// Drops the test databases on a server whose owners are gone: their processes were killed. Databases that were kept
/// stay, and so do all others. Returns the names of those that were dropped.
///
/// [`TestDatabase`](super::TestDatabase) and [`Template`](super::Template) do this whenever they make a database.
///
/// # Errors
/// As for [`Cluster::connect`]. A database that cannot be dropped, or that somebody is connected to, is left, with a
/// warning in the log.
pub fn remove_left_overs(dsn: &str) -> Result<Vec<String>> {
    drop_orphans(&connect(dsn)?)
}

fn drop_orphans(cluster: &Cluster) -> Result<Vec<String>> {
    let (session, action) = (cluster.session(), "look for test databases that were left over");
    let question = sql!(
        "SELECT d.datname AS name, EXISTS (SELECT FROM pg_catalog.pg_stat_get_activity(NULL) a \
         WHERE a.datid = d.oid)::text AS in_use FROM pg_catalog.pg_database d \
         WHERE pg_catalog.starts_with(d.datname::text, {}) \
         AND pg_catalog.shobj_description(d.oid, 'pg_database') IS NULL ORDER BY 1",
        Lit(START)
    );
    let mut owned = Vec::new();
    for row in session.run(action, &[question])?.iter().flatten() {
        let (name, in_use) = (row.text("name")?, row.truth("in_use")?);
        owned.extend(owner_of(&name).map(|owner| (name, in_use, owner)));
    }
    let questions: Vec<Sql> = owned.iter().map(|(_, _, owner)| owner.is_alive()).collect();
    let answers = session.run(action, &questions)?;
    let mut dropped = Vec::new();
    for ((name, in_use, _), row) in owned.into_iter().zip(answers.iter().flatten()) {
        match (row.truth("alive")?, in_use) {
            (true, _) => {}
            // The server would wait five seconds for them.
            (false, true) => log::warn!("test database {name:?} was left over, and somebody is connected to it"),
            (false, false) if drop_orphan(cluster, &name) => dropped.push(name),
            (false, false) => {}
        }
    }
    Ok(dropped)
}

/// Whether it was dropped here. Nobody's session is ended for it: the name may be about to become another one's.
fn drop_orphan(cluster: &Cluster, name: &str) -> bool {
    let drop = sql!("DROP DATABASE {}", Ident(name));
    match cluster.session().run(&format!("drop database {name:?}"), &[drop]) {
        Ok(_) => true,
        // Somebody else has found it too.
        Err(error) if error.is_not_found() => false,
        Err(error) => {
            log::warn!("{error}");
            false
        }
    }
}

/// The name of the database that belongs to a process.
fn name_of(process: &ServerProcess) -> String {
    let ServerProcess { pid, began } = process;
    format!("{START}{pid}_{began}_{}", check(*pid, began))
}

/// Whose database it is, if the name is one that was made here.
fn owner_of(name: &str) -> Option<ServerProcess> {
    let mut parts = name.strip_prefix(START)?.split('_');
    let process = ServerProcess { pid: parts.next()?.parse().ok()?, began: parts.next()?.to_owned() };
    (name == name_of(&process)).then_some(process)
}

/// What no name has by chance.
fn check(pid: i32, began: &str) -> String {
    let digest = Sha256::digest(format!("pgsteward test database of {pid} since {began}"));
    crate::sql::hex(&digest).chars().take(8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_its_owner_and_no_other_name_does() {
        let process = ServerProcess { pid: 4711, began: "1700000000.123456".into() };
        let name = name_of(&process);
        assert!(name.starts_with("pgsteward_test_4711_1700000000.123456_") && name.len() < 64, "{name}");
        assert_eq!(owner_of(&name), Some(process));
        let (start, check) = name.rsplit_once('_').unwrap();
        for other in [
            "pgsteward_test_",
            "pgsteward_test_4711_1700000000.123456",
            "pgsteward_test_shop_1_2",
            "postgres",
            &format!("{start}_{}", "0".repeat(8)),
            &format!("pgsteward_test_4712_1700000000.123456_{check}"),
            &format!("{name}_1"),
            &format!("{start}_{}", check.to_uppercase()),
        ] {
            assert_eq!(owner_of(other), None, "{other}");
        }
    }
}
