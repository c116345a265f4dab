//! A migration as statements, with all that can be refused before one of them is sent; pure.
use super::migrations::Migration;
use crate::error::{Error, Result};
use crate::load::beginning;
use crate::plan::{self, Effect};
use crate::statements::token::{Token, token};
use crate::statements::{self, Next, Sort};
use crate::template::Templates;

/// A line that begins so has its migration run without a transaction around it. The second one is pgdbm's.
pub(super) const WITHOUT_TRANSACTION: [&str; 2] = ["-- pgsteward:no-transaction", "-- pgdbm:no-transaction"];

/// What is around the statements of a migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// One transaction, which what is recorded of it is part of.
    Transaction,
    /// Nothing: each statement is kept when it has run.
    EachByItself,
}

/// A migration that can be run.
pub(super) struct Prepared<'m> {
    pub(super) migration: &'m Migration,
    pub(super) mode: Mode,
    pub(super) statements: Vec<Statement>,
}

/// A statement, and where it stands.
pub(super) struct Statement {
    /// Without its semicolon.
    pub(super) text: String,
    /// From 1.
    pub(super) line: usize,
    /// Whether it may change how the server reads strings.
    pub(super) changes_reading: bool,
}

impl Statement {
    /// What is being done when it is sent.
    pub(super) fn action(&self, migration: &Migration) -> String {
        format!("run migration {:?}, line {} ({})", migration.name(), self.line, beginning(&self.text))
    }
}

impl<'m> Prepared<'m> {
    /// # Errors
    /// [`Error::Invalid`] names the file and the line of what cannot be run.
    pub(super) fn new(migration: &'m Migration, templates: &Templates) -> Result<Self> {
        let named = |error| match error {
            Error::Invalid { what, why } => Error::invalid(format!("migration {:?}: {what}", migration.name()), why),
            other => other,
        };
        let text = templates.replace(migration.text()).map_err(named)?;
        let statements = split(migration, &text)?;
        if statements.is_empty() {
            let why = "there is no statement in it; take the file away, or write SELECT; where nothing is to be done";
            return Err(Error::invalid(format!("migration {:?}", migration.name()), why));
        }
        Ok(Self { migration, mode: mode(migration.text()), statements })
    }

    /// Those of so many statements at the beginning that set something for the ones behind them, in the session that ran
    /// them: another one has to be told again.
    pub(super) fn settings_of(&self, done: usize) -> impl Iterator<Item = &Statement> {
        self.statements.iter().take(done).filter(|statement| plan::effect_of(&statement.text) == Effect::Setting)
    }
}

fn split(migration: &Migration, text: &str) -> Result<Vec<Statement>> {
    let (mut position, mut line, mut found) = (0, 1, Vec::new());
    let refused =
        |line: usize, why: String| Error::invalid(format!("migration {:?}, line {line}", migration.name()), why);
    loop {
        let rest = text.get(position..).unwrap_or_default();
        let next = statements::next(rest.as_bytes(), true);
        let length = match next.map_err(|fault| refused(line + fault.line, fault.problem))? {
            Next::Gap(length) => length,
            Next::Statement(statement) => {
                let text = rest.get(..statement.length).unwrap_or_default();
                if let Some(why) = refusal(statement.sort, text) {
                    return Err(refused(line, why));
                }
                let changes_reading = statement.sort == Sort::Reading;
                found.push(Statement { text: text.to_owned(), line, changes_reading });
                statement.whole
            }
            Next::More | Next::End => return Ok(found),
        };
        line += statements::lines(rest.as_bytes().get(..length).unwrap_or_default());
        position += length;
    }
}

/// Why a statement is none for a migration, if so.
fn refusal(sort: Sort, text: &str) -> Option<String> {
    let word = text.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
    match sort {
        Sort::Copy => Some(
            "COPY ... FROM stdin, and the data behind it, do not belong into a migration; use INSERT, or load the file \
             by load_files"
                .into(),
        ),
        Sort::Transaction => Some(format!(
            "{word} begins or ends a transaction or a savepoint; a migration is one transaction by itself, or none if a \
             line in it says {:?}",
            WITHOUT_TRANSACTION[0]
        )),
        Sort::Reading | Sort::Other => None,
    }
}

/// What is around it: a comment says so that begins its line and is in no string and no other comment.
fn mode(text: &str) -> Mode {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (mut rest, mut begins_line) = (text, true);
    while !rest.is_empty() {
        let Ok((token, length)) = token(rest.as_bytes(), true) else { break };
        // A token ends within no character: those that are not ASCII are of words and what is quoted.
        let Some((taken, behind)) = rest.split_at_checked(length) else { break };
        if token == Token::Comment && begins_line && says_so(taken) {
            return Mode::EachByItself;
        }
        begins_line = taken.ends_with(['\n', '\r']);
        rest = behind;
    }
    Mode::Transaction
}

