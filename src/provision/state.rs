//! What there is of a client.
use super::ClientDatabase;
use super::mark::{mark, marked_by};
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::row::Row;
use crate::server_process::ServerProcess;
use crate::sql::{Ident, Lit, Sql};
use std::thread;
use std::time::{Duration, Instant};

/// How long to wait for a server process whose program was killed: it ends with the statement that it runs.
const PATIENCE: Duration = Duration::from_secs(30);

/// What there is of a client.
#[derive(Clone, Debug)]
pub(super) enum State {
    Absent,
    /// The role is there with the mark of a process, and the database or not.
    Half(ServerProcess),
    /// The database belongs to the role, and not everybody may connect to it.
    Complete,
    /// Something else has the name.
    Taken(Error),
}

/// What the server says of the two names.
struct Seen {
    role: bool,
    mark: Option<ServerProcess>,
    database: bool,
    owned: bool,
    open: bool,
}

/// What there is of a client now.
pub(super) fn look(cluster: &Cluster, client: &ClientDatabase) -> Result<State> {
    let answers = cluster.session().run(&format!("look for database {:?}", client.database), &[question(client)])?;
    let row = answers.iter().flatten().next();
    row.map_or(Ok(State::Absent), |row| Ok(Seen::read(client, row)?.judge(client)))
}

/// Runs statements about a client in one transaction, if it is as it was seen. Its role cannot log in from the first on,
/// and whoever else would change its state waits.
///
/// # Errors
/// [`Error::Conflict`] if somebody else changed it.
pub(super) fn change(cluster: &Cluster, client: &ClientDatabase, seen: &State, statements: &[Sql]) -> Result<()> {
    let (role, lock) = (&client.role, lock(client));
    cluster.session().atomically(&format!("change role {role:?}"), |transaction| {
        transaction.send(std::slice::from_ref(&lock))?;
        let answers = transaction.send(&[question(client)])?;
        let row = answers.iter().flatten().next();
        let now = row.map(|row| Seen::read(client, row)).transpose()?.map(|row| row.judge(client));
        match (seen, &now) {
            (State::Half(seen), Some(State::Half(now))) if seen == now => {}
            (State::Complete, Some(State::Complete)) => {}
            _ => {
                return Err(Error::Conflict {
                    what: format!("role {role:?}"),
                    mine: "to complete or drop it".into(),
                    theirs: "another state of it, or another process at work".into(),
                });
            }
        }
        transaction.send(statements)
    })?;
    Ok(())
}

/// Makes a client this session's to deal with: what it was left as, it is no longer for anybody else.
pub(super) fn claim(cluster: &Cluster, client: &ClientDatabase, seen: &State) -> Result<()> {
    change(cluster, client, seen, &[marking(client, &ServerProcess::own(cluster)?)])
}

/// The first statement of a change: it waits for others' changes, and lets others wait.
pub(super) fn lock(client: &ClientDatabase) -> Sql {
    sql!("ALTER ROLE {} NOLOGIN", Ident(&client.role))
}

/// Leaves the mark of a process.
pub(super) fn marking(client: &ClientDatabase, process: &ServerProcess) -> Sql {
    sql!("COMMENT ON ROLE {} IS {}", Ident(&client.role), Lit(&mark(&client.database, process)))
}

/// The question for it, with one row.
fn question(client: &ClientDatabase) -> Sql {
    sql!(
        "SELECT (r.oid IS NOT NULL)::text AS role, pg_catalog.shobj_description(r.oid, 'pg_authid') AS comment, \
         (d.oid IS NOT NULL)::text AS database, COALESCE(d.datdba = r.oid, false)::text AS owned, \
         COALESCE(pg_catalog.has_database_privilege('public', d.oid, 'CONNECT'), false)::text AS open \
         FROM (SELECT 1) one LEFT JOIN pg_catalog.pg_roles r ON r.rolname = {} \
         LEFT JOIN pg_catalog.pg_database d ON d.datname = {}",
        Lit(&client.role),
        Lit(&client.database)
    )
}

impl Seen {
    fn read(client: &ClientDatabase, row: &Row) -> Result<Self> {
        Ok(Self {
            role: row.truth("role")?,
            mark: marked_by(row.optional("comment")?.as_deref(), &client.database),
            database: row.truth("database")?,
            owned: row.truth("owned")?,
            open: row.truth("open")?,
        })
    }

    fn judge(self, client: &ClientDatabase) -> State {
        let Self { role, mark, database, owned, open } = self;
        let database_title = format!("database {:?}", client.database);
        let what = match (mark, database, role) {
            (None, false, false) => return State::Absent,
            (Some(process), false, _) => return State::Half(process),
            (Some(process), true, _) if owned => return State::Half(process),
            (None, true, _) if owned && !open => return State::Complete,
            (None, true, _) if owned => format!("{database_title}, to which everybody may connect,"),
            (_, true, true) => format!("{database_title}, which does not belong to role {:?},", client.role),
            (_, true, false) => database_title,
            (_, false, _) => format!("role {:?}", client.role),
        };
        State::Taken(Error::AlreadyExists { what })
    }
}

/// What there is of a client when nobody is at work on it: waits until it is complete or gone, or the process that left
/// its mark has ended.
///
/// # Errors
/// [`Error::Conflict`] if it is there still when the time is over: another program is at work.
pub(super) fn look_when_left(cluster: &Cluster, client: &ClientDatabase) -> Result<State> {
    let started = Instant::now();
    loop {
        let seen = look(cluster, client)?;
        let State::Half(process) = &seen else { return Ok(seen) };
        let answers = cluster.session().run("look for a server process", &[process.is_alive()])?;
        let row = answers.iter().flatten().next();
        if !row.map(|row| row.truth("alive")).transpose()?.unwrap_or(false) {
            return Ok(seen);
        }
        if started.elapsed() > PATIENCE {
            return Err(Error::Conflict {
                what: format!("database {:?}", client.database),
                mine: "to make or drop it".into(),
                theirs: format!("process {}, which is making or dropping it", process.pid),
            });
        }
        thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_half_made_is_told_from_what_is_somebody_elses() {
        let client = ClientDatabase::new("shop").role("app");
        let process = ServerProcess { pid: 7, began: "1".into() };
        let judge = |role, marked: bool, database, owned, open| {
            Seen { role, mark: marked.then(|| process.clone()), database, owned, open }.judge(&client)
        };
        assert!(matches!(judge(false, false, false, false, false), State::Absent));
        assert!(matches!(judge(true, true, false, false, false), State::Half(_)));
        assert!(matches!(judge(true, true, true, true, true), State::Half(_)));
        assert!(matches!(judge(true, false, true, true, false), State::Complete));
        for (taken, why) in [
            (judge(true, false, true, true, true), "everybody may connect"),
            (judge(true, true, true, false, false), "does not belong"),
            (judge(true, false, true, false, false), "does not belong"),
            (judge(false, false, true, false, true), "database \"shop\" exists"),
            (judge(true, false, false, false, false), "role \"app\" exists"),
        ] {
            let State::Taken(error) = taken else { panic!("{taken:?}") };
            assert!(error.to_string().contains(why), "{error}");
        }
    }
}
