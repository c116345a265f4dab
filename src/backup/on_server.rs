//! Backup and restore by the programs of the server's machine.
use super::access::database_argument;
use super::archive_file::{Digested, Existing};
use super::contents::Contents;
use super::dump_options::{DumpFormat, Sync};
use super::manifest::Manifest;
use super::messages::{MessageKind, ProgramMessage, Reader};
use super::process::Watch;
use super::program::read_version;
use super::restore::{Restore, Source};
use super::restore_options::OnError;
use super::snapshot::Snapshot;
use super::{Backup, BackupReport, Dump, RowCounts, ServerFile};
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::files::temporary_name;
use crate::shell::{OsCommand, OsOutput};
use crate::version::{OLDEST, ServerVersion};
use jiff::Timestamp;
use std::path::Path;
use std::time::Duration;

/// The exit code by which a script says that there is a file already.
const EXISTS: i32 = 96;

/// A word as the shell takes it, whatever is in it.
fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn quote_all<W: AsRef<str>>(words: impl IntoIterator<Item = W>) -> String {
    words.into_iter().map(|word| quote(word.as_ref())).collect::<Vec<_>>().join(" ")
}

/// Runs a command of the caller's on the server.
pub(super) fn run(cluster: &Cluster, words: &[String], timeout: Option<Duration>) -> Result<OsOutput> {
    let title = format!("program {:?} on the server", words.first().map_or("", String::as_str));
    run_script(cluster, &title, &quote_all(words), timeout)
}

/// Runs a script; one that ends badly is an error with what it said.
fn run_script(cluster: &Cluster, title: &str, script: &str, timeout: Option<Duration>) -> Result<OsOutput> {
    let output = attempt(cluster, title, script, timeout)?;
    if output.exit_code == 0 { Ok(output) } else { Err(failed(title, &output)) }
}

fn attempt(cluster: &Cluster, title: &str, script: &str, timeout: Option<Duration>) -> Result<OsOutput> {
    let command = OsCommand::new(script);
    let command = timeout.map_or(command.clone(), |timeout| command.timeout(timeout));
    cluster.run_os_command(command).map_err(|error| match error {
        // The text of the script would bury the reason.
        Error::OsCommand { failure, exit_code, stderr, .. } => {
            Error::OsCommand { command: title.into(), failure, exit_code, stderr }
        }
        other => other,
    })
}

fn failed(title: &str, output: &OsOutput) -> Error {
    let errors: Vec<String> = messages(&output.stderr_text())
        .into_iter()
        .filter(|message| message.kind == MessageKind::Error)
        .map(|message| message.to_string())
        .collect();
    let stderr = if errors.is_empty() { output.stderr_text().trim_end().to_owned() } else { errors.join("\n") };
    let failure = format!("ended with exit code {}", output.exit_code);
    Error::OsCommand { command: title.into(), failure, exit_code: Some(output.exit_code), stderr }
}

fn messages(stderr: &str) -> Vec<ProgramMessage> {
    let mut reader = Reader::default();
    let mut messages: Vec<_> = stderr.lines().flat_map(|line| reader.line(line)).collect();
    messages.extend(reader.finish());
    messages
}

/// What was said, told at once; warnings and errors are returned.
fn tell(output: &OsOutput, title: &str, watch: &mut Watch<'_>) -> Result<Vec<ProgramMessage>> {
    let said = messages(&output.stderr_text());
    said.iter().try_for_each(|message| watch.hear(message, title))?;
    Ok(said.into_iter().filter(|message| message.kind != MessageKind::Step).collect())
}

impl ServerFile {
    fn full(&self) -> Result<String> {
        let absolute = |path: &str| path.starts_with('/');
        let full = match &self.base_path {
            _ if absolute(&self.path) => self.path.clone(),
            Some(base) if absolute(base) => format!("{}/{}", base.trim_end_matches('/'), self.path),
            _ => {
                let why = "it is relative, and no absolute base_path is given";
                return Err(Error::invalid(format!("path {:?} on the server", self.path), why));
            }
        };
        match full.rsplit('/').next() {
            Some("" | "." | "..") | None => {
                Err(Error::invalid(format!("path {:?} on the server", self.path), "it names no file"))
            }
            _ => Ok(full),
        }
    }
}

