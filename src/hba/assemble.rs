//! The records of a file and of all that it includes, in the order in which the server takes them.
use super::dialect::Dialect;
use super::fault::Trouble;
use super::files::{Files, Wanted, resolve};
use super::token::{Field, Record, Token, pieces};
use std::collections::BTreeSet;
use std::sync::Arc;

/// How deep files may include one another: from PostgreSQL 16 on the server's own limit, before that a safe one.
const DEPTH: usize = 10;
const DEPTH_BEFORE_16: usize = 100;
/// Files that include others several times each can name more words than any memory holds.
const MOST_WORDS: usize = 10_000_000;
const MOST_FILES: usize = 100_000;

/// A record where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Located {
    pub(crate) file: Arc<str>,
    pub(crate) line: usize,
    /// Its words, with those of `@file`s in their place.
    pub(crate) record: Record,
    /// Its words as they are written, where they differ.
    pub(crate) written: Option<Vec<Field>>,
}

/// What has to be read to know all records, in order; when it is there, there may be more. None if nothing is missing.
pub(super) fn missing(main: &str, files: &Files, dialect: &Dialect) -> Option<Vec<Wanted>> {
    let Some(bytes) = files.get(main) else { return Some(vec![Wanted::File(main.to_owned())]) };
    let mut assembler = Assembler::new(main.into(), files, dialect);
    for piece in pieces(&bytes.unwrap_or_default(), dialect.reading()) {
        drop(assembler.records(piece.line, piece.record));
    }
    assembler.missing()
}

/// Puts what is included in its place, one line of the main file after the other.
pub(super) struct Assembler<'a> {
    files: &'a Files,
    dialect: &'a Dialect,
    missing: BTreeSet<Wanted>,
    /// The file that is being read, and before it those that include it.
    open: Vec<Arc<str>>,
    words: usize,
    opened: usize,
    found: Vec<Located>,
}

impl<'a> Assembler<'a> {
    pub(super) fn new(main: Arc<str>, files: &'a Files, dialect: &'a Dialect) -> Self {
        Self { files, dialect, missing: BTreeSet::new(), open: vec![main], words: 0, opened: 0, found: Vec::new() }
    }

    /// The records that one of the main file stands for: itself, or those of what it includes.
    pub(super) fn records(&mut self, line: usize, record: Option<Record>) -> impl Iterator<Item = Located> {
        if let Some(record) = record {
            self.record(line, record);
        }
        self.found.drain(..)
    }

    /// What was named and not read; none if nothing was.
    pub(super) fn missing(self) -> Option<Vec<Wanted>> {
        (!self.missing.is_empty()).then(|| self.missing.into_iter().collect())
    }

    fn current(&self) -> Arc<str> {
        self.open.last().cloned().unwrap_or_default()
    }

    fn record(&mut self, line: usize, record: Record) {
        let mut located = Located { file: self.current(), line, record, written: None };
        if located.record.trouble.is_none() && located.record.fields.iter().flatten().any(|t| t.file().is_some()) {
            match self.expanded(&located.record.fields) {
                Ok(fields) => located.written = Some(std::mem::replace(&mut located.record.fields, fields)),
                Err(trouble) => located.record.trouble = Some(trouble),
            }
        }
        if located.record.trouble.is_none() {
            match self.directive(&located.record.fields) {
                Some(Ok(())) => return,
                Some(Err(trouble)) => located.record.trouble = Some(trouble),
                None => {}
            }
        }
        // A file without a word in a record of `@file`s alone leaves nothing.
        if located.record.trouble.is_some() || !located.record.fields.is_empty() {
            self.found.push(located);
        }
    }

    /// The fields with the words of files in the place of their names.
    fn expanded(&mut self, fields: &[Field]) -> Result<Vec<Field>, Trouble> {
        let mut all = Vec::with_capacity(fields.len());
        for field in fields {
            let mut words = Field::with_capacity(field.len());
            for token in field {
                match token.file() {
                    Some(name) => words.extend(self.words(name, token.column)?),
                    None => words.push(token.clone()),
                }
            }
            if !words.is_empty() {
                all.push(words);
            }
        }
        Ok(all)
    }

