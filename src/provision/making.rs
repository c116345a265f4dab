//! Making one client's database and role: all of it or nothing.
use super::password_file::PasswordFile;
use super::recipe::{Recipe, drop_role, take_public};
use super::state::{self, State};
use super::{ClientDatabase, LoadAs, Provision};
use crate::cancel::{self, Cancellation};
use crate::cluster::Cluster;
use crate::error::Result;
use crate::load;
use crate::password::Password;
use crate::script::Script;
use crate::session::Session;
use crate::sql::Sql;
use std::path::PathBuf;

/// What is to be made.
pub(super) struct Order<'p> {
    pub(super) provision: &'p Provision,
    pub(super) files: &'p [PathBuf],
    pub(super) passwords: Option<&'p PasswordFile>,
    pub(super) cancelled: Cancellation,
}

/// One who makes clients, one after the other, on a connection of its own.
pub(super) struct Maker<'p> {
    cluster: Cluster,
    order: &'p Order<'p>,
    recipe: Recipe<'p>,
}

/// What became of a client.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// It was made; the password, unless it is in the file.
    Made(Option<Password>),
    /// It was there.
    Skipped,
}

impl<'p> Maker<'p> {
    pub(super) fn new(cluster: &Cluster, order: &'p Order<'p>) -> Result<Self> {
        let cluster = cluster.worker()?;
        let recipe = Recipe::new(&cluster, order.provision)?;
        Ok(Self { cluster, order, recipe })
    }

    /// Makes a client, unless it is there; what was half made before is dropped, and so is what could not be
    /// completed now.
    pub(super) fn make(&self, client: &ClientDatabase) -> Result<Outcome> {
        let instead = match state::look_when_left(&self.cluster, client)? {
            State::Complete => return Ok(Outcome::Skipped),
            State::Taken(error) => return Err(error),
            State::Absent => None,
            half @ State::Half(_) => {
                state::claim(&self.cluster, client, &half)?;
                drop_database(&self.cluster, &client.database)?;
                Some(drop_role(client))
            }
        };
        let made = self.create_role(client, instead).and_then(|()| self.fill(client));
        made.map(Outcome::Made).map_err(|error| match cancel::in_any_case(|| self.undo(client)) {
            Ok(()) => error,
            Err(undo) => error.and(&format!("what is half made could not be dropped ({undo}); the next run will")),
        })
    }

    /// Makes the role, in place of one that was left half made.
    fn create_role(&self, client: &ClientDatabase, instead: Option<Sql>) -> Result<()> {
        let mut script = instead.map_or_else(Script::new, Script::from);
        script.append(self.recipe.create_role(client));
        run_atomically(self.cluster.session(), &format!("create role {:?}", client.role), &script)
    }

    /// Makes the database and what is in it, and completes the role last of all.
    fn fill(&self, client: &ClientDatabase) -> Result<Option<Password>> {
        let session = self.cluster.session();
        let action = format!("create database {:?}", client.database);
        let create = self.recipe.create_database(client);
        create.check()?;
        create.statements().try_for_each(|sql| session.run(&action, std::slice::from_ref(sql)).map(drop))?;
        run_atomically(session, &action, &self.recipe.open_database(client))?;
        self.load(client)?;
        self.order.cancelled.check(&action)?;
        let password = Password::generate()?;
        if let Some(file) = self.order.passwords {
            file.add(client, &password)?;
        }
        self.complete(client, &password)?;
        Ok(self.order.passwords.is_none().then_some(password))
    }

    /// Gives the schema `public` to the client, and runs the files.
    fn load(&self, client: &ClientDatabase) -> Result<()> {
        let session = self.cluster.session().beside(&client.database)?;
        if may_take_public(&session)? {
            run_atomically(&session, PUBLIC, &take_public(client))?;
        }
        let Order { provision, files, cancelled, .. } = self.order;
        if files.is_empty() {
            return Ok(());
        }
        let role = (provision.load_as == LoadAs::Client).then_some(client.role.as_str());
        load::load(&session, role, files, cancelled).map(drop)
    }

    fn complete(&self, client: &ClientDatabase, password: &Password) -> Result<()> {
        let script = self.recipe.complete(client, password);
        script.check()?;
        let statements: Vec<Sql> = script.statements().cloned().collect();
        state::change(&self.cluster, client, &State::Half(self.recipe.process.clone()), &statements)
    }

    /// Drops what this process made of a client.
    fn undo(&self, client: &ClientDatabase) -> Result<()> {
        match state::look(&self.cluster, client)? {
            // Again, because the connection may be another one by now.
            State::Half(process) if process == self.recipe.process => {
                state::claim(&self.cluster, client, &State::Half(process))?;
            }
            _ => return Ok(()),
        }
        drop_database(&self.cluster, &client.database)?;
        self.cluster.session().run(&format!("drop role {:?}", client.role), &[drop_role(client)]).map(drop)
    }
}

/// Drops a database if it is there, and ends the sessions in it.
pub(super) fn drop_database(cluster: &Cluster, name: &str) -> Result<()> {
    cluster.databases().refresh();
    match cluster.databases().find(name)? {
        Some(database) => database.drop_force(),
        None => Ok(()),
    }
}

/// What is done when `public` changes hands.
const PUBLIC: &str = "give schema \"public\" to the client's role";

/// Whether there is a schema `public`, and the current role may give it away.
fn may_take_public(session: &Session) -> Result<bool> {
    let question = sql!(
        "SELECT pg_catalog.pg_has_role(n.nspowner, 'USAGE')::text AS may FROM pg_catalog.pg_namespace n \
         WHERE n.nspname = 'public'"
    );
    let answers = session.run(PUBLIC, &[question])?;
    let may = answers.iter().flatten().next().map(|row| row.truth("may")).transpose()?;
    Ok(may == Some(true))
}

fn run_atomically(session: &Session, action: &str, script: &Script) -> Result<()> {
    script.check()?;
    let statements: Vec<Sql> = script.statements().cloned().collect();
    session.atomically(action, |transaction| transaction.send(&statements)).map(drop)
}
