//! What can go wrong, by what the caller can do next.
use postgres::error::SqlState;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of this crate.
///
/// `{}` and `{:?}` print one whole sentence that says what was being done, to what, and why it
/// failed, so that `fn main() -> Result<()>` ends in words; `{:#?}` prints the structure.
/// No variant ever holds a password or a verifier.
#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such object.
    #[error("{what} does not exist")]
    NotFound {
        /// The kind and the name: `role "app"`.
        what: String,
    },
    /// There is such an object already.
    #[error("{what} exists already")]
    AlreadyExists {
        /// The kind and the name: `role "app"`.
        what: String,
    },
    /// The object is no longer the one that was read, or somebody else changed what is being
    /// changed. Nothing was changed; `refresh()` the object, look, and decide again.
    #[error("{what} was changed by somebody else: this change is {mine}, but the server has {theirs}")]
    Conflict {
        /// The kind and the name: `role "app"`.
        what: String,
        /// What was to be done, in words or as SQL.
        mine: String,
        /// What the server has now, in words or as SQL; for a file with the differences.
        theirs: String,
    },
    /// Others use it at this moment. Nothing was changed; once they are gone, the same will do.
    #[error("cannot {action}: {what} is in use ({code}) by {by}. Hint: end these first", code = SqlState::OBJECT_IN_USE.code())]
    InUse {
        /// What was being done: `create database "copy"`.
        action: String,
        /// What is in use: `database "shop"`.
        what: String,
        /// Who uses it: sessions, prepared transactions.
        by: String,
    },
    /// The server cannot do this.
    #[error("{what} is not supported: it needs {needs}")]
    Unsupported {
        /// What was asked for.
        what: String,
        /// What it would take: `PostgreSQL 13`.
        needs: String,
    },
    /// The current role lacks a right.
    #[error("cannot {action}: {reason} ({code}). Hint: {remedy}", code = SqlState::INSUFFICIENT_PRIVILEGE.code())]
    Denied {
        /// What was being done: `alter role "app"`.
        action: String,
        /// The server's words.
        reason: String,
        /// Which right is missing, and how to get it.
        remedy: String,
    },
    /// The input is wrong. Nothing was sent.
    #[error("invalid {what}: {why}")]
    Invalid {
        /// What was given: `name "..."`.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// A rule of pg_hba.conf is wrong. Nothing was sent.
    #[error("cannot read {file}, line {line}, column {column}: {problem}")]
    Hba {
        /// The file, as the server names it; `the rule` or `the address` for one that was given as text; and for a content
        /// that is not in the file, what it is: `the new rules for "/path"`, or `the copy "/path"` to be restored.
        file: String,
        /// The line in it, from 1.
        line: usize,
        /// Where in the line, in characters from 1.
        column: usize,
        /// What is wrong, and what was expected.
        problem: String,
    },
    /// The server refused.
    #[error("{}{cause}", before(action, &cause.message))]
    Server {
        /// What was being done: `alter role "app"`.
        action: String,
        /// The server's message.
        cause: Box<ServerMessage>,
    },
    /// There is no connection: none could be made, or it was lost. Outside a transaction the next
    /// call connects anew.
    #[error("cannot {action}: {reason}")]
    Connection {
        /// What was being done: `connect to host=db port=5432`.
        action: String,
        /// What happened to the connection.
        reason: String,
    },
    /// A program failed, on the server or (`pg_dump`) on this machine.
    #[error("{command} {failure}{}", after_colon(stderr))]
    OsCommand {
        /// The command.
        command: String,
        /// How it ended: `ended with exit code 1`.
        failure: String,
        /// The exit code, where it had one.
        exit_code: Option<i32>,
        /// What it printed on standard error, without the final newline.
        stderr: String,
    },
    /// A file, a stream or a local program failed.
    #[error("cannot {action}: {cause}")]
    Io {
        /// What was being done: `read "/etc/x"`.
        action: String,
        /// The operating system's error.
        #[source]
        cause: Arc<io::Error>,
    },
}

/// An error message of the server
/// ([Error and Notice Message Fields](https://www.postgresql.org/docs/current/protocol-error-fields.html)).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerMessage {
    /// The primary message, in the server's language.
    pub message: String,
    /// The SQLSTATE.
    pub code: SqlState,
    /// The detail, if any.
    pub detail: Option<String>,
    /// The hint, if any.
    pub hint: Option<String>,
    /// The server's source routine that reported it; unlike the message it is never translated.
    pub routine: Option<String>,
}

impl fmt::Display for ServerMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code.code())?;
        if let Some(detail) = &self.detail {
            write!(f, ". Detail: {detail}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, ". Hint: {hint}")?;
        }
        Ok(())
    }
}

impl From<&postgres::error::DbError> for ServerMessage {
    fn from(error: &postgres::error::DbError) -> Self {
        Self {
            message: error.message().into(),
            code: error.code().clone(),
            detail: error.detail().map(Into::into),
            hint: error.hint().map(Into::into),
            routine: error.routine().map(Into::into),
        }
    }
}

