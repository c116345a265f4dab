//! What a drop with CASCADE takes along.
use crate::support::fresh;
use pgsteward::{Cluster, Depended, Error, Object, Sequence};
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

/// What is named is what the server names when it refuses; where nothing is, it does not refuse.
fn agree<T: Depended>(cluster: &Cluster, objects: impl Iterator<Item = Object<T>>) {
    for object in objects {
        let ours: BTreeSet<String> = object.dependents().unwrap().into_iter().collect();
        let undone = cluster.transaction(|| {
            match ours.is_empty() {
                true => object.clone().drop().unwrap_or_else(|error| panic!("{error}")),
                false => assert_eq!(ours, refused(&object), "{}", object.key()),
            }
            Err::<(), _>(Error::NotFound { what: "a reason to stay".into() })
        });
        undone.unwrap_err();
    }
}

#[test]
fn what_depends_on_each_of_many_sorts_of_objects_is_named_as_the_server_names_it() {
    let cluster = with_objects();
    let more = "
        CREATE SCHEMA third;
        CREATE TYPE third.pair AS (a int, b int);
        CREATE TABLE third.typed OF third.pair;
        CREATE TABLE third.ruled (a int GENERATED ALWAYS AS IDENTITY, b int GENERATED ALWAYS AS (1) STORED);
        CREATE RULE also AS ON INSERT TO third.ruled DO ALSO INSERT INTO app.lone DEFAULT VALUES;
        CREATE POLICY p ON third.ruled USING (EXISTS (SELECT FROM third.typed));
        CREATE FUNCTION third.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
        CREATE TRIGGER t BEFORE INSERT ON third.ruled FOR EACH ROW EXECUTE FUNCTION third.f();
        CREATE STATISTICS third.s ON a, b FROM third.ruled;
        CREATE PUBLICATION listed FOR TABLE third.ruled;
        CREATE DOMAIN third.few AS int CHECK (app.check(value));
        CREATE TABLE app.limited (a third.few, b third.pair);
        CREATE AGGREGATE third.sum_of (int) (SFUNC = int4pl, STYPE = int)";
    cluster.execute(more, &[]).unwrap();
    let other = fresh();
    other.execute(include_str!("../data/many_sorts.sql"), &[]).unwrap();
    for cluster in [cluster, other] {
        cluster.refresh();
        agree(&cluster, cluster.tables().iter().unwrap());
        agree(&cluster, cluster.views().iter().unwrap());
        agree(&cluster, cluster.materialized_views().iter().unwrap());
        let free = |sequence: &Object<Sequence>| sequence.owned_by.is_none();
        agree(&cluster, cluster.sequences().iter().unwrap().filter(free));
        agree(&cluster, cluster.procedures().iter().unwrap());
        agree(&cluster, cluster.schemas().iter().unwrap());
    }
}
