//! Dumps of databases, and their way back.
use crate::support::{CancelledOnce, alone, connect, fresh, major, programs, unique, version_of, wait_until};
use pgsteward::backup::{
    Backup, BackupReport, Compression, Content, DumpFormat, DumpOptions, Existing, GlobalsOptions, Manifest,
    MessageKind, OnError, Place, Progress, Restore, RestoreOptions, RestoreTarget, RestoreTransaction, RowCounts,
    RowForm, ServerFile,
};
use pgsteward::testing::{TestServer, TestServerOptions};
use pgsteward::{Cluster, Database, Error, Ident, Name, Result, Role, sql};
use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// A directory that is removed when this is dropped. Everybody may write to it: the server may be another user.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("pgsteward-test-{}-{}", std::process::id(), unique("backup")));
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The names in it, in order.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = entries.collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn on_client(path: &Path, programs: &Path) -> Backup {
    let mut backup = Backup::on_client(path);
    backup.programs = Some(programs.to_owned());
    backup
}

fn on_server(path: &Path, programs: &Path) -> Backup {
    let mut backup = Backup::on_server("x");
    backup.place = Place::Server(server_file(path));
    backup.programs = Some(programs.to_owned());
    backup
}

fn server_file(path: &Path) -> ServerFile {
    let mut file = ServerFile::new(path.to_str().unwrap());
    file.user = Some("postgres".into());
    file
}

/// A restore into a new database.
fn into_new(place: Place, name: &str, programs: &Path) -> Restore {
    let mut restore = Restore::new(place, Database::new(name));
    restore.programs = Some(programs.to_owned());
    restore
}

fn many_sorts() -> Cluster {
    let cluster = fresh();
    fill(&cluster);
    cluster
}

fn fill(cluster: &Cluster) {
    cluster.execute(include_str!("../data/many_sorts.sql"), &[]).unwrap();
}

/// The definitions of a database, as pg_dump prints them.
pub fn definitions(cluster: &Cluster, programs: &Path) -> String {
    let folder = Folder::new();
    let mut options = DumpOptions::new();
    (options.format, options.content) = (DumpFormat::Plain, Content::SchemaOnly);
    let path = folder.file("definitions.sql");
    cluster.backup(&on_client(&path, programs).with(options)).unwrap();
    let text = fs::read_to_string(path).unwrap();
    // Their key is another one each time.
    let kept = |line: &&str| !line.starts_with(r"\restrict") && !line.starts_with(r"\unrestrict");
    text.lines().filter(kept).collect::<Vec<_>>().join("\n")
}

/// A checksum of the rows of each table, of the values of sequences, and of large objects. The columns are taken in the
/// order of their names: pg_dump gives those of a child another order where it has some from two parents.
pub fn checksums(cluster: &Cluster) -> BTreeMap<String, String> {
    let tables = "SELECT n.nspname, c.relname, c.relkind::text, ARRAY(SELECT a.attname::text FROM pg_attribute a \
                  WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attname) \
                  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                  WHERE c.relkind IN ('r', 'm', 'S') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'";
    let mut sums = BTreeMap::new();
    for row in cluster.execute(tables, &[]).unwrap() {
        let name = Name::new(row.get::<_, String>(0), row.get::<_, String>(1));
        let columns = match row.get::<_, &str>(2) {
            // The third column says how much of it is in the log already.
            "S" => "t.last_value, t.is_called".to_owned(),
            _ => row
                .get::<_, Vec<&str>>(3)
                .iter()
                .map(|name| sql!("t.{}", Ident(name)).to_string())
                .collect::<Vec<_>>()
                .join(", "),
        };
        let sum = format!(
            "SELECT coalesce(md5(string_agg(md5(ROW({columns})::text), '' ORDER BY md5(ROW({columns})::text))), '') \
             || ' ' || count(*) FROM ONLY {} t",
            sql!("{}", name)
        );
        sums.insert(name.to_string(), cluster.execute(&sum, &[]).unwrap()[0].get(0));
    }
    let objects =
        "SELECT coalesce(string_agg(oid || md5(lo_get(oid)), ',' ORDER BY oid), '') FROM pg_largeobject_metadata";
    sums.insert("large objects".into(), cluster.execute(objects, &[]).unwrap()[0].get(0));
    sums
}

fn exists(database: &str) -> bool {
    connect("postgres", "postgres").databases().with_system().contains(database).unwrap()
}

fn manifest(report: &BackupReport) -> &Manifest {
    report.manifest.as_ref().unwrap()
}

#[test]
fn p060_p061_a_database_of_many_sorts_comes_back_equal_in_each_format() {
    let Some(programs) = programs() else { return };
    let (cluster, folder) = (many_sorts(), Folder::new());
    let (before, sums) = (definitions(&cluster, &programs), checksums(&cluster));
    assert!(sums.len() > 20 && before.len() > 20_000, "{} {}", sums.len(), before.len());
    for format in [DumpFormat::Custom, DumpFormat::Tar, DumpFormat::Plain, DumpFormat::Directory] {
        let path = folder.file(format.name());
        let mut options = DumpOptions::new();
        options.format = format;
        options.jobs = (format == DumpFormat::Directory).then_some(2);
        let report = cluster.backup(&on_client(&path, &programs).with(options)).unwrap();
        assert_eq!(manifest(&report), &Manifest::beside(&path).unwrap().unwrap());
        if format == DumpFormat::Custom {
            // The table of contents is there once: pg_dump could go back to complete it.
            let bytes = fs::read(&path).unwrap();
            let count = bytes.windows(22).filter(|bytes| bytes == b"CREATE TYPE app.mood A").count();
            assert_eq!(count, 1);
        }
        let copy = unique("copy");
        let mut restore = into_new(Place::Client(path.clone()), &copy, &programs);
        restore.options.jobs = (format == DumpFormat::Custom || format == DumpFormat::Directory).then_some(2);
        let report = cluster.restore(&restore).unwrap();
        assert!(report.errors.is_empty() && report.warnings.is_empty(), "{report:?}");
        let copy = cluster.database(&copy).unwrap();
        assert_eq!(definitions(&copy, &programs), before, "{format:?}");
        assert_eq!(checksums(&copy), sums, "{format:?}");
    }
    assert_eq!(folder.names().len(), 8, "{:?}", folder.names());
}

