//! pg_hba.conf on the server: read, replaced, put back.
use crate::support::{unique, wait_until};
use pgsteward::hba::{HbaAlterOptions, HbaProbe, HbaRules, HbaWrite, OnLockOut};
use pgsteward::testing::{TestServer, TestServerOptions};
use pgsteward::{Cluster, Error, Ident, Lit, sql};
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

    pub fn with(settings: &[(&str, &str)]) -> Self {
        let mut options = TestServerOptions::new();
        options.settings = settings.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let server = TestServer::with(options).unwrap();
        let cluster = Cluster::connect(&server.dsn()).unwrap();
        Self { server, cluster }
    }

    pub fn path(&self) -> PathBuf {
        self.server.data_directory().join("pg_hba.conf")
    }

    pub fn rules(&self) -> HbaRules {
        self.cluster.hba_rules().unwrap()
    }

    /// What is in the file now, without what is no text.
    fn text(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.path()).unwrap()).into_owned()
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

    /// A role that may read the file, see what the server makes of it, and has one right to write it.
    pub fn writer(&self, right: &str) -> (String, Cluster) {
        self.role(&[&["pg_read_all_settings", READ, right], &SEE[..]].concat())
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

    pub fn is_let_in(&self, role: &str) -> bool {
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

fn with(change: impl FnOnce(&mut HbaAlterOptions)) -> HbaAlterOptions {
    let mut options = HbaAlterOptions::new();
    change(&mut options);
    options
}

fn in_place() -> HbaAlterOptions {
    with(|options| options.write = HbaWrite::InPlace)
}

fn unprobed() -> HbaAlterOptions {
    with(|options| options.probe = HbaProbe::Skip)
}

/// A rule that no test minds.
pub const RULE: &str = "local all stranger reject";

const READ: &str = "EXECUTE ON FUNCTION pg_read_binary_file(text, bigint, bigint, boolean)";
const SEE: [&str; 3] =
    ["SELECT ON pg_hba_file_rules", "EXECUTE ON FUNCTION pg_hba_file_rules()", "EXECUTE ON FUNCTION pg_reload_conf()"];

#[test]
fn p053_the_file_is_replaced_and_loaded_and_a_copy_is_kept() {
    let private = Private::with(&[("log_statement", "all"), ("log_min_duration_statement", "0")]);
    let path = private.path();
    // Bytes of any encoding, and a secret.
    let noise = b"#\tcaf\xe9\r\n# \\N \\. ldapbindpasswd=geheim\nhost\tall x\t::1/128 reject\n#\0";
    let old = [&fs::read(&path).unwrap(), &noise[..]].concat();
    fs::write(&path, &old).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o440)).unwrap();
    private.cluster.execute("CREATE ROLE guest LOGIN", &[]).unwrap();
    assert!(private.is_let_in("guest"));
    let before = fs::metadata(&path).unwrap();
    let mut hba = private.rules();
    hba.insert(0, "local all guest reject").unwrap();
    let new = hba.new_bytes();
    assert!(new.ends_with(noise));
    let outcome = hba.alter().unwrap();
    assert!(fs::read(&path).unwrap() == new);
    assert!(!private.is_let_in("guest"), "the new rules are in force");
    let after = fs::metadata(&path).unwrap();
    assert_eq!((after.mode(), after.uid(), after.gid()), (before.mode(), before.uid(), before.gid()));
    assert_eq!((outcome.write, outcome.reloaded, outcome.probed), (Some(HbaWrite::Replace), true, true));
    assert_eq!((outcome.lines_added, outcome.lines_removed), (1, 0));
    let copy = PathBuf::from(outcome.backup.unwrap());
    assert!(fs::read(&copy).unwrap() == old);
    assert_eq!(fs::metadata(&copy).unwrap().mode(), before.mode());
    assert_eq!(fs::read_link(path.with_extension("conf.bak")).unwrap(), copy.file_name().unwrap());
    let log = private.server.log().unwrap();
    assert!(log.contains("TO PROGRAM") && !log.contains("geheim") && !log.contains("67656865696d"), "{log}");
    assert_eq!(private.leftovers(), Vec::<String>::new());
    // It goes on from there.
    assert!(!hba.is_changed() && hba.contains("local all guest reject").unwrap());
    assert_eq!(hba.alter().unwrap().write, None);
    hba.remove(0).unwrap();
    hba.alter().unwrap();
    assert!(fs::read(&path).unwrap() == old && private.is_let_in("guest"));
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
    let first = fs::read(private.path()).unwrap();
    let mut hba = private.rules();
    assert_eq!(hba.backups().unwrap(), []);
    hba.push(RULE).unwrap();
    let second = hba.new_bytes();
    hba.alter().unwrap();
    let [backup] = &hba.backups().unwrap()[..] else { panic!("one copy") };
    assert_eq!(backup.size, first.len() as u64);
    let outcome = hba.restore(backup).unwrap();
    assert!(fs::read(private.path()).unwrap() == first);
    assert!(outcome.reloaded && outcome.probed && outcome.lines_removed == 1);
    assert!(!hba.is_changed() && !hba.contains(RULE).unwrap());
    let backups = hba.backups().unwrap();
    assert_eq!(backups.len(), 2);
    assert!(backups.iter().any(|backup| fs::read(&backup.path).unwrap() == second));
    let (now, copy) = (private.text(), fs::read(&backup.path).unwrap());
    fs::write(&backup.path, &copy[..copy.len() / 2]).unwrap();
    assert!(matches!(hba.restore(backup), Err(Error::Invalid { .. })));
    assert_eq!(private.text(), now);
    fs::remove_file(&backup.path).unwrap();
    assert!(matches!(hba.restore(backup), Err(Error::NotFound { .. })));
}

