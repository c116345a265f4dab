//! Verbs about the cluster as a whole, and what holds for all verbs.
use crate::support::{answer, cluster, end, end_by, fresh, program, run, run_in, server, unique};
use pgsteward::testing::{TestServer, TestServerOptions};
use pgsteward::{Cluster, Role};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[test]
fn info_says_what_the_server_is() {
    let info = run(&["info", "--format", "json"]).with(0).json();
    assert_eq!(
        (&info["superuser"], &info["standby"], &info["role"]),
        (&true.into(), &false.into(), &"postgres".into())
    );
    assert!(info["version"].as_str().unwrap().starts_with(&server().major().to_string()));
    let databases = run(&["info", "--databases", "--format", "json"]).with(0).json();
    let postgres =
        databases.as_array().unwrap().iter().find(|database| database["name"] == "postgres").unwrap().clone();
    assert!(postgres["size"].as_u64().unwrap() > 1_000_000);
}

#[test]
fn functions_of_a_database_do_not_run_for_whoever_asks_what_it_is() {
    let cluster = fresh();
    let database = cluster.current_database();
    let trap = "CREATE SCHEMA trap; CREATE SEQUENCE trap.runs;
        CREATE FUNCTION trap.sprung(name, name) RETURNS bool LANGUAGE sql AS 'SELECT nextval(''trap.runs'') > 0';
        CREATE OPERATOR trap.= (LEFTARG = name, RIGHTARG = name, FUNCTION = trap.sprung);
        CREATE FUNCTION trap.sprung(oid, oid) RETURNS bool LANGUAGE sql AS 'SELECT nextval(''trap.runs'') > 0';
        CREATE OPERATOR trap.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = trap.sprung)";
    cluster.execute(trap, &[]).unwrap();
    cluster.execute(&format!("ALTER DATABASE {database} SET search_path = trap, pg_catalog"), &[]).unwrap();
    run_in(database, &["info"]).with(0);
    run_in(database, &["info", "--databases"]).with(0);
    let sprung: bool = cluster.execute("SELECT is_called FROM trap.runs", &[]).unwrap()[0].get(0);
    assert!(!sprung);
}

#[test]
fn what_was_done_counts_when_nobody_reads_what_is_said_of_it() {
    let name = unique("unheard");
    let mut command = program(server());
    let mut child = command.args(["-vv", "role", "create", &name]).spawn().unwrap();
    drop(child.stderr.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    // A question that nobody can read is not answered.
    let mut child = program(server()).args(["role", "drop", &name]).stdin(Stdio::piped()).spawn().unwrap();
    drop(child.stderr.take());
    let _ = child.stdin.take().unwrap().write_all(b"yes\n");
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let mut child = program(server()).args(["role", "list"]).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    run(&["role", "drop", &name, "--yes"]).with(0);
}

#[test]
fn where_there_are_no_sessions_none_is_asked_about() {
    let ended = run(&["terminate", "--role", "nobody_of_that_name", "--format", "json"]).with(0);
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("[]\n", ""));
}

#[test]
fn sessions_are_named_before_they_are_ended() {
    let mut role = Role::new(unique("app"));
    role.login = true;
    let role = cluster().roles().create(role).unwrap();
    let session = Cluster::connect(&server().dsn_for("postgres", &role.name)).unwrap();
    let declined = answer(&["terminate", "--role", &role.name], "n\n").with(6);
    assert!(declined.stderr.contains(&format!("of role {:?}", role.name)), "{declined:?}");
    run(&["terminate"]).with(2);
    let plan = run(&["terminate", "--role", &role.name, "--plan"]).with(0);
    assert!(plan.stdout.contains("pg_terminate_backend"), "{plan:?}");
    assert!(session.execute("SELECT 1", &[]).is_ok());
    let report = run(&["terminate", "--role", &role.name, "--yes", "--format", "json"]).with(0).json();
    assert_eq!((report.as_array().unwrap().len(), &report[0]["outcome"]), (1, &"terminated".into()));
    assert!(session.execute("SELECT 1", &[]).is_err());
}