#[test]
fn p060_a_database_is_dumped_and_restored_on_the_server() {
    let Some(programs) = programs() else { return };
    let (cluster, folder) = (many_sorts(), Folder::new());
    let (before, sums) = (definitions(&cluster, &programs), checksums(&cluster));
    for format in [DumpFormat::Custom, DumpFormat::Directory, DumpFormat::Plain] {
        let name = format!("it's a {}", format.name());
        let mut file = server_file(Path::new(&name));
        file.base_path = Some(folder.0.to_str().unwrap().into());
        let mut options = DumpOptions::new();
        options.format = format;
        let mut backup = on_server(Path::new("x"), &programs).with(options);
        backup.place = Place::Server(file.clone());
        let report = cluster.backup(&backup).unwrap();
        // What the server's programs hashed is what is hashed here.
        assert_eq!(&Manifest::beside(&folder.file(&name)).unwrap().unwrap(), manifest(&report));
        let copy = unique("copy");
        cluster.restore(&into_new(Place::Client(folder.file(&name)), &unique("copy"), &programs)).unwrap();
        cluster.restore(&into_new(Place::Server(file.clone()), &copy, &programs)).unwrap();
        let copy = cluster.database(&copy).unwrap();
        assert_eq!((definitions(&copy, &programs), checksums(&copy)), (before.clone(), sums.clone()), "{format:?}");
        let error = cluster.backup(&backup).unwrap_err();
        assert!(matches!(error, Error::AlreadyExists { .. }), "{error}");
    }
    assert_eq!(folder.names().len(), 6, "{:?}", folder.names());
}

#[test]
fn p062_commands_run_before_and_after_the_latter_also_on_failure() {
    let Some(programs) = programs() else { return };
    let (cluster, folder) = (fresh(), Folder::new());
    let log = folder.file("log");
    let append = |word: &str| {
        ["sh", "-c", "echo \"$1\" >>\"$0\"; chmod 666 \"$0\"", log.to_str().unwrap(), word].map(String::from).to_vec()
    };
    for (place, target) in [("client", folder.file("a")), ("server", folder.file("b"))] {
        let mut backup = if place == "client" { on_client(&target, &programs) } else { on_server(&target, &programs) };
        (backup.before, backup.after) = (append("before; $(x)"), append("after"));
        cluster.backup(&backup).unwrap();
        // The file is there by now.
        assert!(matches!(cluster.backup(&backup), Err(Error::AlreadyExists { .. })));
        backup.before = vec!["false".into()];
        assert!(matches!(cluster.backup(&backup), Err(Error::OsCommand { exit_code: Some(1), .. })), "{place}");
        assert_eq!(fs::read_to_string(&log).unwrap(), "before; $(x)\nafter\nbefore; $(x)\nafter\nafter\n");
        fs::remove_file(&log).unwrap();
    }
}

#[test]
fn p062_a_dump_goes_into_a_program_and_comes_from_one() {
    let Some(programs) = programs() else { return };
    let (cluster, folder) = (many_sorts(), Folder::new());
    for format in [DumpFormat::Custom, DumpFormat::Tar, DumpFormat::Plain] {
        let path = folder.file(format.name());
        let mut options = DumpOptions::new();
        options.format = format;
        let mut backup = Backup::to_program(["sh", "-c", "cat >\"$0\"", path.to_str().unwrap()]).with(options);
        backup.programs = Some(programs.clone());
        let report = cluster.backup(&backup).unwrap();
        assert_eq!(manifest(&report).size, fs::metadata(&path).unwrap().len());
        assert_eq!(manifest(&report).sha256, sha256(&path));
        let copy = unique("copy");
        let place = Place::Program(vec!["cat".into(), path.to_str().unwrap().into()]);
        let mut restore = into_new(place, &copy, &programs);
        restore.format = Some(format);
        cluster.restore(&restore).unwrap();
        assert_eq!(checksums(&cluster.database(&copy).unwrap()), checksums(&cluster));
    }
}

#[test]
fn p062_of_what_a_program_gives_as_much_is_read_as_is_needed() {
    let Some(programs) = programs() else { return };
    let (cluster, folder) = (fresh(), Folder::new());
    // Far more than fits into a pipe, behind the table that is wanted.
    let fill = "CREATE TABLE a AS SELECT 1 AS x; \
                CREATE TABLE z AS SELECT md5(n::text) AS x FROM generate_series(1, 100000) n";
    cluster.execute(fill, &[]).unwrap();
    let path = folder.file("a");
    cluster.backup(&on_client(&path, &programs)).unwrap();
    let words =
        |command: &str| Place::Program(["sh", "-c", command, path.to_str().unwrap()].map(String::from).to_vec());
    let mut restore = into_new(words("exec cat \"$0\""), &unique("copy"), &programs);
    restore.options.tables = vec!["a".into()];
    cluster.restore(&restore).unwrap();
    restore = into_new(words("exec cat \"$0\""), &unique("copy"), &programs);
    restore.options.content = Content::SchemaOnly;
    cluster.restore(&restore).unwrap();
    // One that fails before all that is needed was read.
    restore = into_new(words("head -c 100000 \"$0\"; sleep 0.3; exit 3"), &unique("copy"), &programs);
    let error = cluster.restore(&restore).unwrap_err();
    assert!(matches!(&error, Error::OsCommand { exit_code: Some(3), .. }), "{error}");
    // Of a dump, all must be taken.
    let mut backup = Backup::to_program(["sh", "-c", "head -c 100000 >/dev/null"]);
    backup.programs = Some(programs);
    let error = cluster.backup(&backup).unwrap_err();
    assert!(matches!(error, Error::OsCommand { .. }), "{error}");
}

#[test]
fn a_plain_dump_that_is_compressed_is_named_so_and_comes_back_through_a_program() {
    let Some(programs) = programs() else { return };
    let (cluster, folder) = (many_sorts(), Folder::new());
    let mut options = DumpOptions::new();
    (options.format, options.compression) = (DumpFormat::Plain, Some(Compression::Gzip(1)));
    let path = folder.file("a");
    cluster.backup(&on_client(&path, &programs).with(options)).unwrap();
    let error = cluster.restore(&into_new(Place::Client(path.clone()), &unique("copy"), &programs)).unwrap_err();
    assert!(matches!(&error, Error::Invalid { .. }) && error.to_string().contains("gzip -dc"), "{error}");
    let copy = unique("copy");
    let place = Place::Program(["gzip", "-dc", path.to_str().unwrap()].map(String::from).to_vec());
    let mut restore = into_new(place, &copy, &programs);
    restore.format = Some(DumpFormat::Plain);
    cluster.restore(&restore).unwrap();
    assert_eq!(checksums(&cluster.database(&copy).unwrap()), checksums(&cluster));
}

fn sha256(path: &Path) -> String {
    let output = Command::new("sha256sum").arg(path).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().to_owned()
}

