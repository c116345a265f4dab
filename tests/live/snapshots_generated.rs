//! Random changes after a snapshot, and a revert: all is as it was.
use crate::support::fresh;
use pgsteward::Cluster;
use pgsteward::snapshot::{CurrentRows, RevertOptions, SnapshotOptions};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// Two tables in a circle, one that refers to itself, partitions, generated columns, identity, triggers, deferred keys.
const TABLES: &str = r#"
CREATE SCHEMA "S p.1"; CREATE SCHEMA log;
CREATE TABLE log.fired (what text);
CREATE FUNCTION log.f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log.fired VALUES (tg_name); RETURN NULL; END $$;
CREATE TABLE "S p.1"."A""a" (id int PRIMARY KEY, b int, up int REFERENCES "S p.1"."A""a", note text DEFAULT 'n',
    twice int GENERATED ALWAYS AS (id * 2) STORED);
CREATE TABLE b (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a int NOT NULL REFERENCES "S p.1"."A""a" ON DELETE CASCADE,
    late int REFERENCES b DEFERRABLE INITIALLY DEFERRED, u int UNIQUE DEFERRABLE INITIALLY DEFERRED);
ALTER TABLE "S p.1"."A""a" ADD FOREIGN KEY (b) REFERENCES b ON DELETE SET NULL;
CREATE TABLE p (id serial, k int CHECK (k > 0), PRIMARY KEY (id, k)) PARTITION BY RANGE (k);
CREATE TABLE p_low PARTITION OF p FOR VALUES FROM (1) TO (5); CREATE TABLE p_rest PARTITION OF p DEFAULT;
CREATE TABLE "Ref" (id int, k int, x numeric, FOREIGN KEY (id, k) REFERENCES p ON UPDATE CASCADE);
CREATE UNLOGGED TABLE plain (x int, j json, t text);
CREATE SEQUENCE apart INCREMENT -3;
CREATE VIEW v AS SELECT * FROM b; GRANT SELECT ON b TO pg_monitor; COMMENT ON TABLE b IS 'a comment';
CREATE POLICY pol ON plain USING (true); CREATE INDEX i ON plain (x); CREATE MATERIALIZED VIEW m AS TABLE plain;
CREATE TRIGGER t AFTER INSERT OR DELETE ON b EXECUTE PROCEDURE log.f(); CREATE TRIGGER tr AFTER TRUNCATE ON plain EXECUTE PROCEDURE log.f();
CREATE TRIGGER al AFTER INSERT ON plain FOR EACH ROW EXECUTE PROCEDURE log.f(); ALTER TABLE plain ENABLE ALWAYS TRIGGER al;
CREATE TRIGGER off AFTER INSERT ON plain FOR EACH ROW EXECUTE PROCEDURE log.f(); ALTER TABLE plain DISABLE TRIGGER off;
CREATE TRIGGER row AFTER INSERT ON p FOR EACH ROW EXECUTE PROCEDURE log.f();
INSERT INTO "S p.1"."A""a" (id) SELECT generate_series(1, 9);
INSERT INTO b (a, u) SELECT n, n FROM generate_series(1, 5) n; UPDATE "S p.1"."A""a" SET b = id WHERE id < 4; UPDATE "S p.1"."A""a" SET up = 10 - id;
INSERT INTO p (k) SELECT generate_series(1, 9); INSERT INTO "Ref" SELECT id, k, 1.50 FROM p WHERE k > 3;
INSERT INTO plain VALUES (1, '{"a": 1}', NULL), (1, '{"a": 1}', NULL), (NULL, NULL, '');
"#;

/// All rows, and what the catalogues say of the tables; nothing that a revert may change.
const STATE: &str = r#"
WITH tables AS (SELECT c.oid, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname IN ('S p.1', 'public', 'log') AND c.relkind IN ('r', 'p', 'v', 'm', 'S'))
SELECT 'rows ' || relname || (xpath('//x/text()', query_to_xml(format('SELECT string_agg(entire::text, %L ORDER BY entire::text COLLATE "C") AS x FROM ONLY %s entire',
    '; ', oid::regclass), false, true, '')))::text FROM tables WHERE (SELECT relkind FROM pg_class WHERE oid = tables.oid) IN ('r', 'm')
UNION ALL SELECT 'sequence ' || relname || (xpath('//x/text()', query_to_xml(format('SELECT concat(last_value, is_called) AS x FROM %s',
    oid::regclass), false, true, '')))::text FROM tables WHERE (SELECT relkind FROM pg_class WHERE oid = tables.oid) = 'S'
UNION ALL SELECT concat_ws(' ', 'relation', c.oid, c.relname, c.relkind, c.relacl, c.relowner, c.relhastriggers, obj_description(c.oid)) FROM pg_class c JOIN tables USING (oid)
UNION ALL SELECT concat_ws(' ', 'trigger', t.oid, t.tgrelid, t.tgname, t.tgenabled) FROM pg_trigger t JOIN tables ON tables.oid = t.tgrelid
UNION ALL SELECT concat_ws(' ', 'constraint', k.oid, k.conname, k.convalidated, k.condeferrable, k.condeferred, pg_get_constraintdef(k.oid)) FROM pg_constraint k JOIN tables ON tables.oid = k.conrelid
UNION ALL SELECT concat_ws(' ', 'policy', p.oid, p.polname) FROM pg_policy p
UNION ALL SELECT concat_ws(' ', 'index', i.indexrelid, i.indisvalid) FROM pg_index i JOIN tables ON tables.oid = i.indrelid
ORDER BY 1"#;

