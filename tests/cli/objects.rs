//! The verbs that every kind of object has.
use crate::support::{answer, cluster, end, fresh, program, run, run_in, server, unique};
use pgsteward::{Cluster, Ident, ReplicationSlot, Role, sql};
use std::process::Stdio;

#[test]
fn every_kind_is_made_shown_altered_scripted_listed_and_dropped() {
    let cluster = fresh();
    let database = cluster.current_database().to_owned();
    cluster
        .execute("CREATE TABLE base (id int); CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT 1'", &[])
        .unwrap();
    let role = unique("ro\"le");
    for (noun, name, create, alter, field, value) in [
        ("role", role.as_str(), vec!["--set", "login=true"], "connection_limit=3", "connection_limit", "3"),
        ("schema", "sch\"ema", vec![], "comment=it's", "comment", "\"it's\""),
        (
            "table",
            "public.\"ta.ble\"",
            vec!["--column", "id bigint", "--column", "t text"],
            "options.fillfactor=70",
            "options",
            "{\"fillfactor\":\"70\"}",
        ),
        (
            "view",
            "v",
            vec!["--query", "SELECT 1 AS a"],
            "options.security_barrier=true",
            "options",
            "{\"security_barrier\":\"true\"}",
        ),
        ("materialized-view", "mv", vec!["--query", "SELECT 1 AS a"], "comment=x", "comment", "\"x\""),
        ("sequence", "s", vec!["--set", "data_type=integer"], "increment=5", "increment", "5"),
        ("lo", "424242", vec![], "comment=x", "comment", "\"x\""),
    ] {
        let create: Vec<&str> = [noun, "create", name].into_iter().chain(create).collect();
        run_in(&database, &create).with(0);
        run_in(&database, &create).with(4);
        run_in(&database, &[noun, "alter", name, "--set", alter]).with(0);
        let shown = run_in(&database, &[noun, "show", name, "--format", "json"]).with(0).json();
        assert_eq!(shown[field].to_string(), value, "{noun}");
        let script = run_in(&database, &[noun, "script", name]).with(0).stdout;
        assert!(script.contains("CREATE") || script.contains("lo_create"), "{script}");
        let listed = run_in(&database, &[noun, "list", "--format", "json"]).with(0).json();
        assert!(listed.as_array().unwrap().contains(&shown), "{noun}: {shown}");
        let plan = run_in(&database, &[noun, "drop", name, "--plan"]).with(0);
        assert!(!plan.stdout.is_empty(), "{noun}");
        run_in(&database, &[noun, "show", name]).with(0);
        run_in(&database, &[noun, "drop", name, "--yes"]).with(0);
        run_in(&database, &[noun, "show", name]).with(3);
    }
    run_in(&database, &["procedure", "alter", "f(int)", "--set", "volatility=stable"]).with(0);
    let shown = run_in(&database, &["procedure", "show", "f", "--format", "json"]).with(0).json();
    assert_eq!((&shown["volatility"], &shown["arguments"]), (&"stable".into(), &serde_json::json!(["integer"])));
    let listed = run_in(&database, &["procedure", "list", "--format", "json"]).with(0).json();
    assert_eq!(listed, serde_json::json!([shown]));
    let script = run_in(&database, &["procedure", "script", "f"]).with(0).stdout;
    assert!(script.starts_with("CREATE") && script.contains("FUNCTION"), "{script}");
    let refused = run_in(&database, &["procedure", "create", "g"]).with(2);
    assert!(refused.stderr.contains("made by its SQL"), "{refused:?}");
    run_in(&database, &["procedure", "drop", "f", "-y"]).with(0);
    run_in(&database, &["procedure", "show", "f"]).with(3);
}

#[test]
fn the_query_of_a_view_is_one_statement() {
    let cluster = fresh();
    cluster.execute("CREATE TABLE canary ()", &[]).unwrap();
    for noun in ["view", "materialized-view"] {
        let query = "SELECT 1 AS a; DROP TABLE canary";
        run_in(cluster.current_database(), &[noun, "create", "v", "--query", query]).with(2);
        run_in(cluster.current_database(), &[noun, "show", "v"]).with(3);
    }
    assert!(cluster.tables().contains("canary").unwrap());
}

