//! What a line says: a rule where it stands, or a fault.
use super::assemble::{Assembler, Located};
use super::dialect::Dialect;
use super::fault::HbaFault;
use super::files::{Files, Wanted};
use super::parse;
use super::rule::HbaRule;
use super::secret;
use super::token::pieces;
use super::write;
use crate::error::{Error, Result};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// A rule, and where it stands. It derefs to the [`HbaRule`] as it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct HbaEntry {
    pub(super) rule: HbaRule,
    /// The rule with the words of `@file`s in their place, where it has any.
    pub(super) expanded: Option<Box<HbaRule>>,
    pub(super) file: Arc<str>,
    pub(super) line: usize,
    /// Whether a `/` begins a regular expression on its server.
    pub(super) has_patterns: bool,
}

impl HbaEntry {
    /// The file that it is in, as the server names it.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The number of its first line in that file, from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The rule as the server goes by it: with the words of `@file`s in their place.
    pub fn effective(&self) -> &HbaRule {
        self.expanded.as_deref().unwrap_or(&self.rule)
    }

    /// The text of [`effective`](HbaEntry::effective), as this entry is displayed.
    pub fn effective_text(&self) -> String {
        write::text(self.effective(), self.has_patterns)
    }
}

impl Deref for HbaEntry {
    type Target = HbaRule;

    fn deref(&self) -> &HbaRule {
        &self.rule
    }
}

/// The rule, as its server reads it, with secrets masked: before PostgreSQL 16 a `/` begins a name like any other letter.
impl fmt::Display for HbaEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&write::text(&self.rule, self.has_patterns))
    }
}

/// What one record says.
#[derive(Clone, Debug)]
pub(super) enum Row {
    /// A rule, and why it can never match, if so.
    Rule { entry: HbaEntry, warning: Option<Box<HbaFault>> },
    /// What is wrong.
    Fault(HbaFault),
}

impl Row {
    pub(super) fn of_record(located: Located, dialect: &Dialect) -> Self {
        let Located { file, line, record, written } = located;
        let parsed = match parse::rule(&record, &record.fields, dialect) {
            Ok(parsed) => parsed,
            Err(trouble) => return Self::Fault(trouble.at(&file, line)),
        };
        let warning = parsed.warning.map(|trouble| Box::new(trouble.at(&file, line)));
        // Where an `@file` stands for other things than databases and users, its words are all that can be told.
        let as_written = written.and_then(|fields| parse::rule(&record, &fields, dialect).ok());
        let (rule, expanded) = match as_written {
            Some(as_written) => (as_written.rule, Some(Box::new(parsed.rule))),
            None => (parsed.rule, None),
        };
        Self::Rule {
            entry: HbaEntry { rule, expanded, file, line, has_patterns: dialect.has_patterns_and_includes() },
            warning,
        }
    }

    /// All that a new line for the main file says.
    ///
    /// # Errors
    /// [`Error::Invalid`] where it names a file that was not read.
    pub(super) fn all_of_line(line: &[u8], path: &Arc<str>, files: &Files, dialect: &Dialect) -> Result<Vec<Self>> {
        let mut assembler = Assembler::new(Arc::clone(path), files, dialect);
        let mut rows = Vec::new();
        for piece in pieces(line, dialect.reading()) {
            let records = assembler.records(piece.line, piece.record);
            rows.extend(records.map(|located| Self::of_record(located, dialect)));
        }
        match assembler.missing() {
            None => Ok(rows),
            Some(wanted) => {
                let name = |wanted| match wanted {
                    Wanted::File(path) | Wanted::Directory(path) => path,
                };
                let names = wanted.into_iter().map(name).collect::<Vec<_>>().join(", ");
                let why = format!("it names {names}, which no rule named when the list was read");
                Err(Error::invalid("the rule", secret::until_secret(&why)))
            }
        }
    }
}
