//! Routines, and what finds them.
use crate::support::{connect, fresh, major, unique};
use pgsteward::{
    Body, Cluster, Error, Kind, Name, Object, Parallel, Procedure, Procedures, Role, Routine, Schema, Security,
    Signature, Sql, Volatility, sql,
};

/// A database with routines of every sort, and types that nobody finds by a bare name.
fn with_routines() -> Cluster {
    let cluster = fresh();
    let script = r#"
        CREATE SCHEMA app; CREATE SCHEMA "we.ird";
        CREATE TYPE app."My.Type" AS ENUM ('a'); CREATE TYPE public.mood AS ENUM ('b'); CREATE TYPE app.r AS RANGE (subtype = int4);
        CREATE FUNCTION app.f() RETURNS int LANGUAGE sql AS 'SELECT 0';
        CREATE FUNCTION app.f(a int, b text) RETURNS int LANGUAGE sql AS 'SELECT 1';
        CREATE FUNCTION app.f(a text, b int) RETURNS int LANGUAGE sql AS 'SELECT 2';
        CREATE FUNCTION app.f(a app."My.Type"[], OUT b int, VARIADIC c mood[]) LANGUAGE sql AS 'SELECT 3';
        CREATE FUNCTION app.one(a numeric(10,2) DEFAULT 1.5, b timestamptz = now()) RETURNS TABLE (x int, y text)
            LANGUAGE plpgsql STABLE STRICT SECURITY DEFINER LEAKPROOF PARALLEL SAFE COST 7 ROWS 3
            SET search_path TO app, "We,ird", '' SET work_mem TO '1MB' SET my.own TO 'a, "b"'
            AS $f$ BEGIN RETURN QUERY SELECT 1, '$body$ it''s'; END $f$;
        CREATE FUNCTION app.never(x internal) RETURNS internal LANGUAGE internal AS 'array_unnest_support';
        CREATE FUNCTION app.supported(anyarray) RETURNS SETOF anyelement LANGUAGE internal SUPPORT array_unnest_support AS 'array_unnest';
        CREATE PROCEDURE app.p(a int, INOUT b int) LANGUAGE sql AS 'SELECT $1';
        CREATE PROCEDURE app.p(a text) LANGUAGE plpgsql SECURITY DEFINER SET work_mem = '1MB' AS 'BEGIN COMMIT; END';
        CREATE AGGREGATE app.a(*) (SFUNC = int8inc, STYPE = int8, INITCOND = '0', PARALLEL = SAFE);
        CREATE AGGREGATE app.a(int) (SFUNC = int4larger, STYPE = int, SORTOP = >, COMBINEFUNC = int4larger,
            MSFUNC = int4pl, MINVFUNC = int4mi, MSTYPE = int, MINITCOND = '0', SSPACE = 8, MSSPACE = 9);
        CREATE AGGREGATE app.a(float8) (SFUNC = float8_accum, STYPE = float8[], FINALFUNC = float8_avg,
            FINALFUNC_MODIFY = SHAREABLE, INITCOND = '{0,0,0}');
        CREATE AGGREGATE app.pct(float8 ORDER BY float8) (SFUNC = ordered_set_transition, STYPE = internal,
            FINALFUNC = percentile_cont_float8_final);
        CREATE AGGREGATE app.hyp(VARIADIC "any" ORDER BY VARIADIC "any") (SFUNC = ordered_set_transition_multi,
            STYPE = internal, FINALFUNC = rank_final, FINALFUNC_EXTRA, HYPOTHETICAL);
        CREATE FUNCTION app.w() RETURNS int8 LANGUAGE internal WINDOW AS 'window_row_number';
    "#;
    cluster.execute(script, &[]).unwrap();
    if major() >= 14 {
        let standard = "CREATE FUNCTION app.std(a int) RETURNS int BEGIN ATOMIC SELECT a; SELECT a + 1; END; \
             CREATE PROCEDURE app.std_p(IN a int, OUT b int) LANGUAGE sql AS 'SELECT $1'";
        cluster.execute(standard, &[]).unwrap();
    }
    cluster
}

fn names(routines: &[Object<Procedure>]) -> Vec<String> {
    routines.iter().map(|routine| routine.key().to_string()).collect()
}

