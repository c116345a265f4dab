//! `pgsteward snapshot`.
use crate::prompt::{answer_in_a_terminal, no_terminal};
use crate::support::{answer_in, cluster, fresh, interrupt, program, run_in, server, unique, waits_for_a_lock};
use pgsteward::Cluster;
use serde_json::{Value, json};

/// A database with a table of three rows, a sequence of its own, and a table that only grows.
fn shop() -> (Cluster, String) {
    let cluster = fresh();
    let statements = "CREATE TABLE orders (id serial PRIMARY KEY, note text); INSERT INTO orders (note) VALUES ('a'), \
         ('b'), ('c'); CREATE TABLE log_1 (line text); INSERT INTO log_1 VALUES ('x')";
    cluster.execute(statements, &[]).unwrap();
    let name = cluster.current_database().to_owned();
    (cluster, name)
}

fn take(database: &str, label: &str) -> String {
    let taken = run_in(database, &["snapshot", "take", label, "--format", "json"]).with(0).json();
    taken["name"].as_str().unwrap().to_owned()
}

fn names(database: &str) -> Vec<String> {
    let listed = run_in(database, &["snapshot", "list", "--format", "json"]).with(0).json();
    listed.as_array().unwrap().iter().map(|found| found["name"].as_str().unwrap().to_owned()).collect()
}

fn notes(cluster: &Cluster) -> String {
    let rows = cluster.execute("SELECT string_agg(id || note, ',' ORDER BY id) FROM orders", &[]).unwrap();
    rows[0].get::<_, Option<String>>(0).unwrap_or_default()
}

#[test]
fn p082_a_snapshot_is_taken_listed_shown_compared_reverted_to_and_dropped() {
    let (cluster, database) = shop();
    let label = "it's \"one\"; DROP";
    let taken = run_in(&database, &["snapshot", "take", label, "--except", "log_*", "--format", "json"]).with(0).json();
    assert_eq!((&taken["label"], &taken["tables"], &taken["rows"]), (&json!(label), &json!(1), &json!(3)));
    let name = taken["name"].as_str().unwrap();
    let listed = run_in(&database, &["snapshot", "list", "--format", "json"]).with(0).json();
    assert_eq!(listed, json!([taken]));
    let table = run_in(&database, &["snapshot", "list"]).with(0).stdout;
    assert!(table.starts_with("name ") && table.contains(" rows ") && table.contains(name), "{table}");
    let shown = run_in(&database, &["snapshot", "show", name, "--format", "csv"]).with(0).stdout;
    let lines = "kind,schema,name,rows,last_value,is_called\ntable,public,orders,3,,\n\
         sequence,public,orders_id_seq,,3,true\n";
    assert_eq!(shown, lines);

    let same = run_in(&database, &["snapshot", "compare", name, "--format", "json"]).with(0);
    assert!(same.stdout == "[]\n" && same.stderr.contains("nothing differs"), "{same:?}");
    cluster
        .execute("DELETE FROM orders WHERE id < 3; UPDATE orders SET note = 'z'; SELECT nextval('orders_id_seq')", &[])
        .unwrap();
    let differs = run_in(&database, &["snapshot", "compare", name, "--format", "json"]).with(0).json();
    let count = |field: &str| differs[0][field].as_u64().unwrap();
    assert_eq!((count("rows_added"), count("rows_removed"), count("rows_changed")), (0, 2, 1));
    assert_eq!((&differs[1]["kind"], &differs[1]["now"]["last_value"]), (&json!("sequence"), &json!(4)));

    let report = run_in(&database, &["snapshot", "revert", name, "--yes", "--format", "json"]).with(0).json();
    assert_eq!((&report["tables"], &report["rows"]), (&json!(1), &json!(3)));
    assert_eq!(notes(&cluster), "1a,2b,3c");
    let kept = report["kept"].as_str().unwrap().to_owned();
    assert_eq!(names(&database), [kept.clone(), name.to_owned()]);
    let discarded = ["snapshot", "revert", &kept, "--current-rows", "discard", "--yes", "--format", "json"];
    assert_eq!(run_in(&database, &discarded).with(0).json()["kept"], Value::Null);
    assert_eq!((notes(&cluster).as_str(), names(&database).len()), ("3z", 2));
    assert!(run_in(&database, &["snapshot", "drop", name, "--yes"]).with(0).stderr.contains("dropped snapshot"));
    assert_eq!(names(&database), [kept]);
}

