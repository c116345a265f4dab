//! `pgsteward backup` and `pgsteward restore`.
use crate::support::{
    Ended, answer, cluster, end, end_by, end_by_all, fresh, interrupt, program, programs, run, server, unique,
};
use pgsteward::{Cluster, Database, Ident, sql};
use serde_json::json;
use std::cell::OnceCell;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A directory that is removed when this is dropped. Everybody may write to it: the server may be another user.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("pgsteward-cli-{}-{}", std::process::id(), unique("backup")));
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

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

/// A database with a table of 3 rows and one of none, and its name.
fn shop() -> (Cluster, String) {
    let shop = fresh();
    shop.execute("CREATE TABLE item AS SELECT g AS id, 'item ' || g AS name FROM generate_series(1, 3) g", &[])
        .unwrap();
    shop.execute("CREATE TABLE audit (line text)", &[]).unwrap();
    let name = shop.current_database().to_owned();
    (shop, name)
}

fn run_in(database: &str, arguments: &[&str]) -> Ended {
    crate::support::run_in(database, arguments)
}

fn exists(database: &str) -> bool {
    cluster().databases().contains(database).unwrap()
}

fn rows(database: &str, table: &str) -> i64 {
    let there = Cluster::connect(&server().dsn_for(database, "postgres")).unwrap();
    there.execute(&format!("SELECT count(*) FROM {table}"), &[]).unwrap()[0].get(0)
}

#[test]
fn p060_a_database_is_backed_up_shown_verified_and_restored() {
    let Some(programs) = programs() else { return };
    let ((_, name), folder, copy) = (shop(), Folder::new(), unique("copy"));
    let path = folder.file("shop.dump");
    let made = run_in(&name, &["backup", "create", &path, "--programs", &programs]).with(0);
    assert!(made.stdout.is_empty(), "{made:?}");
    assert!(made.stderr.starts_with(&format!("backed up database {name} to {path} (")), "{made:?}");
    assert_eq!(made.stderr.lines().count(), 1, "{made:?}");
    assert_eq!(folder.names(), ["shop.dump", "shop.dump.manifest.json"]);

    // No server is asked.
    let show = |more: &[&str]| {
        let mut command = program(server());
        command.env("PGHOST", "/nowhere").args(["backup", "show", &path]).args(more);
        end(&mut command, "").with(0)
    };
    let shown = show(&["--format", "json"]).json();
    assert_eq!((&shown["database"], &shown["format"]), (&json!(name), &json!("custom")));
    assert_eq!(shown["size"], json!(fs::metadata(&path).unwrap().len()));
    assert_eq!((shown["objects"]["TABLE DATA"].as_u64(), shown["large_objects"].as_u64()), (Some(2), Some(0)));
    let (audit, item) = (("public", "audit", 0), ("public", "item", 3));
    let tables = [audit, item].map(|(schema, name, rows)| json!({"schema": schema, "name": name, "rows": rows}));
    assert_eq!(shown["tables"], json!(tables));
    assert_eq!(show(&["--tables", "--format", "csv"]).stdout, "schema,name,rows\npublic,audit,0\npublic,item,3\n");
    assert!(show(&["--objects"]).stdout.contains("\nTABLE DATA  2\n"));
    assert!(show(&[]).stdout.contains(shown["sha256"].as_str().unwrap()));

    let verified = run_in(&name, &["restore", &path, "--verify", "--programs", &programs, "--format", "json"]).with(0);
    assert_eq!(verified.stderr, "");
    let verified = verified.json();
    assert_eq!((&verified["good"], &verified["tables_compared"]), (&json!(true), &json!(2)));
    for empty in ["missing", "unexpected", "rows", "errors"] {
        assert_eq!(verified[empty], json!([]), "{verified}");
    }

    let restored =
        run(&["restore", &path, "--new-database", &copy, "--set", "comment=a copy", "--programs", &programs]);
    let expected = format!("restored {path} into the new database {copy}\n");
    assert_eq!((restored.stdout.as_str(), restored.stderr.as_str()), ("", expected.as_str()));
    restored.with(0);
    assert_eq!(rows(&copy, "item"), 3);
    assert_eq!(cluster().databases().get(&copy).unwrap().comment.as_deref(), Some("a copy"));
    let again = run(&["restore", &path, "--new-database", &copy, "--programs", &programs]).with(4);
    assert!(again.stderr.contains("exists already"), "{again:?}");
}

