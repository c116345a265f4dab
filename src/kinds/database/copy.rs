//! A database as a copy of another, with what `CREATE DATABASE ... TEMPLATE` leaves behind.
use super::connect_access::Grantee;
use super::{Database, OpenSessions};
use crate::cluster::Cluster;
use crate::collection::Collection;
use crate::error::{Error, Result};
use crate::kind::Kind;
use crate::object::Object;
use crate::row::Row;
use crate::script::Script;
use crate::session::Session;
use crate::setting;
use crate::sql::{Ident, Lit, Sql};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// How [`Object::copy`] copies a database: what of it that PostgreSQL itself leaves behind
/// ([Template Databases](https://www.postgresql.org/docs/current/manage-ag-templatedbs.html)), and what becomes of the
/// sessions in it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CopyOptions {
    /// The sessions in the one that is copied: there must be none.
    pub sessions: OpenSessions,
    /// Whether the copy has the same owner, and not the role that makes it.
    pub owner: bool,
    /// Whether the copy has the same privileges of `PUBLIC` and of roles other than the owner; they are then granted by its owner.
    pub privileges: bool,
    /// Whether the copy has the same settings: `ALTER DATABASE ... SET` and `ALTER ROLE ... IN DATABASE ... SET`.
    pub settings: bool,
    /// Whether the copy has the same limit on connections.
    pub connection_limit: bool,
    /// Whether the copy has the same comment.
    pub comment: bool,
}

impl CopyOptions {
    /// As PostgreSQL does: none of it; and sessions in the one that is copied are an error.
    pub fn new() -> Self {
        Self {
            sessions: OpenSessions::Stay,
            owner: false,
            privileges: false,
            settings: false,
            connection_limit: false,
            comment: false,
        }
    }

    /// All of it; and sessions in the one that is copied are an error.
    pub fn everything() -> Self {
        Self { owner: true, privileges: true, settings: true, connection_limit: true, comment: true, ..Self::new() }
    }

    /// Completes the copy, but for its privileges; what it has of its own stays.
    fn complete(&self, mut copy: Database, template: &Database) -> Database {
        copy.template = Some(template.name.clone());
        if self.owner && copy.owner.is_empty() {
            copy.owner.clone_from(&template.owner);
        }
        if self.connection_limit && copy.connection_limit == -1 {
            copy.connection_limit = template.connection_limit;
        }
        if self.comment && copy.comment.is_none() {
            copy.comment.clone_from(&template.comment);
        }
        copy
    }
}

impl Default for CopyOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl Object<Database> {
    /// Makes a database that is a copy of this one, in its present state on the server: `CREATE DATABASE ... TEMPLATE`.
    /// What the value has of its own (an owner, a comment) stays; the options say what it takes over besides.
    ///
    /// PostgreSQL copies no database that has sessions. With [`Terminate`](OpenSessions::Terminate) they are ended in the moment
    /// when the copy holds its lock on the database, so that none can come back before it is made; new sessions wait as long.
    /// That takes a second connection for the time. Nothing is ended if the current role may not end all of them.
    ///
    /// If something fails after the copy was made, it is dropped.
    ///
    /// ```
    /// # fn main() -> pgsteward::Result<()> {
    /// # let server = pgsteward::testing::TestServer::start()?;
    /// # let cluster = pgsteward::Cluster::connect(&server.dsn())?;
    /// use pgsteward::{CopyOptions, Database, OpenSessions};
    /// let shop = cluster.databases().create(Database::new("shop"))?;
    /// let mut options = CopyOptions::everything();
    /// options.sessions = OpenSessions::Terminate;
    /// let copy = shop.copy(Database::new("shop_test"), &options)?;
    /// assert_eq!(copy.owner, shop.owner);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::InUse`] names the sessions and prepared transactions that are in the way; [`Error::Denied`] those that the current role may not
    /// end; [`Error::AlreadyExists`]; [`Error::Unsupported`] to end sessions over a connection that was handed in.
    pub fn copy(&self, copy: Database, options: &CopyOptions) -> Result<Object<Database>> {
        let (cluster, template) = (self.cluster().clone(), self.server().clone());
        let databases = Collection::<Database>::new(&cluster);
        let mut value = options.complete(copy, &template);
        let mut script = value.to_create(cluster.version());
        if options.privileges {
            script.append(privileges(&cluster, &template, &value.name)?);
            value.connect_access = template.connect_access.clone();
        }
        if options.settings {
            script.append(settings(&cluster, &template, &value.name)?);
        }
        match options.sessions {
            OpenSessions::Stay => databases.create_by(value, script),
            OpenSessions::Terminate => ending_sessions(&databases, &template, value, script),
        }
    }
}

