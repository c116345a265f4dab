//! A streaming standby, made by copying files: pg_basebackup is not installed with every server.
use super::directory::PrivateDirectory;
use super::{TestServer, append, conninfo, settings_text, write};
use crate::{Error, Result};
use postgres::{Client, NoTls};
use std::fs::{self, DirBuilder, DirEntry};
use std::io;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::Path;

/// How often a copy is taken before its failure to start is an error.
const ATTEMPTS: u32 = 3;

/// The directories whose contents belong to the one running server.
const LEFT_EMPTY: [&str; 7] =
    ["pg_replslot", "pg_dynshmem", "pg_notify", "pg_serial", "pg_snapshots", "pg_stat_tmp", "pg_subtrans"];

impl TestServer {
    /// Makes and starts a read-only standby that streams from this server, with the same users, `pg_hba.conf` and
    /// settings. It answers queries when this returns, but may lag behind for a moment.
    ///
    /// Make tablespaces before the standby, not after: it would share the new one's directory with this server.
    ///
    /// # Errors
    ///
    /// As [`TestServer::with`]; also [`Error::Connection`], [`Error::Denied`] and [`Error::Server`] when this
    /// server does not let the user `postgres` take a backup.
    pub fn standby(&self) -> Result<Self> {
        if self.major() < 12 {
            return Err(Error::unsupported("a standby of a test server", "PostgreSQL 12"));
        }
        // A file that the server was writing at that moment (pg_control) may have been copied half.
        let mut attempts = ATTEMPTS;
        loop {
            attempts -= 1;
            match self.copy_and_start() {
                Err(_) if attempts > 0 => {}
                result => return result,
            }
        }
    }

    fn copy_and_start(&self) -> Result<Self> {
        let directory = PrivateDirectory::create(self.directory.keeps())?;
        // The driver's blocking client refuses to run inside an async runtime, and a thread of its own is outside.
        let copied = std::thread::scope(|scope| scope.spawn(|| self.copy_to(&directory)).join());
        copied
            .unwrap_or_else(|_| Err(Error::io("copy the server", io::Error::other("the copying thread panicked"))))?;

        let data = directory.data();
        let primary = conninfo(&[
            ("host", &self.socket_directory().display().to_string()),
            ("port", &self.port().to_string()),
            ("user", "postgres"),
        ]);
        let settings = [("primary_conninfo".to_owned(), primary), ("hot_standby".to_owned(), "on".to_owned())];
        append(&data.join("postgresql.conf"), &settings_text(&settings)?)?;
        write(&data.join("standby.signal"), "")?;
        directory.give(&data.join("standby.signal"))?;
        Self::launch(self.binaries.clone(), directory, self.tcp)
    }

    /// An online backup: while it is taken the server writes whole pages to the WAL, so that files may change
    /// while they are copied.
    fn copy_to(&self, directory: &PrivateDirectory) -> Result<()> {
        let failed = |e: postgres::Error| Error::driver("take a backup of the test server", &e);
        let mut client = Client::connect(&self.dsn(), NoTls).map_err(failed)?;
        let (start, stop) = if self.major() >= 15 {
            ("SELECT pg_backup_start('standby', true)", "SELECT labelfile FROM pg_backup_stop(false)")
        } else {
            ("SELECT pg_start_backup('standby', true, false)", "SELECT labelfile FROM pg_stop_backup(false, false)")
        };
        client.batch_execute(start).map_err(failed)?;
        copy_directory(&self.data_directory(), &directory.data(), directory)?;
        let label: String = client.query_one(stop, &[]).and_then(|row| row.try_get(0)).map_err(failed)?;
        let path = directory.data().join("backup_label");
        write(&path, &label)?;
        directory.give(&path)
    }
}

/// Copies what a backup needs. What goes away meanwhile (a dropped table, recycled WAL) was not needed.
fn copy_directory(from: &Path, to: &Path, directory: &PrivateDirectory) -> Result<()> {
    let failed = |e| Error::io(format!("copy {from:?} to {to:?}"), e);
    DirBuilder::new().mode(0o700).create(to).map_err(failed)?;
    directory.give(to)?;
    let entries = match fs::read_dir(from) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(failed)?,
    };
    let leave_empty = from.file_name().is_some_and(|name| LEFT_EMPTY.iter().any(|left| name == *left));
    for entry in entries.filter(|_| !leave_empty) {
        copy_entry(&entry.map_err(failed)?, to, directory)?;
    }
    Ok(())
}

fn copy_entry(entry: &DirEntry, to: &Path, directory: &PrivateDirectory) -> Result<()> {
    let (from, name) = (entry.path(), entry.file_name());
    let to = to.join(&name);
    let failed = |e| Error::io(format!("copy {from:?} to {to:?}"), e);
    let kind = match entry.file_type() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        kind => kind.map_err(failed)?,
    };
    if kind.is_dir() {
        return copy_directory(&from, &to, directory);
    }
    if kind.is_symlink() {
        // A tablespace: the standby needs files of its own.
        let tablespaces = directory.path().join("tablespaces");
        DirBuilder::new().mode(0o700).recursive(true).create(&tablespaces).map_err(failed)?;
        directory.give(&tablespaces)?;
        let files = tablespaces.join(&name);
        copy_directory(&from, &files, directory)?;
        return symlink(&files, &to).map_err(failed);
    }
    // The lock file and the options of the running server, and its temporary files.
    let name = name.to_string_lossy();
    if !kind.is_file() || name.starts_with("postmaster.") || name.starts_with("pgsql_tmp") {
        return Ok(());
    }
    match fs::copy(&from, &to) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        copied => {
            copied.map_err(failed)?;
            directory.give(&to)
        }
    }
}
