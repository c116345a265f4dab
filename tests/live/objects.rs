//! Objects and collections.
use crate::support::fresh;
use pgsteward::{Column, Constraint, Error, Index, Name, Schema, Table, sql};

#[test]
fn p020_fields_change_locally_until_alter_and_the_last_assignment_wins() {
    let cluster = fresh();
    let mut schema = cluster.schemas().create(Schema::new("app")).unwrap();
    schema.comment = Some("first".into());
    schema.comment = Some("second".into());
    assert!(cluster.schemas().get("app").unwrap().comment.is_none());
    assert_eq!(schema.changes().to_string(), "COMMENT ON SCHEMA \"app\" IS 'second';\n");
    schema.alter().unwrap();
    assert_eq!(cluster.schemas().get("app").unwrap().comment.as_deref(), Some("second"));
}

#[test]
fn p022_renamed_twice_and_dropped_through_one_object() {
    let cluster = fresh();
    let mut table = cluster.tables().create(Table::new("a")).unwrap();
    for name in ["b", "c"] {
        table.name = name.into();
        table.alter().unwrap();
    }
    table.drop().unwrap();
    assert_eq!(cluster.tables().len().unwrap(), 0);
}

#[test]
fn p025_collections_keep_up_with_what_is_done_through_them() {
    let cluster = fresh();
    assert_eq!(cluster.tables().len().unwrap(), 0);
    let mut table = cluster.tables().create(Table::new("a")).unwrap();
    assert!(cluster.tables().contains("a").unwrap());
    table.name = "b".into();
    table.alter().unwrap();
    assert!(!cluster.tables().contains("a").unwrap() && cluster.tables().contains("b").unwrap());
    cluster.tables().create(Table::new("a")).unwrap();
    assert_eq!(cluster.tables().names().unwrap(), [Name::from("a"), Name::from("b")]);
    // A schema's new name is seen in its tables.
    let mut schema = cluster.schemas().get("public").unwrap();
    schema.name = "renamed".into();
    schema.alter().unwrap();
    assert_eq!(cluster.tables().names().unwrap()[0], Name::from("renamed.a"));
    schema.drop_cascade().unwrap();
    assert!(cluster.tables().is_empty().unwrap());
}

#[test]
fn p026_names_with_dots_are_not_cut() {
    let cluster = fresh();
    cluster.schemas().create(Schema::new("d")).unwrap();
    cluster.tables().create(Table::new("\"d.e\"")).unwrap();
    assert!(matches!(cluster.tables().get("d.e"), Err(Error::NotFound { .. })));
    cluster.tables().create(Table::new("d.e")).unwrap();
    assert_eq!(cluster.tables().get("d.e").unwrap().schema, "d");
    assert_eq!(cluster.tables().get("\"d.e\"").unwrap().schema, "public");
    assert_eq!(cluster.tables().get(("public", "d.e")).unwrap().name, "d.e");
}

#[test]
fn p027_system_objects_are_left_out_unless_asked_for_and_no_table_is_forgotten() {
    let cluster = fresh();
    cluster
        .execute(
            "CREATE TABLE plain (a int); CREATE TABLE parted (a int) PARTITION BY RANGE (a); \
             CREATE TABLE part PARTITION OF parted FOR VALUES FROM (1) TO (2); \
             CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w; CREATE FOREIGN TABLE far (a int) SERVER s",
            &[],
        )
        .unwrap();
    let names = cluster.tables().names().unwrap();
    assert_eq!(names, ["far", "part", "parted", "plain"].map(Name::from));
    assert!(cluster.tables().with_system().contains("pg_catalog.pg_class").unwrap());
    assert!(cluster.tables().with_system().len().unwrap() > 60);
    assert!(!cluster.schemas().contains("information_schema").unwrap());
    assert!(cluster.schemas().with_system().names().unwrap().contains(&"pg_catalog".to_owned()));
    assert!(!cluster.roles().names().unwrap().iter().any(|name| name.starts_with("pg_")));
    for name in ["far", "parted"] {
        let mut table = cluster.tables().get(name).unwrap();
        table.comment = Some("x".into());
        table.name = format!("{name}2");
        table.alter().unwrap();
        assert!(matches!(table.script(), Err(Error::Unsupported { .. })), "{name}");
        table.drop_cascade().unwrap();
    }
}