/// Makes the copy, and ends the sessions in the template meanwhile.
fn ending_sessions(
    databases: &Collection<Database>,
    template: &Database,
    value: Database,
    script: Script,
) -> Result<Object<Database>> {
    let cluster = databases.cluster();
    if let Some(plan) = cluster.plan_in_progress()? {
        databases.load_for_plan()?;
        let mut whole = Script::new();
        whole.add_alone(template.terminate(), Vec::new());
        whole.append(script.clone());
        let (planned, template) = (value.clone(), template.clone());
        plan.record(whole, move |cluster| {
            ending_sessions(&Collection::new(cluster), &template, planned, script).map(drop)
        });
        return databases.planned(value);
    }
    script.check()?;
    let preview = template.drop_preview(cluster)?;
    preview.check_sessions(&format!("create database {:?}", value.name))?;
    if preview.sessions.is_empty() {
        return databases.create_by(value, script);
    }
    let elsewhere = if template.name == "postgres" { "template1" } else { "postgres" };
    let elsewhere = if template.name == cluster.current_database() { elsewhere } else { cluster.current_database() };
    let helper = cluster.session().to_database(elsewhere)?;
    let creator = cluster.session().process();
    let ending = |done: &AtomicBool| end_when_locked(&helper, creator, template, done);
    meanwhile(ending, || databases.create_regardless(value, script))
}

/// Does something, and something else beside it, which is told when the first is done or has panicked.
fn meanwhile<R>(beside: impl FnOnce(&AtomicBool) -> Result<()> + Send, work: impl FnOnce() -> R) -> R {
    struct Tell<'a>(&'a AtomicBool);
    impl Drop for Tell<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Release);
        }
    }
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let running = scope.spawn(|| beside(&done));
        let tell = Tell(&done);
        let result = work();
        drop(tell);
        if let Ok(Err(error)) = running.join() {
            log::warn!("{error}");
        }
        result
    })
}

