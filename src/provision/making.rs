//! Making one client's database and role: all of it or nothing.
use super::mark::mark;
use super::password_file::PasswordFile;
use super::state::{self, State};
use super::{ClientDatabase, LoadAs, Provision};
use crate::cancel::{self, Cancellation};
use crate::cluster::Cluster;
use crate::error::Result;
use crate::kind::Kind;
use crate::kinds::{Database, Role, verifier};
use crate::load;
use crate::password::Password;
use crate::server_process::ServerProcess;
use crate::session::Session;
use crate::sql::{Ident, Lit, Secret, Sql};
use std::path::PathBuf;

/// What is to be made.
pub(super) struct Order<'p> {
    pub(super) provision: &'p Provision,
    pub(super) files: &'p [PathBuf],
    pub(super) passwords: Option<&'p PasswordFile>,
    pub(super) cancelled: Cancellation,
}

/// One who makes clients, one after the other, on a connection of its own.
pub(super) struct Maker<'p> {
    cluster: Cluster,
    order: &'p Order<'p>,
    process: ServerProcess,
    /// Whether the role that logged in, and the one that it became, may do everything.
    superuser: bool,
    /// How the server wants verifiers to be made.
    encryption: String,
}

/// What became of a client.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// It was made; the password, unless it is in the file.
    Made(Option<Password>),
    /// It was there.
    Skipped,
}

impl<'p> Maker<'p> {
    pub(super) fn new(cluster: &Cluster, order: &'p Order<'p>) -> Result<Self> {
        let cluster = cluster.worker()?;
        let question = sql!(
            "SELECT (SELECT pg_catalog.bool_and(r.rolsuper) FROM pg_catalog.pg_roles r \
             WHERE r.rolname IN (session_user, current_user))::text AS superuser, \
             pg_catalog.current_setting('password_encryption') AS encryption"
        );
        let answers = cluster.session().run("look at the session", &[question])?;
        let row = answers.iter().flatten().next();
        let superuser = row.map(|row| row.truth("superuser")).transpose()?.unwrap_or(false);
        let encryption = row.map(|row| row.text("encryption")).transpose()?.unwrap_or_default();
        let process = ServerProcess::own(&cluster)?;
        Ok(Self { cluster, order, process, superuser, encryption })
    }

    /// Makes a client, unless it is there; what was half made before is dropped, and so is what could not be
    /// completed now.
    pub(super) fn make(&self, client: &ClientDatabase) -> Result<Outcome> {
        let instead = match state::look_when_left(&self.cluster, client)? {
            State::Complete => return Ok(Outcome::Skipped),
            State::Taken(error) => return Err(error),
            State::Absent => None,
            half @ State::Half(_) => {
                state::claim(&self.cluster, client, &half)?;
                drop_database(&self.cluster, &client.database)?;
                Some(client.role.as_str())
            }
        };
        let made = self.create_role(client, instead).and_then(|()| self.fill(client));
        made.map(Outcome::Made).map_err(|error| match cancel::in_any_case(|| self.undo(client)) {
            Ok(()) => error,
            Err(undo) => error.and(&format!("what is half made could not be dropped ({undo}); the next run will")),
        })
    }

    /// The role as it is made first: nobody can log in, and its comment says what it is for.
    fn first_role(&self, client: &ClientDatabase) -> Role {
        let mut role = self.order.provision.role.clone();
        role.name.clone_from(&client.role);
        role.login = false;
        role.comment = Some(mark(&client.database, &self.process));
        role
    }

    /// The database as it is made first: nobody can connect.
    fn first_database(&self, client: &ClientDatabase) -> Database {
        let mut database = self.order.provision.database.clone();
        database.name.clone_from(&client.database);
        database.owner.clone_from(&client.role);
        (database.allow_connections, database.comment) = (false, None);
        database.connection_limit = -1;
        database
    }

    /// Makes the role, in place of one that was left half made.
    fn create_role(&self, client: &ClientDatabase, instead: Option<&str>) -> Result<()> {
        let script = self.first_role(client).to_create(self.cluster.version());
        script.check()?;
        let mut statements: Vec<Sql> = instead.map(|role| sql!("DROP ROLE {}", Ident(role))).into_iter().collect();
        statements.extend(script.statements().cloned());
        if !self.superuser {
            // To give it a database, and to become it, takes membership.
            statements.push(sql!("GRANT {} TO CURRENT_USER, SESSION_USER", Ident(&client.role)));
        }
        let action = format!("create role {:?}", client.role);
        self.cluster.session().atomically(&action, |transaction| transaction.send(&statements)).map(drop)
    }

