//! Running SQL files, all or nothing.
use crate::cancel::Cancellation;
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::plan;
use crate::session::Session;
use crate::session::load::Feed;
use crate::sql::Ident;
use crate::statements::Sort;
use postgres::error::SqlState;
use std::fs;
use std::path::{Path, PathBuf};

mod source;

use source::{Located, Source};

/// What was loaded by [`Cluster::load_files`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadReport {
    /// How many files.
    pub files: usize,
    /// How many statements, `COPY` included.
    pub statements: u64,
    /// How many rows the `COPY` statements took.
    pub rows_copied: u64,
}

impl Cluster {
    /// Runs a SQL file in the current database, or all files `*.sql` of a folder (not of folders in it) in the order of
    /// their names, in one transaction: if a statement fails, nothing of all files is kept.
    ///
    /// Files are read as psql reads them: statements end at semicolons, and the data of `COPY ... FROM stdin` stand behind
    /// it up to a line `\.`. A plain dump by `pg_dump` loads as it is. They are in UTF-8 and read a part at a time; data
    /// are passed on as they are, and only a statement has to fit into memory.
    ///
    /// It runs on a connection of its own, with the same parameters and role: what the files set does not last. The
    /// statements travel many at a time; the locks that they take are held until the end.
    ///
    /// ```
    /// # fn main() -> pgsteward::Result<()> {
    /// # let server = pgsteward::testing::TestServer::start()?;
    /// # let cluster = pgsteward::Cluster::connect(&server.dsn())?;
    /// # let path = server.data_directory().join("schema.sql");
    /// # std::fs::write(&path, "CREATE TABLE item (id int);\nCOPY item FROM stdin;\n1\n2\n\\.\n").unwrap();
    /// let report = cluster.load_files(&path)?;
    /// assert_eq!((report.statements, report.rows_copied), (2, 2));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Server`] and [`Error::Denied`] name the file, the line, and how the statement begins;
    /// [`Error::Invalid`] for a file that begins or ends transactions or savepoints, has commands of psql in it (other than
    /// `\restrict`, which `pg_dump` writes), turns `standard_conforming_strings` off, or ends within something;
    /// [`Error::Io`]. [`Error::Invalid`] inside a transaction, of which it would be no part, and in a plan;
    /// [`Error::Unsupported`] on a connection that was handed in.
    pub fn load_files(&self, path: impl AsRef<Path>) -> Result<LoadReport> {
        if self.plan_in_progress()?.is_some() {
            return Err(plan::not_in_a_plan("SQL files"));
        }
        let files = files_at(path.as_ref())?;
        if self.session().is_inside("look for a transaction")? {
            let why = "it runs on a connection of its own, and would not be part of it; call it outside";
            return Err(Error::invalid("attempt to load SQL files in a transaction", why));
        }
        let session = self.session().beside(self.current_database())?;
        let report = load(&session, None, &files, &Cancellation::of(session.family()))?;
        self.refresh();
        Ok(report)
    }
}

/// The file itself, or the files `*.sql` of a folder in the order of their names.
pub(crate) fn files_at(path: &Path) -> Result<Vec<PathBuf>> {
    let problem = |error| Error::io(format!("read {path:?}"), error);
    if !fs::metadata(path).map_err(problem)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(problem)? {
        let file = entry.map_err(problem)?.path();
        let hidden = file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && file.extension().is_some_and(|extension| extension == "sql") && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    match files.is_empty() {
        true => Err(Error::invalid(format!("folder {path:?}"), "no file in it is called *.sql")),
        false => Ok(files),
    }
}

/// Reads files to their ends and refuses what could not be loaded, as far as that shows without a server; and what can
/// be read only once, as a pipe. Returns how many statements each has.
pub(crate) fn check(files: &[PathBuf]) -> Result<Vec<u64>> {
    let check = |file: &PathBuf| {
        if !fs::metadata(file).map_err(|error| Error::io(format!("read {file:?}"), error))?.is_file() {
            return Err(Error::invalid(format!("{file:?}"), "it is no file, and cannot be read for each client anew"));
        }
        let (mut source, mut statements) = (Source::open(file)?, 0);
        while let Some(statement) = source.statement()? {
            refuse(&source, &statement)?;
            statements += 1;
            if statement.sort == Sort::Copy {
                while source.data()?.is_some() {}
            }
        }
        Ok(statements)
    };
    files.iter().map(check).collect()
}

/// What has the server read strings as they were read here.
const STRINGS: &str = "SET standard_conforming_strings = on";

/// Runs files in one transaction of a session that is used for nothing else; as another role, if one is given.
/// Goes no further when it is cancelled.
pub(crate) fn load(
    session: &Session,
    role: Option<&str>,
    files: &[PathBuf],
    cancelled: &Cancellation,
) -> Result<LoadReport> {
    let action = "load SQL files";
    session.transaction(action, || {
        if let Some(role) = role {
            session.run_for_user(&format!("become role {role:?}"), &[sql!("SET ROLE {}", Ident(role))])?;
        }
        // As the statements were told apart.
        session.send_text(action, STRINGS)?;
        let mut report = LoadReport { files: files.len(), ..LoadReport::default() };
        for file in files {
            let mut batch = Batch::new(session, file, cancelled);
            load_file(&mut batch, Source::open(file)?, &mut report)?;
        }
        Ok(report)
    })
}

fn load_file(batch: &mut Batch<'_>, mut source: Source, report: &mut LoadReport) -> Result<()> {
    while let Some(statement) = source.statement()? {
        refuse(&source, &statement)?;
        report.statements += 1;
        if statement.sort == Sort::Copy {
            batch.send()?;
            report.rows_copied += copy(batch, &statement, &mut source)?;
            continue;
        }
        // By itself: what comes after it is to be read by the server when it has run, and strings as before.
        if statement.sort == Sort::Reading {
            batch.send()?;
            batch.session.send_text(&batch.action(&statement), &format!("{}\n;\n{STRINGS}", statement.text))?;
            continue;
        }
        batch.add(statement);
        if batch.is_full() {
            batch.send()?;
        }
    }
    batch.send()
}

/// The data go to the server as they are read.
fn copy(batch: &Batch<'_>, statement: &Located, source: &mut Source) -> Result<u64> {
    batch.cancelled.check(&batch.action(statement))?;
    batch.session.copy_text(&batch.action(statement), &statement.text, |writer| {
        while let Some(lines) = source.data().map_err(Feed::Source)? {
            writer.write_all(lines).map_err(Feed::Server)?;
        }
        Ok(())
    })
}

/// Refuses what would end the transaction around.
fn refuse(source: &Source, statement: &Located) -> Result<()> {
    if statement.sort != Sort::Transaction {
        return Ok(());
    }
    let word = statement.text.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
    Err(Error::invalid(
        format!("{word} in {:?}, line {}", source.path(), statement.line),
        "files are loaded in one transaction, and may not begin or end any, or a savepoint; take it out",
    ))
}

/// Statements that travel together.
struct Batch<'s> {
    session: &'s Session,
    file: &'s Path,
    cancelled: &'s Cancellation,
    statements: Vec<Located>,
    bytes: usize,
}

