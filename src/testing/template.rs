//! Databases that are made once and copied for each test.
use super::owned::{self, Original, OwnedDatabase};
use super::test_database::TestDatabase;
use crate::row::Row;
use crate::sql::{Ident, Lit, hex};
use crate::{Cluster, Error, Result, load};
use sha2::{Digest, Sha256};
use std::fmt;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// What the names begin with.
const START: &str = "pgsteward_template_";

/// The first of the two numbers of the advisory locks: of those who use a template, and of those who make one.
const USE: i32 = 1_885_827_937;
const MAKE: i32 = 1_885_827_938;

/// How long another process may take to make a template.
const PATIENCE: Duration = Duration::from_secs(600);

/// A database that was made once, to be copied for each test: [`TestDatabase::from_template`].
///
/// Keep it in a `static` (`OnceLock<Template>`), so that the tests of a program share it.
pub struct Template {
    dsn: String,
    name: String,
    bytes: u64,
    /// What keeps it.
    _hold: Hold,
}

enum Hold {
    /// A connection with an advisory lock, as long as which nobody drops it.
    User { _lock: Cluster },
    /// It is this process's own.
    Owner { _database: OwnedDatabase },
}

impl Template {
    /// A template that outlives this process: it is made when there is none of this name with this content, by one
    /// process while others wait, ten minutes at most. `content` is whatever it is made of, such as the text of the
    /// migrations: its hash is in the database's name, `pgsteward_template_NAME_HASH`, so that another content is
    /// another template. Those of the same name that nobody uses are dropped then.
    ///
    /// It gets its name, under which it is found, only when the closure has returned `Ok`. What is left of a process that
    /// was killed meanwhile is dropped later, as for [`TestDatabase`].
    ///
    /// # Errors
    /// As for [`TestDatabase::new`]; those of the closure, and then nothing is left; [`Error::Invalid`] for a name of
    /// more than 27 bytes; [`Error::AlreadyExists`] if there is a database of that name that was not made here;
    /// [`Error::InUse`] if another process takes longer.
    pub fn prepare(
        dsn: &str,
        name: &str,
        content: impl AsRef<[u8]>,
        make: impl FnOnce(&TestDatabase) -> Result<()>,
    ) -> Result<Self> {
        let wanted = Wanted::new(name, content.as_ref());
        sql!("{}", Ident(&wanted.name)).check()?;
        let user = owned::connect(dsn)?;
        user.session()
            .run("lock a template", &[sql!("SELECT pg_catalog.pg_advisory_lock_shared({}, {})", USE, wanted.key)])?;
        let bytes = match wanted.find(&user)? {
            Some(bytes) => bytes,
            None => wanted.make(dsn, &user, make)?,
        };
        Ok(Self { dsn: dsn.to_owned(), name: wanted.name, bytes, _hold: Hold::User { _lock: user } })
    }

    /// As [`prepare`](Template::prepare), from a SQL file or the files `*.sql` of a folder: see [`Cluster::load_files`].
    ///
    /// # Errors
    /// As for both.
    pub fn of_files(dsn: &str, name: &str, path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let mut content = Vec::new();
        for file in load::files_at(path)? {
            content.extend(fs::read(&file).map_err(|error| Error::io(format!("read {file:?}"), error))?);
        }
        Self::prepare(dsn, name, content, |database| database.load_files(path).map(drop))
    }

    /// A template for this process alone: it is made anew, and dropped with this value; one in a `static` is dropped by
    /// the next process that makes a test database.
    ///
    /// # Errors
    /// As for [`TestDatabase::new`], and those of the closure.
    pub fn for_this_process(dsn: &str, make: impl FnOnce(&TestDatabase) -> Result<()>) -> Result<Self> {
        let database = TestDatabase::create(dsn, &owned::EMPTY)?;
        make(&database)?;
        let bytes = size(&database)?;
        let database = database.close();
        database.end_sessions()?;
        let name = database.name().to_owned();
        Ok(Self { dsn: dsn.to_owned(), name, bytes, _hold: Hold::Owner { _database: database } })
    }

    /// The name of the database.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn dsn(&self) -> &str {
        &self.dsn
    }

    pub(super) fn original(&self) -> Original<'_> {
        Original { name: &self.name, bytes: self.bytes }
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Template").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A template that is to be there.
struct Wanted {
    name: String,
    /// What tells a template of ours, and for whom, from other databases.
    comment: String,
    key: i32,
}

impl Wanted {
    fn new(name: &str, content: &[u8]) -> Self {
        let hash: String = hex(&Sha256::digest(content)).chars().take(16).collect();
        let full = format!("{START}{name}_{hash}");
        Self { key: key(&full), comment: format!("Made for tests by pgsteward: template {name:?}"), name: full }
    }

    /// Its size, if it is there.
    fn find(&self, cluster: &Cluster) -> Result<Option<u64>> {
        let question = sql!(
            "SELECT COALESCE(pg_catalog.shobj_description(d.oid, 'pg_database') = {}, false)::text AS ours, \
             pg_catalog.pg_database_size(d.oid)::text AS bytes FROM pg_catalog.pg_database d WHERE d.datname = {}",
            Lit(&self.comment),
            Lit(&self.name)
        );
        let answers = cluster.session().run("look for a template", &[question])?;
        let Some(row) = answers.iter().flatten().next() else { return Ok(None) };
        match row.truth("ours")? {
            true => row.number("bytes").map(Some),
            false => Err(Error::AlreadyExists {
                what: format!("database {:?}, which is no template that was made for tests,", self.name),
            }),
        }
    }

