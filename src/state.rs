//! One connection: which side it is set for, which transactions are open, and the calls to the driver.
use crate::connect;
use crate::error::{Error, Result};
use crate::fate::{Mention, Moments, Within};
use crate::row::Row;
use crate::sides::{INSIDE, Side, name_moment, name_transaction, settings, whereabouts};
use crate::sql::Sql;
use crate::transaction::Level;
use postgres::error::SqlState;
use postgres::{Client, SimpleQueryMessage};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::thread::ThreadId;

/// A connection, and what is known of it.
pub(crate) struct State {
    /// None when it was lost, lent or given back.
    pub(crate) client: Option<Client>,
    pub(crate) pid: Arc<AtomicI32>,
    pub(crate) side: Side,
    pub(crate) levels: Vec<Level>,
    pub(crate) moments: Moments,
    /// Whether the user began a transaction by a statement of his own; none if he may have since it was asked.
    pub(crate) foreign: Option<bool>,
    /// The thread whose transaction is open.
    pub(crate) owner: Option<ThreadId>,
    /// How many turns of that thread are not over.
    pub(crate) turns: usize,
    pub(crate) gone: Option<Gone>,
    /// How often something was undone.
    pub(crate) undone: Arc<AtomicU64>,
}

/// Why there is no client.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Gone {
    Lost,
    Lent,
    GivenBack,
}

impl State {
    pub(crate) fn take(&mut self, gone: Gone) -> Option<Client> {
        if gone != Gone::Lent && self.moments.lose() {
            self.undone.fetch_add(1, Ordering::AcqRel);
        }
        self.gone = Some(gone);
        self.client.take()
    }

    /// Calls the driver; a connection that is lost is let go.
    pub(crate) fn call<R>(
        &mut self,
        action: &str,
        f: impl FnOnce(&mut Client) -> Result<R, postgres::Error>,
    ) -> Result<R> {
        let Some(client) = self.client.as_mut() else {
            return Err(Error::Connection { action: action.into(), reason: "the connection was lost".into() });
        };
        let result = f(client).map_err(|error| Error::driver(action, &error));
        let closed = client.is_closed();
        if closed || matches!(result, Err(Error::Connection { .. })) {
            self.take(Gone::Lost);
        }
        result
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.gone == Some(Gone::Lost)
    }

    pub(crate) fn side(&self) -> Side {
        self.side
    }

    /// What the settings are after a transaction ended: those from before it.
    pub(crate) fn fall_back_to(&mut self, side: Side) {
        if self.side != Side::Unknown {
            self.side = side;
        }
    }

    /// In which transaction the crate's own statements are now, if one is open.
    pub(crate) fn within(&self) -> Within {
        self.moments.current().or(self.levels.last().map(|level| &level.fate)).cloned()
    }

    /// Asks where the session is, and takes it in; returns whether something was undone.
    pub(crate) fn settle(&mut self, mention: Mention) -> Result<bool> {
        let answer = self.batch("look for what was undone", &[whereabouts()])?;
        let Some(row) = answer.iter().flatten().next() else { return Ok(false) };
        let (transaction, inside) = (row.text("transaction")?, row.truth("inside")?);
        let undone = self.moments.fall_back_to(&row.text("moment")?);
        if inside && self.is_expected(&transaction) {
            return Ok(undone);
        }
        if mention == Mention::Prepare {
            return Ok(self.moments.lose() || undone);
        }
        self.moments.keep();
        Ok(undone)
    }

    /// The name of the transaction of this crate's that is open, if statements of the user's run in it.
    fn transaction(&self) -> Option<&str> {
        self.levels.iter().filter(|level| level.opened).find_map(|level| level.name.as_deref())
    }

    /// Whether this is the name of the transaction that should be open.
    fn is_expected(&self, transaction: &str) -> bool {
        self.transaction().is_none_or(|name| name == transaction)
    }

    /// All settings were reset, and these names with them.
    pub(crate) fn set_names_again(&mut self) {
        let moment = self.moments.current_name().map(|name| sql!("SELECT {}", name_moment(&name)));
        let names: Vec<Sql> = moment.into_iter().chain(self.transaction().map(name_transaction)).collect();
        if names.is_empty() {
            return;
        }
        if let Err(error) = self.batch("name the moment", &names) {
            log::debug!("{error}");
        }
    }

