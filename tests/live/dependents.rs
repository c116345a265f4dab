//! What a drop with CASCADE takes along.
use crate::support::fresh;
use pgsteward::{Cluster, Depended, Error, Object};
use std::collections::BTreeSet;

/// What the server says depends on an object, when it refuses to drop it.
fn refused<T: Depended>(object: &Object<T>) -> BTreeSet<String> {
    match object.clone().drop() {
        Err(Error::Server { cause, .. }) if cause.code.code() == "2BP01" => {
            let detail = cause.detail.unwrap_or_default();
            detail.lines().filter_map(|line| line.split_once(" depends on ")).map(|(what, _)| what.to_owned()).collect()
        }
        other => panic!("{} was not refused: {other:?}", T::KIND),
    }
}

/// As the server says it.
fn same<T: Depended>(object: Object<T>) {
    let ours: BTreeSet<String> = object.dependents().unwrap().into_iter().collect();
    assert_eq!(ours, refused(&object), "{}", object.key());
}

fn with_objects() -> Cluster {
    let cluster = fresh();
    cluster
        .execute(
            "CREATE SCHEMA app; CREATE SCHEMA other;
             CREATE TABLE app.base (id int PRIMARY KEY, parent int REFERENCES app.base, t text DEFAULT 'x', s serial);
             CREATE INDEX ON app.base (t);
             CREATE TABLE app.line (base int REFERENCES app.base, n int);
             CREATE VIEW app.v AS SELECT id, t FROM app.base;
             CREATE VIEW other.\"v 2\" AS SELECT v.id, l.n FROM app.v JOIN app.line l ON l.base = v.id;
             CREATE MATERIALIZED VIEW other.m AS SELECT * FROM other.\"v 2\";
             CREATE INDEX ON other.m (id);
             CREATE FUNCTION app.f(app.base) RETURNS int LANGUAGE sql AS 'SELECT 1';
             CREATE SEQUENCE app.free;
             CREATE TABLE other.uses (a int DEFAULT nextval('app.free'), b app.base);
             CREATE FUNCTION app.check(int) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT true';
             CREATE TABLE other.checked (a int CHECK (app.check(a)));
             CREATE TABLE app.part (a int) PARTITION BY LIST (a);
             CREATE TABLE other.part1 PARTITION OF app.part FOR VALUES IN (1);
             CREATE VIEW other.of_part AS SELECT * FROM other.part1;
             CREATE TABLE app.kid () INHERITS (app.line);
             CREATE TABLE app.lone ()",
            &[],
        )
        .unwrap();
    cluster
}

#[test]
fn what_depends_on_an_object_is_named_as_the_server_names_it() {
    let cluster = with_objects();
    for name in ["app.base", "app.line", "app.part"] {
        same(cluster.tables().get(name).unwrap());
    }
    same(cluster.views().get("app.v").unwrap());
    same(cluster.views().get("other.\"v 2\"").unwrap());
    same(cluster.sequences().get("app.free").unwrap());
    same(cluster.procedures().get("app.check(int)").unwrap().one().unwrap());
    same(cluster.schemas().get("app").unwrap());
    same(cluster.schemas().get("other").unwrap());
    assert_eq!(cluster.tables().get("app.lone").unwrap().dependents().unwrap(), Vec::<String>::new());
    assert_eq!(cluster.materialized_views().get("other.m").unwrap().dependents().unwrap(), Vec::<String>::new());
}
