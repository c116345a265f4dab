//! What a drop of a database takes along, and what stands in its way: looked at before anything is ended.
use super::Database;
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::object::Object;
use crate::row::Row;
use crate::sessions::{COLUMNS, MAY, SessionInfo};
use crate::sql::Lit;

/// What a drop of a database takes along, as it was when it was looked at: [`Object::drop_preview`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DatabaseDropPreview {
    /// The database.
    pub name: String,
    /// How large it is, in bytes; none where the current role may not know.
    pub size: Option<u64>,
    /// The sessions in it, but for one's own.
    pub sessions: Vec<SessionInfo>,
    /// The logical replication slots in it. Those that nobody uses are dropped with it.
    pub replication_slots: Vec<String>,
    /// The first reason why it cannot be dropped, even if its sessions are ended.
    obstacle: Option<Error>,
    /// The prepared transactions in it.
    prepared: Vec<String>,
    /// The sessions that the current role may not end.
    untouchable: Vec<SessionInfo>,
}

impl DatabaseDropPreview {
    /// Refuses what [`Object::drop_force`] could not do, so that nobody's session ends for nothing.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a template, the database that this is connected to, and `postgres`, the
    /// one that programs connect to when they look for the others; [`Error::Denied`] for somebody else's database, and for sessions that
    /// the current role may not end; [`Error::InUse`] for one with prepared transactions, subscriptions, or logical
    /// replication slots in use.
    pub fn check(&self) -> Result<()> {
        match &self.obstacle {
            Some(obstacle) => Err(obstacle.clone()),
            None => self.check_sessions(&format!("drop database {:?}", self.name)),
        }
    }

    /// Refuses if there are sessions that the current role may not end, or prepared transactions, which nobody can.
    pub(super) fn check_sessions(&self, action: &str) -> Result<()> {
        if !self.untouchable.is_empty() {
            let who: Vec<_> = self.untouchable.iter().map(ToString::to_string).collect();
            return Err(Error::Denied {
                action: action.into(),
                reason: format!("it has sessions that the current role may not end: {}", who.join("; ")),
                remedy: "to end them takes membership in their roles or in pg_signal_backend, and for a superuser's a superuser".into(),
            });
        }
        self.refuse_users(action, "prepared transaction", &self.prepared)
    }

    fn refuse_users(&self, action: &str, what: &str, names: &[String]) -> Result<()> {
        if names.is_empty() {
            return Ok(());
        }
        let by: Vec<_> = names.iter().map(|name| format!("{what} {name:?}")).collect();
        Err(Error::InUse { action: action.into(), what: format!("database {:?}", self.name), by: by.join("; ") })
    }
}

/// Databases that programs connect to in order to do something with others.
const MAINTENANCE: [&str; 3] = ["postgres", "template0", "template1"];

impl Database {
    pub(super) fn check_not_maintenance(&self) -> Result<()> {
        match MAINTENANCE.contains(&self.name.as_str()) {
            false => Ok(()),
            true => Err(Error::invalid(
                format!("drop of database {:?}", self.name),
                "it is a maintenance database, which programs connect to in order to look for others",
            )),
        }
    }

    /// Looks at what is in it: one round trip.
    pub(super) fn drop_preview(&self, cluster: &Cluster) -> Result<DatabaseDropPreview> {
        let name = Lit(&self.name);
        let state = sql!(
            "SELECT (pg_catalog.pg_has_role(d.datdba, 'USAGE'))::text AS owner, d.datistemplate::text AS template, \
             CASE WHEN pg_catalog.has_database_privilege(d.oid, 'CONNECT') \
             OR pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE') \
             THEN pg_catalog.pg_database_size(d.oid)::text END AS size \
             FROM pg_catalog.pg_database d WHERE d.oid = {}",
            self.oid
        );
        let sessions = sql!(
            "SELECT {}, ({})::text AS may FROM pg_catalog.pg_stat_activity a \
             LEFT JOIN pg_catalog.pg_roles them ON them.oid = a.usesysid \
             WHERE a.datid = {} AND a.usesysid IS NOT NULL AND a.pid <> pg_catalog.pg_backend_pid() ORDER BY a.pid",
            COLUMNS,
            MAY,
            self.oid
        );
        let prepared =
            sql!("SELECT gid AS name FROM pg_catalog.pg_prepared_xacts WHERE database = {} ORDER BY 1", name);
        let subscriptions =
            sql!("SELECT subname AS name FROM pg_catalog.pg_subscription WHERE subdbid = {} ORDER BY 1", self.oid);
        let slots = sql!(
            "SELECT slot_name AS name, active::text FROM pg_catalog.pg_replication_slots \
             WHERE database = {} AND slot_type = 'logical' ORDER BY 1",
            name
        );
        let action = format!("look at what is in database {:?}", self.name);
        let answers = cluster.session().run(&action, &[state, sessions, prepared, subscriptions, slots])?;
        let [state, sessions, prepared, subscriptions, slots] = answers.as_slice() else {
            return Err(Error::invalid("answer of the server", "it has not one part for each question"));
        };
        let Some(state) = state.first() else {
            return Err(Error::NotFound { what: format!("database {:?}", self.name) });
        };
        let mut preview = DatabaseDropPreview {
            name: self.name.clone(),
            size: state.optional_number("size")?,
            sessions: sessions.iter().map(SessionInfo::read).collect::<Result<_>>()?,
            replication_slots: names(slots)?,
            obstacle: None,
            prepared: names(prepared)?,
            untouchable: Vec::new(),
        };
        for (row, session) in sessions.iter().zip(&preview.sessions) {
            if !row.truth("may")? {
                preview.untouchable.push(session.clone());
            }
        }
        preview.obstacle = self.obstacle(cluster, state, &preview, &names(subscriptions)?, slots)?;
        Ok(preview)
    }

    fn obstacle(
        &self,
        cluster: &Cluster,
        state: &Row,
        preview: &DatabaseDropPreview,
        subscriptions: &[String],
        slots: &[Row],
    ) -> Result<Option<Error>> {
        let action = format!("drop database {:?}", self.name);
        let invalid = |why: &str| Ok(Some(Error::invalid(format!("drop of database {:?}", self.name), why)));
        if let Err(error) = self.check_not_maintenance() {
            return Ok(Some(error));
        }
        if state.truth("template")? {
            return invalid("it is a template; set is_template to false first");
        }
        if self.name == cluster.current_database() {
            return invalid("it is the database that this is connected to; connect to another one");
        }
        if !state.truth("owner")? {
            let (reason, remedy) = ("the current role does not own it", "connect as its owner, or as a superuser");
            return Ok(Some(Error::Denied { action, reason: reason.into(), remedy: remedy.into() }));
        }
        let mut active = Vec::new();
        for row in slots {
            if row.truth("active")? {
                active.push(row.text("name")?);
            }
        }
        let users = [("subscription", subscriptions), ("replication slot", &active)];
        Ok(users.iter().find_map(|(what, names)| preview.refuse_users(&action, what, names).err()))
    }
}

fn names(rows: &[Row]) -> Result<Vec<String>> {
    rows.iter().map(|row| row.text("name")).collect()
}

impl Object<Database> {
    /// Looks at what a drop of it would take along, and what stands in its way. One round trip.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it is gone.
    pub fn drop_preview(&self) -> Result<DatabaseDropPreview> {
        self.server().drop_preview(self.cluster())
    }
}
