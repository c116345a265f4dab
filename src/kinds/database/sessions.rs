//! The sessions in a database: who may begin one, and the drop that ends them.
use super::Database;
use crate::error::{Error, Result};
use crate::kind::{DropBehavior, Kind};
use crate::object::Object;
use crate::script::Script;
use crate::sql::{Ident, Lit, Sql};
use crate::version::ServerVersion;

/// What becomes of the sessions in a database that takes no new ones, or that is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenSessions {
    /// They go on. A copy is refused then.
    Stay,
    /// They are told to end, which takes them a moment. One's own is not.
    Terminate,
}

impl Database {
    /// Tells the sessions in it to end. Autovacuum, which has no role, makes way by itself.
    pub(super) fn terminate(&self) -> Sql {
        sql!(
            "SELECT pg_catalog.pg_terminate_backend(a.pid) FROM pg_catalog.pg_stat_activity a \
             WHERE a.datname = {} AND a.usesysid IS NOT NULL AND a.pid <> pg_catalog.pg_backend_pid()",
            Lit(&self.name)
        )
    }

    /// The statements of [`drop_force`](Object::drop_force).
    pub(crate) fn to_drop_force(&self, server: &ServerVersion) -> Script {
        let mut script = Script::new();
        if server.at_least(13) {
            script.add_alone(sql!("DROP DATABASE {} WITH (FORCE)", Ident(&self.name)), Vec::new());
            return script;
        }
        let closed = Self { allow_connections: false, ..self.clone() };
        script.append(self.to_alter(&closed, server));
        script.push(self.terminate());
        script.append(self.to_drop(DropBehavior::Restrict, server));
        script
    }
}

impl Object<Database> {
    /// Lets no new session begin in it, a superuser's neither; [`enable`](Object::enable) lets them
    /// again. Sends `ALTER DATABASE ... ALLOW_CONNECTIONS false`, and other changes not sent yet with it.
    /// With [`Terminate`](OpenSessions::Terminate) that is committed before the sessions are told to
    /// end, so that none can come back; a plan with it is not applied as one transaction.
    ///
    /// # Errors
    /// As for [`alter`](Object::alter); [`Error::Denied`] where there are sessions that may not be
    /// terminated, and the database is disabled then; [`Error::Invalid`] for
    /// [`Terminate`](OpenSessions::Terminate) in a transaction, which would hide from others that
    /// the database takes no sessions.
    pub fn disable(&mut self, sessions: OpenSessions) -> Result<()> {
        let planned = self.cluster().plan_in_progress()?.is_some();
        if sessions == OpenSessions::Terminate && !planned {
            self.check_outside()?;
        }
        self.allow_connections = false;
        self.alter()?;
        match sessions {
            OpenSessions::Stay => Ok(()),
            OpenSessions::Terminate => self.end_sessions(),
        }
    }

    /// Ends the sessions in it, once nobody can come back.
    fn end_sessions(&mut self) -> Result<()> {
        let server = self.server().clone();
        let mut script = Script::new();
        // Alone: what was sent before must be seen by others.
        script.add_alone(server.terminate(), Vec::new());
        if let Some(plan) = self.cluster().plan_in_progress()? {
            plan.record(script, move |cluster| Object::new(cluster, server).end_sessions());
            return Ok(());
        }
        self.check_outside()?;
        self.perform("terminate the sessions in", script)
    }

    /// Refuses a transaction around.
    fn check_outside(&self) -> Result<()> {
        if !self.cluster().session().is_inside("look for a transaction")? {
            return Ok(());
        }
        let why = "others would not see that it takes no new sessions, and come back; call it outside the transaction";
        Err(Error::invalid(format!("attempt to disable {} and end its sessions in a transaction", self.title()), why))
    }

    /// Lets sessions begin in it. Sends `ALTER DATABASE ... ALLOW_CONNECTIONS true`, and other
    /// changes not sent yet with it.
    ///
    /// # Errors
    /// As for [`alter`](Object::alter).
    pub fn enable(&mut self) -> Result<()> {
        self.allow_connections = true;
        self.alter()
    }

    /// Drops the database and ends the sessions in it; none can slip in between. PostgreSQL 12,
    /// which cannot do that in one statement, lets no session begin in it first, and again if the drop fails.
    ///
    /// # Errors
    /// As for [`drop`](Object::drop); [`Error::Invalid`] for `postgres`, which programs connect to in
    /// order to look for other databases (plain [`drop`](Object::drop) takes it); [`Error::Server`], [`Error::Denied`] or
    /// [`Error::InUse`], before any session is ended, for a template, the database that this is connected to, somebody else's, one with sessions that
    /// the current role may not end, and one with prepared transactions, logical replication slots in use, or
    /// subscriptions. [`drop_preview`](Object::drop_preview) tells before.
    pub fn drop_force(self) -> Result<()> {
        let (cluster, server) = (self.cluster().clone(), self.server().clone());
        server.check_not_maintenance()?;
        let script = server.to_drop_force(cluster.version());
        if cluster.version().at_least(13) {
            return self.drop_by(script);
        }
        script.check()?;
        if let Some(plan) = cluster.plan_in_progress()? {
            let step = server.clone();
            plan.record(script, move |cluster| Object::new(cluster, step).drop_force());
            cluster.gone::<Database>(&server.name);
            return Ok(());
        }
        let hopeless = server.is_template
            || server.name == cluster.current_database()
            || cluster.session().is_inside("drop a database")?;
        if hopeless {
            // The server says why, and nobody's session ends for it.
            return self.drop();
        }
        // What later versions look at before they end a session.
        self.drop_preview()?.check()?;
        let mut closed = Object::new(&cluster, server.clone());
        closed.allow_connections = false;
        closed.alter()?;
        let dropped = closed.perform("terminate the sessions in", server.terminate().into());
        let dropped = dropped.and_then(|()| closed.clone().drop());
        if dropped.is_err() && server.allow_connections {
            let _ = closed.enable().inspect_err(|error| log::warn!("{error}"));
        }
        dropped
    }
}
