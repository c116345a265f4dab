//! The verbs that every kind of object has.
use crate::support::{answer, cluster, end, fresh, program, run, run_in, server, unique};
use pgsteward::Role;
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
    run_in(&database, &["procedure", "drop", "f", "-y"]).with(0);
}

#[test]
fn a_replication_slot_is_made_shown_and_dropped() {
    let name = unique("slot");
    run(&["slot", "create", &name, "--set", "immediately_reserve=true"]).with(0);
    let shown = run(&["slot", "show", &name, "--format", "json"]).with(0).json();
    assert_eq!((&shown["sort"], &shown["active"]), (&"physical".into(), &false.into()));
    assert!(shown["restart_lsn"].is_string() && shown.get("oid").is_none());
    run(&["slot", "drop", &name, "--yes"]).with(0);
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
    answer(&["role", "password", "no_such_role"], "geheim\n").with(3);
    answer(&["role", "password", &name], "").with(6);
}
