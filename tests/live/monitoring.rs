//! What goes on in a server.
use crate::support::{connect, fresh, major, server, unique, wait_until};
use pgsteward::monitor::{BlockingSession, ExplainFormat, ExplainOptions, IndexUse, TableSize};
use pgsteward::testing::{TestServer, TestServerOptions};
use pgsteward::{Cluster, Error, Name, SessionState, Sessions};
use postgres::{Client, NoTls};
use std::thread;
use std::time::Duration;

fn run(cluster: &Cluster, sql: &str) {
    cluster.execute(sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error}"));
}

fn text(cluster: &Cluster, sql: &str) -> String {
    cluster.execute(sql, &[]).unwrap()[0].get::<_, Option<String>>(0).unwrap_or_default()
}

fn client(cluster: &Cluster, application: &str) -> Client {
    let dsn = server().dsn_for(cluster.current_database(), "postgres");
    Client::connect(&format!("{dsn} application_name={application}"), NoTls).unwrap()
}

fn pid(client: &mut Client) -> i32 {
    client.query_one("SELECT pg_backend_pid()", &[]).unwrap().get(0)
}

fn of_database(cluster: &Cluster) -> Sessions {
    Sessions::new().databases([cluster.current_database()])
}

#[test]
fn sessions_show_what_they_do_and_not_the_one_that_asks() {
    let cluster = fresh();
    let monitor = cluster.monitor();
    assert!(monitor.sessions(&of_database(&cluster)).unwrap().is_empty());
    let mut other = client(&cluster, "other");
    other.batch_execute("BEGIN; SELECT 'é' AS \"q\"").unwrap();
    let mut found = Vec::new();
    wait_until("it waits for its client", || {
        found = monitor.sessions(&of_database(&cluster)).unwrap();
        found.iter().any(|activity| activity.wait_event_type.is_some())
    });
    let [activity] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(activity.session.pid, pid(&mut other));
    assert_eq!(activity.session.application.as_deref(), Some("other"));
    assert_eq!(activity.session.state, Some(SessionState::IdleInTransaction));
    assert_eq!(activity.query.as_deref(), Some("BEGIN; SELECT 'é' AS \"q\""));
    assert_eq!(activity.backend_type.as_deref(), Some("client backend"));
    assert_eq!(activity.wait_event_type.as_deref(), Some("Client"));
    let ages =
        [activity.session_age, activity.transaction_age, activity.query_age, activity.state_age].map(Option::unwrap);
    assert!(ages[0] >= ages[1] && ages[1] >= ages[3] && ages[0] < Duration::from_secs(600), "{ages:?}");
    // Also in a transaction, in which the server would show the same again.
    cluster
        .transaction(|| {
            assert_eq!(monitor.sessions(&of_database(&cluster))?.len(), 1);
            drop(other);
            wait_until("it is gone", || monitor.sessions(&of_database(&cluster)).unwrap().is_empty());
            Ok(())
        })
        .unwrap();
    assert!(matches!(monitor.sessions(&Sessions::new()), Err(Error::Invalid { .. })));
}

#[test]
fn a_role_without_rights_sees_who_is_there_and_no_more() {
    let cluster = fresh();
    let role = unique("watcher");
    run(&cluster, &format!("CREATE ROLE {role} LOGIN"));
    let mut other = client(&cluster, "other");
    other.batch_execute("BEGIN; SELECT 1").unwrap();
    let watcher = connect(cluster.current_database(), &role);
    let found = watcher.monitor().sessions(&of_database(&cluster).applications(["other"])).unwrap();
    let [activity] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((activity.session.pid, activity.session.state, &activity.query), (pid(&mut other), None, &None));
    assert!(watcher.monitor().transactions(Duration::ZERO).unwrap().is_empty());
    run(&cluster, &format!("GRANT pg_read_all_stats TO {role}"));
    let found = watcher.monitor().sessions(&of_database(&cluster).applications(["other"])).unwrap();
    assert!(found[0].query.is_some());
}

