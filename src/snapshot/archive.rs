//! A snapshot as files.
use super::index::{Snapshot, TABLES, index};
use super::moment::{Settings, bring_back, put_away};
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::files::{folder_of, sync_folder, temporary_name};
use crate::script::Script;
use crate::session::Session;
use crate::sql::{Sql, hex};
use sha2::{Digest, Sha256};
use std::fs::{self, DirBuilder, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

/// The file with the hashes of the others.
pub(super) const SUMS: &str = "SHA256SUMS";

/// What decides how values are written and read as text, beyond what holds for all of the crate's own statements.
pub(super) const AS_TEXT: Settings = &[("array_nulls", "on"), ("lc_monetary", "C"), ("xmloption", "content")];

/// How [`Snapshots::archive`](super::Snapshots::archive) goes about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArchiveOptions {
    /// What becomes of the snapshot. [`ArchivedSnapshot::Drop`] by default.
    pub snapshot: ArchivedSnapshot,
}

impl ArchiveOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }
}

/// What becomes of a snapshot whose archive was verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ArchivedSnapshot {
    /// It is dropped.
    #[default]
    Drop,
    /// It stays.
    Keep,
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArchiveReport {
    /// The directory.
    pub directory: PathBuf,
    /// How many bytes there are in its files of rows.
    pub bytes: u64,
    /// How many rows of tables there are in them.
    pub rows: u64,
}

pub(super) fn archive(
    cluster: &Cluster,
    snapshot: &Snapshot,
    directory: &Path,
    options: &ArchiveOptions,
) -> Result<ArchiveReport> {
    if fs::symlink_metadata(directory).is_ok() {
        return Err(Error::AlreadyExists { what: format!("path {directory:?}") });
    }
    if let Some(plan) = cluster.plan_in_progress()? {
        let mut script = Script::new();
        let name = &snapshot.name;
        let comment =
            format!("-- snapshot {name:?} into the directory {directory:?}, which only the plan itself can do");
        script.add_alone(Sql::trusted(comment), Vec::new());
        if options.snapshot == ArchivedSnapshot::Drop {
            snapshot.to_drop().into_iter().for_each(|sql| script.push(sql));
        }
        let (name, directory, options) = (name.clone(), directory.to_owned(), options.clone());
        plan.record(script, move |cluster| cluster.snapshots().archive(&name, &directory, &options).map(drop));
        return Ok(ArchiveReport::default());
    }
    let action = format!("archive snapshot {:?}", snapshot.name);
    let session = cluster.session();
    let report = session.transaction(&action, || {
        let tables = Sql::join(snapshot.everything(), ", ");
        session.run(&action, &[sql!("LOCK TABLE {} IN SHARE MODE", tables), put_away(AS_TEXT)])?;
        let partial = Partial::create(&action, directory)?;
        let files = write_all(session, &action, snapshot, &partial.path)?;
        for file in &files {
            file.verify(&action, &partial.path)?;
        }
        let mut last = vec![bring_back(AS_TEXT)];
        if options.snapshot == ArchivedSnapshot::Drop {
            last.extend(snapshot.to_drop());
        }
        // What cannot be dropped leaves no files; if they cannot have their name, it is still there.
        session.run(&action, &last)?;
        partial.complete(&action, directory)?;
        let bytes = files.iter().map(|file| file.content.bytes).sum();
        Ok(ArchiveReport { directory: directory.to_owned(), bytes, rows: snapshot.rows() })
    })?;
    cluster.refresh();
    Ok(report)
}

/// Writes every table, and the hashes.
fn write_all(session: &Session, action: &str, snapshot: &Snapshot, directory: &Path) -> Result<Vec<Written>> {
    let about = TABLES.iter().map(|table| (index(&snapshot.name, table), (*table).to_owned(), None));
    let copies =
        snapshot.tables.iter().map(|table| (snapshot.copy_of(table), table.number.to_string(), Some(table.rows)));
    let mut files = Vec::new();
    for (table, name, rows) in about.chain(copies) {
        let name = format!("{name}.copy");
        let path = directory.join(&name);
        let failed = |error| Error::io(format!("write {path:?}"), error);
        let mut writer = Measured::new(BufWriter::new(File::create_new(&path).map_err(failed)?));
        session.copy_to(action, &sql!("COPY {} TO STDOUT", table), &mut writer)?;
        writer.flush().map_err(failed)?;
        writer.inner.get_ref().sync_all().map_err(failed)?;
        files.push(Written { name, content: writer.content(), rows });
    }
    let path = directory.join(SUMS);
    let failed = |error| Error::io(format!("write {path:?}"), error);
    let sums: String = files.iter().map(|file| format!("{}  {}\n", file.content.hash, file.name)).collect();
    let mut file = File::create_new(&path).map_err(failed)?;
    file.write_all(sums.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    Ok(files)
}

/// A file that was written.
struct Written {
    name: String,
    content: Content,
    /// How many rows it must have, where that is known.
    rows: Option<u64>,
}

/// What tells whether two files are the same.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Content {
    /// SHA-256, in hexadecimal digits.
    pub(super) hash: String,
    bytes: u64,
    /// COPY's text format has one line for each row.
    lines: u64,
}

