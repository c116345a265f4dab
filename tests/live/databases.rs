//! Databases.
use crate::support::{connect, fresh, major, statements, unique, wait_until};
use pgsteward::{
    Cluster, CreateStrategy, Database, Error, Ident, LocaleProvider, Object, OpenSessions, Role, Table, sql,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A new database, closed to nobody, made by a superuser connected elsewhere.
fn made(cluster: &Cluster, start: &str) -> Object<Database> {
    cluster.databases().create(Database::new(unique(start))).unwrap()
}

#[test]
fn p030_a_copy_of_a_template_with_an_owner_an_encoding_and_a_locale() {
    let cluster = fresh();
    let owner = cluster.roles().create(Role::new(unique("owner"))).unwrap();
    let mut template = Database::new(unique("template"));
    (template.encoding, template.collate) = (Some("LATIN1".into()), Some("C".into()));
    template.ctype = Some("C".into());
    let mut template = cluster.databases().create(template).unwrap();
    let inside = connect(&template.name, "postgres");
    inside.tables().create(Table::new("was_in_the_template")).unwrap();
    inside.into_client().unwrap().close().unwrap();
    template.is_template = true;
    template.alter().unwrap();

    let mut copy = Database::new(unique("we.ird \"na''me"));
    (copy.template, copy.owner) = (Some(template.name.clone()), owner.name.clone());
    copy.connection_limit = 7;
    copy.comment = Some("it's".into());
    let copy = cluster.databases().create(copy).unwrap();
    assert_eq!((copy.encoding.as_deref(), copy.collate.as_deref(), copy.ctype.as_deref()), {
        (Some("LATIN1"), Some("C"), Some("C"))
    });
    assert_eq!((copy.owner.as_str(), copy.connection_limit, copy.is_template), (owner.name.as_str(), 7, false));
    assert_eq!((copy.locale_provider, copy.template.as_deref()), (Some(LocaleProvider::Libc), None));
    assert_eq!(copy.tablespace.as_deref(), Some("pg_default"));
    assert!(connect(&copy.name, "postgres").tables().contains("was_in_the_template").unwrap());
    copy.drop_force().unwrap();
    template.is_template = false;
    template.alter().unwrap();
    template.drop_force().unwrap();
}

#[test]
fn p030_the_locale_is_read_whatever_the_catalogue_calls_it() {
    let cluster = fresh();
    assert_eq!(cluster.databases().get("postgres").unwrap().locale, None);
    let mut icu = Database::new(unique("icu"));
    (icu.locale_provider, icu.locale) = (Some(LocaleProvider::Icu), Some("de-AT".into()));
    if major() < 15 {
        assert!(matches!(cluster.databases().create(icu), Err(Error::Unsupported { .. })));
        return;
    }
    icu.strategy = Some(CreateStrategy::FileCopy);
    icu.icu_rules = (major() >= 16).then(|| "&a < g".into());
    let icu = cluster.databases().create(icu).unwrap();
    assert_eq!((icu.locale_provider, icu.locale.as_deref()), (Some(LocaleProvider::Icu), Some("de-AT")));
    assert_eq!(icu.icu_rules.as_deref(), (major() >= 16).then_some("&a < g"));
    recreated(&cluster, icu);
    let mut builtin = Database::new(unique("builtin"));
    (builtin.locale_provider, builtin.locale) = (Some(LocaleProvider::Builtin), Some("C.UTF-8".into()));
    match major() {
        17.. => recreated(&cluster, cluster.databases().create(builtin).unwrap()),
        _ => assert!(matches!(cluster.databases().create(builtin), Err(Error::Unsupported { .. }))),
    }
}

/// Its script makes an equal database.
fn recreated(cluster: &Cluster, mut database: Object<Database>) {
    let (script, name) = (database.script().unwrap(), database.name.clone());
    if major() >= 15 {
        database.refresh_collation_version().unwrap();
    } else {
        assert!(matches!(database.refresh_collation_version(), Err(Error::Unsupported { .. })));
    }
    database.drop().unwrap();
    cluster.run(&script).unwrap();
    cluster.databases().refresh();
    let again = cluster.databases().get(name).unwrap();
    assert_eq!(again.script().unwrap().to_string(), script.to_string());
    again.drop().unwrap();
}

#[test]
fn p030_another_tablespace_by_itself() {
    let cluster = fresh();
    let (elsewhere, mut database) = (unique("elsewhere"), made(&cluster, "moved"));
    cluster.execute("SET allow_in_place_tablespaces = on", &[]).unwrap();
    cluster.execute(&sql!("CREATE TABLESPACE {} LOCATION ''", Ident(&elsewhere)).to_string(), &[]).unwrap();
    database.tablespace = Some(elsewhere.clone());
    database.connection_limit = 3;
    assert!(matches!(database.alter(), Err(Error::Invalid { .. })));
    database.revert();
    database.tablespace = Some(elsewhere.clone());
    database.alter().unwrap();
    assert_eq!(database.tablespace.as_deref(), Some(elsewhere.as_str()));
    recreated(&cluster, database);
    cluster.execute(&sql!("DROP TABLESPACE {}", Ident(&elsewhere)).to_string(), &[]).unwrap();
}

#[test]
fn p030_disabled_and_enabled_with_and_without_ending_sessions() {
    let cluster = fresh();
    let mut database = made(&cluster, "closed");
    let inside = connect(&database.name, "postgres");
    let alive = || inside.execute("SELECT 1", &[]).is_ok();
    database.disable(OpenSessions::Stay).unwrap();
    assert!(alive() && !database.allow_connections);
    assert!(Cluster::connect(&crate::support::server().dsn_for(&database.name, "postgres")).is_err());
    database.enable().unwrap();
    assert!(connect(&database.name, "postgres").execute("SELECT 1", &[]).is_ok());

    database.connection_limit = 9;
    database.disable(OpenSessions::Terminate).unwrap();
    // It cannot come back either.
    assert!(!alive() && !alive());
    assert_eq!(cluster.databases().get(database.name.as_str()).unwrap().connection_limit, 9);
    database.enable().unwrap();
    assert!(alive());
    database.drop_force().unwrap();
}

#[test]
fn p030_a_plan_that_disables_lets_nobody_come_back() {
    let cluster = fresh();
    let mut database = made(&cluster, "closed");
    let name = database.name.clone();
    let (stop, dsn) = (Arc::new(AtomicBool::new(false)), crate::support::server().dsn_for(&name, "postgres"));
    // Clients that are back as soon as they can.
    let clients: Vec<_> = (0..2)
        .map(|_| {
            let (stop, dsn) = (stop.clone(), dsn.clone());
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    if let Ok(session) = Cluster::connect(&dsn) {
                        while !stop.load(Ordering::Relaxed) && session.execute("SELECT pg_sleep(0.01)", &[]).is_ok() {}
                    }
                }
            })
        })
        .collect();
    let there = || !cluster.execute("SELECT FROM pg_stat_activity WHERE datname = $1", &[&name]).unwrap().is_empty();
    wait_until("the clients are there", there);
    let plan = cluster.plan(|c| {
        c.databases().get(&*name)?.disable(OpenSessions::Terminate)?;
        // Time to come back, if it were not for the steps to be seen one by one.
        c.execute("CREATE TABLE slow AS SELECT 1 AS a FROM pg_sleep(0.5)", &[])
    });
    assert!(there());
    plan.unwrap().apply().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    let stayed = there();
    stop.store(true, Ordering::Relaxed);
    clients.into_iter().for_each(|client| client.join().unwrap());
    assert!(!stayed);

    // In a transaction nobody would see that it takes no new ones.
    database.refresh().unwrap();
    database.enable().unwrap();
    let session = connect(&name, "postgres");
    let error = cluster.transaction(|| database.disable(OpenSessions::Terminate)).unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }), "{error}");
    assert!(database.allow_connections);
    let plan = cluster.plan(|c| c.databases().get(&*name)?.disable(OpenSessions::Terminate)).unwrap();
    assert!(matches!(cluster.transaction(|| plan.apply()), Err(Error::Invalid { .. })));
    assert!(session.execute("SELECT 1", &[]).is_ok());
    cluster.transaction(|| database.disable(OpenSessions::Stay)).unwrap();
    assert!(Cluster::connect(&dsn).is_err());
    database.drop_force().unwrap();
}

