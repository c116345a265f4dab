//! Roles.
use crate::cluster::Cluster;
use crate::collection::Collection;
use crate::error::{Error, Result};
use crate::kind::{Alter, DropBehavior, Kind, Nothing, Sealed, Which, check_connection_limit, comment, one_of};
use crate::object::Object;
use crate::row::Row;
use crate::script::Script;
use crate::sessions::{SessionInfo, Sessions};
use crate::sql::{Ident, Lit, Secret, Sql};
use crate::version::ServerVersion;
use jiff::Timestamp;
use postgres_protocol::password;
use std::fmt;

/// A role ([CREATE ROLE](https://www.postgresql.org/docs/current/sql-createrole.html)).
///
/// The system's own are the predefined roles, `pg_...`. A role whose name is in another encoding
/// than the connection's is listed as `"\u{FFFD}"`, with its OID, and cannot be changed from here.
///
/// The password is no field, and no script holds it, not as a verifier either: a role that a script makes has none,
/// until [`set_password`](Object::set_password) gives it one.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Role {
    /// The name.
    pub name: String,
    /// `SUPERUSER`: no right is checked.
    pub superuser: bool,
    /// `INHERIT`: the rights of the roles that it is a member of are its own.
    pub inherit: bool,
    /// `CREATEROLE`
    pub create_role: bool,
    /// `CREATEDB`
    pub create_database: bool,
    /// `LOGIN`: a session can begin as this role.
    pub login: bool,
    /// `REPLICATION`
    pub replication: bool,
    /// `BYPASSRLS`: row security does not apply.
    pub bypass_row_security: bool,
    /// How many sessions it may have at once; -1 for no limit.
    pub connection_limit: i32,
    /// Until when its password is taken; none if that was never set. What was set once can only be
    /// set to infinity, which means the same.
    pub valid_until: Option<ValidUntil>,
    /// The comment.
    pub comment: Option<String>,
    oid: u32,
    uncovered: Vec<String>,
}

/// Until when a password is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValidUntil {
    /// For ever.
    Infinity,
    /// Until then.
    Moment(Timestamp),
    /// A moment that only the server can hold, as it prints it: `-infinity`, the year 20000.
    Other(String),
}

impl fmt::Display for ValidUntil {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Infinity => f.write_str("infinity"),
            Self::Moment(moment) => moment.fmt(f),
            Self::Other(text) => f.write_str(text),
        }
    }
}

impl ValidUntil {
    pub(crate) fn read(text: String) -> Self {
        match text.as_str() {
            "infinity" => Self::Infinity,
            other => other.parse().map_or(Self::Other(text), Self::Moment),
        }
    }
}

impl Role {
    /// Forbids logins.
    fn to_close(&self) -> Sql {
        sql!("ALTER ROLE {} NOLOGIN", Ident(&self.name))
    }

    /// The statements of [`drop_after_terminating`](Object::drop_after_terminating), each alone: it must be seen by others
    /// before the next.
    pub(crate) fn to_drop_after_terminating(&self, server: &ServerVersion) -> Script {
        let drop = self.to_drop(DropBehavior::Restrict, server);
        let before = [self.to_close(), Sessions::of_role(self.oid).to_terminate()];
        let mut script = Script::new();
        before.iter().chain(drop.statements()).for_each(|sql| script.add_alone(sql.clone(), Vec::new()));
        script
    }

    /// A role as `CREATE ROLE name` would make it: it cannot log in, and inherits.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            superuser: false,
            inherit: true,
            create_role: false,
            create_database: false,
            login: false,
            replication: false,
            bypass_row_security: false,
            connection_limit: -1,
            valid_until: None,
            comment: None,
            oid: 0,
            uncovered: Vec::new(),
        }
    }

    /// The attributes that differ from another role's, each a field and its words in `CREATE` and `ALTER ROLE`.
    fn attributes_unlike(&self, other: &Self) -> Vec<(&'static str, Sql)> {
        let Self { superuser, inherit, create_role, create_database, login, replication, .. } = self;
        let Self {
            bypass_row_security, connection_limit, valid_until, name: _, comment: _, oid: _, uncovered: _, ..
        } = self;
        let mut attributes = Vec::new();
        let mut flag = |field, new: bool, old: bool, on, off| {
            if new != old {
                attributes.push((field, sql!("{}", if new { on } else { off })));
            }
        };
        flag("superuser", *superuser, other.superuser, "SUPERUSER", "NOSUPERUSER");
        flag("inherit", *inherit, other.inherit, "INHERIT", "NOINHERIT");
        flag("create_role", *create_role, other.create_role, "CREATEROLE", "NOCREATEROLE");
        flag("create_database", *create_database, other.create_database, "CREATEDB", "NOCREATEDB");
        flag("login", *login, other.login, "LOGIN", "NOLOGIN");
        flag("replication", *replication, other.replication, "REPLICATION", "NOREPLICATION");
        flag("bypass_row_security", *bypass_row_security, other.bypass_row_security, "BYPASSRLS", "NOBYPASSRLS");
        if *connection_limit != other.connection_limit {
            attributes.push(("connection_limit", sql!("CONNECTION LIMIT {}", *connection_limit)));
        }
        if *valid_until != other.valid_until {
            let until = valid_until.as_ref().unwrap_or(&ValidUntil::Infinity).to_string();
            attributes.push(("valid_until", sql!("VALID UNTIL {}", Lit(&until))));
        }
        attributes
    }
}

