//! Views and materialized views.
use crate::support::{connect, fresh, unique};
use pgsteward::{Cluster, Error, Index, MaterializedView, Population, RefreshMode, Role, View, sql};

fn number(cluster: &Cluster, sql: &str) -> i64 {
    cluster.execute(sql, &[]).unwrap()[0].get(0)
}

#[test]
fn p021_schema_name_and_owner_of_a_view_change_together() {
    let cluster = fresh();
    let owner = cluster.roles().create(Role::new(unique("owner"))).unwrap();
    cluster.execute("CREATE SCHEMA app", &[]).unwrap();
    let mut view = cluster.views().create(View::new("v", sql!("SELECT 1 AS a"))).unwrap();
    (view.schema, view.name, view.owner) = ("app".into(), "n".into(), owner.name.clone());
    view.alter().unwrap();
    let view = cluster.materialized_views().create(MaterializedView::new("v", sql!("SELECT 1 AS a")));
    let mut view = view.unwrap();
    (view.schema, view.name, view.owner) = ("app".into(), "m".into(), owner.name.clone());
    view.alter().unwrap();
    cluster.refresh();
    assert_eq!(cluster.views().get("app.n").unwrap().owner, owner.name);
    assert_eq!(cluster.materialized_views().get("app.m").unwrap().owner, owner.name);
    assert!(!cluster.views().contains("v").unwrap());
    assert!(!cluster.materialized_views().contains("v").unwrap());
}

#[test]
fn p022_a_view_is_renamed_twice_then_dropped() {
    let cluster = fresh();
    let mut view = cluster.views().create(View::new("a", sql!("SELECT 1 AS a"))).unwrap();
    let stored = cluster.materialized_views().create(MaterializedView::new("m", sql!("SELECT 1 AS a")));
    let mut stored = stored.unwrap();
    for name in ["b", "c"] {
        view.name = name.into();
        view.alter().unwrap();
        stored.name = format!("m{name}");
        stored.alter().unwrap();
    }
    view.drop().unwrap();
    stored.drop().unwrap();
    assert!(cluster.views().is_empty().unwrap() && cluster.materialized_views().is_empty().unwrap());
}

#[test]
fn p038_owner_schema_name_drop_and_drop_cascade_of_a_view() {
    let cluster = fresh();
    let owner = cluster.roles().create(Role::new(unique("owner"))).unwrap();
    cluster.execute("CREATE SCHEMA app; CREATE VIEW public.v AS SELECT 1 AS a", &[]).unwrap();
    let mut view = cluster.views().get("v").unwrap();
    view.owner = owner.name.clone();
    view.alter().unwrap();
    view.schema = "app".into();
    view.alter().unwrap();
    view.name = "w".into();
    view.alter().unwrap();
    assert_eq!(cluster.views().get("app.w").unwrap().owner, owner.name);
    cluster.execute("CREATE VIEW public.on_it AS SELECT a FROM app.w", &[]).unwrap();
    cluster.views().refresh();
    let error = cluster.views().get("app.w").unwrap().drop().unwrap_err();
    assert_eq!(error.code().unwrap().code(), "2BP01");
    assert_eq!(cluster.views().len().unwrap(), 2);
    cluster.views().get("app.w").unwrap().drop_cascade().unwrap();
    cluster.views().refresh();
    assert!(cluster.views().is_empty().unwrap());
    let view = cluster.views().create(View::new("v", sql!("SELECT 1 AS a"))).unwrap();
    view.drop().unwrap();
    assert!(cluster.views().find("v").unwrap().is_none());
}

#[test]
fn another_query_keeps_options_and_privileges_and_dependents() {
    let cluster = fresh();
    let mut view = View::new("v", sql!("SELECT 1 AS a"));
    view.options.insert("security_barrier".into(), "true".into());
    let mut view = cluster.views().create(view).unwrap();
    cluster
        .execute("GRANT SELECT ON public.v TO PUBLIC; CREATE VIEW public.on_it AS SELECT a FROM public.v", &[])
        .unwrap();
    view.refresh().unwrap();
    view.definition_mut().unwrap().query = sql!("SELECT 2 AS a, 3 AS b");
    assert_eq!(view.changes().len(), 1);
    view.alter().unwrap();
    assert_eq!(view.options.get("security_barrier").map(String::as_str), Some("true"));
    assert_eq!(number(&cluster, "SELECT a::int8 FROM public.on_it"), 2);
    assert_eq!(
        number(&cluster, "SELECT count(*) FROM pg_class WHERE oid = 'public.v'::regclass AND relacl IS NOT NULL"),
        1
    );
    assert!(view.definition().unwrap().query.to_string().contains("AS b"));
    view.definition_mut().unwrap().query = sql!("SELECT 'x'::text AS a");
    let error = view.alter().unwrap_err();
    assert_eq!(error.code().unwrap().code(), "42P16", "{error}");
    assert!(view.is_changed());
}