#[test]
fn p053_copies_of_one_second_are_told_apart() {
    let private = Private::start();
    let mut hba = private.rules();
    let mut options = HbaAlterOptions::new();
    (options.backups, options.probe) = (2, HbaProbe::Skip);
    let mut made = Vec::new();
    for round in 0..6 {
        hba.push(format!("local all guest{round} reject")).unwrap();
        made.push(hba.alter_with(&options).unwrap().backup.unwrap());
        assert_eq!(Some(&hba.backups().unwrap()[0].path), made.last());
    }
    let left: Vec<_> = hba.backups().unwrap().into_iter().map(|backup| backup.path).collect();
    assert_eq!(left, [made[5].clone(), made[4].clone()]);
}

#[test]
fn the_files_that_are_included_are_read_too() {
    let private = Private::start();
    let data = private.server.data_directory();
    fs::create_dir_all(data.join("rules.d/directory.conf")).unwrap();
    let text = private.text();
    if private.server.major() >= 16 {
        fs::write(data.join("rules.d/b.conf"), "local all b reject\n").unwrap();
        fs::write(data.join("rules.d/a.conf"), "include ../deep\n").unwrap();
        fs::write(data.join("deep"), "local @names deep reject\n").unwrap();
        fs::write(private.path(), format!("include_dir rules.d\ninclude_if_exists none\n{text}")).unwrap();
    } else {
        fs::write(private.path(), format!("local @names deep reject\n{text}")).unwrap();
    }
    fs::write(data.join("names"), "one two\n").unwrap();
    let mut hba = private.rules();
    assert_eq!(hba.faults(), []);
    assert_eq!(hba.get(0).unwrap().effective().databases.len(), 2);
    assert_eq!(hba.contains("local all b reject").unwrap(), private.server.major() >= 16);
    hba.push(RULE).unwrap();
    hba.alter().unwrap();
    assert!(private.text().ends_with("reject\n"));
}

#[test]
fn p056_symbolic_links_are_followed_and_stay() {
    let (private, elsewhere) = (Private::start(), Directory::new());
    let (real, link) = (elsewhere.0.join("real.conf"), elsewhere.0.join("link's.conf"));
    fs::copy(private.path(), &real).unwrap();
    symlink("real.conf", &link).unwrap();
    private.move_file_to(&link);
    let mut hba = private.rules();
    assert_eq!(hba.path(), link.to_str().unwrap());
    hba.push(RULE).unwrap();
    let new = hba.new_bytes();
    let outcome = hba.alter().unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(fs::read(&real).unwrap() == new);
    assert!(outcome.backup.unwrap().starts_with(&format!("{}.2", real.canonicalize().unwrap().display())));
    assert_eq!(hba.backups().unwrap().len(), 1);
}

#[test]
fn p056_of_two_writers_one_wins_and_the_other_is_told() {
    let private = Private::start();
    for round in 0..5 {
        let barrier = Barrier::new(2);
        let results: Vec<_> = thread::scope(|scope| {
            let write = |who: &'static str| {
                let (barrier, dsn) = (&barrier, private.server.dsn());
                move || {
                    let mut hba = Cluster::connect(&dsn).unwrap().hba_rules().unwrap();
                    hba.push(format!("local all {who}_{round} reject")).unwrap();
                    let new = hba.new_bytes();
                    barrier.wait();
                    hba.alter().map(|_| (who, new)).map_err(|error| Box::new((error, hba)))
                }
            };
            let threads = [scope.spawn(write("one")), scope.spawn(write("two"))];
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let (won, lost): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
        assert_eq!((won.len(), lost.len()), (1, 1), "{lost:?}");
        let (who, new) = won.into_iter().next().unwrap().unwrap();
        assert!(fs::read(private.path()).unwrap() == new, "nothing is lost");
        let (error, mut hba) = *lost.into_iter().next().unwrap().unwrap_err();
        assert!(error.is_conflict(), "{error}");
        let text = error.to_string();
        let theirs = text.split("but the server has").nth(1).unwrap();
        assert!(theirs.lines().any(|line| line.starts_with('+') && line.contains(&format!("{who}_{round}"))), "{text}");
        // It still has its change, and can look at theirs.
        assert!(hba.is_changed());
        hba.refresh().unwrap();
        assert!(hba.contains(format!("local all {who}_{round} reject")).unwrap());
    }
}

#[test]
fn p058_what_the_server_would_refuse_is_refused_before_anything_is_written() {
    let private = Private::start();
    let old = private.text();
    let mut hba = private.rules();
    for garbage in ["garbage", "local all all nonsense", "local all all", ""] {
        assert!(hba.push(garbage).is_err(), "{garbage}");
    }
    hba.clear().unwrap();
    let error = hba.alter().unwrap_err();
    let name = format!("the new rules for {:?}", private.path());
    assert!(matches!(error, Error::Hba { .. }) && error.to_string().contains("no rule"), "{error}");
    assert!(error.to_string().starts_with(&format!("cannot read {name}, line 1, column 1: ")), "{error}");
    assert_eq!(private.text(), old);
    fs::write(private.path(), format!("local all all nonsense\n{old}")).unwrap();
    let mut hba = private.rules();
    hba.push(RULE).unwrap();
    let error = hba.alter().unwrap_err();
    assert!(matches!(&error, Error::Hba { line: 1, file, .. } if *file == name), "{error}");
    assert_eq!(private.text(), format!("local all all nonsense\n{old}"));
    assert!(!private.server.data_directory().join("pg_hba.conf.bak").exists());
}

#[test]
fn p058_a_copy_that_the_server_would_refuse_is_named_and_not_restored() {
    let private = Private::start();
    let old = private.text();
    let copy = "local all all nonsense\n";
    let hash = sql!("SELECT pg_catalog.left(pg_catalog.encode(pg_catalog.sha256({}::bytea), 'hex'), 8)", Lit(copy));
    let hash: String = private.cluster.execute(&hash.to_string(), &[]).unwrap()[0].get(0);
    let path = private.path().with_file_name(format!("pg_hba.conf.20200101T000000Z.000000.{hash}"));
    fs::write(&path, copy).unwrap();
    chown(&path, Some(fs::metadata(private.path()).unwrap().uid()), None).unwrap();
    let mut hba = private.rules();
    let error = hba.restore(&hba.backups().unwrap()[0]).unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot read the copy {path:?}, line 1, column 15: ")), "{error}");
    assert_eq!(private.text(), old);
}

#[test]
fn p056_rules_that_only_the_server_refuses_are_taken_back() {
    let private = Private::start();
    let old = private.text();
    let mut hba = private.rules();
    // The server looks the name up when it reads the file.
    hba.insert(0, "host all all all radius radiusservers=no.such.host.invalid radiussecrets=geheim").unwrap();
    let error = hba.alter().unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::Hba { .. }) && text.contains("put back"), "{text}");
    assert!(text.starts_with("cannot read the new rules for "), "{text}");
    assert!(!text.contains("geheim"), "{text}");
    assert_eq!(private.text(), old);
    assert!(hba.is_changed());
    hba.revert();
    hba.push(RULE).unwrap();
    hba.alter().unwrap();
}