#[test]
fn a_report_in_json_is_on_standard_output_alone() {
    let Some(programs) = programs() else { return };
    let ((_, name), folder, copy) = (shop(), Folder::new(), unique("copy"));
    let path = folder.file("a");
    let made =
        run_in(&name, &["backup", "create", &path, "--programs", &programs, "--format", "json", "--quiet"]).with(0);
    assert_eq!(made.stderr, "");
    let made = made.json();
    assert_eq!((&made["path"], &made["warnings"]), (&json!(path), &json!([])));
    assert_eq!(made["tables"][1], json!({"schema": "public", "name": "item", "rows": 3}));
    let shown = run(&["backup", "show", &path, "--format", "json"]).with(0).json();
    assert_eq!((&made["sha256"], &made["ended"]), (&shown["sha256"], &shown["ended"]));
    let arguments = ["restore", &path, "--new-database", &copy, "--programs", &programs, "--format", "json", "-q"];
    let restored = run(&arguments).with(0).json();
    let target = format!("the new database {copy}");
    assert_eq!(restored, json!({"path": path, "target": target, "errors": [], "warnings": []}));
}

#[test]
fn each_failure_has_its_words_and_its_exit_code_and_leaves_nothing() {
    let Some(programs) = programs() else { return };
    let ((_, name), folder) = (shop(), Folder::new());
    let (taken, missing, empty) = (folder.file("taken"), folder.file("no/shop.dump"), folder.file("empty"));
    fs::write(&taken, "mine").unwrap();
    fs::create_dir(&empty).unwrap();
    let fresh_file = folder.file("b");
    let cases: [(&[&str], i32, &str); 15] = [
        (&["backup", "create"], 2, "<PATH>"),
        (&["backup", "create", "-"], 2, "goes to and from a program"),
        (&["backup", "create", &taken], 4, "exists already"),
        (&["backup", "create", &missing], 1, "No such file or directory"),
        (&["backup", "create", &fresh_file, "--table", "no_such_table"], 1, "no matching tables"),
        (&["backup", "create", &fresh_file, "--jobs", "2"], 2, "directory format"),
        (&["backup", "create", &fresh_file, "--compress", "fast"], 2, "a level from 0 to 9"),
        (&["backup", "create", &fresh_file, "--no-data", "--programs", "/nowhere"], 1, "/nowhere"),
        (&["backup", "create", &fresh_file, "--to-program", "--", "cat"], 2, "cannot be used with"),
        (&["backup", "create", "--to-program", "--", "false"], 1, "program \"false\""),
        (&["backup", "show", &taken], 3, "taken.manifest.json"),
        (&["restore", &taken], 2, "--into"),
        (&["restore", &missing, "--new-database", "never_made"], 1, "No such file or directory"),
        (&["restore", &taken, "--into", "no_such_database"], 3, "no_such_database"),
        (&["restore", &taken, "--verify", "--clean"], 2, "--jobs and --role"),
    ];
    for (arguments, code, words) in cases {
        // What is given first counts.
        let more = if arguments.contains(&"--programs") || arguments[1] == "show" {
            vec![]
        } else {
            vec!["--programs", &programs]
        };
        let place = arguments.iter().position(|word| *word == "--").unwrap_or(arguments.len());
        let arguments: Vec<&str> = [&arguments[..place], &more, &arguments[place..]].concat();
        let ended = run_in(&name, &arguments);
        assert!(ended.stderr.contains(words) && ended.stdout.is_empty(), "{arguments:?}: {ended:?}");
        assert_eq!(ended.code, code, "{arguments:?}: {ended:?}");
    }
    assert_eq!(folder.names(), ["empty", "taken"]);
    assert!(!exists("never_made"));
    run_in(&name, &["backup", "create", &taken, "--replace", "--programs", &programs]).with(0);
    assert!(fs::read(&taken).unwrap().starts_with(b"PGDMP"));
}