/// When a batch is sent: the round trips are few enough then, and what may have to be said twice is short.
const FULL: (usize, usize) = (100, 64 * 1024);

impl<'s> Batch<'s> {
    fn new(session: &'s Session, file: &'s Path, cancelled: &'s Cancellation) -> Self {
        Self { session, file, cancelled, statements: Vec::new(), bytes: 0 }
    }

    fn add(&mut self, statement: Located) {
        self.bytes += statement.text.len();
        self.statements.push(statement);
    }

    fn is_full(&self) -> bool {
        self.statements.len() >= FULL.0 || self.bytes >= FULL.1
    }

    /// Sends them. The server does not say which one it refused: then they are undone, and nothing that ran before them,
    /// and sent one by one.
    fn send(&mut self) -> Result<()> {
        let statements = std::mem::take(&mut self.statements);
        self.bytes = 0;
        let each = || statements.iter().try_for_each(|each| self.send_one(each));
        let [first, .., last] = statements.as_slice() else { return each() };
        let action = format!("run {:?}, lines {} to {}", self.file, first.line, last.line);
        self.cancelled.check(&action)?;
        self.session.send_text(&action, "SAVEPOINT pgsteward_load")?;
        // On a line of its own: the last line of a statement may be a comment.
        let mut text: String = statements.iter().flat_map(|statement| [statement.text.as_str(), "\n;\n"]).collect();
        text.push_str("RELEASE SAVEPOINT pgsteward_load");
        match self.session.send_text(&action, &text) {
            Err(error) if !self.cancelled.happened() && self.shows_again(&error) => {
                let undo = "ROLLBACK TO SAVEPOINT pgsteward_load; RELEASE SAVEPOINT pgsteward_load";
                self.session.send_text(&action, undo)?;
                each()
            }
            result => result,
        }
    }

    fn send_one(&self, statement: &Located) -> Result<()> {
        let action = self.action(statement);
        self.cancelled.check(&action)?;
        self.session.send_text(&action, &statement.text)
    }

    /// Whether what went wrong with statements that travelled together is a statement's own fault. Who cancels one means
    /// them all; but before PostgreSQL 13 `statement_timeout` is for all that travel together, and says the same.
    fn shows_again(&self, error: &Error) -> bool {
        match error.code() {
            Some(&SqlState::QUERY_CANCELED) => !self.session.facts().version.at_least(13),
            code => code.is_some(),
        }
    }

    /// What is being done when a statement is sent.
    fn action(&self, statement: &Located) -> String {
        format!("run {:?}, line {} ({})", self.file, statement.line, beginning(&statement.text))
    }
}

/// How a statement begins, in one line, up to the first value in it: that may be a secret.
pub(crate) fn beginning(statement: &str) -> String {
    const LONGEST: usize = 60;
    let code = statement.split(['\'', '$']).next().unwrap_or_default();
    let in_one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let start: String = in_one_line(code).chars().take(LONGEST).collect();
    if start == in_one_line(statement) { start } else { format!("{start} ...") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_of_a_statement_holds_no_value() {
        assert_eq!(beginning("SELECT\n 1 "), "SELECT 1");
        assert_eq!(beginning("CREATE ROLE a PASSWORD 'geheim'"), "CREATE ROLE a PASSWORD ...");
        assert_eq!(beginning("DO $$ secret $$"), "DO ...");
        assert_eq!(beginning(&"é".repeat(90)), format!("{} ...", "é".repeat(60)));
    }
}