#[test]
fn p062_what_was_cut_off_is_neither_stored_nor_committed() {
    let Some(programs) = programs() else { return };
    let (cluster, folder) = (many_sorts(), Folder::new());
    // A store that counts what it has as soon as its input ends. One that is waited for in vain is ended.
    let store = folder.file("stored");
    let words = ["sh", "-c", "cat >\"$0.part\" && mv \"$0.part\" \"$0\"", store.to_str().unwrap()];
    let mut options = DumpOptions::new();
    (options.strict_names, options.tables) = (true, vec!["no_such_table".into()]);
    let mut backup = Backup::to_program(words).with(options);
    (backup.programs, backup.timeout) = (Some(programs.clone()), Some(Duration::from_secs(60)));
    let error = cluster.backup(&backup).unwrap_err();
    assert!(error.to_string().contains("no_such_table"), "{error}");
    assert!(!store.exists());
    // A program that fails when it has given half of a script, between two statements.
    let mut options = DumpOptions::new();
    options.format = DumpFormat::Plain;
    let path = folder.file("whole.sql");
    cluster.backup(&on_client(&path, &programs).with(options)).unwrap();
    let half = format!("sed '/^CREATE TABLE/q' {} | sed '$d'; sleep 0.3; exit 3", path.display());
    let target = fresh();
    let mut restore =
        Restore::new(Place::Program(vec!["sh".into(), "-c".into(), half]), RestoreTarget::CurrentDatabase);
    (restore.programs, restore.format) = (Some(programs), Some(DumpFormat::Plain));
    restore.options.transaction = RestoreTransaction::Single;
    let error = target.restore(&restore).unwrap_err();
    assert!(matches!(&error, Error::OsCommand { exit_code: Some(3), .. }), "{error}");
    assert!(!target.schemas().contains("app").unwrap());
}

#[test]
fn p063_what_pg_dump_says_is_told_and_never_in_the_dump() {
    let Some(programs) = programs() else { return };
    let (cluster, folder) = (many_sorts(), Folder::new());
    let mut options = DumpOptions::new();
    (options.format, options.verbose) = (DumpFormat::Plain, true);
    let path = folder.file("verbose.sql");
    let (mut said, mut most) = (Vec::new(), 0);
    let backup = on_client(&path, &programs).with(options.clone());
    let report = cluster.backup_with(&backup, &mut |progress| {
        match progress {
            Progress::Message(message) => said.push(message.to_string()),
            Progress::Bytes(bytes) => most = most.max(*bytes),
            _ => {}
        }
        ControlFlow::Continue(())
    });
    assert!(report.unwrap().warnings.is_empty());
    assert!(said.iter().any(|line| line.contains("dumping contents of table")), "{said:?}");
    assert!(most <= fs::metadata(&path).unwrap().len());
    let told = said.clone();
    let inside = |text: &str| told.iter().find(|line| text.contains(line.as_str())).cloned();
    assert_eq!(inside(&fs::read_to_string(&path).unwrap()), None);
    cluster.restore(&into_new(Place::Client(path), &unique("copy"), &programs)).unwrap();
    // On the server, and in an archive.
    options.format = DumpFormat::Custom;
    options.compression = Some(Compression::None);
    for (name, backup) in [
        ("a", on_client(&folder.file("a"), &programs).with(options.clone())),
        ("b", on_server(&folder.file("b"), &programs).with(options.clone())),
    ] {
        said.clear();
        let told = cluster.backup_with(&backup, &mut |progress| {
            if let Progress::Message(message) = progress {
                said.push(message.to_string());
            }
            ControlFlow::Continue(())
        });
        told.unwrap();
        assert!(said.len() > 20);
        assert_eq!(inside(&String::from_utf8_lossy(&fs::read(folder.file(name)).unwrap())), None);
        cluster.restore(&into_new(Place::Client(folder.file(name)), &unique("copy"), &programs)).unwrap();
    }
}

#[test]
fn p064_hostile_values_reach_the_programs_as_they_are_and_run_nothing() {
    let Some(programs) = programs() else { return };
    let folder = Folder::new();
    let canary = folder.file("canary");
    let c = canary.display();
    let values = [
        format!("a'; touch {c}; '"),
        format!("$(touch {c})"),
        format!("`touch {c}`"),
        format!("\"; touch {c}; \""),
        format!("| touch {c}"),
        format!("a\ntouch {c}\n"),
        format!("--file={c}"),
        format!("-f{c}"),
        format!("x --file={c}"),
    ];
    let maintenance = connect("postgres", "postgres");
    for value in &values {
        // A database, a schema in it, and a folder by that name.
        let database = format!("{} {value}", unique("db")).chars().take(40).collect::<String>() + "='";
        let plain = |name: &str| sql!("CREATE DATABASE {} TEMPLATE template0", Ident(name)).to_string();
        maintenance.execute(&plain(&database), &[]).unwrap();
        let cluster = connect(&database, "postgres");
        let schema: String = value.chars().take(60).collect();
        cluster.execute(&sql!("CREATE SCHEMA {}", Ident(&schema)).to_string(), &[]).unwrap();
        cluster.execute(&sql!("CREATE TABLE {}.t (x integer)", Ident(&schema)).to_string(), &[]).unwrap();
        for place in ["client", "server"] {
            let name = format!("{} of the {place}", value.replace('/', "%"));
            let path = folder.file(&name);
            let mut options = DumpOptions::new();
            options.schemas = vec![sql!("{}", Ident(&schema)).to_string()];
            options.strict_names = true;
            let mut backup = match place {
                "client" => on_client(&path, &programs),
                _ => on_server(&path, &programs),
            };
            backup = backup.with(options.clone());
            let report = cluster.backup(&backup).unwrap();
            assert_eq!(manifest(&report).objects["TABLE"], 1, "{value}");
            let mut restore = into_new(backup.place.clone(), &format!("{}{value}", unique("c")), &programs);
            if let RestoreTarget::NewDatabase(database) = &mut restore.target {
                database.name.truncate(60);
            }
            cluster.restore(&restore).unwrap();
            // A value that matches nothing is the program's error, and nothing else.
            options.tables = vec![value.clone()];
            let mut backup = backup.with(options);
            backup.existing = Existing::Replace;
            let error = cluster.backup(&backup).unwrap_err();
            assert!(matches!(error, Error::OsCommand { .. }), "{error}");
            fs::remove_file(&path).unwrap();
            fs::remove_file(Manifest::path_for(&path)).unwrap();
        }
        assert!(!canary.exists(), "{value}");
    }
    assert_eq!(folder.names(), Vec::<String>::new());
}

