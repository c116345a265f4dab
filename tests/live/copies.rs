//! Databases made from a template that has sessions, and what PostgreSQL does not copy.
use crate::support::{ReturningClients, connect, fresh, major, unique};
use pgsteward::{Cluster, CopyOptions, Database, Error, Grantee, Object, OpenSessions, Role, Table};
use std::time::{Duration, Instant};

fn template(cluster: &Cluster) -> Object<Database> {
    let template = cluster.databases().create(Database::new(unique("template"))).unwrap();
    let inside = connect(&template.name, "postgres");
    inside.tables().create(Table::new("was_in_the_template")).unwrap();
    template
}

fn role(cluster: &Cluster, start: &str, f: impl FnOnce(&mut Role)) -> String {
    let mut role = Role::new(unique(start));
    role.login = true;
    f(&mut role);
    cluster.roles().create(role).unwrap().name.clone()
}

fn is_copied(name: &str) -> bool {
    connect(name, "postgres").tables().contains("was_in_the_template").unwrap()
}

#[test]
fn p079_who_uses_the_template_is_said_at_once() {
    let cluster = fresh();
    let template = template(&cluster);
    let app = role(&cluster, "app", |_| {});
    let inside = connect(&template.name, &app);
    inside.execute("SET application_name = 'it''s me'", &[]).unwrap();
    let pid: i32 = inside.execute("SELECT pg_backend_pid()", &[]).unwrap()[0].get(0);
    let mut copy = Database::new(unique("copy"));
    copy.template = Some(template.name.clone());
    let began = Instant::now();
    let error = cluster.databases().create(copy.clone()).unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(3), "it took {:?}", began.elapsed());
    let said = error.to_string();
    assert!(matches!(error, Error::InUse { .. }), "{said}");
    for word in [&format!("session {pid}"), &app, "\"it's me\"", &template.name, "(55006)"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert!(matches!(template.copy(Database::new(&copy.name), &CopyOptions::new()), Err(Error::InUse { .. })));
    drop(inside);
    cluster.databases().create(copy.clone()).unwrap();
    assert!(is_copied(&copy.name));
    // A connection of one's own to the template is let go of.
    cluster.database(&template.name).unwrap().execute("SELECT 1", &[]).unwrap();
    let again = template.copy(Database::new(unique("copy")), &CopyOptions::new()).unwrap();
    assert!(is_copied(&again.name));
}

#[test]
fn p079_sessions_of_the_template_are_ended_and_do_not_come_back_in_time() {
    let cluster = fresh();
    let template = template(&cluster);
    let mut options = CopyOptions::new();
    options.sessions = OpenSessions::Terminate;
    let clients = ReturningClients::of(&template.name, 4);
    for _ in 0..5 {
        let began = Instant::now();
        let copy = template.copy(Database::new(unique("copy")), &options).unwrap();
        assert!(began.elapsed() < Duration::from_secs(4), "it took {:?}", began.elapsed());
        assert!(is_copied(&copy.name));
    }
    drop(clients);
    let mut now = template.clone();
    now.refresh().unwrap();
    assert!(now.allow_connections && !now.is_template);
    // Of the database that this is connected to, too.
    let inside = connect(&template.name, "postgres");
    let _other = connect(&template.name, "postgres");
    let own = inside.databases().get(&template.name).unwrap();
    assert!(is_copied(&own.copy(Database::new(unique("copy")), &options).unwrap().name));
}

#[test]
fn p079_nobody_is_ended_by_one_who_may_not_end_all() {
    let cluster = fresh();
    let maker = role(&cluster, "maker", |role| role.create_database = true);
    let theirs = connect("postgres", &maker);
    let template = theirs.databases().create(Database::new(unique("template"))).unwrap();
    let (own, superuser) = (connect(&template.name, &maker), connect(&template.name, "postgres"));
    let mut options = CopyOptions::new();
    options.sessions = OpenSessions::Terminate;
    let error = template.copy(Database::new(unique("copy")), &options).unwrap_err();
    assert!(matches!(error, Error::Denied { .. }) && error.to_string().contains("\"postgres\""), "{error}");
    for session in [&own, &superuser] {
        assert!(session.execute("SELECT 1", &[]).is_ok());
    }
    drop(superuser);
    crate::support::wait_until("its session is gone", || {
        theirs.databases().get(&template.name).unwrap().drop_preview().unwrap().sessions.len() == 1
    });
    template.copy(Database::new(unique("copy")), &options).unwrap();
    assert!(own.execute("SELECT 1", &[]).is_err());
}

/// What PostgreSQL does not copy.
fn left_behind(cluster: &Cluster, name: &str) -> Vec<String> {
    let question = "SELECT concat_ws('|', pg_get_userbyid(d.datdba), d.datconnlimit, shobj_description(d.oid, 'pg_database'), \
        (SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM unnest(d.datacl) a), \
        (SELECT string_agg(concat(r.rolname, ':', s.setconfig), ' ' ORDER BY r.rolname) \
         FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole WHERE s.setdatabase = d.oid)) \
        FROM pg_database d WHERE datname = $1";
    cluster.execute(question, &[&name]).unwrap().iter().map(|row| row.get(0)).collect()
}