#[test]
fn p056_rules_that_keep_the_writer_out_are_taken_back() {
    let private = Private::start();
    private.cluster.execute("CREATE ROLE guest LOGIN", &[]).unwrap();
    let mut hba = private.rules();
    let old = private.text();
    hba.insert(0, "local all guest reject").unwrap();
    hba.insert(0, "local all postgres reject").unwrap();
    let options = with(|options| options.lock_out = OnLockOut::Allow);
    let error = hba.alter_with(&options).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("pg_hba.conf rejects connection") && text.contains("put back and loaded"), "{text}");
    assert_eq!(private.text(), old);
    assert!(private.is_let_in("postgres") && private.is_let_in("guest"));
    // Unless that is asked for.
    let mut options = unprobed();
    options.lock_out = OnLockOut::Allow;
    let outcome = hba.alter_with(&options).unwrap();
    assert!(outcome.reloaded && !outcome.probed);
    assert!(!private.is_let_in("postgres") && !private.is_let_in("guest"));
    hba.remove(0).unwrap();
    hba.alter().unwrap();
    assert!(private.is_let_in("postgres") && !private.is_let_in("guest"));
}

#[test]
fn rules_that_lock_out_the_writer_or_a_replica_are_refused_before_anything_is_written() {
    let private = Private::start();
    let _standby = private.server.standby().unwrap();
    let replicas = || private.cluster.execute("SELECT FROM pg_stat_replication", &[]).unwrap().len();
    wait_until("the standby streams", || replicas() == 1);
    let old = private.text();
    for (rule, who) in [("local all postgres reject", "own session"), ("local replication all reject", "replica")] {
        let mut hba = private.rules();
        hba.insert(0, rule).unwrap();
        let error = hba.alter().unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }) && error.to_string().contains(who), "{error}");
        assert_eq!(private.text(), old);
        assert_eq!(hba.backups().unwrap(), []);
    }
    let mut hba = private.rules();
    hba.insert(0, "local replication all reject").unwrap();
    hba.alter_with(&with(|options| options.lock_out = OnLockOut::Allow)).unwrap();
}

#[test]
fn p057_a_standby_is_read_and_written() {
    let primary = Private::start();
    let server = primary.server.standby().unwrap();
    let path = server.data_directory().join("pg_hba.conf");
    let cluster = Cluster::connect(&server.dsn()).unwrap();
    cluster.execute("SET log_statement = 'all'", &[]).unwrap();
    let old = [&fs::read(&path).unwrap(), &b"# ldapbindpasswd=geheim\n#\xe9\r\n#\0"[..]].concat();
    fs::write(&path, &old).unwrap();
    let mut hba = cluster.hba_rules().unwrap();
    hba.insert(0, RULE).unwrap();
    let new = hba.new_bytes();
    let outcome = hba.alter().unwrap();
    assert!(fs::read(&path).unwrap() == new);
    assert!(outcome.reloaded && outcome.probed && outcome.backup.is_some());
    let log = server.log().unwrap();
    assert!(log.contains("TO PROGRAM") && !log.contains("geheim") && !log.contains("67656865696d"), "{log}");
    assert!(!primary.text().contains("stranger"));
    hba.remove(0).unwrap();
    hba.alter_with(&in_place()).unwrap();
    assert!(fs::read(&path).unwrap() == old);
}

