//! What a plan prints of clients, and what it does when it is applied.
use super::recipe::{Recipe, drop_role, take_public};
use super::state::{self, State};
use super::{ClientDatabase, DeprovisionReport, LoadAs, Provision, ProvisionReport, password_file};
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::kinds::{Database, Role};
use crate::password::Password;
use crate::plan::Recorder;
use crate::script::Script;
use crate::server_process::ServerProcess;
use crate::sessions::Sessions;
use crate::sql::Sql;
use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;

/// Collects what would be sent for each client that is not there. A client that another process is making counts as
/// left half made. The files come with how many statements they have.
pub(super) fn provision(
    cluster: &Cluster,
    plan: &Recorder,
    provision: &Provision,
    files: &[(PathBuf, u64)],
) -> Result<ProvisionReport> {
    provision.password_file.as_deref().map_or(Ok(()), password_file::check_absent)?;
    let recipe = Recipe::new(cluster, provision)?;
    // The real ones are made when it is applied; nobody knows this one.
    let password = Password::generate()?;
    let mut report = ProvisionReport::default();
    for client in &provision.clients {
        let mut script = match state::look(cluster, client)? {
            State::Complete => {
                report.skipped.push(client.clone());
                continue;
            }
            State::Taken(error) => {
                report.failed.push((client.clone(), error));
                continue;
            }
            State::Absent => Script::new(),
            State::Half(_) => {
                let mut script = drop_half(cluster, client, &recipe.process)?;
                script.push(drop_role(client));
                script
            }
        };
        script.append(recipe.create_role(client));
        script.append(recipe.create_database(client));
        script.append(recipe.open_database(client));
        // All of them are made at once, by the first step.
        match report.not_tried.is_empty() {
            true => {
                let provision = provision.clone();
                plan.record(script, move |cluster| apply(cluster, &provision));
            }
            false => plan.record_rest(script),
        }
        plan.elsewhere(&client.database).record_rest(inside(&recipe, provision.load_as, files, client));
        plan.record_rest(recipe.complete(client, &password));
        show(cluster, provision, client)?;
        report.not_tried.push(client.clone());
    }
    Ok(report)
}

/// Shows what is planned in the plan's own collections.
fn show(cluster: &Cluster, provision: &Provision, client: &ClientDatabase) -> Result<()> {
    let (mut role, mut database) = (provision.role.clone(), provision.database.clone());
    (role.name, role.login) = (client.role.clone(), true);
    (database.name, database.owner) = (client.database.clone(), client.role.clone());
    cluster.roles().planned(role)?;
    cluster.databases().planned(database).map(drop)
}

/// What is done in the client's database.
fn inside(recipe: &Recipe<'_>, load_as: LoadAs, files: &[(PathBuf, u64)], client: &ClientDatabase) -> Script {
    let mut script = if recipe.may_take_public() { take_public(client) } else { Script::new() };
    let role = match load_as {
        LoadAs::Client => format!("as role {:?}, ", client.role),
        LoadAs::Connected => String::new(),
    };
    for (path, count) in files {
        let statements = if *count == 1 { "statement" } else { "statements" };
        script.push(comment(&format!("{role}in one transaction: {path:?} ({count} {statements})")));
    }
    script
}

/// A line break would end it.
fn comment(text: &str) -> Sql {
    Sql::trusted(format!("-- {}", text.replace(|c: char| c.is_control(), "\u{FFFD}")))
}

/// Makes what was planned. The report is lost here, and so would be the passwords in it.
fn apply(cluster: &Cluster, provision: &Provision) -> Result<()> {
    if provision.password_file.is_none() {
        let why = "the passwords would be handed out to nobody; make the plan with a password file";
        return Err(Error::invalid("plan to provision databases", why));
    }
    let report = cluster.provision(provision, |_| ControlFlow::Continue(()))?;
    all_or_error("make", &report.failed, report.not_tried.len())
}

/// The first error of a report.
fn all_or_error(verb: &str, failed: &[(ClientDatabase, Error)], not_tried: usize) -> Result<()> {
    match failed.first() {
        Some((client, error)) => {
            let (name, count) = (&client.database, failed.len());
            let words = format!("this is of database {name:?}; in all {count} failed, {not_tried} were not tried");
            Err(error.clone().and(&words))
        }
        None if not_tried > 0 => {
            let why = io::Error::new(io::ErrorKind::Interrupted, "it was cancelled");
            Err(Error::io(format!("{verb} the databases of {not_tried} clients"), why))
        }
        None => Ok(()),
    }
}

/// What archives a client: in a plan, what it would change is collected.
pub(super) type Archive<'a> = &'a mut dyn FnMut(&ClientDatabase) -> Result<()>;

/// Collects what would be sent for each client that is there, and what its archive says that it would do.
pub(super) fn deprovision(
    cluster: &Cluster,
    plan: &Recorder,
    clients: &[ClientDatabase],
    mut archive: Option<Archive<'_>>,
) -> Result<DeprovisionReport> {
    cluster.databases().load_for_plan()?;
    cluster.roles().load_for_plan()?;
    let process = ServerProcess::own(cluster)?;
    let mut report = DeprovisionReport::default();
    for client in clients {
        let complete = match state::look(cluster, client)? {
            State::Absent => {
                report.absent.push(client.clone());
                continue;
            }
            State::Taken(error) => {
                report.failed.push((client.clone(), error));
                continue;
            }
            State::Half(_) => false,
            State::Complete => true,
        };
        let begin = if complete { close(client) } else { Script::new() };
        let mut rest = drop_half(cluster, client, &process)?;
        rest.append(cluster.roles().get(client.role.as_str())?.to_drop_after_terminating(cluster.version()));
        match report.not_tried.is_empty() {
            true => {
                let (clients, archives) = (clients.to_vec(), archive.is_some());
                plan.record(begin, move |cluster| apply_deprovision(cluster, &clients, archives));
            }
            false => plan.record_rest(begin),
        }
        if let Some(archive) = archive.as_mut().filter(|_| complete) {
            archive(client)?;
        }
        plan.record_rest(rest);
        cluster.gone::<Database>(&client.database);
        cluster.gone::<Role>(&client.role);
        report.not_tried.push(client.clone());
    }
    Ok(report)
}

/// Keeps everybody out.
fn close(client: &ClientDatabase) -> Script {
    let mut script = Script::from(state::lock(client));
    let sessions = Sessions::new().databases([client.database.as_str()]);
    script.add_alone(sessions.to_terminate(), Vec::new());
    script
}

/// Makes a client this session's to drop, and drops its database, if there is one.
fn drop_half(cluster: &Cluster, client: &ClientDatabase, process: &ServerProcess) -> Result<Script> {
    let mut script = Script::from(state::lock(client));
    script.push(state::marking(client, process));
    if let Some(database) = cluster.databases().find(client.database.as_str())? {
        script.append(database.to_drop_force(cluster.version()));
    }
    Ok(script)
}

fn apply_deprovision(cluster: &Cluster, clients: &[ClientDatabase], archives: bool) -> Result<()> {
    if archives {
        let why = "an archive of one's own cannot wait until a plan is applied; call deprovision itself";
        return Err(Error::invalid("plan to deprovision databases", why));
    }
    let report = cluster.deprovision_without_archive(clients)?;
    all_or_error("drop", &report.failed, report.not_tried.len())
}