#[test]
fn p079_what_postgresql_leaves_behind_is_copied_when_asked() {
    let cluster = fresh();
    let (owner, reader) = (role(&cluster, "owner", |_| {}), role(&cluster, "read\"er", |_| {}));
    let mut template = template(&cluster);
    let quoted = format!("\"{}\"", reader.replace('"', "\"\""));
    for statement in [
        format!("ALTER DATABASE {0} SET search_path TO \"$user\", 'we.ird', public", template.name),
        format!("ALTER DATABASE {0} SET \"my.it's\" TO 'a=b,c'", template.name).replace("\"my.it's\"", "my.own"),
        format!("ALTER ROLE {quoted} IN DATABASE {0} SET work_mem TO '5MB'", template.name),
        format!("GRANT CREATE ON DATABASE {0} TO {quoted} WITH GRANT OPTION", template.name),
    ] {
        cluster.execute(&statement, &[]).unwrap();
    }
    (template.owner, template.connection_limit, template.comment) = (owner, 7, Some("it's".into()));
    template.revoke_connect([Grantee::Public]).unwrap();
    template.grant_connect([&reader]).unwrap();

    let everything = template.copy(Database::new(unique("copy")), &CopyOptions::everything()).unwrap();
    assert_eq!(left_behind(&cluster, &everything.name), left_behind(&cluster, &template.name));
    assert!(is_copied(&everything.name));
    assert_eq!(everything.connect_access, template.connect_access);
    let nothing = template.copy(Database::new(unique("copy")), &CopyOptions::new()).unwrap();
    assert_eq!(left_behind(&cluster, &nothing.name), ["postgres|-1"]);
    let mut options = CopyOptions::new();
    options.comment = true;
    let comment = template.copy(Database::new(unique("copy")), &options).unwrap();
    assert_eq!(left_behind(&cluster, &comment.name), ["postgres|-1|it's"]);
}

#[test]
fn p079_a_copy_that_fails_halfway_is_dropped() {
    let cluster = fresh();
    let maker = role(&cluster, "maker", |role| role.create_database = true);
    let theirs = connect("postgres", &maker);
    let template = theirs.databases().create(Database::new(unique("template"))).unwrap();
    cluster.execute(&format!("ALTER DATABASE {} SET log_statement TO 'all'", template.name), &[]).unwrap();
    let name = unique("copy");
    let error = template.copy(Database::new(&name), &CopyOptions::everything()).unwrap_err();
    assert!(matches!(error, Error::Denied { .. }), "{error}");
    assert!(!cluster.databases().contains(&name).unwrap());
    template.copy(Database::new(&name), &CopyOptions::new()).unwrap();
}

#[test]
fn p079_a_plan_shows_the_copy_and_makes_it_later() {
    let cluster = fresh();
    let template = template(&cluster);
    let session = connect(&template.name, "postgres");
    let (name, mut options) = (unique("copy"), CopyOptions::everything());
    options.sessions = OpenSessions::Terminate;
    let plan = cluster
        .plan(|c| {
            let copy = c.databases().get(&template.name)?.copy(Database::new(&name), &options)?;
            assert_eq!(copy.name, name);
            assert!(c.databases().contains(&name)?);
            Ok(())
        })
        .unwrap();
    let shown = plan.to_string();
    assert!(shown.starts_with("SELECT pg_catalog.pg_terminate_backend("), "{shown}");
    assert!(shown.contains(&format!("CREATE DATABASE \"{name}\"")), "{shown}");
    assert!(session.execute("SELECT 1", &[]).is_ok());
    plan.apply().unwrap();
    assert!(is_copied(&name) && session.execute("SELECT 1", &[]).is_err());
}

#[test]
fn p079_a_prepared_transaction_is_named_and_ends_nobody() {
    let mut options = pgsteward::testing::TestServerOptions::new();
    options.settings.push(("max_prepared_transactions".into(), "5".into()));
    let server = pgsteward::testing::TestServer::with(options).unwrap();
    let cluster = Cluster::connect(&server.dsn()).unwrap();
    let template = cluster.databases().create(Database::new("shop")).unwrap();
    let inside = Cluster::connect(&server.dsn_for("shop", "postgres")).unwrap();
    inside.execute("BEGIN; CREATE TABLE t (); PREPARE TRANSACTION 'it''s open'", &[]).unwrap();
    let mut terminating = CopyOptions::new();
    terminating.sessions = OpenSessions::Terminate;
    for options in [&CopyOptions::new(), &terminating] {
        let error = template.copy(Database::new("copy"), options).unwrap_err();
        assert!(matches!(error, Error::InUse { .. }) && error.to_string().contains("open"), "{error}");
    }
    assert!(inside.execute("SELECT 1", &[]).is_ok());
    let error = template.clone().drop_preview().unwrap().check().unwrap_err();
    assert!(matches!(error, Error::InUse { .. }), "{error}");
    if major() < 13 {
        assert!(matches!(template.drop_force(), Err(Error::InUse { .. })));
    } else {
        assert_eq!(template.drop_force().unwrap_err().code().map(|code| code.code()), Some("55006"));
    }
    assert!(inside.execute("SELECT 1", &[]).is_ok());
}
