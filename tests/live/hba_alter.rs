//! pg_hba.conf on the server: read, replaced, put back.
use crate::support::unique;
use pgsteward::hba::{HbaFile, HbaOptions, HbaProbe, HbaWrite};
use pgsteward::testing::{TestServer, TestServerOptions};
use pgsteward::{Cluster, Error, Ident, sql};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Barrier;
use std::thread;

/// A server whose file a test may change.
pub struct Private {
    pub server: TestServer,
    pub cluster: Cluster,
}

impl Private {
    pub fn start() -> Self {
        Self::with(&[])
    }

    fn with(settings: &[(&str, &str)]) -> Self {
        let mut options = TestServerOptions::new();
        options.settings = settings.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let server = TestServer::with(options).unwrap();
        let cluster = Cluster::connect(&server.dsn()).unwrap();
        Self { server, cluster }
    }

    pub fn path(&self) -> PathBuf {
        self.server.data_directory().join("pg_hba.conf")
    }

    pub fn file(&self) -> HbaFile {
        HbaFile::read(&self.cluster).unwrap()
    }

    fn role(&self, grants: &[&str]) -> (String, Cluster) {
        let name = unique("editor");
        self.cluster.execute(&sql!("CREATE ROLE {} LOGIN", Ident(&name)).to_string(), &[]).unwrap();
        for grant in grants {
            self.cluster.execute(&format!("GRANT {grant} TO {name}"), &[]).unwrap();
        }
        let cluster = Cluster::connect(&self.server.dsn_for("postgres", &name)).unwrap();
        (name, cluster)
    }

    /// Has the server use a file elsewhere, with the owner that its own has.
    fn move_file_to(&self, path: &Path) {
        let owner = fs::metadata(self.path()).unwrap();
        if !path.exists() {
            fs::copy(self.path(), path).unwrap();
        }
        chown(path, Some(owner.uid()), Some(owner.gid())).unwrap();
        chown(path.parent().unwrap(), Some(owner.uid()), Some(owner.gid())).unwrap();
        self.set("hba_file", path.to_str().unwrap());
    }

    fn set(&self, name: &str, value: &str) {
        let path = self.server.data_directory().join("postgresql.conf");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(path, format!("{text}\n{name} = '{}'\n", value.replace('\'', "''"))).unwrap();
        self.restart();
    }

    pub fn restart(&self) {
        self.server.restart().unwrap();
        // The connection is seen to be lost, and made anew by the next call.
        let _ = self.cluster.execute("SELECT 1", &[]);
    }

    fn is_let_in(&self, role: &str) -> bool {
        Cluster::connect(&self.server.dsn_for("postgres", role)).is_ok()
    }
}

/// A directory that is gone after the test.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("pgsteward-hba-{}-{}", std::process::id(), unique("d")));
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The content with something before and after it.
pub fn around(before: &str, content: &[u8], after: &[u8]) -> Vec<u8> {
    [before.as_bytes(), content, after].concat()
}

fn options() -> HbaOptions {
    HbaOptions::new()
}

const READ: &str = "EXECUTE ON FUNCTION pg_read_binary_file(text, bigint, bigint, boolean)";
const SEE: [&str; 3] =
    ["SELECT ON pg_hba_file_rules", "EXECUTE ON FUNCTION pg_hba_file_rules()", "EXECUTE ON FUNCTION pg_reload_conf()"];

#[test]
fn p053_the_file_is_replaced_and_loaded_and_a_copy_is_kept() {
    let private = Private::with(&[("log_statement", "all"), ("log_min_duration_statement", "0")]);
    let path = private.path();
    fs::set_permissions(&path, Permissions::from_mode(0o440)).unwrap();
    private.cluster.execute("CREATE ROLE guest LOGIN", &[]).unwrap();
    assert!(private.is_let_in("guest"));
    let (before, old) = (fs::metadata(&path).unwrap(), fs::read(&path).unwrap());
    let mut file = private.file();
    assert_eq!(file.content(), old);
    // Bytes of any encoding, and a secret.
    let new = around(
        "local all guest reject\n",
        &old,
        b"#\tcaf\xe9\r\n# \\N \\. ldapbindpasswd=geheim\nhost all x ::1/128 reject",
    );
    let outcome = file.replace(&new, &options()).unwrap();
    assert_eq!(fs::read(&path).unwrap(), new);
    assert!(!private.is_let_in("guest"), "the new rules are in force");
    let after = fs::metadata(&path).unwrap();
    assert_eq!((after.mode(), after.uid(), after.gid()), (before.mode(), before.uid(), before.gid()));
    assert_eq!((outcome.write, outcome.reloaded, outcome.probed), (Some(HbaWrite::Replace), true, true));
    assert_eq!((outcome.lines_added, outcome.lines_removed), (4, 0));
    let copy = PathBuf::from(outcome.backup.unwrap());
    assert_eq!(fs::read(&copy).unwrap(), old);
    assert_eq!(fs::metadata(&copy).unwrap().mode(), before.mode());
    assert_eq!(fs::read_link(path.with_extension("conf.bak")).unwrap(), copy.file_name().unwrap());
    let log = private.server.log().unwrap();
    assert!(log.contains("TO PROGRAM") && !log.contains("geheim") && !log.contains("6765686569"), "the log is silent");
    assert_eq!(private.leftovers(), Vec::<String>::new());
}

