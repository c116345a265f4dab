//! What has changed since a snapshot was taken.
use super::index::{Snapshot, SnapshotSequence, SnapshotTable, list};
use super::moment::{Hold, Moment, at_one_moment};
use super::structure::{StructureChange, changes_of, check_copies, new_partitions, still_there};
use super::survey::{StoredColumn, no_answer};
use crate::cluster::Cluster;
use crate::error::Result;
use crate::kind::one_of;
use crate::name::Name;
use crate::row::Row;
use crate::session::Session;
use crate::sql::{Ident, Lit, Sql};
use std::collections::BTreeMap;

/// How the tables and sequences of a snapshot differ from what they were.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SnapshotDifference {
    /// Each table of the snapshot, also those that are the same.
    pub tables: Vec<TableDifference>,
    /// The sequences that differ.
    pub sequences: Vec<SequenceDifference>,
    /// Tables that became partitions of a table that the snapshot holds as a whole.
    pub new_partitions: Vec<Name>,
}

/// How a table differs from what it was.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TableDifference {
    /// The name in the snapshot.
    pub name: Name,
    /// What about its columns is different; rows are compared in the columns that are as they were.
    pub structure: Vec<StructureChange>,
    /// How many rows there are that were not.
    pub rows_added: u64,
    /// How many rows there were that are not; all of them for a table that is gone.
    pub rows_removed: u64,
    /// How many rows have the primary key of one that was, and other values. 0 without a primary key.
    pub rows_changed: u64,
}

/// How a sequence differs from what it was.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SequenceDifference {
    /// What it was.
    pub then: SnapshotSequence,
    /// What it is; none if it is gone.
    pub now: Option<SnapshotSequence>,
}

impl SnapshotDifference {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        let Self { tables, sequences, new_partitions } = self;
        sequences.is_empty() && new_partitions.is_empty() && tables.iter().all(TableDifference::is_empty)
    }
}

impl TableDifference {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        let Self { name: _, structure, rows_added, rows_removed, rows_changed } = self;
        structure.is_empty() && *rows_added == 0 && *rows_removed == 0 && *rows_changed == 0
    }
}

pub(super) fn compare(cluster: &Cluster, snapshot: &Snapshot) -> Result<SnapshotDifference> {
    let action = format!("compare with snapshot {:?}", snapshot.name);
    let session = cluster.session();
    at_one_moment(
        cluster,
        &action,
        Hold::Look,
        |survey| Ok(still_there(snapshot, survey)),
        |moment| {
            check_copies(session, &action, snapshot)?;
            Ok(SnapshotDifference {
                tables: tables(session, &action, snapshot, moment)?,
                sequences: sequences(session, &action, snapshot, moment)?,
                new_partitions: new_partitions(snapshot, moment),
            })
        },
    )
}

fn tables(session: &Session, action: &str, snapshot: &Snapshot, moment: &Moment) -> Result<Vec<TableDifference>> {
    let keys = keys(session, action, moment)?;
    let none = Vec::new();
    let (mut differences, mut questions) = (Vec::new(), Vec::new());
    for table in &snapshot.tables {
        let structure = changes_of(table, moment);
        let oid = moment.table(&table.name);
        let key = oid.and_then(|oid| keys.get(&oid)).unwrap_or(&none);
        questions.push(to_compare(snapshot, table, oid.is_some(), &structure, key));
        let name = table.name.clone();
        differences.push(TableDifference { name, structure, rows_added: 0, rows_removed: 0, rows_changed: 0 });
    }
    let answers = session.run(action, &questions)?;
    for (difference, rows) in differences.iter_mut().zip(answers) {
        let row = rows.first().ok_or_else(no_answer)?;
        difference.rows_added = row.number("added")?;
        difference.rows_removed = row.number("removed")?;
        difference.rows_changed = row.number("changed")?;
    }
    Ok(differences)
}