fn only(all: &Procedures, key: impl Into<Signature>) -> Object<Procedure> {
    all.get(key).unwrap().one().unwrap()
}

const F: [&str; 4] =
    ["app.f()", "app.f(app.\"My.Type\"[], public.mood[])", "app.f(integer, text)", "app.f(text, integer)"];

#[test]
fn p041_overloads_are_one_name_and_each_is_found_by_its_arguments() {
    let cluster = with_routines();
    for loaded in [false, true] {
        let all = cluster.procedures();
        if loaded {
            assert_eq!(all.len().unwrap(), if major() >= 14 { 17 } else { 15 });
            assert!(all.names().unwrap().iter().all(|name| name.name().schema == "app" && name.name().name != "r"));
        }
        assert_eq!(names(&all.get("app.f").unwrap()), F);
        let error = all.get("app.f").unwrap().one().unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }), "{error}");
        assert!(F.iter().all(|name| error.to_string().contains(name)), "{error}");
        assert!(all.contains("app.f").unwrap() && !all.contains("app.g").unwrap());
        assert!(all.find("app.g").unwrap().is_none());
        assert!(matches!(all.get("app.g"), Err(Error::NotFound { .. })));
        assert_eq!(only(&all, ("app", "one")).key().to_string(), "app.one(numeric, timestamp with time zone)");
        for (asked, found) in [
            ("app.f()", F[0]),
            ("app.f(int, varchar)", ""),
            ("App.F(int4, pg_catalog.text)", F[2]),
            ("app.f(text, pg_catalog.int4)", F[3]),
            ("app.f(app.\"My.Type\"[], mood[])", F[1]),
            ("app.f(app.\"My.Type\"[], VARIADIC public._mood)", F[1]),
            ("app.f(\"My.Type\"[], mood[])", ""),
            ("app.f(no_such_type)", ""),
            ("app.f(no.such)", ""),
            ("app.f(int)", ""),
            ("app.one(numeric(10,2), timestamptz)", "app.one(numeric, timestamp with time zone)"),
            ("app.a(*)", "app.a()"),
            ("app.a(int)", "app.a(integer)"),
            ("app.pct(float8 ORDER BY float8)", "app.pct(double precision, double precision)"),
            ("app.hyp(\"any\")", "app.hyp(\"any\")"),
            ("app.p(int, int)", "app.p(integer, integer)"),
            ("app.w()", "app.w()"),
        ] {
            let key = all.find(asked).unwrap().map(|found| found.one().unwrap().key().to_string());
            assert_eq!(key.as_deref().unwrap_or_default(), found, "{asked}");
        }
        for wrong in ["app.f(", "app.f(int)x", "", "a.b.c(int)", "app.f(int; DROP TABLE t)"] {
            assert!(matches!(all.get(wrong), Err(Error::Invalid { .. })), "{wrong}");
        }
    }
    let sorts = |name: &str| cluster.procedures().get(name).unwrap().iter().map(|p| p.routine()).collect::<Vec<_>>();
    assert_eq!(sorts("app.p"), [Routine::Procedure; 2]);
    assert_eq!(sorts("app.a"), [Routine::Aggregate; 3]);
    assert_eq!(sorts("app.w"), [Routine::Window]);
    assert!(cluster.procedures().with_system().len().unwrap() > 2000);
    assert!(cluster.procedures().get("pg_catalog.abs(int)").is_err(), "a collection that was read knows no system's");
    assert!(cluster.procedures().with_system().contains("pg_catalog.abs(int)").unwrap());
    assert!(only(&cluster.procedures().with_system(), "app.r(int, int)").script().is_err());
}