    /// Makes it, unless another process has done so by the time that it is this one's turn; returns its size.
    fn make(&self, dsn: &str, user: &Cluster, make: impl FnOnce(&TestDatabase) -> Result<()>) -> Result<u64> {
        let _turn = self.turn(dsn)?;
        if let Some(bytes) = self.find(user)? {
            return Ok(bytes);
        }
        let database = TestDatabase::create(dsn, &owned::EMPTY)?;
        make(&database)?;
        let bytes = size(&database)?;
        match database.close().publish(&self.name, &self.comment) {
            Ok(()) => {}
            // The turns of those who connect to different databases first do not exclude each other.
            Err(error) => return self.find(user)?.ok_or(error),
        }
        self.drop_older(user)?;
        Ok(bytes)
    }

    /// Waits until no other process makes it; others wait as long as the connection is there. It is asked for, and not
    /// waited for in the server: a statement that waits would hold a snapshot.
    fn turn(&self, dsn: &str) -> Result<Cluster> {
        let cluster = owned::connect(dsn)?;
        let started = Instant::now();
        let question = sql!("SELECT pg_catalog.pg_try_advisory_lock({}, {})::text AS mine", MAKE, self.key);
        while !is_true(&cluster.session().run("lock a template", std::slice::from_ref(&question))?, "mine")? {
            if started.elapsed() > PATIENCE {
                return Err(Error::InUse {
                    action: format!("make template {:?}", self.name),
                    what: "the advisory lock of those who make it".into(),
                    by: format!("another process, for {} s", PATIENCE.as_secs()),
                });
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(cluster)
    }

    /// Drops those of the same name that were made of something else, and that nobody uses.
    fn drop_older(&self, cluster: &Cluster) -> Result<()> {
        let session = cluster.session();
        let question = sql!(
            "SELECT d.datname AS name FROM pg_catalog.pg_database d WHERE d.datname <> {} \
             AND pg_catalog.shobj_description(d.oid, 'pg_database') = {} ORDER BY 1",
            Lit(&self.name),
            Lit(&self.comment)
        );
        for row in session.run("look for older templates", &[question])?.iter().flatten() {
            let name = row.text("name")?;
            let key = key(&name);
            // Whoever begins to use it now sees that it is gone, or that it goes: he takes the lock first.
            let question = sql!(
                "SELECT (pg_catalog.pg_try_advisory_lock({}, {}) AND NOT EXISTS (SELECT FROM pg_catalog.pg_locks l \
                 WHERE l.locktype = 'advisory' AND l.classid = {}::pg_catalog.oid AND l.objid = {}::pg_catalog.oid \
                 AND l.pid <> pg_catalog.pg_backend_pid()))::text AS unused",
                USE,
                key,
                USE,
                key
            );
            let action = format!("drop template {name:?}");
            if is_true(&session.run(&action, &[question])?, "unused")? {
                if let Err(error) = session.run(&action, &[sql!("DROP DATABASE {}", Ident(&name))]) {
                    log::warn!("{error}");
                }
            }
            session.run(&action, &[sql!("SELECT pg_catalog.pg_advisory_unlock({}, {})", USE, key)])?;
        }
        Ok(())
    }
}

/// The second number of the advisory locks of a template: no less than 0, so that `pg_locks` shows it as it is.
fn key(name: &str) -> i32 {
    let digest = Sha256::digest(name);
    let start = digest.first_chunk().copied().unwrap_or_default();
    i32::from_be_bytes(start) & i32::MAX
}

fn size(database: &Cluster) -> Result<u64> {
    let question = sql!("SELECT pg_catalog.pg_database_size(pg_catalog.current_database())::text AS bytes");
    let answers = database.session().run("read the size of the database", &[question])?;
    let row = answers.iter().flatten().next();
    row.ok_or_else(|| Error::invalid("answer of the server", "it has no size"))?.number("bytes")
}

fn is_true(answers: &[Vec<Row>], column: &str) -> Result<bool> {
    answers.iter().flatten().next().map_or(Ok(false), |row| row.truth(column))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_content_is_another_template_of_the_same_name() {
        let (first, second) = (Wanted::new("shop", b"CREATE TABLE a ()"), Wanted::new("shop", b"CREATE TABLE b ()"));
        assert!(first.name.starts_with("pgsteward_template_shop_") && first.name != second.name, "{}", first.name);
        assert_eq!(first.comment, second.comment);
        assert_ne!(first.key, second.key);
        assert!(first.key >= 0 && second.key >= 0);
        assert_eq!(Wanted::new("shop", b"CREATE TABLE a ()").name, first.name);
        assert_ne!(Wanted::new("shop2", b"CREATE TABLE a ()").comment, first.comment);
        assert!(Wanted::new(&"x".repeat(27), b"").name.len() <= 63);
    }
}
