//! `pgsteward db`.
use crate::support::{Asking, answer, cluster, end, program, run, server, unique};
use pgsteward::{Cluster, Database, Grantee, Role};
use std::process::Stdio;
use std::time::{Duration, Instant};

fn exists(name: &str) -> bool {
    cluster().databases().contains(name).unwrap()
}

#[test]
fn p070_databases_are_made_shown_listed_altered_renamed_and_dropped() {
    let (name, renamed) = (unique("we.ird \"one\""), unique("renamed; DROP"));
    let made =
        run(&["db", "create", &name, "--encoding", "UTF8", "--set", "connection_limit=7", "--set", "comment=it's"]);
    assert!(made.with(0).stderr.contains("created database"));
    let shown = run(&["db", "show", &name, "--format", "json"]).with(0).json();
    assert_eq!((shown["name"].as_str(), shown["connection_limit"].as_i64()), (Some(name.as_str()), Some(7)));
    assert_eq!(shown["connect_access"], serde_json::json!(["PUBLIC"]));
    run(&["db", "alter", &name, "--set", "connection_limit=-1", "--set", "comment="]).with(0);
    run(&["db", "rename", &name, &renamed]).with(0);
    let listed = run(&["--format", "json", "db", "list"]).with(0).json();
    let found = listed.as_array().unwrap().iter().find(|found| found["name"] == renamed.as_str()).unwrap().clone();
    assert_eq!((&found["connection_limit"], &found["comment"]), (&(-1).into(), &serde_json::Value::Null));
    let script = run(&["db", "script", &renamed]).with(0).stdout;
    assert!(script.starts_with("CREATE DATABASE "), "{script}");
    run(&["db", "drop", &renamed, "--yes"]).with(0);
    assert!(!exists(&renamed));
}

#[test]
fn p072_each_failure_has_its_words_and_its_exit_code() {
    let name = unique("shop");
    cluster().databases().create(Database::new(&name)).unwrap();
    for (arguments, code, words) in [
        (vec!["db", "create", &name], 4, "exists already"),
        (vec!["db", "show", "no_such_one"], 3, "database \"no_such_one\" does not exist"),
        (vec!["db", "drop", "no_such_one", "--yes"], 3, "does not exist"),
        (vec!["db", "drop", "postgres", "--yes", "--terminate"], 2, "maintenance"),
        (vec!["db", "drop", &name, "--yes", "-d", &name], 2, "connected to"),
        (vec!["db", "rename", &name, "postgres"], 4, "already exists"),
        (vec!["db", "alter", &name, "--set", "sise=3"], 2, "its fields are name, owner"),
        (vec!["db", "alter", &name, "--set", "connection_limit=x"], 2, "a whole number was expected"),
        (vec!["db", "alter", &name], 2, "--set"),
        (vec!["db", "burn", &name], 2, "unrecognized subcommand"),
        (vec!["-d", "no_such_one", "db", "list"], 3, "no_such_one"),
        (vec!["-U", "nobody at all", "db", "list"], 5, "nobody at all"),
        (vec!["-p", "no_such_service", "db", "list"], 3, "service \"no_such_service\""),
        (vec!["-h", "/nowhere", "db", "list"], 1, "/nowhere"),
    ] {
        let ended = run(&arguments);
        assert!(ended.stderr.contains(words) && ended.stdout.is_empty(), "{arguments:?}: {ended:?}");
        ended.with(code);
    }
    let mut nobody = Role::new(unique("nobody"));
    nobody.login = true;
    let nobody = cluster().roles().create(nobody).unwrap();
    let denied = run(&["-U", &nobody.name, "db", "create", &unique("theirs")]);
    assert!(denied.stderr.contains("CREATEDB"), "{denied:?}");
    denied.with(5);
    // What the server only warns of is not said to be done.
    let denied = run(&["-U", &nobody.name, "db", "connect-access", "revoke", &name, "--public"]).with(5);
    assert!(!denied.stderr.contains("revoked"), "{denied:?}");
    let grant = Grantee::Role(nobody.name.clone());
    let mut closed = cluster().databases().create(Database::new(unique("closed"))).unwrap();
    closed.revoke_connect([Grantee::Public]).unwrap();
    let denied = run(&["-U", &nobody.name, "-d", &closed.name, "info"]).with(5);
    assert!(denied.stderr.contains("GRANT CONNECT ON DATABASE"), "{denied:?}");
    closed.grant_connect([grant]).unwrap();
    run(&["-U", &nobody.name, "-d", &closed.name, "info"]).with(0);
    run(&["-U", &nobody.name, "db", "drop", &name, "--yes"]).with(5);
    assert!(exists(&name));
}

