//! Databases that are made and dropped, and what is looked at before anybody's session ends.
use crate::support::{ReturningClients, connect, fresh, unique};
use pgsteward::{Cluster, Database, Error, Object, Role};

fn made(cluster: &Cluster, start: &str) -> Object<Database> {
    cluster.databases().create(Database::new(unique(start))).unwrap()
}

fn is_alive(session: &Cluster) -> bool {
    session.execute("SELECT 1", &[]).is_ok()
}

#[test]
fn p070_a_database_with_a_hostile_name_is_made_from_a_template_and_dropped_with_its_sessions() {
    let cluster = fresh();
    for start in ["semi;colon", "quo\"te's", "sp ace", "Ünï", "dash-ed", "back\\slash", "{brace}", "per%cent"] {
        let template = made(&cluster, start);
        let mut copy = Database::new(unique(start));
        copy.template = Some(template.name.clone());
        let copy = cluster.databases().create(copy).unwrap();
        let session = connect(&copy.name, "postgres");
        let name = copy.name.clone();
        assert_eq!(copy.drop_preview().unwrap().sessions.len(), 1);
        copy.drop_force().unwrap();
        assert!(!cluster.databases().contains(&name).unwrap() && !is_alive(&session));
        template.drop_force().unwrap();
    }
}

#[test]
fn p072_errors_say_what_is_there_and_what_is_not() {
    let cluster = fresh();
    let database = made(&cluster, "shop");
    let error = cluster.databases().create(Database::new(&database.name)).unwrap_err();
    assert!(matches!(error, Error::AlreadyExists { .. }), "{error}");
    let error = cluster.databases().get("no_such_database").unwrap_err();
    assert_eq!(error.to_string(), "database \"no_such_database\" does not exist");
    let mut copy = Database::new(unique("copy"));
    copy.template = Some("no_such_database".into());
    let error = cluster.databases().create(copy).unwrap_err();
    assert!(error.is_not_found() && error.to_string().contains("no_such_database"), "{error}");
    let inside = connect(&database.name, "postgres");
    let error = inside.databases().get(&database.name).unwrap().drop_preview().unwrap().check().unwrap_err();
    assert!(error.to_string().contains("connected to"), "{error}");
    let mut role = Role::new(unique("nobody"));
    role.login = true;
    let role = cluster.roles().create(role).unwrap();
    let theirs = connect("postgres", &role.name);
    let error = theirs.databases().create(Database::new(unique("theirs"))).unwrap_err();
    assert!(matches!(&error, Error::Denied { remedy, .. } if remedy.contains("CREATEDB")), "{error}");
}

#[test]
fn p073_sessions_that_come_back_do_not_make_a_drop_fail() {
    let cluster = fresh();
    for _ in 0..3 {
        let database = made(&cluster, "busy");
        let _clients = ReturningClients::of(&database.name, 4);
        let name = database.name.clone();
        database.drop_force().unwrap();
        cluster.refresh();
        assert!(!cluster.databases().contains(name).unwrap());
    }
}

#[test]
fn p075_nobody_is_ended_for_a_drop_that_is_refused() {
    let cluster = fresh();
    // The one that programs connect to.
    let session = connect("postgres", "postgres");
    let error = cluster.databases().get("postgres").unwrap().drop_force().unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }) && error.to_string().contains("maintenance"), "{error}");
    assert!(is_alive(&session));
    // A template.
    let mut database = made(&cluster, "template");
    database.is_template = true;
    database.alter().unwrap();
    let session = connect(&database.name, "postgres");
    assert!(matches!(database.drop_preview().unwrap().check(), Err(Error::Invalid { .. })));
    assert!(database.clone().drop_force().is_err() && is_alive(&session));
    database.is_template = false;
    database.alter().unwrap();
    // Somebody else's.
    let mut role = Role::new(unique("nobody"));
    role.login = true;
    let role = cluster.roles().create(role).unwrap();
    let theirs = connect("postgres", &role.name);
    let not_theirs = theirs.databases().get(&database.name).unwrap();
    assert!(matches!(not_theirs.drop_preview().unwrap().check(), Err(Error::Denied { .. })));
    assert!(not_theirs.drop_force().is_err() && is_alive(&session));
    // One's own, with a session that one may not end.
    database.owner = role.name.clone();
    database.alter().unwrap();
    theirs.refresh();
    let own_session = connect(&database.name, &role.name);
    let own = theirs.databases().get(&database.name).unwrap();
    let error = own.drop_preview().unwrap().check().unwrap_err();
    assert!(matches!(error, Error::Denied { .. }) && error.to_string().contains("session"), "{error}");
    assert!(own.clone().drop_force().is_err());
    assert!(is_alive(&session) && is_alive(&own_session));
    drop(session);
    crate::support::wait_until("it is gone", || own.drop_preview().unwrap().sessions.len() == 1);
    assert!(own.drop_preview().unwrap().size.is_some_and(|size| size > 1_000_000));
    own.drop_force().unwrap();
}

#[test]
fn p076_a_name_that_would_be_cut_acts_on_no_other_database() {
    let cluster = fresh();
    let name = format!("{:x<63}", unique("cut"));
    let database = cluster.databases().create(Database::new(&name)).unwrap();
    let session = connect(&name, "postgres");
    for wrong in [format!("{name}x"), format!("{}é", &name[..62]), format!("{name}\0"), "a\0b".into(), String::new()] {
        assert!(matches!(cluster.databases().get(&wrong), Err(Error::Invalid { .. })), "{wrong:?}");
        assert!(matches!(cluster.databases().create(Database::new(&wrong)), Err(Error::Invalid { .. })), "{wrong:?}");
        let copied = database.copy(Database::new(&wrong), &pgsteward::CopyOptions::new());
        assert!(matches!(copied, Err(Error::Invalid { .. })), "{wrong:?}");
        let mut renamed = database.clone();
        renamed.name = wrong.clone();
        assert!(matches!(renamed.alter(), Err(Error::Invalid { .. })), "{wrong:?}");
        let mut granted = database.clone();
        assert!(matches!(granted.grant_connect([&wrong]), Err(Error::Invalid { .. })), "{wrong:?}");
    }
    assert!(is_alive(&session));
    database.drop_force().unwrap();
}