/// The columns of primary keys, by table.
fn keys(session: &Session, action: &str, moment: &Moment) -> Result<BTreeMap<u32, Vec<String>>> {
    let question = sql!(
        "SELECT i.indrelid::text AS object, a.attname AS name FROM pg_catalog.pg_index i \
         JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid \
         AND a.attnum = ANY ((i.indkey::pg_catalog.int2[])[0:i.indnkeyatts - 1]) WHERE i.indisprimary AND {}",
        one_of("i.indrelid", &moment.chosen.oids())
    );
    let mut keys = BTreeMap::<u32, Vec<String>>::new();
    for row in session.run(action, &[question])?.iter().flatten() {
        keys.entry(row.number("object")?).or_default().push(row.text("name")?);
    }
    Ok(keys)
}

/// Counts rows by what they say as text, so that columns of every type can be compared; a hash of 128 bits stands for
/// it.
fn to_compare(
    snapshot: &Snapshot,
    table: &SnapshotTable,
    is_there: bool,
    structure: &[StructureChange],
    key: &[String],
) -> Sql {
    if !is_there {
        return sql!("SELECT '0' AS added, {} AS removed, '0' AS changed", Lit(&table.rows.to_string()));
    }
    let differs = |column: &str| {
        structure.iter().any(|change| match change {
            StructureChange::ColumnGone(name) | StructureChange::ColumnType { column: name, .. } => name == column,
            _ => false,
        })
    };
    let same: Vec<StoredColumn> = table.columns.iter().filter(|column| !differs(&column.name)).cloned().collect();
    let row = list(&same);
    let in_both = !key.is_empty() && key.iter().all(|name| same.iter().any(|column| column.name == *name));
    let key = match in_both {
        true => Sql::join(key.iter().map(|name| sql!("{}", Ident(name))), ", "),
        false => row.clone(),
    };
    let side = |sign: i32, from: Sql| {
        sql!(
            "SELECT {} AS k1, {} AS k2, {} AS r1, {} AS r2, {} AS side FROM ONLY {}",
            hash(&key, 0),
            hash(&key, 1),
            hash(&row, 0),
            hash(&row, 1),
            sign,
            from
        )
    };
    sql!(
        "SELECT COALESCE(pg_catalog.sum(more - LEAST(more, less)), 0)::text AS added, \
         COALESCE(pg_catalog.sum(less - LEAST(more, less)), 0)::text AS removed, \
         COALESCE(pg_catalog.sum(LEAST(more, less)), 0)::text AS changed FROM (\
         SELECT COALESCE(pg_catalog.sum(n) FILTER (WHERE n > 0), 0) AS more, \
         COALESCE(- pg_catalog.sum(n) FILTER (WHERE n < 0), 0) AS less FROM (\
         SELECT k1, k2, pg_catalog.sum(side) AS n FROM ({} UNION ALL {}) rows_of_both \
         GROUP BY k1, k2, r1, r2 HAVING pg_catalog.sum(side) <> 0) unlike GROUP BY k1, k2) keys",
        side(1, sql!("{}", table.name)),
        side(-1, snapshot.copy_of(table))
    )
}

fn hash(columns: &Sql, seed: i32) -> Sql {
    sql!("pg_catalog.hashtextextended(ROW({})::text COLLATE pg_catalog.\"C\", {})", columns, seed)
}

fn sequences(session: &Session, action: &str, snapshot: &Snapshot, moment: &Moment) -> Result<Vec<SequenceDifference>> {
    let questions: Vec<Sql> = moment
        .chosen
        .sequences
        .iter()
        .map(|sequence| sql!("SELECT last_value::text, is_called::text FROM {}", sequence.name))
        .collect();
    let mut now = BTreeMap::new();
    let answers = if questions.is_empty() { Vec::new() } else { session.run(action, &questions)? };
    for (sequence, rows) in moment.chosen.sequences.iter().zip(answers) {
        now.insert(&sequence.name, value(&sequence.name, rows.first().ok_or_else(no_answer)?)?);
    }
    let pairs = snapshot
        .sequences
        .iter()
        .map(|then| SequenceDifference { then: then.clone(), now: now.get(&then.name).cloned() });
    Ok(pairs.filter(|pair| pair.now.as_ref() != Some(&pair.then)).collect())
}

fn value(name: &Name, row: &Row) -> Result<SnapshotSequence> {
    Ok(SnapshotSequence {
        name: name.clone(),
        last_value: row.number("last_value")?,
        is_called: row.truth("is_called")?,
    })
}