#[test]
fn p028_refresh_reverts_and_finds_what_is_gone() {
    let cluster = fresh();
    let mut table = cluster.tables().create(Table::new("a")).unwrap();
    table.comment = Some("x".into());
    table.refresh().unwrap();
    assert!(table.comment.is_none() && !table.is_changed());
    cluster.execute("DROP TABLE a", &[]).unwrap();
    assert!(matches!(table.refresh(), Err(Error::NotFound { .. })));
    assert!(!cluster.tables().contains("a").unwrap());
}

#[test]
fn p037_p038_p021_a_table_is_moved_renamed_and_given_away_in_one_alter() {
    let cluster = fresh();
    let role = cluster.roles().create(pgsteward::Role::new(crate::support::unique("r"))).unwrap();
    cluster.schemas().create(Schema::new("app")).unwrap();
    cluster.execute("CREATE TABLE a (id int); CREATE VIEW v AS SELECT * FROM a", &[]).unwrap();
    let mut table = cluster.tables().get("a").unwrap();
    (table.schema, table.name, table.owner) = ("app".into(), "b".into(), role.name.clone());
    table.row_security = true;
    table.alter().unwrap();
    assert_eq!(cluster.tables().get("app.b").unwrap().owner, role.name);
    assert_eq!(table.clone().drop().unwrap_err().code().unwrap().code(), "2BP01");
    table.drop_cascade().unwrap();
}

#[test]
fn a_copy_of_what_was_read_in_part_is_refused() {
    let cluster = fresh();
    cluster.execute("CREATE TABLE t (id int); CREATE VIEW v AS SELECT 1 AS a", &[]).unwrap();
    let mut table = cluster.tables().get("t").unwrap().to_value();
    table.name = "copy".into();
    assert!(matches!(cluster.tables().create(table), Err(Error::Invalid { .. })));
    let object = cluster.tables().get("t").unwrap();
    object.definition().unwrap();
    let mut table = object.to_value();
    table.name = "copy".into();
    assert_eq!(cluster.tables().create(table).unwrap().definition().unwrap().columns.len(), 1);
    let mut view = cluster.views().get("v").unwrap().to_value();
    view.name = "copy2".into();
    assert!(matches!(cluster.views().create(view), Err(Error::Invalid { .. })));
}

#[test]
fn columns_are_renamed_round_in_a_circle() {
    let cluster = fresh();
    cluster.execute("CREATE TABLE t (a int, b text, c date)", &[]).unwrap();
    let mut table = cluster.tables().get("t").unwrap();
    for (column, name) in table.definition_mut().unwrap().columns.iter_mut().zip(["b", "c", "a"]) {
        column.name = name.into();
    }
    table.alter().unwrap();
    let names: Vec<_> =
        table.definition().unwrap().columns.iter().map(|c| format!("{} {}", c.name, c.data_type)).collect();
    assert_eq!(names, ["b integer", "c text", "a date"]);
}