#[test]
fn p030_dropped_with_its_sessions() {
    let cluster = fresh();
    let database = made(&cluster, "busy \"one\"");
    let sessions: Vec<_> = (0..3).map(|_| connect(&database.name, "postgres")).collect();
    let name = database.name.clone();
    let plan = cluster.plan(|c| c.databases().get(name.as_str())?.drop_force()).unwrap();
    assert!(plan.to_string().contains("DROP DATABASE \"busy \"\"one\"\""), "{plan}");
    assert!(cluster.databases().contains(name.as_str()).unwrap());
    assert!(sessions.iter().all(|session| session.execute("SELECT 1", &[]).is_ok()));
    plan.apply().unwrap();
    assert!(!cluster.databases().contains(name).unwrap());
    assert!(sessions.iter().all(|session| session.execute("SELECT 1", &[]).is_err()));
}

#[test]
fn p030_a_forced_drop_that_fails_leaves_the_database_open() {
    let cluster = fresh();
    let mut database = made(&cluster, "subscribed");
    let inside = connect(&database.name, "postgres");
    let subscription =
        "CREATE SUBSCRIPTION s CONNECTION 'host=nowhere' PUBLICATION p WITH (connect = false, slot_name = NONE)";
    inside.execute(subscription, &[]).unwrap();
    let error = database.clone().drop_force().unwrap_err();
    assert_eq!(error.code().map(|code| code.code()), Some("55006"), "{error}");
    database.refresh().unwrap();
    assert!(database.allow_connections);
    // What a session may be terminated for is that it is in the way, not that it was asked.
    let _ = inside.execute("SELECT 1", &[]);
    inside.execute("DROP SUBSCRIPTION s", &[]).unwrap();
    database.is_template = true;
    database.alter().unwrap();
    assert_eq!(database.clone().drop_force().unwrap_err().code().map(|code| code.code()), Some("42809"));
    assert!(inside.execute("SELECT 1", &[]).is_ok());
    database.is_template = false;
    database.alter().unwrap();
    database.drop_force().unwrap();
    let own = cluster.databases().get(cluster.current_database()).unwrap();
    assert_eq!(own.drop_force().unwrap_err().code().map(|code| code.code()), Some("55006"));
}

