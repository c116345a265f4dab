//! One moment of a database, shared with pg_dump, in which rows are counted.
use super::contents::Contents;
use super::manifest::TableRows;
use super::process::Watch;
use crate::cluster::Cluster;
use crate::error::Result;
use crate::name::Name;
use crate::session::Session;
use crate::sql::{Lit, Sql};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// How many tables are counted or locked in one round trip.
const AT_ONCE: usize = 200;

/// A session of its own, in a transaction whose snapshot others can take; the transaction ends when this is dropped.
pub(super) struct Snapshot {
    session: Arc<Session>,
    /// What pg_dump's `--snapshot` takes.
    pub(super) name: String,
    tables: Vec<(u32, Name)>,
}

impl Snapshot {
    /// Exports a snapshot. The tables that the role may read are locked (ACCESS SHARE, as pg_dump does with those that it
    /// dumps): TRUNCATE would else empty them for this snapshot too. A table that somebody else has locked is waited for
    /// as long as pg_dump would, and as there is time.
    pub(super) fn export(
        cluster: &Cluster,
        lock_wait_timeout: Option<Duration>,
        watch: &mut Watch<'_>,
    ) -> Result<Self> {
        let action = "take a snapshot for a backup";
        let session = cluster.session().to_database(cluster.current_database())?;
        // As pg_dump: timeouts that are for others would end what must last as long as the dump does.
        let off = sql!(
            "SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings WHERE name IN \
             ('statement_timeout', 'transaction_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout')"
        );
        session.run(action, &[off])?;
        let answers = session.run(
            action,
            &[
                sql!("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"),
                sql!("SELECT pg_catalog.pg_export_snapshot() AS snapshot"),
                tables(),
            ],
        )?;
        let (mut name, mut tables) = (String::new(), Vec::new());
        for row in answers.iter().flatten() {
            match row.text("snapshot") {
                Ok(snapshot) => name = snapshot,
                Err(_) => tables.push((row.number("oid")?, Name::from((row.text("schema")?, row.text("name")?)))),
            }
        }
        for some in tables.chunks(AT_ONCE) {
            let names = Sql::join(some.iter().map(|(_, name)| sql!("ONLY {}", name)), ", ");
            let patience = [lock_wait_timeout, watch.rest()].into_iter().flatten().min();
            let wait = sql!("SET LOCAL lock_timeout = {}", milliseconds(patience));
            let lock = sql!("LOCK TABLE {} IN ACCESS SHARE MODE", names);
            let locked = session.run("lock tables for a backup", &[wait, lock]);
            watch.check("the locking of tables for a backup", 0)?;
            locked?;
        }
        Ok(Self { session, name, tables })
    }

    /// Counts the rows of the tables whose data is in a dump, and the large objects.
    pub(super) fn count(&self, contents: &Contents, watch: &mut Watch<'_>) -> Result<(Vec<TableRows>, u64)> {
        let dumped = contents.tables_with_data();
        let tables: Vec<Name> =
            self.tables.iter().filter(|(oid, _)| dumped.contains(oid)).map(|(_, name)| name.clone()).collect();
        Ok((count_rows(&self.session, &tables, watch)?, count_large_objects(&self.session)?))
    }
}

/// A time as the server's timeouts take it, rounded up: 0 is for ever.
fn milliseconds(time: Option<Duration>) -> i32 {
    let rounded = |time: Duration| i32::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX).max(1);
    time.map_or(0, rounded)
}

/// Every table with rows of its own that the current role may read.
fn tables() -> Sql {
    sql!(
        "SELECT c.oid::pg_catalog.text AS oid, n.nspname::pg_catalog.text AS schema, c.relname::pg_catalog.text AS name \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname NOT IN ('pg_catalog', 'information_schema') \
         AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT') \
         ORDER BY n.nspname, c.relname"
    )
}

/// Counts the rows of tables, without those of tables that inherit from them.
pub(super) fn count_rows(session: &Session, tables: &[Name], watch: &mut Watch<'_>) -> Result<Vec<TableRows>> {
    let (action, mut counted) = ("count the rows of tables", Vec::new());
    for some in tables.chunks(AT_ONCE) {
        let count = |name: &Name| {
            sql!(
                "SELECT {} AS schema, {} AS name, pg_catalog.count(*)::pg_catalog.text AS rows FROM ONLY {}",
                Lit(&name.schema),
                Lit(&name.name),
                name
            )
        };
        let statements: Vec<Sql> = some.iter().map(count).collect();
        // Each round trip by itself: a timeout that is set within one is not yet for it.
        session.run(action, &[sql!("SET statement_timeout = {}", milliseconds(watch.rest()))])?;
        let answers = session.run(action, &statements);
        watch.check("the counting of rows", 0)?;
        for row in answers?.iter().flatten() {
            counted.push(TableRows { schema: row.text("schema")?, name: row.text("name")?, rows: row.number("rows")? });
        }
    }
    Ok(counted)
}

pub(super) fn count_large_objects(session: &Session) -> Result<u64> {
    let question =
        sql!("SELECT pg_catalog.count(*)::pg_catalog.text AS objects FROM pg_catalog.pg_largeobject_metadata");
    let answers = session.run("count large objects", &[question])?;
    answers.iter().flatten().next().map_or(Ok(0), |row| row.number("objects"))
}

/// The tables of a list that a database has.
pub(super) fn present(session: &Session) -> Result<BTreeSet<(String, String)>> {
    let answers = session.run("list tables", &[tables()])?;
    answers.iter().flatten().map(|row| Ok((row.text("schema")?, row.text("name")?))).collect()
}
