//! What tables are made of, and how one definition becomes another.
use crate::support::{connect, fresh, major, server, statements, unique};
use pgsteward::{
    Cluster, Column, Constraint, DataType, Error, Ident, Identity, Index, MaterializedView, Object, Parts, Storage,
    Table, sql,
};

fn with_table(create: &str) -> (Cluster, Object<Table>) {
    let cluster = fresh();
    cluster.execute(create, &[]).unwrap();
    let table = cluster.tables().get("t").unwrap();
    (cluster, table)
}

fn names(table: &Object<Table>) -> Vec<String> {
    table.definition().unwrap().columns.iter().map(|column| column.name.clone()).collect()
}

#[test]
fn a_plan_changes_what_it_added() {
    let (cluster, _) = with_table("CREATE TABLE t (a int)");
    let plan = cluster
        .plan(|c| {
            let mut table = c.tables().get("t")?;
            let definition = table.definition_mut()?;
            let mut column = Column::new("n", "text");
            column.storage = Some(Storage::External);
            column.default = Some(sql!("'a' || 'b'"));
            definition.columns.push(column);
            definition.columns.push(Column::new("gone", "text"));
            definition.constraints.push(Constraint::new("k", sql!("CHECK (a > 0)")));
            definition.indexes.push(Index::new("i", sql!("btree (a)")));
            table.alter()?;
            let definition = table.definition_mut()?;
            let column = definition.columns.get_mut("n").unwrap();
            (column.not_null, column.default) = (true, None);
            definition.columns.remove("gone");
            definition.constraints.get_mut("k").unwrap().comment = Some("c".into());
            definition.indexes.get_mut("i").unwrap().comment = Some("c".into());
            table.alter()
        })
        .unwrap();
    let script = statements(&plan.script());
    assert_eq!(
        script[script.len() - 3..],
        [
            "ALTER TABLE \"public\".\"t\" DROP COLUMN \"gone\", ALTER COLUMN \"n\" DROP DEFAULT, ALTER COLUMN \"n\" SET NOT NULL",
            "COMMENT ON CONSTRAINT \"k\" ON \"public\".\"t\" IS 'c'",
            "COMMENT ON INDEX \"public\".\"i\" IS 'c'",
        ][..],
        "{plan}"
    );
    plan.apply().unwrap();
    cluster.refresh();
    assert_eq!(names(&cluster.tables().get("t").unwrap()), ["a", "n"]);
}

#[test]
fn a_plan_does_not_guess_what_became_of_what_it_added() {
    let (cluster, _) = with_table("CREATE TABLE t (a int)");
    let plan = cluster
        .plan(|c| {
            let mut table = c.tables().get("t")?;
            table.definition_mut()?.columns.push(Column::new("n", "int"));
            table.alter()?;
            table.definition_mut()?.columns.get_mut("n").unwrap().name = "renamed".into();
            let refused = table.alter().unwrap_err();
            assert!(matches!(&refused, Error::Invalid { why, .. } if why.contains("apply the plan")), "{refused}");
            table.revert();
            // What was there before has its identity, in a plan too.
            table.definition_mut()?.columns.get_mut("a").unwrap().name = "b".into();
            table.alter()
        })
        .unwrap();
    plan.apply().unwrap();
    cluster.refresh();
    assert_eq!(names(&cluster.tables().get("t").unwrap()), ["b", "n"]);
}

#[test]
fn a_copy_of_a_part_is_a_new_part() {
    let (cluster, mut table) = with_table(
        "CREATE TABLE t (a int, b date); CREATE INDEX i ON t (a); \
         CREATE TABLE other (x text, y text CONSTRAINT named NOT NULL, CONSTRAINT k CHECK (x > ''));",
    );
    let other = cluster.tables().get("other").unwrap().definition().unwrap();
    let definition = table.definition_mut().unwrap();
    definition.columns.push(other.columns.get("y").unwrap().clone());
    let mut again = definition.columns.get("b").unwrap().clone();
    again.name = "b2".into();
    definition.columns.push(again.clone());
    again.name = "b3".into();
    definition.columns.extend([again]);
    let mut index = definition.indexes.get("i").unwrap().clone();
    index.name = "j".into();
    definition.indexes.push(index);
    assert_eq!(
        statements(&table.changes()),
        [
            "ALTER TABLE \"public\".\"t\" ADD COLUMN \"y\" text NOT NULL, ADD COLUMN \"b2\" date, ADD COLUMN \"b3\" date",
            "CREATE INDEX \"j\" ON \"public\".\"t\" USING btree (a)",
        ]
    );
    table.alter().unwrap();
    assert_eq!(names(&table), ["a", "b", "y", "b2", "b3"]);
}