#[test]
fn p065_a_failed_dump_leaves_no_file_and_says_what_the_program_said() {
    let Some(programs) = programs() else { return };
    let (cluster, folder) = (many_sorts(), Folder::new());
    let mut role = Role::new(unique("reader"));
    role.login = true;
    let role = cluster.roles().create(role).unwrap();
    let reader = connect(cluster.current_database(), &role.name);
    for format in [DumpFormat::Custom, DumpFormat::Directory, DumpFormat::Plain] {
        let mut options = DumpOptions::new();
        options.format = format;
        let error = reader.backup(&on_client(&folder.file("a"), &programs).with(options.clone())).unwrap_err();
        let Error::OsCommand { exit_code: Some(1), stderr, command, .. } = &error else { panic!("{error}") };
        assert!(stderr.contains("permission denied"), "{error}");
        assert_eq!(command, &format!("pg_dump of database {:?}", cluster.current_database()));
        options.role = Some(role.name.clone());
        let error = cluster.backup(&on_server(&folder.file("b"), &programs).with(options)).unwrap_err();
        assert!(error.to_string().contains("permission denied"), "{error}");
        assert_eq!(folder.names(), Vec::<String>::new());
    }
    // An older dump stays as it is when the new one fails.
    let path = folder.file("kept");
    let mut backup = on_client(&path, &programs);
    cluster.backup(&backup).unwrap();
    let (bytes, names) = (fs::read(&path).unwrap(), folder.names());
    backup.existing = Existing::Replace;
    let mut options = DumpOptions::new();
    options.role = Some(role.name.clone());
    cluster.backup(&backup.clone().with(options)).unwrap_err();
    assert_eq!((fs::read(&path).unwrap(), folder.names()), (bytes, names));
    cluster.execute("INSERT INTO app.parent VALUES (9)", &[]).unwrap();
    let replaced = cluster.backup(&backup).unwrap();
    assert_eq!(manifest(&replaced).sha256, sha256(&path));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn p065_a_dump_that_takes_too_long_or_is_given_up_is_ended_and_leaves_nothing() {
    let Some(programs) = programs() else { return };
    let (cluster, folder) = (many_sorts(), Folder::new());
    let other = connect(cluster.current_database(), "postgres");
    let held = other.transaction(|| {
        other.execute("LOCK TABLE app.people IN ACCESS EXCLUSIVE MODE", &[])?;
        let [none, exact] = [RowCounts::None, RowCounts::Exact];
        for (place, counts) in [("client", none), ("client", exact), ("server", none), ("server", exact)] {
            let path = folder.file(place);
            let mut backup = if place == "client" { on_client(&path, &programs) } else { on_server(&path, &programs) };
            (backup.timeout, backup.row_counts) = (Some(Duration::from_secs(1)), counts);
            let started = Instant::now();
            let error = cluster.backup(&backup).unwrap_err();
            assert!(error.to_string().contains("(timeout)"), "{error}");
            assert!(started.elapsed() < Duration::from_secs(15));
        }
        let mut ticks = 0;
        let error = cluster.backup_with(&on_client(&folder.file("c"), &programs), &mut |_| {
            ticks += 1;
            if ticks > 20 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert!(error.unwrap_err().to_string().contains("gave it up"));
        let mut options = DumpOptions::new();
        options.lock_wait_timeout = Some(Duration::from_millis(100));
        for counts in [none, exact] {
            let mut backup = on_client(&folder.file("d"), &programs).with(options.clone());
            backup.row_counts = counts;
            let error = cluster.backup(&backup).unwrap_err();
            assert!(error.to_string().contains("timeout"), "{error}");
        }
        assert_eq!(folder.names(), Vec::<String>::new());
        wait_until("pg_dump is gone from the server", || {
            let mine =
                "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'pg_dump'";
            cluster.execute(mine, &[]).unwrap().is_empty()
        });
        Ok(())
    });
    held.unwrap();
}

#[test]
fn timeouts_that_a_role_has_for_its_work_do_not_end_a_dump_whose_rows_are_counted() {
    let Some(programs) = programs() else { return };
    let (cluster, folder) = (many_sorts(), Folder::new());
    let mut role = Role::new(unique("hurried"));
    (role.login, role.superuser) = (true, true);
    let role = cluster.roles().create(role).unwrap();
    let newer: &[&str] = if major() >= 17 { &["transaction_timeout"] } else { &[] };
    for name in ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"].iter().chain(newer) {
        cluster.execute(&sql!("ALTER ROLE {} SET {} = '250ms'", Ident(&role.name), *name).to_string(), &[]).unwrap();
    }
    let hurried = connect(cluster.current_database(), &role.name);
    let mut backup = on_client(&folder.file("a"), &programs);
    backup.row_counts = RowCounts::Exact;
    let other = connect(cluster.current_database(), "postgres");
    let (locked, is_locked) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let held = scope.spawn(|| {
            other.transaction(|| {
                other.execute("LOCK TABLE app.people IN ACCESS EXCLUSIVE MODE", &[])?;
                locked.send(()).unwrap();
                let waits = "SELECT 1 FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE NOT l.granted \
                             AND l.relation = 'app.people'::regclass AND clock_timestamp() - a.query_start > '400ms'";
                wait_until("somebody has waited for the table", || !cluster.execute(waits, &[]).unwrap().is_empty());
                Ok(())
            })
        });
        is_locked.recv().unwrap();
        let report = hurried.backup(&backup);
        held.join().unwrap().unwrap();
        assert!(manifest(&report.unwrap()).tables.len() > 6);
    });
}