    /// All words in a file, and in those that it names itself.
    fn words(&mut self, name: &[u8], column: usize) -> Result<Vec<Token>, Trouble> {
        let trouble = |problem| Trouble { column, problem };
        let path = resolve(&self.current(), name, self.dialect).map_err(trouble)?;
        let outer = std::mem::take(&mut self.found);
        let read = self.read(path, true);
        let found = std::mem::replace(&mut self.found, outer);
        read.map_err(trouble)?;
        if let Some((at, found)) = found.iter().find_map(|l| Some((l, l.record.trouble.as_ref()?))) {
            return Err(trouble(format!("{}, line {}: {}", at.file, at.line, found.problem)));
        }
        let words: Vec<_> = found.into_iter().flat_map(|located| located.record.fields.into_iter().flatten()).collect();
        self.words += words.len();
        Ok(words.into_iter().map(|token| Token { column, ..token }).collect())
    }

    /// Does what a line of two words says, if it includes something.
    fn directive(&mut self, fields: &[Field]) -> Option<Result<(), Trouble>> {
        let [first, second] = fields else { return None };
        let (verb, name) = (first.first()?, second.first()?);
        if !self.dialect.has_patterns_and_includes() {
            return None;
        }
        let done = match verb.bytes.as_slice() {
            b"include" => self.include(&name.bytes, true),
            b"include_if_exists" => self.include(&name.bytes, false),
            b"include_dir" => self.include_directory(&name.bytes),
            _ => return None,
        };
        Some(done.map_err(|problem| Trouble { column: name.column, problem }))
    }

    fn include(&mut self, name: &[u8], must_exist: bool) -> Result<(), String> {
        // The server opens the directory then, and finds nothing in it.
        if name.is_empty() {
            return Ok(());
        }
        let path = resolve(&self.current(), name, self.dialect)?;
        self.read(path, must_exist)
    }

