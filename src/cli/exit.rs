//! How the program ends.
use super::arguments::GlobalArguments;
use super::interrupt;
use super::output;
use pgsteward::Error;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;

pub(crate) const DONE: u8 = 0;
pub(crate) const FAILED: u8 = 1;
pub(crate) const USAGE: u8 = 2;
const NOT_FOUND: u8 = 3;
const CONFLICT: u8 = 4;
const DENIED: u8 = 5;
const DECLINED: u8 = 6;

/// Why the program did not do what it was told.
pub(crate) enum Failure {
    /// The library's error.
    Error(Error),
    /// Something was not so well, and was said already.
    Said,
    /// What went wrong with each of several was said already; the exit code that all of it has.
    SaidOfEach(u8),
    /// Nothing was done because whoever was asked did not say yes.
    Declined(String),
    /// Nothing was done, because others depend on it.
    Depended(String),
    /// Whoever read the output has read enough.
    NobodyReads,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl Failure {
    pub(crate) fn io(action: impl Into<String>, cause: io::Error) -> Self {
        Self::Error(Error::Io { action: action.into(), cause: Arc::new(cause) })
    }

    pub(crate) fn invalid(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Error(Error::Invalid { what: what.into(), why: why.into() })
    }

    /// What went wrong with several, and was said already: the exit code is that of each, if they are all the same.
    pub(crate) fn said<'e>(errors: impl IntoIterator<Item = &'e Error>) -> Self {
        let mut codes = errors.into_iter().map(code_of);
        match codes.next() {
            Some(first) if codes.all(|code| code == first) => Self::SaidOfEach(first),
            _ => Self::Said,
        }
    }

    /// Says it on standard error.
    pub(crate) fn report(&self, global: &GlobalArguments) -> ExitCode {
        match self {
            Self::Error(error) => output::complain(global.color, &error.to_string()),
            Self::Said | Self::SaidOfEach(_) | Self::NobodyReads => {}
            Self::Declined(why) | Self::Depended(why) => output::complain(global.color, why),
        }
        ExitCode::from(self.code())
    }

    fn code(&self) -> u8 {
        if let Some(code) = interrupt::exit_code() {
            return code;
        }
        match self {
            Self::Declined(_) => DECLINED,
            Self::Depended(_) => CONFLICT,
            Self::Said => FAILED,
            Self::SaidOfEach(code) => *code,
            Self::NobodyReads => DONE,
            Self::Error(error) => code_of(error),
        }
    }
}

fn code_of(error: &Error) -> u8 {
    /// What an error calls a text that is in no file.
    const GIVEN: [&str; 2] = ["the rule", "the address"];
    /// Something is in use, or others depend on it.
    const IN_THE_WAY: [&str; 2] = ["55006", "2BP01"];
    /// A database, a schema, a relation, a routine, or something else of that name is there.
    const NAME_TAKEN: [&str; 5] = ["42P04", "42P06", "42P07", "42723", "42710"];
    /// The password is wrong, or pg_hba.conf lets nobody in.
    const NOT_LET_IN: [&str; 2] = ["28P01", "28000"];
    let sqlstate = error.code().map_or("", |code| code.code());
    match error {
        Error::Invalid { .. } => USAGE,
        // What was given on the command line, and not a file of the server's.
        Error::Hba { file, .. } if GIVEN.contains(&file.as_str()) => USAGE,
        error if error.is_not_found() => NOT_FOUND,
        Error::AlreadyExists { .. } | Error::Conflict { .. } | Error::InUse { .. } => CONFLICT,
        Error::Denied { .. } => DENIED,
        _ if IN_THE_WAY.contains(&sqlstate) || NAME_TAKEN.contains(&sqlstate) => CONFLICT,
        _ if NOT_LET_IN.contains(&sqlstate) => DENIED,
        _ => FAILED,
    }
}