impl Private {
    /// What a change would leave behind: its temporary files.
    fn leftovers(&self) -> Vec<String> {
        let data = self.server.data_directory();
        let names = [data.clone(), data.join("base/pgsql_tmp")].into_iter().filter_map(|path| fs::read_dir(path).ok());
        let names = names.flatten().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.contains("steward")).collect()
    }
}

#[test]
fn p053_older_files_are_listed_and_brought_back() {
    let private = Private::start();
    let mut file = private.file();
    let first = file.content().to_vec();
    let second = around("# second\n", &first, b"");
    file.replace(&second, &options()).unwrap();
    let [backup] = &file.backups().unwrap()[..] else { panic!("one copy") };
    assert_eq!(backup.size, first.len() as u64);
    let outcome = file.restore(backup, &options()).unwrap();
    assert_eq!(fs::read(private.path()).unwrap(), first);
    assert!(outcome.reloaded && outcome.probed);
    let backups = file.backups().unwrap();
    assert_eq!(backups.len(), 2);
    assert!(backups.iter().any(|backup| fs::read(&backup.path).unwrap() == second));
    fs::remove_file(&backup.path).unwrap();
    assert!(matches!(file.restore(backup, &options()), Err(Error::NotFound { .. })));
}

#[test]
fn p056_symbolic_links_are_followed_and_stay() {
    let (private, elsewhere) = (Private::start(), Directory::new());
    let (real, link) = (elsewhere.0.join("real.conf"), elsewhere.0.join("link's.conf"));
    fs::copy(private.path(), &real).unwrap();
    symlink("real.conf", &link).unwrap();
    private.move_file_to(&link);
    let mut file = private.file();
    assert_eq!(file.path(), link.to_str().unwrap());
    let new = around("# new\n", file.content(), b"");
    let outcome = file.replace(&new, &options()).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read(&real).unwrap(), new);
    assert!(outcome.backup.unwrap().starts_with(&format!("{}.2", real.canonicalize().unwrap().display())));
    assert_eq!(file.backups().unwrap().len(), 1);
}

#[test]
fn p056_of_two_writers_one_wins_and_the_other_is_told() {
    let private = Private::start();
    for round in 0..5 {
        let barrier = Barrier::new(2);
        let old = private.file().content().to_vec();
        let results: Vec<_> = thread::scope(|scope| {
            let write = |who: &'static str| {
                let (barrier, dsn) = (&barrier, private.server.dsn());
                move || {
                    let cluster = Cluster::connect(&dsn).unwrap();
                    let mut file = HbaFile::read(&cluster).unwrap();
                    let new = around(&format!("# {who} {round}\n"), file.content(), b"");
                    barrier.wait();
                    file.replace(&new, &options()).map(|_| new)
                }
            };
            let threads = [scope.spawn(write("one")), scope.spawn(write("two"))];
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let (won, lost): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
        assert_eq!((won.len(), lost.len()), (1, 1), "{lost:?}");
        let new = won.into_iter().next().unwrap().unwrap();
        assert_eq!(fs::read(private.path()).unwrap(), new, "nothing is lost");
        assert_ne!(new, old);
        let error = lost.into_iter().next().unwrap().unwrap_err();
        assert!(error.is_conflict(), "{error}");
        let winner = String::from_utf8_lossy(&new).lines().next().unwrap().to_owned();
        assert!(error.to_string().contains(&format!("+{winner}")), "it shows what the other did: {error}");
    }
}

#[test]
fn p056_rules_that_the_server_refuses_are_taken_back() {
    let private = Private::start();
    let mut file = private.file();
    let old = file.content().to_vec();
    let error = file.replace(&around("local all all nonsense\n", &old, b""), &options()).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("nonsense") && text.contains("line 1") && text.contains("put back"), "{text}");
    assert_eq!(fs::read(private.path()).unwrap(), old);
    let error = file.replace(b"# nothing\n", &options()).unwrap_err();
    assert!(error.to_string().contains("no rule"), "{error}");
    assert_eq!(fs::read(private.path()).unwrap(), old);
    file.replace(&around("# fine\n", &old, b""), &options()).unwrap();
}