/// Ends the sessions in a database as soon as a process that copies it has it locked: those who want to come back wait for
/// that lock. Gives up when the copy is made, or was refused.
fn end_when_locked(helper: &Session, creator: i32, template: &Database, done: &AtomicBool) -> Result<()> {
    let locked = sql!(
        "SELECT FROM pg_catalog.pg_locks l WHERE l.pid = {} AND l.granted AND l.mode = 'ShareLock' \
         AND l.classid = 'pg_catalog.pg_database'::pg_catalog.regclass AND l.objid = {}",
        creator,
        template.oid
    );
    // The process that copies may be connected to the very database.
    let end = sql!("{} AND a.pid <> {} AND EXISTS ({})", template.terminate(), creator, locked);
    while !done.load(Ordering::Acquire) {
        let answers = helper.run("end the sessions in the template", &[locked.clone(), end.clone()])?;
        if answers.first().is_some_and(|rows| !rows.is_empty()) {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// The privileges of a database, for another one that is new: those of `PUBLIC` and of roles other than the owner.
fn privileges(cluster: &Cluster, template: &Database, copy: &str) -> Result<Script> {
    let question = sql!(
        "SELECT CASE g.grantee WHEN 0 THEN NULL ELSE pg_catalog.pg_get_userbyid(g.grantee) END AS grantee, \
         g.privilege_type AS privilege, g.is_grantable::text AS grantable \
         FROM pg_catalog.pg_database d CROSS JOIN pg_catalog.aclexplode(d.datacl) g \
         WHERE d.oid = {} AND g.grantee <> d.datdba ORDER BY 1, 3, 2",
        template.oid
    );
    let mut grants: BTreeMap<(Grantee, bool), Vec<&'static str>> = BTreeMap::new();
    let any = sql!("SELECT FROM pg_catalog.pg_database WHERE oid = {} AND datacl IS NOT NULL", template.oid);
    let has_any = !read(cluster, template, any)?.is_empty();
    for row in read(cluster, template, question)? {
        let grantee = row.optional("grantee")?.map_or(Grantee::Public, Grantee::Role);
        let word = match row.text("privilege")?.as_str() {
            "CREATE" => "CREATE",
            "CONNECT" => "CONNECT",
            "TEMPORARY" => "TEMPORARY",
            other => return Err(Error::unsupported(format!("privilege {other} of a database"), "pg_dump")),
        };
        let words = grants.entry((grantee, row.truth("grantable")?)).or_default();
        if !words.contains(&word) {
            words.push(word);
        }
    }
    let mut script = Script::new();
    if has_any {
        script.push(sql!("REVOKE ALL ON DATABASE {} FROM PUBLIC", Ident(copy)));
    }
    for ((grantee, grantable), words) in grants {
        let words = Sql::join(words.into_iter().map(|word| sql!("{}", word)), ", ");
        let option = if grantable { " WITH GRANT OPTION" } else { "" };
        script.push(sql!("GRANT {} ON DATABASE {} TO {}{}", words, Ident(copy), grantee.to_sql(), option));
    }
    Ok(script)
}

/// The settings of a database, and of roles in it, for another one.
fn settings(cluster: &Cluster, template: &Database, copy: &str) -> Result<Script> {
    let question = sql!(
        "SELECT CASE s.setrole WHEN 0 THEN NULL ELSE pg_catalog.pg_get_userbyid(s.setrole) END AS role, c.setting \
         FROM pg_catalog.pg_db_role_setting s CROSS JOIN pg_catalog.unnest(s.setconfig) WITH ORDINALITY AS c (setting, place) \
         WHERE s.setdatabase = {} ORDER BY 1, c.place",
        template.oid
    );
    let mut script = Script::new();
    for row in read(cluster, template, question)? {
        let text = row.text("setting")?;
        let (name, value) = text.split_once('=').unwrap_or((&text, ""));
        let set = setting::set(name, value);
        script.push(match row.optional("role")? {
            None => sql!("ALTER DATABASE {} {}", Ident(copy), set),
            Some(role) => sql!("ALTER ROLE {} IN DATABASE {} {}", Ident(&role), Ident(copy), set),
        });
    }
    Ok(script)
}

fn read(cluster: &Cluster, template: &Database, question: Sql) -> Result<Vec<Row>> {
    let action = format!("read what belongs to database {:?}", template.name);
    Ok(cluster.session().run(&action, &[question])?.into_iter().flatten().collect())
}

impl Database {
    /// Who is in the way of a copy of a database.
    pub(super) fn users_of(template: &str) -> Sql {
        sql!(
            "SELECT pg_catalog.concat('session ', a.pid, ' of role \"', a.usename, '\"', \
             ', application \"' || NULLIF(a.application_name, '') || '\"') AS who \
             FROM pg_catalog.pg_stat_activity a \
             WHERE a.datname = {} AND a.usesysid IS NOT NULL AND a.pid <> pg_catalog.pg_backend_pid() \
             UNION ALL SELECT pg_catalog.concat('prepared transaction \"', x.gid, '\"') \
             FROM pg_catalog.pg_prepared_xacts x WHERE x.database = {} ORDER BY 1",
            Lit(template),
            Lit(template)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic;

    #[test]
    fn what_runs_beside_ends_with_the_work_also_when_that_panics() {
        let until = |done: &AtomicBool| {
            while !done.load(Ordering::Acquire) {
                thread::yield_now();
            }
            Ok(())
        };
        assert_eq!(meanwhile(until, || 1), 1);
        assert!(panic::catch_unwind(|| meanwhile(until, || panic!("on purpose"))).is_err());
    }
}