#[test]
fn p030_what_cannot_change_is_refused_before_anything_is_sent() {
    let cluster = fresh();
    let mut database = made(&cluster, "fixed");
    database.ctype = Some("de_AT".into());
    database.connection_limit = 3;
    assert!(matches!(database.alter(), Err(Error::Unsupported { .. })));
    database.refresh().unwrap();
    assert_eq!(database.connection_limit, -1);
    let mut own = cluster.databases().get(cluster.current_database()).unwrap();
    own.name = unique("own");
    assert!(matches!(own.alter(), Err(Error::Server { .. })));
    cluster.execute(&sql!("ALTER DATABASE {} SET work_mem = '1MB'", Ident(&database.name)).to_string(), &[]).unwrap();
    database.refresh().unwrap();
    assert!(database.script().unwrap_err().to_string().contains("settings"));
    database.drop().unwrap();
}

#[test]
fn the_connections_that_are_kept_do_not_stand_in_the_way() {
    let cluster = fresh();
    let mut database = cluster.databases().create(Database::new(unique("kept"))).unwrap();
    cluster.database(&database.name).unwrap().execute("SELECT 1", &[]).unwrap();
    database.name = unique("renamed");
    database.alter().unwrap();
    cluster.database(&database.name).unwrap().execute("SELECT 1", &[]).unwrap();
    database.drop().unwrap();
}