#[test]
fn p075_a_drop_is_checked_before_it_is_asked_about_and_sessions_are_ended_only_when_told() {
    let name = unique("busy");
    cluster().databases().create(Database::new(&name)).unwrap();
    let session = Cluster::connect(&server().dsn_for(&name, "postgres")).unwrap();
    session.execute("SET application_name = 'the client'", &[]).unwrap();
    // No question is asked, though an answer is there.
    let began = Instant::now();
    let refused = answer(&["db", "drop", &name], "yes\n").with(4);
    assert!(refused.stderr.contains("the client") && !refused.stderr.contains("[y/N]"), "{refused:?}");
    assert!(began.elapsed() < Duration::from_secs(4));
    let refused = answer(&["db", "drop", "postgres", "--terminate"], "yes\n").with(2);
    assert!(!refused.stderr.contains("[y/N]"), "{refused:?}");
    let declined = answer(&["db", "drop", &name, "--terminate"], "no\n").with(6);
    for words in ["1 session that will be ended", "the client", "kB"] {
        assert!(declined.stderr.contains(words), "{declined:?}");
    }
    assert!(session.execute("SELECT 1", &[]).is_ok() && exists(&name));
    answer(&["db", "drop", &name, "--terminate"], " YES \r\n").with(0);
    assert!(!exists(&name));
}

#[test]
fn p076_a_name_that_would_be_cut_is_refused() {
    let name = format!("{:x<63}", unique("cut"));
    cluster().databases().create(Database::new(&name)).unwrap();
    for arguments in [["db", "drop"], ["db", "show"], ["db", "create"]] {
        let long = format!("{name}x");
        let ended = run(&[arguments[0], arguments[1], &long, "--yes"]).with(2);
        assert!(ended.stderr.contains("63 bytes"), "{ended:?}");
    }
    assert!(exists(&name));
}

#[test]
fn p074_who_may_connect_is_shown_granted_and_revoked() {
    let name = unique("guarded");
    cluster().databases().create(Database::new(&name)).unwrap();
    let role = unique("a=b,\"c");
    cluster().roles().create(Role::new(&role)).unwrap();
    run(&["db", "connect-access", "revoke", &name, "--public"]).with(0);
    run(&["db", "connect-access", "grant", &name, &role]).with(0);
    let access = run(&["db", "connect-access", "show", &name, "--format", "json"]).with(0).json();
    assert_eq!(
        access,
        serde_json::json!([{"grantee": "postgres", "kind": "owner"}, {"grantee": role, "kind": "role"}])
    );
    let csv = run(&["db", "connect-access", "show", &name, "--format", "csv"]).with(0).stdout;
    assert_eq!(csv, format!("grantee,kind\npostgres,owner\n\"{}\",role\n", role.replace('"', "\"\"")));
    // One that does not exist: nothing of it is done.
    let failed = run(&["db", "connect-access", "grant", &name, "--public", "nobody_of_that_name"]).with(3);
    assert!(failed.stderr.contains("nobody_of_that_name"), "{failed:?}");
    let public = || cluster().databases().get(&name).unwrap().connect_access.public;
    assert!(!public());
    run(&["db", "connect-access", "grant", &name, "--public"]).with(0);
    assert!(public());
    // A right that is not gone is not said to be.
    for (role, code, words) in
        [("nobody_of_that_name", 3, "does not exist"), ("public", 2, "--public"), ("PUBLIC", 2, "--public")]
    {
        let failed = run(&["db", "connect-access", "revoke", &name, role]).with(code);
        assert!(failed.stderr.contains(words), "{failed:?}");
    }
    run(&["db", "connect-access", "revoke", &name]).with(2);
    let revoked = run(&["db", "connect-access", "revoke", &name, &role]).with(0);
    assert!(revoked.stderr.contains("every role still may connect") && public(), "{revoked:?}");
    let revoked = run(&["db", "connect-access", "revoke", &name, "--public"]).with(0);
    assert!(!revoked.stderr.contains("still") && !public(), "{revoked:?}");
    // There may be a role of that name; it is not every role.
    cluster().roles().create(Role::new("PUBLIC")).unwrap();
    run(&["db", "connect-access", "grant", &name, "PUBLIC"]).with(0);
    assert!(!public());
    let access = run(&["db", "connect-access", "show", &name, "--format", "json"]).with(0).json();
    assert_eq!(access[1], serde_json::json!({"grantee": "PUBLIC", "kind": "role"}));
}

