//! Replication slots.
use crate::cluster::Cluster;
use crate::collection::Collection;
use crate::error::{Error, Result};
use crate::kind::{DropBehavior, Kind, Nothing, Sealed, Which};
use crate::object::Object;
use crate::row::Row;
use crate::script::Script;
use crate::sql::{Ident, Lit, Sql};
use crate::version::ServerVersion;
use postgres::error::SqlState;
use postgres::types::PgLsn;
use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

/// How long [`disconnect`](Object::disconnect) waits.
const PATIENCE: Duration = Duration::from_secs(10);

/// A replication slot
/// ([Replication Slots](https://www.postgresql.org/docs/current/warm-standby.html#STREAMING-REPLICATION-SLOTS)).
///
/// Slots belong to the cluster; a logical one is for the database it was made in, but can be seen
/// and dropped from any. None of its fields can be changed: the SQL for that exists in the replication protocol
/// only, or not at all, so that a changed field is [`Error::Unsupported`]. Making and dropping a
/// slot is not undone by the end of a transaction.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ReplicationSlot {
    /// The name: lower case letters, digits and underscores.
    pub name: String,
    /// Physical or logical.
    pub sort: SlotSort,
    /// Whether it is dropped at the end of the session that makes it, or at an error in that session.
    pub temporary: bool,
    /// For logical slots: whether prepared transactions are decoded when they are prepared (PostgreSQL 14).
    pub two_phase: bool,
    /// For logical slots: whether standbys keep it too (PostgreSQL 17).
    pub failover: bool,
    /// For physical slots: whether WAL is kept from the creation on, and not only from the first
    /// connection on. As read: whether WAL is kept.
    pub immediately_reserve: bool,
    state: State,
    uncovered: Vec<String>,
}

/// What a slot is for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlotSort {
    /// Streaming to a standby, or archiving.
    Physical,
    /// Logical decoding.
    Logical {
        /// The output plugin: `pgoutput`, `test_decoding`.
        plugin: String,
    },
}

/// Whether the WAL that a slot claims is there
/// ([pg_replication_slots](https://www.postgresql.org/docs/current/view-pg-replication-slots.html)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WalStatus {
    /// It is, within `max_wal_size`.
    Reserved,
    /// It is, beyond `max_wal_size`.
    Extended,
    /// It is, but may be removed at the next checkpoint.
    Unreserved,
    /// It was removed: the slot is of no use any more.
    Lost,
}

words! { WalStatus { Reserved = "reserved", Extended = "extended", Unreserved = "unreserved", Lost = "lost" } }

/// As [`Fields`](crate::Fields) take it: `physical`, `logical pgoutput`.
impl fmt::Display for SlotSort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Physical => f.write_str("physical"),
            Self::Logical { plugin } => write!(f, "logical {plugin}"),
        }
    }
}

/// What the server alone decides.
#[derive(Clone, Debug, Default, PartialEq)]
struct State {
    database: Option<String>,
    database_oid: u32,
    active_pid: Option<i32>,
    restart_lsn: Option<PgLsn>,
    confirmed_flush_lsn: Option<PgLsn>,
    wal_status: Option<WalStatus>,
    invalidation_reason: Option<String>,
}

impl ReplicationSlot {
    /// A physical slot.
    pub fn physical(name: impl Into<String>) -> Self {
        Self::new(name.into(), SlotSort::Physical)
    }

    /// A logical slot, for the database that it is made in.
    pub fn logical(name: impl Into<String>, plugin: impl Into<String>) -> Self {
        Self::new(name.into(), SlotSort::Logical { plugin: plugin.into() })
    }

    fn new(name: String, sort: SlotSort) -> Self {
        Self {
            name,
            sort,
            temporary: false,
            two_phase: false,
            failover: false,
            immediately_reserve: false,
            state: State::default(),
            uncovered: Vec::new(),
        }
    }

    /// The database that a logical slot is for.
    pub fn database(&self) -> Option<&str> {
        self.state.database.as_deref()
    }

    /// Whether a session used it when it was read.
    pub fn is_active(&self) -> bool {
        self.state.active_pid.is_some()
    }

    /// The server process of the session that used it when it was read.
    pub fn active_pid(&self) -> Option<i32> {
        self.state.active_pid
    }

    /// The oldest WAL that it keeps; none if it keeps none.
    pub fn restart_lsn(&self) -> Option<PgLsn> {
        self.state.restart_lsn
    }

