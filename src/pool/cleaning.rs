//! What takes off a session all that its last user has left there.
use super::connection::{Connection, Setup};
use super::options::PoolOptions;
use crate::error::{Error, Result};
use crate::row::Row;
use crate::sides::INSIDE;
use crate::sql::{Ident, Sql};
use crate::state::failed;
use postgres::fallible_iterator::FallibleIterator;
use postgres::{Client, SimpleQueryMessage};
use std::time::{Duration, Instant};

/// How long a connection that came back has for a first sign of life: what its user has not read comes before it.
const PATIENCE: Duration = Duration::from_secs(5);

/// For how long after its last answer to the pool a connection is taken for one whose server can be reached.
const TRUST: Duration = Duration::from_secs(1);

/// What makes every session of a pool what it should be, as text that is sent in one message.
pub(super) struct Batches {
    anything: Batch,
    modules: Batch,
    /// For one that is another role's.
    reset: String,
}

struct Batch {
    /// For one that was just made.
    begin: String,
    /// For one that came back.
    clean: String,
}

impl Batches {
    pub(super) fn of(options: &PoolOptions) -> Self {
        let batch = |more: Vec<Sql>| {
            let setup = || options.session_setup.iter().cloned().chain(more.iter().cloned());
            Batch {
                begin: text(std::iter::once(preparation()).chain(setup())),
                clean: text(clean().into_iter().chain(setup())),
            }
        };
        let reset = text(reset(options.connect.role.as_deref()).into_iter());
        Self { anything: batch(Vec::new()), modules: batch(for_modules()), reset }
    }

    fn batch(&self, setup: Setup) -> &Batch {
        match setup {
            Setup::Anything => &self.anything,
            Setup::Modules => &self.modules,
        }
    }

    /// The first statements of a session: what looks at it later is prepared, since planning it takes longer than running it.
    /// Returns whose session it is then.
    pub(super) fn begin(&self, client: &mut Client, setup: Setup) -> Result<Roles> {
        const ACTION: &str = "set up a session for the pool";
        client.batch_execute(&self.batch(setup).begin).map_err(|error| Error::driver(ACTION, &error))?;
        look(client, &text(std::iter::once(look_at())), ACTION).map(|left| left.roles)
    }

    /// Makes a connection that came back as if it had just been made: one round trip, and one before it for a sign of life
    /// where something may be unread, or where it was out for long; that one alone has a time limit. Where a transaction was
    /// left open, or statements were prepared in SQL, more follow.
    ///
    /// # Errors
    /// When it is not clean, and must not be used again.
    pub(super) fn clean(&self, connection: &mut Connection) -> Result<()> {
        const ACTION: &str = "make a connection clean for its next user";
        let client = &mut connection.client;
        let batch = &self.batch(connection.known.setup).clean;
        let driver = |error: postgres::Error| Error::driver(ACTION, &error);
        if connection.known.may_be_unread || connection.known.answered.elapsed() >= TRUST {
            client.is_valid(PATIENCE).map_err(driver)?;
        }
        let found = look(client, batch, ACTION);
        // ROLLBACK outside of a transaction is a warning in the server's log.
        let is_inside = match &found {
            Ok(left) => left.inside,
            Err(error) => failed(error),
        };
        if is_inside {
            client.batch_execute("ROLLBACK").map_err(driver)?;
        }
        let left = match found {
            Ok(left) if !is_inside && left.roles == connection.known.roles => left,
            // The batch was undone, or was another role's.
            _ => {
                client.batch_execute(&self.reset).map_err(driver)?;
                look(client, batch, ACTION)?
            }
        };
        if left.inside {
            return Err(Error::Connection { action: ACTION.into(), reason: "a transaction does not end".into() });
        }
        if !left.prepared.is_empty() {
            let forget = left.prepared.iter().map(|name| sql!("DEALLOCATE {}", Ident(name)));
            client.batch_execute(&text(forget)).map_err(driver)?;
        }
        if left.temporary {
            connection.known.statements.end();
        }
        // What was listened to is not anymore, and what was heard is not for the next user.
        let heard = client.notifications().len();
        for _ in 0..heard {
            let _ = client.notifications().iter().next();
        }
        connection.known.may_be_unread = false;
        connection.known.answered = Instant::now();
        Ok(())
    }
}