#[test]
fn p041_a_script_of_each_sort_makes_an_equal_one() {
    let cluster = with_routines();
    let all = cluster.procedures();
    all.load_definitions().unwrap();
    let routines: Vec<_> = all.iter().unwrap().collect();
    let mut scripts = Vec::new();
    for routine in &routines {
        scripts.push((routine.key(), routine.script().unwrap()));
    }
    let ours = |key: &Signature| key.name().name != "r" && key.name().name != "r_multirange";
    assert!(scripts.iter().all(|(key, _)| ours(key)));
    // Dropped, and made again in a second database that has the same types.
    for routine in routines {
        routine.drop().unwrap();
    }
    assert!(all.is_empty().unwrap());
    for (_, script) in &scripts {
        cluster.run(script).unwrap();
    }
    all.refresh();
    for (key, script) in &scripts {
        assert_eq!(only(&all, key).script().unwrap().to_string(), script.to_string());
    }
    assert_eq!(all.len().unwrap(), scripts.len());
    let one = only(&all, "app.one");
    assert_eq!(one.settings.get("my.own").map(String::as_str), Some("a, \"b\""));
    assert_eq!(one.settings.get("search_path").map(String::as_str), Some("app, \"We,ird\", \"\""));
    let answer = cluster.execute("SELECT y, app.a(1), app.w() OVER () FROM app.one() GROUP BY y", &[]).unwrap();
    assert_eq!(answer[0].get::<_, String>(0), "$body$ it's");
}

#[test]
fn p041_each_sort_is_altered_and_dropped_and_its_variations_stay() {
    let cluster = with_routines();
    let owner = cluster.roles().create(Role::new(unique("owner"))).unwrap();
    let all = cluster.procedures();
    let mut sorts = vec![
        "app.f(int, text)",
        "app.p(int, int)",
        "app.a(*)",
        "app.a(int)",
        "app.pct(float8, float8)",
        "app.hyp(\"any\")",
        "app.w()",
    ];
    if major() >= 14 {
        sorts.push("app.std_p(int)");
    }
    for sort in sorts {
        let count = all.len().unwrap();
        let mut routine = only(&all, sort);
        (routine.schema, routine.name) = ("we.ird".into(), "na\"me".into());
        routine.owner = owner.name.clone();
        routine.comment = Some("it's".into());
        if matches!(routine.routine(), Routine::Function | Routine::Window) {
            routine.volatility = Volatility::Immutable;
            (routine.strict, routine.leakproof, routine.parallel) = (true, true, Parallel::Restricted);
            routine.cost = 0.125;
        }
        if routine.routine() != Routine::Aggregate {
            routine.security = Security::Definer;
            routine.settings.insert("search_path".into(), "\"$user\", app".into());
        }
        let wanted = routine.to_value();
        routine.alter().unwrap();
        assert_eq!(routine.to_create(cluster.version()).to_string(), wanted.to_create(cluster.version()).to_string());
        all.refresh();
        let read = only(&all, routine.key());
        assert_eq!(read.to_value(), Procedure::clone(&routine));
        assert_eq!((read.owner.as_str(), read.comment.as_deref()), (owner.name.as_str(), Some("it's")));
        assert_eq!(all.len().unwrap(), count);
        let key = routine.key();
        routine.drop().unwrap();
        assert!(!all.contains(&key).unwrap());
        assert_eq!(all.len().unwrap(), count - 1);
    }
    assert_eq!(all.get("app.f").unwrap().len(), 3);
    assert_eq!(all.get("app.a").unwrap().len(), 1);
    cluster.execute("CREATE VIEW app.v AS SELECT app.f()", &[]).unwrap();
    assert!(only(&all, "app.f()").drop().is_err());
    only(&all, "app.f()").drop_cascade().unwrap();
    assert_eq!(all.get("app.f").unwrap().len(), 2);
}

