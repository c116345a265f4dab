//! What must never happen.
use crate::support::{connect, fresh, logged, unique, wait_until};
use pgsteward::testing::{TestServer, TestServerOptions};
use pgsteward::{Cluster, Error, Role, Schema, Table};

#[test]
fn a_hostile_search_path_runs_nothing() {
    let cluster = fresh();
    let evil = cluster.roles().create(Role::new(unique("evil"))).unwrap();
    cluster.execute(&format!("ALTER SCHEMA public OWNER TO {}", evil.name), &[]).unwrap();
    let theirs = connect(cluster.current_database(), "postgres");
    theirs.execute(&format!("SET ROLE {}", evil.name), &[]).unwrap();
    for (name, arguments, result) in [
        ("quote_ident", "name", "text"),
        ("pg_get_userbyid", "oid", "name"),
        ("concat", "text, text, text", "text"),
        ("set_config", "text, text, bool", "text"),
        ("current_setting", "text", "text"),
        ("strpos", "text, text", "int"),
    ] {
        let sql = format!(
            "CREATE FUNCTION public.{name}({arguments}) RETURNS {result} LANGUAGE plpgsql AS \
             $$ BEGIN RAISE EXCEPTION 'hijacked as %', current_user; END $$"
        );
        theirs.execute(&sql, &[]).unwrap();
    }
    let operator = "CREATE FUNCTION public.equal(name, text) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'hijacked'; END $$; \
         CREATE OPERATOR public.= (LEFTARG = name, RIGHTARG = text, FUNCTION = public.equal); \
         CREATE OPERATOR public.<> (LEFTARG = timestamptz, RIGHTARG = timestamptz, FUNCTION = public.unequal)";
    theirs
        .execute("CREATE FUNCTION public.unequal(timestamptz, timestamptz) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'hijacked'; END $$", &[])
        .unwrap();
    theirs.execute(operator, &[]).unwrap();
    cluster.execute("SET search_path = public, pg_catalog", &[]).unwrap();
    cluster.execute("CREATE TABLE t (a int)", &[]).unwrap();
    cluster.tables().with_system().len().unwrap();
    cluster.roles().with_system().len().unwrap();
    cluster.schemas().with_system().len().unwrap();
    cluster.execute("SELECT 1", &[]).unwrap();
    let mut table = cluster.tables().get("t").unwrap();
    table.definition_mut().unwrap().columns.remove("a");
    table.comment = Some("x".into());
    table.alter().unwrap();
    cluster.tables().load_definitions().unwrap();
    table.drop().unwrap();
}

#[test]
fn types_of_a_hostile_owner_run_nothing_neither_at_connecting_nor_later() {
    let database = fresh();
    let name = database.current_database();
    let evil = "CREATE SCHEMA evil; \
        CREATE FUNCTION evil.hit() RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'hijacked as %', current_user; END $$; \
        CREATE DOMAIN evil.text AS pg_catalog.text CHECK (evil.hit()); CREATE DOMAIN evil.oid AS pg_catalog.oid CHECK (evil.hit()); \
        CREATE DOMAIN evil.int4 AS pg_catalog.int4 CHECK (evil.hit()); CREATE DOMAIN evil.int8 AS pg_catalog.int8 CHECK (evil.hit())";
    database.execute(evil, &[]).unwrap();
    database.execute(&format!("ALTER DATABASE {name} SET search_path = evil, pg_catalog"), &[]).unwrap();
    let cluster = connect(name, "postgres");
    for domain in ["text", "oid", "int4", "int8", "regclass"] {
        let sql = format!("CREATE DOMAIN pg_temp.{domain} AS pg_catalog.{domain} CHECK (evil.hit())");
        cluster.execute(&sql, &[]).unwrap();
    }
    cluster.schemas().with_system().len().unwrap();
    cluster.roles().len().unwrap();
    cluster.databases().len().unwrap();
    cluster.tables().len().unwrap();
    cluster.tables().load_definitions().unwrap();
    cluster.views().len().unwrap();
    cluster.materialized_views().len().unwrap();
    cluster.sequences().len().unwrap();
    cluster.procedures().len().unwrap();
    cluster.large_objects().len().unwrap();
    cluster.replication_slots().len().unwrap();
    let mut table = cluster.tables().create(Table::new("t")).unwrap();
    table.comment = Some("x".into());
    table.alter().unwrap();
    cluster.reassign_owner([&mut table], "postgres").unwrap();
    cluster.terminate(pgsteward::Sessions::new().pids([1])).unwrap();
    table.drop().unwrap();
}

