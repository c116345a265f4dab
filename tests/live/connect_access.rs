//! Who may connect to a database.
use crate::support::{connect, fresh, server, unique};
use pgsteward::{Cluster, Database, Error, Grantee, Object, Role};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn login(cluster: &Cluster, name: impl Into<String>) -> String {
    let mut role = Role::new(name);
    role.login = true;
    cluster.roles().create(role).unwrap().name.clone()
}

fn made(cluster: &Cluster) -> Object<Database> {
    cluster.databases().create(Database::new(unique("guarded"))).unwrap()
}

fn may_connect(database: &str, role: &str) -> bool {
    Cluster::connect(&server().dsn_for(database, role)).is_ok()
}

/// What the server says of a role.
fn has_connect(cluster: &Cluster, database: &str, role: &str) -> bool {
    let question = "SELECT has_database_privilege($1::name, $2::text, 'CONNECT')";
    cluster.execute(question, &[&role, &database]).unwrap()[0].get(0)
}

#[test]
fn p074_who_may_connect_is_read_granted_and_revoked() {
    let cluster = fresh();
    let (app, other, owner) =
        (login(&cluster, unique("app")), login(&cluster, unique("other")), login(&cluster, unique("owner")));
    let mut database = Database::new(unique("guarded"));
    database.owner = owner.clone();
    let mut database = cluster.databases().create(database).unwrap();
    assert!(database.connect_access.public && database.connect_access.roles.is_empty());
    assert!(may_connect(&database.name, &other));

    // What no role can be called stands for nobody, and is not said to be revoked.
    assert!(matches!(database.revoke_connect(["public"]), Err(Error::Invalid { .. })));
    assert!(database.connect_access.public);
    database.revoke_connect([Grantee::Public]).unwrap();
    database.grant_connect([&app]).unwrap();
    assert!(!database.connect_access.public);
    assert_eq!(database.connect_access.roles, BTreeSet::from([app.clone()]));
    assert!(may_connect(&database.name, &app) && may_connect(&database.name, &owner));
    assert!(!may_connect(&database.name, &other));
    // Granted again, nothing is sent.
    let plan = cluster.plan(|c| c.databases().get(&database.name)?.grant_connect([&app])).unwrap();
    assert!(plan.is_empty(), "{plan}");
    let error = database.revoke_connect([&owner]).unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }), "{error}");

    database.revert();
    database.connect_access.public = true;
    database.connect_access.roles.clear();
    assert_eq!(
        database.changes().to_string(),
        format!(
            "REVOKE CONNECT ON DATABASE \"{0}\" FROM \"{app}\";\nGRANT CONNECT ON DATABASE \"{0}\" TO PUBLIC;\n",
            database.name
        )
    );
    database.alter().unwrap();
    assert!(may_connect(&database.name, &other));
}

#[test]
fn p074_a_new_database_is_made_with_its_access_and_scripted_with_it() {
    let cluster = fresh();
    let app = login(&cluster, unique("app"));
    let mut database = Database::new(unique("guarded"));
    database.connect_access.public = false;
    database.connect_access.roles.insert(app.clone());
    let database = cluster.databases().create(database).unwrap();
    let script = database.script().unwrap();
    assert!(script.to_string().contains("FROM PUBLIC") && script.to_string().contains(&app), "{script}");
    let (name, access) = (database.name.clone(), database.connect_access.clone());
    database.drop().unwrap();
    cluster.run(&script).unwrap();
    cluster.refresh();
    let again = cluster.databases().get(&name).unwrap();
    assert_eq!(again.connect_access, access);
    // Other privileges are no part of it, and a script does not lose them.
    cluster.execute(&format!("GRANT CREATE ON DATABASE {name} TO {app}"), &[]).unwrap();
    cluster.refresh();
    let error = cluster.databases().get(&name).unwrap().script().unwrap_err();
    assert!(error.to_string().contains("privileges"), "{error}");
    // A role that does not exist: the database is not left behind.
    let mut half = Database::new(unique("half"));
    half.connect_access.roles.insert("nobody_of_that_name".into());
    let half_name = half.name.clone();
    assert!(cluster.databases().create(half).is_err());
    cluster.refresh();
    assert!(!cluster.databases().contains(half_name).unwrap());
}

#[test]
fn p078_several_roles_and_public_are_one_transaction() {
    let cluster = fresh();
    let app = login(&cluster, unique("app"));
    let mut database = made(&cluster);
    database.connect_access.public = false;
    let error = database.grant_connect([&app, "nobody_of_that_name"].map(Grantee::from)).unwrap_err();
    assert!(error.is_not_found(), "{error}");
    database.refresh().unwrap();
    assert!(database.connect_access.public && database.connect_access.roles.is_empty());

    let plan = cluster
        .plan(|c| {
            let mut database = c.databases().get(&database.name)?;
            database.connect_access.public = false;
            database.grant_connect([&app])
        })
        .unwrap();
    database.refresh().unwrap();
    assert!(database.connect_access.public);
    plan.apply().unwrap();
    database.refresh().unwrap();
    assert!(!database.connect_access.public && database.connect_access.roles.contains(&app));
}

