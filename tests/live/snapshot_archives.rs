//! Snapshots as files, and back.
use crate::support::{connect, fresh, unique};
use pgsteward::snapshot::{ArchiveOptions, ArchivedSnapshot, RevertOptions, Snapshot, SnapshotOptions};
use pgsteward::{Cluster, Error, Ident, sql};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// A directory of this test's own, gone at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("pgsteward-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn entries(&self) -> usize {
        fs::read_dir(&self.0).unwrap().count()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn run(cluster: &Cluster, sql: &str) {
    cluster.execute(sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error}"));
}

fn with_rows() -> (Cluster, Snapshot) {
    let cluster = fresh();
    run(
        &cluster,
        r#"CREATE DOMAIN positive AS int CHECK (VALUE > 0); CREATE TYPE "co lor" AS ENUM ('r', 'g');
        CREATE TABLE "t""1" (id serial PRIMARY KEY, a char(5), b bit(3), c varbit, d "co lor"[], e positive, f bytea, g float8,
            h text COLLATE "C", i interval, j "char", k numeric(5,2), l jsonb, m timestamptz);
        INSERT INTO "t""1" (a, b, c, d, e, f, g, h, i, j, k, l, m) VALUES
        ('x', B'101', B'1', '{r,NULL}', 5, '\x00ff5c', 'NaN', E'a\tb\\n\n\\.\n', '1 mon 2 days', 'q', 1.5, '{"a":[1]}', '2026-01-01 00:00+00'),
        (NULL, NULL, NULL, NULL, NULL, '', '-0', '', NULL, '', NULL, NULL, 'infinity');
        CREATE TABLE empty (n int)"#,
    );
    let snapshot = cluster.snapshots().take(&SnapshotOptions::new("to disk \" '")).unwrap();
    (cluster, snapshot)
}

#[test]
fn p084_an_archive_holds_all_of_a_snapshot_and_only_then_is_that_dropped() {
    let scratch = Scratch::new("archive");
    let (cluster, snapshot) = with_rows();
    let directory = scratch.0.join("a b");
    let report = cluster.snapshots().archive(&snapshot.name, &directory, &ArchiveOptions::new()).unwrap();
    assert_eq!((report.rows, report.directory.clone()), (2, directory.clone()));
    assert!(cluster.snapshots().list().unwrap().is_empty() && report.bytes > 0 && scratch.entries() == 1);
    let checked = Command::new("sha256sum").arg("-c").arg("SHA256SUMS").current_dir(&directory).output().unwrap();
    assert!(checked.status.success());

    run(&cluster, "DELETE FROM \"t\"\"1\"; SELECT setval('\"t\"\"1_id_seq\"', 99); INSERT INTO empty VALUES (1)");
    let loaded = cluster.snapshots().load(&directory).unwrap();
    let mut same = snapshot.clone();
    same.bytes = loaded.bytes;
    assert_eq!(loaded, same);
    cluster.snapshots().revert(&loaded.name, &RevertOptions::new()).unwrap();
    assert!(cluster.snapshots().compare(&loaded.name).unwrap().is_empty());
    assert_eq!(
        cluster.execute("SELECT 1 FROM \"t\"\"1\" WHERE b = B'101' AND a = 'x' AND c = B'1'", &[]).unwrap().len(),
        1
    );
}

#[test]
fn p084_an_archive_that_fails_leaves_the_snapshot_and_no_files() {
    let scratch = Scratch::new("archive-fails");
    let (cluster, snapshot) = with_rows();
    fs::write(scratch.0.join("taken"), "").unwrap();
    let snapshots = cluster.snapshots();
    let error = snapshots.archive(&snapshot.name, &scratch.0.join("taken"), &ArchiveOptions::new()).unwrap_err();
    assert!(matches!(error, Error::AlreadyExists { .. }), "{error}");
    // Rows that the snapshot should have, and has not.
    run(&cluster, &format!("DELETE FROM {}.\"2\"", sql!("{}", Ident(&snapshot.name))));
    let error = snapshots.archive(&snapshot.name, &scratch.0.join("new"), &ArchiveOptions::new()).unwrap_err();
    assert!(error.to_string().contains("0 rows"), "{error}");
    let error = snapshots.archive(&snapshot.name, &scratch.0.join("none/new"), &ArchiveOptions::new()).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    assert_eq!((scratch.entries(), snapshots.list().unwrap().len()), (1, 1));
    let plan = cluster
        .plan(|c| c.snapshots().archive(&snapshot.name, &scratch.0.join("new"), &ArchiveOptions::new()).map(drop));
    assert!(plan.unwrap().to_string().contains("DROP SCHEMA"));
}