    /// Sets the connection for the statements of one side or the other; no round trip when it is
    /// set so already. Inside a transaction the settings are local to it, so that its end brings
    /// back what the user had set.
    pub(crate) fn switch(&mut self, side: Side, action: &str) -> Result<()> {
        let known = self.side != Side::Unknown;
        if !known && !self.find_side(side, action)? {
            return Ok(());
        }
        // A side that was just found is set again: for the crate's own statements a new moment begins.
        if self.side == side && (known || side == Side::User) {
            return Ok(());
        }
        let moment = self.moments.next_name();
        let answer = match self.batch(action, &[settings(self.side, side, &moment, self.pid.load(Ordering::Acquire))]) {
            // Nothing but the user's own ROLLBACK can be said in a failed transaction, and it brings
            // back the settings from before.
            Err(error) if side == Side::User && failed(&error) => {
                self.side = Side::Unknown;
                return Ok(());
            }
            answer => answer?,
        };
        // No row: this is another server process than the one that was connected to.
        let Some(row) = answer.iter().flatten().next() else {
            self.take(Gone::Lost);
            return Err(connect::pooled());
        };
        let inside = row.truth("inside")?;
        let expected = inside && self.is_expected(&row.text("transaction")?);
        if self.levels.iter().any(|level| level.opened) && !expected {
            // What was set now was set for the session, and not for the transaction that there was.
            self.side = Side::Unknown;
            return Err(ended_early(action));
        }
        self.foreign = Some(inside && self.levels.first().is_none_or(|level| level.savepoint));
        self.side = side;
        if inside && side == Side::Own {
            self.moments.begin(self.levels.last().map(|level| level.fate.clone()));
        }
        Ok(())
    }

    /// Asks the server which side it is set for; false if it cannot say before the user's own ROLLBACK.
    pub(crate) fn find_side(&mut self, side: Side, action: &str) -> Result<bool> {
        let answer = match self.batch(action, &[whereabouts()]) {
            Err(error) if side == Side::User && failed(&error) => return Ok(false),
            answer => answer?,
        };
        let found = answer.iter().flatten().next().map(|row| row.text("side")).transpose()?;
        self.side = if found.as_deref() == Some("own") { Side::Own } else { Side::User };
        Ok(true)
    }

    /// Whether a transaction is open: one of this crate's, or one that the user began by a statement.
    pub(crate) fn is_inside(&mut self, action: &str) -> Result<bool> {
        if let (true, None) = (self.levels.is_empty(), self.foreign) {
            let answer = self.batch(action, &[sql!("SELECT {} AS inside", INSIDE)])?;
            let inside = answer.iter().flatten().next().map(|row| row.truth("inside")).transpose()?;
            self.foreign = Some(inside == Some(true));
        }
        Ok(!self.levels.is_empty() || self.foreign == Some(true))
    }

    /// Statements of the user's are about to run, which may begin or end a transaction.
    pub(crate) fn hand_over(&mut self, action: &str) -> Result<()> {
        self.switch(Side::User, action)?;
        self.foreign = None;
        Ok(())
    }

    /// Sends statements, as few round trips as can be, and returns the rows of each. All are
    /// checked before the first is sent.
    pub(crate) fn batch(&mut self, action: &str, statements: &[Sql]) -> Result<Vec<Vec<Row>>> {
        statements.iter().try_for_each(Sql::check)?;
        let mut answers = Vec::new();
        // The driver logs the text of a batch, but not that of a single typed statement.
        for group in statements.chunk_by(|a, b| !a.is_secret() && !b.is_secret()) {
            group.iter().for_each(|sql| log::debug!("{sql}"));
            match group {
                [secret] if secret.is_secret() => {
                    self.call(action, |client| client.execute_typed(secret.text(), &[]))?;
                    answers.push(Vec::new());
                }
                plain => {
                    let text: String = plain.iter().flat_map(|sql| [sql.text(), sql.end(), "\n"]).collect();
                    answers.extend(by_statement(self.call(action, |client| client.simple_query(&text))?));
                }
            }
        }
        Ok(answers)
    }
}

/// Whether the transaction has failed, and takes nothing but its end.
pub(crate) fn failed(error: &Error) -> bool {
    error.code() == Some(&SqlState::IN_FAILED_SQL_TRANSACTION)
}

/// The error for a closure that ended the transaction around it by a statement of its own.
pub(crate) fn ended_early(action: &str) -> Error {
    Error::invalid(
        format!("COMMIT or ROLLBACK inside an attempt to {action}"),
        "it ended the transaction early, and what came after it was made by itself",
    )
}

/// The rows of each statement of a batch.
fn by_statement(messages: Vec<SimpleQueryMessage>) -> Vec<Vec<Row>> {
    let mut answers = Vec::new();
    let mut rows = Vec::new();
    for message in messages {
        match message {
            SimpleQueryMessage::Row(row) => rows.push(row.into()),
            SimpleQueryMessage::CommandComplete(_) => answers.push(std::mem::take(&mut rows)),
            _ => {}
        }
    }
    answers
}
