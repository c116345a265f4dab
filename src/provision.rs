//! A database for each client.
use crate::cancel::Cancellation;
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::kind::Kind;
use crate::kinds::{Database, Role};
use crate::load;
use crate::password::Password;
use crate::sql::Ident;
use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::PathBuf;

mod crew;
mod deprovision;
mod making;
mod mark;
mod names;
mod password_file;
mod planned;
mod recipe;
mod state;

pub use deprovision::DeprovisionReport;

use making::Order;
use password_file::PasswordFile;

/// The database of a client, and the role with which the client logs in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ClientDatabase {
    /// The name of the database.
    pub database: String,
    /// The name of the role.
    pub role: String,
}

impl ClientDatabase {
    /// A database, and a role of the same name.
    pub fn new(database: impl Into<String>) -> Self {
        let database = database.into();
        Self { role: database.clone(), database }
    }

    /// With a role of another name.
    pub fn role(mut self, role: impl Into<String>) -> Self {
        self.role = role.into();
        self
    }

    /// One for each name that a pattern stands for: `client{1..50}_inventory`. Leading zeros of either bound are kept
    /// (`{01..50}`), there may be several ranges, and the last one runs fastest.
    ///
    /// ```
    /// use pgsteward::ClientDatabase;
    /// let clients = ClientDatabase::by_pattern("client{08..10}_inventory")?;
    /// assert_eq!(clients[1].database, "client09_inventory");
    /// # Ok::<(), pgsteward::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`] for braces that hold no range of numbers, and for more than 100,000 names.
    pub fn by_pattern(pattern: &str) -> Result<Vec<Self>> {
        Ok(names::expand(pattern)?.into_iter().map(Self::new).collect())
    }
}

/// Databases to make, one for each client: [`Cluster::provision`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Provision {
    /// For whom.
    pub clients: Vec<ClientDatabase>,
    /// What each database is like: encoding, template, locale, tablespace, limit, comment; no template itself. Its name
    /// and owner are not looked at. An encoding that the template does not have makes it a copy of `template0`.
    pub database: Database,
    /// What each role is like: limit, validity, comment. Its name and `login` are not looked at.
    pub role: Role,
    /// Settings of each database, with their values: one, or several for a list such as `search_path`.
    pub settings: Vec<(String, Vec<String>)>,
    /// SQL files, or folders of them, to run in each database: see [`Cluster::load_files`].
    pub files: Vec<PathBuf>,
    /// As whom the files are run.
    pub load_as: LoadAs,
    /// A file to make, with mode 0600, for the passwords, each a line as in
    /// [`.pgpass`](https://www.postgresql.org/docs/current/libpq-pgpass.html). None hands them out in the report.
    pub password_file: Option<PathBuf>,
    /// How many are made at the same time, each on up to two connections.
    pub jobs: usize,
}

/// As whom the files of a client's database are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoadAs {
    /// As the client's role (`SET ROLE`), whose is then whatever they make. It keeps nobody in: a file can `RESET ROLE`.
    Client,
    /// As the role of this connection: for files that say whose each object is, and for extensions that take a superuser.
    Connected,
}

impl Provision {
    /// Databases as `CREATE DATABASE` makes them, four at a time, and nothing in them.
    pub fn new(clients: impl IntoIterator<Item = ClientDatabase>) -> Self {
        Self {
            clients: clients.into_iter().collect(),
            database: Database::new(""),
            role: Role::new(""),
            settings: Vec::new(),
            files: Vec::new(),
            load_as: LoadAs::Client,
            password_file: None,
            jobs: 4,
        }
    }

    /// Refuses what no server would take, or what would not keep clients apart.
    fn check(&self, cluster: &Cluster) -> Result<()> {
        check_clients(&self.clients)?;
        if self.jobs == 0 {
            return Err(Error::invalid("number of jobs", "it is 0, and nothing would be made"));
        }
        let Role { superuser, create_role, replication, .. } = &self.role;
        if *superuser || *create_role || *replication {
            let why = "one that is SUPERUSER, CREATEROLE or REPLICATION reaches the databases of others";
            return Err(Error::invalid("role of clients", why));
        }
        if self.database.is_template {
            let why = "everybody who has CREATEDB can copy a template, and it cannot be dropped";
            return Err(Error::invalid("database of clients", why));
        }
        let (mut database, mut role) = (self.database.clone(), self.role.clone());
        (database.name, role.name) = ("sample".into(), "sample".into());
        database.to_create(cluster.version()).check()?;
        role.to_create(cluster.version()).check()?;
        for (name, values) in &self.settings {
            if values.is_empty() {
                return Err(Error::invalid(format!("setting {name:?}"), "it has no value"));
            }
            recipe::set("sample", name, values).check()?;
        }
        match self.password_file {
            Some(_) => self.clients.iter().try_for_each(password_file::check),
            None => Ok(()),
        }
    }
}