    /// Up to where the consumer of a logical slot has confirmed.
    pub fn confirmed_flush_lsn(&self) -> Option<PgLsn> {
        self.state.confirmed_flush_lsn
    }

    /// Whether the WAL that it claims is there; none if it claims none, and before PostgreSQL 13.
    pub fn wal_status(&self) -> Option<WalStatus> {
        self.state.wal_status
    }

    /// Why it is of no use any more, as PostgreSQL 17 and later say: `wal_removed`, `rows_removed`, ...
    pub fn invalidation_reason(&self) -> Option<&str> {
        self.state.invalidation_reason.as_deref()
    }

    fn check_name(name: &str) -> Result<()> {
        sql!("{}", Ident(name)).check()?;
        match name.bytes().all(|c| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'_')) {
            true => Ok(()),
            false => Err(Error::invalid(
                format!("name {name:?} of a replication slot"),
                "it may hold only lower case letters, digits and underscores",
            )),
        }
    }
}

impl WalStatus {
    fn read(text: &str) -> Option<Self> {
        match text {
            "reserved" => Some(Self::Reserved),
            "extended" => Some(Self::Extended),
            "unreserved" => Some(Self::Unreserved),
            "lost" => Some(Self::Lost),
            _ => None,
        }
    }
}

impl Cluster {
    /// The replication slots of the cluster, also those for other databases.
    pub fn replication_slots(&self) -> Collection<ReplicationSlot> {
        Collection::new(self)
    }
}