#[test]
fn a_part_put_in_the_place_of_another_is_that_part_once_only() {
    let (_, mut table) = with_table("CREATE TABLE t (a int, b text)");
    let columns = &mut table.definition_mut().unwrap().columns;
    let mut copy = columns[1].clone();
    copy.name = "c".into();
    columns[0] = copy;
    assert_eq!(statements(&table.changes()), ["ALTER TABLE \"public\".\"t\" DROP COLUMN \"a\", ADD COLUMN \"c\" text"]);
    table.alter().unwrap();
    assert_eq!(names(&table), ["b", "c"]);
}

#[test]
fn the_definition_of_another_table_has_no_part_of_this_one() {
    let (cluster, mut table) = with_table("CREATE TABLE t (a int, kept text); CREATE TABLE other (x date, kept int)");
    let other = cluster.tables().get("other").unwrap().definition().unwrap();
    *table.definition_mut().unwrap() = (*other).clone();
    assert_eq!(
        statements(&table.changes()),
        [
            "ALTER TABLE \"public\".\"t\" DROP COLUMN \"a\", DROP COLUMN \"kept\", ADD COLUMN \"x\" date, ADD COLUMN \"kept\" integer"
        ]
    );
    table.alter().unwrap();
    assert_eq!(names(&table), ["x", "kept"]);
    // A list made of a list's own parts is the same list.
    let columns = &mut table.definition_mut().unwrap().columns;
    *columns = std::mem::take(columns).into_iter().rev().collect::<Parts<_>>();
    assert!(!table.is_changed(), "{}", table.changes());
    let copies = cluster.tables().get("other").unwrap().definition().unwrap();
    assert_eq!(copies.columns, cluster.tables().get("t").unwrap().definition().unwrap().columns);
}

#[test]
fn a_script_names_the_settings_that_it_would_leave_out() {
    let cluster = fresh();
    let identity = "settings of identity column id";
    let mut cases = vec![
        ("CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY (START 5))", identity),
        ("CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY (INCREMENT 2))", identity),
        ("CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY (MINVALUE 0 START 1))", identity),
        ("CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY (MAXVALUE 100))", identity),
        ("CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY (CACHE 10))", identity),
        ("CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY (CYCLE))", identity),
        ("CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY (SEQUENCE NAME public.mine))", identity),
        ("CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY); COMMENT ON SEQUENCE t_id_seq IS 'x'", identity),
        ("CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY); GRANT USAGE ON SEQUENCE t_id_seq TO PUBLIC", identity),
        (
            "CREATE TABLE t (a int); CREATE INDEX i ON t ((a + 1)); ALTER INDEX i ALTER 1 SET STATISTICS 7",
            "settings of index i",
        ),
        (
            "CREATE TABLE t (a int CONSTRAINT k PRIMARY KEY); COMMENT ON INDEX k IS 'x'",
            "comment on the index of constraint k",
        ),
    ];
    if major() >= 15 {
        cases.push((
            "CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY); ALTER SEQUENCE t_id_seq SET UNLOGGED",
            identity,
        ));
    }
    if major() >= 18 {
        cases.extend([
            ("CREATE TABLE t (a int NOT NULL NO INHERIT)", "not null of column a"),
            ("CREATE TABLE t (a int); ALTER TABLE t ADD CONSTRAINT n NOT NULL a NOT VALID", "not null of column a"),
            (
                "CREATE TABLE t (a int CONSTRAINT n NOT NULL); COMMENT ON CONSTRAINT n ON t IS 'x'",
                "not null of column a",
            ),
        ]);
    }
    for (sql, what) in cases {
        cluster.execute(sql, &[]).unwrap();
        let error = cluster.tables().get("t").unwrap().script().unwrap_err().to_string();
        assert!(error.contains(what), "{sql}: {error}");
        cluster.execute("DROP TABLE t", &[]).unwrap();
    }
}