/// Refuses names that no server would take as they are, and those that come twice.
fn check_clients(clients: &[ClientDatabase]) -> Result<()> {
    if clients.is_empty() {
        return Err(Error::invalid("list of clients", "it is empty"));
    }
    let (mut databases, mut roles) = (HashSet::new(), HashSet::new());
    for client in clients {
        sql!("{} {}", Ident(&client.database), Ident(&client.role)).check()?;
        if client.role.starts_with("pg_") {
            return Err(Error::invalid(format!("name {:?}", client.role), "PostgreSQL keeps pg_... for its own roles"));
        }
        let twice = [(&mut databases, &client.database), (&mut roles, &client.role)]
            .into_iter()
            .find_map(|(seen, name)| (!seen.insert(name)).then_some(name));
        if let Some(name) = twice {
            return Err(Error::invalid(format!("name {name:?}"), "it is given twice"));
        }
    }
    Ok(())
}

/// How far [`Cluster::provision`] is: told when a client is begun, and when it is done with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ProvisionEvent {
    /// It is looked at, and made if it is not there.
    Begun(ClientDatabase),
    /// It was made.
    Made(ClientDatabase),
    /// It was there already.
    Skipped(ClientDatabase),
    /// It could not be made, and nothing is left of it, unless the error says so.
    Failed(ClientDatabase, Error),
}

/// What became of the clients, each list in the order in which they were given.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ProvisionReport {
    /// Those that were made.
    pub made: Vec<Provisioned>,
    /// Those that were there already: a database that belongs to the role, and to which not everybody may connect.
    pub skipped: Vec<ClientDatabase>,
    /// Those that could not be made, and why.
    pub failed: Vec<(ClientDatabase, Error)>,
    /// Those that were not tried: the first ones all failed, the callback said to stop, or it was cancelled; and in a
    /// plan those that would be made.
    pub not_tried: Vec<ClientDatabase>,
    /// Databases to which everybody may connect, and so these roles: `postgres`, `template1`, and perhaps others that
    /// were there before.
    /// `REVOKE CONNECT ON DATABASE ... FROM PUBLIC` closes one.
    pub open_databases: Vec<String>,
}

impl ProvisionReport {
    /// Whether every client has its database.
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty() && self.not_tried.is_empty()
    }
}

/// A client that was made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Provisioned {
    /// Which one.
    pub client: ClientDatabase,
    /// The password of its role; none if it is in the password file.
    pub password: Option<Password>,
}