/// The programs of the server's machine, and how they connect.
struct Programs<'a> {
    cluster: &'a Cluster,
    directory: String,
    environment: String,
}

impl<'a> Programs<'a> {
    fn new(cluster: &'a Cluster, file: &ServerFile, directory: Option<&Path>) -> Result<Self> {
        let directory = match directory.map(|path| path.to_str().ok_or(path)) {
            Some(Ok(path)) => path.to_owned(),
            Some(Err(path)) => return Err(Error::invalid(format!("directory {path:?}"), "it is not UTF-8")),
            None => ask(cluster, sql!("SELECT setting AS answer FROM pg_catalog.pg_config() WHERE name = 'BINDIR'"))?,
        };
        let sockets = ask(cluster, sql!("SELECT pg_catalog.current_setting('unix_socket_directories') AS answer"))?;
        let port = ask(cluster, sql!("SELECT pg_catalog.current_setting('port') AS answer"))?;
        let socket = sockets.split(',').next().unwrap_or_default().trim().trim_matches('"');
        let host = if socket.is_empty() { "localhost" } else { socket };
        let user = file.user.as_ref().map(|user| format!(" PGUSER={}", quote(user))).unwrap_or_default();
        // The server may have been started with variables of libpq's.
        let environment = format!(
            "umask 077; for name in $(env | sed -n 's/^\\(PG[A-Z_]*\\)=.*/\\1/p'); do unset \"$name\"; done; \
             export LC_ALL=C PGHOST={} PGPORT={port}{user}; ",
            quote(host)
        );
        Ok(Self { cluster, directory, environment })
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.directory.trim_end_matches('/'))
    }

    /// The version of a program, which must be at least a major one.
    fn version(&self, name: &str, least: u32) -> Result<ServerVersion> {
        let path = self.path(name);
        let output =
            run_script(self.cluster, &format!("{path:?} on the server"), &quote_all([&*path, "--version"]), None)?;
        let version = read_version(name, &output.stdout_text())?;
        if version.at_least(least) {
            return Ok(version);
        }
        Err(Error::unsupported(
            format!("this with {path:?} on the server, which is of version {version}"),
            format!("the client programs of PostgreSQL {least} or newer, where `programs` says"),
        ))
    }

    /// A command line.
    fn line(&self, name: &str, database: &str, arguments: &[String]) -> String {
        let words = [self.path(name), "--no-password".into(), database_argument(database)];
        quote_all(words.iter().chain(arguments))
    }

    fn run(&self, title: &str, script: &str, watch: &Watch<'_>) -> Result<OsOutput> {
        run_script(self.cluster, title, &format!("{}{script}", self.environment), watch.rest())
    }

    fn list(&self, path: &str, watch: &Watch<'_>) -> Result<Contents> {
        let title = format!("pg_restore --list of {path:?} on the server");
        let script = quote_all([&*self.path("pg_restore"), "--list", path]);
        Ok(Contents::read(&self.run(&title, &script, watch)?.stdout_text()))
    }
}

fn ask(cluster: &Cluster, question: crate::sql::Sql) -> Result<String> {
    let answers = cluster.session().run("look for PostgreSQL's programs on the server", &[question])?;
    answers.iter().flatten().next().map_or(Ok(String::new()), |row| row.text("answer"))
}

/// The script that prints the size and the SHA-256 of a dump, as [`Digested`] has them.
fn to_digest(path: &str) -> String {
    let path = quote(path);
    format!(
        "if [ -d {path} ]; then (cd {path} && cat -- * | wc -c && sha256sum -- * | sha256sum); \
         else wc -c <{path} && sha256sum <{path}; fi"
    )
}

fn read_digest(printed: &str) -> Result<Digested> {
    let mut words = printed.split_whitespace();
    let size = words.next().and_then(|size| size.parse().ok());
    let sha256 = words.next().filter(|hash| hash.len() == 64);
    match (size, sha256) {
        (Some(size), Some(sha256)) => Ok(Digested { size, sha256: sha256.to_owned() }),
        _ => Err(Error::unsupported("the hash of a dump on the server", "the programs wc and sha256sum there")),
    }
}

/// The shell's condition for what may be at a final path.
fn free(place: &str, replaces: bool) -> String {
    let place = quote(place);
    match replaces {
        true => format!("{{ [ ! -d {place} ] || exit {EXISTS}; }}"),
        false => format!("{{ [ ! -e {place} ] && [ ! -L {place} ] || exit {EXISTS}; }}"),
    }
}

