//! The file that takes the passwords.
use super::ClientDatabase;
use crate::error::{Error, Result};
use crate::files::{create_private, folder_of, sync_folder};
use crate::password::Password;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// A new file that nobody else may read, in the form of libpq's own
/// ([The Password File](https://www.postgresql.org/docs/current/libpq-pgpass.html)).
pub(super) struct PasswordFile {
    path: PathBuf,
    file: Mutex<File>,
}

impl PasswordFile {
    /// Makes the file; one that is there already is refused, and so is a link.
    pub(super) fn create(path: &Path) -> Result<Self> {
        let problem = |error: io::Error| match error.kind() {
            // Its passwords are kept: nothing else has them.
            io::ErrorKind::AlreadyExists => exists(path),
            _ => Error::io(format!("create {path:?}"), error),
        };
        let file = create_private(path).map_err(problem)?;
        // Its name is to be on the disk, too.
        if let Err(error) = sync_folder(folder_of(path)) {
            let _ = fs::remove_file(path);
            return Err(problem(error));
        }
        Ok(Self { path: path.to_owned(), file: Mutex::new(file) })
    }

    /// Adds a line, and has it on the disk when it returns.
    pub(super) fn add(&self, client: &ClientDatabase, password: &Password) -> Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let line = line(client, password);
        let written = file.write_all(line.as_bytes()).and_then(|()| file.sync_data());
        written.map_err(|error| Error::io(format!("write {:?}", self.path), error))
    }

    /// Removes the file if nothing came into it.
    pub(super) fn finish(self) -> Result<()> {
        let file = self.file.into_inner().unwrap_or_else(PoisonError::into_inner);
        let problem = |error| Error::io(format!("remove {:?}, which is empty", self.path), error);
        match file.metadata().map_err(problem)?.len() {
            0 => fs::remove_file(&self.path).map_err(problem),
            _ => Ok(()),
        }
    }
}

fn exists(path: &Path) -> Error {
    Error::AlreadyExists { what: format!("the password file {path:?}") }
}

/// Refuses a file that is there already, and a folder that is not, without making it.
pub(super) fn check_absent(path: &Path) -> Result<()> {
    let problem = |error| Error::io(format!("create {path:?}"), error);
    match path.symlink_metadata() {
        Ok(_) => Err(exists(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => folder_of(path).read_dir().map(drop).map_err(problem),
        Err(error) => Err(problem(error)),
    }
}

/// Refuses names that such a file cannot hold.
pub(super) fn check(client: &ClientDatabase) -> Result<()> {
    match [&client.database, &client.role].into_iter().find(|name| name.contains(['\n', '\r'])) {
        Some(name) => Err(Error::invalid(format!("name {name:?}"), "a password file cannot hold its line break")),
        None => Ok(()),
    }
}

fn line(client: &ClientDatabase, password: &Password) -> String {
    let escaped = |name: &str| name.replace('\\', "\\\\").replace(':', "\\:");
    format!("*:*:{}:{}:{}\n", escaped(&client.database), escaped(&client.role), password.reveal())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_as_libpq_reads_them() {
        let client = ClientDatabase::new("a:b").role(r"c\d");
        let password = Password::generate().unwrap();
        assert_eq!(line(&client, &password), format!("*:*:a\\:b:c\\\\d:{}\n", password.reveal()));
        assert!(check(&client).is_ok() && check(&ClientDatabase::new("a\nb")).is_err());
    }
}