#[test]
fn p031_a_database_is_changed_by_its_owner_who_cannot_write_to_the_catalogue() {
    let cluster = fresh();
    let mut owner = Role::new(unique("owner"));
    (owner.login, owner.create_database) = (true, true);
    let owner = cluster.roles().create(owner).unwrap();
    let cluster = connect(cluster.current_database(), &owner.name);
    let mut database = made(&cluster, "theirs");
    let plan = cluster
        .plan(|c| {
            let mut database = c.databases().get(database.name.as_str())?;
            database.name = unique("renamed");
            (database.is_template, database.connection_limit) = (true, 2);
            database.disable(OpenSessions::Terminate)?;
            database.is_template = false;
            database.enable()?;
            database.drop_force()
        })
        .unwrap();
    let verbs = ["ALTER DATABASE ", "SELECT pg_catalog.pg_terminate_backend(", "DROP DATABASE "];
    for statement in statements(&plan.script()) {
        assert!(verbs.iter().any(|verb| statement.starts_with(verb)), "{statement}");
    }
    let inside = connect(&database.name, &owner.name);
    database.name = unique("renamed");
    (database.is_template, database.connection_limit) = (true, 2);
    assert_eq!(database.alter().unwrap_err().code().map(|code| code.code()), Some("55006"));
    drop(inside);
    database.alter().unwrap();
    database.disable(OpenSessions::Terminate).unwrap();
    database.is_template = false;
    database.enable().unwrap();
    let _inside = connect(&database.name, &owner.name);
    database.drop_force().unwrap();
}

#[test]
fn one_name_in_another_encoding_degrades_its_row_and_no_listing() {
    let cluster = fresh();
    let mut latin = Database::new(unique("latin"));
    (latin.encoding, latin.collate, latin.ctype) = (Some("LATIN1".into()), Some("C".into()), Some("C".into()));
    let latin = cluster.databases().create(latin).unwrap();
    let inside = connect(&latin.name, "postgres");
    let (name, member) = (format!("é{}", unique("x")), unique("member"));
    let role = inside.roles().create(Role::new(name.as_str())).unwrap();
    let theirs = inside.databases().create(Database::new(format!("é{}", unique("x")))).unwrap();
    inside.roles().create(Role::new(member.as_str())).unwrap();
    inside.execute(&sql!("GRANT {} TO {}", Ident(&name), Ident(&member)).to_string(), &[]).unwrap();
    let mut latin = latin;
    latin.owner = name.clone();
    assert!(latin.alter().is_err());
    let mut here = inside.databases().get(latin.name.as_str()).unwrap();
    here.owner = name.clone();
    here.alter().unwrap();

    let unreadable = |object: &&mut Object<Role>| object.name == "\u{FFFD}";
    let mut roles: Vec<_> = cluster.roles().iter().unwrap().collect();
    assert!(roles.iter().any(|role| role.name == member));
    let found: Vec<_> = roles.iter_mut().filter(unreadable).collect();
    assert!(found.iter().any(|object| object.oid() == role.oid()));
    for object in found {
        object.comment = Some("x".into());
        assert!(matches!(object.alter(), Err(Error::Invalid { .. })));
        assert!(matches!(object.clone().drop(), Err(Error::Invalid { .. })));
    }
    assert!(matches!(cluster.roles().get("\u{FFFD}"), Err(Error::Invalid { .. })));

    let databases: Vec<_> = cluster.databases().iter().unwrap().collect();
    let found = databases.iter().find(|database| database.oid() == theirs.oid()).unwrap();
    assert_eq!(found.name, "\u{FFFD}");
    assert!(matches!(found.clone().drop_force(), Err(Error::Invalid { .. })));
    let owned = databases.iter().find(|database| database.name == latin.name).unwrap();
    assert_eq!(owned.owner, "\u{FFFD}");
    assert!(matches!(owned.script(), Err(Error::Invalid { .. })));

    theirs.drop().unwrap();
    here.owner = "postgres".into();
    here.alter().unwrap();
    role.drop().unwrap();
    drop(inside);
    cluster.databases().refresh();
    cluster.databases().get(latin.name.as_str()).unwrap().drop_force().unwrap();
}

#[test]
fn a_database_whose_drop_was_interrupted_says_so() {
    let cluster = fresh();
    let name = unique("half");
    cluster.execute(&format!("CREATE DATABASE {name} TEMPLATE template0"), &[]).unwrap();
    cluster.execute("UPDATE pg_database SET datconnlimit = -2 WHERE datname = $1", &[&name]).unwrap();
    let half = cluster.databases().get(&*name).unwrap();
    let error = half.script().unwrap_err();
    assert!(matches!(&error, Error::Unsupported { what, .. } if what.contains("interrupted DROP DATABASE")), "{error}");
    half.drop().unwrap();
}