fn says_so(comment: &str) -> bool {
    let rest = WITHOUT_TRANSACTION.iter().find_map(|words| comment.strip_prefix(words));
    rest.is_some_and(|rest| rest.chars().next().is_none_or(char::is_whitespace))
}

#[cfg(test)]
mod tests {
    use super::super::migrations::Migrations;
    use super::*;

    fn prepare(text: &str) -> Result<(Mode, Vec<(usize, String)>)> {
        let migrations = Migrations::embedded([("1_a.sql", text)])?;
        let templates = Templates::new("app")?;
        let prepared = Prepared::new(migrations.get(1)?, &templates)?;
        Ok((prepared.mode, prepared.statements.into_iter().map(|each| (each.line, each.text)).collect()))
    }

    fn refused(text: &str) -> String {
        prepare(text).unwrap_err().to_string()
    }

    #[test]
    fn p126_statements_are_found_with_their_lines() {
        let text = "-- first\nSELECT ';';\n\nCREATE FUNCTION f() RETURNS int BEGIN ATOMIC\n SELECT 1; END; SELECT E'a\\';b',\n \
                    \"a;b\", a$b$ /* ; /* ; */ ; */;\nCREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2);\nDO $x$ ; $$ ; $x$";
        let (mode, statements) = prepare(text).unwrap();
        assert_eq!(mode, Mode::Transaction);
        assert_eq!(statements.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 4, 5, 7, 8]);
        assert_eq!(statements[2].1, "SELECT E'a\\';b',\n \"a;b\", a$b$ /* ; /* ; */ ; */");
    }

    #[test]
    fn p125_only_a_comment_at_the_start_of_a_line_outside_literals_turns_the_transaction_off() {
        const LINE: &str = "-- pgsteward:no-transaction";
        let is_off = |text: &str| prepare(text).unwrap().0 == Mode::EachByItself;
        for text in [
            "LINE\nSELECT 1",
            "SELECT 1;\nLINE",
            "\u{feff}LINE\r\nSELECT 1",
            "SELECT\nLINE why\n1",
            "-- x\rLINE\nSELECT 1",
        ] {
            assert!(is_off(&text.replace("LINE", LINE)), "{text:?}");
        }
        for text in [
            " LINE\nSELECT 1",
            "SELECT 1; LINE",
            "SELECT '\nLINE\n'",
            "SELECT $$\nLINE\n$$",
            "SELECT 1 /*\nLINE\n*/",
            "LINEs\nSELECT 1",
            "SELECT \"\nLINE\n\"",
            "-- LINE\nSELECT 1",
            "DO $a$\nLINE\n$a$",
        ] {
            assert!(!is_off(&text.replace("LINE", LINE)), "{text:?}");
        }
        assert!(is_off("-- pgdbm:no-transaction\nSELECT 1"));
    }

    #[test]
    fn p127_what_cannot_be_run_is_refused_with_its_line() {
        for (text, word) in [
            ("SELECT 1;\nCOMMIT;", "COMMIT"),
            ("SELECT 1;\n ROLLBACK TO a;", "ROLLBACK"),
            ("/* x */\nbegin;", "begin"),
            ("-- pgsteward:no-transaction\nBEGIN;", "BEGIN"),
            ("--\nSAVEPOINT a", "SAVEPOINT"),
            ("--\nCOPY t FROM stdin;\n1\n\\.\n", "COPY"),
            ("--\n\\i other.sql\n", "\\i"),
            ("SELECT 1\n\\gexec\n", "\\gexec"),
            ("--\nSELECT 'a", "not closed"),
            ("--\nSELECT {{table}}", "1_a.sql"),
        ] {
            let error = refused(text);
            assert!(error.contains("1_a.sql") && error.contains("line 2") && error.contains(word), "{text}: {error}");
        }
        for nothing in ["", "\u{feff}", "-- nothing yet\n", "/* ; */ ;;\n"] {
            assert!(refused(nothing).contains("no statement"), "{nothing:?}");
        }
        assert_eq!(prepare("\u{feff}SELECT 1").unwrap().1, [(1, "SELECT 1".into())]);
    }

    #[test]
    fn templates_become_names_and_lines_stay() {
        let (_, statements) = prepare("SELECT 1;\nCREATE TABLE {{tables.users}} ();\nSELECT '{{schema}}'").unwrap();
        assert_eq!(statements[1], (2, "CREATE TABLE \"app\".\"users\" ()".into()));
        assert_eq!(statements[2], (3, "SELECT '{{schema}}'".into()));
    }
}
