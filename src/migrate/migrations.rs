//! The migrations that there are: files of a folder, or what was built into the program.
use super::checksum;
use super::file_name::{FileName, is_another};
use crate::error::{Error, Result};
use crate::statements;
use jiff::Timestamp;
use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// One migration: a file of SQL with a number.
#[derive(Clone, PartialEq, Eq)]
pub struct Migration {
    pub(super) file: FileName,
    name: Arc<str>,
    text: Arc<str>,
    checksum: String,
}

impl Migration {
    fn new(name: &str, content: &[u8]) -> Result<Self> {
        let file = FileName::parse(name)?;
        let text = std::str::from_utf8(content).map_err(|error| {
            let line = statements::lines(content.get(..error.valid_up_to()).unwrap_or_default()) + 1;
            Error::invalid(format!("migration {name:?}, line {line}"), "it is not in UTF-8; save it in that encoding")
        })?;
        if let Some((before, _)) = text.split_once('\0') {
            let line = statements::lines(before.as_bytes()) + 1;
            let why = "there is a NUL byte, which no statement may have; if it is in UTF-16, save it in UTF-8";
            return Err(Error::invalid(format!("migration {name:?}, line {line}"), why));
        }
        Ok(Self { file, name: name.into(), text: text.into(), checksum: checksum::own(text) })
    }

    /// The number, by which migrations are ordered and known.
    pub fn version(&self) -> u64 {
        self.file.version
    }

    /// The name of the file, without folders.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is in the file.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// SHA-256 of the text in hexadecimal digits; how lines end and what is blank before and behind it makes no
    /// difference.
    pub fn checksum(&self) -> &str {
        &self.checksum
    }
}

impl fmt::Debug for Migration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The text may hold what no log should.
        f.debug_struct("Migration").field("name", &self.name).field("checksum", &self.checksum).finish_non_exhaustive()
    }
}

/// Migrations in the order of their numbers, no two with the same.
///
/// Their files are called `001_title.sql`, `V1__title.sql` or `20260101120000_title.sql` (also `20260101_120000_title.sql`):
/// a number, which counts as a number, and a title of letters, digits, `_` and `-`. They are in UTF-8.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Migrations {
    list: Vec<Migration>,
}

impl Migrations {
    /// Reads the files of a folder, and not of those in it. Files that do not end in `.sql`, and hidden ones, are left
    /// out.
    ///
    /// # Errors
    /// [`Error::Io`] if there is no such folder, or it cannot be read; as for [`embedded`](Migrations::embedded).
    pub fn from_directory(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let problem = |error| Error::io(format!("read the migrations in {path:?}"), error);
        let mut files = Vec::new();
        for entry in fs::read_dir(path).map_err(problem)? {
            let file = entry.map_err(problem)?.path();
            if file.file_name().is_none_or(|name| is_another(&name.to_string_lossy())) {
                continue;
            }
            let unread = |error| Error::io(format!("read {file:?}"), error);
            // A link that leads nowhere is an error, and no migration that is left out.
            if fs::metadata(&file).map_err(unread)?.is_file() {
                let content = fs::read(&file).map_err(unread)?;
                files.push((file, content));
            }
        }
        Self::embedded(files)
    }

    /// Takes names and contents: what `include_str!` built into the program, say, or the files of the crate
    /// `include_dir` (`path()` and `contents()` of each). Of a name only what is behind the last `/` counts; what does
    /// not end in `.sql` is left out.
    ///
    /// ```
    /// use pgsteward::migrate::Migrations;
    /// let migrations = Migrations::embedded([
    ///     ("migrations/V10__orders.sql", "CREATE TABLE orders ();"),
    ///     ("migrations/V2__users.sql", "CREATE TABLE users ();"),
    ///     ("migrations/README.md", "No migration."),
    /// ])?;
    /// let versions: Vec<u64> = migrations.iter().map(|migration| migration.version()).collect();
    /// assert_eq!(versions, [2, 10]);
    /// # Ok::<(), pgsteward::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`] names the file that ends in `.sql` and is not called as a migration, is not in UTF-8 or has a
    /// NUL byte, and the two files with one number.
    pub fn embedded<N: AsRef<Path>, C: AsRef<[u8]>>(files: impl IntoIterator<Item = (N, C)>) -> Result<Self> {
        let mut list = Vec::new();
        for (path, content) in files {
            let name = path.as_ref().file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
            if !is_another(&name) {
                list.push(Migration::new(&name, content.as_ref())?);
            }
        }
        list.sort_by(|a, b| (a.version(), a.name()).cmp(&(b.version(), b.name())));
        let twice = list.iter().zip(list.iter().skip(1)).find(|(one, other)| one.version() == other.version());
        match twice {
            None => Ok(Self { list }),
            Some((one, other)) => Err(Error::invalid(
                format!("migrations {:?} and {:?}", one.name(), other.name()),
                format!("both have the number {}; give the one that was applied nowhere another", one.version()),
            )),
        }
    }

    /// The migrations, the lowest number first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Migration> + ExactSizeIterator {
        self.list.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The migration with this number.
    ///
    /// # Errors
    /// [`Error::NotFound`]
    pub fn get(&self, version: u64) -> Result<&Migration> {
        let found = self.list.iter().find(|migration| migration.version() == version);
        found.ok_or_else(|| Error::NotFound { what: format!("migration {version}") })
    }

    /// What the file of a new migration would be called: with the next number in the style of the last one, or the
    /// current time (UTC) where that is what the numbers are.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a title that has other characters than letters, digits, blanks, `_` and `-`.
    pub fn next_name(&self, title: &str) -> Result<String> {
        FileName::following(self.list.last().map(|last| &last.file), title, Timestamp::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p123_numbers_order_as_numbers_and_no_two_are_the_same() {
        let files = [("10_c.sql", ""), ("V2__b.sql", ""), ("001_a.sql", ""), ("README.md", ""), (".9_x.sql", "")];
        let names = |files: &Migrations| files.iter().map(|each| each.name().to_owned()).collect::<Vec<_>>();
        assert_eq!(names(&Migrations::embedded(files).unwrap()), ["001_a.sql", "V2__b.sql", "10_c.sql"]);
        let error = Migrations::embedded([("1_a.sql", ""), ("V1__b.sql", "")]).unwrap_err().to_string();
        assert!(error.contains("1_a.sql") && error.contains("V1__b.sql") && error.contains("number 1"), "{error}");
        let error = Migrations::embedded([("setup.sql", "")]).unwrap_err().to_string();
        assert!(error.contains("setup.sql"), "{error}");
    }

    #[test]
    fn p127_what_is_not_utf_8_is_named_with_its_line() {
        let error = Migrations::embedded([("1_a.sql", b"SELECT 1;\n-- \xe9\n")]).unwrap_err().to_string();
        assert!(error.contains("1_a.sql") && error.contains("line 2") && error.contains("UTF-8"), "{error}");
        let utf_16: Vec<u8> = "--\nSELECT 1".encode_utf16().flat_map(u16::to_le_bytes).collect();
        for text in [utf_16.as_slice(), b"SELECT '\0'"] {
            let error = Migrations::embedded([("1_a.sql", text)]).unwrap_err().to_string();
            assert!(error.contains("1_a.sql") && error.contains("line 1") && error.contains("NUL"), "{error}");
        }
    }

    #[test]
    fn the_text_of_a_migration_is_not_in_its_debug_form() {
        let migrations = Migrations::embedded([("1_a.sql", "ALTER ROLE a PASSWORD 'geheim'")]).unwrap();
        assert!(!format!("{migrations:#?}").contains("geheim"));
    }
}