/// Adds every foreign key a second time, which has the server look at all rows, and undoes that.
const CHECK: &str = r#"
BEGIN;
DO $$ DECLARE k record; BEGIN
    FOR k IN SELECT conrelid::regclass AS t, pg_get_constraintdef(oid) AS d FROM pg_constraint
        WHERE contype IN ('f', 'c') AND conparentid = 0 AND conrelid <> 0 LOOP
        EXECUTE format('ALTER TABLE %s ADD CONSTRAINT again %s', k.t, k.d);
        EXECUTE format('ALTER TABLE %s RENAME CONSTRAINT again TO %I', k.t, 'again' || random());
    END LOOP; END $$;
ROLLBACK"#;

fn state(cluster: &Cluster) -> Vec<String> {
    cluster.execute(STATE, &[]).unwrap().iter().map(|row| row.get(0)).collect()
}

/// The same without what writes itself, or is not in the snapshot.
fn of_tables(state: &[String]) -> Vec<String> {
    let apart = |line: &&String| !line.starts_with("rows fired") && !line.starts_with("rows m");
    state.iter().filter(apart).cloned().collect()
}

fn change() -> impl Strategy<Value = String> {
    let n = || 0..14_i32;
    prop_oneof![
        3 => (n(), n()).prop_map(|(a, b)| format!("INSERT INTO \"S p.1\".\"A\"\"a\" (id, b) VALUES ({a}, {b})")),
        3 => (n(), n()).prop_map(|(a, u)| format!("INSERT INTO b (a, late, u) VALUES ({a}, {u}, {u})")),
        2 => (n(), n()).prop_map(|(a, b)| format!("UPDATE \"S p.1\".\"A\"\"a\" SET up = {a}, note = NULL WHERE id = {b}")),
        2 => (n(), n()).prop_map(|(a, b)| format!("UPDATE b SET u = {a}, a = {a} WHERE id = {b}")),
        1 => n().prop_map(|a| format!("DELETE FROM b WHERE id = {a}")),
        1 => n().prop_map(|a| format!("DELETE FROM \"S p.1\".\"A\"\"a\" WHERE id = {a}")),
        2 => n().prop_map(|k| format!("INSERT INTO p (k) VALUES ({k})")),
        1 => (n(), n()).prop_map(|(a, b)| format!("UPDATE p SET k = {a} WHERE id = {b}")),
        1 => n().prop_map(|k| format!("DELETE FROM p WHERE k = {k}")),
        1 => (n(), n()).prop_map(|(a, b)| format!("INSERT INTO \"Ref\" VALUES ({a}, {b}, 0.{b})")),
        2 => n().prop_map(|n| format!("INSERT INTO plain VALUES ({n}, '[{n}]', 'x')")),
        1 => n().prop_map(|n| format!("UPDATE plain SET x = {n}")),
        1 => n().prop_map(|n| format!("SELECT setval('apart', -{n} - 1, {})", n % 2 == 0)),
        1 => Just("SELECT nextval('p_id_seq'), nextval('apart')".to_owned()),
        1 => prop::sample::select(vec!["plain", "p", "b", "\"Ref\""])
            .prop_map(|table| format!("TRUNCATE {table} RESTART IDENTITY CASCADE")),
        1 => Just("ALTER TABLE plain DISABLE TRIGGER al; ALTER TABLE plain ENABLE ALWAYS TRIGGER al".to_owned()),
    ]
}

#[test]
fn p082_after_a_revert_all_is_as_it_was_whatever_was_changed() {
    let cluster = fresh();
    cluster.execute(TABLES, &[]).unwrap();
    let mut options = SnapshotOptions::new("random");
    options.schemas = vec!["S p.1".into(), "public".into()];
    let mut discard = RevertOptions::new();
    discard.current_rows = CurrentRows::Discard;
    let mut runner = TestRunner::new(Config { cases: 40, failure_persistence: None, ..Config::default() });
    let changes = (prop::collection::vec(change(), 0..12), prop::collection::vec(change(), 0..12));
    let result = runner.run(&changes, |(before, after)| {
        let apply = |changes: &[String]| changes.iter().filter(|sql| cluster.execute(sql, &[]).is_ok()).count();
        apply(&before);
        let then = state(&cluster);
        let snapshot = cluster.snapshots().take(&options).unwrap();
        prop_assert_eq!(&state(&cluster), &then);
        apply(&after);
        let changed = state(&cluster);
        let difference = cluster.snapshots().compare(&snapshot.name).unwrap();
        prop_assert_eq!(difference.is_empty(), of_tables(&changed) == of_tables(&then), "{:?}", difference);

        let report = cluster.snapshots().revert(&snapshot.name, &RevertOptions::new()).unwrap();
        prop_assert_eq!(of_tables(&state(&cluster)), of_tables(&then));
        prop_assert!(cluster.snapshots().compare(&snapshot.name).unwrap().is_empty());
        cluster.execute(CHECK, &[]).unwrap();
        // Nothing fired: what only triggers write is as it was.
        let fired =
            |state: &[String]| state.iter().filter(|line| line.starts_with("rows fired")).cloned().collect::<Vec<_>>();
        prop_assert_eq!(fired(&state(&cluster)), fired(&changed));

        let kept = report.kept.unwrap();
        cluster.snapshots().revert(&kept, &discard).unwrap();
        prop_assert_eq!(state(&cluster), changed);
        cluster.snapshots().drop(&kept).unwrap();
        cluster.snapshots().drop(&snapshot.name).unwrap();
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}