/// The shell's words that rename a file where nothing must be. To move it would take the place of a file that came this
/// moment; a second name for the same file does not. Not every file system has second names.
fn rename_to_nothing(path: &str, place: &str) -> String {
    let free = free(place, false);
    let (path, place) = (quote(path), quote(place));
    format!(
        "if ln -- {path} {place} 2>/dev/null && [ -f {place} ]; then rm -f -- {path}; \
         else {free} && mv -f -- {path} {place}; fi"
    )
}

/// A dump under its temporary name on the server; it is removed when this is dropped unpublished.
struct Unfinished<'a> {
    cluster: &'a Cluster,
    path: String,
    place: String,
    replaces: bool,
    format: DumpFormat,
    published: bool,
}

impl<'a> Unfinished<'a> {
    /// A name beside the final path. Refuses what is there, and a folder that is not.
    fn beside(cluster: &'a Cluster, path: &str, existing: Existing, format: DumpFormat) -> Result<Self> {
        let (folder, name) = path.rsplit_once('/').unwrap_or((".", path));
        let mut unfinished = Self {
            cluster,
            path: format!("{folder}/{}", temporary_name(name)),
            place: path.to_owned(),
            replaces: existing == Existing::Replace && format != DumpFormat::Directory,
            format,
            // There is nothing yet.
            published: true,
        };
        let script = format!("ls -d -- {} >/dev/null && {}", quote(&format!("{folder}/.")), unfinished.free());
        unfinished.run(&format!("a look at {folder:?} on the server"), &script)?;
        unfinished.published = false;
        Ok(unfinished)
    }

    fn free(&self) -> String {
        free(&self.place, self.replaces)
    }

    fn rename(&self) -> String {
        match self.replaces || self.format == DumpFormat::Directory {
            true => format!("mv -f -- {} {}", quote(&self.path), quote(&self.place)),
            false => rename_to_nothing(&self.path, &self.place),
        }
    }

    fn run(&self, title: &str, script: &str) -> Result<()> {
        let output = attempt(self.cluster, title, script, None)?;
        match output.exit_code {
            0 => Ok(()),
            EXISTS => Err(Error::AlreadyExists { what: format!("{:?} on the server", self.place) }),
            _ => Err(failed(title, &output)),
        }
    }

    /// Brings it to the disk and gives it its final name, then its manifest; that of an older dump goes before.
    fn publish(mut self, mut manifest: Self, sync: bool) -> Result<()> {
        let folder = format!("{}/.", self.place.rsplit_once('/').map_or(".", |(folder, _)| folder));
        let [temporary, told, its_place, folder] =
            [&self.path, &manifest.path, &manifest.place, &folder].map(|path| quote(path));
        let forget = if self.replaces { format!("rm -f -- {its_place}") } else { "true".into() };
        let bring = |what: &str| if sync { format!("{{ sync {what} 2>/dev/null || sync; }}") } else { "true".into() };
        let script = format!(
            "{} && {} && {} && {} && {forget} && {} && {} && {}",
            bring(&temporary),
            bring(&told),
            self.free(),
            manifest.free(),
            self.rename(),
            manifest.rename(),
            bring(&folder)
        );
        self.run(&format!("the renaming of a dump to {:?} on the server", self.place), &script)?;
        (self.published, manifest.published) = (true, true);
        Ok(())
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if self.published {
            return;
        }
        let script = format!("rm -rf -- {}", quote(&self.path));
        if let Err(error) = run_script(self.cluster, "the removal of an unfinished dump", &script, None) {
            log::warn!("{error}");
        }
    }
}

fn manifest_path(path: &str) -> String {
    format!("{path}.manifest.json")
}