#[test]
fn each_failure_has_its_words_and_its_exit_code() {
    let (cluster, database) = shop();
    let name = take(&database, "one");
    for (arguments, code, words) in [
        (vec!["show", "no_such_one"], 3, "snapshot \"no_such_one\" does not exist"),
        (vec!["revert", "no_such_one", "--yes"], 3, "does not exist"),
        (vec!["drop", "no_such_one", "--yes"], 3, "does not exist"),
        (vec!["take", "x", "--schema", "nowhere"], 3, "schema \"nowhere\""),
        (vec!["take", "x", "--table", "a.b.c"], 2, "schema.name"),
        (vec!["prune"], 2, "--keep"),
        (vec!["prune", "--older-than", "7"], 2, "--older-than"),
        (vec!["copy-database", "--size-limit", "10 apples"], 2, "MB"),
        (vec!["load", "/nowhere"], 1, "/nowhere"),
        (vec!["load", "/nowhere", "--plan"], 2, "plan"),
        (vec!["archive", &name, "/tmp"], 4, "exists already"),
        (vec!["copy-database", "copy", "--size-limit", "1kB"], 2, "the limit is 1024"),
    ] {
        let arguments: Vec<_> = ["snapshot"].into_iter().chain(arguments).collect();
        let ended = run_in(&database, &arguments);
        assert!(ended.stderr.contains(words) && ended.stdout.is_empty(), "{arguments:?}: {ended:?}");
        ended.with(code);
    }
    // What is refused is refused before anybody is asked.
    cluster.execute("ALTER TABLE orders ADD COLUMN more int DEFAULT 7", &[]).unwrap();
    let refused = answer_in(&database, &["snapshot", "revert", &name], "yes\n").with(2);
    assert!(refused.stderr.contains("a new column more") && !refused.stderr.contains("[y/N]"), "{refused:?}");
    run_in(&database, &["snapshot", "revert", &name, "--yes", "--added-columns", "fill-with-default"]).with(0);
}

#[test]
fn what_a_revert_a_prune_and_a_drop_take_is_named_before_it_is_asked_about() {
    let (cluster, database) = shop();
    let old = take(&database, "old");
    let name = take(&database, "new");
    cluster.execute("DELETE FROM orders WHERE id = 1; INSERT INTO orders (note) VALUES ('d')", &[]).unwrap();
    let asked = answer_in(&database, &["snapshot", "revert", &name], "").with(6);
    for words in [
        "public.orders: 1 row added since, 1 removed, 0 changed",
        "is kept in another",
        "2 tables, 4 rows",
        "end of input",
    ] {
        assert!(asked.stderr.contains(words), "{words}: {asked:?}");
    }
    let asked = answer_in(&database, &["snapshot", "revert", &name, "--current-rows", "discard"], "no\n").with(6);
    assert!(asked.stderr.contains("all that is lost") && notes(&cluster) == "2b,3c,4d", "{asked:?}");
    let asked = answer_in(&database, &["snapshot", "prune", "--keep", "1"], "").with(6);
    assert!(asked.stderr.contains(&old) && !asked.stderr.contains(&name), "{asked:?}");
    let asked = answer_in(&database, &["snapshot", "drop", &name], "\n").with(6);
    assert!(asked.stderr.contains("2 tables, 4 rows, "), "{asked:?}");
    assert_eq!(names(&database), [name.clone(), old.clone()]);
    answer_in(&database, &["snapshot", "revert", &name], "yes\n").with(0);
    assert_eq!(notes(&cluster), "1a,2b,3c");
    let young = run_in(&database, &["snapshot", "prune", "--older-than", "1h", "--yes", "--format", "json"]).with(0);
    assert_eq!((young.stdout.as_str(), names(&database).len()), ("[]\n", 3));
    let pruned = run_in(&database, &["snapshot", "prune", "--keep", "1", "--label", "old", "-y"]).with(0);
    assert!(!pruned.stdout.contains(&old), "{pruned:?}");
    let pruned = answer_in(&database, &["snapshot", "prune", "--keep", "1", "--format", "json"], "y\n").with(0).json();
    assert_eq!((pruned.as_array().unwrap().len(), names(&database).len()), (2, 1));
}