impl Written {
    /// Reads it back.
    fn verify(&self, action: &str, directory: &Path) -> Result<()> {
        let path = directory.join(&self.name);
        let failed = |error| Error::io(format!("read {path:?} back"), error);
        let mut reader = BufReader::new(File::open(&path).map_err(failed)?);
        let mut measured = Measured::new(io::sink());
        io::copy(&mut reader, &mut measured).map_err(failed)?;
        let content = measured.content();
        let rows = self.rows.unwrap_or(content.lines);
        match content == self.content && content.lines == rows {
            true => Ok(()),
            false => Err(Error::invalid(
                format!("file {path:?} in an attempt to {action}"),
                format!(
                    "it has {} rows and hash {}, and should have {rows} and {}",
                    content.lines, content.hash, self.content.hash
                ),
            )),
        }
    }
}

/// Passes bytes on, and measures them.
pub(super) struct Measured<T> {
    pub(super) inner: T,
    hash: Sha256,
    bytes: u64,
    lines: u64,
}

impl<T> Measured<T> {
    pub(super) fn new(inner: T) -> Self {
        Self { inner, hash: Sha256::new(), bytes: 0, lines: 0 }
    }

    fn take_in(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        self.lines += bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
    }

    pub(super) fn content(&self) -> Content {
        Content { hash: hex(&self.hash.clone().finalize()), bytes: self.bytes, lines: self.lines }
    }
}

impl<T: Write> Write for Measured<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.take_in(bytes.get(..count).unwrap_or_default());
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<T: Read> Read for Measured<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.take_in(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}

/// A directory that is not yet whole, removed when it is dropped.
struct Partial {
    path: PathBuf,
}

impl Partial {
    /// Makes it beside the directory that it is to become; only its owner can look into it.
    fn create(action: &str, directory: &Path) -> Result<Self> {
        let Some(name) = directory.file_name() else {
            return Err(Error::invalid(format!("directory {directory:?}"), "it has no name"));
        };
        let path = folder_of(directory).join(temporary_name(&name.to_string_lossy()));
        let mut builder = DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&path).map_err(|error| Error::io(format!("make {path:?} to {action}"), error))?;
        Ok(Self { path })
    }

    /// Gives it its name, once all of it is on disk.
    fn complete(self, action: &str, directory: &Path) -> Result<()> {
        let failed = |error| Error::io(format!("rename {:?} to {directory:?} to {action}", self.path), error);
        sync_folder(&self.path).map_err(failed)?;
        fs::rename(&self.path, directory).map_err(failed)?;
        sync_folder(folder_of(directory)).map_err(failed)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            if error.kind() != io::ErrorKind::NotFound {
                log::warn!("cannot remove {:?}: {error}", self.path);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_completed_leaves_nothing() {
        let base = std::env::temp_dir().join(format!("pgsteward-archive-{}", std::process::id()));
        fs::create_dir_all(&base).unwrap();
        let target = base.join("a b");
        let partial = Partial::create("test", &target).unwrap();
        fs::write(partial.path.join("x"), "1").unwrap();
        drop(partial);
        assert_eq!(fs::read_dir(&base).unwrap().count(), 0);
        let partial = Partial::create("test", &target).unwrap();
        fs::write(partial.path.join("x"), "1\n2\n").unwrap();
        partial.complete("test", &target).unwrap();
        let names: Vec<_> = fs::read_dir(&base).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["a b"]);

        let content = Content { hash: hex(&Sha256::digest("1\n2\n")), bytes: 4, lines: 2 };
        let written =
            |rows| Written { name: "x".into(), content: Content { hash: content.hash.clone(), ..content }, rows };
        written(Some(2)).verify("test", &target).unwrap();
        assert!(written(Some(3)).verify("test", &target).unwrap_err().to_string().contains("2 rows"));
        fs::write(target.join("x"), "1\n3\n").unwrap();
        assert!(written(Some(2)).verify("test", &target).is_err());
        fs::remove_dir_all(&base).unwrap();
    }
}