#[test]
fn p057_a_secret_that_could_not_be_put_back_unseen_is_not_taken_out() {
    let primary = Private::start();
    let (name, _) = primary.writer("pg_execute_server_program");
    primary.cluster.execute(&format!("ALTER ROLE {name} SET log_statement = 'all'"), &[]).unwrap();
    let server = primary.server.standby().unwrap();
    let path = server.data_directory().join("pg_hba.conf");
    let rule = "host all x ::1/128 radius radiusservers=127.0.0.1 radiussecrets=geheim";
    let old = format!("{rule}\n{}", fs::read_to_string(&path).unwrap());
    fs::write(&path, &old).unwrap();
    let mut hba = Cluster::connect(&server.dsn_for("postgres", &name)).unwrap().hba_rules().unwrap();
    hba.remove(0).unwrap();
    let error = hba.alter().unwrap_err();
    assert!(matches!(error, Error::Denied { .. }) && error.to_string().contains("secrets"), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), old);
    assert!(!server.log().unwrap().contains("geheim") && hba.backups().unwrap().is_empty());
}

#[test]
fn p057_an_ordinary_role_is_told_what_it_lacks() {
    let private = Private::start();
    let (name, cluster) = private.role(&[]);
    let denied = || {
        let error = cluster.hba_rules().unwrap_err();
        assert!(matches!(error, Error::Denied { .. }), "{error}");
        error.to_string()
    };
    let text = denied();
    assert!(text.contains(&format!("GRANT pg_read_all_settings TO \"{name}\"")), "{text}");
    private.cluster.execute(&format!("GRANT pg_read_all_settings TO {name}"), &[]).unwrap();
    let text = denied();
    assert!(text.contains("GRANT EXECUTE ON FUNCTION pg_catalog.pg_read_binary_file("), "{text}");
    private.cluster.execute(&format!("GRANT {READ} TO {name}"), &[]).unwrap();
    let (mut hba, old) = (cluster.hba_rules().unwrap(), private.text());
    hba.push(RULE).unwrap();
    let text = hba.alter().unwrap_err().to_string();
    for right in ["pg_execute_server_program", "pg_hba_file_rules", "pg_reload_conf()"] {
        assert!(text.contains(right), "{right}: {text}");
    }
    assert_eq!(private.text(), old);
}

#[test]
fn p057_a_role_with_exactly_the_rights_does_it_all() {
    let (private, elsewhere) = (Private::with(&[("log_statement", "all")]), Directory::new());
    let (name, cluster) = private.writer("pg_execute_server_program");
    fs::write(private.path(), format!("# radiussecrets=geheim\n{}", private.text())).unwrap();
    let mut hba = cluster.hba_rules().unwrap();
    hba.push(RULE).unwrap();
    hba.alter().unwrap();
    assert!(private.text().contains("stranger"));
    assert_eq!(hba.backups().unwrap().len(), 1);
    assert!(!private.server.log().unwrap().contains("geheim"));
    // Elsewhere one more is needed to read it.
    private.move_file_to(&elsewhere.0.join("pg_hba.conf"));
    let _ = cluster.execute("SELECT 1", &[]);
    let error = cluster.hba_rules().unwrap_err();
    assert!(error.to_string().contains("pg_read_server_files"), "{error}");
    private.cluster.execute(&format!("GRANT pg_read_server_files TO {name}"), &[]).unwrap();
    let mut hba = cluster.hba_rules().unwrap();
    hba.push("local all another reject").unwrap();
    hba.alter().unwrap();
}

#[test]
fn a_role_that_may_only_write_files_does_it_in_place_when_asked() {
    let private = Private::start();
    let (name, cluster) = private.writer("pg_write_server_files");
    let old = format!("# \\N \\t\t\"x\" é\n\n{}\n\n", private.text());
    fs::write(private.path(), &old).unwrap();
    let inode = fs::metadata(private.path()).unwrap().ino();
    let mut hba = cluster.hba_rules().unwrap();
    hba.push(RULE).unwrap();
    let new = hba.new_bytes();
    let error = hba.alter().unwrap_err().to_string();
    assert!(error.contains("pg_execute_server_program") && error.contains("HbaWrite::InPlace"), "{error}");
    let outcome = hba.alter_with(&in_place()).unwrap();
    assert!(fs::read(private.path()).unwrap() == new);
    assert_eq!(fs::metadata(private.path()).unwrap().ino(), inode);
    assert_eq!(outcome.write, Some(HbaWrite::InPlace));
    assert_eq!(fs::read_to_string(outcome.backup.unwrap()).unwrap(), old);
    // What COPY would not write as it is.
    for bad in [&b"local all all trust\r\n"[..], b"local all all trust", b"local all all trust\n#\xe9\n"] {
        fs::write(private.path(), bad).unwrap();
        hba.refresh().unwrap();
        hba.insert(0, RULE).unwrap();
        let error = hba.alter_with(&in_place()).unwrap_err();
        assert!(matches!(error, Error::Denied { .. }), "{error}");
        assert!(fs::read(private.path()).unwrap() == bad);
    }
    // With a right more, any bytes.
    private.cluster.execute(&format!("GRANT EXECUTE ON FUNCTION lo_export(oid, text) TO {name}"), &[]).unwrap();
    fs::write(private.path(), b"#\xe9\r\nlocal all all trust\n#\0").unwrap();
    hba.refresh().unwrap();
    hba.insert(0, RULE).unwrap();
    let new = hba.new_bytes();
    hba.alter_with(&in_place()).unwrap();
    assert!(fs::read(private.path()).unwrap() == new);
    let left = private.cluster.execute("SELECT count(*) FROM pg_largeobject_metadata", &[]).unwrap();
    assert_eq!(left[0].get::<_, i64>(0), 0);
    // Somebody else's change is seen here too.
    fs::write(private.path(), "local all all trust\n# theirs\n").unwrap();
    hba.remove(0).unwrap();
    let error = hba.alter_with(&in_place()).unwrap_err();
    assert!(error.is_conflict());
    let text = error.to_string();
    let (theirs, mine) =
        text.split_once("\nWhat was to be changed; refresh() forgets it, so make it again after that:\n").unwrap();
    assert!(theirs.contains("has another one by now. What others have changed:\n--- "), "{text}");
    assert!(
        theirs.ends_with("+# theirs") && !mine.contains("theirs") && mine.contains("-local all stranger reject"),
        "{text}"
    );
    assert_eq!(private.text(), "local all all trust\n# theirs\n");
}