#[test]
fn p056_rules_that_keep_the_writer_out_are_taken_back() {
    let private = Private::start();
    private.cluster.execute("CREATE ROLE guest LOGIN", &[]).unwrap();
    let mut file = private.file();
    let old = file.content().to_vec();
    let new = around("local all postgres reject\nlocal all guest reject\n", &old, b"");
    let error = file.replace(&new, &options()).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("pg_hba.conf rejects connection") && text.contains("put back and loaded"), "{text}");
    assert_eq!(fs::read(private.path()).unwrap(), old);
    assert!(private.is_let_in("postgres") && private.is_let_in("guest"));
    // Unless that is asked for.
    let mut skip = options();
    skip.probe = HbaProbe::Skip;
    let outcome = file.replace(&new, &skip).unwrap();
    assert!(outcome.reloaded && !outcome.probed);
    assert!(!private.is_let_in("postgres") && !private.is_let_in("guest"));
    file.replace(&old, &options()).unwrap();
    assert!(private.is_let_in("postgres"));
}

#[test]
fn p057_a_standby_is_read_and_written() {
    let primary = Private::start();
    let server = primary.server.standby().unwrap();
    let path = server.data_directory().join("pg_hba.conf");
    let cluster = Cluster::connect(&server.dsn()).unwrap();
    cluster.execute("SET log_statement = 'all'", &[]).unwrap();
    let mut file = HbaFile::read(&cluster).unwrap();
    let new = around("# ldapbindpasswd=geheim\n", file.content(), b"#\xe9\0\r\n");
    let outcome = file.replace(&new, &options()).unwrap();
    assert_eq!(fs::read(&path).unwrap(), new);
    assert!(outcome.reloaded && outcome.probed && outcome.backup.is_some());
    let log = server.log().unwrap();
    assert!(log.contains("TO PROGRAM") && !log.contains("geheim") && !log.contains("6765686569"), "{log}");
    assert_ne!(fs::read(primary.path()).unwrap(), new);
    let mut in_place = options();
    in_place.write = HbaWrite::InPlace;
    file.replace(b"local all all trust\n", &in_place).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"local all all trust\n");
}

#[test]
fn p057_an_ordinary_role_is_told_what_it_lacks() {
    let private = Private::start();
    let (name, cluster) = private.role(&[]);
    let denied = |result: Result<HbaFile, Error>| {
        let error = result.err().unwrap();
        assert!(matches!(error, Error::Denied { .. }), "{error}");
        error.to_string()
    };
    let text = denied(HbaFile::read(&cluster));
    assert!(text.contains(&format!("GRANT pg_read_all_settings TO \"{name}\"")), "{text}");
    private.cluster.execute(&format!("GRANT pg_read_all_settings TO {name}"), &[]).unwrap();
    let text = denied(HbaFile::read(&cluster));
    assert!(text.contains("GRANT EXECUTE ON FUNCTION pg_catalog.pg_read_binary_file("), "{text}");
    private.cluster.execute(&format!("GRANT {READ} TO {name}"), &[]).unwrap();
    let mut file = HbaFile::read(&cluster).unwrap();
    let old = file.content().to_vec();
    let text = file.replace(b"local all all trust\n", &options()).unwrap_err().to_string();
    for right in ["pg_execute_server_program", "pg_hba_file_rules", "pg_reload_conf()"] {
        assert!(text.contains(right), "{right}: {text}");
    }
    assert_eq!(fs::read(private.path()).unwrap(), old);
}

#[test]
fn p057_a_role_with_exactly_the_rights_does_it_all() {
    let (private, elsewhere) = (Private::with(&[("log_statement", "all")]), Directory::new());
    let mut grants = vec!["pg_read_all_settings", "pg_execute_server_program", READ];
    grants.extend(SEE);
    let (name, cluster) = private.role(&grants);
    let mut file = HbaFile::read(&cluster).unwrap();
    let new = around("# radiussecrets=geheim\n", file.content(), b"");
    file.replace(&new, &options()).unwrap();
    assert_eq!(fs::read(private.path()).unwrap(), new);
    assert_eq!(file.backups().unwrap().len(), 1);
    assert!(!private.server.log().unwrap().contains("geheim"));
    // Elsewhere one more is needed to read it.
    private.move_file_to(&elsewhere.0.join("pg_hba.conf"));
    let _ = cluster.execute("SELECT 1", &[]);
    let error = HbaFile::read(&cluster).err().unwrap();
    assert!(error.to_string().contains("pg_read_server_files"), "{error}");
    private.cluster.execute(&format!("GRANT pg_read_server_files TO {name}"), &[]).unwrap();
    let mut file = HbaFile::read(&cluster).unwrap();
    file.replace(&around("# more\n", &new, b""), &options()).unwrap();
}