#[test]
fn a_command_of_the_operating_system_is_run_and_its_output_passed_on() {
    let ended = run(&["os", "printf 'a b'; echo oops >&2; exit 3"]).with(1);
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("a b", "oops\nthe command ended with exit code 3\n"));
    let json = run(&["os", "echo x", "--format", "json"]).with(0).json();
    assert_eq!(json, serde_json::json!({"exit_code": 0, "stdout": "x\n", "stderr": ""}));
    let plan = run(&["os", "touch /tmp/never", "--plan"]).with(0);
    assert!(plan.stdout.contains("touch /tmp/never"), "{plan:?}");
}

#[test]
fn what_a_role_owns_is_given_to_another() {
    let cluster = fresh();
    let (from, to) = (unique("from"), unique("to"));
    for name in [&from, &to] {
        cluster.roles().create(Role::new(name)).unwrap();
    }
    cluster.execute(&format!("CREATE TABLE t (); ALTER TABLE t OWNER TO {from}"), &[]).unwrap();
    run_in(cluster.current_database(), &["reassign", &from, &to]).with(0);
    assert_eq!(cluster.tables().get("t").unwrap().owner, to);
    let plan = run(&["reassign", &to, &from, "--every-database", "--plan"]).with(0).stdout;
    assert!(plan.contains(&format!("-- in database {:?}", cluster.current_database())), "{plan}");
}

#[test]
fn the_configuration_is_read_and_rules_are_shown_added_judged_and_brought_back() {
    let server = TestServer::start().unwrap();
    let run = |arguments: &[&str]| end(program(&server).args(arguments), "");
    assert!(run(&["reload"]).with(0).stderr.contains("all of it was taken"));
    let rules = run(&["hba", "show", "--format", "json"]).with(0).json();
    let before = rules.as_array().unwrap().len();
    let rule = "host shop app 10.0.0.0/8 scram-sha-256";
    let plan = run(&["hba", "add", rule, "--at", "0", "--plan"]).with(0);
    assert!(plan.stdout.contains("+host") && plan.stdout.lines().all(|line| line.starts_with("--")), "{plan:?}");
    assert!(run(&["hba", "add", rule, "--at", "0"]).with(0).stderr.contains("lines added: 1, removed: 0"));
    run(&["hba", "add", rule]).with(4);
    let rules = run(&["hba", "show", "--format", "json"]).with(0).json();
    assert_eq!((rules.as_array().unwrap().len(), &rules[0]["method"]), (before + 1, &"scram-sha-256".into()));
    let decision = run(&["hba", "decide", "app", "shop", "--from", "10.1.2.3", "--format", "json"]).with(0).json();
    assert_eq!((&decision["access"], &decision["line"]), (&"scram-sha-256".into(), &rules[0]["line"]));
    assert!(run(&["hba", "decide", "app", "shop", "--explain"]).with(0).stdout.len() > 10);
    let file = server.data_directory().join("pg_hba.conf");
    let text = std::fs::read_to_string(&file).unwrap();
    let other = std::env::temp_dir().join(format!("pgsteward-cli-hba-{}", std::process::id()));
    std::fs::write(&other, format!("{text}host other app 10.0.0.0/8 reject\n")).unwrap();
    let other = other.to_str().unwrap();
    assert!(run(&["hba", "diff", other]).with(0).stdout.contains("+host other app"));
    run(&["hba", "apply", other]).with(0);
    assert!(std::fs::read_to_string(&file).unwrap().contains("host other app"));
    assert_eq!(run(&["hba", "diff", other]).with(0).stdout, "");
    std::fs::write(other, "local all all reject\n").unwrap();
    let refused = run(&["hba", "apply", other]).with(2).stderr;
    assert!(refused.contains("allow the lock-out") && refused.contains("skip the probe"), "{refused}");
    std::fs::remove_file(other).unwrap();
    let backups = run(&["hba", "backups", "--format", "json"]).with(0).json();
    assert_eq!(backups.as_array().unwrap().len(), 2);
    run(&["hba", "restore", "--yes"]).with(0);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    run(&["hba", "remove", rule, "--yes"]).with(0);
    run(&["hba", "remove", rule, "--yes"]).with(3);
    for garbage in ["garbage", "host shop app 10.0.0.0/99 md5"] {
        let refused = run(&["hba", "add", garbage]).with(2);
        assert!(refused.stderr.contains("cannot read the rule, line 1, column "), "{refused:?}");
    }
    let refused = run(&["hba", "decide", "app", "shop", "--from", "10.0.0.0.0"]).with(2);
    assert!(refused.stderr.contains("10.0.0.0.0"), "{refused:?}");
    let findings = run(&["hba", "lint", "--format", "json"]);
    assert!(findings.json().as_array().is_some(), "{findings:?}");
    let matrix = run(&["hba", "matrix", "--user", "app", "--database", "shop", "--format", "json"]).with(0).json();
    assert_eq!((&matrix[0]["user"], &matrix[0]["address"]), (&"app".into(), &serde_json::Value::Null));
    let matrix = run(&["hba", "matrix", "--user", "app", "--database", "shop", "--format", "csv"]).with(0).stdout;
    assert!(matrix.starts_with("user,database,address,tls,access,file,line\napp,shop,,false,"), "{matrix}");
    std::fs::write(&file, format!("{text}nonsense\n")).unwrap();
    let faulty = run(&["reload"]).with(1);
    assert!(faulty.stderr.contains("pg_hba.conf, line "), "{faulty:?}");
}