/// Programs of which pg_dump first runs a command of the shell.
fn programs_with(folder: &Folder, programs: &Path, command: &str) {
    for name in ["pg_dump", "pg_restore"] {
        let first = if name == "pg_dump" { command } else { "" };
        let script = format!(
            "#!/bin/sh\n[ \"$1\" = --version ] || {{ :; {first}\n}}\nexec {}/{name} \"$@\"\n",
            programs.display()
        );
        fs::write(folder.file(name), script).unwrap();
        fs::set_permissions(folder.file(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn a_dump_that_came_to_the_final_path_meanwhile_stays_with_its_manifest() {
    let Some(programs) = programs() else { return };
    let (cluster, folder, other) = (fresh(), Folder::new(), Folder::new());
    let (path, told) = (folder.file("a"), Manifest::path_for(&folder.file("a")));
    programs_with(&other, &programs, &format!("echo other >{}; echo its >{}", path.display(), told.display()));
    for format in [DumpFormat::Custom, DumpFormat::Directory] {
        let mut options = DumpOptions::new();
        options.format = format;
        for backup in [on_client(&path, &other.0), on_server(&path, &other.0)] {
            let error = cluster.backup(&backup.with(options.clone())).unwrap_err();
            assert!(matches!(error, Error::AlreadyExists { .. }), "{error}");
            let left = [&path, &told].map(|path| fs::read_to_string(path).unwrap());
            assert_eq!(left, ["other\n", "its\n"]);
            assert_eq!(folder.names(), ["a", "a.manifest.json"]);
            [&path, &told].into_iter().for_each(|path| fs::remove_file(path).unwrap());
        }
    }
}

#[test]
fn of_dumps_to_one_path_at_once_one_is_there_with_its_manifest() {
    let Some(programs) = programs() else { return };
    let (cluster, folder) = (fresh(), Folder::new());
    let path = folder.file("a");
    for backup in [on_client(&path, &programs), on_server(&path, &programs)] {
        let dump = || connect(cluster.current_database(), "postgres").backup(&backup);
        let results: Vec<_> = thread::scope(|scope| {
            let running: Vec<_> = (0..4).map(|_| scope.spawn(dump)).collect();
            running.into_iter().map(|running| running.join().unwrap()).collect()
        });
        let (done, refused): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
        assert!(refused.iter().all(|result| matches!(result, Err(Error::AlreadyExists { .. }))), "{refused:?}");
        let [Ok(report)] = done.as_slice() else { panic!("{done:?}") };
        let told = fs::read_to_string(Manifest::path_for(&path)).unwrap();
        assert_eq!(Manifest::from_json(&told).unwrap(), *manifest(report));
        assert_eq!(folder.names(), ["a", "a.manifest.json"]);
        folder.names().iter().for_each(|name| fs::remove_file(folder.file(name)).unwrap());
    }
}

#[test]
fn p065_a_dump_whose_manifest_cannot_be_written_is_not_left_at_its_final_path() {
    let Some(programs) = programs() else { return };
    let (cluster, folder) = (fresh(), Folder::new());
    // Short enough for the dump's own temporary name, too long for that of the manifest.
    let path = folder.file(&"n".repeat(220));
    for backup in [on_client(&path, &programs), on_server(&path, &programs)] {
        let error = cluster.backup(&backup).unwrap_err();
        assert!(error.to_string().contains("name too long"), "{error}");
        assert_eq!(folder.names(), Vec::<String>::new());
    }
}

#[test]
fn variables_that_the_server_was_started_with_do_not_reach_the_programs() {
    let Some(programs) = programs() else { return };
    let (cluster, folder) = (fresh(), Folder::new());
    let told = folder.file("told");
    programs_with(&folder, &programs, &format!("env | sed -n 's/^\\(PG[^=]*\\)=.*/\\1/p' | sort >{}", told.display()));
    // The server itself has some of them, as PGDATA.
    cluster.backup(&on_server(&folder.file("a"), &folder.0)).unwrap();
    assert_eq!(fs::read_to_string(told).unwrap(), "PGHOST\nPGPORT\nPGUSER\n");
}

#[test]
fn p066_a_missing_folder_or_file_is_told_in_the_words_of_the_operating_system() {
    let Some(programs) = programs() else { return };
    let (cluster, folder) = (fresh(), Folder::new());
    let missing = folder.file("no").join("file");
    let mut into_nothing = Backup::to_program([missing.to_str().unwrap()]);
    into_nothing.programs = Some(programs.clone());
    let errors = [
        cluster.backup(&on_client(&missing, &programs)).unwrap_err(),
        cluster.backup(&on_server(&missing, &programs)).unwrap_err(),
        cluster.restore(&into_new(Place::Client(missing.clone()), &unique("copy"), &programs)).unwrap_err(),
        cluster.restore(&into_new(Place::Server(server_file(&missing)), &unique("copy"), &programs)).unwrap_err(),
        cluster.backup(&into_nothing).unwrap_err(),
    ];
    for error in errors {
        assert!(error.to_string().contains("No such file or directory"), "{error}");
    }
    assert_eq!(folder.names(), Vec::<String>::new());
    let error = cluster.backup(&Backup::on_server("relative")).unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }), "{error}");
}

#[test]
fn a_program_that_is_missing_or_too_old_is_refused_before_anything_is_written() {
    let (cluster, folder) = (fresh(), Folder::new());
    let old = folder.file("pg_dump");
    fs::write(&old, "#!/bin/sh\necho 'pg_dump (PostgreSQL) 11.22'\n").unwrap();
    fs::set_permissions(&old, fs::Permissions::from_mode(0o755)).unwrap();
    for backup in [on_client(&folder.file("a"), &folder.0), on_server(&folder.file("b"), &folder.0)] {
        let error = cluster.backup(&backup).unwrap_err();
        assert!(matches!(error, Error::Unsupported { .. }) && error.to_string().contains("11.22"), "{error}");
    }
    let error = cluster.backup(&on_client(&folder.file("a"), Path::new("/nowhere"))).unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }) && error.to_string().contains("/nowhere"), "{error}");
    assert_eq!(folder.names(), ["pg_dump"]);
    // What is found by itself is new enough, or refused.
    match cluster.backup(&Backup::on_client(folder.file("found"))) {
        Ok(report) => {
            assert!(manifest(&report).program_version.split('.').next().unwrap().parse::<u32>().unwrap() >= major())
        }
        Err(error) => assert!(matches!(error, Error::Unsupported { .. }), "{error}"),
    }
}

#[test]
fn an_option_that_the_program_does_not_have_is_refused_by_name_before_anything_runs() {
    let (cluster, folder) = (fresh(), Folder::new());
    let ran = folder.file("ran");
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = --version ] || touch {}\necho 'pg_dump (PostgreSQL) {}.0'\n",
        ran.display(),
        major()
    );
    fs::write(folder.file("pg_dump"), script).unwrap();
    fs::set_permissions(folder.file("pg_dump"), fs::Permissions::from_mode(0o755)).unwrap();
    let mut options = DumpOptions::new();
    (options.no_policies, options.filter, options.tables_and_children) = (true, Some("x".into()), vec!["t".into()]);
    for backup in [on_client(&folder.file("a"), &folder.0), on_server(&folder.file("b"), &folder.0)] {
        match (major(), cluster.backup(&backup.with(options.clone()))) {
            (18.., _) => {}
            (_, Err(Error::Unsupported { what, .. })) => assert!(what.contains("the option --"), "{what}"),
            (_, other) => panic!("{other:?}"),
        }
    }
    assert_eq!(ran.exists(), major() >= 18);
}

#[test]
fn rows_are_counted_in_the_very_moment_of_the_dump() {
    let Some(programs) = programs() else { return };
    let ((server, cluster), folder) = (alone(), Folder::new());
    fill(&cluster);
    let writer = Cluster::connect(&server.dsn()).unwrap();
    // Closed when the other end is dropped, also by an assertion that fails.
    let (goes_on, stopped) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let _goes_on = goes_on;
        scope.spawn(move || {
            while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                writer.execute("INSERT INTO app.parent VALUES (1)", &[]).unwrap();
            }
        });
        for (name, on_the_server) in [("a", false), ("b", true)] {
            let path = folder.file(name);
            let mut backup = if on_the_server { on_server(&path, &programs) } else { on_client(&path, &programs) };
            backup.row_counts = RowCounts::Exact;
            let report = cluster.backup(&backup).unwrap();
            let mut restore = into_new(backup.place, "unused", &programs);
            restore.options.jobs = Some(2);
            let verified = cluster.verify_backup(&restore).unwrap();
            assert!(verified.is_good(), "{verified:?}");
            assert_eq!(verified.tables_compared, manifest(&report).tables.len());
            assert!(verified.tables_compared > 6 && manifest(&report).large_objects == Some(1));
            assert_eq!(verified.objects["TABLE DATA"] as usize, verified.tables_compared);
        }
    });
    let left = "SELECT 1 FROM pg_database WHERE datname LIKE 'pgsteward_verify_%'";
    assert!(cluster.execute(left, &[]).unwrap().is_empty());
}