#[test]
fn p041_another_body_replaces_the_old_one_and_nothing_else() {
    let cluster = with_routines();
    let all = cluster.procedures();
    let mut one = only(&all, "app.one");
    let body = "BEGIN RETURN QUERY SELECT 2, '$body$x$body'; END";
    one.definition_mut().unwrap().body = Body::Text(body.into());
    one.settings.remove("work_mem");
    one.cost = 9.0;
    assert_eq!(one.changes().len(), 1);
    one.alter().unwrap();
    all.refresh();
    let one = only(&all, "app.one");
    assert_eq!(one.definition().unwrap().body, Body::Text(body.into()));
    assert!((one.cost, one.rows, one.strict, one.settings.len()) == (9.0, 3.0, true, 2));
    assert_eq!(cluster.execute("SELECT x FROM app.one()", &[]).unwrap()[0].get::<_, i32>(0), 2);

    // What the statement would set anew is a conflict when somebody else has set it.
    let (mut mine, mut theirs) = (only(&all, "app.one"), only(&all, "app.one"));
    mine.definition_mut().unwrap().body = Body::Text("BEGIN RETURN; END".into());
    theirs.rows = 77.0;
    theirs.alter().unwrap();
    assert!(mine.alter().unwrap_err().is_conflict());
    mine.definition_mut().unwrap().arguments = sql!("a text");
    assert!(matches!(mine.alter(), Err(Error::Unsupported { .. })));

    let mut aggregate = only(&all, "app.a(int)");
    aggregate.definition_mut().unwrap().body = Body::Aggregate(sql!("SFUNC = int4smaller, STYPE = integer"));
    aggregate.parallel = Parallel::Safe;
    aggregate.alter().unwrap();
    assert_eq!(cluster.execute("SELECT app.a(x) FROM generate_series(3, 5) x", &[]).unwrap()[0].get::<_, i32>(0), 3);
    let mut supported = only(&all, "app.supported");
    supported.support = None;
    assert!(matches!(supported.alter(), Err(Error::Unsupported { .. })));
    supported.definition_mut().unwrap().body = Body::Text("array_unnest".into());
    supported.definition_mut().unwrap().language = "internal".into();
    supported.revert();
    assert_eq!(supported.support, Some(Name::new("pg_catalog", "array_unnest_support")));
}

#[test]
fn p041_what_is_made_is_what_was_asked_for_or_nothing() {
    let cluster = with_routines();
    let all = cluster.procedures();
    let mut add = Procedure::function("app.add(int, public.mood)", sql!("integer"), "sql", "SELECT a + 1");
    add.definition_mut().arguments = sql!("a integer, b public.mood DEFAULT 'b'");
    let add = all.create(add).unwrap();
    assert_eq!(cluster.execute("SELECT app.add(1)", &[]).unwrap()[0].get::<_, i32>(0), 2);
    assert!(matches!(all.create(add.to_value()), Err(Error::Invalid { .. })), "its definition was not read");
    add.definition().unwrap();
    assert!(matches!(all.create(add.to_value()), Err(Error::AlreadyExists { .. })));
    let mut other = Procedure::function("app.other(int)", sql!("integer"), "sql", "SELECT 1");
    other.definition_mut().arguments = sql!("a text");
    assert!(matches!(all.create(other), Err(Error::NotFound { .. })));
    assert!(!all.contains("app.other").unwrap());
    let aliased = all.create(Procedure::new("app.aliased(mood, varchar(3), int8[])", "sql", "SELECT 1"));
    // A type in public needs its schema in a statement; in a key it is understood.
    assert!(aliased.unwrap_err().is_not_found());
    let aliased = all.create(Procedure::new("app.aliased(public.mood, varchar(3), int8[])", "sql", "SELECT 1"));
    assert_eq!(aliased.unwrap().key().to_string(), "app.aliased(public.mood, character varying, bigint[])");
    let plan = cluster.plan(|c| {
        let mut made = c.procedures().create(Procedure::new("app.planned(int)", "sql", "SELECT 1"))?;
        made.comment = Some("x".into());
        made.alter()
    });
    plan.unwrap().apply().unwrap();
    assert_eq!(only(&all, "app.planned").comment.as_deref(), Some("x"));
}

#[test]
fn p041_what_a_script_would_leave_out_is_named() {
    let cluster = with_routines();
    cluster
        .execute("GRANT EXECUTE ON FUNCTION app.w() TO PUBLIC; REVOKE EXECUTE ON FUNCTION app.w() FROM PUBLIC", &[])
        .unwrap();
    let error = only(&cluster.procedures(), "app.w").script().unwrap_err().to_string();
    assert!(error.contains("privileges"), "{error}");
    cluster.execute("ALTER FUNCTION app.one DEPENDS ON EXTENSION plpgsql", &[]).unwrap();
    let error = only(&cluster.procedures(), "app.one").script().unwrap_err().to_string();
    assert!(error.contains("extension"), "{error}");
    let with_system = cluster.procedures().with_system();
    let error = only(&with_system, "pg_catalog.plpgsql_call_handler").script().unwrap_err().to_string();
    assert!(error.contains("extension"), "{error}");
}

