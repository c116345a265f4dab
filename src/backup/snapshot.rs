//! One moment of a database, shared with pg_dump, in which rows are counted.
use super::contents::Contents;
use super::manifest::TableRows;
use crate::cluster::Cluster;
use crate::error::Result;
use crate::name::Name;
use crate::session::Session;
use crate::sql::{Lit, Sql};
use std::collections::BTreeSet;
use std::sync::Arc;

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
    /// dumps): TRUNCATE would else empty them for this snapshot too.
    pub(super) fn export(cluster: &Cluster) -> Result<Self> {
        let action = "take a snapshot for a backup";
        let session = cluster.session().to_database(cluster.current_database())?;
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
            session.run("lock tables for a backup", &[sql!("LOCK TABLE {} IN ACCESS SHARE MODE", names)])?;
        }
        Ok(Self { session, name, tables })
    }

    /// Counts the rows of the tables whose data is in a dump, and the large objects.
    pub(super) fn count(&self, contents: &Contents) -> Result<(Vec<TableRows>, u64)> {
        let dumped = contents.tables_with_data();
        let tables: Vec<Name> =
            self.tables.iter().filter(|(oid, _)| dumped.contains(oid)).map(|(_, name)| name.clone()).collect();
        Ok((count_rows(&self.session, &tables)?, count_large_objects(&self.session)?))
    }
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
pub(super) fn count_rows(session: &Session, tables: &[Name]) -> Result<Vec<TableRows>> {
    let mut counted = Vec::new();
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
        for row in session.run("count the rows of tables", &statements)?.iter().flatten() {
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