#[test]
fn a_script_says_all_of_what_is_plain() {
    let cluster = fresh();
    for sql in [
        "CREATE TABLE t (a smallint GENERATED ALWAYS AS IDENTITY, b int GENERATED BY DEFAULT AS IDENTITY, \
         c bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, gone int GENERATED ALWAYS AS IDENTITY); ALTER TABLE t DROP gone",
        "CREATE TABLE t_id_seq (); CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY)",
        "CREATE UNLOGGED TABLE t (id int GENERATED ALWAYS AS IDENTITY)",
        "CREATE TABLE first (id int GENERATED ALWAYS AS IDENTITY); ALTER TABLE first ALTER id TYPE bigint; \
         ALTER TABLE first RENAME id TO n; ALTER TABLE first RENAME TO t",
        "CREATE TABLE t (a int NOT NULL, b point, EXCLUDE USING gist (b WITH ~=)); CREATE INDEX i ON t (a) WHERE a > 0",
    ] {
        cluster.execute(sql, &[]).unwrap();
        cluster.tables().get("t").unwrap().script().unwrap();
        cluster.execute("DROP TABLE t", &[]).unwrap();
    }
    if major() >= 13 {
        cluster
            .execute("CREATE TABLE t (a tsvector); CREATE INDEX i ON t USING gist (a tsvector_ops(siglen = 100))", &[])
            .unwrap();
        assert!(cluster.tables().get("t").unwrap().script().unwrap().to_string().contains("siglen"));
    }
}

#[test]
fn temporary_tables_are_left_out_and_read_all_the_same() {
    let cluster = fresh();
    let theirs = connect(cluster.current_database(), "postgres");
    for session in [&cluster, &theirs] {
        session.execute("CREATE TABLE IF NOT EXISTS lasting (a int)", &[]).unwrap();
        session
            .execute(
                "CREATE TEMP TABLE t (a int); CREATE UNIQUE INDEX i ON t (a) WHERE a > 1; CREATE TEMP VIEW v AS SELECT 1 AS a; \
                 CREATE TEMP SEQUENCE s",
                &[],
            )
            .unwrap();
    }
    cluster.refresh();
    let listed: Vec<_> = cluster.tables().names().unwrap().iter().map(|name| name.name.clone()).collect();
    assert_eq!(listed, ["lasting"]);
    assert!(cluster.views().is_empty().unwrap() && cluster.sequences().is_empty().unwrap());
    cluster.tables().load_definitions().unwrap();
    let all = cluster.tables().with_system();
    all.load_definitions().unwrap();
    let temporary: Vec<_> = all.iter().unwrap().filter(|table| table.schema.starts_with("pg_temp_")).collect();
    assert_eq!(temporary.len(), 2);
    for table in temporary {
        let definition = table.definition().unwrap();
        let index = definition.indexes.get("i").unwrap();
        assert_eq!(index.definition.to_string(), "btree (a) WHERE (a > 1)");
        assert!(all.contains(table.key()).unwrap());
    }
}

#[test]
fn a_type_goes_with_its_default_and_its_identity() {
    let (_, mut table) = with_table(
        "CREATE TABLE t (a text DEFAULT 'x', b int GENERATED ALWAYS AS IDENTITY, c text DEFAULT '5' NOT NULL, \
         d int GENERATED ALWAYS AS IDENTITY, e int DEFAULT 3 NOT NULL, f text DEFAULT 'y'); \
         ALTER TABLE t ALTER a SET STORAGE EXTERNAL; INSERT INTO t VALUES (DEFAULT)",
    );
    let columns = &mut table.definition_mut().unwrap().columns;
    let mut to = |name: &str, data_type: &str, default: Option<&'static str>, identity| {
        let column = columns.get_mut(name).unwrap();
        (column.data_type, column.identity) = (data_type.into(), identity);
        column.default = default.map(pgsteward::Sql::trusted);
        column.using = (!data_type.contains("char")).then(|| sql!("7"));
    };
    to("a", "varchar(9)", Some("'z'::character varying"), None);
    to("b", "varchar(9)", Some("'none'::character varying"), None);
    to("c", "bigint", None, Some(Identity::Always));
    to("d", "integer", Some("9"), None);
    to("e", "integer", None, Some(Identity::ByDefault));
    to("f", "integer", Some("0"), None);
    let wanted = table.to_value().definition().unwrap().columns.clone();
    table.alter().unwrap();
    let now = table.definition().unwrap();
    for (wanted, now) in wanted.iter().zip(now.columns.iter()) {
        assert_eq!(
            (&wanted.default, wanted.identity, wanted.storage),
            (&now.default, now.identity, now.storage),
            "{now:?}"
        );
    }
    assert_eq!(now.columns[0].data_type, DataType::from("character varying(9)"));
    assert_eq!(now.columns[2].data_type, DataType::from("bigint"));
}