#[test]
fn a_definition_changes_in_the_fewest_statements() {
    let cluster = fresh();
    cluster
        .execute(
            "CREATE TABLE t (a int, b int); ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NOT VALID; CREATE INDEX i ON t (b) WHERE a > 1",
            &[],
        )
        .unwrap();
    let mut table = cluster.tables().get("t").unwrap();
    let definition = table.definition_mut().unwrap();
    let index = definition.indexes.get("i").unwrap();
    assert_eq!(index.definition.to_string(), "btree (b) WHERE (a > 1)");
    definition.columns.get_mut("a").unwrap().data_type = "bigint".into();
    definition.columns.push(Column::new("d", "date"));
    definition.constraints.get_mut("c").unwrap().definition = sql!("CHECK ((a > 0))");
    definition.constraints.push(Constraint::new("u", sql!("UNIQUE (b)")));
    definition.indexes.push(Index::new("j", sql!("btree (d)")));
    table.row_security = true;
    let changes: Vec<_> = table.changes().statements().map(ToString::to_string).collect();
    assert_eq!(
        changes,
        [
            "ALTER TABLE \"public\".\"t\" ALTER COLUMN \"a\" TYPE bigint, ADD COLUMN \"d\" date, \
         VALIDATE CONSTRAINT \"c\", ADD CONSTRAINT \"u\" UNIQUE (b)",
            "CREATE INDEX \"j\" ON \"public\".\"t\" USING btree (d)",
            "ALTER TABLE \"public\".\"t\" ENABLE ROW LEVEL SECURITY",
        ]
    );
    table.alter().unwrap();
    assert!(table.changes().is_empty());
    assert_eq!(table.definition().unwrap().constraints.len(), 2);
}

#[test]
fn a_script_names_what_it_would_leave_out() {
    let cluster = fresh();
    for (sql, what) in [
        ("GRANT SELECT ON t TO PUBLIC", "privileges"),
        ("CREATE POLICY p ON t", "policy p"),
        ("CREATE RULE r AS ON INSERT TO t DO NOTHING", "rule r"),
        ("CREATE TABLE child () INHERITS (t)", "children"),
        ("ALTER TABLE t ALTER a SET STATISTICS 5", "settings of column a"),
        ("CREATE STATISTICS s ON a, b FROM t", "statistics s"),
        ("CLUSTER t USING i", "state of index i"),
    ] {
        cluster.execute("CREATE TABLE t (a int, b int); CREATE INDEX i ON t (a)", &[]).unwrap();
        assert!(cluster.tables().get("t").unwrap().script().is_ok());
        cluster.execute(sql, &[]).unwrap();
        let error = cluster.tables().get("t").unwrap().script().unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
        cluster.execute("DROP TABLE t CASCADE", &[]).unwrap();
    }
}

#[test]
fn what_goes_along_is_seen() {
    let cluster = fresh();
    let role = cluster.roles().create(pgsteward::Role::new(crate::support::unique("r"))).unwrap();
    cluster
        .execute(
            "CREATE VIEW v1 AS SELECT 1 AS a; CREATE VIEW v2 AS SELECT * FROM v1; \
             CREATE TABLE par (a int) PARTITION BY RANGE (a); CREATE TABLE par1 PARTITION OF par DEFAULT; \
             CREATE TABLE t (id serial)",
            &[],
        )
        .unwrap();
    assert_eq!((cluster.views().len().unwrap(), cluster.tables().len().unwrap()), (2, 3));
    let mut sequences: Vec<_> = cluster.sequences().iter().unwrap().collect();
    cluster.views().get("v1").unwrap().drop_cascade().unwrap();
    assert!(!cluster.views().contains("v2").unwrap());
    assert_eq!(cluster.tables().len().unwrap(), 3);
    cluster.tables().get("par").unwrap().drop().unwrap();
    assert!(!cluster.tables().contains("par1").unwrap());
    let mut table = cluster.tables().get("t").unwrap();
    table.owner = role.name.clone();
    table.alter().unwrap();
    assert_eq!(cluster.sequences().get("t_id_seq").unwrap().owner, role.name);
    sequences.iter_mut().for_each(|sequence| sequence.refresh().unwrap());
    cluster.reassign_owner(&mut sequences, &role.name).unwrap();
    table.definition_mut().unwrap().columns.remove("id");
    table.alter().unwrap();
    assert!(cluster.sequences().is_empty().unwrap());
}

#[test]
fn a_system_object_is_not_said_to_be_missing() {
    let error = fresh().roles().get("pg_monitor").unwrap_err();
    assert!(matches!(&error, Error::NotFound { what } if what.contains("with_system")), "{error}");
}
