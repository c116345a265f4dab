//! A dump on its way to its final path: it is there as a whole, or not at all.
use super::dump_options::DumpFormat;
use super::process::Watch;
use crate::error::{Error, Result};
use crate::files::{create_private, folder_of, sync_folder, temporary_name};
use crate::sql::hex;
use sha2::{Digest, Sha256};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// What to do when there is something at the final path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Existing {
    /// Nothing is dumped: [`Error::AlreadyExists`](crate::Error::AlreadyExists).
    #[default]
    Refuse,
    /// A new dump takes the place of the file when it is whole. Not of a directory.
    Replace,
}

/// The size and the SHA-256 of a dump. For a directory the sum of the sizes, and the hash of what `sha256sum` prints for
/// its files, in the order of their names' bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Digested {
    pub(super) size: u64,
    pub(super) sha256: String,
}

/// A dump under its temporary name, in the folder of its final one. It is removed when this is dropped unpublished.
pub(super) struct Unfinished {
    pub(super) path: PathBuf,
    place: PathBuf,
    existing: Existing,
    format: DumpFormat,
    published: bool,
}

impl Unfinished {
    /// A name beside the final path. Refuses what is there, and a folder that is not.
    pub(super) fn beside(path: &Path, existing: Existing, format: DumpFormat) -> Result<Self> {
        let action = format!("write {path:?}");
        let name = path.file_name().ok_or_else(|| Error::invalid(format!("path {path:?}"), "it names no file"))?;
        let folder = folder_of(path);
        fs::read_dir(folder).map_err(|error| Error::io(&action, error))?;
        let temporary = folder.join(temporary_name(&name.to_string_lossy()));
        let unfinished = Self { path: temporary, place: path.to_owned(), existing, format, published: false };
        unfinished.check_place().map(|()| unfinished)
    }

    /// Refuses what is there and must stay.
    fn check_place(&self) -> Result<()> {
        let there = fs::symlink_metadata(&self.place).ok();
        match there.is_some_and(|there| !self.replaces() || there.is_dir()) {
            true => Err(self.already_exists()),
            false => Ok(()),
        }
    }

    /// Whether it takes the place of a file that is there.
    pub(super) fn replaces(&self) -> bool {
        self.existing == Existing::Replace && self.format != DumpFormat::Directory
    }

    fn already_exists(&self) -> Error {
        Error::AlreadyExists { what: format!("{:?}", self.place) }
    }

    /// Makes it as an empty file that nobody else may read.
    pub(super) fn create(&self) -> Result<File> {
        create_private(&self.path).map_err(|error| Error::io(format!("create {:?}", self.path), error))
    }

    /// Brings it to the disk, and looks at the final path once more: another dump may have come there meanwhile.
    pub(super) fn complete(&self, sync: bool) -> Result<()> {
        // pg_dump does it by itself for a directory.
        if sync && self.path.is_file() {
            File::open(&self.path).and_then(|file| file.sync_all()).map_err(|error| self.failed(error))?;
        }
        self.check_place()
    }

    /// Gives it its final name. What came there meanwhile stays, if it must.
    pub(super) fn publish(mut self, sync: bool) -> Result<()> {
        match self.replaces() || self.format == DumpFormat::Directory {
            // A directory takes the place of nothing but an empty one.
            true => fs::rename(&self.path, &self.place).map_err(|error| self.failed(error))?,
            false => self.link()?,
        }
        self.published = true;
        if sync { sync_folder(folder_of(&self.place)).map_err(|error| self.failed(error)) } else { Ok(()) }
    }

    /// A rename would take the place of a file that came this moment; a second name for the same file does not.
    fn link(&self) -> Result<()> {
        match fs::hard_link(&self.path, &self.place) {
            Ok(()) => fs::remove_file(&self.path).map_err(|error| self.failed(error)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(self.already_exists()),
            // Not every file system has second names.
            Err(_) => {
                self.check_place()?;
                fs::rename(&self.path, &self.place).map_err(|error| self.failed(error))
            }
        }
    }

    fn failed(&self, error: io::Error) -> Error {
        Error::io(format!("write {:?}", self.place), error)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if self.published {
            return;
        }
        let removed = match self.path.is_dir() {
            true => fs::remove_dir_all(&self.path),
            false => fs::remove_file(&self.path),
        };
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                log::warn!("cannot remove the unfinished dump {:?}: {error}", self.path);
            }
            _ => {}
        }
    }
}