#[test]
fn a_role_that_may_only_write_files_does_it_in_place_when_asked() {
    let private = Private::start();
    let mut grants = vec!["pg_read_all_settings", "pg_write_server_files", READ];
    grants.extend(SEE);
    let (name, cluster) = private.role(&grants);
    let mut file = HbaFile::read(&cluster).unwrap();
    let (old, inode) = (file.content().to_vec(), fs::metadata(private.path()).unwrap().ino());
    let new = around("# \\N \\t\t\"x\" é\n\n", &old, b"\n");
    let error = file.replace(&new, &options()).unwrap_err().to_string();
    assert!(error.contains("pg_execute_server_program") && error.contains("HbaWrite::InPlace"), "{error}");
    let mut in_place = options();
    in_place.write = HbaWrite::InPlace;
    let outcome = file.replace(&new, &in_place).unwrap();
    assert_eq!(fs::read(private.path()).unwrap(), new);
    assert_eq!(fs::metadata(private.path()).unwrap().ino(), inode);
    assert_eq!(outcome.write, Some(HbaWrite::InPlace));
    assert_eq!(fs::read(outcome.backup.unwrap()).unwrap(), old);
    // What COPY would not write as it is.
    for bad in [&b"local all all trust\r\n"[..], b"local all all trust", b"#\xe9\nlocal all all trust\n", b"\\.\n"] {
        let error = file.replace(bad, &in_place).unwrap_err();
        assert!(matches!(error, Error::Denied { .. }), "{error}");
        assert_eq!(fs::read(private.path()).unwrap(), new);
    }
    // With a right more, any bytes.
    private.cluster.execute(&format!("GRANT EXECUTE ON FUNCTION lo_export(oid, text) TO {name}"), &[]).unwrap();
    let mut file = HbaFile::read(&cluster).unwrap();
    let any = b"#\xe9\r\nlocal all all trust\n#\0";
    file.replace(any, &in_place).unwrap();
    assert_eq!(fs::read(private.path()).unwrap(), any);
    let left = private.cluster.execute("SELECT count(*) FROM pg_largeobject_metadata", &[]).unwrap();
    assert_eq!(left[0].get::<_, i64>(0), 0);
    // Somebody else's change is seen here too.
    fs::write(private.path(), "local all all trust\n# theirs\n").unwrap();
    assert!(file.replace(b"local all all trust\n", &in_place).unwrap_err().is_conflict());
    assert_eq!(fs::read(private.path()).unwrap(), b"local all all trust\n# theirs\n");
}

#[test]
fn what_cannot_be_undone_or_tried_is_refused_before_anything_is_written() {
    let private = Private::start();
    let mut file = private.file();
    let old = file.content().to_vec();
    let error = private.cluster.transaction(|| file.replace(b"local all all trust\n", &options())).unwrap_err();
    assert!(error.to_string().contains("inside a transaction"), "{error}");
    let client = postgres::Client::connect(&private.server.dsn(), postgres::NoTls).unwrap();
    let handed_in = Cluster::from_client(client).unwrap();
    let mut file = HbaFile::read(&handed_in).unwrap();
    let error = file.replace(b"local all all trust\n", &options()).unwrap_err();
    assert!(error.to_string().contains("HbaProbe::Skip"), "{error}");
    assert_eq!(fs::read(private.path()).unwrap(), old);
    let mut skip = options();
    skip.probe = HbaProbe::Skip;
    assert!(file.replace(b"local all all trust\n", &skip).unwrap().reloaded);
}

#[test]
fn a_file_of_patroni_is_left_to_it() {
    let private = Private::start();
    let text = "# Do not edit this file manually!\n# It will be overwritten by Patroni!\nlocal all all trust\n";
    fs::write(private.path(), text).unwrap();
    let error = private.file().replace(b"local all all trust\n", &options()).unwrap_err();
    assert!(error.to_string().contains("patronictl edit-config"), "{error}");
    assert_eq!(fs::read_to_string(private.path()).unwrap(), text);
}

