//! Tables as they were.
use super::index::{Contents, Snapshot, list};
use super::moment::{Hold, Moment, as_it_is, at_one_moment, lock};
use super::name::schema_name;
use super::structure::{StructureChange, changes_of, check_copies, check_rows, new_partitions, still_there};
use super::surroundings::{Surroundings, to_truncate};
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::name::Name;
use crate::script::Script;
use crate::sql::{Ident, Lit, Sql};
use std::collections::BTreeSet;

/// How [`Snapshots::revert`](super::Snapshots::revert) goes about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RevertOptions {
    /// What becomes of the rows that there are now. [`CurrentRows::Keep`] by default.
    pub current_rows: CurrentRows,
    /// What is done about columns that a table has got since. [`AddedColumns::Refuse`] by default.
    pub added_columns: AddedColumns,
}

impl RevertOptions {
    /// The defaults, which are the safe ones.
    pub fn new() -> Self {
        Self::default()
    }
}

/// What becomes of the rows that there are before a revert.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CurrentRows {
    /// They are copied into a snapshot first, in the same transaction, with the label `before_revert`.
    #[default]
    Keep,
    /// They are lost.
    Discard,
}

/// What is done about columns that the snapshot does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddedColumns {
    /// The revert is refused.
    #[default]
    Refuse,
    /// They take their default in every row.
    FillWithDefault,
}

/// What a revert did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RevertReport {
    /// The snapshot of what there was before, if that was kept.
    pub kept: Option<String>,
    /// How many tables were filled anew.
    pub tables: usize,
    /// How many rows they have now.
    pub rows: u64,
    /// Materialized views of these tables, also by way of other views. They still show the old rows:
    /// [`refresh_data`](crate::Object::refresh_data).
    pub stale_materialized_views: Vec<Name>,
}

pub(super) fn revert(cluster: &Cluster, snapshot: &Snapshot, options: &RevertOptions) -> Result<RevertReport> {
    let action = format!("revert to snapshot {:?}", snapshot.name);
    let session = cluster.session();
    let choose = |survey: &super::survey::Survey| Ok(still_there(snapshot, survey));
    if let Some(plan) = cluster.plan_in_progress()? {
        let moment = as_it_is(cluster, &action, choose)?;
        let surroundings = Surroundings::ask(session, &action, snapshot, &moment)?;
        let revert = Revert { snapshot, options, moment: &moment, surroundings: &surroundings };
        revert.check()?;
        let mut script = Script::new();
        let (kept, statements) = revert.statements();
        script.push(sql!("BEGIN"));
        script.push(sql!("SET LOCAL row_security = off"));
        lock(&moment.chosen, "ACCESS EXCLUSIVE").into_iter().for_each(|sql| script.push(sql));
        statements.into_iter().for_each(|sql| script.push(sql));
        script.push(sql!("COMMIT"));
        let (name, options) = (snapshot.name.clone(), options.clone());
        plan.record(script, move |cluster| cluster.snapshots().revert(&name, &options).map(drop));
        return Ok(revert.report(kept));
    }
    let report = at_one_moment(cluster, &action, Hold::Write, choose, |moment| {
        check_copies(session, &action, snapshot)?;
        check_rows(session, &action, snapshot)?;
        let surroundings = Surroundings::ask(session, &action, snapshot, moment)?;
        let revert = Revert { snapshot, options, moment, surroundings: &surroundings };
        revert.check()?;
        let (kept, statements) = revert.statements();
        session.run(&action, &statements)?;
        Ok(revert.report(kept))
    })?;
    cluster.refresh();
    Ok(report)
}

/// A revert, with all that it depends on.
struct Revert<'a> {
    snapshot: &'a Snapshot,
    options: &'a RevertOptions,
    moment: &'a Moment,
    surroundings: &'a Surroundings,
}