/// Sends a batch that begins with a look, and says what that has found.
fn look(client: &mut Client, batch: &str, action: &str) -> Result<Left> {
    let answer = client.simple_query(batch).map_err(|error| Error::driver(action, &error))?;
    let mut left = Left::default();
    for message in answer {
        let row = match message {
            SimpleQueryMessage::Row(row) => Row::from(row),
            // The rows of other statements come behind that.
            SimpleQueryMessage::CommandComplete(_) => break,
            _ => continue,
        };
        left.inside = row.truth("inside")?;
        left.temporary = row.truth("temporary")?;
        left.roles =
            Roles { session: row.text("session_role")?, current: row.text("current_role")?, role: row.text("role")? };
        left.prepared.extend(Some(row.text("prepared")?).filter(|name| name != LOOK));
    }
    Ok(left)
}

/// What a user has left that the batch does not undo.
#[derive(Default)]
struct Left {
    /// Whether a transaction was open: then it undoes the batch too.
    inside: bool,
    /// Whether the session has a schema for temporary objects, which it has to its end once there was one: then the server
    /// does not notice when a table made there stands before one that a prepared statement means.
    temporary: bool,
    /// Which statements were prepared in SQL.
    prepared: Vec<String>,
    roles: Roles,
}

/// Whose session it is.
#[derive(Default, PartialEq)]
pub(super) struct Roles {
    session: String,
    /// The server refuses to name one that was dropped, also where there is another of its name now.
    current: String,
    /// What the setting `role` says.
    role: String,
}

/// The name of the look among the prepared statements.
const LOOK: &str = "pgsteward_left";

/// Prepares the look at a session: a row for each statement that was prepared in SQL, itself among them. A user who deallocates
/// everything takes it away, and the connection is closed for that.
fn preparation() -> Sql {
    sql!(
        "PREPARE {} AS SELECT {} AS inside, s.name AS prepared, session_user AS session_role, \
         current_user AS current_role, \
         pg_catalog.current_setting('role') AS role, \
         pg_catalog.pg_my_temp_schema() OPERATOR(pg_catalog.<>) 0 AS temporary, pg_catalog.pg_advisory_unlock_all() \
         FROM pg_catalog.pg_prepared_statement() AS s WHERE s.from_sql",
        Ident(LOOK),
        INSIDE
    )
}

fn look_at() -> Sql {
    sql!("EXECUTE {}", Ident(LOOK))
}

/// What [`DISCARD ALL`](https://www.postgresql.org/docs/current/sql-discard.html) stands for, without what it does to prepared
/// statements: the driver has some of its own. The look comes first, because only a message's first statement can tell
/// whether the transaction was there before it. It tells of the roles too, which are seldom other ones.
fn clean() -> [Sql; 6] {
    [
        look_at(),
        sql!("CLOSE ALL"),
        sql!("RESET ALL"),
        sql!("UNLISTEN *"),
        sql!("DISCARD TEMPORARY"),
        sql!("DISCARD SEQUENCES"),
    ]
}

/// `RESET ROLE` is for roles and databases that `ALTER ... SET role` gives another one.
fn reset(role: Option<&str>) -> [Sql; 2] {
    [
        sql!("RESET SESSION AUTHORIZATION"),
        role.map_or_else(|| sql!("RESET ROLE"), |role| sql!("SET ROLE {}", Ident(role))),
    ]
}

/// Names without a schema mean no user's object, and strings end where templates are told apart from them.
fn for_modules() -> Vec<Sql> {
    vec![sql!("SET search_path = ''"), sql!("SET standard_conforming_strings = on")]
}

fn text(statements: impl Iterator<Item = Sql>) -> String {
    statements.map(|sql| [sql.text(), sql.end(), "\n"].concat()).collect()
}
