//! SQL files.
use crate::support::{fresh, major, programs, server, wait_until};
use pgsteward::{Cluster, Error};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A folder of a test's own, removed with all that is in it.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("pgsteward-load-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn number(cluster: &Cluster, question: &str) -> i64 {
    cluster.execute(question, &[]).unwrap()[0].get(0)
}

fn has_tables(cluster: &Cluster) -> bool {
    cluster.tables().refresh();
    !cluster.tables().is_empty().unwrap()
}

/// As pg_dump begins and ends its files.
const DUMP: &str = "--
-- PostgreSQL database dump
--

\\restrict 5nXcWq0rGc

-- Dumped from database version 15.8

SET statement_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET client_min_messages = warning;
SET default_tablespace = '';

CREATE TABLE public.item (
    id integer NOT NULL,
    name text
);


COPY public.item (id, name) FROM stdin;
1\tone; two
2\tit's \\\\ \\N $$
3\t\\N
\\.


ALTER TABLE ONLY public.item
    ADD CONSTRAINT item_pkey PRIMARY KEY (id);

COPY public.item (id, name) FROM stdin;
\\.

--
-- PostgreSQL database dump complete
--

\\unrestrict 5nXcWq0rGc

";

#[test]
fn p080_a_dump_with_data_and_restrict_loads() {
    let (cluster, folder) = (fresh(), Folder::new());
    let report = cluster.load_files(folder.write("dump.sql", DUMP)).unwrap();
    assert_eq!((report.files, report.statements, report.rows_copied), (1, 11, 3));
    assert_eq!(number(&cluster, "SELECT count(*) FROM item WHERE name LIKE '%;%' OR name LIKE 'it''s \\\\%'"), 2);
    // What the file sets does not last.
    let rows = cluster.execute("SELECT current_setting('search_path'), current_setting('client_min_messages')", &[]);
    let rows = rows.unwrap();
    assert_eq!((rows[0].get(0), rows[0].get(1)), ("\"$user\", public", "notice"));
}

#[test]
fn p080_what_pg_dump_writes_loads_and_dumps_again_the_same() {
    let Some(programs) = programs() else { return };
    let program = programs.join("pg_dump");
    let (cluster, folder) = (fresh(), Folder::new());
    let schema = "CREATE TABLE item (id serial PRIMARY KEY, name text DEFAULT 'a;b', price numeric CHECK (price > 0));
        CREATE FUNCTION twice(int) RETURNS int LANGUAGE plpgsql AS $f$BEGIN RETURN $1 * 2; END;$f$;
        CREATE VIEW cheap AS SELECT * FROM item WHERE price < 10;
        CREATE TABLE log (line text);
        CREATE RULE noted AS ON INSERT TO item DO (INSERT INTO log VALUES ('a'); INSERT INTO log VALUES (';'));
        COMMENT ON TABLE item IS 'it''s; \\ \"x\"';";
    cluster.load_files(folder.write("schema.sql", schema)).unwrap();
    if major() >= 14 {
        let body = "BEGIN ATOMIC SELECT CASE i WHEN 1 THEN 2 END; SELECT i; END";
        cluster.execute(&format!("CREATE FUNCTION body(i int) RETURNS int {body}"), &[]).unwrap();
    }
    cluster
        .execute("INSERT INTO log SELECT repeat('x;''\\', i) || E'\\n\\t' FROM generate_series(1, 200) i", &[])
        .unwrap();
    let dump = |database: &str| {
        let output =
            Command::new(&program).arg("--dbname").arg(server().dsn_for(database, "postgres")).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().filter(|line| !line.contains("restrict ")).map(|line| format!("{line}\n")).collect::<String>()
    };
    let first = dump(cluster.current_database());
    let copy = fresh();
    assert_eq!(copy.load_files(folder.write("dump.sql", &first)).unwrap().rows_copied, 200);
    assert_eq!(dump(copy.current_database()), first);
}

#[test]
fn the_files_of_a_folder_run_in_the_order_of_their_names_in_one_transaction() {
    let (cluster, folder) = (fresh(), Folder::new());
    folder.write("02.sql", "INSERT INTO a VALUES (2); SET search_path = nowhere;");
    folder.write("01.sql", "\u{feff}CREATE TABLE a (i int, x bigint DEFAULT txid_current())");
    folder.write("10.sql", "INSERT INTO public.a VALUES (10) -- last");
    folder.write(".hidden.sql", "no SQL");
    folder.write("notes.txt", "no SQL");
    fs::create_dir(folder.path().join("more.sql")).unwrap();
    let report = cluster.load_files(folder.path()).unwrap();
    assert_eq!((report.files, report.statements), (3, 4));
    assert_eq!(number(&cluster, "SELECT count(DISTINCT x) + sum(i) FROM a"), 13);
    // A later file that fails undoes those before it.
    folder.write("20.sql", "DROP TABLE nothing_of_the_kind;");
    folder.write("00.sql", "DROP TABLE a;");
    let error = cluster.load_files(folder.path()).unwrap_err().to_string();
    assert!(error.contains("20.sql\", line 1 (DROP TABLE nothing_of_the_kind)") && error.contains("42P01"), "{error}");
    assert_eq!(number(&cluster, "SELECT count(*) FROM a"), 2);
    let empty = Folder::new();
    assert!(matches!(cluster.load_files(empty.path()), Err(Error::Invalid { .. })));
    assert!(matches!(cluster.load_files(empty.path().join("none.sql")), Err(Error::Io { .. })));
}