impl Revert<'_> {
    fn check(&self) -> Result<()> {
        if let Some(table) = self.surroundings.of_others.first() {
            return Err(Error::Denied {
                action: format!("revert to snapshot {:?}", self.snapshot.name),
                reason: format!("its owner, role {:?}, has no right to write to {table}", self.snapshot.owner),
                remedy: "look at what is in it; then make the owner of the table, or a superuser, its owner".into(),
            });
        }
        let problems = self.problems();
        match problems.is_empty() {
            true => Ok(()),
            false => Err(Error::invalid(format!("revert to snapshot {:?}", self.snapshot.name), problems.join("; "))),
        }
    }

    /// Why it cannot be done, all reasons at once.
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for table in &self.snapshot.tables {
            let changes = changes_of(table, self.moment).into_iter().filter(|change| match change {
                StructureChange::ColumnAdded(_) => self.options.added_columns == AddedColumns::Refuse,
                _ => true,
            });
            problems.extend(changes.map(|change| format!("table {} {change}", table.name)));
        }
        let partitions = new_partitions(self.snapshot, self.moment);
        problems.extend(partitions.iter().map(|name| {
            format!("table {name} has become a partition of a table in the snapshot, and is not in it: detach it first")
        }));
        problems.extend(self.surroundings.outside_keys(self.moment).iter().map(|key| {
            let (name, from, to) = (&key.name, &key.from.1, &key.to.1);
            format!(
                "table {from} refers to {to} (foreign key {name:?}) and is not in the snapshot: \
                 drop the key first, and add it again afterwards"
            )
        }));
        let there: BTreeSet<&Name> = self.moment.chosen.sequences.iter().map(|sequence| &sequence.name).collect();
        let gone = self.snapshot.sequences.iter().filter(|sequence| !there.contains(&sequence.name));
        problems.extend(gone.map(|sequence| format!("sequence {} does not exist any more", sequence.name)));
        problems
    }

    /// All that is sent once the tables are locked; and the snapshot of what there was, if there is one.
    fn statements(&self) -> (Option<String>, Vec<Sql>) {
        let mut statements = Vec::new();
        let kept = match self.options.current_rows {
            CurrentRows::Discard => None,
            CurrentRows::Keep => {
                let label = "before_revert";
                let name = schema_name(self.moment.now, label, &self.moment.taken_names);
                let contents = Contents {
                    schema: &name,
                    label,
                    taken: self.moment.now,
                    chosen: &self.moment.chosen,
                    columns: &self.moment.columns,
                    grantees: &self.moment.grantees,
                    making: self.moment.making,
                };
                statements.extend(contents.to_copy());
                Some(name)
            }
        };
        statements.extend(self.surroundings.switches.iter().map(|switch| switch.off()));
        statements.push(to_truncate(self.moment));
        statements.extend(self.to_fill());
        let deferrable = Sql::join(self.surroundings.deferrable.iter().map(|name| sql!("{}", name)), ", ");
        if !deferrable.is_empty() {
            // Now, because no trigger can be enabled while a check is waiting.
            statements.push(sql!("SET CONSTRAINTS {} IMMEDIATE", deferrable));
        }
        statements.extend(self.surroundings.switches.iter().map(|switch| switch.on()));
        statements.extend(self.to_set_sequences());
        (kept, statements)
    }

    /// Tables with foreign keys are filled by one statement: the keys are checked at its end, when all rows are there,
    /// in whatever circle they refer to each other.
    fn to_fill(&self) -> Vec<Sql> {
        let in_keys = self.surroundings.tied();
        let (mut statements, mut tied) = (Vec::new(), Vec::new());
        for table in &self.snapshot.tables {
            let columns = list(&table.columns);
            let names = if columns.is_empty() { Sql::default() } else { sql!("({}) ", columns) };
            let insert = sql!(
                "INSERT INTO {} {}OVERRIDING SYSTEM VALUE SELECT {} FROM ONLY {}",
                table.name,
                names,
                columns,
                self.snapshot.copy_of(table)
            );
            match self.moment.table(&table.name).is_some_and(|oid| in_keys.contains(&oid)) {
                true => tied.push(sql!("{} AS ({})", Ident(&table.number.to_string()), insert)),
                false => statements.push(insert),
            }
        }
        if !tied.is_empty() {
            statements.push(sql!("WITH {} SELECT", Sql::join(tied, ", ")));
        }
        statements
    }

    /// A rollback does not undo `setval`, but it does undo the new storage that RESTART gives a sequence.
    fn to_set_sequences(&self) -> Vec<Sql> {
        let mut statements = Vec::new();
        for sequence in &self.snapshot.sequences {
            let name = sql!("{}", sequence.name);
            statements.push(sql!("ALTER SEQUENCE {} RESTART WITH {}", name, sequence.last_value));
            if sequence.is_called {
                let value = sequence.last_value;
                statements.push(sql!("SELECT pg_catalog.setval({}, {}, true)", Lit(&name.to_string()), value));
            }
        }
        statements
    }

    fn report(&self, kept: Option<String>) -> RevertReport {
        RevertReport {
            kept,
            tables: self.snapshot.tables.len(),
            rows: self.snapshot.rows(),
            stale_materialized_views: self.surroundings.materialized_views.clone(),
        }
    }
}