#[test]
fn a_rule_with_a_password_shows_none() {
    let server = TestServer::start().unwrap();
    let run = |arguments: &[&str]| end(program(&server).args(["hba"]).args(arguments), "");
    let rule = |user: &str| format!("host shop {user} 10.0.0.0/8 radius radiusservers=10.0.0.1 radiussecrets=hunter2");
    let (app, other) = (rule("app"), rule("other"));
    for (arguments, code) in [
        (vec!["add", &app, "--plan"], 0),
        (vec!["add", &app], 0),
        (vec!["add", &app], 4),
        (vec!["add", "local a b peer", "--before", &other], 3),
        (vec!["show"], 0),
        (vec!["show", "--format", "json"], 0),
        (vec!["remove", &app], 6),
        (vec!["remove", &other], 3),
        (vec!["remove", &app, "--yes"], 0),
    ] {
        let ended = run(&arguments).with(code);
        assert!(!ended.stdout.contains("hunter2") && !ended.stderr.contains("hunter2"), "{arguments:?} {ended:?}");
    }
}

#[test]
fn completions_and_manual_pages_need_no_server() {
    for shell in ["bash", "zsh", "fish"] {
        let script = run(&["-h", "/nowhere", "completions", shell]).with(0).stdout;
        assert!(script.contains("connect-access"), "{shell}");
    }
    let directory = std::env::temp_dir().join(format!("pgsteward-cli-man-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    run(&["man", directory.to_str().unwrap()]).with(0);
    let page = std::fs::read_to_string(directory.join("pgsteward-db-create.1")).unwrap();
    assert!(page.contains("terminate"), "{page}");
    std::fs::remove_dir_all(&directory).unwrap();
    let help = run(&["db", "create", "--help"]).with(0).stdout;
    assert!(help.contains("--terminate-template"), "{help}");
    assert!(run(&["--version"]).with(0).stdout.starts_with("pgsteward "));
}

#[test]
fn a_password_comes_from_the_environment_or_a_file_and_shows_nowhere() {
    let mut options = TestServerOptions::new();
    options.hba = Some("local all postgres trust\nlocal all all scram-sha-256\n".into());
    options.settings.push(("password_encryption".into(), "scram-sha-256".into()));
    let server = TestServer::with(options).unwrap();
    let cluster = Cluster::connect(&server.dsn()).unwrap();
    let mut role = Role::new("app");
    role.login = true;
    cluster.roles().create(role).unwrap().set_password("geheim:\\1").unwrap();
    let program = || {
        let mut command = program(&server);
        command.args(["-U", "app", "info", "--format", "json"]);
        command
    };
    assert_eq!(end(program().env("PGPASSWORD", "geheim:\\1"), "").with(0).json()["role"], "app");
    let wrong = end(program().env("PGPASSWORD", "falsch"), "").with(5);
    assert!(!wrong.stderr.contains("falsch"), "{wrong:?}");
    let missing = end(&mut program(), "");
    assert!(missing.stderr.contains("password"), "{missing:?}");
    assert_ne!(missing.code, 0);
    let home = std::env::temp_dir().join(format!("pgsteward-cli-pass-{}", std::process::id()));
    std::fs::create_dir_all(&home).unwrap();
    std::fs::write(home.join(".pgpass"), "*:*:postgres:app:geheim\\:\\\\1\n").unwrap();
    let mode = |mode: &str| Command::new("chmod").arg(mode).arg(home.join(".pgpass")).status().unwrap();
    mode("600");
    end(program().env("HOME", &home), "").with(0);
    mode("644");
    let unsafe_file = end(program().env("HOME", &home), "");
    assert!(unsafe_file.code != 0 && unsafe_file.stderr.contains("others may read it"), "{unsafe_file:?}");
    std::fs::remove_dir_all(&home).unwrap();
}

#[test]
fn ctrl_c_cancels_the_statement_on_the_server() {
    let name = unique("interrupted");
    // In the data directory.
    let command = format!("echo >{name}; sleep 60");
    let mut child = program(server()).env("PGAPPNAME", &name).args(["os", &command]).spawn().unwrap();
    let pid = child.id().to_string();
    let question = "SELECT FROM pg_stat_activity WHERE application_name = $1 AND state = 'active'";
    let running = || !cluster().execute(question, &[&name]).unwrap().is_empty();
    let began = Instant::now();
    // A command that has not yet begun would not hear of it.
    while !server().data_directory().join(&name).exists() {
        assert!(began.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(20));
    }
    Command::new("kill").args(["-INT", &pid]).status().unwrap();
    let code = child.wait().unwrap().code();
    assert_eq!(code, Some(130));
    assert!(began.elapsed() < Duration::from_secs(30));
    while running() {
        assert!(began.elapsed() < Duration::from_secs(40));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_signal_at_any_moment_leaves_pg_hba_conf_as_it_was_or_wholly_changed() {
    const ROUNDS: u32 = 12;
    let server = TestServer::start().unwrap();
    let data = server.data_directory();
    let text = || std::fs::read_to_string(data.join("pg_hba.conf")).unwrap();
    let add = |rule: &str| {
        let mut command = program(&server);
        command.args(["hba", "add", rule, "--at", "0"]);
        command
    };
    let began = Instant::now();
    end(&mut add("host first app 10.0.0.0/8 reject"), "").with(0);
    let whole = began.elapsed();
    for round in 0..ROUNDS {
        let (old, rule) = (text(), format!("host round{round} app 10.0.0.0/8 reject"));
        let (signal, code) = [("TERM", 143), ("HUP", 129), ("INT", 130)][round as usize % 3];
        let until = Instant::now() + whole * round / ROUNDS;
        let ended = end_by(signal, &mut add(&rule), || Instant::now() >= until);
        let name = format!("round{round} ");
        let others: String = text().split_inclusive('\n').filter(|line| !line.contains(&name)).collect();
        assert_eq!((others == old, text() == old), (true, ended.code != 0), "{ended:?}");
        // -1: before it was connected, and had anything to undo.
        assert!([-1, 0, code].contains(&ended.code), "{ended:?}");
        let names = std::fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert_eq!(names.filter(|name| name.ends_with("-new")).collect::<Vec<_>>(), Vec::<String>::new());
    }
    end(&mut add("host last app 10.0.0.0/8 reject"), "").with(0);
}