impl Cluster {
    /// The roles of the cluster.
    pub fn roles(&self) -> Collection<Role> {
        Collection::new(self)
    }
}

impl Object<Role> {
    /// Sets the password, at once; none takes it away. What travels is a verifier made here, as
    /// the server's `password_encryption` says (SCRAM-SHA-256, or md5 where it is still set so),
    /// never the password: the server's log, pg_stat_statements and a plan do not hold it. Modules
    /// on the server that judge passwords cannot judge a verifier
    /// ([ALTER ROLE](https://www.postgresql.org/docs/current/sql-alterrole.html)).
    ///
    /// # Errors
    /// [`Error::Invalid`] for an empty password, [`Error::Denied`], [`Error::Conflict`] if the role was renamed or dropped.
    pub fn set_password<'p>(&mut self, password: impl Into<Option<&'p str>>) -> Result<()> {
        let name = self.server().name.clone();
        let clause = match password.into() {
            None => sql!("PASSWORD NULL"),
            Some("") => return Err(Error::invalid("password", "it is empty, and PostgreSQL lets nobody in with it")),
            Some(password) => sql!("PASSWORD {}", Secret(&self.verifier(&name, password)?)),
        };
        self.perform("set the password of", sql!("ALTER ROLE {} {}", Ident(&name), clause).into())
    }

    fn verifier(&self, name: &str, password: &str) -> Result<String> {
        let question = sql!("SELECT pg_catalog.current_setting('password_encryption') AS encryption");
        let answer = self.cluster().session().run("read password_encryption", &[question])?;
        let encryption = answer.iter().flatten().next().map(|row| row.text("encryption")).transpose()?;
        Ok(verifier(encryption.as_deref().unwrap_or_default(), name, password))
    }

    /// Drops the role after ending its sessions, walsenders included: looks whether the server would drop it (a drop
    /// that is undone), forbids logins (`NOLOGIN`,
    /// committed first, so that nobody comes in between), ends the sessions, waits for their end
    /// for 10 seconds at most, and drops it. After an error later than the look logins are allowed again where they were, but
    /// sessions that were ended stay so.
    ///
    /// # Errors
    /// [`Error::Invalid`] in a transaction, which would hide `NOLOGIN` from others;
    /// [`Error::Conflict`] when the role was dropped, replaced or renamed, or when a session is
    /// still there after that time; [`Error::Denied`] when the current role may not end a session;
    /// [`Error::Server`] while something depends on the role, before any session is ended.
    pub fn drop_after_terminating(self) -> Result<()> {
        let (server, oid) = (self.server().clone(), self.server().oid);
        let (cluster, title) = (self.cluster().clone(), self.title());
        let sessions = Sessions::of_role(oid);
        if let Some(plan) = cluster.plan_in_progress()? {
            let (script, step) = (server.to_drop_after_terminating(cluster.version()), server.clone());
            cluster.roles().load_for_plan()?;
            plan.record(script, move |cluster| Object::new(cluster, step).drop_after_terminating());
            cluster.gone::<Role>(&server.name);
            return Ok(());
        }
        if cluster.session().is_inside("look for a transaction")? {
            let why = "others would not see that logins are forbidden; call it outside the transaction";
            return Err(Error::invalid(format!("attempt to drop {title} and end its sessions in a transaction"), why));
        }
        self.check_droppable()?;
        let mut closing = self.clone();
        closing.perform("forbid logins of", server.to_close().into())?;
        let dropped = end_all(&cluster, sessions.clone(), &title).and_then(|()| self.drop());
        match &dropped {
            // One who was past the check of LOGIN when that was taken away, and appears only now.
            Ok(()) => drop(cluster.terminate(sessions)?),
            Err(_) if server.login => {
                let open = sql!("ALTER ROLE {} LOGIN", Ident(&server.name));
                // The error that led here says more.
                let _ = closing.perform("allow logins of", open.into()).inspect_err(|error| log::warn!("{error}"));
            }
            Err(_) => {}
        }
        dropped
    }

    /// Refuses what the server would refuse, by a drop that is undone, so that nobody's session ends for nothing.
    fn check_droppable(&self) -> Result<()> {
        let mut refused = None;
        let undone: Result<()> = self.cluster().transaction(|| {
            refused = self.clone().drop().err();
            Err(self.not_found())
        });
        match (refused, undone) {
            (Some(error), _) => Err(error),
            // The error above, which undoes the drop.
            (None, Err(Error::NotFound { .. })) => Ok(()),
            (None, other) => other,
        }
    }

    /// The stored verifier, whatever its method; none if the role has no password. Only a
    /// superuser may read it ([pg_authid](https://www.postgresql.org/docs/current/catalog-pg-authid.html)).
    ///
    /// # Errors
    /// [`Error::Denied`]
    pub fn password_verifier(&self) -> Result<Option<String>> {
        let question =
            sql!("SELECT rolpassword AS verifier FROM pg_catalog.pg_authid WHERE oid = {}", self.server().oid);
        let action = format!("read the password verifier of {}", self.title());
        let answer = self.cluster().session().run(&action, &[question])?;
        answer.iter().flatten().next().map_or(Ok(None), |row| row.optional("verifier"))
    }
}