/// Reads a dump from the disk, in bounded memory, until the time is over or the caller gives up.
pub(super) fn digest(path: &Path, watch: &mut Watch<'_>) -> Result<Digested> {
    let failed = |error| Error::io(format!("read {path:?}"), error);
    if !path.is_dir() {
        return digest_file(path, 0, watch);
    }
    let mut files: Vec<OsString> = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        files.push(entry.map_err(failed)?.file_name());
    }
    files.sort();
    let (mut size, mut hash) = (0, Sha256::new());
    for name in files {
        let file = digest_file(&path.join(&name), size, watch)?;
        size += file.size;
        hash.update(format!("{}  {}\n", file.sha256, name.to_string_lossy()));
    }
    Ok(Digested { size, sha256: hex(&hash.finalize()) })
}

/// `done` bytes of the dump were read before this file of it.
fn digest_file(path: &Path, done: u64, watch: &mut Watch<'_>) -> Result<Digested> {
    let failed = |error| Error::io(format!("read {path:?}"), error);
    let (mut file, mut hash, mut size) = (File::open(path).map_err(failed)?, Sha256::new(), 0);
    let mut buffer = vec![0; 128 * 1024];
    loop {
        let read = file.read(&mut buffer).map_err(failed)?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        hash.update(bytes);
        size += bytes.len() as u64;
        watch.check(&format!("the hash of {path:?}"), done + size)?;
    }
    Ok(Digested { size, sha256: hex(&hash.finalize()) })
}

/// How compressed files begin, and what makes them whole again: pg_dump compresses plain dumps too, and psql reads none.
const COMPRESSED: [(&[u8], &str); 3] =
    [(b"\x1f\x8b", "gzip -dc"), (b"\x28\xb5\x2f\xfd", "zstd -dc"), (b"\x04\x22\x4d\x18", "lz4 -dc")];

/// The form of a dump, by how it begins.
pub(super) fn recognize(path: &Path) -> Result<DumpFormat> {
    let failed = |error| Error::io(format!("read {path:?}"), error);
    if path.is_dir() {
        return Ok(DumpFormat::Directory);
    }
    let mut start = Vec::new();
    File::open(path).and_then(|file| file.take(512).read_to_end(&mut start)).map_err(failed)?;
    if let Some((_, program)) = COMPRESSED.iter().find(|(magic, _)| start.starts_with(magic)) {
        let why = format!("it is compressed as a whole; restore it from a program (Place::Program): {program}");
        return Err(Error::invalid(format!("dump {path:?}"), why));
    }
    Ok(match () {
        () if start.starts_with(b"PGDMP") => DumpFormat::Custom,
        () if start.get(257..262) == Some(b"ustar") => DumpFormat::Tar,
        () => DumpFormat::Plain,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::Progress;
    use std::ops::ControlFlow;

    #[test]
    fn of_two_dumps_that_both_found_no_file_the_second_is_refused_and_removed() {
        let folder = std::env::temp_dir().join(temporary_name("publish"));
        fs::create_dir(&folder).unwrap();
        let [first, second] = ["first", "second"].map(|text| {
            let unfinished = Unfinished::beside(&folder.join("a"), Existing::Refuse, DumpFormat::Custom).unwrap();
            io::Write::write_all(&mut unfinished.create().unwrap(), text.as_bytes()).unwrap();
            unfinished.complete(true).unwrap();
            unfinished
        });
        first.publish(true).unwrap();
        assert!(matches!(second.publish(true), Err(Error::AlreadyExists { .. })));
        assert_eq!(fs::read(folder.join("a")).unwrap(), b"first");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_hash_tells_how_far_it_is_and_ends_when_the_caller_gives_up() {
        let path = std::env::temp_dir().join(temporary_name("digest"));
        fs::write(&path, vec![7; 300 * 1024]).unwrap();
        let mut told = Vec::new();
        let mut hash = |most: usize| {
            told.clear();
            let mut hear = |progress: &Progress<'_>| {
                told.extend(if let Progress::Bytes(bytes) = progress { Some(*bytes) } else { None });
                if told.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            };
            let digested = digest(&path, &mut Watch::new(None, &mut hear));
            (digested.map(|digested| digested.size), told.clone())
        };
        let (size, told) = hash(10);
        assert_eq!((size.unwrap(), told.last()), (300 * 1024, Some(&(300 * 1024))));
        let (size, told) = hash(1);
        assert!(size.unwrap_err().to_string().contains("gave it up") && told.len() == 1);
        fs::remove_file(&path).unwrap();
    }
}
