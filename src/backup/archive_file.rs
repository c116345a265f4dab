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
        let replaceable = self.existing == Existing::Replace && self.format != DumpFormat::Directory;
        match there.is_some_and(|there| !replaceable || there.is_dir()) {
            true => Err(Error::AlreadyExists { what: format!("{:?}", self.place) }),
            false => Ok(()),
        }
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

    /// Gives it its final name.
    pub(super) fn publish(mut self, sync: bool) -> Result<()> {
        fs::rename(&self.path, &self.place).map_err(|error| self.failed(error))?;
        self.published = true;
        if sync { sync_folder(folder_of(&self.place)).map_err(|error| self.failed(error)) } else { Ok(()) }
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
