//! Taking snapshots, and looking at those that there are.
use super::index::{self, Contents, Snapshot, TABLES};
use super::moment::{Hold, Moment, as_it_is, at_one_moment, lock};
use super::name::schema_name;
use super::selection::{SnapshotOptions, choose};
use super::survey::{Survey, no_answer};
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::row::Row;
use crate::script::Script;
use crate::sql::{Lit, Sql};

const ACTION: &str = "take a snapshot";

pub(super) fn take(cluster: &Cluster, options: &SnapshotOptions) -> Result<Snapshot> {
    sql!("{}", Lit(&options.label)).check()?;
    let chosen = |survey: &Survey| choose(survey, options);
    if let Some(plan) = cluster.plan_in_progress()? {
        let moment = as_it_is(cluster, ACTION, chosen)?;
        let name = schema_name(moment.now, &options.label, &moment.taken_names);
        let contents = contents(&name, &options.label, &moment);
        let mut script = Script::new();
        let mut statements = vec![sql!("BEGIN ISOLATION LEVEL REPEATABLE READ")];
        statements.extend(lock(&moment.chosen, "ACCESS SHARE"));
        statements.extend(contents.to_copy());
        statements.push(sql!("COMMIT"));
        statements.into_iter().for_each(|sql| script.add_alone(sql, Vec::new()));
        let options = options.clone();
        plan.record(script, move |cluster| take(cluster, &options).map(drop));
        return Ok(contents.planned(cluster.current_database(), &cluster.version().to_string()));
    }
    let session = cluster.session();
    let snapshot = at_one_moment(cluster, ACTION, Hold::Read, chosen, |moment| {
        let name = schema_name(moment.now, &options.label, &moment.taken_names);
        let mut statements = contents(&name, &options.label, moment).to_copy();
        let made = statements.len();
        statements.push(sql!("{} AND n.nspname = {}", index::schemas(), Lit(&name)));
        statements.extend(index::queries(&name));
        let mut answers = session.run(ACTION, &statements)?;
        let answers = answers.split_off(made.min(answers.len()));
        let (schema, answers) = answers.split_first().ok_or_else(no_answer)?;
        index::read(schema.first().ok_or_else(no_answer)?, answers)
    })?;
    cluster.refresh();
    Ok(snapshot)
}

fn contents<'a>(schema: &'a str, label: &'a str, moment: &'a Moment) -> Contents<'a> {
    let Moment { now, chosen, columns, grantees, .. } = moment;
    Contents { schema, label, taken: *now, chosen, columns, grantees }
}

pub(super) fn list(cluster: &Cluster) -> Result<Vec<Snapshot>> {
    read(cluster, index::schemas())
}

pub(super) fn get(cluster: &Cluster, name: &str) -> Result<Snapshot> {
    let one = sql!("{} AND n.nspname = {}", index::schemas(), Lit(name));
    read(cluster, one)?.pop().ok_or_else(|| Error::NotFound { what: format!("snapshot {name:?}") })
}

/// The newest first.
fn read(cluster: &Cluster, schemas: Sql) -> Result<Vec<Snapshot>> {
    let (action, session) = ("read snapshots", cluster.session());
    let answers = session.run(action, &[schemas])?;
    let schemas: Vec<&Row> = answers.iter().flatten().collect();
    let mut questions: Vec<Sql> = Vec::new();
    for schema in &schemas {
        questions.extend(index::queries(&schema.text("schema")?));
    }
    if questions.is_empty() {
        return Ok(Vec::new());
    }
    let answers = session.run(action, &questions)?;
    let pairs = schemas.iter().zip(answers.chunks(TABLES.len()));
    let mut snapshots = pairs.map(|(schema, answers)| index::read(schema, answers)).collect::<Result<Vec<_>>>()?;
    snapshots.sort_by(|a, b| (b.taken, &b.name).cmp(&(a.taken, &a.name)));
    Ok(snapshots)
}