    fn include_directory(&mut self, name: &[u8]) -> Result<(), String> {
        if name.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')) {
            return Err("include_dir names no directory".into());
        }
        let path = resolve(&self.current(), name, self.dialect)?;
        if let Some(reason) = self.files.unreadable(&Wanted::Directory(path.clone())) {
            return Err(format!("the directory \"{path}\" is unreadable: {reason}"));
        }
        match self.files.in_directory(&path) {
            None => {
                self.missing.insert(Wanted::Directory(path));
                Ok(())
            }
            Some(None) => Err(format!("the directory \"{path}\" does not exist")),
            Some(Some(paths)) => {
                let mut problems = Vec::new();
                for path in paths {
                    problems.extend(self.read(path, true).err());
                }
                if problems.is_empty() { Ok(()) } else { Err(problems.join("; ")) }
            }
        }
    }

    /// Takes the records of a file; what is not known yet has none, and is noted.
    fn read(&mut self, path: String, must_exist: bool) -> Result<(), String> {
        let deepest = if self.dialect.has_patterns_and_includes() { DEPTH } else { DEPTH_BEFORE_16 };
        if self.open.iter().any(|open| **open == *path) {
            return Err(format!("\"{path}\" includes itself"));
        }
        if self.open.len() > deepest {
            return Err(format!("\"{path}\" is included more than {deepest} files deep"));
        }
        self.opened += 1;
        if self.words > MOST_WORDS || self.opened > MOST_FILES {
            return Err("the included files, each taken as often as it is named, are too large".into());
        }
        if let Some(reason) = self.files.unreadable(&Wanted::File(path.clone())) {
            return Err(format!("the file \"{path}\" is unreadable: {reason}"));
        }
        let bytes = match self.files.get(&path) {
            None => {
                self.missing.insert(Wanted::File(path));
                return Ok(());
            }
            Some(None) if must_exist => return Err(format!("the file \"{path}\" does not exist")),
            Some(None) => return Ok(()),
            Some(Some(bytes)) => bytes,
        };
        self.open.push(path.into());
        for found in pieces(&bytes, self.dialect.reading()) {
            if let Some(record) = found.record {
                self.words += record.fields.iter().map(Vec::len).sum::<usize>();
                self.record(found.line, record);
            }
        }
        self.open.pop();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::version::ServerVersion;

    fn dialect(version: &str) -> Dialect {
        Dialect::new(ServerVersion::parse(version).unwrap())
    }

    fn files(all: &[(&str, &str)]) -> Files {
        let mut files = Files::new();
        all.iter().for_each(|(path, text)| files.insert(format!("/{path}"), Some(text.as_bytes().to_vec())));
        files
    }

    /// Where each record is, its words, and what is wrong with it.
    fn said(files: &Files, version: &str) -> Vec<(String, Result<String, String>)> {
        let dialect = dialect(version);
        let bytes = files.get("/main").unwrap().unwrap();
        let mut assembler = Assembler::new("/main".into(), files, &dialect);
        let all: Vec<_> = pieces(&bytes, dialect.reading())
            .flat_map(|piece| assembler.records(piece.line, piece.record).collect::<Vec<_>>())
            .collect();
        assert_eq!(assembler.missing(), None);
        let words = |record: Record| {
            let texts = record.fields.iter().flatten().map(|token| String::from_utf8_lossy(&token.bytes).into_owned());
            record.trouble.map_or(Ok(texts.collect::<Vec<_>>().join(" ")), |trouble| Err(trouble.problem))
        };
        all.into_iter().map(|one| (format!("{}:{}", one.file, one.line), words(one.record))).collect()
    }

    #[test]
    fn what_is_missing_is_asked_for_round_by_round() {
        let mut files = Files::new();
        let missing = |files: &Files| missing("/d/main", files, &dialect("16")).unwrap();
        assert_eq!(missing(&files), [Wanted::File("/d/main".into())]);
        files.insert("/d/main", Some(b"include a\nlocal @b @b peer\ninclude_dir c\nlocal @b x peer".to_vec()));
        let wanted = [Wanted::File("/d/a".into()), Wanted::File("/d/b".into()), Wanted::Directory("/d/c".into())];
        assert_eq!(missing(&files), wanted);
        files.insert("/d/a", None);
        files.insert("/d/b", Some(b"@/e".to_vec()));
        files.insert_directory("/d/c", Some(vec!["x.conf".into()]));
        assert_eq!(missing(&files), [Wanted::File("/d/c/x.conf".into()), Wanted::File("/e".into())]);
    }

    #[test]
    fn records_stand_where_they_are_included() {
        let files =
            files(&[("main", "a @words b\ninclude more\nc"), ("words", "x\n\"y\" # z\n"), ("more", "d\n\ne f g")]);
        let place = |file: &str, words: &str| (file.to_owned(), Ok(words.to_owned()));
        let expected =
            [place("/main:1", "a x y b"), place("/more:1", "d"), place("/more:3", "e f g"), place("/main:3", "c")];
        assert_eq!(said(&files, "16"), expected);
        let expected = [place("/main:1", "a x y b"), place("/main:2", "include more"), place("/main:3", "c")];
        assert_eq!(said(&files, "15"), expected);
    }

    #[test]
    fn circles_and_depths_are_faults() {
        let circle = files(&[("main", "a @x\ninclude y"), ("x", "@z"), ("y", "b\ninclude main"), ("z", "@x")]);
        let faults: Vec<_> = said(&circle, "16").into_iter().filter(|(_, said)| said.is_err()).collect();
        let expected = [
            ("/main:1".to_owned(), Err("/x, line 1: /z, line 1: \"/x\" includes itself".to_owned())),
            ("/y:2".to_owned(), Err("\"/main\" includes itself".to_owned())),
        ];
        assert_eq!(faults, expected);
        for (version, deepest) in [("16", 10), ("15", 100)] {
            for (length, is_taken) in [(deepest, true), (deepest + 1, false)] {
                let mut files = files(&[("main", "a @1")]);
                for at in 1..=length {
                    files.insert(format!("/{at}"), Some(format!("@{}", at + 1).into_bytes()));
                }
                files.insert(format!("/{length}"), Some(b"end".to_vec()));
                assert_eq!(said(&files, version)[0].1.is_ok(), is_taken, "{version} {length}");
            }
        }
    }

    #[test]
    fn files_that_name_others_many_times_over_come_to_an_end() {
        let mut files = files(&[("main", "a @1")]);
        for at in 1..10 {
            files.insert(format!("/{at}"), Some(format!("@{} ", at + 1).repeat(20).into_bytes()));
        }
        files.insert("/10", Some(b"".to_vec()));
        let said = said(&files, "16");
        assert!(said[0].1.as_ref().is_err_and(|problem| problem.ends_with("are too large")), "{said:?}");
    }
}