#[test]
fn a_verification_finds_what_is_not_as_the_manifest_tells() {
    let Some(programs) = programs() else { return };
    let (cluster, folder) = (many_sorts(), Folder::new());
    let path = folder.file("a");
    let mut backup = on_client(&path, &programs);
    backup.row_counts = RowCounts::Exact;
    let report = cluster.backup(&backup).unwrap();
    let restore = into_new(Place::Client(path.clone()), "unused", &programs);
    let mut told = manifest(&report).clone();
    told.tables[0].rows += 1;
    told.large_objects = Some(7);
    fs::write(Manifest::path_for(&path), told.to_json()).unwrap();
    let verified = cluster.verify_backup(&restore).unwrap();
    assert!(!verified.is_good());
    let [difference] = &verified.rows[..] else { panic!("{verified:?}") };
    assert_eq!(difference.found, Some(difference.expected - 1));
    assert_eq!(verified.large_objects, Some((7, 1)));
    // A table that cannot be restored: it is in the list of contents, and not in the scratch database.
    let mut options = DumpOptions::new();
    options.tables = vec!["app.orders".into()];
    fs::remove_file(&path).unwrap();
    cluster.backup(&on_client(&path, &programs).with(options)).unwrap();
    let verified = cluster.verify_backup(&restore).unwrap();
    assert!(verified.missing.iter().any(|entry| entry.starts_with("TABLE app orders")), "{verified:?}");
    assert!(verified.errors.iter().any(|error| error.text.contains("schema \"app\" does not exist")), "{verified:?}");
    // Another byte.
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();
    for error in [cluster.verify_backup(&restore).unwrap_err(), cluster.restore(&restore).unwrap_err()] {
        assert!(matches!(&error, Error::Invalid { .. }) && error.to_string().contains("manifest"), "{error}");
    }
    assert!(!exists("unused"));
}

#[test]
fn a_database_that_could_not_be_dropped_after_a_restore_is_named() {
    let Some(programs) = programs() else { return };
    let (server, folder) = (TestServer::start().unwrap(), Folder::new());
    let cluster = Cluster::connect(&server.dsn()).unwrap();
    let place = Place::Client(folder.file("a"));
    cluster.backup(&on_client(&folder.file("a"), &programs)).unwrap();
    // A template is not dropped.
    let other = Cluster::connect(&server.dsn()).unwrap();
    let keep = |name: &str| {
        let question = "SELECT format('ALTER DATABASE %I IS_TEMPLATE true', datname) FROM pg_database \
             WHERE datname LIKE $1 AND NOT datistemplate";
        let found = other.execute(question, &[&name]).unwrap();
        found.iter().for_each(|row| drop(other.execute(row.get::<_, &str>(0), &[]).unwrap()));
        !found.is_empty()
    };
    let mut verify = |_: &Progress<'_>| {
        keep("pgsteward_verify_%");
        ControlFlow::Continue(())
    };
    let verified = cluster.verify_backup_with(&into_new(place.clone(), "unused", &programs), &mut verify).unwrap();
    let (name, error) = verified.left.as_ref().unwrap();
    assert!(cluster.databases().with_system().contains(name.as_str()).unwrap() && verified.is_good());
    assert!(error.to_string().contains("template"), "{error}");
    let mut restore = |_: &Progress<'_>| match keep("copy") {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    };
    let error = cluster.restore_with(&into_new(place, "copy", &programs), &mut restore).unwrap_err().to_string();
    assert!(error.contains("database \"copy\" is left") && error.contains("drop it"), "{error}");
}

#[test]
fn errors_of_a_restore_are_a_list_of_objects_with_their_messages() {
    let Some(programs) = programs() else { return };
    let (cluster, folder) = (many_sorts(), Folder::new());
    let path = folder.file("a");
    cluster.backup(&on_client(&path, &programs)).unwrap();
    let target = fresh();
    target.execute("CREATE SCHEMA app; CREATE TABLE app.parent (other text)", &[]).unwrap();
    for place in [Place::Client(path.clone()), Place::Server(server_file(&path))] {
        // The server's user reads the files.
        for file in [&path, &Manifest::path_for(&path)] {
            fs::set_permissions(file, fs::Permissions::from_mode(0o644)).unwrap();
        }
        let mut options = RestoreOptions::new();
        (options.on_error, options.clean, options.if_exists) = (OnError::Continue, false, false);
        let mut restore = Restore::new(place.clone(), RestoreTarget::CurrentDatabase).with(options);
        restore.programs = Some(programs.clone());
        let report = target.restore(&restore).unwrap();
        let about = |name: &str| report.errors.iter().find(|error| error.object.as_deref() == Some(name));
        let error = about("TABLE parent postgres").unwrap_or_else(|| panic!("{report:?}"));
        assert!(error.kind == MessageKind::Error && error.text.contains("already exists"), "{error:?}");
        assert!(error.statement.as_deref().unwrap().starts_with("CREATE TABLE app.parent"), "{error:?}");
        assert!(about("SCHEMA app postgres").is_some());
        assert!(target.tables().contains("app.orders").unwrap());
        // The same, up to the first error, and in one transaction.
        let other = fresh();
        other.execute("CREATE SCHEMA app", &[]).unwrap();
        let mut options = RestoreOptions::new();
        options.transaction = RestoreTransaction::Single;
        let mut restore = Restore::new(place, RestoreTarget::CurrentDatabase).with(options);
        restore.programs = Some(programs.clone());
        let error = other.restore(&restore).unwrap_err();
        assert!(error.to_string().contains("SCHEMA app postgres: "), "{error}");
        assert_eq!(other.schemas().names().unwrap(), ["app", "public"]);
    }
}

#[test]
fn a_database_that_was_made_for_a_failed_restore_is_dropped() {
    let Some(programs) = programs() else { return };
    let (cluster, folder) = (many_sorts(), Folder::new());
    let (whole, half) = (folder.file("whole"), folder.file("half"));
    cluster.backup(&on_client(&whole, &programs)).unwrap();
    let bytes = fs::read(&whole).unwrap();
    fs::write(&half, &bytes[..bytes.len() * 9 / 10]).unwrap();
    fs::set_permissions(&half, fs::Permissions::from_mode(0o644)).unwrap();
    let name = unique("copy");
    for place in [Place::Client(half.clone()), Place::Server(server_file(&half))] {
        let error = cluster.restore(&into_new(place, &name, &programs)).unwrap_err();
        assert!(matches!(error, Error::OsCommand { .. }), "{error}");
        assert!(!exists(&name));
    }
    // One that exists is not touched.
    let there = fresh();
    let error = cluster.restore(&into_new(Place::Client(whole), there.current_database(), &programs)).unwrap_err();
    assert!(matches!(error, Error::AlreadyExists { .. }), "{error}");
    assert!(exists(there.current_database()));
}

