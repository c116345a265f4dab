//! The files that pg_hba.conf consists of, and how they name one another
//! ([including files](https://www.postgresql.org/docs/current/auth-pg-hba-conf.html)).
use super::dialect::Dialect;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Files as they were read, by their paths on the server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Files {
    files: HashMap<String, Option<Arc<[u8]>>>,
    directories: HashMap<String, Option<Vec<String>>>,
    /// Why some of them could not be read.
    unreadable: BTreeMap<Wanted, String>,
}

/// Something that has to be read before all rules are known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wanted {
    /// The bytes of a file.
    File(String),
    /// The names of the files in a directory; those of directories in it do not belong to them.
    Directory(String),
}

impl Files {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Notes what is in a file; none for one that does not exist.
    pub(crate) fn insert(&mut self, path: impl Into<String>, bytes: Option<Vec<u8>>) {
        self.files.insert(path.into(), bytes.map(Into::into));
    }

    /// Notes the names of the files in a directory; none for one that does not exist.
    pub(crate) fn insert_directory(&mut self, path: impl Into<String>, names: Option<Vec<String>>) {
        self.directories.insert(path.into(), names);
    }

    /// Notes why one that may exist cannot be read, in the server's words.
    pub(crate) fn insert_unreadable(&mut self, wanted: Wanted, reason: impl Into<String>) {
        self.give_up(wanted.clone());
        self.unreadable.insert(wanted, reason.into());
    }

    /// Why it could not be read; none if it was, or does not exist.
    pub(super) fn unreadable(&self, wanted: &Wanted) -> Option<&str> {
        self.unreadable.get(wanted).map(String::as_str)
    }

    /// All that was asked for, in order.
    pub(super) fn all(&self) -> BTreeSet<Wanted> {
        let files = self.files.keys().cloned().map(Wanted::File);
        files.chain(self.directories.keys().cloned().map(Wanted::Directory)).collect()
    }

    /// The bytes of a file, or the paths of those that are taken from a directory, a line each; or why there are none.
    pub(super) fn state(&self, wanted: &Wanted) -> Result<Vec<u8>, String> {
        if let Some(reason) = self.unreadable(wanted) {
            return Err(format!("unreadable: {reason}"));
        }
        let state = match wanted {
            Wanted::File(path) => self.get(path).flatten().map(|bytes| bytes.to_vec()),
            Wanted::Directory(path) => {
                let paths = self.in_directory(path).flatten();
                paths.map(|paths| paths.iter().map(|path| format!("{path}\n")).collect::<String>().into_bytes())
            }
        };
        state.ok_or_else(|| "absent".into())
    }

    /// Takes for absent what was not read.
    pub(crate) fn give_up(&mut self, wanted: Wanted) {
        match wanted {
            Wanted::File(path) => self.insert(path, None),
            Wanted::Directory(path) => self.insert_directory(path, None),
        }
    }

    /// What is in a file: none if it was not read, `Some(None)` if it does not exist.
    pub(crate) fn get(&self, path: &str) -> Option<Option<Arc<[u8]>>> {
        self.files.get(path).cloned()
    }

    /// The paths of all files that were read and exist.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.iter().filter(|(_, bytes)| bytes.is_some()).map(|(path, _)| path.as_str())
    }

    /// The files that `include_dir` takes from a directory, in its order.
    pub(super) fn in_directory(&self, path: &str) -> Option<Option<Vec<String>>> {
        let names = self.directories.get(path)?;
        Some(names.as_ref().map(|names| {
            let taken =
                |name: &&String| name.len() > ".conf".len() && !name.starts_with('.') && name.ends_with(".conf");
            let mut paths: Vec<_> = names.iter().filter(taken).map(|name| format!("{path}/{name}")).collect();
            paths.sort_unstable();
            paths
        }))
    }
}

/// The path of the file that is named in another one.
pub(super) fn resolve(from: &str, name: &[u8], dialect: &Dialect) -> Result<String, String> {
    let Ok(name) = std::str::from_utf8(name) else {
        return Err("the name of the file is no UTF-8, and cannot be sent to the server".into());
    };
    if name.starts_with('/') {
        return Ok(name.to_owned());
    }
    let directory = from.rfind('/').map_or("", |at| from.split_at(at).0);
    let mut parts: Vec<&str> = directory.split('/').collect();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            // Older versions leave it to the operating system.
            ".." if dialect.version.at_least(15) => {
                if parts.len() > 1 {
                    parts.pop();
                }
            }
            _ => parts.push(part),
        }
    }
    Ok(if from.contains('/') { parts.join("/") } else { parts.get(1..).unwrap_or_default().join("/") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::version::ServerVersion;

    #[test]
    fn names_are_relative_to_the_file_that_they_stand_in() {
        let dialect = |version| Dialect::new(ServerVersion::parse(version).unwrap());
        for (from, name, path) in [
            ("/data/pg_hba.conf", "dbs", "/data/dbs"),
            ("/data/pg_hba.conf", "d/./dbs", "/data/d/dbs"),
            ("/data/d/a", "../b", "/data/b"),
            ("/pg_hba.conf", "../b", "/b"),
            ("/data/pg_hba.conf", "/etc/x/../y", "/etc/x/../y"),
            ("pg_hba.conf", "b", "b"),
        ] {
            assert_eq!(resolve(from, name.as_bytes(), &dialect("16")).unwrap(), path);
        }
        assert_eq!(resolve("/data/d/a", b"../b", &dialect("14")).unwrap(), "/data/d/../b");
        assert!(resolve("/data/a", b"caf\xe9", &dialect("16")).is_err());
    }

    #[test]
    fn a_directory_gives_its_conf_files_in_order_of_their_bytes() {
        let mut files = Files::new();
        let names = ["b.conf", "a.conf", "A.conf", ".conf", ".x.conf", "c.txt", "10.conf", "9.conf"];
        files.insert_directory("/d", Some(names.map(Into::into).into()));
        let taken = ["/d/10.conf", "/d/9.conf", "/d/A.conf", "/d/a.conf", "/d/b.conf"].map(String::from);
        assert_eq!(files.in_directory("/d"), Some(Some(taken.into())));
        assert_eq!(files.in_directory("/e"), None);
        files.insert_directory("/e", None);
        assert_eq!(files.in_directory("/e"), Some(None));
    }
}