    /// Makes the database and what is in it, and completes the role last of all.
    fn fill(&self, client: &ClientDatabase) -> Result<Option<Password>> {
        let session = self.cluster.session();
        let (name, version) = (&client.database, self.cluster.version());
        let database = self.first_database(client);
        let create = database.to_create(version);
        create.check()?;
        let action = format!("create database {name:?}");
        create.statements().try_for_each(|sql| session.run(&action, std::slice::from_ref(sql)).map(drop))?;
        let open = [
            sql!("REVOKE ALL ON DATABASE {} FROM PUBLIC", Ident(name)),
            sql!("ALTER DATABASE {} ALLOW_CONNECTIONS true", Ident(name)),
        ];
        session.atomically(&action, |transaction| transaction.send(&open))?;
        self.load(client)?;
        self.order.cancelled.check(&action)?;
        let password = Password::generate()?;
        if let Some(file) = self.order.passwords {
            file.add(client, &password)?;
        }
        self.complete(client, &database, &password)?;
        Ok(self.order.passwords.is_none().then_some(password))
    }

    /// Gives the schema `public` to the client, and runs the files.
    fn load(&self, client: &ClientDatabase) -> Result<()> {
        let session = self.cluster.session().beside(&client.database)?;
        take_public(&session, &client.role)?;
        let Order { provision, files, cancelled, .. } = self.order;
        if files.is_empty() {
            return Ok(());
        }
        let role = (provision.load_as == LoadAs::Client).then_some(client.role.as_str());
        load::load(&session, role, files, cancelled).map(drop)
    }

    /// What makes the client complete, in one transaction: its last statement takes the mark away.
    fn complete(&self, client: &ClientDatabase, made: &Database, password: &Password) -> Result<()> {
        let version = self.cluster.version();
        let Provision { database, role, settings, .. } = self.order.provision;
        let mut open = made.clone();
        open.allow_connections = true;
        let mut wanted = open.clone();
        wanted.allow_connections = database.allow_connections;
        wanted.connection_limit = database.connection_limit;
        wanted.comment.clone_from(&database.comment);
        let options = open.to_alter(&wanted, version);
        let verifier = verifier(&self.encryption, &client.role, password.reveal());
        let mut statements: Vec<Sql> =
            settings.iter().map(|(name, values)| set(&client.database, name, values)).collect();
        statements.extend(options.statements().cloned());
        statements.push(sql!("ALTER ROLE {} LOGIN PASSWORD {}", Ident(&client.role), Secret(&verifier)));
        let comment = role.comment.as_ref().map_or(sql!("NULL"), |comment| sql!("{}", Lit(comment)));
        let last = sql!("COMMENT ON ROLE {} IS {}", Ident(&client.role), comment);
        options.check()?;
        statements.push(last);
        state::change(&self.cluster, client, &State::Half(self.process.clone()), &statements)
    }

    /// Drops what this process made of a client.
    fn undo(&self, client: &ClientDatabase) -> Result<()> {
        match state::look(&self.cluster, client)? {
            // Again, because the connection may be another one by now.
            State::Half(process) if process == self.process => {
                state::claim(&self.cluster, client, &State::Half(process))?;
            }
            _ => return Ok(()),
        }
        drop_database(&self.cluster, &client.database)?;
        let drop_role = sql!("DROP ROLE {}", Ident(&client.role));
        self.cluster.session().run(&format!("drop role {:?}", client.role), &[drop_role]).map(drop)
    }
}

/// Drops a database if it is there, and ends the sessions in it.
pub(super) fn drop_database(cluster: &Cluster, name: &str) -> Result<()> {
    cluster.databases().refresh();
    match cluster.databases().find(name)? {
        Some(database) => database.drop_force(),
        None => Ok(()),
    }
}

/// Makes the schema `public` the role's own, where there is one and the current role may.
fn take_public(session: &Session, role: &str) -> Result<()> {
    let question = sql!(
        "SELECT pg_catalog.pg_has_role(n.nspowner, 'USAGE')::text AS may FROM pg_catalog.pg_namespace n \
         WHERE n.nspname = 'public'"
    );
    let action = "give schema \"public\" to the client's role";
    let answers = session.run(action, &[question])?;
    let may = answers.iter().flatten().next().map(|row| row.truth("may")).transpose()?;
    if may != Some(true) {
        return Ok(());
    }
    let statements = [
        sql!("ALTER SCHEMA public OWNER TO {}", Ident(role)),
        sql!("REVOKE ALL ON SCHEMA public FROM PUBLIC"),
        sql!("GRANT ALL ON SCHEMA public TO {}", Ident(role)),
    ];
    session.atomically(action, |transaction| transaction.send(&statements)).map(drop)
}

/// `ALTER DATABASE ... SET`: a name may have dots, and each value is one of a list.
pub(super) fn set(database: &str, name: &str, values: &[String]) -> Sql {
    let name = Sql::join(name.split('.').map(|part| sql!("{}", Ident(part))), ".");
    let values = Sql::join(values.iter().map(|value| sql!("{}", Lit(value))), ", ");
    sql!("ALTER DATABASE {} SET {} TO {}", Ident(database), name, values)
}