/// What the server keeps of a password, made as `password_encryption` says.
pub(crate) fn verifier(encryption: &str, role: &str, text: &str) -> String {
    match encryption {
        "md5" | "on" | "off" => password::md5(text.as_bytes(), role),
        _ => password::scram_sha_256(text.as_bytes()),
    }
}

/// Ends sessions, or says which could not be ended.
fn end_all(cluster: &Cluster, sessions: Sessions, title: &str) -> Result<()> {
    let report = cluster.terminate(sessions)?;
    let pids = |of: &[SessionInfo]| of.iter().map(|session| session.pid.to_string()).collect::<Vec<_>>().join(", ");
    if !report.refused.is_empty() {
        return Err(Error::Denied {
            action: format!("end the sessions of {title}"),
            reason: format!("the current role may not end the processes {}", pids(&report.refused)),
            remedy: "become a superuser, or GRANT pg_signal_backend, which does for roles that are no superusers"
                .into(),
        });
    }
    match report.remaining.is_empty() {
        true => Ok(()),
        false => Err(Error::Conflict {
            what: title.into(),
            mine: "to drop it".into(),
            theirs: format!("sessions of it that do not end: processes {}", pids(&report.remaining)),
        }),
    }
}

fields! { Role { name, superuser, inherit, create_role, create_database, login, replication, bypass_row_security, connection_limit, valid_until, comment } but oid, uncovered }

impl Sealed for Role {}

impl Kind for Role {
    type Key = String;
    type Definition = Nothing;
    const KIND: &'static str = "role";

    fn query(which: Which<'_, String>, _: &ServerVersion) -> Sql {
        let filter = match which {
            Which::All => sql!("r.rolname NOT LIKE 'pg\\_%'"),
            Which::WithSystem => sql!("true"),
            Which::Key(name) => sql!("r.rolname = {}", Lit(name)),
            Which::Oids(oids) => one_of("r.oid", oids),
        };
        sql!(
            "SELECT r.oid::text, r.rolname AS name, r.rolsuper::text, r.rolinherit::text, r.rolcreaterole::text, \
             r.rolcreatedb::text, r.rolcanlogin::text, r.rolreplication::text, r.rolbypassrls::text, \
             r.rolconnlimit::text, CASE WHEN pg_catalog.isfinite(r.rolvaliduntil) \
             THEN pg_catalog.to_char(r.rolvaliduntil AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') \
             ELSE r.rolvaliduntil::text END AS valid_until, \
             pg_catalog.shobj_description(r.oid, 'pg_authid') AS comment, (ARRAY(\
             SELECT pg_catalog.concat('membership in ', g.rolname) FROM pg_catalog.pg_auth_members m \
             JOIN pg_catalog.pg_roles g ON g.oid = m.roleid WHERE m.member = r.oid UNION ALL \
             SELECT 'settings' FROM pg_catalog.pg_db_role_setting s WHERE s.setrole = r.oid))::text AS uncovered \
             FROM pg_catalog.pg_roles r WHERE {}",
            filter
        )
    }

