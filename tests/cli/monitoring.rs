//! What goes on in the server.
use crate::prompt::in_a_terminal;
use crate::support::{fresh, program, run, run_in, server, unique, waits_for_a_lock};
use pgsteward::Cluster;
use std::io::{BufRead, BufReader};
use std::process::Command;
use std::time::{Duration, Instant};

fn named(cluster: &Cluster, application: &str) -> Cluster {
    let dsn = server().dsn_for(cluster.current_database(), "postgres");
    Cluster::connect(&format!("{dsn} application_name={application}")).unwrap()
}

fn wait_until(holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn sessions_show_what_they_do_for_people_and_for_programs() {
    let cluster = fresh();
    let (database, name) = (cluster.current_database(), unique("busy"));
    let other = named(&cluster, &name);
    let long = format!("SELECT\n  'a,b' AS \"x\", '{}'", "y".repeat(100));
    other.execute(&format!("BEGIN; {long}"), &[]).unwrap();
    let json = run(&["monitor", "sessions", "--database", database, "--format", "json"]).with(0).json();
    let sessions = json.as_array().unwrap();
    // The other one waits for its client, and is in no transaction.
    let [session] = sessions.as_slice() else { panic!("{json}") };
    assert_eq!((&session["application"], &session["state"]), (&name.as_str().into(), &"idle in transaction".into()));
    assert!(session["query"].as_str().unwrap().ends_with(&long) && session["transaction_age"].is_f64(), "{session}");
    let all = run(&["monitor", "sessions", "--database", database, "--all", "--format", "json"]).with(0).json();
    assert_eq!(all.as_array().unwrap().len(), 2);
    let none = run(&["monitor", "sessions", "--role", "nobody", "--database", database, "--format", "csv"]).with(0);
    assert!(none.stdout.starts_with("pid,database,") && none.stdout.lines().count() == 1, "{none:?}");
    let table = run(&["monitor", "sessions", "--database", database]).with(0);
    assert!(
        table.stdout.contains("yyy...") && table.stdout.contains(" s ") && !table.stdout.contains(&long),
        "{table:?}"
    );
    let open = run(&["monitor", "transactions", "--format", "json"]).with(0).json();
    assert!(open.as_array().unwrap().iter().any(|open| open["application"] == name.as_str()));
    let old = run(&["monitor", "transactions", "--open-for", "3600", "--format", "json"]).with(0);
    assert_eq!(old.stdout, "[]\n");
}

#[test]
fn who_may_not_see_what_others_do_is_told_so() {
    let cluster = fresh();
    let role = unique("poor");
    cluster.execute(&format!("CREATE ROLE {role} LOGIN; GRANT pg_monitor TO {role}"), &[]).unwrap();
    let asked = |verb: &str| run(&["monitor", verb, "-U", &role]).with(0).stderr;
    for verb in ["sessions", "transactions", "blocking", "sizes"] {
        assert_eq!(asked(verb), "", "{verb}");
    }
    cluster.execute(&format!("REVOKE pg_monitor FROM {role}"), &[]).unwrap();
    for verb in ["sessions", "transactions", "blocking"] {
        assert!(asked(verb).contains("pg_read_all_stats"), "{verb}");
    }
    assert_eq!(asked("sizes"), "");
}

#[test]
fn blocking_is_a_tree() {
    let cluster = fresh();
    cluster.execute("CREATE TABLE t (id int)", &[]).unwrap();
    let [holder, waiter] = [unique("holder"), unique("waiter")];
    let holding = named(&cluster, &holder);
    holding.execute("BEGIN", &[]).unwrap();
    holding.execute("LOCK TABLE t", &[]).unwrap();
    let waiting = named(&cluster, &waiter);
    let (table, json) = std::thread::scope(|scope| {
        scope.spawn(|| waiting.execute("SELECT * FROM t", &[]).unwrap());
        wait_until(|| waits_for_a_lock(&waiter));
        let table = run_in(cluster.current_database(), &["monitor", "blocking"]);
        let json = run(&["monitor", "blocking", "--format", "json"]);
        holding.execute("COMMIT", &[]).unwrap();
        (table.with(0).stdout, json.with(0).json())
    });
    let lines: Vec<_> = table.lines().collect();
    let line = |of: &str| lines.iter().position(|line| line.contains(of)).unwrap();
    assert_eq!(line(&waiter), line(&holder) + 1, "{table}");
    assert!(!lines[line(&holder)].starts_with(' ') && lines[line(&waiter)].starts_with("  "), "{table}");
    assert!(lines[line(&waiter)].contains("AccessShareLock  public.t"), "{table}");
    let of = |name: &str| json.as_array().unwrap().iter().find(|each| each["application"] == name).unwrap().clone();
    assert_eq!(of(&waiter)["waits_for"][0], of(&holder)["pid"]);
    assert_eq!((of(&waiter)["depth"].as_i64(), of(&holder)["lock_mode"].is_null()), (Some(1), true));
}

#[test]
fn sizes_and_unused_indexes_are_those_of_the_database() {
    let cluster = fresh();
    let sql = "CREATE TABLE \"O r\" (id int PRIMARY KEY, n int); CREATE INDEX \"by n\" ON \"O r\" (n); CREATE TABLE small (id int)";
    cluster.with_client(|client| client.batch_execute(sql)).unwrap();
    let database = cluster.current_database();
    let sizes = run_in(database, &["monitor", "sizes", "--format", "json"]).with(0).json();
    assert_eq!((&sizes[0]["name"], &sizes[0]["indexes"]), (&"public.\"O r\"".into(), &16384.into()));
    assert_eq!(sizes.as_array().unwrap().len(), 2);
    let one = run_in(database, &["monitor", "sizes", "--limit", "1"]).with(0).stdout;
    assert!(one.contains("16 kB") && !one.contains("small"), "{one}");
    let unused = run_in(database, &["monitor", "unused-indexes", "--format", "csv"]).with(0);
    assert_eq!(
        unused.stdout,
        "name,table,partitions,bytes,valid\n\"public.\"\"by n\"\"\",\"public.\"\"O r\"\"\",,8192,true\n"
    );
    assert!(unused.stderr.starts_with("uses are counted since "), "{unused:?}");
}

#[test]
fn watching_asks_again_until_ctrl_c_and_ends_well() {
    let mut command = program(server());
    let mut child = command.args(["monitor", "blocking", "--watch", "1", "--format", "csv"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    for _ in 0..2 {
        let header = lines.find(|line| line.starts_with("depth,pid,")).unwrap();
        assert!(header.ends_with(",query"));
    }
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    lines.for_each(drop);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    for wrong in [["--watch", "0"], ["--watch", "x"], ["--watch", "1000000"]] {
        run(&["monitor", "blocking", wrong[0], wrong[1]]).with(2);
    }
    run(&["monitor"]).with(2);
    // Whoever has read enough ends it, too.
    let mut child = program(server()).args(["monitor", "--watch", "1", "blocking"]).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn on_a_terminal_each_answer_stands_in_the_place_of_the_last() {
    if Command::new("script").arg("--version").output().is_err() {
        println!("SKIPPED: there is no program `script` that makes a terminal");
        return;
    }
    let mut watching = in_a_terminal(&["monitor", "sessions", "--role", "nobody", "--watch", "1"]);
    // The line under the header, and then the next answer.
    watching.wait_for("-----\r\n\x1b[H\x1b[2Jpid");
    assert_eq!(watching.answer("\x03").code, 0);
}