#[test]
fn a_type_under_another_name_is_no_change() {
    let (cluster, mut table) = with_table(
        "CREATE TABLE t (a int, b numeric(10,2), c varchar(3)[], d timestamptz(3), e float(3), f char, g bpchar, h varbit)",
    );
    let columns = &mut table.definition_mut().unwrap().columns;
    let types = ["int4", "decimal(10, 2)", "VARCHAR(3) ARRAY", "timestamptz(3)", "float4", "char", "bpchar", "varbit"];
    for (column, data_type) in columns.iter_mut().zip(types) {
        column.data_type = data_type.into();
    }
    assert!(!table.is_changed(), "{}", table.changes());
    let column = table.definition_mut().unwrap().columns.get_mut("a").unwrap();
    (column.data_type, column.not_null) = ("int".into(), true);
    assert_eq!(statements(&table.changes()), ["ALTER TABLE \"public\".\"t\" ALTER COLUMN \"a\" SET NOT NULL"]);
    table.alter().unwrap();
    assert_eq!(table.definition().unwrap().columns[0].data_type.to_string(), "integer");
    if major() >= 15 {
        cluster.execute("CREATE TABLE n (a numeric(5,-2))", &[]).unwrap();
        let copy = cluster.tables().get("n").unwrap().script().unwrap();
        cluster.execute("DROP TABLE n", &[]).unwrap();
        cluster.run(&copy).unwrap();
    }
}

#[test]
fn none_is_the_tablespace_of_the_database() {
    let (home, other) = (unique("home"), unique("other"));
    let maintenance = Cluster::connect(&server().dsn()).unwrap();
    for name in [&home, &other] {
        let directory = server().data_directory().parent().unwrap().join(name);
        make_directory(&directory);
        let location = directory.display().to_string();
        let create = sql!("CREATE TABLESPACE {} LOCATION {}", Ident(name), pgsteward::Lit(&location));
        maintenance.execute(&create.to_string(), &[]).unwrap();
    }
    let database = unique("db");
    let create = sql!("CREATE DATABASE {} TEMPLATE template0 TABLESPACE {}", Ident(&database), Ident(&home));
    maintenance.execute(&create.to_string(), &[]).unwrap();
    let cluster = connect(&database, "postgres");
    let mut table = Table::new("t");
    table.tablespace = Some(other.clone());
    table.definition_mut().columns.push(Column::new("a", "int"));
    let mut index = Index::new("i", sql!("btree (a)"));
    index.tablespace = Some(other.clone());
    table.definition_mut().indexes.push(index.clone());
    let mut table = cluster.tables().create(table).unwrap();
    table.tablespace = None;
    table.definition_mut().unwrap().indexes.get_mut("i").unwrap().tablespace = None;
    table.alter().unwrap();
    assert_eq!(table.tablespace, None);
    assert_eq!(table.definition().unwrap().indexes[0].tablespace, None);
    let mut view = MaterializedView::new("m", sql!("SELECT 1 AS a"));
    view.tablespace = Some(other);
    let mut view = cluster.materialized_views().create(view).unwrap();
    view.tablespace = None;
    view.alter().unwrap();
    assert_eq!(view.tablespace, None);
}

/// Owned by whom the server runs as.
fn make_directory(directory: &std::path::Path) {
    let like = server().data_directory().join("pg_twophase");
    assert!(std::process::Command::new("cp").arg("-a").arg(like).arg(directory).status().unwrap().success());
}