#[test]
fn p066_a_dump_that_is_not_what_its_manifest_tells_is_not_restored() {
    let Some(programs) = programs() else { return };
    let ((_, name), folder) = (shop(), Folder::new());
    let path = folder.file("a");
    run_in(&name, &["backup", "create", &path, "--programs", &programs]).with(0);
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();
    for arguments in [["--new-database", "never_made"].as_slice(), &["--verify"], &["--into", &name, "--yes"]] {
        let ended = run_in(&name, &[&["restore", &path, "--programs", &programs], arguments].concat()).with(2);
        assert!(ended.stderr.contains("it is not what its manifest tells"), "{ended:?}");
    }
    assert!(!exists("never_made"));
}

#[test]
fn p062_a_dump_goes_to_a_program_and_comes_from_one_and_no_shell_is_used() {
    let Some(programs) = programs() else { return };
    let ((_, name), folder, copy) = (shop(), Folder::new(), unique("copy"));
    let (path, canary) = (folder.file("it's $(touch) ; x"), folder.file("canary"));
    let hostile = format!("x; touch {canary}");
    let made = run_in(
        &name,
        &[
            "backup",
            "create",
            "--to-program",
            "--programs",
            &programs,
            "--before",
            "touch",
            &folder.file("before"),
            ";",
            "--",
            "dd",
            &format!("of={path}"),
            "status=none",
        ],
    );
    assert!(made.with(0).stderr.contains(" to dd ("));
    assert!(fs::read(&path).unwrap().starts_with(b"PGDMP"));
    run(&[
        "restore",
        "--from-program",
        "--new-database",
        &copy,
        "--programs",
        &programs,
        "--after",
        "touch",
        &folder.file("after"),
        ";",
        "--",
        "cat",
        &path,
    ])
    .with(0);
    assert_eq!(rows(&copy, "item"), 3);
    // The command after runs when the dump fails, too; the database is not there then.
    let failed = unique("failed");
    run(&[
        "restore",
        "--from-program",
        "--new-database",
        &failed,
        "--programs",
        &programs,
        "--after",
        "touch",
        &folder.file("after all"),
        ";",
        "--",
        "cat",
        &hostile,
    ])
    .with(1);
    assert!(!exists(&failed));
    assert_eq!(folder.names(), ["after", "after all", "before", "it's $(touch) ; x"]);
}

#[test]
fn p064_hostile_values_of_options_run_nothing() {
    let Some(programs) = programs() else { return };
    let folder = Folder::new();
    let canary = folder.file("canary");
    for (number, value) in [
        format!("a'; touch {canary}; '"),
        format!("$(touch {canary})"),
        format!("`touch {canary}`"),
        format!("\"; touch {canary}; \""),
        format!("| touch {canary}"),
        format!("a\ntouch {canary}\n"),
        format!("--file={canary}"),
        format!("-f{canary}"),
    ]
    .iter()
    .enumerate()
    {
        let database = unique("hostile") + "'; =" + &value.chars().take(30).collect::<String>();
        let schema: String = value.chars().take(60).collect();
        cluster().execute(&sql!("CREATE DATABASE {} TEMPLATE template0", Ident(&database)).to_string(), &[]).unwrap();
        // As one word of a connection string.
        let dsn = format!("dbname='{}'", database.replace('\\', "\\\\").replace('\'', "\\'"));
        let there = cluster().database(&database).unwrap();
        there.execute(&sql!("CREATE SCHEMA {}", Ident(&schema)).to_string(), &[]).unwrap();
        let pattern = sql!("{}", Ident(&schema)).to_string();
        for (kind, on) in [("client", [].as_slice()), ("server", &["--on-server", "--server-role", "postgres"])] {
            let path = folder.file(&format!("{} {number} {kind}", value.replace('/', "%")));
            let schema_option = format!("--schema={pattern}");
            let arguments = ["-d", &dsn, "backup", "create", &path, "--programs", &programs, &schema_option];
            run(&[arguments.as_slice(), on].concat()).with(0);
            let copy = unique("copy") + value.chars().take(20).collect::<String>().as_str();
            let into = format!("--new-database={copy}");
            run(&[["restore", &path, &into, "--programs", &programs].as_slice(), on].concat()).with(0);
            assert!(cluster().database(&copy).unwrap().schemas().contains(&schema).unwrap(), "{value} {kind}");
        }
        for option in ["--encoding", "--role", "--snapshot", "--superuser", "--extension", "--filter", "--restrict-key"]
        {
            let word = format!("{option}={value}");
            let path = folder.file("never");
            for on in [[].as_slice(), &["--on-server", "--server-role", "postgres"]] {
                // Some are refused, some are of no consequence.
                run(&[["backup", "create", &path, "--replace", "--programs", &programs, &word].as_slice(), on].concat());
            }
        }
        assert!(!Path::new(&canary).exists(), "{value}");
    }
}

