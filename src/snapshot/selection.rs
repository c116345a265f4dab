//! Which tables and sequences a snapshot holds.
use super::pattern::TablePattern;
use super::survey::{Relation, SequenceEntry, Sort, Survey};
use crate::error::{Error, Result};
use crate::name::Name;
use std::collections::{BTreeMap, BTreeSet};

/// What a snapshot is to hold, and what it is called.
///
/// Without schemas and tables it holds all tables of the database, but those of extensions. A pattern that matches a
/// partitioned table is for all its partitions. Sequences come along that a chosen table owns or takes a default from,
/// and those that the schemas and patterns are for themselves.
///
/// ```
/// # fn main() -> pgsteward::Result<()> {
/// use pgsteward::snapshot::{SnapshotOptions, TablePattern};
/// let mut options = SnapshotOptions::new("before release 7");
/// options.schemas = vec!["app".into()];
/// options.except = vec![TablePattern::parse("app.audit_*")?];
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct SnapshotOptions {
    /// What it is for, in words: any text. As much of it as fits is in the name.
    pub label: String,
    /// The schemas whose tables are copied, as their names stand.
    pub schemas: Vec<String>,
    /// Tables that are copied, also from other schemas.
    pub tables: Vec<TablePattern>,
    /// Tables that are not copied in any case, such as those that only grow.
    pub except: Vec<TablePattern>,
}

impl SnapshotOptions {
    /// All tables of the database.
    pub fn new(label: impl Into<String>) -> Self {
        Self { label: label.into(), ..Self::default() }
    }
}

/// What was chosen, in the order in which it is locked.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Chosen {
    /// Partitioned tables of which every partition was chosen; then the tables.
    pub(super) relations: Vec<Relation>,
    /// Foreign tables: there is nothing here that could be copied.
    pub(super) skipped: Vec<Name>,
    pub(super) sequences: Vec<SequenceEntry>,
}

impl Chosen {
    pub(super) fn tables(&self) -> impl Iterator<Item = &Relation> {
        self.relations.iter().filter(|relation| relation.sort == Sort::Table)
    }

    pub(super) fn oids(&self) -> Vec<u32> {
        self.relations.iter().map(|relation| relation.oid).collect()
    }
}

/// Chooses among all that there is.
pub(super) fn choose(survey: &Survey, options: &SnapshotOptions) -> Result<Chosen> {
    let all = options.schemas.is_empty() && options.tables.is_empty();
    let included = |name: &Name| {
        options.schemas.contains(&name.schema) || options.tables.iter().any(|pattern| pattern.matches(name))
    };
    let excluded = |name: &Name| options.except.iter().any(|pattern| pattern.matches(name));
    let by_oid: BTreeMap<u32, &Name> = survey.relations.iter().map(|relation| (relation.oid, &relation.name)).collect();
    let picked = |relation: &&Relation| {
        let mut names: Vec<&Name> = relation.ancestors.iter().filter_map(|oid| by_oid.get(oid).copied()).collect();
        names.push(&relation.name);
        !names.iter().any(|name| excluded(name))
            && (names.iter().any(|name| included(name)) || all && !relation.of_extension)
    };
    let picked: Vec<&Relation> = survey.relations.iter().filter(picked).collect();
    refuse_empty(options, &picked)?;
    let oids: BTreeSet<u32> = picked.iter().map(|relation| relation.oid).collect();
    let left_out = |part: &&Relation| part.sort == Sort::Foreign || !oids.contains(&part.oid);
    let not_whole: BTreeSet<&u32> = survey.relations.iter().filter(left_out).flat_map(|part| &part.ancestors).collect();
    let kept = picked.iter().filter(|relation| match relation.sort {
        Sort::Partitioned => !not_whole.contains(&relation.oid),
        Sort::Table => true,
        Sort::Foreign => false,
    });
    let mut relations: Vec<Relation> = kept.map(|relation| Relation::clone(relation)).collect();
    relations.sort_by(|a, b| lock_order(a).cmp(&lock_order(b)));
    let skipped = picked.iter().filter(|relation| relation.sort == Sort::Foreign);
    let skipped = skipped.map(|relation| relation.name.clone()).collect();
    let belongs = |sequence: &&SequenceEntry| {
        let tied = sequence.tables.iter().any(|table| oids.contains(table));
        let apart = sequence.tables.is_empty() && !excluded(&sequence.name);
        tied || apart && (included(&sequence.name) || all && !sequence.of_extension)
    };
    let sequences = survey.sequences.iter().filter(belongs).cloned().collect();
    Ok(Chosen { relations, skipped, sequences })
}

