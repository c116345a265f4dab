//! Snapshots of tables: taken, listed, compared, reverted to, pruned.
use crate::support::{connect, fresh, major, statements, unique, wait_until};
use pgsteward::snapshot::{
    AddedColumns, ArchiveOptions, CurrentRows, DatabaseCopyOptions, PruneOptions, RevertOptions, Snapshot,
    SnapshotOptions, StructureChange, TablePattern,
};
use pgsteward::{Cluster, Error, Ident, Name, sql};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

fn run(cluster: &Cluster, sql: &str) {
    cluster.execute(sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error}"));
}

fn number(cluster: &Cluster, sql: &str) -> i64 {
    cluster.execute(sql, &[]).unwrap()[0].get(0)
}

fn text(cluster: &Cluster, sql: &str) -> String {
    cluster.execute(sql, &[]).unwrap()[0].get::<_, Option<String>>(0).unwrap_or_default()
}

fn take(cluster: &Cluster, label: &str) -> Snapshot {
    cluster.snapshots().take(&SnapshotOptions::new(label)).unwrap()
}

fn discard() -> RevertOptions {
    let mut options = RevertOptions::new();
    options.current_rows = CurrentRows::Discard;
    options
}

#[test]
fn p082_a_snapshot_brings_rows_and_sequences_back_and_leaves_the_tables_what_they_are() {
    let cluster = fresh();
    run(
        &cluster,
        r#"CREATE SCHEMA "A.b";
        CREATE TABLE "A.b"."o""r%d" (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "Am t" numeric(10,2) DEFAULT 1,
            twice numeric GENERATED ALWAYS AS ("Am t" * 2) STORED, note text COLLATE "C" NOT NULL);
        COMMENT ON TABLE "A.b"."o""r%d" IS 'kept';
        CREATE TABLE lines (o int REFERENCES "A.b"."o""r%d", n serial, PRIMARY KEY (o, n));
        INSERT INTO "A.b"."o""r%d" ("Am t", note) VALUES (1.5, 'a'), (2, ''), (NULL, 'c');
        INSERT INTO lines VALUES (1), (1), (3);
        CREATE VIEW v AS SELECT count(*) FROM lines;
        CREATE MATERIALIZED VIEW m AS SELECT * FROM v;"#,
    );
    let before = text(&cluster, r#"SELECT string_agg(t::text, ';' ORDER BY id) FROM "A.b"."o""r%d" t"#);
    let oid = "SELECT 'lines'::regclass::oid::bigint";
    let the_same = number(&cluster, oid);
    let snapshot = take(&cluster, "it's \"before\"");
    assert_eq!(snapshot.tables.iter().map(|table| table.rows).collect::<Vec<_>>(), [3, 3]);
    assert_eq!(snapshot.tables[0].name, Name::new("A.b", "o\"r%d"));
    assert_eq!((snapshot.label.as_str(), snapshot.sequences.len()), ("it's \"before\"", 2));
    assert!(snapshot.bytes > 0 && snapshot.database == cluster.current_database());
    assert_eq!(cluster.snapshots().list().unwrap(), std::slice::from_ref(&snapshot));
    assert!(cluster.snapshots().compare(&snapshot.name).unwrap().is_empty());

    run(
        &cluster,
        r#"DELETE FROM lines; DELETE FROM "A.b"."o""r%d" WHERE id = 2; UPDATE "A.b"."o""r%d" SET note = 'z' WHERE id = 1;
        INSERT INTO "A.b"."o""r%d" (note) VALUES ('n'), ('m')"#,
    );
    let difference = cluster.snapshots().compare(&snapshot.name).unwrap();
    let counts: Vec<_> =
        difference.tables.iter().map(|table| (table.rows_added, table.rows_removed, table.rows_changed)).collect();
    assert_eq!(counts, [(2, 1, 1), (0, 3, 0)]);
    assert_eq!(difference.sequences.len(), 1);
    assert_eq!(
        (difference.sequences[0].then.last_value, difference.sequences[0].now.as_ref().unwrap().last_value),
        (3, 5)
    );

    let report = cluster.snapshots().revert(&snapshot.name, &RevertOptions::new()).unwrap();
    assert_eq!((report.tables, report.rows), (2, 6));
    assert_eq!(report.stale_materialized_views, [Name::from("m")]);
    assert!(cluster.snapshots().compare(&snapshot.name).unwrap().is_empty());
    assert_eq!(text(&cluster, r#"SELECT string_agg(t::text, ';' ORDER BY id) FROM "A.b"."o""r%d" t"#), before);
    assert_eq!((number(&cluster, oid), number(&cluster, "SELECT * FROM v")), (the_same, 3));
    let kept = cluster.snapshots().get(&report.kept.unwrap()).unwrap();
    assert_eq!((kept.label.as_str(), kept.rows()), ("before_revert", 4));
    // And back again.
    cluster.snapshots().revert(&kept.name, &discard()).unwrap();
    assert_eq!(number(&cluster, r#"SELECT nextval(pg_get_serial_sequence('"A.b"."o""r%d"', 'id'))"#), 6);
    assert_eq!(text(&cluster, r#"SELECT note FROM "A.b"."o""r%d" WHERE id = 1"#), "z");
    assert_eq!(cluster.snapshots().list().unwrap().len(), 2);
}

#[test]
fn p082_all_tables_are_of_one_moment() {
    let cluster = fresh();
    // The long one takes a while between the other two.
    run(&cluster, "CREATE TABLE a AS SELECT 0 AS n; CREATE TABLE b AS TABLE a; CREATE TABLE c AS TABLE a");
    run(&cluster, "CREATE TABLE a_long AS SELECT generate_series(1, 100000)");
    let writers = [
        "BEGIN; UPDATE a SET n = n + 1; UPDATE b SET n = n + 1; COMMIT",
        // Who looks later at a table that was emptied meanwhile would see it empty.
        "BEGIN; TRUNCATE c; INSERT INTO c VALUES (0); COMMIT",
    ];
    let stop = Arc::new(AtomicBool::new(false));
    let writers = writers.map(|sql| {
        let (database, stop) = (cluster.current_database().to_owned(), stop.clone());
        thread::spawn(move || {
            let cluster = connect(&database, "postgres");
            while !stop.load(Ordering::Relaxed) {
                run(&cluster, sql);
            }
        })
    });
    for _ in 0..5 {
        let snapshot = take(&cluster, "race");
        assert_eq!(snapshot.rows(), 100_003);
        let schema = sql!("{}", Ident(&snapshot.name));
        let apart = sql!("SELECT ((SELECT n FROM {}.\"1\") - (SELECT n FROM {}.\"3\"))::bigint", schema, schema);
        assert_eq!(number(&cluster, &apart.to_string()), 0);
        cluster.snapshots().drop(&snapshot.name).unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    writers.into_iter().for_each(|writer| writer.join().unwrap());
}

#[test]
fn p083_tables_of_the_same_name_do_not_mix_and_underscores_mean_themselves() {
    let cluster = fresh();
    run(
        &cluster,
        "CREATE SCHEMA a; CREATE SCHEMA b; CREATE TABLE a.t AS SELECT 'a' AS x; CREATE TABLE b.t AS SELECT 'b' AS x;
        CREATE TABLE a.log_1 (); CREATE TABLE a.logx1 ()",
    );
    let mut options = SnapshotOptions::new("x".repeat(90));
    options.except = vec![TablePattern::parse("a.log_?").unwrap()];
    let snapshot = cluster.snapshots().take(&options).unwrap();
    let names: Vec<String> = snapshot.tables.iter().map(|table| table.name.to_string()).collect();
    assert_eq!(names, ["a.logx1", "a.t", "b.t"]);
    assert!(snapshot.name.len() == 63 && snapshot.label.len() == 90);
    let again = cluster.snapshots().take(&options).unwrap();
    assert!(again.name.len() <= 63 && again.name != snapshot.name);
    run(&cluster, "UPDATE a.t SET x = 'c'; UPDATE b.t SET x = 'd'");
    cluster.snapshots().revert(&snapshot.name, &discard()).unwrap();
    assert_eq!(text(&cluster, "SELECT a.t.x || b.t.x FROM a.t, b.t"), "ab");
}

#[test]
fn p082_many_tables_and_columns_keep_to_their_own() {
    let cluster = fresh();
    let columns: Vec<String> = (0..25).map(|n| format!("{} AS c{n}", n * 7)).collect();
    let make = (1..=25).map(|n| format!("CREATE TABLE t{n} AS SELECT 'table {n}' AS own{n}, {};", columns.join(", ")));
    run(&cluster, &make.collect::<String>());
    let snapshot = take(&cluster, "");
    assert_eq!(cluster.snapshots().get(&snapshot.name).unwrap(), snapshot);
    assert!(cluster.snapshots().compare(&snapshot.name).unwrap().is_empty());
    let clear = (1..=25).map(|n| format!("UPDATE t{n} SET own{n} = 'other', c{} = 0;", n % 25));
    run(&cluster, &clear.collect::<String>());
    cluster.snapshots().revert(&snapshot.name, &discard()).unwrap();
    for n in 1..=25 {
        assert_eq!(
            text(&cluster, &format!("SELECT own{n} FROM t{n} WHERE c24 = 168 AND c9 = 63")),
            format!("table {n}")
        );
    }
}

#[test]
fn p082_triggers_and_rules_do_not_fire_and_are_as_they_were() {
    let cluster = fresh();
    run(
        &cluster,
        "CREATE TABLE fired (what text); CREATE TABLE t (id int PRIMARY KEY);
        CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.fired VALUES (tg_name); RETURN NULL; END $$;
        CREATE TRIGGER origin AFTER INSERT OR DELETE OR TRUNCATE ON t EXECUTE PROCEDURE f();
        CREATE TRIGGER \"al ways\" BEFORE INSERT ON t FOR EACH ROW EXECUTE PROCEDURE f();
        ALTER TABLE t ENABLE ALWAYS TRIGGER \"al ways\";
        CREATE TRIGGER replica AFTER INSERT ON t EXECUTE PROCEDURE f(); ALTER TABLE t ENABLE REPLICA TRIGGER replica;
        CREATE TRIGGER off AFTER INSERT ON t EXECUTE PROCEDURE f(); ALTER TABLE t DISABLE TRIGGER off;
        CREATE TABLE ruled (id int); CREATE RULE instead AS ON INSERT TO ruled DO INSTEAD INSERT INTO fired VALUES ('rule');
        ALTER TABLE t DISABLE TRIGGER \"al ways\"; ALTER TABLE t DISABLE TRIGGER origin;
        INSERT INTO t VALUES (1), (2); ALTER TABLE ruled DISABLE RULE instead; INSERT INTO ruled VALUES (7);
        ALTER TABLE ruled ENABLE ALWAYS RULE instead; ALTER TABLE t ENABLE ALWAYS TRIGGER \"al ways\"; ALTER TABLE t ENABLE TRIGGER origin;
        CREATE CONSTRAINT TRIGGER late AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE PROCEDURE f();
        TRUNCATE fired",
    );
    let modes = "SELECT string_agg(concat(tgname, tgenabled), ',' ORDER BY tgname) || (SELECT ev_enabled::text FROM pg_rewrite \
        WHERE rulename = 'instead') FROM pg_trigger WHERE tgrelid = 't'::regclass";
    let before = text(&cluster, modes);
    let mut options = SnapshotOptions::new("");
    options.tables = ["t", "ruled"].map(TablePattern::table).to_vec();
    let snapshot = cluster.snapshots().take(&options).unwrap();
    for session in ["origin", "replica"] {
        run(&cluster, "DELETE FROM t; DELETE FROM ruled; TRUNCATE fired");
        run(&cluster, &format!("SET session_replication_role = {session}"));
        cluster.snapshots().revert(&snapshot.name, &RevertOptions::new()).unwrap();
        assert_eq!(text(&cluster, "SHOW session_replication_role"), session);
        assert_eq!(number(&cluster, "SELECT count(*) FROM fired"), 0);
        assert_eq!(number(&cluster, "SELECT (SELECT count(*) FROM t) * 10 + (SELECT count(*) FROM ruled)"), 21);
        assert_eq!(text(&cluster, modes), before);
    }
}

#[test]
fn p082_partitions_and_inheritance_keep_their_rows_apart() {
    let cluster = fresh();
    run(
        &cluster,
        "CREATE TABLE p (id int, k int NOT NULL, PRIMARY KEY (id, k)) PARTITION BY LIST (k);
        CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);
        CREATE TABLE p2 (k int NOT NULL, gone int, id int NOT NULL); ALTER TABLE p2 DROP gone; ALTER TABLE p ATTACH PARTITION p2 FOR VALUES IN (2);
        CREATE TABLE r (id int, k int, FOREIGN KEY (id, k) REFERENCES p) PARTITION BY HASH (id);
        CREATE TABLE r0 PARTITION OF r FOR VALUES WITH (MODULUS 1, REMAINDER 0);
        CREATE TABLE fired (n int);
        CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.fired VALUES (1); RETURN NEW; END $$;
        CREATE TABLE parent (x int); CREATE TABLE child (y int) INHERITS (parent);
        INSERT INTO p VALUES (1, 1), (2, 2), (3, 2); INSERT INTO r VALUES (1, 1), (3, 2);
        INSERT INTO parent VALUES (1); INSERT INTO child VALUES (2, 3);
        CREATE TRIGGER each AFTER INSERT ON p FOR EACH ROW EXECUTE PROCEDURE f();",
    );
    let content = "SELECT (SELECT string_agg(p::text, '') FROM (TABLE p ORDER BY 1) p) || (SELECT string_agg(r::text, '') \
        FROM (TABLE r ORDER BY 1) r) || (SELECT string_agg(c::text, '') FROM (TABLE parent ORDER BY 1) c) || (SELECT count(*) FROM child)";
    let modes = "SELECT string_agg(concat(tgrelid::regclass, tgname, tgenabled), ',' ORDER BY tgrelid::regclass::text, tgname) \
        FROM pg_trigger WHERE tgname = 'each'";
    let (before, triggers) = (text(&cluster, content), text(&cluster, modes));
    let mut options = SnapshotOptions::new("");
    options.tables = ["p", "r", "parent", "child"].map(TablePattern::table).to_vec();
    let snapshot = cluster.snapshots().take(&options).unwrap();
    assert_eq!(snapshot.tables.iter().map(|table| table.rows).collect::<Vec<_>>(), [1, 1, 2, 1, 2]);
    run(
        &cluster,
        "TRUNCATE p CASCADE; INSERT INTO p VALUES (9, 1); TRUNCATE fired; DELETE FROM parent; INSERT INTO child VALUES (5, 5)",
    );
    cluster.snapshots().revert(&snapshot.name, &RevertOptions::new()).unwrap();
    assert_eq!(text(&cluster, content), before);
    assert_eq!(text(&cluster, modes), triggers);
    assert_eq!(number(&cluster, "SELECT count(*) FROM fired"), 0);
    // A partition that came later would lose its rows unseen.
    run(&cluster, "CREATE TABLE p3 PARTITION OF p FOR VALUES IN (3)");
    let difference = cluster.snapshots().compare(&snapshot.name).unwrap();
    assert_eq!(difference.new_partitions, [Name::from("p3")]);
    let error = cluster.snapshots().revert(&snapshot.name, &discard()).unwrap_err();
    assert!(error.to_string().contains("public.p3 has become a partition"), "{error}");
}

#[test]
fn what_would_lose_something_unseen_is_refused_with_all_reasons() {
    let cluster = fresh();
    run(
        &cluster,
        "CREATE TABLE a (id int PRIMARY KEY, x text, y int, z numeric(4,2)); CREATE TABLE b (n int); CREATE TABLE c (n serial);
        INSERT INTO a VALUES (1, 'x', 2, 1.25)",
    );
    let snapshot = take(&cluster, "");
    run(&cluster, "CREATE TABLE outside (a int REFERENCES a)");
    run(&cluster, "ALTER TABLE a ADD more int DEFAULT 7, DROP x, ALTER y TYPE bigint, ALTER z TYPE numeric(4,1)");
    run(&cluster, "ALTER TABLE b RENAME TO d; ALTER TABLE c ALTER n DROP DEFAULT; DROP SEQUENCE c_n_seq");
    let error = cluster.snapshots().revert(&snapshot.name, &RevertOptions::new()).unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }));
    for reason in [
        "has no column x",
        "y of type bigint, which was integer",
        "numeric(4,1), which was numeric(4,2)",
        "has a new column more",
        "public.b is called public.d now",
        "public.outside refers to public.a (foreign key \"outside_a_fkey\")",
        "sequence public.c_n_seq does not exist",
    ] {
        assert!(error.to_string().contains(reason), "{reason}: {error}");
    }
    let difference = cluster.snapshots().compare(&snapshot.name).unwrap();
    assert_eq!(difference.tables[0].structure.len(), 4);
    assert_eq!(difference.tables[1].structure, [StructureChange::Renamed(Name::from("d"))]);
    assert_eq!((difference.tables[0].rows_added, difference.tables[0].rows_changed), (0, 0));
    assert!(difference.sequences[0].now.is_none());
    assert_eq!(cluster.snapshots().list().unwrap().len(), 1);
}

#[test]
fn columns_added_since_take_their_default_where_that_is_asked_for() {
    let cluster = fresh();
    run(&cluster, "CREATE TABLE a (id int); INSERT INTO a VALUES (1), (2)");
    let snapshot = take(&cluster, "");
    run(&cluster, "ALTER TABLE a ADD more int DEFAULT 7; UPDATE a SET more = 8");
    let mut options = RevertOptions::new();
    options.added_columns = AddedColumns::FillWithDefault;
    let report = cluster.snapshots().revert(&snapshot.name, &options).unwrap();
    assert_eq!(number(&cluster, "SELECT sum(more) FROM a"), 14);
    let kept = report.kept.unwrap();
    cluster.snapshots().revert(&kept, &discard()).unwrap();
    assert_eq!(number(&cluster, "SELECT sum(more) FROM a"), 16);
}

#[test]
fn a_revert_that_a_constraint_refuses_changes_nothing() {
    let cluster = fresh();
    run(&cluster, "CREATE TABLE outside (id int PRIMARY KEY); INSERT INTO outside VALUES (1), (2)");
    run(
        &cluster,
        "CREATE TABLE a (id serial, o int REFERENCES outside DEFERRABLE INITIALLY DEFERRED); INSERT INTO a (o) VALUES (2)",
    );
    let mut options = SnapshotOptions::new("");
    options.tables = vec![TablePattern::table("a")];
    let snapshot = cluster.snapshots().take(&options).unwrap();
    run(&cluster, "UPDATE a SET o = 1; DELETE FROM outside WHERE id = 2; SELECT setval('a_id_seq', 50)");
    let error = cluster.snapshots().revert(&snapshot.name, &RevertOptions::new()).unwrap_err();
    assert!(error.to_string().contains("a_o_fkey"), "{error}");
    assert_eq!(number(&cluster, "SELECT o::bigint FROM a"), 1);
    assert_eq!(number(&cluster, "SELECT last_value FROM a_id_seq"), 50);
    assert_eq!(cluster.snapshots().list().unwrap().len(), 1);
}

#[test]
fn a_rollback_takes_the_sequences_along() {
    let cluster = fresh();
    run(&cluster, "CREATE TABLE a (id serial); INSERT INTO a DEFAULT VALUES");
    let snapshot = take(&cluster, "");
    run(&cluster, "INSERT INTO a DEFAULT VALUES; INSERT INTO a DEFAULT VALUES");
    let result: pgsteward::Result<()> = cluster.transaction(|| {
        cluster.snapshots().revert(&snapshot.name, &discard())?;
        assert_eq!(number(&cluster, "SELECT last_value FROM a_id_seq"), 1);
        Err(Error::NotFound { what: "reason to keep it".into() })
    });
    assert!(result.is_err());
    assert_eq!(number(&cluster, "SELECT last_value + (SELECT count(*) FROM a) FROM a_id_seq"), 6);
}

#[test]
fn inside_transactions_snapshots_are_as_exact_or_refused() {
    let cluster = fresh();
    run(&cluster, "CREATE TABLE a (id int); INSERT INTO a VALUES (1)");
    let other = connect(cluster.current_database(), "postgres");
    let snapshot = cluster
        .transaction(|| {
            let snapshot = cluster.snapshots().take(&SnapshotOptions::new("in"))?;
            run(&other, "SET lock_timeout = '50ms'");
            assert!(other.execute("INSERT INTO a VALUES (2)", &[]).is_err(), "SHARE");
            Ok(snapshot)
        })
        .unwrap();
    run(&other, "INSERT INTO a VALUES (2)");
    run(&cluster, "BEGIN ISOLATION LEVEL REPEATABLE READ");
    let error = cluster.snapshots().revert(&snapshot.name, &discard()).unwrap_err();
    assert!(error.to_string().contains("READ COMMITTED"), "{error}");
    run(&cluster, "ROLLBACK");
    cluster.snapshots().revert(&snapshot.name, &discard()).unwrap();
    assert_eq!(number(&cluster, "SELECT count(*) FROM a"), 1);
}

#[test]
fn plans_show_the_statements_and_do_them_when_they_are_applied() {
    let cluster = fresh();
    run(
        &cluster,
        "CREATE TABLE a (id serial PRIMARY KEY); CREATE TABLE b (a int REFERENCES a); INSERT INTO a DEFAULT VALUES",
    );
    let mut planned = String::new();
    let plan = cluster
        .plan(|c| {
            planned = c.snapshots().take(&SnapshotOptions::new("planned"))?.name;
            Ok(())
        })
        .unwrap();
    assert!(plan.to_string().contains(&format!("CREATE SCHEMA \"{planned}\";")), "{plan}");
    assert!(cluster.snapshots().list().unwrap().is_empty());
    // What is printed can be run by hand.
    for statement in statements(&plan.script()) {
        run(&cluster, &statement);
    }
    assert_eq!(cluster.snapshots().get(&planned).unwrap().rows(), 1);
    plan.apply().unwrap();
    let list = cluster.snapshots().list().unwrap();
    assert_eq!(list.len(), 2);
    assert!(list.iter().all(|snapshot| snapshot.label == "planned" && snapshot.rows() == 1));

    run(&cluster, "INSERT INTO a DEFAULT VALUES");
    let plan = cluster.plan(|c| c.snapshots().revert(&planned, &RevertOptions::new()).map(drop)).unwrap();
    let words = plan.to_string();
    for word in ["LOCK TABLE ONLY", "TRUNCATE TABLE ONLY", "OVERRIDING SYSTEM VALUE", "RESTART WITH 1"] {
        assert!(words.contains(word), "{words}");
    }
    assert_eq!(number(&cluster, "SELECT count(*) FROM a"), 2);
    plan.apply().unwrap();
    assert_eq!(number(&cluster, "SELECT count(*) FROM a"), 1);
    let mut keep = PruneOptions::new();
    keep.keep = Some(1);
    let plan = cluster.plan(|c| c.snapshots().prune(&keep).map(drop)).unwrap();
    assert_eq!(plan.script().len(), 4, "{plan}");
    plan.apply().unwrap();
    assert_eq!(cluster.snapshots().list().unwrap().len(), 1);
}

#[test]
fn old_snapshots_go_and_the_newest_stays() {
    let cluster = fresh();
    run(&cluster, "CREATE TABLE a ()");
    let names: Vec<String> = (0..4).map(|_| take(&cluster, "daily").name).collect();
    let mut options = PruneOptions::new();
    assert!(matches!(cluster.snapshots().prune(&options), Err(Error::Invalid { .. })));
    options.older_than = Some(Duration::from_secs(3600));
    assert!(cluster.snapshots().prune(&options).unwrap().is_empty());
    options.older_than = Some(Duration::ZERO);
    options.keep = Some(2);
    let gone: Vec<String> = cluster.snapshots().prune(&options).unwrap().into_iter().map(|one| one.name).collect();
    assert_eq!(gone, [names[1].clone(), names[0].clone()]);
    options.keep = None;
    cluster.snapshots().prune(&options).unwrap();
    assert_eq!(cluster.snapshots().list().unwrap()[0].name, names[3]);
    run(&cluster, &format!("CREATE VIEW mine AS SELECT * FROM {}.about", sql!("{}", Ident(&names[3]))));
    let error = cluster.snapshots().drop(&names[3]).unwrap_err();
    assert!(error.to_string().contains("mine"), "{error}");
    assert!(cluster.snapshots().get("pgsteward_snapshot_none").unwrap_err().is_not_found());
}

#[test]
fn an_ordinary_owner_can_take_and_revert_and_nobody_else_looks_in() {
    let cluster = fresh();
    let (owner, other) = (unique("owner"), unique("other"));
    let database = cluster.current_database().to_owned();
    run(
        &cluster,
        &format!(
            "CREATE ROLE {owner} LOGIN; CREATE ROLE {other} LOGIN; GRANT CREATE ON DATABASE {database} TO {owner};
            CREATE SCHEMA app AUTHORIZATION {owner}; GRANT USAGE ON SCHEMA app TO {other};
            SET ROLE {owner}; ALTER DEFAULT PRIVILEGES GRANT USAGE ON SCHEMAS TO {other}, PUBLIC;
            ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO {other};
            CREATE TABLE app.a (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, b int);
            CREATE TABLE app.b (id int PRIMARY KEY, a int REFERENCES app.a);
            ALTER TABLE app.a ADD FOREIGN KEY (b) REFERENCES app.b;
            CREATE FUNCTION app.f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'fired'; END $$;
            INSERT INTO app.a (b) VALUES (NULL); INSERT INTO app.b VALUES (1, 1); UPDATE app.a SET b = 1;
            CREATE TRIGGER t BEFORE INSERT OR TRUNCATE ON app.a EXECUTE PROCEDURE app.f(); RESET ROLE"
        ),
    );
    let mine = connect(&database, &owner);
    let mut options = SnapshotOptions::new("mine");
    options.schemas = vec!["app".into()];
    let snapshot = mine.snapshots().take(&options).unwrap();
    assert!(connect(&database, &other).snapshots().list().unwrap().is_empty());
    run(&mine, "UPDATE app.a SET b = NULL; DELETE FROM app.b");
    mine.snapshots().revert(&snapshot.name, &RevertOptions::new()).unwrap();
    assert_eq!(number(&mine, "SELECT count(*) FROM app.a JOIN app.b ON a.b = b.id AND b.a = a.id"), 1);
    // A superuser brings back for others only what they could have written themselves.
    run(&cluster, "ALTER TABLE app.b OWNER TO postgres");
    let error = cluster.snapshots().revert(&snapshot.name, &discard()).unwrap_err();
    assert!(matches!(&error, Error::Denied { reason, .. } if reason.contains("app.b")), "{error}");
    // And reads nothing that is not a plain table.
    run(&cluster, "ALTER TABLE app.b OWNER TO CURRENT_USER");
    let schema = sql!("{}", Ident(&snapshot.name));
    run(&cluster, &format!("DROP TABLE {schema}.\"1\"; CREATE VIEW {schema}.\"1\" AS SELECT 1 AS id, 1 AS b"));
    assert!(matches!(cluster.snapshots().compare(&snapshot.name), Err(Error::Invalid { .. })));
    run(&cluster, &format!("DROP TABLE {schema}.about; CREATE VIEW {schema}.about AS SELECT 1"));
    assert!(cluster.snapshots().get(&snapshot.name).unwrap_err().is_not_found());
}

#[test]
fn an_ordinary_owner_can_revert_partitions_with_triggers() {
    let cluster = fresh();
    let owner = unique("owner");
    let database = cluster.current_database().to_owned();
    run(&cluster, &format!("CREATE ROLE {owner} LOGIN; GRANT CREATE ON DATABASE {database} TO {owner}"));
    let mine = connect(&database, &owner);
    run(
        &mine,
        "CREATE SCHEMA app; CREATE TABLE app.p (k int) PARTITION BY LIST (k); CREATE TABLE app.p1 PARTITION OF app.p FOR VALUES IN (1);
        INSERT INTO app.p VALUES (1);
        CREATE FUNCTION app.f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'fired'; END $$;
        CREATE TRIGGER each AFTER INSERT ON app.p FOR EACH ROW EXECUTE PROCEDURE app.f()",
    );
    let modes = "SELECT string_agg(concat(tgrelid::regclass, tgenabled), ',') FROM pg_trigger WHERE tgname = 'each'";
    let before = text(&mine, modes);
    let snapshot = take(&mine, "");
    run(&mine, "DELETE FROM app.p");
    let result = mine.snapshots().revert(&snapshot.name, &RevertOptions::new());
    if major() == 12 {
        // It takes such a trigger of a partition for one of its own.
        assert!(matches!(result, Err(Error::Denied { .. })));
        return;
    }
    result.unwrap();
    assert_eq!((number(&mine, "SELECT count(*) FROM app.p"), text(&mine, modes)), (1, before));
}

#[test]
fn rows_that_a_policy_hides_are_an_error_and_not_missing() {
    let cluster = fresh();
    let owner = unique("owner");
    let database = cluster.current_database().to_owned();
    run(
        &cluster,
        &format!(
            "CREATE ROLE {owner} LOGIN; GRANT CREATE ON DATABASE {database} TO {owner};
            CREATE SCHEMA app AUTHORIZATION {owner}; CREATE TABLE app.t AS SELECT generate_series(1, 3) AS n;
            ALTER TABLE app.t OWNER TO {owner}; ALTER TABLE app.t ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
            CREATE POLICY p ON app.t USING (n < 2)"
        ),
    );
    let mine = connect(&database, &owner);
    let error = mine.snapshots().take(&SnapshotOptions::new("")).unwrap_err();
    assert!(matches!(error, Error::Denied { .. }), "{error}");
    run(&mine, "ALTER TABLE app.t NO FORCE ROW LEVEL SECURITY");
    let snapshot = mine.snapshots().take(&SnapshotOptions::new("")).unwrap();
    assert_eq!(snapshot.rows(), 3);
    assert_eq!(text(&mine, "SHOW row_security"), "on");
    run(&cluster, "DELETE FROM app.t");
    cluster.transaction(|| cluster.snapshots().revert(&snapshot.name, &discard())).unwrap();
    assert_eq!((number(&cluster, "SELECT count(*) FROM app.t"), text(&cluster, "SHOW row_security")), (3, "on".into()));
}

#[test]
fn a_whole_database_is_copied_and_closed() {
    let cluster = fresh();
    run(&cluster, "CREATE TABLE a AS SELECT 1 AS n");
    let mut options = DatabaseCopyOptions::new();
    options.size_limit = Some(1000);
    let error = cluster.snapshots().copy_database(&options).unwrap_err();
    assert!(error.to_string().contains("the limit is 1000"), "{error}");
    let other = connect(cluster.current_database(), "postgres");
    run(&other, "SET application_name = 'in the way'");
    let error = cluster.snapshots().copy_database(&DatabaseCopyOptions::new()).unwrap_err();
    assert!(matches!(error, Error::InUse { .. }) && error.to_string().contains("\"in the way\""), "{error}");
    drop(other);
    let count = format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{}'", cluster.current_database());
    wait_until("the other session is gone", || number(&cluster, &count) == 1);
    let mut copy = cluster.snapshots().copy_database(&DatabaseCopyOptions::new()).unwrap();
    assert!(copy.name.starts_with("pgsteward_snapshot_") && copy.name.ends_with(cluster.current_database()));
    assert!(!copy.allow_connections && copy.comment.as_ref().unwrap().contains(cluster.current_database()));
    copy.allow_connections = true;
    copy.alter().unwrap();
    assert_eq!(number(&connect(&copy.name, "postgres"), "SELECT n::bigint FROM a"), 1);
    let plan = cluster.plan(|c| c.snapshots().copy_database(&DatabaseCopyOptions::new()).map(drop)).unwrap();
    assert!(plan.to_string().contains("ALLOW_CONNECTIONS false"), "{plan}");
}

#[test]
fn publications_of_all_tables_do_not_send_what_subscribers_have_no_table_for() {
    let cluster = fresh();
    run(
        &cluster,
        "CREATE TABLE a (id serial PRIMARY KEY, b text); INSERT INTO a (b) VALUES ('row of a'); CREATE PUBLICATION everything FOR ALL TABLES",
    );
    let slot = unique("slot");
    run(&cluster, &format!("SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')"));
    let directory = std::env::temp_dir().join(format!("pgsteward-{slot}-{}", std::process::id()));
    let snapshots = cluster.snapshots();
    let snapshot = take(&cluster, "");
    snapshots.revert(&snapshot.name, &RevertOptions::new()).unwrap();
    snapshots.archive(&snapshot.name, &directory, &ArchiveOptions::new()).unwrap();
    let loaded = snapshots.load(&directory).unwrap();
    std::fs::remove_dir_all(&directory).unwrap();
    assert!(snapshots.compare(&loaded.name).unwrap().is_empty());
    let sent = |word: &str| {
        let peek = "pg_logical_slot_peek_binary_changes";
        let word = format!("convert_to('{word}', 'UTF8')");
        number(
            &cluster,
            &format!(
                "SELECT count(*) FROM {peek}('{slot}', NULL, NULL, 'proto_version', '1', 'publication_names', 'everything') \
                WHERE position({word} IN data) > 0"
            ),
        )
    };
    // The revert is sent, and no snapshot.
    let (of_the_table, of_snapshots) = (sent("row of a"), sent("pgsteward_snapshot"));
    run(&cluster, &format!("SELECT pg_drop_replication_slot('{slot}')"));
    assert_eq!((of_the_table, of_snapshots), (1, 0));
    let unlogged = "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace \
        WHERE nspname LIKE 'pgsteward%' AND relpersistence <> 'p'";
    assert_eq!(number(&cluster, unlogged), 0);
}