#[test]
fn a_query_that_somebody_else_replaced_is_a_conflict() {
    let cluster = fresh();
    let all = cluster.views();
    let mut mine = all.create(View::new("v", sql!("SELECT 1 AS a"))).unwrap();
    mine.definition_mut().unwrap().query = sql!("SELECT 2 AS a");
    for theirs in ["CREATE OR REPLACE VIEW public.v AS SELECT 3 AS a", "ALTER VIEW public.v SET (security_barrier)"] {
        cluster.execute(theirs, &[]).unwrap();
        assert!(mine.alter().unwrap_err().is_conflict(), "{theirs}");
        mine.refresh().unwrap();
        mine.definition_mut().unwrap().query = sql!("SELECT 2 AS a");
    }
    cluster.execute("COMMENT ON VIEW public.v IS 'theirs'", &[]).unwrap();
    mine.alter().unwrap();
    assert_eq!(mine.comment.as_deref(), Some("theirs"));
}

#[test]
fn scripts_make_equal_views() {
    let cluster = fresh();
    cluster.execute("CREATE SCHEMA app; CREATE TABLE app.t (a int, b text)", &[]).unwrap();
    for query in [
        "SELECT a, b FROM app.t WHERE b = ';'",
        "VALUES (1, 'a'), (2, 'b')",
        "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 9) SELECT n FROM r",
        "SELECT a AS \"we;ird\" FROM app.t ORDER BY 1 LIMIT 5",
    ] {
        cluster.execute(&format!("CREATE VIEW app.v AS {query}"), &[]).unwrap();
        let view = cluster.views().get("app.v").unwrap();
        let script = view.script().unwrap();
        view.drop().unwrap();
        cluster.run(&script).unwrap();
        let view = cluster.views().get("app.v").unwrap();
        assert_eq!(script.to_string(), view.script().unwrap().to_string());
        view.drop().unwrap();
    }
    cluster
        .execute("CREATE VIEW app.v WITH (security_barrier) AS SELECT a FROM app.t WHERE a > 0 WITH CHECK OPTION", &[])
        .unwrap();
    let view = cluster.views().get("app.v").unwrap();
    assert_eq!(view.options.get("check_option").map(String::as_str), Some("cascaded"));
    assert!(
        view.script().unwrap().to_string().contains("\"check_option\" = 'cascaded', \"security_barrier\" = 'true'")
    );
}