#[test]
fn p078_hostile_role_names_are_read_back_right() {
    let cluster = fresh();
    let names = ["a=b", "-x", "q\"u'o", "c,omma", "PUBLIC", "{b}", "back\\slash", "space d", "=Tc/x", "NULL", "*"];
    let names = names.map(|name| login(&cluster, unique(name)));
    let mut database = made(&cluster);
    database.connect_access.public = false;
    database.grant_connect(&names).unwrap();
    database.refresh().unwrap();
    assert_eq!(database.connect_access.roles, names.iter().cloned().collect());
    assert!(!database.connect_access.public);
    database.revoke_connect(&names[1..]).unwrap();
    assert_eq!(database.connect_access.roles, BTreeSet::from([names[0].clone()]));
    for reserved in ["public", "none"] {
        let mut database = cluster.databases().get(&database.name).unwrap();
        let error = database.grant_connect([reserved]).unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }), "{error}");
    }
    assert!(!has_connect(&cluster, &database.name, &names[1]));
}

#[test]
fn what_others_change_meanwhile_is_kept_and_a_renamed_database_is_a_conflict() {
    let cluster = fresh();
    let (mine, theirs) = (login(&cluster, unique("mine")), login(&cluster, unique("theirs")));
    let mut database = made(&cluster);
    let name = database.name.clone();
    connect("postgres", "postgres").databases().get(&name).unwrap().grant_connect([&theirs]).unwrap();
    database.grant_connect([&mine]).unwrap();
    assert_eq!(database.connect_access.roles, BTreeSet::from([mine.clone(), theirs.clone()]));
    let mut renamed = connect("postgres", "postgres").databases().get(&name).unwrap();
    renamed.name = unique("renamed");
    renamed.alter().unwrap();
    assert!(database.revoke_connect([&mine]).unwrap_err().is_conflict());
}

#[test]
fn what_a_role_with_the_grant_option_granted_is_not_silently_left() {
    let cluster = fresh();
    let (dealer, client) = (login(&cluster, unique("dealer")), login(&cluster, unique("client")));
    let database = made(&cluster);
    cluster
        .execute(&format!("GRANT CONNECT ON DATABASE {} TO {dealer} WITH GRANT OPTION", database.name), &[])
        .unwrap();
    connect("postgres", &dealer).databases().get(&database.name).unwrap().grant_connect([&client]).unwrap();
    cluster.refresh();
    let mut database = cluster.databases().get(&database.name).unwrap();
    assert!(database.connect_access.roles.contains(&client));
    let error = database.revoke_connect([&client]).unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }) && error.to_string().contains("grant option"), "{error}");
    assert!(has_connect(&cluster, &database.name, &client));
}

#[test]
fn what_the_server_only_warns_of_is_an_error() {
    let cluster = fresh();
    let (nobody, guest) = (login(&cluster, unique("nobody")), login(&cluster, unique("guest")));
    let database = made(&cluster).name.clone();
    cluster.databases().get(&database).unwrap().grant_connect([&guest]).unwrap();
    // By PUBLIC it may connect, but say of nobody that he may or may not.
    let theirs = connect("postgres", &nobody);
    let open = || theirs.databases().get(&database).unwrap();
    for refused in [open().revoke_connect([Grantee::Public]), open().grant_connect([&nobody])] {
        let error = refused.unwrap_err();
        assert!(matches!(error, Error::Denied { .. }) && error.to_string().contains("CONNECT"), "{error}");
    }
    let mut both = cluster.databases().get(&database).unwrap();
    assert!(both.connect_access.public && both.connect_access.roles == BTreeSet::from([guest.clone()]));
    // An owner has the right without a grant: a new owner is no failed grant.
    both.owner = guest.clone();
    both.connect_access.roles.insert(guest);
    both.connect_access.roles.insert(nobody.clone());
    both.alter().unwrap();
    assert!(both.connect_access.roles.contains(&nobody));
}

#[test]
fn the_server_has_after_any_change_what_was_wanted() {
    let cluster = fresh();
    let names: Vec<String> = (0..4).map(|_| login(&cluster, unique("any"))).collect();
    let database = made(&cluster).name.clone();
    let access = (any::<bool>(), proptest::collection::btree_set(proptest::sample::select(names.clone()), 0..4));
    proptest!(ProptestConfig { cases: 24, ..Default::default() }, |((public, roles) in access)| {
        let mut object = cluster.databases().get(&database).unwrap();
        object.connect_access.public = public;
        object.connect_access.roles = roles.clone();
        object.alter().unwrap();
        prop_assert_eq!(&object.connect_access.roles, &roles);
        for name in &names {
            prop_assert_eq!(has_connect(&cluster, &database, name), public || roles.contains(name));
        }
    });
}