impl Object<ReplicationSlot> {
    /// Ends the session that uses the slot, and waits until it has let go of it, for 10 seconds at
    /// most. Does nothing if no session uses it. The session may come back, and use it again.
    ///
    /// # Errors
    /// [`Error::Conflict`] when the slot was dropped or replaced, or is still in use after that time;
    /// [`Error::Denied`] without the rights of that session's role or of `pg_signal_backend`.
    pub fn disconnect(&mut self) -> Result<()> {
        let name = self.server().name.clone();
        let planned = self.cluster().plan_in_progress()?.is_some();
        let holder = if planned { None } else { self.holder()? };
        if planned || holder.is_some() {
            let mut script = Script::new();
            script.add_alone(end_session(&name), Vec::new());
            self.perform("disconnect", script)?;
        }
        let (deadline, mut pause) = (Instant::now() + PATIENCE, Duration::from_millis(2));
        while holder.is_some() && self.holder()? == holder {
            if Instant::now() > deadline {
                return Err(self.in_use("disconnect it"));
            }
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(200));
        }
        Ok(())
    }

    /// Drops the slot, ending the session that uses it, and each that comes back meanwhile, until
    /// the slot is gone or the time is over.
    ///
    /// # Errors
    /// [`Error::Conflict`] when the slot was dropped or replaced, or is still in use after that time;
    /// [`Error::Denied`] without the rights of that session's role or of `pg_signal_backend`.
    pub fn drop_after_disconnect(self, timeout: Duration) -> Result<()> {
        let server = self.server().clone();
        let drop = server.to_drop(DropBehavior::Restrict, self.cluster().version());
        if let Some(plan) = self.cluster().plan_in_progress()? {
            let (mut script, step) = (Script::new(), server.clone());
            script.add_alone(end_session(&server.name), Vec::new());
            script.append(drop);
            self.cluster().replication_slots().load_for_plan()?;
            plan.record(script, move |cluster| Object::new(cluster, step).drop_after_disconnect(timeout));
        } else {
            self.drop_contested(&drop, timeout)?;
        }
        self.cluster().gone::<ReplicationSlot>(&server.name);
        Ok(())
    }

    fn drop_contested(&self, drop: &Script, timeout: Duration) -> Result<()> {
        let (server, action) = (self.server(), format!("drop {}", self.title()));
        let query = ReplicationSlot::query(Which::Key(&server.name), self.cluster().version());
        let now = self.cluster().fetch::<ReplicationSlot>(&action, &query)?;
        if !now.is_some_and(|now| server.is_same(&now.value)) {
            return Err(self.lost_to("no such slot: it was dropped or replaced"));
        }
        let (deadline, mut pause) = (Instant::now().checked_add(timeout), Duration::ZERO);
        loop {
            // One round trip: one who comes back gets as little time as can be.
            let mut statements = vec![end_session(&server.name)];
            statements.push(sql!("SELECT pg_catalog.pg_sleep({})", pause.as_secs_f32()));
            statements.extend(drop.statements().cloned());
            let dropped = self.cluster().session().atomically(&action, |transaction| transaction.send(&statements));
            match dropped {
                Ok(_) => return Ok(()),
                // A temporary slot goes with its session.
                Err(error) if error.code() == Some(&SqlState::UNDEFINED_OBJECT) => {
                    return if server.temporary { Ok(()) } else { Err(self.lost_to("no such slot: it was dropped")) };
                }
                Err(error) if error.code() != Some(&SqlState::OBJECT_IN_USE) => return Err(error),
                Err(_) if deadline.is_some_and(|deadline| Instant::now() > deadline) => {
                    return Err(self.in_use("drop it"));
                }
                // Long enough for the session to end, and short enough that it is not back: each is tried in turn.
                Err(_) if pause > Duration::from_millis(15) => pause = Duration::ZERO,
                Err(_) => pause = pause * 2 + Duration::from_millis(1),
            }
        }
    }

    /// Moves the position up to which WAL is not needed any more; at once, and not to be undone
    /// ([pg_replication_slot_advance](https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-REPLICATION)).
    /// For a logical slot the connection must be to its database.
    ///
    /// # Errors
    /// [`Error::Conflict`] when the slot was dropped or replaced; [`Error::Server`] for a position
    /// before the slot's own, and for a slot that was never used.
    pub fn advance(&mut self, to: PgLsn) -> Result<()> {
        let mut script = Script::new();
        let (name, to) = (self.server().name.clone(), to.to_string());
        script.add_alone(
            sql!("SELECT pg_catalog.pg_replication_slot_advance({}, {}::pg_catalog.pg_lsn)", Lit(&name), Lit(&to)),
            Vec::new(),
        );
        self.perform("advance", script)
    }

    /// The process that uses the slot now, unless it is this session's.
    fn holder(&self) -> Result<Option<String>> {
        let question = sql!("SELECT s.active_pid::text {}", held(&self.server().name));
        let answers = self.cluster().session().run(&format!("read {}", self.title()), &[question])?;
        answers.iter().flatten().next().map_or(Ok(None), |row| row.optional("active_pid"))
    }

    fn lost_to(&self, theirs: &str) -> Error {
        Error::Conflict { what: self.title(), mine: "to drop it".into(), theirs: theirs.into() }
    }

    fn in_use(&self, mine: &str) -> Error {
        let by = self.holder().ok().flatten().map(|pid| format!(" (process {pid})")).unwrap_or_default();
        let theirs = format!("a session that keeps using it{by}");
        Error::Conflict { what: self.title(), mine: format!("to {mine}"), theirs }
    }
}

/// `FROM ... WHERE ...`: the slot, if a session other than this one uses it.
fn held(name: &str) -> Sql {
    sql!(
        "FROM pg_catalog.pg_replication_slots s WHERE s.slot_name = {} AND s.active_pid <> pg_catalog.pg_backend_pid()",
        Lit(name)
    )
}

fn end_session(name: &str) -> Sql {
    sql!("SELECT pg_catalog.pg_terminate_backend(s.active_pid) {}", held(name))
}