#[test]
fn a_script_names_what_it_would_leave_out() {
    let cluster = fresh();
    cluster.execute("CREATE TABLE public.t (a int); CREATE VIEW public.v AS SELECT a FROM public.t", &[]).unwrap();
    cluster.execute("CREATE MATERIALIZED VIEW public.m AS SELECT a, 'x'::text AS b FROM public.t", &[]).unwrap();
    cluster
        .execute("CREATE FUNCTION public.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'", &[])
        .unwrap();
    let view = cluster.views().get("v").unwrap();
    let stored = cluster.materialized_views().get("m").unwrap();
    assert!(view.script().is_ok() && stored.script().is_ok());
    for (sql, what) in [
        ("ALTER VIEW public.v ALTER COLUMN a SET DEFAULT 1", "default of a column"),
        ("COMMENT ON COLUMN public.v.a IS 'x'", "comment of a column"),
        ("CREATE RULE r AS ON DELETE TO public.v DO INSTEAD NOTHING", "rule r"),
        ("CREATE TRIGGER i INSTEAD OF UPDATE ON public.v FOR EACH ROW EXECUTE FUNCTION public.f()", "trigger i"),
        ("GRANT SELECT (a) ON public.v TO PUBLIC", "settings of column a"),
        ("GRANT SELECT ON public.v TO PUBLIC", "privileges"),
        ("COMMENT ON COLUMN public.m.a IS 'x'", "comment of a column"),
        ("GRANT SELECT ON public.m TO PUBLIC", "privileges"),
        ("ALTER MATERIALIZED VIEW public.m ALTER COLUMN a SET STATISTICS 7", "settings of column a"),
        ("ALTER MATERIALIZED VIEW public.m ALTER COLUMN b SET STORAGE EXTERNAL", "storage of column b"),
        ("CREATE STATISTICS s ON a, b FROM public.m", "statistics s"),
        ("CREATE UNIQUE INDEX i ON public.m (a); ALTER MATERIALIZED VIEW public.m CLUSTER ON i", "state of index i"),
        ("ALTER TABLE public.m REPLICA IDENTITY FULL", "replica identity"),
    ] {
        cluster.execute(sql, &[]).unwrap();
        cluster.refresh();
        let script = match sql.contains("public.m") {
            true => cluster.materialized_views().get("m").unwrap().script(),
            false => cluster.views().get("v").unwrap().script(),
        };
        let error = script.unwrap_err();
        assert!(matches!(error, Error::Unsupported { .. }) && error.to_string().contains(what), "{sql}: {error}");
    }
    let mut stored = cluster.materialized_views().get("m").unwrap();
    stored.definition_mut().unwrap().query = sql!("SELECT 1 AS a");
    assert!(matches!(stored.alter(), Err(Error::Unsupported { .. })));
    assert_eq!(
        number(&cluster, "SELECT count(*) FROM pg_attribute WHERE attrelid = 'public.m'::regclass AND attnum > 0"),
        2
    );
}

#[test]
fn materialized_views_are_filled_emptied_and_refreshed() {
    let cluster = fresh();
    cluster.execute("CREATE TABLE public.t (a int)", &[]).unwrap();
    let mut view = MaterializedView::new("m", sql!("SELECT t.a FROM public.t"));
    view.population = Population::Unpopulated;
    let mut view = cluster.materialized_views().create(view).unwrap();
    assert_eq!(view.population, Population::Unpopulated);
    assert!(view.script().unwrap().to_string().contains("WITH NO DATA"));
    assert_eq!(view.refresh_data(RefreshMode::Concurrently).unwrap_err().code().unwrap().code(), "0A000");
    cluster.execute("INSERT INTO public.t VALUES (1), (2)", &[]).unwrap();
    view.refresh_data(RefreshMode::Blocking).unwrap();
    assert_eq!(number(&cluster, "SELECT count(*) FROM public.m"), 2);
    assert_eq!(view.population, Population::Populated);
    assert!(!view.is_changed());
    assert_eq!(view.refresh_data(RefreshMode::Concurrently).unwrap_err().code().unwrap().code(), "55000");
    let mut index = Index::new("i", sql!("btree (a)"));
    index.unique = true;
    view.definition_mut().unwrap().indexes.push(index);
    view.alter().unwrap();
    cluster.execute("INSERT INTO public.t VALUES (3)", &[]).unwrap();
    view.comment = Some("stays pending".into());
    view.refresh_data(RefreshMode::Concurrently).unwrap();
    assert!(view.is_changed());
    assert_eq!(number(&cluster, "SELECT count(*) FROM public.m"), 3);
    view.population = Population::Unpopulated;
    view.alter().unwrap();
    assert!(cluster.execute("SELECT FROM public.m", &[]).is_err());
    view.population = Population::Populated;
    view.alter().unwrap();
    assert_eq!(number(&cluster, "SELECT count(*) FROM public.m"), 3);
    let plan = cluster.plan(|c| c.materialized_views().get("m")?.refresh_data(RefreshMode::Concurrently)).unwrap();
    assert_eq!(plan.to_string(), "REFRESH MATERIALIZED VIEW CONCURRENTLY \"public\".\"m\";\n");
    plan.apply().unwrap();
}

