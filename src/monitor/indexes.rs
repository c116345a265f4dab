//! How often indexes are used.
use super::sizes::{LOCKED, OF_USERS};
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::name::Name;
use crate::row::Row;
use crate::sessions::fresh_statistics;
use crate::sql::Sql;
use jiff::Timestamp;

/// An index, what it takes on the disk, and how often it was used. Of a partitioned one, all parts together.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IndexUse {
    /// Its name.
    pub name: Name,
    /// Its table.
    pub table: Name,
    /// If it is partitioned, how many indexes it consists of.
    pub partitions: Option<u64>,
    /// What it takes on the disk, in bytes; none where somebody has it, or wants it, for himself alone.
    pub bytes: Option<u64>,
    /// How many times it was scanned, on this server.
    pub scans: u64,
    /// When that was last; none before PostgreSQL 16, and if it never was.
    pub last_scan: Option<Timestamp>,
    /// Whether no two rows may have the same in it.
    pub unique: bool,
    /// Whether a constraint needs it: one of this table, or a foreign key of another that points here.
    pub of_constraint: bool,
    /// Whether it tells rows apart for [logical replication](https://www.postgresql.org/docs/current/logical-replication-publication.html).
    pub replica_identity: bool,
    /// Whether it can be used: one that `CREATE INDEX CONCURRENTLY` has not finished cannot.
    pub valid: bool,
}

impl IndexUse {
    /// Whether no statement has used it, and nothing else needs it.
    pub fn is_unused(&self) -> bool {
        self.scans == 0 && !self.unique && !self.of_constraint && !self.replica_identity
    }
}

/// The indexes that nobody has used, and how much that says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnusedIndexes {
    /// The largest first.
    pub indexes: Vec<IndexUse>,
    /// Since when uses are counted: when the statistics of the database were last reset. None if that was never.
    pub since: Option<Timestamp>,
    /// Whether the server is a standby. It does not know which indexes the primary uses, nor what other standbys do.
    pub is_standby: bool,
    /// How many standbys and other receivers of the WAL the server sends to: a standby may use an index that
    /// this server does not.
    pub walsenders: u64,
}

/// A moment as it is read here.
const ISO: &str = "'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'";

fn query(major: u32) -> Sql {
    // The function is not there before.
    let last_scan = if major >= 16 { "pg_catalog.pg_stat_get_lastscan(l.oid)" } else { "NULL::timestamptz" };
    sql!(
        "WITH RECURSIVE {}, tree AS (SELECT i.indexrelid AS root, i.indexrelid AS oid FROM pg_catalog.pg_index i \
         UNION ALL SELECT t.root, h.inhrelid FROM tree t JOIN pg_catalog.pg_inherits h ON h.inhparent = t.oid), \
         leaf AS MATERIALIZED (SELECT t.root, t.oid, i.indisreplident FROM tree t \
         JOIN pg_catalog.pg_class x ON x.oid = t.root JOIN pg_catalog.pg_namespace n ON n.oid = x.relnamespace \
         JOIN pg_catalog.pg_class c ON c.oid = t.oid JOIN pg_catalog.pg_index i ON i.indexrelid = t.oid \
         WHERE NOT x.relispartition AND c.relkind = 'i' AND {}), \
         sized AS (SELECT l.root, l.oid, l.indisreplident, CASE WHEN l.oid NOT IN (SELECT k.relation FROM locked k) \
         THEN pg_catalog.pg_total_relation_size(l.oid) END AS bytes FROM leaf l), \
         summed AS (SELECT l.root, pg_catalog.count(*) AS parts, pg_catalog.count(l.bytes) AS known, \
         pg_catalog.sum(l.bytes) AS bytes, pg_catalog.sum(pg_catalog.pg_stat_get_numscans(l.oid)) AS scans, \
         pg_catalog.max({}) AS last_scan, pg_catalog.bool_or(l.indisreplident) AS replica_identity \
         FROM sized l GROUP BY l.root) \
         SELECT n.nspname AS schema, x.relname AS name, tn.nspname AS table_schema, t.relname AS table_name, \
         CASE WHEN x.relkind = 'I' THEN COALESCE(s.parts, 0) END::text AS partitions, \
         CASE WHEN s.parts = s.known THEN s.bytes WHEN s.root IS NULL THEN 0 END::text AS bytes, \
         COALESCE(s.scans, 0)::text AS scans, \
         pg_catalog.to_char(s.last_scan AT TIME ZONE 'UTC', {}) AS last_scan, i.indisunique::text AS is_unique, \
         (i.indisvalid AND i.indisready)::text AS valid, \
         (EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conindid = x.oid))::text AS of_constraint, \
         (i.indisreplident OR COALESCE(s.replica_identity, false))::text AS replica_identity \
         FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid \
         JOIN pg_catalog.pg_namespace n ON n.oid = x.relnamespace \
         JOIN pg_catalog.pg_class t ON t.oid = i.indrelid JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace \
         LEFT JOIN summed s ON s.root = x.oid WHERE NOT x.relispartition AND {} \
         ORDER BY s.bytes DESC NULLS LAST, n.nspname, x.relname",
        LOCKED,
        OF_USERS,
        last_scan,
        ISO,
        OF_USERS
    )
}

fn about() -> Sql {
    sql!(
        "SELECT pg_catalog.to_char(s.stats_reset AT TIME ZONE 'UTC', {}) AS since, \
         pg_catalog.pg_is_in_recovery()::text AS is_standby, \
         (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_replication)::text AS walsenders \
         FROM pg_catalog.pg_stat_database s WHERE s.datname = pg_catalog.current_database()",
        ISO
    )
}

fn read(row: &Row) -> Result<IndexUse> {
    Ok(IndexUse {
        name: Name::new(row.text("schema")?, row.text("name")?),
        table: Name::new(row.text("table_schema")?, row.text("table_name")?),
        partitions: row.optional_number("partitions")?,
        bytes: row.optional_number("bytes")?,
        scans: row.number("scans")?,
        last_scan: row.optional_number("last_scan")?,
        unique: row.truth("is_unique")?,
        of_constraint: row.truth("of_constraint")?,
        replica_identity: row.truth("replica_identity")?,
        valid: row.truth("valid")?,
    })
}

/// All indexes, with what is known of the counting.
pub(super) fn look(cluster: &Cluster) -> Result<UnusedIndexes> {
    let questions = [fresh_statistics(), query(cluster.version().major()), about()];
    let answers = cluster.session().run("look at indexes", &questions)?;
    let [_, indexes, about] = answers.as_slice() else {
        return Err(Error::invalid("answer of the server", "it is not what was asked for"));
    };
    let about = about.first().ok_or_else(|| Error::invalid("answer of the server", "it does not know the database"))?;
    Ok(UnusedIndexes {
        indexes: indexes.iter().map(read).collect::<Result<_>>()?,
        since: about.optional_number("since")?,
        is_standby: about.truth("is_standby")?,
        walsenders: about.number("walsenders")?,
    })
}