#[test]
fn p081_a_failure_names_file_line_and_statement_and_leaves_nothing() {
    let (cluster, folder) = (fresh(), Folder::new());
    let begin = "CREATE TABLE a (i int PRIMARY KEY);\n\nINSERT INTO a VALUES (1);\n";
    for (rest, line, words) in [
        // Found when it runs, when it is analyzed, and when the text is parsed.
        ("INSERT INTO a\n VALUES (1);\nSELECT 1;", 4, "(INSERT INTO a VALUES (1)): duplicate key"),
        ("SELECT 1;\nSELECT secret FROM a;", 5, "(SELECT secret FROM a): column"),
        ("SELECT 1;\n\nSELEC 'geheim';\nSELECT 2;", 6, "(SELEC ...): syntax error"),
        ("CREATE ROLE x PASSWORD 'geheim' NONSENSE;", 4, "(CREATE ROLE x PASSWORD ...): "),
        ("COPY a FROM stdin;\n2\nx\n3\n\\.\n", 4, "(COPY a FROM stdin): invalid input syntax"),
        ("COPY b FROM stdin;\n2\n\\.\n", 4, "(COPY b FROM stdin): relation"),
        (
            "CREATE DATABASE inside;",
            4,
            "(CREATE DATABASE inside): CREATE DATABASE cannot run inside a transaction block",
        ),
        ("VACUUM;", 4, "VACUUM cannot"),
        ("CREATE INDEX CONCURRENTLY ON a (i);", 4, "CREATE INDEX CONCURRENTLY cannot"),
        ("COMMIT;\nSELECT 1;", 4, "may not begin or end any"),
        ("SELECT 1; rollback;", 4, "may not begin or end any"),
        ("SAVEPOINT pgsteward_load;", 4, "may not begin or end any"),
        ("\\connect other\n", 4, "\\connect is a command of psql"),
        ("SELECT $$ no end;", 4, "dollar quotes"),
        ("COPY a FROM stdin;\n2\n3\n", 7, "data of COPY have no end"),
    ] {
        let path = folder.write("bad.sql", format!("{begin}{rest}"));
        let error = cluster.load_files(&path).expect_err(rest).to_string();
        assert!(error.contains(&format!("{path:?}, line {line}")), "{rest}: {error}");
        assert!(error.contains(words) && !error.contains("geheim"), "{rest}: {error}");
        assert!(!has_tables(&cluster), "{rest}");
    }
    let path = folder.write("latin.sql", b"SELECT 1;\nSELECT '\xe9';");
    let error = cluster.load_files(path).unwrap_err().to_string();
    assert!(error.contains("line 2") && error.contains("UTF-8"), "{error}");
}

#[test]
fn many_statements_and_long_data_arrive_whole() {
    let (cluster, folder) = (fresh(), Folder::new());
    let mut text = String::from("CREATE TABLE a (i int, t text);\nCOPY a FROM stdin;\n");
    (0..40_000).for_each(|i| text.push_str(&format!("{i}\t{}\n", "x;'\u{e9}".repeat(i % 9))));
    text.push_str("\\.\n");
    (0..1_500)
        .for_each(|i| text.push_str(&format!("INSERT INTO a VALUES ({i}, '{}'); -- one\n", "y;''".repeat(i % 99))));
    let report = cluster.load_files(folder.write("long.sql", &text)).unwrap();
    assert_eq!((report.statements, report.rows_copied), (1_502, 40_000));
    assert_eq!(number(&cluster, "SELECT count(*) FROM a"), 41_500);
    assert_eq!(number(&cluster, "SELECT sum(length(t)) FROM a WHERE t ~ '^(x;''\u{e9})*$'"), {
        (0..40_000).map(|i| 4 * (i % 9)).sum::<i64>()
    });
    let expected: i64 = (0..1_500).map(|i| 3 * (i % 99)).sum();
    assert_eq!(number(&cluster, "SELECT sum(length(t)) FROM a WHERE t LIKE 'y%'"), expected);
    // The last of many fails: the error is its own.
    let last = text.lines().count() + 1;
    text.insert_str(0, "DROP TABLE a; ");
    text.push_str("INSERT INTO a VALUES ('x');");
    let error = cluster.load_files(folder.write("long.sql", &text)).unwrap_err().to_string();
    assert!(error.contains(&format!("line {last} ")), "{error}");
}