#[test]
fn what_cannot_be_undone_or_tried_is_refused_before_anything_is_written() {
    let private = Private::start();
    let (mut hba, old) = (private.rules(), private.text());
    hba.push(RULE).unwrap();
    let error = private.cluster.transaction(|| hba.alter()).unwrap_err();
    assert!(error.to_string().contains("inside a transaction"), "{error}");
    private.cluster.execute("BEGIN", &[]).unwrap();
    let error = hba.alter().unwrap_err();
    assert!(error.to_string().contains("inside a transaction"), "{error}");
    private.cluster.execute("ROLLBACK", &[]).unwrap();
    let client = postgres::Client::connect(&private.server.dsn(), postgres::NoTls).unwrap();
    let mut hba = Cluster::from_client(client).unwrap().hba_rules().unwrap();
    hba.push(RULE).unwrap();
    let error = hba.alter().unwrap_err();
    assert!(error.to_string().contains("HbaProbe::Skip"), "{error}");
    assert_eq!(private.text(), old);
    assert!(hba.alter_with(&unprobed()).unwrap().reloaded);
}

#[test]
fn settings_that_the_server_does_not_take_are_named_before_anything_is_written() {
    let private = Private::start();
    let settings = private.server.data_directory().join("postgresql.conf");
    let (good, old) = (fs::read_to_string(&settings).unwrap(), private.text());
    let mut hba = private.rules();
    hba.push(RULE).unwrap();
    fs::write(&settings, format!("{good}\nnonsense_setting = 1\n")).unwrap();
    let error = hba.alter().unwrap_err().to_string();
    assert!(
        error.contains("unrecognized") && error.contains("at line") && error.contains("postgresql.conf"),
        "{error}"
    );
    assert_eq!((private.text(), hba.backups().unwrap().len()), (old, 0));
    // What only waits for a restart, or has a bad value, is left aside by the server itself.
    fs::write(&settings, format!("{good}\nmax_connections = 37\nwork_mem = 'nonsense'\n")).unwrap();
    hba.alter().unwrap();
    fs::write(&settings, good).unwrap();
}

#[test]
fn a_plan_collects_the_change_and_shows_it_as_a_diff() {
    let private = Private::start();
    let old = private.text();
    let plan = private
        .cluster
        .plan(|cluster| {
            let mut hba = cluster.hba_rules()?;
            hba.push(RULE)?;
            let outcome = hba.alter()?;
            assert_eq!((outcome.write, outcome.planned, outcome.lines_added), (None, true, 1));
            // Nothing has made the change yet.
            assert!(hba.is_changed());
            hba.push("local all another reject")?;
            hba.alter().map(drop)
        })
        .unwrap();
    let text = plan.to_string();
    assert!(text.contains("-- +local   all             stranger"), "{text}");
    assert!(text.lines().all(|line| line.starts_with("-- ") || line == ";"), "{text}");
    assert_eq!((private.text(), plan.script().len()), (old.clone(), 2));
    plan.apply().unwrap();
    assert!(private.text().contains("stranger") && private.text().contains("another"));
    // It is a conflict when somebody else was faster.
    fs::write(private.path(), &old).unwrap();
    let plan = private.cluster.plan(|cluster| {
        let mut hba = cluster.hba_rules()?;
        hba.push(RULE)?;
        hba.alter().map(drop)
    });
    fs::write(private.path(), format!("{old}# theirs\n")).unwrap();
    assert!(plan.unwrap().apply().unwrap_err().is_conflict());
}

#[test]
fn an_included_file_that_somebody_else_changed_is_a_conflict() {
    let private = Private::start();
    let names = private.server.data_directory().join("names");
    fs::write(&names, "one\n").unwrap();
    let old = format!("local @names one reject\n{}", private.text());
    fs::write(private.path(), &old).unwrap();
    // On some versions the server would crash if it read one that includes itself.
    for theirs in ["one two\n", "one\n@names\n"] {
        fs::write(&names, "one\n").unwrap();
        let mut hba = private.rules();
        hba.push(RULE).unwrap();
        let plan = private.cluster.plan(|cluster| {
            let mut hba = cluster.hba_rules()?;
            hba.push(RULE)?;
            hba.alter().map(drop)
        });
        fs::write(&names, theirs).unwrap();
        for error in [hba.alter().unwrap_err(), plan.unwrap().apply().unwrap_err()] {
            let added = format!("+{}", theirs.lines().last().unwrap());
            assert!(error.is_conflict() && error.to_string().contains(&added), "{error}");
        }
        assert_eq!((private.text(), hba.backups().unwrap()), (old.clone(), vec![]));
        assert!(hba.is_changed() && private.is_let_in("postgres"));
    }
    fs::write(&names, "one two\n").unwrap();
    let mut hba = private.rules();
    hba.push(RULE).unwrap();
    hba.alter().unwrap();
    assert_eq!(hba.get(0).unwrap().effective().databases.len(), 2);
}