#[test]
fn p084_a_changed_archive_is_not_loaded() {
    let scratch = Scratch::new("archive-changed");
    let (cluster, snapshot) = with_rows();
    let mut options = ArchiveOptions::new();
    options.snapshot = ArchivedSnapshot::Keep;
    let directory = scratch.0.join("a");
    cluster.snapshots().archive(&snapshot.name, &directory, &options).unwrap();
    let again = cluster.snapshots().load(&directory).unwrap();
    assert_ne!(again.name, snapshot.name);
    cluster.snapshots().drop(&again.name).unwrap();
    for file in ["2.copy", "1.copy", "columns.copy", "about.copy", "SHA256SUMS"] {
        let path = directory.join(file);
        let before = fs::read_to_string(&path).unwrap();
        fs::write(&path, before.replacen('1', "2", 1) + "\n").unwrap();
        assert!(cluster.snapshots().load(&directory).is_err(), "{file}");
        fs::remove_file(&path).unwrap();
        assert!(cluster.snapshots().load(&directory).is_err(), "{file}");
        fs::write(&path, before).unwrap();
    }
    assert_eq!(cluster.snapshots().list().unwrap().len(), 1);
    assert!(matches!(cluster.plan(|c| c.snapshots().load(&directory).map(drop)), Err(Error::Invalid { .. })));
    cluster.snapshots().load(&directory).unwrap();
}

#[test]
fn p084_a_snapshot_that_cannot_be_dropped_leaves_no_files() {
    let scratch = Scratch::new("archive-used");
    let (cluster, snapshot) = with_rows();
    run(&cluster, &format!("CREATE VIEW mine AS SELECT * FROM {}.about", sql!("{}", Ident(&snapshot.name))));
    let directory = scratch.0.join("a");
    let error = cluster.snapshots().archive(&snapshot.name, &directory, &ArchiveOptions::new()).unwrap_err();
    assert!(error.to_string().contains("mine"), "{error}");
    assert_eq!((scratch.entries(), cluster.snapshots().list().unwrap().len()), (0, 1));
    run(&cluster, "DROP VIEW mine");
    cluster.snapshots().archive(&snapshot.name, &directory, &ArchiveOptions::new()).unwrap();
}

#[test]
fn p084_values_come_back_whatever_the_settings_of_the_role() {
    let scratch = Scratch::new("archive-settings");
    let cluster = fresh();
    run(
        &cluster,
        "CREATE TABLE t (words text[], paper xml, price money); INSERT INTO t VALUES ('{NULL,a}', 'a<b/>', 1234.56)",
    );
    let snapshot = cluster.snapshots().take(&SnapshotOptions::new("")).unwrap();
    let directory = scratch.0.join("a");
    cluster.snapshots().archive(&snapshot.name, &directory, &ArchiveOptions::new()).unwrap();
    let role = unique("role");
    run(
        &cluster,
        &format!(
            "CREATE ROLE {role} LOGIN SUPERUSER; ALTER ROLE {role} SET array_nulls = off;
            ALTER ROLE {role} SET xmloption = document; ALTER ROLE {role} SET \"TimeZone\" = 'Asia/Kolkata';
            ALTER ROLE {role} SET bytea_output = 'escape'; ALTER ROLE {role} SET client_encoding = 'LATIN1';
            ALTER ROLE {role} SET standard_conforming_strings = off; ALTER ROLE {role} SET \"DateStyle\" = 'SQL, DMY'"
        ),
    );
    let other = connect(cluster.current_database(), &role);
    run(&other, "BEGIN");
    let loaded = other.snapshots().load(&directory).unwrap();
    assert_eq!(other.execute("SHOW array_nulls", &[]).unwrap()[0].get::<_, String>(0), "off");
    run(&other, "COMMIT");
    assert!(other.snapshots().compare(&loaded.name).unwrap().is_empty());
}