    fn read(row: &Row) -> Result<Self> {
        Ok(Self {
            name: row.text("name")?,
            superuser: row.truth("rolsuper")?,
            inherit: row.truth("rolinherit")?,
            create_role: row.truth("rolcreaterole")?,
            create_database: row.truth("rolcreatedb")?,
            login: row.truth("rolcanlogin")?,
            replication: row.truth("rolreplication")?,
            bypass_row_security: row.truth("rolbypassrls")?,
            connection_limit: row.number("rolconnlimit")?,
            valid_until: row.optional("valid_until")?.map(ValidUntil::read),
            comment: row.optional("comment")?,
            oid: row.number("oid")?,
            uncovered: row.list("uncovered")?,
        })
    }

    fn key(&self) -> String {
        self.name.clone()
    }

    fn oid(&self) -> u32 {
        self.oid
    }

    fn is_system(&self) -> bool {
        self.name.starts_with("pg_")
    }

    fn uncovered(&self) -> Vec<String> {
        self.uncovered.clone()
    }

    fn to_create(&self, _: &ServerVersion) -> Script {
        let mut words = vec![sql!("CREATE ROLE {}", Ident(&self.name))];
        words.extend(self.attributes_unlike(&Self::new("")).into_iter().map(|(_, attribute)| attribute));
        let mut script = Script::from(Sql::join(words, " "));
        if self.comment.is_some() {
            script.push(comment("COMMENT ON ROLE", Ident(&self.name), self.comment.as_deref()));
        }
        if let Err(error) = check_connection_limit(self.connection_limit) {
            script.refuse(error);
        }
        script
    }

    fn to_alter(&self, wanted: &Self, _: &ServerVersion) -> Script {
        let mut alter = Alter::new("ALTER ROLE", Ident(&self.name), " ");
        for (field, attribute) in wanted.attributes_unlike(self) {
            alter.clause(field, attribute);
        }
        if wanted.connection_limit != self.connection_limit {
            if let Err(error) = check_connection_limit(wanted.connection_limit) {
                alter.refuse(error);
            }
        }
        alter.comment("COMMENT ON ROLE", &self.comment, &wanted.comment);
        if wanted.name != self.name {
            alter.single("name", sql!("RENAME TO {}", Ident(&wanted.name)));
        }
        alter.finish()
    }

    fn to_drop(&self, _: DropBehavior, _: &ServerVersion) -> Script {
        sql!("DROP ROLE {}", Ident(&self.name)).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alter(old: &Role, new: &Role) -> String {
        old.to_alter(new, &ServerVersion::parse("15.3").unwrap()).to_string()
    }

    #[test]
    fn one_statement_for_all_attributes_and_the_name_last() {
        let old = Role::new("bob");
        let new = Role { name: "ro\"b".into(), login: true, inherit: false, connection_limit: 0, ..old.clone() };
        assert_eq!(
            alter(&old, &new),
            "ALTER ROLE \"bob\" NOINHERIT LOGIN CONNECTION LIMIT 0;\nALTER ROLE \"bob\" RENAME TO \"ro\"\"b\";\n"
        );
    }

    #[test]
    fn p023_a_field_set_back_sends_nothing() {
        let old = Role::new("bob");
        let mut new = Role { login: true, ..old.clone() };
        new.login = false;
        assert_eq!(alter(&old, &new), "");
    }

    #[test]
    fn an_impossible_limit_is_refused() {
        let role = Role { connection_limit: -5, ..Role::new("bob") };
        let version = ServerVersion::parse("15.3").unwrap();
        assert!(matches!(role.to_create(&version).check(), Err(Error::Invalid { .. })));
        assert!(matches!(Role::new("bob").to_alter(&role, &version).check(), Err(Error::Invalid { .. })));
    }

    #[test]
    fn moments_are_read_as_they_are_written() {
        let moment: Timestamp = "2030-01-02T03:04:05.678901Z".parse().unwrap();
        assert_eq!(ValidUntil::read("2030-01-02T03:04:05.678901Z".into()), ValidUntil::Moment(moment));
        assert_eq!(ValidUntil::read("infinity".into()), ValidUntil::Infinity);
        assert_eq!(ValidUntil::read("20000-01-01T00:00:00Z".into()).to_string(), "20000-01-01T00:00:00Z");
    }
}