/// Makes a dump on the server's machine.
pub(super) fn back_up(
    cluster: &Cluster,
    backup: &Backup,
    file: &ServerFile,
    watch: &mut Watch<'_>,
) -> Result<BackupReport> {
    let (path, format, name) = (file.full()?, backup.dump.format(), backup.dump.program());
    let programs = Programs::new(cluster, file, backup.programs.as_deref())?;
    let version = programs.version(name, cluster.version().major())?;
    let mut dump = backup.dump.as_role(cluster.session().role());
    dump.to_arguments(&version)?;
    let unfinished = Unfinished::beside(cluster, &path, backup.existing, format)?;
    let snapshot = match backup.row_counts {
        RowCounts::None => None,
        RowCounts::Exact => Some(Snapshot::export(cluster, backup.dump.lock_wait_timeout(), watch)?),
    };
    if let (Dump::Database(options), Some(snapshot)) = (&mut dump, &snapshot) {
        options.snapshot = Some(snapshot.name.clone());
    }
    let started = Timestamp::now();
    let line = programs.line(name, cluster.current_database(), &dump.to_arguments(&version)?);
    let script = format!("{line} {}", quote(&format!("--file={}", unfinished.path)));
    let title = format!("{} on the server", backup.title(cluster));
    let warnings = tell(&programs.run(&title, &script, watch)?, &title, watch)?;
    let contents = match format {
        DumpFormat::Plain => Contents::default(),
        _ => programs.list(&unfinished.path, watch)?,
    };
    let (tables, large_objects) = match &snapshot {
        Some(snapshot) => snapshot.count(&contents, watch).map(|(tables, objects)| (tables, Some(objects)))?,
        None => (Vec::new(), None),
    };
    drop(snapshot);
    let digested = programs.run("the hash of a dump on the server", &to_digest(&unfinished.path), watch)?;
    let digested = read_digest(&digested.stdout_text())?;
    let manifest = Manifest {
        database: matches!(backup.dump, Dump::Database(_)).then(|| cluster.current_database().to_owned()),
        format,
        size: digested.size,
        sha256: digested.sha256,
        server_version: cluster.version().to_string(),
        program: name.into(),
        program_version: version.to_string(),
        started,
        ended: Timestamp::now(),
        objects: contents.counts(),
        tables,
        large_objects,
    };
    let told = write_manifest(cluster, &path, &manifest)?;
    unfinished.publish(told, backup.dump.sync() != Sync::No)?;
    Ok(BackupReport { manifest: Some(manifest), warnings })
}

/// Writes a manifest under a temporary name.
fn write_manifest<'a>(cluster: &'a Cluster, path: &str, manifest: &Manifest) -> Result<Unfinished<'a>> {
    let place = manifest_path(path);
    let unfinished = Unfinished::beside(cluster, &place, Existing::Replace, DumpFormat::Plain)?;
    let script = format!("umask 077; printf %s {} >{}", quote(&manifest.to_json()), quote(&unfinished.path));
    unfinished.run(&format!("the writing of {place:?} on the server"), &script)?;
    Ok(unfinished)
}

/// A dump on the server's machine that was looked at.
pub(super) struct ServerDump<'a> {
    file: &'a ServerFile,
    path: String,
    pub(super) format: Option<DumpFormat>,
    pub(super) manifest: Option<Manifest>,
}

/// Looks at a dump, and refuses one that is not what its manifest tells.
pub(super) fn source<'a>(
    cluster: &Cluster,
    restore: &'a Restore,
    file: &'a ServerFile,
    watch: &mut Watch<'_>,
) -> Result<Source<'a>> {
    let path = file.full()?;
    let title = format!("a look at {path:?} on the server");
    run_script(cluster, &title, &format!("ls -d -- {} >/dev/null", quote(&path)), None)?;
    let place = quote(&manifest_path(&path));
    let text = run_script(cluster, &title, &format!("[ ! -e {place} ] || cat -- {place}"), None)?.stdout_text();
    let manifest = if text.is_empty() { None } else { Some(Manifest::from_json(&text)?) };
    if let Some(manifest) = &manifest {
        let printed = run_script(cluster, &title, &format!("export LC_ALL=C; {}", to_digest(&path)), watch.rest())?;
        manifest.check(&format!("{path:?} on the server"), &read_digest(&printed.stdout_text())?)?;
    }
    let format = restore.format.or_else(|| manifest.as_ref().map(|manifest| manifest.format));
    Ok(Source::Server(Box::new(ServerDump { file, path, format, manifest })))
}