/// An error of the driver, in code of the caller's own.
impl From<postgres::Error> for Error {
    fn from(error: postgres::Error) -> Self {
        Self::driver("run the caller's code", &error)
    }
}

impl Error {
    /// The SQLSTATE, where the server gave one
    /// ([PostgreSQL Error Codes](https://www.postgresql.org/docs/current/errcodes-appendix.html)).
    pub fn code(&self) -> Option<&SqlState> {
        match self {
            Self::Server { cause, .. } => Some(&cause.code),
            Self::Denied { .. } => Some(&SqlState::INSUFFICIENT_PRIVILEGE),
            Self::InUse { .. } => Some(&SqlState::OBJECT_IN_USE),
            _ => None,
        }
    }

    /// Whether an object is missing: the one asked for, or one that a change named (a new owner, say).
    pub fn is_not_found(&self) -> bool {
        const MISSING: [SqlState; 6] = [
            SqlState::UNDEFINED_OBJECT,
            SqlState::UNDEFINED_TABLE,
            SqlState::UNDEFINED_FUNCTION,
            SqlState::INVALID_SCHEMA_NAME,
            SqlState::INVALID_CATALOG_NAME,
            SqlState::UNDEFINED_COLUMN,
        ];
        matches!(self, Self::NotFound { .. }) || self.code().is_some_and(|code| MISSING.contains(code))
    }

    /// Whether the object is no longer the one that was read.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict { .. })
    }

    /// Whether the server refused only because of what others were doing at that moment, so that
    /// the same change may well succeed when tried again.
    pub(crate) fn is_transient(&self) -> bool {
        let Self::Server { cause, .. } = self else { return false };
        match &cause.code {
            code if *code == SqlState::T_R_DEADLOCK_DETECTED || *code == SqlState::LOCK_NOT_AVAILABLE => true,
            // The message is translated, the routine is not.
            code if *code == SqlState::INTERNAL_ERROR => matches!(
                cause.routine.as_deref(),
                Some("simple_heap_update" | "simple_heap_delete" | "CatalogTupleUpdate" | "DropRole")
            ),
            _ => false,
        }
    }

    /// The same error, with what came after it.
    pub(crate) fn and(mut self, words: &str) -> Self {
        let text = match &mut self {
            Self::Conflict { theirs: text, .. }
            | Self::Unsupported { needs: text, .. }
            | Self::Denied { reason: text, .. }
            | Self::InUse { by: text, .. }
            | Self::Invalid { why: text, .. }
            | Self::Connection { reason: text, .. }
            | Self::OsCommand { failure: text, .. }
            | Self::Hba { problem: text, .. }
            | Self::NotFound { what: text }
            | Self::AlreadyExists { what: text }
            | Self::Io { action: text, .. } => text,
            Self::Server { cause, .. } => &mut cause.message,
        };
        // Behind differences, the words are a line of their own.
        text.push_str(if text.contains('\n') { "\n" } else { "; " });
        text.push_str(words);
        self
    }

    pub(crate) fn invalid(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Invalid { what: what.into(), why: why.into() }
    }

    pub(crate) fn unsupported(what: impl Into<String>, needs: impl Into<String>) -> Self {
        Self::Unsupported { what: what.into(), needs: needs.into() }
    }

    pub(crate) fn io(action: impl Into<String>, cause: io::Error) -> Self {
        Self::Io { action: action.into(), cause: Arc::new(cause) }
    }

    /// An error of the driver, told by what was being done.
    pub(crate) fn driver(action: &str, error: &postgres::Error) -> Self {
        let action = action.to_owned();
        let Some(db) = error.as_db_error() else {
            return match of_the_connection(error) {
                true => Self::Connection { action, reason: chain(error) },
                false if error.to_string().starts_with("unexpected message") => Self::invalid(
                    format!("COPY in an attempt to {action}"),
                    "its data needs the driver's own calls: Cluster::with_client, copy_in and copy_out",
                ),
                false => Self::invalid(format!("parameter or result while trying to {action}"), chain(error)),
            };
        };
        match db.code() {
            code if *code == SqlState::INSUFFICIENT_PRIVILEGE => Self::Denied {
                remedy: db.hint().map_or_else(|| remedy(&action), Into::into),
                reason: db.message().into(),
                action,
            },
            code if is_shutdown(code) => Self::Connection {
                action,
                reason: format!("the server ended the connection: {} ({})", db.message(), code.code()),
            },
            _ => Self::Server { action, cause: Box::new(db.into()) },
        }
    }
}

/// What stands before the server's message: what was being done, unless the message begins with just that.
fn before(action: &str, message: &str) -> String {
    let plain = |text: &str| text.replace('"', "");
    let start = format!("cannot {action}");
    match plain(message).strip_prefix(&plain(&start)).is_some_and(|rest| rest.starts_with(' ')) {
        true => String::new(),
        false => start + ": ",
    }
}

/// What a program said, if it said something.
fn after_colon(stderr: &str) -> String {
    if stderr.is_empty() { String::new() } else { format!(": {stderr}") }
}

