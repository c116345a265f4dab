//! The statements that make a client's database and role: pure, for the server and for a plan.
use super::mark::mark;
use super::{ClientDatabase, Provision};
use crate::cluster::Cluster;
use crate::error::Result;
use crate::kind::Kind;
use crate::kinds::{Database, Role, verifier};
use crate::password::Password;
use crate::script::Script;
use crate::server_process::ServerProcess;
use crate::sql::{Ident, Lit, Secret, Sql};
use crate::version::ServerVersion;

/// How a session makes clients.
pub(super) struct Recipe<'p> {
    provision: &'p Provision,
    version: ServerVersion,
    /// Whose work it is.
    pub(super) process: ServerProcess,
    /// Whether the role that logged in, and the one that it became, may do everything.
    superuser: bool,
    /// How the server wants verifiers to be made.
    encryption: String,
}

impl<'p> Recipe<'p> {
    /// That of a session: one or two questions.
    pub(super) fn new(cluster: &Cluster, provision: &'p Provision) -> Result<Self> {
        let question = sql!(
            "SELECT (SELECT pg_catalog.bool_and(r.rolsuper) FROM pg_catalog.pg_roles r \
             WHERE r.rolname IN (session_user, current_user))::text AS superuser, \
             pg_catalog.current_setting('password_encryption') AS encryption"
        );
        let answers = cluster.session().run("look at the session", &[question])?;
        let row = answers.iter().flatten().next();
        let superuser = row.map(|row| row.truth("superuser")).transpose()?.unwrap_or(false);
        let encryption = row.map(|row| row.text("encryption")).transpose()?.unwrap_or_default();
        let (version, process) = (cluster.version().clone(), ServerProcess::own(cluster)?);
        Ok(Self { provision, version, process, superuser, encryption })
    }

    /// The role as it is made first: nobody can log in, and its comment says what it is for.
    fn first_role(&self, client: &ClientDatabase) -> Role {
        let mut role = self.provision.role.clone();
        role.name.clone_from(&client.role);
        role.login = false;
        role.comment = Some(mark(&client.database, &self.process));
        role
    }

    /// The database as it is made first: nobody can connect.
    fn first_database(&self, client: &ClientDatabase) -> Database {
        let mut database = self.provision.database.clone();
        database.name.clone_from(&client.database);
        database.owner.clone_from(&client.role);
        (database.allow_connections, database.comment) = (false, None);
        database.connection_limit = -1;
        database
    }

    /// Makes the role, in one transaction.
    pub(super) fn create_role(&self, client: &ClientDatabase) -> Script {
        let mut script = self.first_role(client).to_create(&self.version);
        if !self.superuser {
            // To give it a database, and to become it, takes membership.
            script.push(sql!("GRANT {} TO CURRENT_USER, SESSION_USER", Ident(&client.role)));
        }
        script
    }

    /// Makes the database, outside transactions.
    pub(super) fn create_database(&self, client: &ClientDatabase) -> Script {
        self.first_database(client).to_create(&self.version)
    }

    /// Lets the client into the database, and nobody else, in one transaction.
    pub(super) fn open_database(&self, client: &ClientDatabase) -> Script {
        let mut script = Script::from(sql!("REVOKE ALL ON DATABASE {} FROM PUBLIC", Ident(&client.database)));
        script.push(sql!("ALTER DATABASE {} ALLOW_CONNECTIONS true", Ident(&client.database)));
        script
    }

    /// Whether the schema `public` of a database that comes from `template1` can be given away: from PostgreSQL 15 on
    /// it is the database's owner's.
    pub(super) fn may_take_public(&self) -> bool {
        self.superuser || self.version.at_least(15)
    }

    /// What makes the client complete, in one transaction: its last statement takes the mark away.
    pub(super) fn complete(&self, client: &ClientDatabase, password: &Password) -> Script {
        let Provision { database, role, settings, .. } = self.provision;
        let mut open = self.first_database(client);
        open.allow_connections = true;
        let mut wanted = open.clone();
        wanted.allow_connections = database.allow_connections;
        wanted.connection_limit = database.connection_limit;
        wanted.comment.clone_from(&database.comment);
        let mut script = Script::new();
        settings.iter().for_each(|(name, values)| script.push(set(&client.database, name, values)));
        script.append(open.to_alter(&wanted, &self.version));
        let verifier = verifier(&self.encryption, &client.role, password.reveal());
        script.push(sql!("ALTER ROLE {} LOGIN PASSWORD {}", Ident(&client.role), Secret(&verifier)));
        let comment = role.comment.as_ref().map_or(sql!("NULL"), |comment| sql!("{}", Lit(comment)));
        script.push(sql!("COMMENT ON ROLE {} IS {}", Ident(&client.role), comment));
        script
    }
}

/// Takes away a role that was left half made.
pub(super) fn drop_role(client: &ClientDatabase) -> Sql {
    sql!("DROP ROLE {}", Ident(&client.role))
}

/// Makes the schema `public` the role's own, in one transaction.
pub(super) fn take_public(client: &ClientDatabase) -> Script {
    let mut script = Script::from(sql!("ALTER SCHEMA public OWNER TO {}", Ident(&client.role)));
    script.push(sql!("REVOKE ALL ON SCHEMA public FROM PUBLIC"));
    script.push(sql!("GRANT ALL ON SCHEMA public TO {}", Ident(&client.role)));
    script
}

/// `ALTER DATABASE ... SET`: a name may have dots, and each value is one of a list.
pub(super) fn set(database: &str, name: &str, values: &[String]) -> Sql {
    let name = Sql::join(name.split('.').map(|part| sql!("{}", Ident(part))), ".");
    let values = Sql::join(values.iter().map(|value| sql!("{}", Lit(value))), ", ");
    sql!("ALTER DATABASE {} SET {} TO {}", Ident(database), name, values)
}