#[test]
fn p034_a_password_leaves_no_clear_text_anywhere() {
    let lines = logged();
    let mut options = TestServerOptions::new();
    options.settings = [
        ("log_statement", "all"),
        ("log_min_messages", "debug1"),
        ("log_min_duration_statement", "0"),
        ("shared_preload_libraries", "pg_stat_statements"),
        ("pg_stat_statements.track", "all"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let server = TestServer::with(options).unwrap();
    let cluster = Cluster::connect(&server.dsn()).unwrap();
    let mut shown = Vec::new();
    for (encryption, start) in [("scram-sha-256", "SCRAM-SHA-256$"), ("md5", "md5")] {
        cluster.execute(&format!("ALTER SYSTEM SET password_encryption = '{encryption}'"), &[]).unwrap();
        cluster.execute("SELECT pg_reload_conf()", &[]).unwrap();
        let now = || cluster.execute("SHOW password_encryption", &[]).unwrap()[0].get::<_, String>(0);
        wait_until("the setting is taken", || now() == encryption);
        let mut role = cluster.roles().create(Role::new(unique("r"))).unwrap();
        assert_eq!(role.password_verifier().unwrap(), None);
        role.login = true;
        role.set_password("geheimnis'\\ 1").unwrap();
        assert!(role.is_changed(), "what is pending stays pending");
        role.alter().unwrap();
        let verifier = role.password_verifier().unwrap().unwrap();
        assert!(verifier.starts_with(start));
        let mut other = cluster.roles().get(role.name.clone()).unwrap();
        let plan = cluster.plan(|c| c.roles().get(role.name.clone())?.set_password("geheimnis 2")).unwrap();
        shown.push(format!("{plan} {plan:?} {role:?} {other:?}"));
        role.drop().unwrap();
        let refused = other.set_password("geheimnis 3").unwrap_err();
        shown.push(format!("{refused} {refused:?} {refused:#?}"));
        shown.push(plan.apply().unwrap_err().to_string());
        assert!(!lines.lock().unwrap().contains(&verifier), "not even the verifier is in our log");
    }
    cluster.execute("CREATE EXTENSION pg_stat_statements", &[]).unwrap();
    let statements = cluster.execute("SELECT query FROM pg_stat_statements", &[]).unwrap();
    let statements: Vec<String> = statements.iter().map(|row| row.get(0)).collect();
    assert!(statements.iter().any(|statement| statement.contains("PASSWORD")), "{statements:?}");
    shown.extend(statements);
    shown.push(server.log().unwrap());
    shown.push(lines.lock().unwrap().clone());
    for text in &shown {
        assert!(!text.contains("geheimnis"), "{text}");
    }
    assert!(shown[shown.len() - 2].contains("ALTER ROLE"), "the server's log was read");
}

#[test]
fn p034_a_role_logs_in_with_the_password_that_was_set() {
    let mut options = TestServerOptions::new();
    options.hba = Some("local all postgres trust\nlocal all all scram-sha-256\n".into());
    let server = TestServer::with(options).unwrap();
    let cluster = Cluster::connect(&server.dsn()).unwrap();
    cluster.execute("SET password_encryption = 'scram-sha-256'", &[]).unwrap();
    for password in ["plain", "quo'te \\ \"", "größe\u{a0}x", "🐘"] {
        let mut role = Role::new(unique("r"));
        role.login = true;
        let mut role = cluster.roles().create(role).unwrap();
        role.set_password(password).unwrap();
        let mut config: postgres::Config = server.dsn_for("postgres", &role.name).parse().unwrap();
        config.password(password);
        Cluster::connect_with(config.clone(), Default::default()).unwrap();
        config.password("wrong");
        let refused = Cluster::connect_with(config.clone(), Default::default()).unwrap_err();
        assert_eq!(refused.code().unwrap().code(), "28P01", "{refused}");
        role.set_password(None).unwrap();
        config.password(password);
        assert!(Cluster::connect_with(config, Default::default()).is_err());
    }
    assert!(matches!(cluster.roles().get("postgres").unwrap().set_password(""), Err(Error::Invalid { .. })));
}

#[test]
fn bad_input_is_refused_before_anything_is_sent() {
    let cluster = fresh();
    let long = "x".repeat(64);
    for bad in [long.as_str(), "", "a\0b"] {
        assert!(matches!(cluster.roles().create(Role::new(bad)), Err(Error::Invalid { .. })), "{bad:?}");
        assert!(matches!(cluster.roles().get(bad), Err(Error::Invalid { .. })));
        assert!(matches!(cluster.schemas().create(Schema::new(bad)), Err(Error::Invalid { .. })));
        assert!(matches!(cluster.tables().create(Table::new(("public", bad))), Err(Error::Invalid { .. })));
        let mut role = cluster.roles().get("postgres").unwrap();
        role.name = bad.into();
        assert!(matches!(role.alter(), Err(Error::Invalid { .. })));
    }
    assert!(matches!(cluster.tables().get("a.b.c"), Err(Error::Invalid { .. })));
    let mut role = Role::new(unique("r"));
    role.connection_limit = -5;
    assert!(matches!(cluster.roles().create(role), Err(Error::Invalid { .. })));
}

#[test]
fn p018_an_ordinary_role_may_do_what_postgresql_allows() {
    let database = fresh();
    let mut role = Role::new(unique("r"));
    role.login = true;
    role.create_role = true;
    let role = database.roles().create(role).unwrap();
    database
        .execute(&format!("GRANT CREATE ON DATABASE {} TO {}", database.current_database(), role.name), &[])
        .unwrap();
    let cluster = connect(database.current_database(), &role.name);
    let mut mine = cluster.schemas().create(Schema::new("mine")).unwrap();
    mine.comment = Some("x".into());
    mine.alter().unwrap();
    cluster.tables().create(Table::new("mine.t")).unwrap();
    let mut made = cluster.roles().create(Role::new(unique("made"))).unwrap();
    made.set_password("secret").unwrap();
    made.connection_limit = 3;
    made.alter().unwrap();
    made.drop().unwrap();
    let denied =
        database.schemas().get("public").map(|_| cluster.schemas().get("public").unwrap().drop()).unwrap().unwrap_err();
    assert!(matches!(&denied, Error::Denied { remedy, .. } if !remedy.is_empty()), "{denied}");
    assert!(matches!(cluster.roles().get("postgres").unwrap().password_verifier(), Err(Error::Denied { .. })));
}