#[test]
fn what_belongs_to_no_database_is_dumped_with_its_own_options() {
    let Some(programs) = programs() else { return };
    let (cluster, folder) = (fresh(), Folder::new());
    let mut role = cluster.roles().create(Role::new(unique("we'ird"))).unwrap();
    role.set_password("geheim").unwrap();
    for (name, hidden) in [("a", false), ("b", true)] {
        let mut options = GlobalsOptions::new();
        (options.no_role_passwords, options.clean, options.if_exists) = (hidden, true, true);
        let report = cluster.backup(&on_client(&folder.file(name), &programs).with(options)).unwrap();
        assert_eq!((manifest(&report).database.as_deref(), manifest(&report).program.as_str()), (None, "pg_dumpall"));
        let text = fs::read_to_string(folder.file(name)).unwrap();
        assert!(text.contains(&sql!("CREATE ROLE {}", Ident(&role.name)).to_string()), "{text}");
        assert!(text.contains("DROP ROLE IF EXISTS"));
        assert_eq!(text.contains("PASSWORD"), !hidden);
        assert_eq!(fs::metadata(folder.file(name)).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn a_password_reaches_the_program_and_nobody_else() -> Result<()> {
    let Some(programs) = programs() else { return Ok(()) };
    let mut options = TestServerOptions::new();
    options.hba = Some("local all all trust\nhost all all all scram-sha-256\n".into());
    options.settings.push(("password_encryption".into(), "scram-sha-256".into()));
    let (server, folder) = (TestServer::with(options)?, Folder::new());
    let mut role = Role::new("app");
    (role.login, role.superuser) = (true, true);
    Cluster::connect(&server.dsn())?.roles().create(role)?.set_password("p w'\\ geheim")?;
    let cluster =
        Cluster::connect(&format!("{} password='p w\\'\\\\ geheim'", server.tcp_dsn_for("postgres", "app")?))?;
    // A pg_dump that tells what it was called with.
    let (wrapper, told) = (folder.file("pg_dump"), folder.file("told"));
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = --version ] || printf '%s\\n' \"$@\" >{}\nexec {}/pg_dump \"$@\"\n",
        told.display(),
        programs.display()
    );
    fs::write(&wrapper, script).unwrap();
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink(programs.join("pg_restore"), folder.file("pg_restore")).unwrap();
    cluster.backup(&on_client(&folder.file("a"), &folder.0))?;
    let arguments = fs::read_to_string(told).unwrap();
    assert!(arguments.contains("--no-password\n--dbname=dbname='postgres'\n") && !arguments.contains("geheim"));
    // Another program does not have it.
    let mut backup =
        Backup::to_program(["sh", "-c", "cat >/dev/null; printenv >\"$0\"", folder.file("env").to_str().unwrap()]);
    backup.programs = Some(programs);
    cluster.backup(&backup)?;
    assert!(!fs::read_to_string(folder.file("env")).unwrap().contains("geheim"));
    assert!(!format!("{cluster:?} {backup:?}").contains("geheim"));
    Ok(())
}

#[test]
fn every_option_is_one_that_the_program_knows() {
    let Some(programs) = programs() else { return };
    let (cluster, folder) = (many_sorts(), Folder::new());
    let newest = version_of(&programs.join("pg_dump")).unwrap();
    let mut options = DumpOptions::new();
    (options.format, options.clean, options.if_exists, options.create) = (DumpFormat::Plain, true, true, true);
    (options.row_form, options.rows_per_insert, options.on_conflict_do_nothing) = (RowForm::Inserts, Some(10), true);
    (options.disable_dollar_quoting, options.quote_all_identifiers) = (true, true);
    (options.no_comments, options.no_owner, options.no_privileges, options.no_publications) = (true, true, true, true);
    (options.no_security_labels, options.no_subscriptions, options.no_tablespaces) = (true, true, true);
    (options.no_unlogged_table_data, options.load_via_partition_root) = (true, true);
    (options.extra_float_digits, options.encoding) = (Some(2), Some("UTF8".into()));
    (options.exclude_schemas, options.exclude_tables) = (vec!["x*".into()], vec!["app.child".into()]);
    (options.exclude_table_data, options.serializable_deferrable) = (vec!["app.people".into()], true);
    (options.use_set_session_authorization, options.enable_row_security) = (true, true);
    options.no_table_access_method = newest >= 15;
    options.no_toast_compression = newest >= 14;
    (options.no_policies, options.sequence_data, options.statistics) = (newest >= 18, newest >= 18, newest >= 18);
    let path = folder.file("a");
    cluster.backup(&on_client(&path, &programs).with(options)).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("INSERT INTO \"app\".\"orders\"") && text.contains("ON CONFLICT DO NOTHING"));
    assert!(text.contains("DROP DATABASE IF EXISTS") && !text.contains("COMMENT ON") && !text.contains("app.child"));

    let path = folder.file("b");
    cluster.backup(&on_client(&path, &programs)).unwrap();
    let target = fresh();
    let mut options = RestoreOptions::new();
    (options.no_owner, options.no_privileges, options.no_comments, options.no_publications) = (true, true, true, true);
    (options.no_security_labels, options.no_subscriptions, options.no_tablespaces) = (true, true, true);
    (options.schemas, options.clean, options.if_exists, options.strict_names) = (vec!["app".into()], true, true, true);
    (options.tables, options.enable_row_security) = (vec!["parent".into()], true);
    options.no_data_for_failed_tables = true;
    options.no_table_access_method = newest >= 15;
    (options.no_policies, options.no_statistics) = (newest >= 18, newest >= 18);
    target.execute("CREATE SCHEMA app", &[]).unwrap();
    let mut restore = Restore::on_client(&path, RestoreTarget::CurrentDatabase).with(options);
    restore.programs = Some(programs);
    target.restore(&restore).unwrap();
    assert_eq!(target.tables().names().unwrap(), [Name::new("app", "parent")]);
}

#[test]
fn a_plan_collects_a_backup_and_a_restore_and_a_transaction_refuses_them() {
    let Some(programs) = programs() else { return };
    let (cluster, folder) = (many_sorts(), Folder::new());
    let (path, copy) = (folder.file("a"), unique("copy"));
    let (backup, restore) = (on_client(&path, &programs), into_new(Place::Client(path.clone()), &copy, &programs));
    let plan = cluster.plan(|c| {
        assert!(c.backup(&backup)?.manifest.is_none());
        c.restore(&restore).map(drop)
    });
    let plan = plan.unwrap();
    let text = plan.to_string();
    assert!(
        text.contains("-- pg_dump of database") && text.lines().all(|line| line.starts_with("--") || line == ";"),
        "{text}"
    );
    assert!(!path.exists());
    plan.apply().unwrap();
    assert!(path.exists() && exists(&copy));
    let error = cluster.plan(|c| c.verify_backup(&restore).map(drop)).unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }), "{error}");
    let error = cluster.transaction(|| cluster.backup(&backup)).unwrap_err();
    assert!(error.to_string().contains("transaction"), "{error}");
}

#[test]
fn a_standby_is_backed_up_with_its_rows_counted() {
    let Some(programs) = programs() else { return };
    let ((primary, cluster), folder) = (alone(), Folder::new());
    fill(&cluster);
    let standby = primary.standby().unwrap();
    let there = Cluster::connect(&standby.dsn()).unwrap();
    // What the script makes last.
    let last = "SELECT 1 FROM pg_largeobject_metadata WHERE lomacl IS NOT NULL";
    wait_until("the standby has it all", || !there.execute(last, &[]).unwrap().is_empty());
    let mut backup = on_client(&folder.file("a"), &programs);
    backup.row_counts = RowCounts::Exact;
    there.backup(&backup).unwrap();
    let verified = cluster.verify_backup(&into_new(backup.place, "unused", &programs)).unwrap();
    assert!(verified.is_good() && verified.tables_compared > 6, "{verified:?}");
}

