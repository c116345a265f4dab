//! `pgsteward db provision` and `deprovision`.
use crate::prompt::{answer_in_a_terminal, no_terminal};
use crate::support::{answer, cluster, end, interrupt, program, programs, run, server, unique};
use pgsteward::testing::{TestServer, TestServerOptions};
use pgsteward::{Cluster, Database};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A directory that is removed in the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("pgsteward-cli-{}-{}", std::process::id(), unique("clients")));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    fn with(&self, name: &str, text: &str) -> String {
        fs::write(self.file(name), text).unwrap();
        self.file(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn databases_and_roles(start: &str) -> (i64, i64) {
    let question = "SELECT (SELECT count(*) FROM pg_database WHERE starts_with(datname, $1)), \
         (SELECT count(*) FROM pg_roles WHERE starts_with(rolname, $1))";
    let rows = cluster().execute(question, &[&start]).unwrap();
    (rows[0].get(0), rows[0].get(1))
}

fn outcomes(report: &Value) -> Vec<&str> {
    report.as_array().unwrap().iter().map(|client| client["outcome"].as_str().unwrap()).collect()
}

#[test]
fn p080_databases_are_made_for_clients_and_the_passwords_are_in_a_file_of_their_own() {
    let folder = Folder::new();
    let mut options = TestServerOptions::new();
    options.hba = Some("local all postgres trust\nlocal all all scram-sha-256\n".into());
    options.settings.push(("password_encryption".into(), "scram-sha-256".into()));
    options.settings.push(("log_statement".into(), "all".into()));
    let server = TestServer::with(options).unwrap();
    let schema = folder.with("1.sql", "CREATE TABLE item (id int);\nINSERT INTO item VALUES (1);\n");
    let passwords = folder.file(".pgpass");
    let arguments = |format: &'static str| {
        let fixed = ["-vv", "db", "provision", "c{08..10}_x", "other", "--schema", &schema, "--passwords", &passwords]
            .map(str::to_owned);
        let more = ["--set", "connection_limit=7", "--set-role", "connection_limit=3", "--setting", "search_path=a"];
        let rest = ["--setting", "search_path=public", "--encoding", "UTF8", "--jobs", "2", "--format", format];
        fixed.into_iter().chain(more.map(str::to_owned)).chain(rest.map(str::to_owned)).collect::<Vec<_>>()
    };
    let ended = end(program(&server).args(arguments("json")), "").with(0);
    let report = ended.json();
    assert_eq!(report[0], json!({"database": "c08_x", "role": "c08_x", "outcome": "made", "error": null}));
    assert_eq!(outcomes(&report), ["made"; 4]);
    assert!(ended.stderr.contains("everybody may connect to these databases"), "{ended:?}");

    let lines = fs::read_to_string(&passwords).unwrap();
    assert_eq!((lines.lines().count(), fs::metadata(&passwords).unwrap().permissions().mode() & 0o777), (4, 0o600));
    let log = server.log().unwrap();
    for line in lines.lines() {
        let password = line.rsplit(':').next().unwrap();
        assert!(password.len() == 32 && !ended.stderr.contains(password) && !ended.stdout.contains(password));
        assert!(!log.contains(password), "a password is in the server's log");
    }
    // The file is one that libpq takes.
    let as_client = |database: &str| {
        end(program(&server).env("HOME", &folder.0).args(["-U", "c08_x", "-d", database, "table", "list"]), "")
    };
    assert!(as_client("c08_x").with(0).stdout.contains("item"));
    let password = lines.lines().find(|line| line.contains(":c08_x:")).unwrap().rsplit(':').next().unwrap();
    let mut elsewhere = program(&server);
    elsewhere.env("PGPASSWORD", password).args(["-U", "c08_x", "-d", "c09_x", "table", "list"]);
    let refused = end(&mut elsewhere, "").with(5);
    assert!(refused.stderr.contains("c09_x"), "{refused:?}");
    let cluster = Cluster::connect(&server.dsn()).unwrap();
    let database = cluster.databases().get("other").unwrap();
    assert_eq!((database.connection_limit, database.owner.as_str()), (7, "other"));
    assert_eq!(cluster.roles().get("other").unwrap().connection_limit, 3);
    let setting = cluster.execute("SELECT setconfig::text FROM pg_db_role_setting LIMIT 1", &[]).unwrap();
    assert_eq!(setting[0].get::<_, String>(0), "{\"search_path=a, public\"}");

    // Again: the file that is there is not touched, and nobody is made twice.
    end(program(&server).args(arguments("json")), "").with(4);
    fs::remove_file(&passwords).unwrap();
    let again = end(program(&server).args(arguments("csv")), "").with(0);
    assert!(again.stdout.starts_with("database,role,outcome,error\nc08_x,c08_x,skipped,\n"), "{again:?}");
    assert!(!PathBuf::from(&passwords).exists());
}

#[test]
fn p080_passwords_are_in_the_report_when_they_are_wanted_there_and_only_then() {
    let start = unique("report");
    let names = [format!("{start}{{1..2}}"), "--roles".into(), format!("{start}_role{{1..2}}")];
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let provision = |more: &[&str]| run(&[&["db", "provision"], names.as_slice(), more].concat());
    let report = provision(&["--passwords", "-", "--format", "json"]).with(0).json();
    let password = report[1]["password"].as_str().unwrap();
    assert_eq!((password.len(), &report[1]["role"]), (32, &json!(format!("{start}_role2"))));
    let again = provision(&["--passwords", "-", "--format", "json"]).with(0).json();
    assert_eq!((outcomes(&again), &again[0]["password"]), (vec!["skipped"; 2], &Value::Null));
    let table = provision(&["--passwords", "-"]).with(0).stdout;
    assert!(table.starts_with("database ") && table.contains("password"), "{table}");
    assert_eq!(databases_and_roles(&start), (2, 2));
}

#[test]
fn p081_what_cannot_be_made_is_reported_and_nothing_of_it_is_left() {
    let folder = Folder::new();
    let start = unique("partly");
    let taken = format!("{start}_2");
    cluster().databases().create(Database::new(&taken)).unwrap();
    let schema = folder.with(
        "s.sql",
        "CREATE TABLE a ();\nDO $$ BEGIN IF current_database() LIKE '%_3' THEN RAISE 'not here'; END IF; END $$;\n",
    );
    let names = format!("{start}_{{1..4}}");
    let arguments = ["db", "provision", &names, "--schema", &schema, "--passwords", "-", "--format", "json"];
    let ended = run(&arguments).with(1);
    let report = ended.json();
    assert_eq!(outcomes(&report), ["made", "failed", "failed", "made"]);
    assert!(report[1]["error"].as_str().unwrap().contains("exists already"), "{report}");
    let error = report[2]["error"].as_str().unwrap();
    assert!(error.contains("line 2") && error.contains("not here") && ended.stderr.contains(error), "{ended:?}");
    assert!(report[2]["password"].is_null() && report[3]["password"].is_string());
    assert_eq!(databases_and_roles(&start), (3, 2));
}

#[test]
fn what_could_not_be_made_is_refused_before_anything_is_made() {
    let folder = Folder::new();
    let start = unique("refused");
    let passwords = folder.file("passwords");
    let other = folder.with("there", "mine");
    for (more, code, words) in [
        (vec!["--passwords", &other, "--plan"], 4, "there"),
        (vec!["--passwords", "/nowhere/passwords", "--plan"], 1, "cannot create \"/nowhere/passwords\""),
        (vec![], 2, "--passwords"),
        (vec!["--passwords", &other], 4, "there"),
        (vec!["--passwords", &passwords, "--roles", "one"], 2, "1 role for 2 databases"),
        (vec!["--passwords", &passwords, "--set", "owner=postgres"], 2, "field \"owner\""),
        (vec!["--passwords", &passwords, "--set-role", "login=true"], 2, "field \"login\""),
        (vec!["--passwords", &passwords, "--set-role", "superuser=true"], 2, "SUPERUSER"),
        (vec!["--passwords", &passwords, "--jobs", "0"], 2, "jobs"),
        (vec!["--passwords", &passwords, "--schema", "/nowhere.sql"], 1, "/nowhere.sql"),
        (vec!["--passwords", &passwords, "a{b..c}"], 2, "a{b..c}"),
    ] {
        let names = format!("{start}{{1..2}}");
        let ended = run(&[&["db", "provision", &names], more.as_slice()].concat());
        assert!(ended.stderr.contains(words) && ended.stdout.is_empty(), "{more:?}: {ended:?}");
        ended.with(code);
        assert!(!PathBuf::from(&passwords).exists(), "{more:?}");
    }
    assert_eq!((databases_and_roles(&start), fs::read_to_string(&other).unwrap().as_str()), ((0, 0), "mine"));
}

#[test]
fn a_plan_shows_the_sql_for_what_is_missing_and_makes_nothing() {
    let folder = Folder::new();
    let start = unique("planned");
    let schema = folder.with("s.sql", "CREATE TABLE a ();\nINSERT INTO a DEFAULT VALUES;\n");
    let passwords = folder.file("passwords");
    provisioned(&start, &format!("{start}_1"));
    cluster().databases().create(Database::new(format!("{start}_3"))).unwrap();
    let names = format!("{start}_{{1..3}}");
    for passwords in [passwords.as_str(), "-"] {
        let plan = run(&["db", "provision", &names, "--schema", &schema, "--passwords", passwords, "--plan"]).with(4);
        for words in [
            format!("CREATE DATABASE \"{start}_2\""),
            format!("-- in database \"{start}_2\"\n"),
            format!("-- as role \"{start}_2\", in one transaction: {schema:?} (2 statements)\n"),
            format!("ALTER ROLE \"{start}_2\" LOGIN PASSWORD '********';\n"),
        ] {
            assert!(plan.stdout.contains(&words), "{words}: {plan:?}");
        }
        assert!(["_1\"", "_3\"", "SCRAM"].iter().all(|words| !plan.stdout.contains(words)), "{plan:?}");
        assert!(plan.stderr.contains("_3\" exists already") && plan.stderr.lines().count() == 1, "{plan:?}");
    }
    let complete = run(&["db", "provision", &format!("{start}_1"), "--passwords", "-", "--plan"]).with(0);
    assert!(complete.stdout.is_empty() && complete.stderr.is_empty(), "{complete:?}");
    assert!(!PathBuf::from(&passwords).exists());
    assert_eq!(databases_and_roles(&start), (2, 1));
}

#[test]
fn ctrl_c_while_databases_are_made_leaves_nothing_half_made() {
    let folder = Folder::new();
    let start = unique("stopped");
    // Several statements that travel together: the one that is cancelled must not be sent again.
    let slow = folder.with("slow.sql", "CREATE TABLE a ();\nSELECT pg_sleep(120);\nCREATE TABLE b ();\n");
    let names = format!("{start}_{{1..5}}");
    let mut command = program(server());
    command.args(["db", "provision", &names, "--schema", &slow, "--jobs", "2"]);
    command.args(["--passwords", "-", "--format", "json"]);
    let question = "SELECT count(*) FROM pg_stat_activity WHERE starts_with(datname, $1) AND wait_event = 'PgSleep'";
    let both_sleep = || cluster().execute(question, &[&start]).unwrap()[0].get::<_, i64>(0) == 2;
    let ended = interrupt(&mut command, both_sleep).with(130);
    assert_eq!(outcomes(&ended.json()), ["failed", "failed", "not_tried", "not_tried", "not_tried"]);
    assert_eq!(databases_and_roles(&start), (0, 0));
}

fn provisioned(start: &str, names: &str) {
    let made = run(&["db", "provision", names, "--passwords", "-", "--quiet"]).with(0);
    assert!(made.stdout.contains(start) && made.stderr.is_empty(), "{made:?}");
}

#[test]
fn clients_are_dropped_when_it_was_said_and_answered_that_they_go() {
    let start = unique("leaving");
    let names = format!("{start}_{{1..3}}");
    provisioned(&start, &format!("{start}_{{1..2}}"));
    let _session = Cluster::connect(&server().dsn_for(&format!("{start}_1"), "postgres")).unwrap();
    let deprovision = |more: &[&str], typed: &str| answer(&[&["db", "deprovision", &names], more].concat(), typed);
    let neither = run(&["db", "deprovision", &names]).with(2);
    assert!(neither.stderr.contains("--archive <FOLDER>|--no-archive"), "{neither:?}");
    run(&["db", "deprovision", &names, "--archive", "a", "--no-archive"]).with(2);
    let plan = deprovision(&["--no-archive", "--plan"], "").with(0);
    assert!(plan.stdout.contains(&format!("DROP DATABASE \"{start}_1\"")) && plan.stderr.is_empty(), "{plan:?}");
    assert!(plan.stdout.contains(&format!("DROP ROLE \"{start}_2\";\n")) && !plan.stdout.contains("_3"), "{plan:?}");
    for no in ["", "no\n"] {
        let declined = deprovision(&["--no-archive"], no).with(6);
        for words in [
            &format!("database \"{start}_1\", role \"{start}_1\", "),
            "1 session that will be ended",
            "2 databases (",
            "without an archive",
        ] {
            assert!(declined.stderr.contains(words), "{words}: {declined:?}");
        }
    }
    let folder = Folder::new();
    let there = folder.with(&format!("{start}_2.dump"), "older");
    let refused = deprovision(&["--archive", folder.0.to_str().unwrap()], "yes\n").with(4);
    assert!(refused.stderr.contains("--replace") && !refused.stderr.contains("[y/N]"), "{refused:?}");
    let refused = deprovision(&["--archive", &there], "yes\n").with(2);
    assert!(refused.stderr.contains("not a folder"), "{refused:?}");
    let roles = ["--roles", "a", "--roles", "b{1..2}", "--no-archive"];
    let refused = deprovision(&roles, "yes\n").with(2);
    assert!(refused.stderr.contains("and not to role \"a\""), "{refused:?}");
    assert_eq!(databases_and_roles(&start), (2, 2));
    let report = deprovision(&["--no-archive", "--format", "json"], "yes\n").with(0).json();
    assert_eq!(outcomes(&report), ["dropped", "dropped", "absent"]);
    assert_eq!((report[0].get("password"), databases_and_roles(&start)), (None, (0, 0)));
}

#[test]
fn clients_are_archived_before_they_are_dropped_and_stay_when_they_cannot_be() {
    let Some(programs) = programs() else { return };
    let folder = Folder::new();
    let start = unique("archived/");
    provisioned(&start, &start);
    let archive = folder.0.to_str().unwrap();
    let deprovision = |options: &[&str]| {
        let given = ["db", "deprovision", &start, "--archive", archive];
        end(program(server()).env("PATH", &programs).args(given).args(options), "")
    };
    let plan = deprovision(&["--plan"]).with(0);
    assert!(plan.stdout.contains("pg_dump") && plan.stdout.contains("DROP DATABASE"), "{plan:?}");
    assert!(fs::read_dir(&folder.0).unwrap().next().is_none() && databases_and_roles(&start) == (1, 1));
    let deprovision = || deprovision(&["--replace", "--yes", "--format", "json"]);
    let file = folder.0.join(start.replace('/', "%2F") + ".dump");
    fs::create_dir(&file).unwrap();
    let ended = deprovision().with(1);
    assert_eq!(outcomes(&ended.json()), ["failed"]);
    assert!(ended.stderr.contains("%2F") && file.is_dir(), "{ended:?}");
    assert!(cluster().roles().get(start.as_str()).unwrap().login);
    assert_eq!(databases_and_roles(&start), (1, 1));
    fs::remove_dir(&file).unwrap();
    deprovision().with(0);
    assert!(fs::read(&file).unwrap().starts_with(b"PGDMP"));
    assert_eq!(databases_and_roles(&start), (0, 0));
}

#[test]
fn a_terminal_sees_how_far_it_is_and_is_asked() {
    if no_terminal() {
        return;
    }
    let start = unique("seen");
    let names = format!("{start}_{{1..2}}");
    let (code, seen) = answer_in_a_terminal(&["db", "provision", &names, "--passwords", "-"], "");
    assert!(code == 0 && seen.contains("/2 ") && seen.contains("made"), "{seen}");
    let deprovision = ["db", "deprovision", &names, "--no-archive"];
    let (code, seen) = answer_in_a_terminal(&deprovision, "\u{4}");
    assert!(code == 6 && seen.contains("[y/N]") && databases_and_roles(&start) == (2, 2), "{seen}");
    let (code, seen) = answer_in_a_terminal(&deprovision, "y\n");
    assert!(code == 0 && databases_and_roles(&start) == (0, 0), "{seen}");
}

#[test]
fn ctrl_c_at_any_moment_leaves_whole_databases_or_none_and_the_next_run_goes_on() {
    let Some(programs) = programs() else { return };
    let folder = Folder::new();
    let start = unique("moments");
    let statements: String = (0..40).map(|number| format!("CREATE TABLE t{number} (id int PRIMARY KEY);\n")).collect();
    let schema = folder.with("s.sql", &statements);
    let names = format!("{start}_{{1..6}}");
    let archive = folder.0.to_str().unwrap();
    let provision =
        ["db", "provision", &names, "--schema", &schema, "--passwords", "-", "--jobs", "2", "--format", "json"];
    let deprovision = ["db", "deprovision", &names, "--no-archive", "--yes", "--format", "json"];
    let archived = ["db", "deprovision", &names, "--archive", archive, "--replace", "--yes", "--format", "json"];
    for (round, arguments) in [&provision[..], &provision, &archived, &provision, &deprovision].iter().enumerate() {
        let until = Instant::now() + Duration::from_millis(60 + 170 * round as u64);
        let ended = interrupt(program(server()).env("PATH", &programs).args(*arguments), || Instant::now() > until);
        // -1: before it was connected, and had anything to cancel.
        assert!([-1, 0, 130].contains(&ended.code), "{ended:?}");
        if arguments.contains(&"provision") {
            assert_eq!(half_made(&start), Vec::<String>::new(), "{ended:?}");
        }
    }
    assert_eq!(outcomes(&run(&provision).with(0).json()).len(), 6);
    assert_eq!((databases_and_roles(&start), half_made(&start)), ((6, 6), Vec::new()));
    run(&deprovision).with(0);
    assert_eq!(databases_and_roles(&start), (0, 0));
}

/// Roles without a database or a login, and databases without a role.
fn half_made(start: &str) -> Vec<String> {
    let question = "SELECT COALESCE(rolname, datname)::text FROM pg_roles FULL JOIN pg_database ON rolname = datname \
         WHERE starts_with(COALESCE(rolname, datname), $1) AND (rolcanlogin AND datallowconn) IS NOT TRUE";
    cluster().execute(question, &[&start]).unwrap().iter().map(|row| row.get(0)).collect()
}