#[test]
fn an_included_file_that_cannot_be_read_is_a_fault_of_the_line_that_names_it() {
    let private = Private::start();
    let data = private.server.data_directory();
    let text = private.text();
    fs::create_dir(data.join("directory")).unwrap();
    fs::write(data.join("closed"), "one\n").unwrap();
    fs::set_permissions(data.join("closed"), Permissions::from_mode(0o000)).unwrap();
    symlink("circle", data.join("circle")).unwrap();
    fs::write(data.join("names"), "one\n").unwrap();
    for name in ["directory", "closed", "circle", "names/below"] {
        fs::write(private.path(), format!("local @names,@{name} x reject\n{text}")).unwrap();
        let read = || private.rules().faults();
        for faults in [read(), private.cluster.transaction(|| Ok(read())).unwrap()] {
            assert!(faults.len() == 1 && faults[0].line == 1, "{faults:?}");
            assert!(faults[0].problem.contains(&format!("{name}\" is unreadable: ")), "{faults:?}");
        }
    }
    if private.server.major() >= 16 {
        fs::write(private.path(), format!("include_dir names\n{text}")).unwrap();
        let faults = private.rules().faults();
        assert!(faults.len() == 1 && faults[0].problem.contains("is unreadable"), "{faults:?}");
    }
}

#[test]
fn a_file_of_patroni_is_left_to_it() {
    let private = Private::start();
    let text = "# Do not edit this file manually!\n# It will be overwritten by Patroni!\nlocal all all trust\n";
    fs::write(private.path(), text).unwrap();
    let mut hba = private.rules();
    hba.push(RULE).unwrap();
    let error = hba.alter().unwrap_err();
    assert!(error.to_string().contains("patronictl edit-config"), "{error}");
    assert_eq!(private.text(), text);
}

#[test]
fn a_file_of_another_owner_is_not_taken_from_him() {
    let private = Private::start();
    if !is_root() {
        return;
    }
    chown(private.path(), Some(0), None).unwrap();
    fs::set_permissions(private.path(), Permissions::from_mode(0o644)).unwrap();
    let (mut hba, old) = (private.rules(), private.text());
    hba.push(RULE).unwrap();
    let error = hba.alter().unwrap_err();
    assert!(matches!(error, Error::Denied { .. }) && error.to_string().contains("owner"), "{error}");
    assert_eq!((private.text(), private.leftovers()), (old, Vec::new()));
    assert_eq!(hba.backups().unwrap(), []);
}

#[test]
fn a_cancelled_change_leaves_the_old_file() {
    let private = Private::start();
    let old = fs::read(private.path()).unwrap();
    for milliseconds in (1..60).step_by(4) {
        let mut hba = private.rules();
        hba.push(RULE).unwrap();
        let new = hba.new_bytes();
        private.cluster.execute(&format!("SET statement_timeout = {milliseconds}"), &[]).unwrap();
        let result = hba.alter();
        wait_until("the timeout is off", || private.cluster.execute("SET statement_timeout = 0", &[]).is_ok());
        let now = fs::read(private.path()).unwrap();
        match result {
            Ok(_) => assert!(now == new),
            Err(error) => assert!(now == old, "{error}"),
        }
        assert_eq!(private.leftovers(), Vec::<String>::new());
        fs::write(private.path(), &old).unwrap();
    }
}

#[test]
fn a_cancellation_that_stops_the_undoing_does_not_leave_the_new_file() {
    let private = Private::start();
    let (data, old) = (private.server.data_directory(), private.text());
    let other = Cluster::connect(&private.server.dsn()).unwrap();
    let mut hba = private.rules();
    hba.insert(0, "local all postgres reject").unwrap();
    let result = thread::scope(|scope| {
        let cancelled = scope.spawn(|| {
            wait_until("the new file is there", || private.text() != old);
            // It waits for the first program's lock, and lets the second one, which puts the old file back, wait.
            let mut holder = Command::new("flock").arg(&data).args(["sleep", "3"]).spawn().unwrap();
            let running = "SELECT FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'COPY%base64%'";
            let is_running = || !other.execute(running, &[]).unwrap().is_empty();
            wait_until("the first program has ended", || !is_running());
            wait_until("the second program runs", is_running);
            private.cluster.canceller().cancel().unwrap();
            holder.wait().unwrap();
        });
        let result = hba.alter_with(&with(|options| options.lock_out = OnLockOut::Allow));
        cancelled.join().unwrap();
        result
    });
    let text = result.unwrap_err().to_string();
    assert!(text.contains("and loaded"), "{text}");
    assert_eq!(private.text(), old);
    assert!(private.is_let_in("postgres"));
}

#[test]
fn a_timeout_does_not_stand_in_the_way_of_putting_the_old_file_back() {
    let private = Private::start();
    let (data, old) = (private.server.data_directory(), private.text());
    let timeouts: &[_] = match private.server.major() {
        ..17 => &["statement_timeout"],
        _ => &["statement_timeout", "transaction_timeout"],
    };
    for timeout in timeouts {
        let mut hba = private.rules();
        hba.insert(0, "local all postgres reject").unwrap();
        private.cluster.execute(&format!("SET {timeout} = '1500ms'"), &[]).unwrap();
        let result = thread::scope(|scope| {
            // Somebody else waits for the lock while the file is replaced, and keeps it for longer than that.
            scope.spawn(|| {
                let staged = || {
                    let mut files = fs::read_dir(&data).unwrap().flatten();
                    files.any(|file| file.file_name().to_string_lossy().ends_with("-new"))
                };
                wait_until("the new file is made", staged);
                Command::new("flock").arg(&data).args(["sleep", "2"]).status().unwrap();
            });
            hba.alter_with(&with(|options| options.lock_out = OnLockOut::Allow))
        });
        let error = result.unwrap_err();
        assert!(error.to_string().contains("put back and loaded"), "{timeout}: {error}");
        assert_eq!(private.text(), old);
        let now = private.cluster.execute(&format!("SHOW {timeout}"), &[]).unwrap();
        assert_eq!(now[0].get::<_, String>(0), "1500ms");
        private.cluster.execute(&format!("SET {timeout} = 0"), &[]).unwrap();
    }
}

