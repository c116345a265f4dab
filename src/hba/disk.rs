//! Reading a pg_hba.conf of this machine.
use super::dialect::Dialect;
use super::files::{Files, Wanted};
use super::list::HbaFile;
use crate::error::{Error, Result};
use std::fs;
use std::io::{self, ErrorKind};

impl HbaFile {
    /// Reads a file of this machine and all that it includes; included files that do not exist or cannot be read are
    /// [`faults`](HbaFile::faults), where the server takes them for such.
    ///
    /// # Errors
    /// [`Error::Io`] if the file itself cannot be read.
    pub fn open(path: &str, dialect: Dialect) -> Result<Self> {
        let bytes = fs::read(path).map_err(|error| Error::io(format!("read {path:?}"), error))?;
        let mut files = Files::new();
        files.insert(path, Some(bytes));
        loop {
            match Self::whole(path, &files, &dialect) {
                Ok(file) => return Ok(file),
                Err(missing) => missing.into_iter().for_each(|wanted| add(&mut files, wanted)),
            }
        }
    }
}

/// Reads what is wanted, or notes why it cannot be read.
fn add(files: &mut Files, wanted: Wanted) {
    let read = match &wanted {
        Wanted::File(path) => fs::read(path).map(|bytes| files.insert(path, Some(bytes))),
        Wanted::Directory(path) => names(path).map(|names| files.insert_directory(path, Some(names))),
    };
    match read {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => files.give_up(wanted),
        Err(error) => files.insert_unreadable(wanted, error.to_string()),
    }
}

/// The names of the files in a directory.
fn names(path: &str) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if !entry.path().is_dir() {
            names.extend(entry.file_name().into_string().ok());
        }
    }
    Ok(names)
}