impl Cluster {
    /// Makes a database for each client, with a role of its own that alone can connect to it (besides superusers), and
    /// runs SQL files in it. It can be called again: clients that are there are skipped, and what a program that was
    /// killed left half made is dropped and made anew.
    ///
    /// Each is all or nothing: when a file fails, its database and role are dropped again, and the others go on. If as
    /// many as are made at a time failed, and none succeeded, the rest is not tried. While a client is incomplete, its
    /// role cannot log in, and the role's comment says so.
    ///
    /// The role owns the database and its schema `public`, and everybody else's rights to both are revoked. Before
    /// PostgreSQL 15 only a superuser can give `public` away; nobody else can connect all the same. It has a password
    /// that is made here; the server gets a verifier. A role that is no superuser needs CREATEDB and CREATEROLE, and
    /// becomes a member of each client's role.
    ///
    /// The callback hears of each client when it is begun and done with, on the calling thread; when it returns
    /// [`ControlFlow::Break`] no more are begun. [`Canceller::cancel`](crate::Canceller::cancel) does more: those that are
    /// being made fail, and nothing is left of them. With a password file, each password is on the disk before its role can
    /// log in, so that none is lost when the program is killed; of a client that was then not completed, the line is
    /// worth nothing.
    ///
    /// In a plan it is collected: the statements for each client that is not there, and of each file its name and how many
    /// statements it has. Nothing is made, the callback hears of nothing, and the clients that would be made are in the
    /// report's `not_tried`. A plan does not look into the template: what it prints of `public` is for one that is like
    /// `template1`. [`Plan::apply`](crate::Plan::apply) makes all of them, if there is a password file; its error is that
    /// of the first client that failed.
    ///
    /// ```
    /// # fn main() -> pgsteward::Result<()> {
    /// # let server = pgsteward::testing::TestServer::start()?;
    /// # let cluster = pgsteward::Cluster::connect(&server.dsn())?;
    /// use pgsteward::{ClientDatabase, Provision};
    /// use std::ops::ControlFlow;
    /// let provision = Provision::new(ClientDatabase::by_pattern("client{1..3}")?);
    /// let report = cluster.provision(&provision, |_| ControlFlow::Continue(()))?;
    /// assert!(report.is_complete());
    /// let password = report.made[0].password.as_ref().map(|password| password.reveal());
    /// assert_eq!(password.map(str::len), Some(32));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Before anything is made: [`Error::Invalid`] for names, options or files that would fail, [`Error::Io`] for files
    /// that cannot be read, [`Error::AlreadyExists`] for a password file that is there. [`Error::Invalid`] in a transaction;
    /// [`Error::Unsupported`] on a connection that was handed in. What goes wrong with one client is in the report.
    pub fn provision(
        &self,
        provision: &Provision,
        progress: impl FnMut(&ProvisionEvent) -> ControlFlow<()>,
    ) -> Result<ProvisionReport> {
        provision.check(self)?;
        let mut files = Vec::new();
        for path in &provision.files {
            files.extend(load::files_at(path)?);
        }
        let statements = load::check(&files)?;
        let mut provision = provision.clone();
        self.choose_template(&mut provision.database)?;
        if let Some(plan) = self.plan_in_progress()? {
            let files: Vec<_> = files.into_iter().zip(statements).collect();
            let open_databases = self.open_databases(&provision.clients)?;
            return Ok(ProvisionReport { open_databases, ..planned::provision(self, plan, &provision, &files)? });
        }
        self.check_outside("provision databases")?;
        let cancelled = Cancellation::of(self.session().family());
        // Before, so that nothing stands between what is made and the report, which may hold the passwords.
        let open_databases = self.open_databases(&provision.clients)?;
        let passwords = provision.password_file.as_deref().map(PasswordFile::create).transpose()?;
        let order = Order { provision: &provision, files: &files, passwords: passwords.as_ref(), cancelled };
        let report = crew::work(self, &order, progress);
        if let Some(passwords) = passwords {
            passwords.finish()?;
        }
        self.refresh();
        Ok(ProvisionReport { open_databases, ..report? })
    }

    /// Refuses what is undone as a whole: databases are not.
    fn check_outside(&self, action: &str) -> Result<()> {
        match self.session().is_inside("look for a transaction")? {
            true => Err(Error::invalid(
                format!("attempt to {action} in a transaction"),
                "databases are made and dropped on other connections, and would be no part of it; call it outside",
            )),
            false => Ok(()),
        }
    }

    /// A connection for what marks clients: its process ends with the work, and not before, while it is idle because
    /// files are loaded or archives made on others.
    fn worker(&self) -> Result<Self> {
        let worker = self.beside()?;
        if worker.version().at_least(14) {
            worker.session().run("set idle_session_timeout", &[sql!("SET idle_session_timeout = 0")])?;
        }
        Ok(worker)
    }

    /// An encoding that `template1` has anyway is no reason for `template0`.
    fn choose_template(&self, database: &mut Database) -> Result<()> {
        let (None, Some(encoding)) = (&database.template, &database.encoding) else { return Ok(()) };
        let template = self.databases().with_system().find("template1")?;
        let plain = |name: &str| name.replace(['-', '_'], "").to_ascii_uppercase();
        let has = template.and_then(|template| template.encoding.clone());
        if has.is_some_and(|has| plain(&has) == plain(encoding)) {
            database.encoding = None;
        }
        Ok(())
    }

    /// The databases to which everybody may connect, but for these clients'.
    fn open_databases(&self, clients: &[ClientDatabase]) -> Result<Vec<String>> {
        let question = sql!(
            "SELECT d.datname AS name FROM pg_catalog.pg_database d WHERE d.datallowconn \
             AND pg_catalog.has_database_privilege('public', d.oid, 'CONNECT') ORDER BY 1"
        );
        let answers = self.session().run("look for open databases", &[question])?;
        let names = answers.iter().flatten().map(|row| row.text("name")).collect::<Result<Vec<_>>>()?;
        let own: HashSet<&str> = clients.iter().map(|client| client.database.as_str()).collect();
        Ok(names.into_iter().filter(|name| !own.contains(name.as_str())).collect())
    }
}