#[test]
fn settings_of_a_role_or_of_the_database_do_not_stand_in_the_way() {
    let private = Private::start();
    let old = private.text();
    for (right, write) in [
        ("pg_execute_server_program", HbaWrite::Replace),
        ("pg_execute_server_program", HbaWrite::InPlace),
        ("pg_write_server_files", HbaWrite::InPlace),
        ("EXECUTE ON FUNCTION lo_export(oid, text)", HbaWrite::InPlace),
    ] {
        let (name, _) = private.writer(right);
        for setting in [
            "default_transaction_read_only = on",
            "default_transaction_isolation = serializable",
            "statement_timeout = '10s'",
            "lock_timeout = '1ms'",
            "idle_in_transaction_session_timeout = '5s'",
            "log_statement = 'all'",
        ] {
            private.cluster.execute(&format!("ALTER ROLE {name} SET {setting}"), &[]).unwrap();
        }
        let cluster = Cluster::connect(&private.server.dsn_for("postgres", &name)).unwrap();
        let mut hba = cluster.hba_rules().unwrap();
        hba.push("host all stranger ::1/128 radius radiusservers=127.0.0.1 radiussecrets=geheim").unwrap();
        let options = with(|options| options.write = write);
        let outcome = hba.alter_with(&options).unwrap();
        assert!(fs::read(private.path()).unwrap() == hba.old_bytes(), "{right}");
        // The copies are listed by a program.
        if right == "pg_execute_server_program" {
            let backup = hba.backups().unwrap().remove(0);
            assert_eq!(Some(&backup.path), outcome.backup.as_ref());
            hba.restore_with(&backup, &options).unwrap();
            assert_eq!(private.text(), old);
        }
        fs::write(private.path(), &old).unwrap();
    }
    assert!(!private.server.log().unwrap().contains("geheim"));
}

/// Whether the tests are run by root; if not, says that this test is skipped for it.
fn is_root() -> bool {
    let own = Directory::new();
    let is_root = fs::metadata(&own.0).unwrap().uid() == 0;
    if !is_root {
        println!("SKIPPED: only root can give a file to another owner, or mount a file system");
    }
    is_root
}

/// Something mounted for a test.
struct Mount(PathBuf);

impl Mount {
    /// Where it cannot be mounted, says that this test is skipped for it: not by everybody who is root.
    fn new(arguments: &[&str], at: &Path) -> Option<Self> {
        if !is_root() {
            return None;
        }
        let failure = match Command::new("mount").args(arguments).arg(at).output() {
            Ok(output) if output.status.success() => return Some(Self(at.to_owned())),
            Ok(output) => String::from_utf8_lossy(&output.stderr).trim().replace('\n', " "),
            Err(error) => error.to_string(),
        };
        println!("SKIPPED: root may not mount a file system here, as in a container without CAP_SYS_ADMIN ({failure})");
        None
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
        return;
    };
    let path = elsewhere.0.join("pg_hba.conf");
    private.move_file_to(&path);
    // There is room for the file, and a copy of it; for a third one there is not, nor for a larger file in its place.
    for (rules, write) in [(250, HbaWrite::Replace), (3000, HbaWrite::Replace), (3000, HbaWrite::InPlace)] {
        let mut hba = private.rules();
        let old = hba.old_bytes().to_vec();
        hba.extend((0..rules).map(|number| format!("local all some_longer_name_{number} scram-sha-256"))).unwrap();
        assert!(hba.new_bytes().len() > 20_000);
        let padding = elsewhere.0.join("padding");
        fs::write(&padding, vec![b'x'; if rules == 250 { 40_000 } else { 0 }]).unwrap();
        let error = hba.alter_with(&with(|options| options.write = write)).unwrap_err();
        assert!(error.to_string().contains("no room"), "{write}: {error}");
        assert!(fs::read(&path).unwrap() == old, "{write}");
        fs::remove_file(padding).unwrap();
        let names: Vec<_> = fs::read_dir(&elsewhere.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["pg_hba.conf"], "{write}");
    }
}

#[test]
fn a_file_that_sql_alone_leaves_torn_on_a_full_disk_is_put_back() {
    for right in ["pg_write_server_files", "EXECUTE ON FUNCTION lo_export(oid, text)"] {
        let (private, elsewhere) = (Private::start(), Directory::new());
        let Some(_mount) = Mount::new(&["-t", "tmpfs", "-o", "size=64k", "tmpfs"], &elsewhere.0) else {
            return;
        };
        let path = elsewhere.0.join("pg_hba.conf");
        private.move_file_to(&path);
        let (name, cluster) = private.writer(right);
        private.cluster.execute(&format!("GRANT pg_read_server_files TO {name}"), &[]).unwrap();
        let old = fs::read(&path).unwrap();
        let mut hba = cluster.hba_rules().unwrap();
        hba.extend((0..3000).map(|number| format!("local all some_longer_name_{number} scram-sha-256"))).unwrap();
        let error = hba.alter_with(&in_place()).unwrap_err().to_string();
        assert!(error.contains("the old file was put back and loaded"), "{right}: {error}");
        assert!(fs::read(&path).unwrap() == old, "{right}: {error}");
        assert!(hba.is_changed());
    }
}

