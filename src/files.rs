//! Files of this machine that are there as a whole or not at all, and that others may not read.
use crate::shell::Directory;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

/// Sixteen hexadecimal digits that nobody can guess.
pub(crate) fn nonce() -> String {
    Directory::new().nonce().chars().take(16).collect()
}

/// The temporary name that goes with a final one, and that nobody can guess.
pub(crate) fn temporary_name(name: &str) -> String {
    format!(".{name}.pgsteward-{}.part", nonce())
}

/// Makes a new file that nobody else may read; what is there, a link too, is refused.
pub(crate) fn create_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// The folder that a path is in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Brings the names in a folder to the disk.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    // Elsewhere a folder cannot be opened.
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporary_names_differ_and_the_folder_of_a_bare_name_is_the_current_one() {
        assert_ne!(temporary_name("a"), temporary_name("a"));
        assert!(nonce().len() == 16 && nonce().bytes().all(|digit| digit.is_ascii_hexdigit()));
        assert_eq!((folder_of(Path::new("a")), folder_of(Path::new("b/a"))), (Path::new("."), Path::new("b")));
    }
}