/// Partitioned tables before their partitions, as those who write through them take the locks; else by name.
pub(super) fn lock_order(relation: &Relation) -> (Sort, usize, &Name) {
    let depth = if relation.sort == Sort::Partitioned { relation.ancestors.len() } else { 0 };
    (relation.sort, depth, &relation.name)
}

/// A schema or a pattern without a table is most likely misspelt.
fn refuse_empty(options: &SnapshotOptions, picked: &[&Relation]) -> Result<()> {
    let nothing = |what: String| Err(Error::NotFound { what });
    if let Some(schema) = options.schemas.iter().find(|schema| !picked.iter().any(|r| r.name.schema == **schema)) {
        return nothing(format!("any table to copy in schema {schema:?}"));
    }
    if let Some(pattern) = options.tables.iter().find(|pattern| !picked.iter().any(|r| pattern.matches(&r.name))) {
        return nothing(format!("any table to copy named {pattern}"));
    }
    match picked.iter().any(|relation| relation.sort == Sort::Table) {
        true => Ok(()),
        false => nothing("any table to copy".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relation(oid: u32, name: &str, sort: Sort, ancestors: &[u32]) -> Relation {
        Relation { oid, name: name.into(), sort, ancestors: ancestors.to_vec(), of_extension: oid > 90 }
    }

    fn survey() -> Survey {
        let sequence = |name: &str, tables: &[u32]| SequenceEntry {
            oid: 0,
            name: name.into(),
            tables: tables.to_vec(),
            of_extension: false,
        };
        Survey {
            relations: vec![
                relation(1, "app.orders", Sort::Partitioned, &[]),
                relation(2, "app.orders_1", Sort::Table, &[1]),
                relation(3, "other.orders_2", Sort::Table, &[1]),
                relation(4, "app.audit_log", Sort::Table, &[]),
                relation(5, "app.auditxlog", Sort::Table, &[]),
                relation(6, "other.t", Sort::Table, &[]),
                relation(7, "app.remote", Sort::Foreign, &[]),
                relation(99, "app.of_extension", Sort::Table, &[]),
            ],
            sequences: vec![sequence("app.orders_id", &[1]), sequence("app.alone", &[]), sequence("other.t_id", &[6])],
        }
    }

    fn names(options: &SnapshotOptions) -> Vec<String> {
        let chosen = choose(&survey(), options).unwrap();
        chosen.relations.iter().map(|relation| relation.name.to_string()).collect()
    }

    fn options(schemas: &[&str], tables: &[&str], except: &[&str]) -> SnapshotOptions {
        let patterns = |texts: &[&str]| texts.iter().map(|text| TablePattern::parse(text).unwrap()).collect();
        SnapshotOptions {
            label: String::new(),
            schemas: schemas.iter().map(|schema| schema.to_string()).collect(),
            tables: patterns(tables),
            except: patterns(except),
        }
    }

    #[test]
    fn all_tables_are_chosen_in_the_order_of_locks() {
        let everything = names(&options(&[], &[], &[]));
        let expected = ["app.orders", "app.audit_log", "app.auditxlog", "app.orders_1", "other.orders_2", "other.t"];
        assert_eq!(everything, expected);
        let chosen = choose(&survey(), &options(&[], &[], &[])).unwrap();
        assert_eq!(chosen.skipped, [Name::from("app.remote")]);
        assert_eq!(chosen.sequences.len(), 3);
    }

    #[test]
    fn p083_an_underscore_in_an_exclusion_excludes_nothing_else() {
        let left = names(&options(&["app"], &[], &["app.audit_log"]));
        assert_eq!(left, ["app.orders", "app.auditxlog", "app.of_extension", "app.orders_1", "other.orders_2"]);
    }

    #[test]
    fn a_partitioned_table_stands_for_its_partitions_unless_one_is_left_out() {
        assert_eq!(names(&options(&[], &["app.orders"], &[])), ["app.orders", "app.orders_1", "other.orders_2"]);
        assert_eq!(names(&options(&[], &["app.orders"], &["other.*"])), ["app.orders_1"]);
        let chosen = choose(&survey(), &options(&[], &["app.orders"], &[])).unwrap();
        assert_eq!(chosen.sequences.len(), 1);
    }

    #[test]
    fn what_chooses_nothing_is_an_error() {
        for wrong in [
            options(&["ap"], &[], &[]),
            options(&["app"], &["app.nothing*"], &[]),
            options(&[], &["app.remote"], &[]),
            options(&[], &[], &["*.*"]),
        ] {
            assert!(matches!(choose(&survey(), &wrong), Err(Error::NotFound { .. })), "{wrong:?}");
        }
    }
}