#[test]
fn what_belongs_to_no_database_is_backed_up() {
    let Some(programs) = programs() else { return };
    let folder = Folder::new();
    let path = folder.file("globals.sql");
    let role = unique("one of all");
    cluster().roles().create(pgsteward::Role::new(&role)).unwrap();
    run(&["backup", "globals", &path, "--roles-only", "--programs", &programs]).with(0);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(&format!("CREATE ROLE \"{role}\"")) && !text.contains("TABLESPACE"), "{text}");
    let shown = run(&["backup", "show", &path, "--format", "json"]).with(0).json();
    assert_eq!((&shown["database"], &shown["program"]), (&json!(null), &json!("pg_dumpall")));
    // Options of the other program are not for it.
    run(&["backup", "globals", &path, "--schema", "x"]).with(2);
}

#[test]
fn a_restore_into_a_database_that_is_not_empty_is_asked_about() {
    let Some(programs) = programs() else { return };
    let ((_, name), folder, there) = (shop(), Folder::new(), unique("there"));
    let path = folder.file("a");
    run_in(&name, &["backup", "create", &path, "--programs", &programs]).with(0);
    cluster().databases().create(Database::new(&there)).unwrap();
    let into = ["restore", &path, "--into", &there, "--programs", &programs];
    // It is empty.
    let restored = answer(&into, "").with(0);
    assert!(!restored.stderr.contains("[y/N]"), "{restored:?}");
    let session = Cluster::connect(&server().dsn_for(&there, "postgres")).unwrap();
    session.execute("SET application_name = 'the client'", &[]).unwrap();
    session.execute("INSERT INTO item VALUES (4)", &[]).unwrap();
    for (clean, words) in [(None, "restore into it?"), (Some("--clean"), "drop in it what the dump has")] {
        let arguments: Vec<&str> = into.iter().copied().chain(clean).collect();
        let declined = answer(&arguments, "no\n").with(6);
        let question = format!("database {there:?} is not empty (");
        for words in [&question, "kB", "1 session: ", "the client", words] {
            assert!(declined.stderr.contains(words), "{declined:?}");
        }
        assert_eq!(rows(&there, "item"), 4);
        // Nobody is asked about a plan.
        let plan = run(&[&arguments, ["--plan"].as_slice()].concat()).with(0);
        assert!(plan.stdout.contains(": pg_restore --exit-on-error") && plan.stderr.is_empty(), "{plan:?}");
        assert_eq!(rows(&there, "item"), 4);
    }
    let replaced = answer(&[&into[..], &["--clean"]].concat(), "yes\n").with(0);
    assert!(replaced.stderr.ends_with(&format!("restored {path} into database {there}\n")), "{replaced:?}");
    assert_eq!(rows(&there, "item"), 3);
    drop(session);
    // The dump's own database, with all that is in it.
    let own = ["restore", &path, "--create", "--clean", "--programs", &programs];
    let declined = answer(&own, "\n").with(6);
    assert!(declined.stderr.contains(&format!("drop database {name:?} (")), "{declined:?}");
}

#[test]
fn errors_of_a_restore_name_their_objects_and_the_exit_code_is_1() {
    let Some(programs) = programs() else { return };
    let ((_, name), folder) = (shop(), Folder::new());
    let path = folder.file("a");
    run_in(&name, &["backup", "create", &path, "--programs", &programs]).with(0);
    let into = ["restore", &path, "--into", &name, "--yes", "--programs", &programs];
    let first = run(&into).with(1);
    assert!(first.stderr.contains("TABLE audit postgres: ") && first.stderr.contains("already exists"), "{first:?}");
    assert!(!first.stderr.contains("TABLE item"), "{first:?}");
    let all =
        run(&[&into[..], &["--continue-on-error", "--no-data-for-failed-tables", "--format", "json"]].concat()).with(1);
    for words in ["TABLE audit postgres: ", "TABLE item postgres: ", "with errors"] {
        assert!(all.stderr.contains(words), "{all:?}");
    }
    let errors = all.json()["errors"].clone();
    let objects: Vec<&str> = errors.as_array().unwrap().iter().map(|error| error["object"].as_str().unwrap()).collect();
    assert_eq!(objects, ["TABLE audit postgres", "TABLE item postgres"]);
    assert!(errors[0]["statement"].as_str().unwrap().contains("CREATE TABLE"), "{errors}");
}

