//! What tables take on the disk.
use crate::cluster::Cluster;
use crate::error::Result;
use crate::name::Name;
use crate::row::Row;
use crate::sql::Sql;

/// What a table or materialized view takes on the disk, in bytes. Sizes are none where somebody has it for himself alone,
/// or wants it (ACCESS EXCLUSIVE, as `ALTER TABLE` and `VACUUM FULL` take it), and where it was dropped meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TableSize {
    /// Its name.
    pub name: Name,
    /// If it is partitioned, how many tables its rows are in; its sizes are the sums of theirs, which are listed too.
    pub partitions: Option<u64>,
    /// The partitioned table that it is a partition of, if it is one.
    pub partition_of: Option<Name>,
    /// About how many rows it has, as of the last VACUUM or ANALYZE; none before the first.
    pub rows: Option<u64>,
    /// Its rows.
    pub table: Option<u64>,
    /// What is kept out of line ([TOAST](https://www.postgresql.org/docs/current/storage-toast.html)), with its index.
    pub toast: Option<u64>,
    /// Its indexes.
    pub indexes: Option<u64>,
    /// All of it.
    pub total: Option<u64>,
}

/// The relations that somebody else has for himself alone, or waits to have. Asking their size would wait.
pub(super) const LOCKED: &str = "locked AS MATERIALIZED (SELECT l.relation FROM pg_catalog.pg_locks l \
    WHERE l.mode = 'AccessExclusiveLock' AND l.relation IS NOT NULL AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid() \
    AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()))";

/// Which schemas are not the system's own.
pub(super) const OF_USERS: &str = "n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') \
    AND NOT pg_catalog.starts_with(n.nspname::text, 'pg_toast_temp_')";

/// Partitions are found in the catalogue: `pg_partition_tree` would lock them.
fn query() -> Sql {
    sql!(
        "WITH RECURSIVE {}, free AS MATERIALIZED (SELECT c.oid, c.reltoastrelid FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'm') AND {} \
         AND NOT EXISTS (SELECT FROM locked WHERE locked.relation IN (c.oid, c.reltoastrelid) OR locked.relation IN \
         (SELECT i.indexrelid FROM pg_catalog.pg_index i WHERE i.indrelid IN (c.oid, c.reltoastrelid)))), \
         sized AS MATERIALIZED (SELECT f.oid, pg_catalog.pg_table_size(f.oid) AS whole, \
         COALESCE(pg_catalog.pg_total_relation_size(NULLIF(f.reltoastrelid, 0)), 0) AS toast, \
         pg_catalog.pg_indexes_size(f.oid) AS indexes FROM free f), \
         tree AS (SELECT c.oid, c.oid AS part FROM pg_catalog.pg_class c WHERE c.relkind IN ('r', 'm', 'p') \
         UNION ALL SELECT t.oid, h.inhrelid FROM tree t JOIN pg_catalog.pg_inherits h ON h.inhparent = t.part \
         JOIN pg_catalog.pg_class c ON c.oid = h.inhrelid AND c.relispartition), \
         summed AS (SELECT p.oid, pg_catalog.count(*) AS parts, pg_catalog.count(s.whole) AS known, \
         pg_catalog.sum(s.whole - s.toast) AS table, pg_catalog.sum(s.toast) AS toast, \
         pg_catalog.sum(s.indexes) AS indexes, pg_catalog.sum(s.whole + s.indexes) AS total, \
         CASE WHEN pg_catalog.min(c.reltuples) >= 0 THEN pg_catalog.sum(c.reltuples::numeric) END AS rows \
         FROM tree p JOIN pg_catalog.pg_class c ON c.oid = p.part AND c.relkind IN ('r', 'm') LEFT JOIN sized s ON s.oid = p.part GROUP BY p.oid) \
         SELECT n.nspname AS schema, c.relname AS name, above.schema AS above_schema, above.name AS above_name, \
         CASE WHEN c.relkind = 'p' THEN COALESCE(s.parts, 0) END::text AS partitions, \
         CASE WHEN c.relkind = 'p' OR c.relpages > 0 OR c.reltuples > 0 THEN COALESCE(s.rows, 0) END::text AS rows, \
         {}, {}, {}, {} \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         LEFT JOIN summed s ON s.oid = c.oid LEFT JOIN LATERAL (SELECT pn.nspname AS schema, p.relname AS name \
         FROM pg_catalog.pg_inherits h JOIN pg_catalog.pg_class p ON p.oid = h.inhparent \
         JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace \
         WHERE h.inhrelid = c.oid AND c.relispartition) above ON true \
         WHERE c.relkind IN ('r', 'm', 'p') AND {} ORDER BY s.total DESC NULLS LAST, n.nspname, c.relname",
        LOCKED,
        OF_USERS,
        sum("table"),
        sum("toast"),
        sum("indexes"),
        sum("total"),
        OF_USERS
    )
}

/// A sum of what is known of all parts. Without parts, and so without a row, it is 0.
fn sum(column: &'static str) -> Sql {
    sql!("CASE WHEN s.parts = s.known THEN s.{} WHEN s.oid IS NULL THEN 0 END::text AS {}", column, column)
}

fn read(row: &Row) -> Result<TableSize> {
    let above = row.optional("above_schema")?.zip(row.optional("above_name")?);
    Ok(TableSize {
        name: Name::new(row.text("schema")?, row.text("name")?),
        partitions: row.optional_number("partitions")?,
        partition_of: above.map(Name::from),
        rows: row.optional_number("rows")?,
        table: row.optional_number("table")?,
        toast: row.optional_number("toast")?,
        indexes: row.optional_number("indexes")?,
        total: row.optional_number("total")?,
    })
}

pub(super) fn table_sizes(cluster: &Cluster) -> Result<Vec<TableSize>> {
    let answers = cluster.session().run("read the sizes of tables", &[query()])?;
    answers.iter().flatten().map(read).collect()
}