/// Words of SQL for a truth value.
fn truth(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

fields! { ReplicationSlot { name, sort, temporary, two_phase, failover, immediately_reserve } but state, uncovered }

impl Sealed for ReplicationSlot {}

impl Kind for ReplicationSlot {
    type Key = String;
    type Definition = Nothing;
    const KIND: &'static str = "replication slot";

    fn query(which: Which<'_, String>, server: &ServerVersion) -> Sql {
        let filter = match which {
            Which::All | Which::WithSystem => sql!("true"),
            Which::Key(name) => sql!("s.slot_name = {}", Lit(name)),
            Which::Oids(_) => sql!("false"),
        };
        let since = |major, column, before| if server.at_least(major) { column } else { before };
        sql!(
            "SELECT s.slot_name AS name, s.plugin, s.datoid::text, s.database, s.temporary::text, s.active_pid::text, \
             (s.slot_type = 'physical' AND s.restart_lsn IS NOT NULL)::text AS immediately_reserve, \
             s.restart_lsn::text, s.confirmed_flush_lsn::text, {} AS wal_status, {} AS two_phase, {} AS failover, \
             {} AS invalidation_reason, {} AS uncovered FROM pg_catalog.pg_replication_slots s WHERE {}",
            since(13, "s.wal_status", "NULL::text"),
            since(14, "COALESCE(s.two_phase, false)::text", "'false'"),
            since(17, "s.failover::text", "'false'"),
            since(17, "s.invalidation_reason", "NULL::text"),
            since(17, "CASE WHEN s.synced THEN '{synchronization from the primary}' END", "NULL::text"),
            filter
        )
    }

    fn read(row: &Row) -> Result<Self> {
        let state = State {
            database: row.optional("database")?,
            database_oid: row.optional_number("datoid")?.unwrap_or_default(),
            active_pid: row.optional_number("active_pid")?,
            restart_lsn: row.optional_number("restart_lsn")?,
            confirmed_flush_lsn: row.optional_number("confirmed_flush_lsn")?,
            wal_status: row.optional("wal_status")?.as_deref().and_then(WalStatus::read),
            invalidation_reason: row.optional("invalidation_reason")?,
        };
        Ok(Self {
            name: row.text("name")?,
            sort: row.optional("plugin")?.map_or(SlotSort::Physical, |plugin| SlotSort::Logical { plugin }),
            temporary: row.truth("temporary")?,
            two_phase: row.truth("two_phase")?,
            failover: row.truth("failover")?,
            immediately_reserve: row.truth("immediately_reserve")?,
            state,
            uncovered: row.list("uncovered")?,
        })
    }

    fn key(&self) -> String {
        self.name.clone()
    }

    fn oid(&self) -> u32 {
        0
    }

    fn uncovered(&self) -> Vec<String> {
        self.uncovered.clone()
    }

    fn check_key(name: &String) -> Result<()> {
        Self::check_name(name)
    }

    /// As far as can be told: a slot has no OID.
    fn is_same(&self, now: &Self) -> bool {
        let known = self.state.database_oid;
        self.sort == now.sort && self.temporary == now.temporary && (known == 0 || known == now.state.database_oid)
    }

    fn to_create(&self, server: &ServerVersion) -> Script {
        let Self { name, sort, temporary, two_phase, failover, immediately_reserve, state: _, uncovered: _ } = self;
        let mut script = Script::new();
        let mut refuse = |when: bool, error: Error| {
            if when {
                script.refuse(error);
            }
        };
        if let Err(error) = Self::check_name(name) {
            refuse(true, error);
        }
        let needs = |what, major: u32| Error::unsupported(what, format!("PostgreSQL {major}, and this is {server}"));
        refuse(*two_phase && !server.at_least(14), needs("two_phase of a replication slot", 14));
        refuse(*failover && !server.at_least(17), needs("failover of a replication slot", 17));
        let statement = match sort {
            SlotSort::Physical => {
                let logical = |field| Error::invalid(field, "only a logical replication slot has it");
                refuse(*two_phase, logical("two_phase"));
                refuse(*failover, logical("failover"));
                let (reserve, temporary) = (truth(*immediately_reserve), truth(*temporary));
                sql!("SELECT pg_catalog.pg_create_physical_replication_slot({}, {}, {})", Lit(name), reserve, temporary)
            }
            SlotSort::Logical { plugin } => {
                let why = "only a physical replication slot has it; a logical one always keeps WAL";
                refuse(*immediately_reserve, Error::invalid("immediately_reserve", why));
                let mut more = sql!("");
                if server.at_least(14) && (*two_phase || *failover) {
                    more = sql!(", {}", truth(*two_phase));
                }
                if *failover {
                    more = sql!("{}, true", more);
                }
                sql!(
                    "SELECT pg_catalog.pg_create_logical_replication_slot({}, {}, {}{})",
                    Lit(name),
                    Lit(plugin),
                    truth(*temporary),
                    more
                )
            }
        };
        // No transaction undoes it, and a logical one cannot be made in a transaction that has written.
        script.add_alone(statement, Vec::new());
        script
    }

    fn to_alter(&self, wanted: &Self, _: &ServerVersion) -> Script {
        let Self { name, sort, temporary, two_phase, failover, immediately_reserve, state: _, uncovered: _ } = wanted;
        let mut script = Script::new();
        if *two_phase != self.two_phase || *failover != self.failover {
            let what = "a change of two_phase or failover of a replication slot";
            let needs = "ALTER_REPLICATION_SLOT, which only the replication protocol has; drop the slot and create it";
            script.refuse(Error::unsupported(what, needs));
        }
        let fixed = *name != self.name
            || *sort != self.sort
            || *temporary != self.temporary
            || *immediately_reserve != self.immediately_reserve;
        if fixed {
            let what = "a change of the name, sort, temporary or immediately_reserve of a replication slot";
            script.refuse(Error::unsupported(what, "another slot: drop this one and create it"));
        }
        script
    }

    fn to_drop(&self, _: DropBehavior, _: &ServerVersion) -> Script {
        let mut script = Script::new();
        script.add_alone(sql!("SELECT pg_catalog.pg_drop_replication_slot({})", Lit(&self.name)), Vec::new());
        script
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn create(slot: &ReplicationSlot, version: &str) -> Result<String> {
        let script = slot.to_create(&ServerVersion::parse(version)?);
        script.check()?;
        Ok(script.to_string())
    }

    #[test]
    fn p043_each_sort_of_slot_is_made_by_its_own_function() {
        let slot = ReplicationSlot { immediately_reserve: true, ..ReplicationSlot::physical("a_1") };
        let made = "SELECT pg_catalog.pg_create_physical_replication_slot('a_1', true, false);\n";
        assert_eq!(create(&slot, "12.1").unwrap(), made);
        let slot = ReplicationSlot { temporary: true, ..ReplicationSlot::logical("a", "pgoutput") };
        let made = "SELECT pg_catalog.pg_create_logical_replication_slot('a', 'pgoutput', true);\n";
        assert_eq!(create(&slot, "12.1").unwrap(), made);
        let slot = ReplicationSlot { two_phase: true, ..slot };
        let made = "SELECT pg_catalog.pg_create_logical_replication_slot('a', 'pgoutput', true, true);\n";
        assert_eq!(create(&slot, "14.1").unwrap(), made);
        assert!(matches!(create(&slot, "13.1"), Err(Error::Unsupported { .. })));
        let slot = ReplicationSlot { failover: true, two_phase: false, ..slot };
        let made = "SELECT pg_catalog.pg_create_logical_replication_slot('a', 'pgoutput', true, false, true);\n";
        assert_eq!(create(&slot, "17.1").unwrap(), made);
        assert!(matches!(create(&slot, "16.1"), Err(Error::Unsupported { .. })));
    }

    #[test]
    fn what_no_slot_can_be_is_refused() {
        for name in ["", "A", "a-b", "ä", "a'b", &"x".repeat(64)] {
            assert!(matches!(create(&ReplicationSlot::physical(name), "15.1"), Err(Error::Invalid { .. })), "{name}");
            assert!(ReplicationSlot::check_key(&name.to_string()).is_err());
        }
        let physical = ReplicationSlot::physical("a");
        assert!(create(&ReplicationSlot { two_phase: true, ..physical.clone() }, "18.1").is_err());
        assert!(create(&ReplicationSlot { failover: true, ..physical.clone() }, "18.1").is_err());
        let logical = ReplicationSlot::logical("a", "pgoutput");
        assert!(create(&ReplicationSlot { immediately_reserve: true, ..logical.clone() }, "18.1").is_err());
    }

    #[test]
    fn no_field_can_be_changed_and_what_the_server_moves_is_no_change() {
        let version = ServerVersion::parse("18.1").unwrap();
        let old = ReplicationSlot::logical("a", "pgoutput");
        for new in [
            ReplicationSlot { name: "b".into(), ..old.clone() },
            ReplicationSlot { failover: true, ..old.clone() },
            ReplicationSlot { two_phase: true, ..old.clone() },
            ReplicationSlot { temporary: true, ..old.clone() },
            ReplicationSlot::physical("a"),
        ] {
            assert!(matches!(old.to_alter(&new, &version).check(), Err(Error::Unsupported { .. })), "{new:?}");
        }
        let mut moved = old.clone();
        moved.state = State { restart_lsn: Some(PgLsn::from(7)), active_pid: Some(1), ..State::default() };
        assert!(old.to_alter(&moved, &version).is_empty());
        assert!(old.is_same(&moved) && !old.is_same(&ReplicationSlot::logical("a", "test_decoding")));
    }
}