#[test]
fn a_replication_slot_is_made_shown_and_dropped() {
    let name = unique("slot");
    run(&["slot", "create", &name, "--set", "immediately_reserve=true"]).with(0);
    let shown = run(&["slot", "show", &name, "--format", "json"]).with(0).json();
    assert_eq!((&shown["sort"], &shown["active"]), (&"physical".into(), &false.into()));
    assert!(shown["restart_lsn"].is_string() && shown.get("oid").is_none());
    let listed = run(&["slot", "list", &name, "--format", "json"]).with(0).json();
    assert_eq!(listed, serde_json::json!([shown]));
    assert!(run(&["slot", "script", &name]).with(0).stdout.contains("pg_create_physical_replication_slot"));
    // Nothing of a physical one can be changed.
    run(&["slot", "alter", &name, "--set", "failover=true"]).with(1);
    run(&["slot", "drop", &name, "--yes"]).with(0);
    run(&["slot", "show", &name]).with(3);
}

#[test]
fn a_question_names_the_database_and_the_size_of_what_has_them() {
    let cluster = fresh();
    let database = cluster.current_database().to_owned();
    let (role, slot) = (unique("asked"), unique("slot"));
    cluster.roles().create(Role::new(&role)).unwrap();
    cluster.replication_slots().create(ReplicationSlot::physical(&slot)).unwrap();
    let objects = "CREATE SCHEMA app; CREATE TABLE app.t AS SELECT repeat('x', 100) AS t FROM generate_series(1, 1000);
        CREATE TABLE app.whole (a int) PARTITION BY LIST (a); CREATE TABLE app.part PARTITION OF app.whole DEFAULT;
        INSERT INTO app.whole SELECT 1 FROM generate_series(1, 1000);
        CREATE MATERIALIZED VIEW m AS SELECT repeat('x', 100) AS t FROM generate_series(1, 1000); CREATE VIEW v AS SELECT 1;
        SELECT lo_from_bytea(4711, decode(repeat('00', 20000), 'hex'))";
    cluster.execute(objects, &[]).unwrap();
    let here = format!(" of database \"{database}\"");
    for (noun, name, place, sized) in [
        ("role", role.as_str(), "", false),
        ("slot", &slot, "", false),
        ("table", "app.t", &here, true),
        ("table", "app.whole", &here, true),
        ("materialized-view", "public.m", &here, true),
        ("schema", "app", &here, true),
        ("lo", "4711", &here, true),
        ("view", "public.v", &here, false),
    ] {
        let command = ["-d", &database, noun, "drop", name, if noun == "schema" { "--cascade" } else { "-v" }];
        let declined = answer(&command, "no\n").with(6);
        let question = declined.stderr.lines().find(|line| line.starts_with("drop ")).unwrap();
        let size = if sized { " kB)" } else { "" };
        let question = question.split(" [y/N]").next().unwrap().trim_end_matches('?');
        assert!(question.contains(&format!(" {name}{place}")) && question.ends_with(size), "{question}");
        assert_eq!(question.contains("of database"), !place.is_empty(), "{question}");
        assert_eq!(question.contains('('), sized, "{question}");
    }
    cluster.replication_slots().get(&*slot).unwrap().drop().unwrap();
}

#[test]
fn a_name_with_a_line_break_is_on_one_line_of_a_question() {
    let cluster = fresh();
    let name = "x\ndrop nothing? [y/N] \u{1b}[2J";
    cluster.execute(&format!("CREATE TABLE t (a int); CREATE VIEW \"{name}\" AS SELECT * FROM t"), &[]).unwrap();
    let asked = answer(&["-d", cluster.current_database(), "table", "drop", "t", "--cascade"], "no\n").with(6);
    assert!(asked.stderr.contains("  view public.\"x drop nothing? [y/N]  [2J\"\n"), "{asked:?}");
}

#[test]
fn p075_a_drop_that_others_depend_on_is_refused_before_it_is_asked_about() {
    let cluster = fresh();
    let database = cluster.current_database();
    cluster.execute("CREATE TABLE t (a int); CREATE VIEW v AS SELECT * FROM t", &[]).unwrap();
    let refused = answer(&["-d", database, "table", "drop", "t"], "yes\n").with(4);
    assert!(refused.stderr.contains("view public.v\n") || refused.stderr.ends_with("view v\n"), "{refused:?}");
    assert!(!refused.stderr.contains("[y/N]") && refused.stderr.contains("--cascade"), "{refused:?}");
}

