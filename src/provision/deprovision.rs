//! Taking the databases of clients away again.
use super::making::drop_database;
use super::planned::{self, Archive};
use super::state::{self, State};
use super::{ClientDatabase, check_clients};
use crate::cancel::{self, Cancellation};
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::sessions::Sessions;
use crate::sql::{Ident, Sql};

/// What became of the clients that were to go, each list in the order in which they were given.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct DeprovisionReport {
    /// Those whose database and role are gone.
    pub dropped: Vec<ClientDatabase>,
    /// Those of whom there was nothing.
    pub absent: Vec<ClientDatabase>,
    /// Those that could not be dropped, and why.
    pub failed: Vec<(ClientDatabase, Error)>,
    /// Those that were not tried, because it was cancelled ([`Canceller::cancel`](crate::Canceller::cancel)), or in a plan.
    pub not_tried: Vec<ClientDatabase>,
}

impl Cluster {
    /// Archives the database of each client, and drops it and its role; one after the other. The role cannot log in and
    /// the sessions in the database are ended before the closure is called, with a connection to that database, to
    /// archive it. Superusers, and roles that were given CONNECT besides, can still come in: what they write then is lost.
    /// If the closure fails, the role can log in again, and nothing is dropped; of a program that is killed meanwhile,
    /// the role is left without LOGIN. What [`provision`](Cluster::provision) left half made is dropped, and not archived.
    ///
    /// It can be called again, and goes on where a program that was killed left off.
    ///
    /// In a plan the closure is called for each database that would be archived, with a cluster of that plan, so that
    /// what it changes is collected, a [`backup`](Cluster::backup) too, and nobody is kept out. The report has
    /// nothing in `dropped` then, and in `not_tried` those that would be. Such a plan is there to be read:
    /// [`Plan::apply`](crate::Plan::apply) refuses it, because the closure cannot wait until then.
    ///
    /// # Errors
    /// [`Error::Invalid`] for names that no server would take, and in a transaction; [`Error::Unsupported`] on a
    /// connection that was handed in; in a plan those of the closure. What goes wrong with one client is in the report:
    /// [`Error::AlreadyExists`] for a database that does not belong to the client's role, or to which everybody may
    /// connect: `provision` did not make it so.
    pub fn deprovision(
        &self,
        clients: &[ClientDatabase],
        mut archive: impl FnMut(&ClientDatabase, &Cluster) -> Result<()>,
    ) -> Result<DeprovisionReport> {
        let mut archive = |client: &ClientDatabase| {
            let there = self.beside_in(&client.database)?;
            archive(client, &there)
        };
        self.deprovision_each(clients, Some(&mut archive))
    }

    /// Drops the database and the role of each client without an archive, as [`deprovision`](Cluster::deprovision) does
    /// with one: what is in the databases is lost. In a plan it is collected, and can be applied.
    ///
    /// # Errors
    /// As for [`deprovision`](Cluster::deprovision).
    pub fn deprovision_without_archive(&self, clients: &[ClientDatabase]) -> Result<DeprovisionReport> {
        self.deprovision_each(clients, None)
    }

    fn deprovision_each(
        &self,
        clients: &[ClientDatabase],
        mut archive: Option<Archive<'_>>,
    ) -> Result<DeprovisionReport> {
        check_clients(clients)?;
        if let Some(plan) = self.plan_in_progress()? {
            return planned::deprovision(self, plan, clients, archive);
        }
        self.check_outside("deprovision databases")?;
        let worker = self.worker()?;
        let mut report = DeprovisionReport::default();
        let cancelled = Cancellation::of(self.session().family());
        for client in clients.iter().cloned() {
            if cancelled.happened() {
                report.not_tried.push(client);
                continue;
            }
            self.disconnect_from(&client.database);
            match worker.deprovision_one(&client, &cancelled, &mut archive) {
                Ok(true) => report.dropped.push(client),
                Ok(false) => report.absent.push(client),
                Err(error) => report.failed.push((client, error)),
            }
        }
        self.refresh();
        Ok(report)
    }

    /// Returns whether there was something.
    fn deprovision_one(
        &self,
        client: &ClientDatabase,
        cancelled: &Cancellation,
        archive: &mut Option<Archive<'_>>,
    ) -> Result<bool> {
        // From its end on, the client is incomplete, and any later run knows it.
        match state::look_when_left(self, client)? {
            State::Absent => return Ok(false),
            State::Taken(error) => return Err(error),
            half @ State::Half(_) => state::claim(self, client, &half)?,
            State::Complete => self.close(client, cancelled, archive)?,
        }
        drop_database(self, &client.database)?;
        self.roles().refresh();
        self.roles().get(client.role.as_str())?.drop_after_terminating()?;
        Ok(true)
    }

    /// Keeps everybody out, archives, and makes the client this session's to drop; or lets its role log in again.
    fn close(
        &self,
        client: &ClientDatabase,
        cancelled: &Cancellation,
        archive: &mut Option<Archive<'_>>,
    ) -> Result<()> {
        self.roles().refresh();
        let login = self.roles().get(client.role.as_str())?.login;
        state::change(self, client, &State::Complete, &[])?;
        let archived = self.end_sessions_in(&client.database).and_then(|()| match archive {
            Some(archive) => archive(client),
            None => Ok(()),
        });
        let closed = archived.and_then(|()| cancelled.check(&format!("drop database {:?}", client.database)));
        let Err(error) = closed.and_then(|()| state::claim(self, client, &State::Complete)) else { return Ok(()) };
        let open: Vec<Sql> = login.then(|| sql!("ALTER ROLE {} LOGIN", Ident(&client.role))).into_iter().collect();
        match cancel::in_any_case(|| state::change(self, client, &State::Complete, &open)) {
            Ok(()) => Err(error),
            Err(login) => Err(error.and(&format!("its role cannot log in ({login})"))),
        }
    }

    fn end_sessions_in(&self, database: &str) -> Result<()> {
        let report = self.terminate(Sessions::new().databases([database]))?;
        match report.remaining.iter().chain(&report.refused).next() {
            None => Ok(()),
            Some(session) => Err(Error::Conflict {
                what: format!("database {database:?}"),
                mine: "to archive and drop it".into(),
                theirs: format!("process {}, whose session does not end or may not be ended", session.pid),
            }),
        }
    }
}