#[test]
fn another_query_of_a_materialized_view_makes_it_anew() {
    let cluster = fresh();
    let role = unique("owner");
    let owner = cluster.roles().create(Role::new(role.clone())).unwrap();
    cluster.execute(&format!("CREATE SCHEMA app AUTHORIZATION {role}"), &[]).unwrap();
    let mut view = MaterializedView::new("app.m", sql!("SELECT 1 AS a"));
    (view.owner, view.comment) = (owner.name.clone(), Some("kept".into()));
    view.definition_mut().indexes.push(Index::new("i", sql!("btree (a)")));
    let all = cluster.materialized_views();
    let mut view = all.create(view).unwrap();
    let mut stale = view.clone();
    assert_eq!(all.len().unwrap(), 1);
    view.definition_mut().unwrap().query = sql!("SELECT 2 AS a, CURRENT_USER::text AS who");
    view.alter().unwrap();
    assert!(!view.is_changed());
    assert_eq!(number(&cluster, "SELECT a::int8 FROM app.m"), 2);
    // The query ran as the owner.
    let who: String = cluster.execute("SELECT who FROM app.m", &[]).unwrap()[0].get(0);
    assert_eq!(who, role);
    assert_eq!((view.comment.as_deref(), &view.owner), (Some("kept"), &role));
    assert_eq!(view.definition().unwrap().indexes.len(), 1);
    view.comment = None;
    view.alter().unwrap();
    stale.comment = None;
    assert!(stale.alter().unwrap_err().is_conflict());

    // Nothing that somebody else did is lost, and a failure leaves all as it was.
    for theirs in [
        "CREATE INDEX j ON app.m (who)",
        "COMMENT ON MATERIALIZED VIEW app.m IS 'theirs'",
        "GRANT SELECT ON app.m TO PUBLIC",
    ] {
        view.definition_mut().unwrap().query = sql!("SELECT 5 AS a");
        cluster.execute(theirs, &[]).unwrap();
        let error = view.alter().unwrap_err();
        assert!(error.is_conflict() || error.to_string().contains("privileges"), "{theirs}: {error}");
        view.refresh().unwrap();
    }
    cluster.execute("REVOKE SELECT ON app.m FROM PUBLIC; DROP VIEW IF EXISTS public.on_it; CREATE VIEW public.on_it AS SELECT a FROM app.m", &[]).unwrap();
    assert_eq!(number(&cluster, "SELECT a::int8 FROM app.m"), 2);
}

#[test]
fn what_depends_on_a_materialized_view_keeps_it() {
    let cluster = fresh();
    cluster
        .execute(
            "CREATE MATERIALIZED VIEW public.m AS SELECT 1 AS a; CREATE VIEW public.on_it AS SELECT a FROM public.m",
            &[],
        )
        .unwrap();
    let mut view = cluster.materialized_views().get("m").unwrap();
    view.definition_mut().unwrap().query = sql!("SELECT 2 AS a");
    assert_eq!(view.alter().unwrap_err().code().unwrap().code(), "2BP01");
    assert_eq!(number(&cluster, "SELECT a::int8 FROM public.on_it"), 1);
    assert!(view.is_changed());
    view.revert();
    view.drop_cascade().unwrap();
    assert!(cluster.views().is_empty().unwrap());
}

#[test]
fn an_owner_without_more_rights_manages_his_views() {
    let cluster = fresh();
    let role = unique("owner");
    cluster.execute(&format!("CREATE ROLE {role} LOGIN; CREATE SCHEMA app AUTHORIZATION {role}"), &[]).unwrap();
    let own = connect(cluster.current_database(), &role);
    let mut view = own.views().create(View::new("app.v", sql!("SELECT 1 AS a"))).unwrap();
    view.definition_mut().unwrap().query = sql!("SELECT 2 AS a");
    view.alter().unwrap();
    let mut stored = own.materialized_views().create(MaterializedView::new("app.m", sql!("SELECT 1 AS a"))).unwrap();
    stored.definition_mut().unwrap().query = sql!("SELECT 2 AS b");
    stored.alter().unwrap();
    stored.refresh_data(RefreshMode::Blocking).unwrap();
    own.views().load_definitions().unwrap();
    own.materialized_views().load_definitions().unwrap();
    assert!(own.views().with_system().len().unwrap() > 50);
    let mut theirs = own.views().with_system().get("pg_catalog.pg_roles").unwrap();
    theirs.comment = Some("x".into());
    assert!(matches!(theirs.alter(), Err(Error::Denied { .. })));
}