#[test]
fn p076_another_database_that_took_the_name_while_the_question_stood_is_not_dropped() {
    let name = unique("swapped");
    cluster().databases().create(Database::new(&name)).unwrap();
    let mut command = program(server());
    command.args(["db", "drop", &name]).stdin(Stdio::piped());
    let mut asking = Asking::start(&mut command);
    asking.wait_for("[y/N]");
    cluster().databases().get(&name).unwrap().drop().unwrap();
    cluster().databases().create(Database::new(&name)).unwrap();
    let ended = asking.answer("yes\n").with(4);
    assert!(ended.stderr.contains("another one of that name") && exists(&name), "{ended:?}");
}

#[test]
fn p079_a_template_with_sessions_is_an_error_at_once_unless_they_are_to_be_ended() {
    let (template, copy) = (unique("template"), unique("copy"));
    let mut value = Database::new(&template);
    (value.connection_limit, value.comment) = (5, Some("it's".into()));
    cluster().databases().create(value).unwrap();
    let session = Cluster::connect(&server().dsn_for(&template, "postgres")).unwrap();
    let began = Instant::now();
    let refused = run(&["db", "create", &copy, "--template", &template]).with(4);
    assert!(refused.stderr.contains("--terminate-template ends"), "{refused:?}");
    assert!(refused.stderr.contains("session ") && began.elapsed() < Duration::from_secs(4), "{refused:?}");
    let declined = answer(&["db", "create", &copy, "--template", &template, "--terminate-template"], "").with(6);
    assert!(declined.stderr.contains("end 1 session of database"), "{declined:?}");
    assert!(session.execute("SELECT 1", &[]).is_ok() && !exists(&copy));
    run(&["db", "create", &copy, "--template", &template, "--terminate-template", "--copy", "all", "--yes"]).with(0);
    let copied = cluster().databases().get(&copy).unwrap();
    assert_eq!((copied.connection_limit, copied.comment.as_deref()), (5, Some("it's")));
}

#[test]
fn a_plan_prints_the_sql_and_does_nothing() {
    let name = unique("planned");
    let plan = run(&["--plan", "db", "create", &name, "--owner", "postgres"]).with(0);
    assert_eq!(plan.stdout, format!("CREATE DATABASE \"{name}\" OWNER \"postgres\";\n"));
    assert!(!exists(&name));
    cluster().databases().create(Database::new(&name)).unwrap();
    let plan = run(&["db", "drop", &name, "--terminate", "--plan"]).with(0);
    assert!(plan.stdout.contains("DROP DATABASE ") && plan.stderr.is_empty(), "{plan:?}");
    assert!(exists(&name));
    let plan = run(&["db", "connect-access", "revoke", &name, "--public", "--plan"]).with(0);
    assert_eq!(plan.stdout, format!("REVOKE CONNECT ON DATABASE \"{name}\" FROM PUBLIC;\n"));
}

#[test]
fn p072_one_connects_by_a_service_by_a_url_and_by_parameters() {
    let home = std::env::temp_dir().join(format!("pgsteward-cli-home-{}", std::process::id()));
    std::fs::create_dir_all(&home).unwrap();
    let socket = server().socket_directory().display().to_string();
    let services = format!("[mine]\nhost={socket}\nport={}\nuser=postgres\ndbname=postgres\n", server().port());
    std::fs::write(home.join(".pg_service.conf"), services).unwrap();
    let port = server().port().to_string();
    let url = format!("postgresql://postgres@/postgres?host={socket}&port={port}");
    let pairs = format!("host={socket} port={port} user=postgres dbname=postgres");
    for arguments in [
        vec!["-p", "mine"],
        vec!["-d", "service=mine"],
        vec!["-d", &url],
        vec!["-d", &pairs],
        vec!["-h", &socket, "-P", &port, "-U", "postgres", "-d", "postgres"],
    ] {
        let mut command = program(server());
        for name in ["PGHOST", "PGPORT", "PGUSER", "PGDATABASE"] {
            command.env_remove(name);
        }
        command.env("HOME", &home).args(&arguments).args(["info", "--format", "json"]);
        let info = end(&mut command, "").with(0).json();
        assert_eq!((&info["database"], &info["role"]), (&"postgres".into(), &"postgres".into()), "{arguments:?}");
    }
    std::fs::remove_dir_all(&home).unwrap();
}