#[test]
fn a_plan_of_a_snapshot_prints_the_sql_and_does_nothing() {
    let (cluster, database) = shop();
    let plan = run_in(&database, &["snapshot", "take", "x", "--plan"]).with(0);
    assert!(plan.stdout.contains("CREATE SCHEMA \"pgsteward_snapshot_") && plan.stderr.is_empty(), "{plan:?}");
    assert!(names(&database).is_empty());
    let (name, other) = (take(&database, "x"), take(&database, "y"));
    cluster.execute("DELETE FROM orders", &[]).unwrap();
    for (arguments, words) in [
        (vec!["revert", &name], "TRUNCATE"),
        (vec!["drop", &name], "DROP SCHEMA"),
        (vec!["prune", "--keep", "1"], "DROP SCHEMA"),
        (vec!["archive", &name, "/nowhere"], "/nowhere"),
        (vec!["copy-database", "copy_of_it"], "CREATE DATABASE"),
    ] {
        let arguments: Vec<_> = ["--plan", "snapshot"].into_iter().chain(arguments).collect();
        let plan = run_in(&database, &arguments);
        assert!(plan.stdout.contains(words) && plan.stderr.is_empty(), "{arguments:?}: {plan:?}");
        plan.with(0);
    }
    assert_eq!((names(&database), notes(&cluster)), (vec![other, name], String::new()));
}

#[test]
fn a_snapshot_is_archived_and_loaded_again() {
    let (cluster, database) = shop();
    let name = take(&database, "x");
    let directory = std::env::temp_dir().join(format!("pgsteward-cli-archive-{}", std::process::id()));
    let path = directory.to_str().unwrap();
    let kept = run_in(&database, &["snapshot", "archive", &name, path, "--keep", "--format", "json"]).with(0).json();
    assert_eq!((&kept["rows"], &kept["directory"], &kept["snapshot_kept"]), (&json!(4), &json!(path), &json!(true)));
    assert_eq!(names(&database), [name.as_str()]);
    run_in(&database, &["snapshot", "archive", &name, path]).with(4);
    std::fs::remove_dir_all(&directory).unwrap();
    run_in(&database, &["snapshot", "archive", &name, path]).with(0);
    assert!(names(&database).is_empty() && directory.join("SHA256SUMS").is_file());
    cluster.execute("DELETE FROM orders", &[]).unwrap();
    let loaded = run_in(&database, &["snapshot", "load", path, "--format", "json"]).with(0).json();
    assert_eq!((&loaded["name"], &loaded["rows"]), (&json!(name), &json!(4)));
    run_in(&database, &["snapshot", "revert", &name, "--yes"]).with(0);
    assert_eq!(notes(&cluster), "1a,2b,3c");
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn a_whole_database_is_copied_unless_somebody_is_in_it() {
    let (cluster_there, database) = shop();
    let copy = unique("copy");
    let refused = run_in(&database, &["snapshot", "copy-database", &copy]).with(4);
    assert!(refused.stderr.contains("session ") && refused.stderr.contains(" of role \"postgres\""), "{refused:?}");
    drop(cluster_there);
    let made = || run_in(&database, &["snapshot", "copy-database", &copy, "--size-limit", "1GB", "--format", "json"]);
    let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
    let made = loop {
        // The session that ended may be there for a moment.
        let made = made();
        if made.code != 4 || std::time::Instant::now() > until {
            break made.with(0).json();
        }
    };
    assert_eq!((&made["name"], &made["allow_connections"]), (&json!(copy), &json!(false)));
    assert!(cluster().databases().contains(&copy).unwrap());
}

#[test]
fn ctrl_c_while_a_snapshot_is_taken_leaves_none() {
    let (cluster, database) = shop();
    cluster.execute("BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE", &[]).unwrap();
    let application = unique("taking");
    let mut command = program(server());
    command.env("PGDATABASE", &database).env("PGAPPNAME", &application).args(["snapshot", "take", "x"]);
    let ended = interrupt(&mut command, || waits_for_a_lock(&application)).with(130);
    assert!(ended.stdout.is_empty() && ended.stderr.contains("cancel"), "{ended:?}");
    cluster.execute("ROLLBACK", &[]).unwrap();
    assert!(names(&database).is_empty());
}

#[test]
fn the_answer_before_a_revert_comes_from_a_terminal() {
    if no_terminal() {
        return;
    }
    let (cluster, database) = shop();
    let name = take(&database, "x");
    cluster.execute("DELETE FROM orders", &[]).unwrap();
    let revert = ["-d", &database, "snapshot", "revert", &name];
    let (code, seen) = answer_in_a_terminal(&revert, "\u{4}");
    assert!(code == 6 && seen.contains("3 removed") && notes(&cluster).is_empty(), "{seen}");
    let (code, seen) = answer_in_a_terminal(&revert, "yes\n");
    assert!(code == 0 && notes(&cluster) == "1a,2b,3c", "{seen}");
}