/// The lines in another order, and without the commas that come of their order: pg_dump gives the columns of a child
/// another order where it has some from two parents.
fn regardless_of_order(definitions: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = definitions.lines().map(|line| line.trim_end_matches(',')).collect();
    lines.sort_unstable();
    lines
}

/// The database that PostgreSQL's own regression tests leave behind: `scripts/regression` makes it, and runs this.
#[cfg(target_os = "linux")]
#[test]
#[ignore = "needs PGSTEWARD_REGRESSION_DSN, a database that PostgreSQL's regression tests have filled"]
fn the_objects_of_postgresql_s_regression_tests_come_back_equal_in_little_memory() {
    let cluster = Cluster::connect(&std::env::var("PGSTEWARD_REGRESSION_DSN").unwrap()).unwrap();
    let bin = cluster.execute("SELECT setting FROM pg_config() WHERE name = 'BINDIR'", &[]).unwrap();
    let (programs, folder) = (PathBuf::from(bin[0].get::<_, String>(0)), Folder::new());
    // pg_dump computes materialized views anew.
    let refresh = "DO $$ DECLARE name regclass; BEGIN FOR name IN SELECT oid FROM pg_class WHERE relkind = 'm' LOOP \
                   EXECUTE 'REFRESH MATERIALIZED VIEW ' || name; END LOOP; END $$";
    cluster.execute(refresh, &[]).unwrap();
    let (before, sums) = (definitions(&cluster, &programs), checksums(&cluster));
    assert!(sums.len() > 500);
    for format in [DumpFormat::Custom, DumpFormat::Directory, DumpFormat::Tar, DumpFormat::Plain] {
        for (side, place) in [("client", on_client as fn(&Path, &Path) -> Backup), ("server", on_server)] {
            let mut options = DumpOptions::new();
            options.format = format;
            let mut backup = place(&folder.file(&format!("{} {side}", format.name())), &programs).with(options);
            backup.row_counts = if format == DumpFormat::Plain { RowCounts::None } else { RowCounts::Exact };
            let started = Instant::now();
            let report = cluster.backup(&backup).unwrap();
            let (dumped, copy) = (started.elapsed(), format!("copy_{}", std::process::id()));
            let (restore, started) = (into_new(backup.place, &copy, &programs), Instant::now());
            cluster.restore(&restore).unwrap();
            let (restored, started) = (started.elapsed(), Instant::now());
            let verified = cluster.verify_backup(&restore).unwrap();
            assert!(verified.is_good(), "{verified:?}");
            println!(
                "{format:?} on the {side}: {} entries, {} tables counted, {} bytes; dumped in {dumped:?}, restored in \
                 {restored:?}, verified in {:?}",
                verified.objects.values().sum::<u64>(),
                verified.tables_compared,
                manifest(&report).size,
                started.elapsed()
            );
            let there = cluster.database(&copy).unwrap();
            assert_eq!(checksums(&there), sums, "{format:?} on the {side}");
            let after = definitions(&there, &programs);
            assert_eq!(regardless_of_order(&after), regardless_of_order(&before), "{format:?} on the {side}");
            drop(there);
            cluster.databases().get(copy).unwrap().drop_force().unwrap();
        }
    }
    let peak = crate::support::peak();
    println!("{} lines of definitions and {} checksums, {peak} bytes of memory", before.lines().count(), sums.len());
    assert!(peak < 64 * 1024 * 1024, "{peak} bytes");
}

/// By itself, and longer than the others:
/// `cargo test --release --all-features --test live -- --ignored --exact backups::a_gigabyte_comes_back_equal_in_little_memory`
#[cfg(target_os = "linux")]
#[test]
#[ignore = "writes some gigabytes, and measures the memory of the whole process"]
fn a_gigabyte_comes_back_equal_in_little_memory() {
    let Some(programs) = programs() else { return };
    let (cluster, folder) = (fresh(), Folder::new());
    let fill = "CREATE TABLE t AS SELECT n, repeat(md5(n::text), 32) AS text FROM generate_series(1, 512 * 1024) n; \
                ALTER TABLE t ADD PRIMARY KEY (n); \
                SELECT lo_from_bytea(0, decode(repeat(md5(n::text), 256 * 1024), 'hex')) FROM generate_series(1, 128) n";
    cluster.execute(fill, &[]).unwrap();
    let sums = checksums(&cluster);
    let stored = folder.file("stored");
    let mut to_program = Backup::to_program(["sh", "-c", "cat >\"$0\"", stored.to_str().unwrap()]);
    to_program.programs = Some(programs.clone());
    for backup in [on_client(&folder.file("a"), &programs), to_program, on_server(&folder.file("b"), &programs)] {
        let mut options = DumpOptions::new();
        options.compression = Some(Compression::None);
        let started = Instant::now();
        let report = cluster.backup(&backup.clone().with(options)).unwrap();
        let (dumped, size) = (started.elapsed(), manifest(&report).size);
        assert!(size > 1_000_000_000, "{size}");
        let place = match backup.place {
            Place::Program(_) => Place::Program(vec!["cat".into(), stored.to_str().unwrap().into()]),
            place => place,
        };
        let (copy, started) = (unique("copy"), Instant::now());
        cluster.restore(&into_new(place.clone(), &copy, &programs)).unwrap();
        println!("{size} bytes, {place:?}: dumped in {dumped:?}, restored in {:?}", started.elapsed());
        assert_eq!(checksums(&cluster.database(&copy).unwrap()), sums);
        cluster.databases().get(copy).unwrap().drop_force().unwrap();
    }
    let peak = crate::support::peak();
    println!("{peak} bytes of memory");
    assert!(peak < 64 * 1024 * 1024, "{peak} bytes");
}

#[test]
fn a_database_that_a_restore_made_is_dropped_although_the_cancel_comes_late() {
    let Some(programs) = programs() else { return };
    let (server, folder) = (TestServer::start().unwrap(), Folder::new());
    let cluster = Cluster::connect(&server.dsn()).unwrap();
    let path = folder.file("d.dump");
    cluster.backup(&on_client(&path, &programs)).unwrap();
    let mut restore = Restore::on_client(&path, Database::new("copy"));
    restore.programs = Some(programs);
    let (late, canceller) = (CancelledOnce::new(&server.dsn(), "pg_database"), cluster.canceller());
    std::thread::scope(|scope| {
        let work = scope.spawn(|| {
            let mut locked = false;
            cluster.restore_with(&restore, &mut |progress| match progress {
                Progress::Message(_) => {
                    if !std::mem::replace(&mut locked, true) {
                        late.lock();
                    }
                    ControlFlow::Break(())
                }
                _ => ControlFlow::Continue(()),
            })
        });
        late.cancel(&server.dsn(), &canceller);
        work.join().unwrap().unwrap_err()
    });
    cluster.databases().refresh();
    assert!(!cluster.databases().contains("copy").unwrap());
}
