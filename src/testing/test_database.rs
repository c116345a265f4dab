//! A database for each test.
use super::owned::{self, Original, OwnedDatabase};
use super::template::Template;
use crate::{Cluster, Result, connect};
use std::fmt;
use std::ops::Deref;

/// A fresh database, which is dropped with this value, also after a panic.
///
/// It derefs to the [`Cluster`] that is connected to it. Each has a name of its own, so that tests of one process or of
/// many do not meet; an existing database is never taken or dropped. It needs CREATEDB, and two connections.
///
/// ```
/// use pgsteward::testing::{TestDatabase, TestServer};
///
/// let server = TestServer::start()?; // or any server that is there for tests
/// let database = TestDatabase::new(&server.dsn())?;
/// database.execute("CREATE TABLE item (id int)", &[])?;
/// # Ok::<(), pgsteward::Error>(())
/// ```
///
/// # What stays
///
/// A process that is killed leaves its databases behind. The next one that makes a test database on that server drops
/// them: their names tell the server process whose they are, and it is gone. [`keep`](TestDatabase::keep) leaves one
/// database for a look at it; the environment variable `PGSTEWARD_KEEP_TEST_DATABASES` leaves `all`, or those of tests
/// that `failed`: that panicked. Their names are printed on standard error. They stay until somebody drops them.
pub struct TestDatabase {
    // Before the database: its connection is closed first.
    cluster: Cluster,
    dsn: String,
    owned: OwnedDatabase,
}

impl TestDatabase {
    /// An empty database (a copy of `template0`) on the server that a connection string leads to. The database in it,
    /// which must exist, is only connected to.
    ///
    /// # Errors
    /// As for [`Cluster::connect`]; [`Error::Denied`](crate::Error::Denied) for a role without CREATEDB.
    pub fn new(dsn: &str) -> Result<Self> {
        Self::create(dsn, &owned::EMPTY)
    }

    /// A copy of a template.
    ///
    /// ```
    /// use pgsteward::testing::{Template, TestDatabase, TestServer};
    ///
    /// let server = TestServer::start()?;
    /// let schema = "CREATE TABLE item (id int)";
    /// let template = Template::prepare(&server.dsn(), "items", schema, |database| {
    ///     database.execute(schema, &[]).map(drop)
    /// })?;
    /// let database = TestDatabase::from_template(&template)?;
    /// assert!(database.tables().contains("item")?);
    /// # Ok::<(), pgsteward::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`new`](TestDatabase::new).
    pub fn from_template(template: &Template) -> Result<Self> {
        Self::create(template.dsn(), &template.original())
    }

    pub(super) fn create(dsn: &str, original: &Original<'_>) -> Result<Self> {
        let owned = OwnedDatabase::create(dsn, original)?;
        let dsn = connect::with_database(dsn, owned.name())?;
        Ok(Self { cluster: Cluster::connect(&dsn)?, dsn, owned })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.owned.name()
    }

    /// A connection string for it, with the password in it if there was one.
    pub fn dsn(&self) -> &str {
        &self.dsn
    }

    /// The connection to it. Sessions that are still there when it is dropped are ended.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Leaves it for a look at it when this value goes, and prints its name on standard error.
    ///
    /// # Errors
    /// [`Error::Connection`](crate::Error::Connection).
    pub fn keep(&mut self) -> Result<()> {
        self.owned.keep()
    }

    /// The database without the connection to it.
    pub(super) fn close(self) -> OwnedDatabase {
        self.owned
    }
}

impl Deref for TestDatabase {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}

impl fmt::Debug for TestDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestDatabase").field("name", &self.name()).finish_non_exhaustive()
    }
}