/// Whether an error without a message of the server's is about the connection, and not about a
/// parameter or a column.
fn of_the_connection(error: &postgres::Error) -> bool {
    let text = error.to_string();
    let about = ["error connecting", "error communicating", "error performing TLS", "authentication", "timeout"];
    error.is_closed() || about.iter().any(|start| text.starts_with(start))
}

/// What is needed for actions that are no matter of an owner, by how they begin.
const NEEDS: [(&str, &str); 16] = [
    ("connect to", "GRANT CONNECT ON DATABASE"),
    ("create role", "the attribute CREATEROLE"),
    ("create database", "the attribute CREATEDB"),
    ("create schema", "GRANT CREATE ON DATABASE"),
    ("create replication slot", "the attribute REPLICATION"),
    ("create ", "GRANT CREATE ON SCHEMA"),
    ("alter role", "the attribute CREATEROLE (from PostgreSQL 16 on with ADMIN OPTION on the role)"),
    ("drop role", "the attribute CREATEROLE (from PostgreSQL 16 on with ADMIN OPTION on the role)"),
    ("set the password of", "the attribute CREATEROLE (from PostgreSQL 16 on with ADMIN OPTION on the role)"),
    ("drop replication slot", "the attribute REPLICATION"),
    ("read the password verifier", "a superuser"),
    ("reload", "GRANT EXECUTE ON FUNCTION pg_catalog.pg_reload_conf()"),
    ("become", "membership in the role"),
    ("take a snapshot", "GRANT CREATE ON DATABASE, and SELECT on the tables and sequences (or pg_read_all_data)"),
    ("execute", "a role that has the right"),
    ("run a script", "a role that has the right"),
];

/// What an ordinary role is told when the server gives no hint of its own.
fn remedy(action: &str) -> String {
    match NEEDS.iter().find(|(start, _)| action.starts_with(start)) {
        Some((_, needs)) => format!("to {action} takes {needs}"),
        None => format!("to {action}, connect or become (SET ROLE) the owner, a member of the owner, or a superuser"),
    }
}

/// 57P01 to 57P05: the server ended the session.
fn is_shutdown(code: &SqlState) -> bool {
    ["57P01", "57P02", "57P03", "57P04", "57P05"].contains(&code.code())
}

/// The whole chain of causes on one line: the driver's own text says little more than its class.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    text
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !f.alternate() {
            return fmt::Display::fmt(self, f);
        }
        match self {
            Self::NotFound { what } => f.debug_struct("NotFound").field("what", what).finish(),
            Self::AlreadyExists { what } => f.debug_struct("AlreadyExists").field("what", what).finish(),
            Self::Conflict { what, mine, theirs } => {
                f.debug_struct("Conflict").field("what", what).field("mine", mine).field("theirs", theirs).finish()
            }
            Self::Unsupported { what, needs } => {
                f.debug_struct("Unsupported").field("what", what).field("needs", needs).finish()
            }
            Self::Denied { action, reason, remedy } => f
                .debug_struct("Denied")
                .field("action", action)
                .field("reason", reason)
                .field("remedy", remedy)
                .finish(),
            Self::Invalid { what, why } => f.debug_struct("Invalid").field("what", what).field("why", why).finish(),
            Self::InUse { action, what, by } => {
                f.debug_struct("InUse").field("action", action).field("what", what).field("by", by).finish()
            }
            Self::Hba { file, line, column, problem } => f
                .debug_struct("Hba")
                .field("file", file)
                .field("line", line)
                .field("column", column)
                .field("problem", problem)
                .finish(),
            Self::Server { action, cause } => {
                f.debug_struct("Server").field("action", action).field("cause", cause).finish()
            }
            Self::Connection { action, reason } => {
                f.debug_struct("Connection").field("action", action).field("reason", reason).finish()
            }
            Self::OsCommand { command, failure, exit_code, stderr } => f
                .debug_struct("OsCommand")
                .field("command", command)
                .field("failure", failure)
                .field("exit_code", exit_code)
                .field("stderr", stderr)
                .finish(),
            Self::Io { action, cause } => f.debug_struct("Io").field("action", action).field("cause", cause).finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_says_of_the_action_itself_is_said_once() {
        let refused = |action: &str, message: &str| {
            let cause = ServerMessage {
                message: message.into(),
                code: SqlState::DEPENDENT_OBJECTS_STILL_EXIST,
                detail: None,
                hint: None,
                routine: None,
            };
            Error::Server { action: action.into(), cause: Box::new(cause) }.to_string()
        };
        for (action, message, said) in [
            ("drop table app.t", "cannot drop table app.t because", "cannot drop table app.t because (2BP01)"),
            ("drop schema \"app\"", "cannot drop schema app because", "cannot drop schema app because (2BP01)"),
            (
                "drop table t",
                "cannot drop table t2 because",
                "cannot drop table t: cannot drop table t2 because (2BP01)",
            ),
            ("drop role \"a\"", "no", "cannot drop role \"a\": no (2BP01)"),
        ] {
            assert_eq!(refused(action, message), said);
        }
    }
}