#[test]
fn a_file_in_a_directory_of_others_is_overwritten_when_asked_and_its_copies_are_in_the_data_directory() {
    if !is_root() {
        return;
    }
    let (private, elsewhere) = (Private::start(), Directory::new());
    let path = elsewhere.0.join("pg_hba.conf");
    private.move_file_to(&path);
    chown(&elsewhere.0, Some(0), Some(0)).unwrap();
    let old = fs::read(&path).unwrap();
    let mut hba = private.rules();
    hba.push(RULE).unwrap();
    let error = hba.alter().unwrap_err();
    assert!(matches!(error, Error::Denied { .. }) && error.to_string().contains("HbaWrite::InPlace"), "{error}");
    assert!(fs::read(&path).unwrap() == old);
    // By the shell, and by SQL alone.
    let (name, writer) = private.writer("pg_write_server_files");
    private.cluster.execute(&format!("GRANT pg_read_server_files TO {name}"), &[]).unwrap();
    for cluster in [&private.cluster, &writer] {
        let mut hba = cluster.hba_rules().unwrap();
        hba.push(RULE).unwrap();
        let copy = PathBuf::from(hba.alter_with(&in_place()).unwrap().backup.unwrap());
        assert_eq!(copy.parent(), Some(&*private.server.data_directory().canonicalize().unwrap()));
        assert!(fs::read(&copy).unwrap() == old && fs::read(&path).unwrap() == hba.new_bytes());
        assert_eq!(fs::read_dir(&elsewhere.0).unwrap().count(), 1);
        let mut hba = private.rules();
        let backups = hba.backups().unwrap();
        assert_eq!(backups[0].path, copy.to_str().unwrap());
        hba.restore_with(&backups[0], &in_place()).unwrap();
        assert!(fs::read(&path).unwrap() == old);
    }
    assert_eq!(private.rules().backups().unwrap().len(), 4);
    assert_eq!(private.leftovers(), Vec::<String>::new());
}

#[test]
fn sql_alone_overwrites_the_file_also_in_a_session_that_may_not_see_itself() {
    let private = Private::start();
    let (name, _) = private.writer("pg_write_server_files");
    private.cluster.execute(&format!("SET SESSION AUTHORIZATION {name}"), &[]).unwrap();
    let mut hba = private.rules();
    hba.push(RULE).unwrap();
    hba.alter_with(&in_place()).unwrap();
    assert!(private.rules().contains(RULE).unwrap());
}

#[test]
fn copies_that_sql_alone_made_for_a_symbolic_link_are_listed_once_and_brought_back() {
    let (private, elsewhere) = (Private::start(), Directory::new());
    let (data, original) = (private.server.data_directory(), private.path());
    let real = elsewhere.0.join("the real one.conf");
    private.move_file_to(&real);
    let (name, writer) = private.writer("pg_write_server_files");
    private.cluster.execute(&format!("GRANT pg_read_server_files TO {name}"), &[]).unwrap();
    let (outside, inside) = (elsewhere.0.join("it's a link.conf"), data.join("it's a link within.conf"));
    symlink(&real, &outside).unwrap();
    symlink(&real, &inside).unwrap();
    // Its name is the same as that of what it points to, and so is the directory but for its spelling.
    symlink(&data, elsewhere.0.join("spelled otherwise")).unwrap();
    for path in [outside, inside, elsewhere.0.join("spelled otherwise/pg_hba.conf"), original] {
        private.set("hba_file", path.to_str().unwrap());
        let _ = writer.execute("SELECT 1", &[]);
        let old = fs::read(&path).unwrap();
        let mut hba = writer.hba_rules().unwrap();
        let before = private.rules().backups().unwrap().len();
        hba.push(RULE).unwrap();
        let copy = PathBuf::from(hba.alter_with(&in_place()).unwrap().backup.unwrap());
        assert_eq!(copy.parent(), Some(&*data));
        let mut hba = private.rules();
        let backups = hba.backups().unwrap();
        assert_eq!(backups.len(), before + 1, "{backups:?}");
        assert_eq!(Path::new(&backups[0].path), copy.canonicalize().unwrap());
        let put_aside = PathBuf::from(hba.restore(&backups[0]).unwrap().backup.unwrap()).canonicalize().unwrap();
        assert!(fs::read(&path).unwrap() == old, "{}", path.display());
        let listed = hba.backups().unwrap();
        assert_eq!(listed.iter().filter(|backup| Path::new(&backup.path) == put_aside).count(), 1, "{listed:?}");
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
        return;
    };
    let old = [&fs::read(&inside).unwrap(), &b"#\xe9\0"[..]].concat();
    fs::write(&inside, &old).unwrap();
    let mut hba = private.rules();
    hba.insert(0, RULE).unwrap();
    let new = hba.new_bytes();
    let error = hba.alter().unwrap_err();
    assert!(error.to_string().contains("HbaWrite::InPlace"), "{error}");
    assert!(fs::read(&inside).unwrap() == old);
    assert_eq!((private.leftovers(), hba.backups().unwrap()), (vec![], vec![]));
    let outcome = hba.alter_with(&in_place()).unwrap();
    assert!(fs::read(&inside).unwrap() == new);
    assert_eq!(outcome.write, Some(HbaWrite::InPlace));
    assert!(fs::read(outcome.backup.unwrap()).unwrap() == old);
}
