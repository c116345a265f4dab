//! Statements in order.
use crate::error::{Error, Result};
use crate::sql::Sql;
use std::borrow::Cow;
use std::fmt;

/// Statements in the order in which they are to run.
///
/// `Display` prints SQL that can be run as it is: one statement a line, each ending in `;`, secrets as `'********'`.
/// What cannot be said to the server at hand at all (an option it does not have) is part of the
/// script as its refusal: it prints as a comment, and [`check`](Script::check) returns it.
#[derive(Clone, Default)]
pub struct Script {
    statements: Vec<Statement>,
    refusal: Option<Box<Error>>,
}

/// One statement of a script, and what it is about.
#[derive(Clone, Debug)]
pub(crate) struct Statement {
    pub(crate) sql: Sql,
    /// The fields of the object that it changes; a conflict is a field that somebody else changed.
    pub(crate) fields: Vec<Field>,
    /// Whether it refuses to run in a transaction.
    pub(crate) alone: bool,
}

/// What a statement changes: `owner`, `column 3`.
pub(crate) type Field = Cow<'static, str>;

impl Script {
    /// No statements.
    pub fn new() -> Self {
        Self::default()
    }

    /// The statements, in order.
    pub fn statements(&self) -> impl ExactSizeIterator<Item = &Sql> {
        self.statements.iter().map(|statement| &statement.sql)
    }

    /// How many statements there are.
    pub fn len(&self) -> usize {
        self.statements.len()
    }

    /// Whether there is nothing to run, and nothing that was refused.
    pub fn is_empty(&self) -> bool {
        self.statements.is_empty() && self.refusal.is_none()
    }

    /// Refuses a script that must not be sent.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name or value that no server would take, [`Error::Unsupported`]
    /// for what this server cannot do.
    pub fn check(&self) -> Result<()> {
        if let Some(refusal) = &self.refusal {
            return Err((**refusal).clone());
        }
        self.statements().try_for_each(Sql::check)
    }

    /// Adds a statement that changes no field of an object.
    pub(crate) fn push(&mut self, sql: Sql) {
        self.add(sql, Vec::new());
    }

    /// Adds a statement that changes these fields.
    pub(crate) fn add(&mut self, sql: Sql, fields: Vec<Field>) {
        self.statements.push(Statement { sql, fields, alone: false });
    }

    /// Adds a statement that refuses to run in a transaction.
    pub(crate) fn add_alone(&mut self, sql: Sql, fields: Vec<Field>) {
        self.statements.push(Statement { sql, fields, alone: true });
    }

    /// Adds the statements of another script after one's own.
    pub(crate) fn append(&mut self, other: Script) {
        self.statements.extend(other.statements);
        self.refusal = self.refusal.take().or(other.refusal);
    }

    /// Makes the whole script one that is not sent.
    pub(crate) fn refuse(&mut self, error: Error) {
        self.refusal.get_or_insert_with(|| Box::new(error));
    }

    /// The statements with their fields.
    pub(crate) fn parts(&self) -> &[Statement] {
        &self.statements
    }

    /// Every field that a statement changes.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &Field> {
        self.statements.iter().flat_map(|statement| &statement.fields)
    }
}

impl From<Sql> for Script {
    fn from(sql: Sql) -> Self {
        let mut script = Self::default();
        script.push(sql);
        script
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Err(refusal) = self.check() {
            writeln!(f, "-- refused: {}", refusal.to_string().replace(['\n', '\r'], " "))?;
        }
        self.statements().try_for_each(|sql| writeln!(f, "{sql}{}", sql.end()))
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list = f.debug_list();
        list.entries(self.statements());
        list.entries(self.refusal.iter());
        list.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_one_statement_a_line() {
        let mut script = Script::from(sql!("SELECT 1"));
        script.push(sql!("SELECT 2"));
        assert_eq!(script.to_string(), "SELECT 1;\nSELECT 2;\n");
        assert!(script.check().is_ok());
        let commented = Script::from(Sql::trusted("SELECT 1 -- one"));
        assert_eq!(commented.to_string(), "SELECT 1 -- one\n;\n");
        let comments = Script::from(Sql::trusted("-- one\n\n-- two"));
        assert_eq!(comments.to_string(), "-- one\n\n-- two\n");
        let hidden = Script::from(Sql::trusted("-- one\rSELECT 1"));
        assert!(hidden.to_string().trim_end().ends_with(';'), "{hidden}");
        script.refuse(Error::unsupported("x\ny", "PostgreSQL 99"));
        assert!(script.to_string().starts_with("-- refused: x y is not supported: it needs PostgreSQL 99\nSELECT 1;"));
        assert!(matches!(script.check(), Err(Error::Unsupported { .. })));
    }
}
