//! What is wrong with a file, and where.
use super::secret;
use crate::error::Error;
use std::fmt;

/// Something in pg_hba.conf, or in a file that it includes, that the server refuses or that cannot work.
///
/// `Display` is one sentence. It never shows a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HbaFault {
    /// The file, as the server names it.
    pub file: String,
    /// The number of the line in it, from 1.
    pub line: usize,
    /// Where in the line, in characters from 1; in a line that is continued, in all of it.
    pub column: usize,
    /// What is wrong, and what was expected.
    pub problem: String,
}

impl fmt::Display for HbaFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, line {}, column {}: {}", self.file, self.line, self.column, self.problem)
    }
}

impl From<HbaFault> for Error {
    fn from(fault: HbaFault) -> Self {
        let HbaFault { file, line, column, problem } = fault;
        Self::Hba { file, line, column, problem }
    }
}

/// What is wrong with a record, before it is known which it is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Trouble {
    pub(crate) column: usize,
    pub(crate) problem: String,
}

impl Trouble {
    pub(crate) fn new(column: usize, problem: String) -> Self {
        Self { column, problem }
    }

    /// Whoever sees it sees no secret.
    pub(crate) fn at(self, file: &str, line: usize) -> HbaFault {
        HbaFault { file: file.to_owned(), line, column: self.column, problem: secret::in_message(&self.problem) }
    }
}