#[test]
fn a_role_is_dropped_with_its_sessions_which_are_named_and_end_only_if_it_can_be_dropped() {
    let cluster = fresh();
    let mut role = Role::new(unique("ro\"le"));
    role.login = true;
    let role = cluster.roles().create(role).unwrap();
    let session = Cluster::connect(&server().dsn_for(cluster.current_database(), &role.name)).unwrap();
    session.execute("SET application_name = 'the client'", &[]).unwrap();
    let pid = || session.execute("SELECT pg_backend_pid()", &[]).map(|rows| rows[0].get::<_, i32>(0));
    let before = pid().unwrap();
    let declined = answer(&["role", "drop-terminating", &role.name], "no\n").with(6);
    for words in ["these sessions will be ended", "the client", cluster.current_database()] {
        assert!(declined.stderr.contains(words), "{declined:?}");
    }
    cluster.execute(&sql!("CREATE SCHEMA s AUTHORIZATION {}", Ident(&role.name)).to_string(), &[]).unwrap();
    run(&["role", "drop-terminating", &role.name, "--yes"]).with(4);
    assert_eq!(pid().unwrap(), before);
    cluster.execute("DROP SCHEMA s", &[]).unwrap();
    let plan = run(&["role", "drop-terminating", &role.name, "--plan"]).with(0);
    assert!(plan.stdout.contains("NOLOGIN") && plan.stderr.is_empty(), "{plan:?}");
    run(&["role", "drop-terminating", &role.name, "--yes"]).with(0);
    assert!(pid().is_err());
    run(&["role", "drop-terminating", &role.name, "--yes"]).with(3);
}

#[test]
fn what_others_depend_on_is_dropped_only_with_cascade() {
    let cluster = fresh();
    let database = cluster.current_database().to_owned();
    cluster.execute("CREATE TABLE t (a int); CREATE VIEW v AS SELECT * FROM t", &[]).unwrap();
    run_in(&database, &["table", "drop", "t", "--yes"]).with(4);
    let asked = end(
        program(server()).env("PGDATABASE", &database).args(["table", "drop", "t", "--cascade"]).stdin(Stdio::piped()),
        "no\n",
    );
    assert!(asked.with(6).stderr.contains("\n  view public.v\n"));
    run_in(&database, &["table", "drop", "t", "--cascade", "--yes"]).with(0);
    run_in(&database, &["view", "show", "v"]).with(3);
    run_in(&database, &["lo", "drop", "1", "--cascade", "--yes"]).with(3);
}

#[test]
fn tables_and_csv_hold_what_json_holds() {
    let cluster = fresh();
    let database = cluster.current_database().to_owned();
    cluster.execute("CREATE TABLE \"a,b\" (); CREATE TABLE \"line\nbreak\" (); CREATE TABLE other ()", &[]).unwrap();
    let table = run_in(&database, &["table", "list"]).with(0).stdout;
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("schema  name") && lines[1].starts_with("------  ---") && lines.len() == 5, "{table}");
    let csv = run_in(&database, &["table", "list", "--format", "csv"]).with(0).stdout;
    assert!(
        csv.starts_with("schema,name,owner,") && csv.contains("\"a,b\"") && csv.contains("\"line\nbreak\""),
        "{csv}"
    );
    let json = run_in(&database, &["table", "list", "--format", "json", "public.o*"]).with(0).json();
    assert_eq!(json.as_array().unwrap().len(), 1);
    assert_eq!(run_in(&database, &["view", "list", "--format", "json"]).with(0).stdout, "[]\n");
    let script = run_in(&database, &["script", "table", "role", "--pattern", "public.other"]).with(0).stdout;
    assert!(script.contains("CREATE TABLE \"public\".\"other\""), "{script}");
}

#[test]
fn a_password_comes_from_a_pipe_and_shows_nowhere() {
    let name = unique("app");
    let mut role = Role::new(&name);
    role.login = true;
    cluster().roles().create(role).unwrap();
    let arguments = ["role", "password", &name, "-vv"];
    let ended = end(program(server()).args(arguments).stdin(Stdio::piped()), "geheim\n").with(0);
    assert!(ended.stderr.contains("'********'") && !ended.stderr.contains("geheim"), "{ended:?}");
    assert!(cluster().roles().get(&name).unwrap().password_verifier().unwrap().is_some());
    let gone = answer(&["role", "password", &name], "\n").with(0);
    assert!(gone.stderr.contains("took away the password"), "{gone:?}");
    answer(&["role", "password", "no_such_role"], "geheim\n").with(3);
    answer(&["role", "password", &name], "").with(6);
}

#[test]
fn a_name_that_is_none_is_refused_with_words_about_the_command_line() {
    for (arguments, words) in [
        (["table", "show", "a..b"], "those in the shell's quotes"),
        (["table", "create", "a.b.c"], "those in the shell's quotes"),
        (["lo", "create", "0"], "its OID, a number above 0, was expected"),
        (["lo", "show", "x"], "its OID, a number above 0, was expected"),
    ] {
        let refused = run(&arguments).with(2);
        assert!(refused.stderr.contains(words) && refused.stdout.is_empty(), "{refused:?}");
    }
    let refused = run(&["snapshot", "prune"]).with(2);
    assert!(refused.stderr.contains("--keep <NUMBER>|--older-than <AGE>"), "{refused:?}");
}