#[test]
fn a_dump_of_which_something_is_missing_is_not_good() {
    let Some(programs) = programs() else { return };
    let ((_, name), folder) = (shop(), Folder::new());
    let path = folder.file("a");
    run_in(&name, &["backup", "create", &path, "--programs", &programs]).with(0);
    let manifest = path.clone() + ".manifest.json";
    let told = fs::read_to_string(&manifest).unwrap().replace("\"rows\": 3", "\"rows\": 4");
    fs::write(&manifest, told).unwrap();
    let verified = run_in(&name, &["restore", &path, "--verify", "--programs", &programs, "--format", "json"]).with(1);
    assert_eq!(verified.stderr, "table public.item: 3 rows instead of 4\n");
    let verified = verified.json();
    assert_eq!(verified["good"], json!(false));
    assert_eq!(verified["rows"], json!([{"schema": "public", "name": "item", "expected": 4, "found": 3}]));
}

#[test]
fn a_plan_prints_the_arguments_without_secrets_and_does_nothing() {
    let Some(programs) = programs() else { return };
    let ((_, name), folder) = (shop(), Folder::new());
    let path = folder.file("a");
    let mut command = program(server());
    command.env("PGDATABASE", &name).env("PGPASSWORD", "hidden").args(["--plan", "backup", "create", &path]);
    command.args(["--programs", &programs, "--schema", "a b", "--compress", "9", "--before", "sh", "hidden", ";"]);
    let plan = end(&mut command, "").with(0);
    let expected = format!(
        "-- pg_dump of database {name:?} to {path:?}: pg_dump --format=custom --compress=9 '--schema=a b'; before it the program \"sh\"\n"
    );
    assert!(plan.stdout.starts_with(&expected) && plan.stderr.is_empty(), "{plan:?}");
    let mut command = program(server());
    command.env("PGDATABASE", &name).args(["--plan", "restore", "--from-program", "--new-database", "never_made"]);
    let plan = end(command.args(["--programs", &programs, "--", "cat", "hidden"]), "").with(0);
    assert!(plan.stdout.contains("the program \"cat\" into the new database \"never_made\": pg_restore "), "{plan:?}");
    assert!(!plan.stdout.contains("hidden") && !exists("never_made"));
    assert_eq!(folder.names(), Vec::<String>::new());
    run_in(&name, &["--plan", "restore", &path, "--verify", "--programs", &programs]).with(2);
}

#[test]
fn steps_are_told_with_v_and_not_otherwise() {
    let Some(programs) = programs() else { return };
    let ((_, name), folder) = (shop(), Folder::new());
    let told = |name_of_file: &str, option: &[&str]| {
        let path = folder.file(name_of_file);
        let arguments = ["backup", "create", &path, "--programs", &programs];
        run_in(&name, &[&arguments[..], option].concat()).with(0).stderr
    };
    assert_eq!(told("a", &[]).lines().count(), 1);
    assert!(told("b", &["-v"]).contains("dumping contents of table \"public.item\"\n"));
    assert_eq!(told("c", &["-v", "--quiet"]), "");
}

/// Whether a session in a database waits for a lock.
fn waits(database: &str) -> bool {
    let question = "SELECT FROM pg_stat_activity WHERE datname = $1 AND wait_event_type = 'Lock'";
    !cluster().execute(question, &[&database]).unwrap().is_empty()
}

