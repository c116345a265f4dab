//! What has become of the tables of a snapshot since it was taken.
use super::index::{Snapshot, SnapshotTable};
use super::moment::Moment;
use super::selection::{Chosen, lock_order};
use super::survey::{Relation, Sort, StoredColumn, Survey, no_answer};
use crate::error::{Error, Result};
use crate::name::{Name, Printed};
use crate::session::Session;
use crate::sql::{Ident, Sql};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// How a table differs from what it was when a snapshot of it was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StructureChange {
    /// There is no table of that name any more.
    Gone,
    /// There is no table of that name any more; the one that was goes by this name now.
    Renamed(Name),
    /// A column is gone, was renamed, or is generated now.
    ColumnGone(String),
    /// There is a column that the snapshot does not have.
    ColumnAdded(String),
    /// A column is of another type, or has another type modifier.
    ColumnType {
        /// The column.
        column: String,
        /// Its type in the snapshot, as the server describes it.
        was: String,
        /// Its type now.
        is: String,
    },
}

impl fmt::Display for StructureChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("does not exist any more"),
            Self::Renamed(name) => write!(f, "is called {name} now"),
            Self::ColumnGone(column) => write!(f, "has no column {} to fill any more", Printed(column)),
            Self::ColumnAdded(column) => write!(f, "has a new column {}", Printed(column)),
            Self::ColumnType { column, was, is } => {
                write!(f, "has column {} of type {is}, which was {was}", Printed(column))
            }
        }
    }
}

/// Of what a snapshot holds, what there is now, under the same names.
pub(super) fn still_there(snapshot: &Snapshot, survey: &Survey) -> Chosen {
    let wanted = |names: &mut dyn Iterator<Item = &Name>, sort: Sort| -> Vec<Relation> {
        let by_name: BTreeMap<&Name, &Relation> = survey.relations.iter().map(|r| (&r.name, r)).collect();
        let found = names.filter_map(|name| by_name.get(name).copied()).filter(|relation| relation.sort == sort);
        found.cloned().collect()
    };
    let mut relations = wanted(&mut snapshot.partitioned.iter(), Sort::Partitioned);
    relations.extend(wanted(&mut snapshot.tables.iter().map(|table| &table.name), Sort::Table));
    relations.sort_by(|a, b| lock_order(a).cmp(&lock_order(b)));
    let held: BTreeSet<&Name> = snapshot.sequences.iter().map(|sequence| &sequence.name).collect();
    let sequences = survey.sequences.iter().filter(|sequence| held.contains(&sequence.name)).cloned().collect();
    Chosen { relations, skipped: Vec::new(), sequences }
}

/// How one table differs from what it was.
pub(super) fn changes_of(table: &SnapshotTable, moment: &Moment) -> Vec<StructureChange> {
    let Some(now) = moment.table(&table.name) else {
        let elsewhere = moment.survey.relations.iter().find(|relation| relation.oid == table.oid);
        return vec![match elsewhere.filter(|relation| relation.name != table.name) {
            Some(relation) => StructureChange::Renamed(relation.name.clone()),
            None => StructureChange::Gone,
        }];
    };
    let none = Vec::new();
    changes_between(&table.columns, moment.columns.get(&now).unwrap_or(&none))
}

fn changes_between(then: &[StoredColumn], now: &[StoredColumn]) -> Vec<StructureChange> {
    let named = |columns: &[StoredColumn], name: &str| columns.iter().find(|column| column.name == name).cloned();
    let lost = then.iter().filter_map(|was| match named(now, &was.name) {
        None => Some(StructureChange::ColumnGone(was.name.clone())),
        Some(is) if is.described != was.described => {
            Some(StructureChange::ColumnType { column: was.name.clone(), was: was.described.clone(), is: is.described })
        }
        Some(_) => None,
    });
    let new = now.iter().filter(|is| named(then, &is.name).is_none());
    lost.chain(new.map(|is| StructureChange::ColumnAdded(is.name.clone()))).collect()
}

/// Tables that became partitions of a partitioned table which the snapshot holds as a whole.
pub(super) fn new_partitions(snapshot: &Snapshot, moment: &Moment) -> Vec<Name> {
    let whole = moment.chosen.relations.iter().filter(|relation| relation.sort == Sort::Partitioned);
    let whole: BTreeSet<u32> = whole.map(|relation| relation.oid).collect();
    let held: BTreeSet<&Name> = snapshot.tables.iter().map(|table| &table.name).collect();
    let is_new = |part: &&Relation| {
        let belongs = part.sort != Sort::Partitioned && part.ancestors.iter().any(|oid| whole.contains(oid));
        belongs && !held.contains(&part.name)
    };
    moment.survey.relations.iter().filter(is_new).map(|part| part.name.clone()).collect()
}

/// Refuses a snapshot whose copies are not plain tables: to read another thing could run code of whoever made it.
/// They stay plain until the end of the transaction.
pub(super) fn check_copies(session: &Session, action: &str, snapshot: &Snapshot) -> Result<()> {
    let copies = Sql::join(snapshot.tables.iter().map(|table| sql!("ONLY {}", snapshot.copy_of(table))), ", ");
    if copies.is_empty() {
        return Ok(());
    }
    let plain = sql!(
        "SELECT c.relname AS name FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = {} AND (c.relkind NOT IN ('r', 't', 'i') OR c.relhasrules OR c.relrowsecurity)",
        crate::sql::Lit(&snapshot.name)
    );
    let answers = session.run(action, &[sql!("LOCK TABLE {} IN ACCESS SHARE MODE", copies), plain])?;
    let other = answers.get(1).ok_or_else(no_answer)?.first();
    match other.map(|row| row.text("name")).transpose()? {
        None => Ok(()),
        Some(name) => {
            let name = Ident(&name);
            let what = sql!("{}.{}", Ident(&snapshot.name), name);
            Err(Error::invalid(format!("snapshot {:?}", snapshot.name), format!("{what} is not a plain table")))
        }
    }
}

/// Refuses a snapshot from which somebody took rows, or to which he added some.
pub(super) fn check_rows(session: &Session, action: &str, snapshot: &Snapshot) -> Result<()> {
    let count = |table| sql!("SELECT pg_catalog.count(*)::text AS rows FROM ONLY {}", snapshot.copy_of(table));
    let questions: Vec<Sql> = snapshot.tables.iter().map(count).collect();
    for (table, rows) in snapshot.tables.iter().zip(session.run(action, &questions)?) {
        let rows: u64 = rows.first().ok_or_else(no_answer)?.number("rows")?;
        if rows != table.rows {
            let why = format!("its copy of table {} has {rows} rows, and should have {}", table.name, table.rows);
            return Err(Error::invalid(format!("snapshot {:?}", snapshot.name), why));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, described: &str) -> StoredColumn {
        let data_type = Name::new("pg_catalog", described);
        StoredColumn { name: name.into(), data_type, described: described.into(), collation: None }
    }

    #[test]
    fn changes_of_columns_are_named() {
        let then = [column("a", "int4"), column("b", "numeric(5,2)"), column("C", "text")];
        let now = [column("b", "numeric(5,1)"), column("C", "text"), column("d", "text")];
        let words: Vec<String> = changes_between(&then, &now).iter().map(ToString::to_string).collect();
        assert_eq!(
            words,
            [
                "has no column a to fill any more",
                "has column b of type numeric(5,1), which was numeric(5,2)",
                "has a new column d"
            ]
        );
        assert!(changes_between(&then, &then).is_empty());
    }
}