#[test]
fn a_database_that_reads_strings_otherwise_reads_files_right() {
    let (cluster, folder) = (fresh(), Folder::new());
    if major() < 19 {
        let off = format!("ALTER DATABASE \"{}\" SET standard_conforming_strings = off", cluster.current_database());
        cluster.execute(&off, &[]).unwrap();
    }
    let text = "CREATE TABLE a AS SELECT 'x\\' AS x; SELECT ';'; RESET ALL; INSERT INTO a VALUES ('y\\');";
    let report = cluster.load_files(folder.write("a.sql", text)).unwrap();
    assert_eq!(report.statements, 4);
    assert_eq!(number(&cluster, "SELECT count(*) FROM a WHERE length(x) = 2"), 2);
}

#[test]
fn files_are_loaded_neither_in_a_plan_nor_in_a_transaction() {
    let (cluster, folder) = (fresh(), Folder::new());
    let path = folder.write("a.sql", "CREATE TABLE a ()");
    let refused = cluster.plan(|plan| plan.load_files(&path)).unwrap_err().to_string();
    assert!(refused.contains("SQL files in a plan"), "{refused}");
    assert!(matches!(cluster.transaction(|| cluster.load_files(&path)), Err(Error::Invalid { .. })));
    assert!(!has_tables(&cluster));
    // What is kept of tables is read again.
    cluster.load_files(&path).unwrap();
    assert!(cluster.tables().contains("a").unwrap());
    let taken = Cluster::from_client(cluster.into_client().unwrap()).unwrap();
    assert!(matches!(taken.load_files(&path), Err(Error::Unsupported { .. })));
}

#[test]
fn a_cancel_ends_a_file_whose_statements_travel_together_and_nothing_of_it_is_kept() {
    let (cluster, folder) = (fresh(), Folder::new());
    let file = folder.write("slow.sql", "CREATE TABLE a ();\nSELECT pg_sleep(600);\nCREATE TABLE b ();\n");
    let canceller = cluster.canceller();
    let sleeps = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";
    let other = Cluster::connect(&server().dsn_for(cluster.current_database(), "postgres")).unwrap();
    let began = Instant::now();
    let error = thread::scope(|scope| {
        let loading = scope.spawn(|| cluster.load_files(&file).unwrap_err());
        wait_until("it sleeps", || number(&other, sleeps) == 1);
        canceller.cancel().unwrap();
        loading.join().unwrap()
    });
    assert!(error.to_string().contains("cancel") && began.elapsed() < Duration::from_secs(60), "{error}");
    assert_eq!(number(&cluster, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), 0);
    // Only what was going on: the next one runs.
    let next = folder.write("next.sql", "CREATE TABLE a ();\nCREATE TABLE b ();\n");
    assert_eq!(cluster.load_files(next).unwrap().statements, 2);
}

#[test]
fn what_was_loaded_before_a_statement_that_fails_is_not_undone_for_it() {
    let (cluster, folder) = (fresh(), Folder::new());
    // Each of the last two would succeed without the rows before.
    for rows in ["COPY a FROM stdin;\n1\n1\n\\.\n", "INSERT INTO a VALUES (1), (1);\nSET NAMES 'UTF8';\n"] {
        let text = format!("CREATE TABLE a (i int);\nSELECT 1;\n{rows}ALTER TABLE a ADD PRIMARY KEY (i);\nSELECT 1;\n");
        let error = cluster.load_files(folder.write("a.sql", text)).unwrap_err().to_string();
        assert!(error.contains("ADD PRIMARY KEY") && error.contains("23505"), "{error}");
        assert!(!has_tables(&cluster));
    }
}

#[test]
fn a_load_that_somebody_else_cancels_ends() {
    let (cluster, folder) = (fresh(), Folder::new());
    let path = folder.write("a.sql", "CREATE TABLE a ();\nSELECT pg_sleep(60);\nSELECT 2;");
    let sleeps = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND wait_event = 'PgSleep'",
        cluster.current_database()
    );
    let watch = Cluster::connect(&server().dsn_for(cluster.current_database(), "postgres")).unwrap();
    let error = std::thread::scope(|scope| {
        let load = scope.spawn(|| cluster.load_files(&path));
        wait_until("it sleeps", || number(&watch, &sleeps) > 0);
        let cancel = sleeps.replace("count(*)", "count(pg_cancel_backend(pid))");
        wait_until("it ends", || {
            // Before PostgreSQL 13 it is taken for statement_timeout, and the statements are begun again.
            number(&watch, &cancel);
            load.is_finished()
        });
        load.join().unwrap().unwrap_err().to_string()
    });
    assert!(error.contains("57014"), "{error}");
    assert!(major() < 13 || error.contains("lines 1 to 3"), "{error}");
    assert!(!has_tables(&watch));
}