#[test]
fn ctrl_c_sigterm_and_sighup_end_a_dump_and_leave_nothing_of_it() {
    let Some(programs) = programs() else { return };
    let ((shop, name), folder) = (shop(), Folder::new());
    let path = folder.file("a");
    let on_server = ["--on-server", "--server-role", "postgres"].as_slice();
    // pg_dump waits for the table, or who counts its rows does.
    let ways = [
        ("INT", 130, &[][..], "--no-count-rows"),
        ("INT", 130, &[], "-q"),
        ("INT", 130, on_server, "--no-count-rows"),
        ("INT", 130, on_server, "-q"),
        ("TERM", 143, &[], "--no-count-rows"),
        ("TERM", 143, on_server, "-q"),
        ("HUP", 129, &[], "-q"),
    ];
    for (signal, code, on, counting) in ways {
        shop.execute("BEGIN; LOCK TABLE item", &[]).unwrap();
        let mut command = program(server());
        command.env("PGDATABASE", &name).args(["backup", "create", &path, "--programs", &programs, counting]).args(on);
        let ended = end_by(signal, &mut command, || waits(&name)).with(code);
        assert!(ended.stdout.is_empty() && ended.stderr.starts_with("error: "), "{ended:?}");
        assert!(!waits(&name));
        assert_eq!(folder.names(), Vec::<String>::new(), "{signal} {on:?}");
        shop.execute("ROLLBACK", &[]).unwrap();
    }
}

#[test]
fn a_signal_that_comes_twice_does_not_keep_the_program_from_clearing_up() {
    let Some(programs) = programs() else { return };
    let ((shop, name), folder) = (shop(), Folder::new());
    for (signals, code) in [(["TERM"; 3], 143), (["HUP"; 3], 129)] {
        shop.execute("BEGIN; LOCK TABLE item", &[]).unwrap();
        let mut command = program(server());
        command.env("PGDATABASE", &name).args(["backup", "create", &folder.file("a"), "--programs", &programs]);
        let ended = end_by_all(&signals, &mut command, || waits(&name)).with(code);
        assert!(ended.stderr.starts_with("error: ") && !waits(&name), "{ended:?}");
        assert_eq!(folder.names(), Vec::<String>::new());
        shop.execute("ROLLBACK", &[]).unwrap();
    }
}

#[test]
fn a_program_that_nohup_started_does_not_hear_sighup() {
    let Some(programs) = programs() else { return };
    let ((shop, name), folder) = (shop(), Folder::new());
    let plain = program(server());
    let mut nohup = Command::new("nohup");
    nohup.arg(plain.get_program()).env_clear().envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    nohup.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    nohup.env("PGDATABASE", &name).args(["backup", "create", &folder.file("a"), "--programs", &programs]);
    shop.execute("BEGIN; LOCK TABLE item", &[]).unwrap();
    // It would be the first that came.
    end_by_all(&["HUP", "TERM"], &mut nohup, || waits(&name)).with(143);
    assert_eq!(folder.names(), Vec::<String>::new());
}

#[test]
fn ctrl_c_ends_a_restore_and_the_new_database_is_gone() {
    let Some(programs) = programs() else { return };
    let ((shop, name), folder, copy) = (shop(), Folder::new(), unique("copy"));
    let path = folder.file("a");
    // Each row takes a while when it is restored.
    let function =
        |body: &str| format!("CREATE OR REPLACE FUNCTION slow() RETURNS boolean LANGUAGE sql AS 'SELECT {body}'");
    shop.execute(&format!("{}; ALTER TABLE item ADD CHECK (public.slow())", function("true")), &[]).unwrap();
    shop.execute(&function("pg_catalog.pg_sleep(60) IS NOT NULL"), &[]).unwrap();
    run_in(&name, &["backup", "create", &path, "--programs", &programs]).with(0);
    for target in [["--new-database", &copy].as_slice(), &["--verify"]] {
        let mut command = program(server());
        command.args(["restore", &path, "--programs", &programs]).args(target);
        // Other tests restore too, and none of them sleeps.
        let restored = "SELECT datname::text FROM pg_stat_activity WHERE application_name = 'pg_restore' \
                        AND query LIKE 'COPY public.item %' AND wait_event = 'PgSleep'";
        let restored_into = OnceCell::<String>::new();
        let is_restoring = || {
            let rows = cluster().execute(restored, &[]).unwrap();
            rows.first().inspect(|row| _ = restored_into.set(row.get(0))).is_some()
        };
        interrupt(&mut command, is_restoring).with(130);
        let left = "SELECT datname FROM pg_database WHERE datname = $1";
        assert!(cluster().execute(left, &[restored_into.get().unwrap()]).unwrap().is_empty(), "{target:?}");
    }
}