/// Runs a statement that waits, until the server shows that it does.
fn waiting(cluster: &Cluster, mut client: Client, sql: &str) -> (i32, thread::JoinHandle<bool>) {
    let (pid, sql) = (pid(&mut client), sql.to_owned());
    let handle = thread::spawn(move || client.batch_execute(&sql).is_ok());
    let waits = format!("SELECT 1 FROM pg_locks WHERE pid = {pid} AND NOT granted");
    wait_until("it waits", || !cluster.execute(&waits, &[]).unwrap().is_empty());
    (pid, handle)
}

/// Those of this test: others wait on the same server.
fn of(tree: Vec<BlockingSession>, pids: &[i32]) -> Vec<BlockingSession> {
    tree.into_iter().filter(|session| pids.contains(&session.pid)).collect()
}

#[test]
fn p133_who_waits_for_whom_is_a_tree_with_quoted_names() {
    let cluster = fresh();
    run(&cluster, r#"CREATE SCHEMA "A.b"; CREATE TABLE "A.b"."o""r" (id int)"#);
    let mut holder = client(&cluster, "holder");
    let first = pid(&mut holder);
    holder.batch_execute(r#"BEGIN; SELECT * FROM "A.b"."o""r""#).unwrap();
    let drop = r#"DROP TABLE "A.b"."o""r""#;
    let (second, dropping) = waiting(&cluster, client(&cluster, "second"), drop);
    // It waits for the one before it in the queue, which waits itself.
    let (third, reading) = waiting(&cluster, client(&cluster, "third"), r#"SELECT * FROM "A.b"."o""r""#);
    let tree = of(cluster.monitor().blocking().unwrap(), &[first, second, third]);
    let shape: Vec<_> = tree.iter().map(|session| (session.depth, session.pid, session.waits_for.clone())).collect();
    assert_eq!(shape, [(0, first, vec![]), (1, second, vec![first]), (2, third, vec![second])]);
    let lock = tree[1].lock.as_ref().unwrap();
    assert_eq!((lock.mode.as_str(), lock.lock_type.as_str()), ("AccessExclusiveLock", "relation"));
    assert_eq!(lock.relation, Some(Name::new("A.b", "o\"r")));
    assert_eq!(tree[0].lock, None);
    assert_eq!(tree[0].activity.as_ref().unwrap().session.application.as_deref(), Some("holder"));
    holder.batch_execute("COMMIT").unwrap();
    assert!(dropping.join().unwrap() && !reading.join().unwrap());
}

#[test]
fn p133_sessions_in_a_circle_show() {
    let cluster = fresh();
    run(&cluster, "CREATE TABLE t (id int); INSERT INTO t VALUES (1), (2)");
    let [mut one, mut two] = ["one", "two"].map(|name| client(&cluster, name));
    for (client, id) in [(&mut one, 1), (&mut two, 2)] {
        let begin = format!("SET deadlock_timeout = '30s'; BEGIN; UPDATE t SET id = id WHERE id = {id}");
        client.batch_execute(&begin).unwrap();
    }
    let (first, one) = waiting(&cluster, one, "UPDATE t SET id = id WHERE id = 2");
    let (second, two) = waiting(&cluster, two, "UPDATE t SET id = id WHERE id = 1");
    let tree = of(cluster.monitor().blocking().unwrap(), &[first, second]);
    let shape: Vec<_> = tree.iter().map(|session| (session.depth, session.pid, session.waits_for.clone())).collect();
    let (low, high) = (first.min(second), first.max(second));
    assert_eq!(shape, [(0, low, vec![high]), (1, high, vec![low])]);
    assert!(tree.iter().all(|session| session.lock.as_ref().unwrap().lock_type == "transactionid"));
    cluster.terminate(Sessions::new().pids([first])).unwrap();
    assert!(!one.join().unwrap() && two.join().unwrap());
}

#[test]
fn p133_prepared_transactions_show_as_what_others_wait_for_and_as_open() {
    let mut options = TestServerOptions::new();
    options.settings.push(("max_prepared_transactions".into(), "5".into()));
    let server = TestServer::with(options).unwrap();
    let cluster = Cluster::connect(&server.dsn()).unwrap();
    run(&cluster, "CREATE TABLE t (id int); INSERT INTO t VALUES (1); CREATE TABLE u (id int)");
    let mut other = Client::connect(&server.dsn(), NoTls).unwrap();
    other.batch_execute("BEGIN; UPDATE t SET id = 2; PREPARE TRANSACTION 'it''s \"one\"'").unwrap();
    other.batch_execute("BEGIN; INSERT INTO u VALUES (1); PREPARE TRANSACTION 'another'").unwrap();
    let (waits, handle) = waiting(&cluster, other, "UPDATE t SET id = 3");
    let tree = cluster.monitor().blocking().unwrap();
    assert_eq!(tree.iter().map(|session| (session.depth, session.pid)).collect::<Vec<_>>(), [(0, 0), (1, waits)]);
    assert_eq!((tree[0].prepared.as_slice(), &tree[0].activity), (["it's \"one\"".to_owned()].as_slice(), &None));
    let open = cluster.monitor().transactions(Duration::ZERO).unwrap();
    let names: Vec<_> = open.iter().map(|open| (open.pid, open.prepared.as_deref())).collect();
    assert_eq!(names, [(None, Some("it's \"one\"")), (None, Some("another")), (Some(waits), None)]);
    assert_eq!(open[0].role.as_deref(), Some("postgres"));
    assert!(open[0].xmin_age.is_some() && open[2].xmin_age.is_some());
    assert!(open[2].query.as_deref().unwrap().starts_with("UPDATE t SET id = 3"));
    run(&cluster, "COMMIT PREPARED 'it''s \"one\"'");
    assert!(handle.join().unwrap());
}

#[test]
fn transactions_show_by_how_long_they_have_been_open() {
    let cluster = fresh();
    let mut other = client(&cluster, "open");
    other.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1").unwrap();
    // The server's own processes, which have no role, may be at work there too.
    let mine = |open_for: Duration| {
        let found = cluster.monitor().transactions(open_for).unwrap();
        found
            .into_iter()
            .filter(|open| open.database.as_deref() == Some(cluster.current_database()) && open.role.is_some())
            .collect::<Vec<_>>()
    };
    cluster
        .transaction(|| {
            let [open] = mine(Duration::ZERO).try_into().unwrap();
            assert_eq!((open.pid, open.state), (Some(pid(&mut other)), Some(SessionState::IdleInTransaction)));
            assert!(open.xmin_age.is_some() && open.age < Duration::from_secs(600), "{open:?}");
            Ok(())
        })
        .unwrap();
    assert!(mine(Duration::from_secs(3600)).is_empty());
    assert!(mine(Duration::MAX).is_empty());
    wait_until("it has been open for a second", || !mine(Duration::from_secs(1)).is_empty());
}

fn size<'s>(sizes: &'s [TableSize], name: &Name) -> &'s TableSize {
    sizes.iter().find(|size| size.name == *name).unwrap()
}

#[test]
fn p133_sizes_are_those_that_the_server_gives_whatever_the_names() {
    let cluster = fresh();
    run(
        &cluster,
        r#"CREATE SCHEMA "A.b";
        CREATE TABLE "A.b"."o""r" (id int PRIMARY KEY, t text);
        ALTER TABLE "A.b"."o""r" ALTER t SET STORAGE EXTERNAL;
        INSERT INTO "A.b"."o""r" SELECT n, repeat('x', 5000) FROM generate_series(1, 50) n;
        CREATE TABLE parted (id int) PARTITION BY RANGE (id);
        CREATE TABLE low PARTITION OF parted FOR VALUES FROM (0) TO (1000);
        CREATE TABLE high PARTITION OF parted FOR VALUES FROM (1000) TO (9000) PARTITION BY RANGE (id);
        CREATE TABLE higher PARTITION OF high FOR VALUES FROM (1000) TO (9000);
        CREATE INDEX ON parted (id);
        INSERT INTO parted SELECT * FROM generate_series(1, 8000);
        CREATE TABLE nothing (id int) PARTITION BY LIST (id);
        CREATE MATERIALIZED VIEW kept AS SELECT * FROM parted"#,
    );
    run(&cluster, "ANALYZE");
    let sizes = cluster.monitor().table_sizes().unwrap();
    let number = |sql: &str| text(&cluster, &format!("SELECT ({sql})::text")).parse::<u64>().unwrap();
    let plain = size(&sizes, &Name::new("A.b", "o\"r"));
    let of = r#"('"A.b"."o""r"')"#;
    assert_eq!(plain.total, Some(number(&format!("pg_total_relation_size{of}"))));
    assert_eq!(plain.indexes, Some(number(&format!("pg_indexes_size{of}"))));
    let toast = r#"SELECT pg_total_relation_size(reltoastrelid) FROM pg_class WHERE oid = '"A.b"."o""r"'::regclass"#;
    assert_eq!(plain.toast, Some(number(toast)));
    assert!(plain.toast > Some(250_000));
    assert_eq!(plain.total, Some(plain.table.unwrap() + plain.toast.unwrap() + plain.indexes.unwrap()));
    assert_eq!((plain.rows, plain.partitions, &plain.partition_of), (Some(50), None, &None));

    let [parted, low, high, higher] = ["parted", "low", "high", "higher"].map(|name| size(&sizes, &name.into()));
    assert_eq!((parted.partitions, high.partitions, low.partitions), (Some(2), Some(1), None));
    assert_eq!((parted.rows, low.rows), (Some(8000), Some(999)));
    assert_eq!((&low.partition_of, &higher.partition_of), (&Some("parted".into()), &Some("high".into())));
    assert_eq!(parted.total, Some(low.total.unwrap() + higher.total.unwrap()));
    assert_eq!(parted.indexes, Some(number("pg_indexes_size('low') + pg_indexes_size('higher')")));
    assert_eq!(high.total, higher.total);
    let nothing = size(&sizes, &"nothing".into());
    assert_eq!((nothing.total, nothing.partitions, nothing.rows), (Some(0), Some(0), Some(0)));
    assert_eq!(size(&sizes, &"kept".into()).rows, Some(8000));
    assert!(sizes.is_sorted_by(|a, b| a.total >= b.total));
    assert_eq!(sizes.len(), 7);
}

#[test]
fn sizes_do_not_wait_for_whoever_has_a_table_for_himself() {
    let cluster = fresh();
    run(&cluster, "CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int) PARTITION BY LIST (id)");
    run(&cluster, "CREATE TABLE v PARTITION OF u FOR VALUES IN (1); CREATE TABLE w (id int); CREATE INDEX i ON w (id)");
    run(&cluster, "SET lock_timeout = '20s'");
    let mut other = client(&cluster, "other");
    other.batch_execute("BEGIN; LOCK TABLE t, v; DROP INDEX i").unwrap();
    let sizes = cluster.monitor().table_sizes().unwrap();
    for (name, total) in [("t", None), ("u", None), ("v", None), ("w", None)] {
        assert_eq!(size(&sizes, &name.into()).total, total, "{name}");
    }
    let indexes = cluster.monitor().indexes().unwrap();
    let bytes = |name: &str| indexes.iter().find(|index| index.name == Name::from(name)).unwrap().bytes;
    assert_eq!((bytes("i"), bytes("t_pkey").is_some()), (None, true));
    other.batch_execute("ROLLBACK").unwrap();
    assert!(cluster.monitor().table_sizes().unwrap().iter().all(|size| size.total.is_some()));
    // One's own lock does not stand in the way.
    cluster
        .transaction(|| {
            run(&cluster, "LOCK TABLE t");
            assert!(cluster.monitor().table_sizes()?.iter().all(|size| size.total.is_some()));
            Ok(())
        })
        .unwrap();
}

#[test]
fn unused_indexes_are_those_that_nothing_needs() {
    let cluster = fresh();
    run(
        &cluster,
        r#"CREATE TABLE t (id int PRIMARY KEY, a int NOT NULL, b int, c int, r int4range, EXCLUDE USING gist (r WITH &&));
        INSERT INTO t SELECT n, n, n, n, NULL FROM generate_series(1, 2000) n;
        CREATE UNIQUE INDEX replica ON t (a); ALTER TABLE t REPLICA IDENTITY USING INDEX replica;
        CREATE INDEX "Un used" ON t (b); CREATE INDEX used ON t (c);
        CREATE TABLE p (id int) PARTITION BY RANGE (id); CREATE INDEX parted ON p (id);
        CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (1000);
        CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (1000) TO (9000);
        CREATE TABLE q (LIKE p) PARTITION BY RANGE (id); CREATE INDEX parted_used ON q (id);
        CREATE TABLE q1 PARTITION OF q FOR VALUES FROM (0) TO (9000); INSERT INTO q SELECT * FROM generate_series(1, 2000)"#,
    );
    run(&cluster, "ANALYZE");
    run(&cluster, "SET enable_seqscan = off");
    run(&cluster, "SELECT FROM t WHERE c = 7");
    run(&cluster, "SELECT FROM q WHERE id = 7");
    run(&cluster, "RESET enable_seqscan");
    let all = || cluster.monitor().indexes().unwrap();
    let named =
        |indexes: &[IndexUse], name: &str| indexes.iter().find(|index| index.name.name == name).unwrap().clone();
    // The server counts a moment later.
    wait_until("it is counted", || {
        cluster.execute("SELECT pg_stat_clear_snapshot()", &[]).unwrap();
        named(&all(), "used").scans == 1 && named(&all(), "parted_used").scans == 1
    });
    let unused = cluster.monitor().unused_indexes().unwrap();
    let mut names: Vec<_> = unused.indexes.iter().map(|index| index.name.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["Un used", "parted"]);
    assert_eq!((unused.is_standby, unused.indexes[0].table.clone()), (false, "t".into()));
    let parted = named(&unused.indexes, "parted");
    assert_eq!((parted.partitions, parted.bytes), (Some(2), Some(16384)));
    let replica = named(&all(), "replica");
    assert!(replica.replica_identity && replica.unique && !replica.of_constraint && !replica.is_unused());
    assert!(named(&all(), "t_pkey").of_constraint && !named(&all(), "t_r_excl").is_unused());
    assert_eq!(named(&all(), "used").last_scan.is_some(), major() >= 16);

    run(&cluster, "SELECT pg_stat_reset()");
    let mut unused = cluster.monitor().unused_indexes().unwrap();
    wait_until("it is reset", || {
        unused = cluster.monitor().unused_indexes().unwrap();
        unused.since.is_some() && unused.indexes.len() == 4
    });
    assert!(unused.since.unwrap() > jiff::Timestamp::from_second(1_700_000_000).unwrap());
}

#[test]
fn indexes_of_what_the_server_keeps_out_of_line_are_its_own_also_of_temporary_tables() {
    let cluster = fresh();
    run(&cluster, "CREATE TABLE t (t text); CREATE TEMP TABLE own (t text)");
    let mut other = client(&cluster, "other");
    other.batch_execute("CREATE TEMP TABLE theirs (id int PRIMARY KEY, t text)").unwrap();
    let indexes = cluster.monitor().indexes().unwrap();
    let names: Vec<_> = indexes.iter().map(|index| index.name.name.as_str()).collect();
    assert_eq!(names, ["theirs_pkey"]);
}

#[test]
fn a_plan_runs_nothing_whatever_the_statement_says() {
    let cluster = fresh();
    run(&cluster, "CREATE TABLE t (id int); INSERT INTO t VALUES (1)");
    let (monitor, options) = (cluster.monitor(), ExplainOptions::new());
    let explain = |sql: &str| monitor.explain(sql, &[], &options);
    assert!(explain("DELETE FROM t -- all").unwrap().starts_with("Delete on t"));
    for sql in [
        "ANALYZE DELETE FROM t",
        "(ANALYZE) DELETE FROM t",
        "SELECT 1; DELETE FROM t",
        "DELETE FROM t; COMMIT",
        "CALL p()",
        "",
    ] {
        let error = explain(sql).unwrap_err();
        assert_eq!(error.code().map(|code| code.code()), Some("42601"), "{sql}: {error}");
        assert!(monitor.explain_analyze(sql, &[], &options).is_err());
    }
    let with_values = monitor.explain("SELECT * FROM t WHERE id = $1", &[&7], &options).unwrap();
    assert!(with_values.contains("Filter: (id = 7)") || with_values.contains("Filter: (id = $1)"), "{with_values}");
    assert!(monitor.explain("SELECT $1::int", &[&"x"], &options).is_err());
    let mut json = ExplainOptions::new();
    (json.format, json.verbose) = (ExplainFormat::Json, true);
    let plan = monitor.explain("SELECT * FROM t", &[], &json).unwrap();
    let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
    assert_eq!(plan[0]["Plan"]["Schema"], "public");
    assert_eq!(text(&cluster, "SELECT count(*)::text FROM t"), "1");
}

#[test]
fn p133_explain_analyze_undoes_what_the_statement_did() {
    let cluster = fresh();
    run(
        &cluster,
        "CREATE TABLE t (id int); INSERT INTO t VALUES (1); CREATE FUNCTION f() RETURNS int LANGUAGE sql AS \
         'INSERT INTO t VALUES (9) RETURNING id'",
    );
    let (monitor, options) = (cluster.monitor(), ExplainOptions::new());
    let analyze = |sql: &str| monitor.explain_analyze(sql, &[], &options);
    let rows = || text(&cluster, "SELECT string_agg(id::text, ',' ORDER BY id) FROM t");
    for sql in ["DELETE FROM t", "INSERT INTO t VALUES (2)", "SELECT f()", "CREATE TABLE u AS SELECT f()"] {
        assert!(analyze(sql).unwrap().contains("actual"), "{sql}");
        assert_eq!(rows(), "1", "{sql}");
    }
    assert!(!cluster.tables().contains("u").unwrap());
    assert!(analyze("DELETE FROM t WHERE id = 1/(id - 1)").is_err());
    // In a transaction, which goes on.
    cluster
        .transaction(|| {
            run(&cluster, "INSERT INTO t VALUES (3)");
            analyze("DELETE FROM t")?;
            assert!(analyze("SELECT 1/0").is_err());
            assert_eq!(rows(), "1,3");
            Ok(())
        })
        .unwrap();
    assert_eq!(rows(), "1,3");
    run(&cluster, "BEGIN");
    analyze("DELETE FROM t").unwrap();
    run(&cluster, "COMMIT");
    assert_eq!(rows(), "1,3");
    let planned = cluster.plan(|cluster| cluster.monitor().explain_analyze("DELETE FROM t", &[], &options));
    assert!(matches!(planned, Err(Error::Invalid { .. })));
    assert!(monitor.explain_analyze("SELECT $1::int", &[&7], &options).unwrap().contains("actual"));
}

#[test]
fn monitoring_a_standby_says_that_it_is_one() {
    let server = TestServer::start().unwrap();
    let primary = Cluster::connect(&server.dsn()).unwrap();
    let standby = server.standby().unwrap();
    let there = Cluster::connect(&standby.dsn()).unwrap();
    wait_until("it receives", || primary.monitor().unused_indexes().unwrap().walsenders == 1);
    let unused = there.monitor().unused_indexes().unwrap();
    assert!(unused.is_standby && unused.walsenders == 0);
    there.monitor().blocking().unwrap();
    there.monitor().table_sizes().unwrap();
    there.monitor().transactions(Duration::ZERO).unwrap();
    there.monitor().explain_analyze("SELECT 1", &[], &ExplainOptions::new()).unwrap();
}
