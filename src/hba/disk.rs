//! Reading a pg_hba.conf of this machine.
use super::dialect::Dialect;
use super::files::{Files, Wanted};
use super::list::HbaFile;
use crate::error::{Error, Result};
use std::fs;
use std::io::{self, ErrorKind};

impl HbaFile {
    /// Reads a file of this machine and all that it includes; included files that do not exist are
    /// [`faults`](HbaFile::faults), where the server takes them for such.
    ///
    /// # Errors
    /// [`Error::Io`] if the file itself does not exist, or one cannot be read.
    pub fn open(path: &str, dialect: Dialect) -> Result<Self> {
        let bytes = fs::read(path).map_err(|error| Error::io(format!("read {path:?}"), error))?;
        let mut files = Files::new();
        files.insert(path, Some(bytes));
        loop {
            match Self::whole(path, &files, &dialect) {
                Ok(file) => return Ok(file),
                Err(missing) => missing.into_iter().try_for_each(|wanted| read(wanted, &mut files))?,
            }
        }
    }
}

/// Reads one file, or the names of those in a directory.
fn read(wanted: Wanted, files: &mut Files) -> Result<()> {
    match wanted {
        Wanted::File(path) => {
            let bytes = present(fs::read(&path), &path)?;
            files.insert(path, bytes);
        }
        Wanted::Directory(path) => {
            let names = present(names(&path), &path)?;
            files.insert_directory(path, names);
        }
    }
    Ok(())
}

/// None for what does not exist.
fn present<T>(read: io::Result<T>, path: &str) -> Result<Option<T>> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(Error::io(format!("read {path:?}"), error)),
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