#[test]
fn p025_a_renamed_or_re_created_object_is_found_by_its_new_key() {
    for loaded in [false, true] {
        let cluster = with_routines();
        let (schemas, all) = (cluster.schemas(), cluster.procedures());
        if loaded {
            let (_, _) = (schemas.len().unwrap(), all.len().unwrap());
        }
        let mut schema = schemas.create(Schema::new("before")).unwrap();
        assert!(schemas.contains("before").unwrap());
        let oid = schema.oid();
        schema.name = "after".into();
        schema.alter().unwrap();
        assert!(!schemas.contains("before").unwrap());
        assert_eq!(schemas.get("after").unwrap().oid(), oid);
        schema.drop().unwrap();
        assert!(!schemas.contains("after").unwrap());
        let again = schemas.create(Schema::new("after")).unwrap();
        assert!(again.oid() != oid && schemas.get("after").unwrap().oid() == again.oid());

        if loaded {
            // The schema's new name was a reason to forget what was read of routines.
            let _ = all.len().unwrap();
        }
        let routine = only(&all, "app.f(int, text)");
        let (old, script) = (routine.oid(), routine.script().unwrap());
        routine.drop().unwrap();
        assert!(!all.contains("app.f(int, text)").unwrap());
        assert_eq!(all.get("app.f").unwrap().len(), 3);
        // By somebody else: what was read is kept until it is refreshed.
        connect(cluster.current_database(), "postgres").run(&script).unwrap();
        assert_eq!(all.contains("app.f(int, text)").unwrap(), !loaded);
        all.refresh();
        let mut again = only(&all, "app.f(int, text)");
        assert!(again.oid() != old);
        again.name = "g".into();
        again.alter().unwrap();
        assert!(all.contains("app.g(int, text)").unwrap() && !all.contains("app.f(int, text)").unwrap());
        assert!(schemas.names().unwrap().contains(&"after".to_owned()));
    }
}

#[test]
fn p026_names_are_values_and_are_never_cut_at_dots() {
    let cluster = fresh();
    cluster.schemas().create(Schema::new("d")).unwrap();
    for schema in ["UPPER", "da-sh", "dot.ted", "qu\"ote", "sp ace", "größe"] {
        cluster.schemas().create(Schema::new(schema)).unwrap();
    }
    let tables = cluster.tables();
    let [dotted, inner] = ["\"d.e\"", "d.e"].map(|name| tables.create(pgsteward::Table::new(name)).unwrap());
    assert_eq!((dotted.schema.as_str(), dotted.name.as_str()), ("public", "d.e"));
    assert_eq!((inner.schema.as_str(), inner.name.as_str()), ("d", "e"));
    assert_eq!(tables.get(("public", "d.e")).unwrap().oid(), dotted.oid());
    assert_eq!(tables.get("d.e").unwrap().oid(), inner.oid());
    tables.get("d.e").unwrap().drop().unwrap();
    assert!(tables.contains("\"d.e\"").unwrap() && !tables.contains("d.e").unwrap());

    let routines = cluster.procedures();
    for schema in ["UPPER", "da-sh", "dot.ted", "qu\"ote", "sp ace", "größe"] {
        for name in ["UPPER", "da-sh", "dot.ted", "qu\"ote", "sp ace", "größe", "f(integer)", "d.f(text)"] {
            let value = Procedure::new(Signature::new((schema, name), ["int", "text"]), "sql", "SELECT 1");
            let made = routines.create(value).unwrap();
            let printed = made.key().to_string();
            for loaded in [false, true] {
                if loaded {
                    let _ = routines.len().unwrap();
                } else {
                    routines.refresh();
                }
                assert_eq!(only(&routines, &printed).oid(), made.oid(), "{printed}");
                assert_eq!(only(&routines, (schema, name)).oid(), made.oid(), "{printed}");
            }
            assert_eq!(
                cluster.execute(&format!("SELECT '{printed}'::regprocedure::oid"), &[]).unwrap()[0].get::<_, u32>(0),
                made.oid()
            );
            let script: Sql = made.script().unwrap().statements().next().unwrap().clone();
            assert!(script.check().is_ok());
            let mut made = made;
            made.name = format!("{name} 2");
            made.alter().unwrap();
            made.drop().unwrap();
        }
    }
}