/// Restores a dump of the server's machine into a database that exists.
pub(super) fn restore(
    cluster: &Cluster,
    restore: &Restore,
    dump: &ServerDump<'_>,
    database: &str,
    watch: &mut Watch<'_>,
) -> Result<Vec<ProgramMessage>> {
    let programs = Programs::new(cluster, dump.file, restore.programs.as_deref())?;
    let plain = dump.format == Some(DumpFormat::Plain);
    let name = if plain { "psql" } else { "pg_restore" };
    let version = programs.version(name, dump.manifest.as_ref().and_then(Manifest::written_by).unwrap_or(OLDEST))?;
    let mut options = restore.options.clone();
    let role = cluster.session().role();
    options.role = options.role.or_else(|| role.map(str::to_owned));
    let script = match plain {
        true => {
            let line = programs.line(name, database, &options.to_psql_arguments(&version)?);
            format!("{line} <{} >/dev/null", quote(&dump.path))
        }
        false => {
            let line = programs.line(name, database, &options.to_arguments(&version)?);
            format!("{line} {}", quote(&dump.path))
        }
    };
    let title = format!("{name} into database {database:?} on the server");
    let output = attempt(cluster, &title, &format!("{}{script}", programs.environment), watch.rest())?;
    let said = tell(&output, &title, watch)?;
    let ignored = |message: &ProgramMessage| message.text.starts_with("errors ignored on restore: ");
    let over_errors = options.on_error == OnError::Continue && output.exit_code == 1 && said.iter().any(ignored);
    if output.exit_code == 0 || over_errors { Ok(said) } else { Err(failed(&title, &output)) }
}

/// The lists of contents of a dump, and of the database that it was restored into.
pub(super) fn contents(
    cluster: &Cluster,
    restore: &Restore,
    dump: &ServerDump<'_>,
    scratch: &str,
    watch: &Watch<'_>,
) -> Result<(Contents, Contents)> {
    let programs = Programs::new(cluster, dump.file, restore.programs.as_deref())?;
    let dumped = programs.list(&dump.path, watch)?;
    let arguments = ["--format=custom", "--schema-only"].map(str::to_owned);
    // Of an output that was cut off, pg_restore says so.
    let script = format!(
        "{} | {}",
        programs.line("pg_dump", scratch, &arguments),
        quote_all([&*programs.path("pg_restore"), "--list"])
    );
    let printed = programs.run(&format!("pg_dump of database {scratch:?} on the server"), &script, watch)?;
    Ok((dumped, Contents::read(&printed.stdout_text())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p064_words_are_quoted_for_the_shell() {
        assert_eq!(
            quote_all(["a b", "it's", "$(x)", "`x`; \"", "a\nb", ""]),
            "'a b' 'it'\\''s' '$(x)' '`x`; \"' 'a\nb' ''"
        );
    }

    #[test]
    fn what_came_to_the_final_path_stays_also_where_files_have_one_name_only() {
        let folder = std::env::temp_dir().join(crate::files::temporary_name("renamed"));
        std::fs::create_dir(&folder).unwrap();
        let [from, to] = ["it's", "$(a)"].map(|name| folder.join(name));
        let script = rename_to_nothing(from.to_str().unwrap(), to.to_str().unwrap());
        for before in ["", "ln() { false; }; "] {
            let rename = || {
                std::fs::write(&from, "new").unwrap();
                let ended = std::process::Command::new("/bin/sh").args(["-c", &format!("{before}{script}")]).status();
                let left = [&from, &to].map(|path| std::fs::read_to_string(path).unwrap_or_default());
                (ended.unwrap().code(), left)
            };
            assert_eq!(rename(), (Some(0), ["".into(), "new".into()]));
            std::fs::write(&to, "other").unwrap();
            assert_eq!(rename(), (Some(EXISTS), ["new".into(), "other".into()]));
            std::fs::remove_file(&to).unwrap();
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn p060_paths_are_absolute_or_relative_to_a_base() {
        let path = |path: &str, base: Option<&str>| {
            ServerFile { base_path: base.map(Into::into), ..ServerFile::new(path) }.full().ok()
        };
        assert_eq!(path("/a/b", Some("/c")).as_deref(), Some("/a/b"));
        assert_eq!(path("a/b", Some("/c/")).as_deref(), Some("/c/a/b"));
        for (text, base) in [("a", None), ("a", Some("b")), ("/a/", None), ("..", Some("/a")), ("", Some("/a"))] {
            assert_eq!(path(text, base), None, "{text} {base:?}");
        }
    }
}
