//! A SQL file, read a part at a time.
use crate::error::{Error, Result};
use crate::statements::{self, Data, Fault, Next, Sort};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// How much is read at once, at least.
const PART: usize = 256 * 1024;

/// A file, and where in it we are.
pub(super) struct Source {
    path: PathBuf,
    file: File,
    buffer: Vec<u8>,
    /// How much of the buffer is done with.
    done: usize,
    /// Whether the buffer ends where the file does.
    whole: bool,
    /// How many lines were done with.
    lines: usize,
}

/// A statement, and where it stands.
pub(super) struct Located {
    /// Without its semicolon.
    pub(super) text: String,
    /// From 1.
    pub(super) line: usize,
    pub(super) sort: Sort,
}

impl Source {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|error| Error::io(format!("open {path:?}"), error))?;
        Ok(Self { path: path.to_owned(), file, buffer: Vec::new(), done: 0, whole: false, lines: 0 })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The next statement; none at the end of the file.
    pub(super) fn statement(&mut self) -> Result<Option<Located>> {
        loop {
            match statements::next(self.rest(), self.whole).map_err(|fault| self.fault(&fault))? {
                Next::Gap(length) => drop(self.take(length)),
                Next::Statement(found) => {
                    let text = self.rest().get(..found.length).unwrap_or_default();
                    let line = self.lines + 1;
                    let text = std::str::from_utf8(text).map(str::to_owned).map_err(|_| {
                        let problem = "the statement is not in UTF-8; make the file anew in that encoding \
                                       (pg_dump --encoding=UTF8)";
                        self.fault(&Fault { line: 0, problem: problem.into() })
                    })?;
                    self.take(found.whole);
                    return Ok(Some(Located { text, line, sort: found.sort }));
                }
                Next::More => self.read()?,
                Next::End => return Ok(None),
            }
        }
    }

    /// The next lines of data, after a `COPY`; none when they are over.
    pub(super) fn data(&mut self) -> Result<Option<&[u8]>> {
        loop {
            match statements::data(self.rest(), self.whole).map_err(|fault| self.fault(&fault))? {
                Data::Lines(length) => return Ok(Some(self.take(length))),
                Data::Last(0, end) => {
                    self.take(end);
                    return Ok(None);
                }
                Data::Last(length, _) => return Ok(Some(self.take(length))),
                Data::More => self.read()?,
            }
        }
    }

    fn rest(&self) -> &[u8] {
        self.buffer.get(self.done..).unwrap_or_default()
    }

    fn take(&mut self, length: usize) -> &[u8] {
        let from = self.done;
        self.done += length;
        let taken = self.buffer.get(from..self.done).unwrap_or_default();
        self.lines += statements::lines(taken);
        taken
    }

    /// Reads more: as much as there is already, so that a long statement is not looked through too often.
    fn read(&mut self) -> Result<()> {
        self.buffer.drain(..self.done.min(self.buffer.len()));
        self.done = 0;
        let more = self.buffer.len().max(PART);
        let read = (&mut self.file).take(more as u64).read_to_end(&mut self.buffer);
        let read = read.map_err(|error| Error::io(format!("read {:?}", self.path), error))?;
        self.whole = read < more;
        Ok(())
    }

    /// What is wrong with the file, and where.
    pub(super) fn fault(&self, fault: &Fault) -> Error {
        Error::invalid(format!("{:?}, line {}", self.path, self.lines + fault.line + 1), fault.problem.clone())
    }
}
