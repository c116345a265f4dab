//! Taking snapshots, and looking at those that there are.
use super::index::{self, Contents, Snapshot, TABLES};
use super::moment::{Hold, LOOKING, Moment, TRIES, as_it_is, at_one_moment, bring_back, lock, put_away};
use super::name::schema_name;
use super::selection::{SnapshotOptions, choose};
use super::survey::{Survey, no_answer};
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::row::Row;
use crate::script::Script;
use crate::sql::{Lit, Sql};
use postgres::error::SqlState;

const ACTION: &str = "take a snapshot";

pub(super) fn take(cluster: &Cluster, options: &SnapshotOptions) -> Result<Snapshot> {
    sql!("{}", Lit(&options.label)).check()?;
    let chosen = |survey: &Survey| choose(survey, options);
    if let Some(plan) = cluster.plan_in_progress()? {
        let moment = as_it_is(cluster, ACTION, chosen)?;
        let name = schema_name(moment.now, &options.label, &moment.taken_names);
        let contents = contents(&name, &options.label, &moment);
        let mut script = Script::new();
        let mut statements = vec![sql!("BEGIN ISOLATION LEVEL REPEATABLE READ"), sql!("SET LOCAL row_security = off")];
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
    let Moment { now, chosen, columns, grantees, making, .. } = moment;
    Contents { schema, label, taken: *now, chosen, columns, grantees, making: *making }
}

pub(super) fn list(cluster: &Cluster) -> Result<Vec<Snapshot>> {
    read(cluster, index::schemas())
}

pub(super) fn get(cluster: &Cluster, name: &str) -> Result<Snapshot> {
    let one = sql!("{} AND n.nspname = {}", index::schemas(), Lit(name));
    read(cluster, one)?.pop().ok_or_else(|| Error::NotFound { what: format!("snapshot {name:?}") })
}

/// The newest first. It looks again when one of them was dropped meanwhile.
fn read(cluster: &Cluster, schemas: Sql) -> Result<Vec<Snapshot>> {
    let mut tried = 1;
    loop {
        match read_once(cluster, &schemas) {
            Err(error) if tried < TRIES && error.code() == Some(&SqlState::UNDEFINED_TABLE) => tried += 1,
            result => return result,
        }
    }
}

fn read_once(cluster: &Cluster, schemas: &Sql) -> Result<Vec<Snapshot>> {
    let (action, session) = ("read snapshots", cluster.session());
    let answers = session.run(action, std::slice::from_ref(schemas))?;
    let schemas: Vec<&Row> = answers.iter().flatten().collect();
    if schemas.is_empty() {
        return Ok(Vec::new());
    }
    let mut questions = vec![put_away(LOOKING)];
    for schema in &schemas {
        questions.extend(index::queries(&schema.text("schema")?));
    }
    questions.push(bring_back(LOOKING));
    let answers = match session.is_inside(action)? {
        // An error is to leave the transaction as it was.
        true => session.atomically(action, |transaction| transaction.send(&questions))?.0,
        false => session.run(action, &questions)?,
    };
    let pairs = schemas.iter().zip(answers.get(1..).unwrap_or_default().chunks(TABLES.len()));
    let mut snapshots = pairs.map(|(schema, answers)| index::read(schema, answers)).collect::<Result<Vec<_>>>()?;
    snapshots.sort_by(|a, b| (b.taken, &b.name).cmp(&(a.taken, &a.name)));
    Ok(snapshots)
}