#[test]
fn a_file_of_another_owner_is_not_taken_from_him() {
    let private = Private::start();
    if chown(private.path(), Some(0), None).is_err() {
        println!("SKIPPED: only root can give a file to another owner");
        return;
    }
    fs::set_permissions(private.path(), Permissions::from_mode(0o644)).unwrap();
    let mut file = private.file();
    let old = file.content().to_vec();
    let error = file.replace(b"local all all trust\n", &options()).unwrap_err();
    assert!(matches!(error, Error::Denied { .. }) && error.to_string().contains("owner"), "{error}");
    assert_eq!((fs::read(private.path()).unwrap(), private.leftovers()), (old, Vec::new()));
    assert_eq!(file.backups().unwrap(), []);
}

#[test]
fn a_cancelled_change_leaves_the_old_file() {
    let private = Private::start();
    let old = fs::read(private.path()).unwrap();
    for milliseconds in (1..60).step_by(4) {
        let mut file = private.file();
        private.cluster.execute(&format!("SET statement_timeout = {milliseconds}"), &[]).unwrap();
        let new = around("# new\n", &old, b"");
        let result = file.replace(&new, &options());
        private.cluster.execute("SET statement_timeout = 0", &[]).unwrap();
        let now = fs::read(private.path()).unwrap();
        match result {
            Ok(_) => assert!(now == new),
            Err(error) => assert!(now == old, "{error}"),
        }
        assert_eq!(private.leftovers(), Vec::<String>::new());
        fs::write(private.path(), &old).unwrap();
    }
}

/// Something mounted for a test; only root may.
struct Mount(PathBuf);

impl Mount {
    fn new(arguments: &[&str], at: &Path) -> Option<Self> {
        let mounted = Command::new("mount").args(arguments).arg(at).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Self(at.to_owned()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_leaves_the_old_file() {
    let (private, elsewhere) = (Private::start(), Directory::new());
    let Some(_mount) = Mount::new(&["-t", "tmpfs", "-o", "size=64k", "tmpfs"], &elsewhere.0) else {
        println!("SKIPPED: no file system can be mounted here");
        return;
    };
    let path = elsewhere.0.join("pg_hba.conf");
    private.move_file_to(&path);
    let mut file = private.file();
    let old = file.content().to_vec();
    for (comments, write) in [(900, HbaWrite::Replace), (400, HbaWrite::Replace), (900, HbaWrite::InPlace)] {
        let new = around(
            "",
            &old,
            "# a comment that takes room on the small disk, and again, and again\n".repeat(comments).as_bytes(),
        );
        let mut how = options();
        how.write = write;
        // The smaller one has room itself, and not beside a copy of a file that grew as large.
        let padding = elsewhere.0.join("padding");
        if comments == 400 {
            fs::write(&padding, vec![b'x'; 30_000]).unwrap();
        }
        let error = file.replace(&new, &how).unwrap_err();
        assert!(error.to_string().contains("no room"), "{write}: {error}");
        assert_eq!(fs::read(&path).unwrap(), old, "{write}");
        let _ = fs::remove_file(padding);
        let names: Vec<_> = fs::read_dir(&elsewhere.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["pg_hba.conf"], "{write}");
    }
}

#[test]
fn a_file_that_is_mounted_by_itself_is_overwritten_when_asked() {
    let (private, elsewhere) = (Private::start(), Directory::new());
    let inside = elsewhere.0.join("mounted.conf");
    fs::copy(private.path(), &inside).unwrap();
    let owner = fs::metadata(private.path()).unwrap();
    chown(&inside, Some(owner.uid()), Some(owner.gid())).unwrap();
    let Some(_mount) = Mount::new(&["--bind", inside.to_str().unwrap()], &private.path()) else {
        println!("SKIPPED: no file system can be mounted here");
        return;
    };
    let mut file = private.file();
    let old = file.content().to_vec();
    let new = around("# new\n", &old, b"#\xe9\0");
    let error = file.replace(&new, &options()).unwrap_err();
    assert!(error.to_string().contains("HbaWrite::InPlace"), "{error}");
    assert_eq!(
        (fs::read(&inside).unwrap(), private.leftovers(), file.backups().unwrap()),
        (old.clone(), vec![], vec![])
    );
    let mut in_place = options();
    in_place.write = HbaWrite::InPlace;
    let outcome = file.replace(&new, &in_place).unwrap();
    assert_eq!(fs::read(&inside).unwrap(), new);
    assert_eq!(outcome.write, Some(HbaWrite::InPlace));
    assert_eq!(fs::read(outcome.backup.unwrap()).unwrap(), old);
}
