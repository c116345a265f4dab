//! Ending sessions.
use crate::support::{connect, fresh, server, unique};
use pgsteward::{Cluster, Error, Ident, Object, Role, SessionState, Sessions, sql};
use std::time::{Duration, Instant};

fn login(cluster: &Cluster) -> Object<Role> {
    let mut role = Role::new(unique("role"));
    role.login = true;
    cluster.roles().create(role).unwrap()
}

fn pid(cluster: &Cluster) -> i32 {
    cluster.execute("SELECT pg_backend_pid()", &[]).unwrap()[0].get(0)
}

/// The same for a session that was ended: the first call learns of it, and the next connects anew.
fn pid_now(cluster: &Cluster) -> i32 {
    assert!(matches!(cluster.execute("SELECT 1", &[]), Err(Error::Connection { .. })));
    pid(cluster)
}

/// The pids of those who were ended, in order.
fn ended(cluster: &Cluster, sessions: Sessions) -> Vec<i32> {
    let report = cluster.terminate(sessions).unwrap();
    assert!(report.remaining.is_empty() && report.refused.is_empty(), "{report:?}");
    let mut pids: Vec<i32> = report.terminated.iter().map(|session| session.pid).collect();
    pids.sort_unstable();
    pids
}

fn sorted(mut pids: Vec<i32>) -> Vec<i32> {
    pids.sort_unstable();
    pids
}

#[test]
fn p009_filters_and_their_exclusions_combine() {
    let (cluster, other) = (fresh(), fresh());
    let (db, other_db) = (cluster.current_database().to_owned(), other.current_database().to_owned());
    let (a, b) = (login(&cluster), login(&cluster));
    let open = |database: &str, role: &str| {
        let session = connect(database, role);
        let pid = pid(&session);
        (session, pid)
    };
    let four = || (open(&db, &a.name), open(&db, &b.name), open(&other_db, &a.name), open(&other_db, &b.name));
    let ((_s1, db_a), (_s2, db_b), (_s3, other_a), (_s4, other_b)) = four();
    let of_db = Sessions::new().databases([&db[..]]);
    assert_eq!(ended(&cluster, of_db.clone().roles([&a.name[..]])), [db_a]);
    assert_eq!(ended(&cluster, of_db.except_roles([&a.name[..]])), [db_b]);
    let of_ours = Sessions::new().roles([a.name.clone(), b.name.clone()]);
    assert_eq!(ended(&cluster, of_ours.clone().pids([other_b, 1])), [other_b]);
    assert!(ended(&cluster, of_ours.clone().except_pids([other_a])).is_empty());
    assert_eq!(ended(&cluster, of_ours.clone().except_databases([&db[..]])), [other_a]);

    let ((s1, db_a), (_s2, db_b), (_s3, other_a), (_s4, other_b)) = four();
    s1.execute("SET application_name = 'it''s'", &[]).unwrap();
    assert_eq!(ended(&cluster, of_ours.clone().applications(["it's"])), [db_a]);
    let excluded = of_ours.clone().states([SessionState::Idle]).except_applications([""]);
    assert!(ended(&cluster, excluded).is_empty());
    let others = of_ours.clone().all().states([SessionState::Idle]).except_states([SessionState::Active]);
    assert_eq!(ended(&cluster, others), sorted(vec![db_b, other_a, other_b]));
    assert!(ended(&cluster, of_ours).is_empty());
    assert!(matches!(cluster.terminate(Sessions::new()), Err(Error::Invalid { .. })));
    // The cluster's own session is as it was.
    assert_ne!(pid(&cluster), db_a);
}

/// A server of its own: it ends all sessions.
#[test]
fn p010_all_sessions_but_its_own_and_the_servers_processes() {
    use pgsteward::testing::TestServer;
    let alone = TestServer::start().unwrap();
    let cluster = Cluster::connect(&alone.dsn()).unwrap();
    let own = pid(&cluster);
    let others: Vec<Cluster> = (0..3).map(|_| Cluster::connect(&alone.dsn()).unwrap()).collect();
    let clients = sorted(others.iter().map(pid).collect());
    let standby = alone.standby().unwrap();
    let system = "SELECT array_agg(pid ORDER BY pid) FROM pg_stat_activity \
                  WHERE backend_type NOT IN ('client backend', 'walsender', 'autovacuum worker', 'parallel worker')";
    let before: Vec<i32> = cluster.execute(system, &[]).unwrap()[0].get(0);
    assert!(ended(&cluster, Sessions::new().pids(before.clone())).is_empty());
    assert_eq!(ended(&cluster, Sessions::new().all()), clients);
    // A walsender has no database: an exclusion of databases does not spare it.
    let sender: i32 = wait_for_walsender(&cluster);
    assert_eq!(ended(&cluster, Sessions::new().except_databases(["postgres"]).walsenders()), [sender]);
    let after: Vec<i32> = cluster.execute(system, &[]).unwrap()[0].get(0);
    assert_eq!((pid(&cluster), after), (own, before));
    drop(standby);
}

/// A server of its own: it ends all sessions.
#[test]
fn p010_connections_to_other_databases_that_are_kept_are_its_own() {
    let alone = pgsteward::testing::TestServer::start().unwrap();
    let cluster = Cluster::connect(&alone.dsn()).unwrap();
    cluster.execute("CREATE DATABASE \"it's\"", &[]).unwrap();
    let (there, further) = (cluster.database("it's").unwrap(), cluster.database("template1").unwrap());
    let beyond = there.database("template1").unwrap();
    let stranger = Cluster::connect(&alone.dsn_for("it's", "postgres")).unwrap();
    let (theirs, own) = (pid(&stranger), [pid(&there), pid(&further), pid(&beyond)]);
    assert_eq!(ended(&cluster, Sessions::new().all()), [theirs]);
    assert_eq!([pid(&there), pid(&further), pid(&beyond)], own);
    assert!(ended(&cluster, Sessions::new().pids(own)).is_empty());
    let stranger = pid_now(&stranger);
    let plan = cluster.plan(|c| c.terminate(Sessions::new().all())).unwrap();
    plan.apply().unwrap();
    assert_eq!([pid(&there), pid(&further), pid(&beyond)], own);
    assert!(ended(&cluster, Sessions::new().pids([stranger])).is_empty());
}

/// A server of its own: it ends all sessions.
#[test]
fn p010_the_clusters_of_one_connection_spare_each_other() {
    let alone = pgsteward::testing::TestServer::start().unwrap();
    let cluster = Cluster::connect(&alone.dsn()).unwrap();
    let there = cluster.database("template1").unwrap();
    let back = there.database("postgres").unwrap();
    let own = [pid(&cluster), pid(&there), pid(&back)];
    // The one that another came from.
    assert!(ended(&there, Sessions::new().all()).is_empty());
    assert_eq!([pid(&cluster), pid(&there), pid(&back)], own);
    // One that was lost and made anew goes by its new pid.
    let stranger = Cluster::connect(&alone.dsn()).unwrap();
    let theirs = pid(&stranger);
    assert_eq!(ended(&stranger, Sessions::new().pids([own[1]])), [own[1]]);
    let again = pid_now(&there);
    assert_ne!(again, own[1]);
    assert_eq!(ended(&cluster, Sessions::new().all()), [theirs]);
    assert_eq!(pid(&there), again);
    // A connection of one's own to the same database is a stranger.
    let mine = Cluster::connect(&alone.dsn_for("template1", "postgres")).unwrap();
    let pid_of_mine = pid(&mine);
    assert_eq!(ended(&cluster, Sessions::new().all()), [pid_of_mine]);
}

fn wait_for_walsender(cluster: &Cluster) -> i32 {
    let started = Instant::now();
    loop {
        if let Some(row) = cluster.execute("SELECT pid FROM pg_stat_replication", &[]).unwrap().first() {
            return row.get(0);
        }
        assert!(started.elapsed() < Duration::from_secs(30), "no walsender");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn p011_what_is_reported_is_what_really_went_away() {
    let cluster = fresh();
    let role = login(&cluster);
    let session = connect(cluster.current_database(), &role.name);
    let victim = pid(&session);
    let of_role = Sessions::new().roles([&role.name[..]]);
    // Also in a transaction, in which the server shows the sessions as they were when it began.
    let report = cluster
        .transaction(|| {
            assert!(cluster.terminate(Sessions::new().pids([1]))?.terminated.is_empty());
            cluster.terminate(of_role.clone())
        })
        .unwrap();
    let there = cluster.execute("SELECT FROM pg_stat_activity WHERE pid = $1", &[&victim]).unwrap();
    assert!(there.is_empty());
    let [gone] = &report.terminated[..] else { panic!("{report:?}") };
    assert_eq!((gone.pid, gone.role.as_ref()), (victim, Some(&role.name)));
    assert_eq!(gone.database.as_deref(), Some(cluster.current_database()));
    assert_eq!((gone.state, gone.client_address.as_ref()), (Some(SessionState::Idle), None));

    // One that is told to end, and has had no time to.
    let session = connect(cluster.current_database(), &role.name);
    let victim = pid(&session);
    let mut stopped = std::process::Command::new("kill");
    assert!(stopped.args(["-STOP", &victim.to_string()]).status().unwrap().success());
    let report = cluster.terminate(of_role.clone().timeout(Duration::from_millis(100)));
    assert!(std::process::Command::new("kill").args(["-CONT", &victim.to_string()]).status().unwrap().success());
    let report = report.unwrap();
    assert_eq!((report.terminated.len(), report.remaining.len()), (0, 1), "{report:?}");
    assert_eq!(report.remaining[0].pid, victim);
}

#[test]
fn p011_a_role_without_rights_is_refused_and_one_with_pg_signal_backend_is_not() {
    let cluster = fresh();
    let (target, nobody, signaller) = (login(&cluster), login(&cluster), login(&cluster));
    let grant = sql!("GRANT pg_signal_backend TO {}", Ident(&signaller.name));
    cluster.execute(&grant.to_string(), &[]).unwrap();
    let db = cluster.current_database();
    let (session, own) = (connect(db, &target.name), connect(db, &nobody.name));
    let victim = pid(&session);
    let by_nobody = connect(db, &nobody.name);
    let in_database = Sessions::new().databases([db]);
    let report = by_nobody.terminate(in_database.clone()).unwrap();
    // The superuser's and the target's are refused, its own other one is ended.
    let mut refused: Vec<_> = report.refused.iter().filter_map(|session| session.role.clone()).collect();
    refused.sort();
    let mut expected = vec!["postgres".to_owned(), target.name.clone()];
    expected.sort();
    assert_eq!(refused, expected);
    assert_eq!(report.terminated.len(), 1);
    drop(own);
    let report = connect(db, &signaller.name).terminate(in_database.except_roles([&nobody.name[..]])).unwrap();
    assert_eq!(report.terminated.iter().map(|session| session.pid).collect::<Vec<_>>(), [victim]);
    assert_eq!(report.refused.iter().filter_map(|session| session.role.as_deref()).collect::<Vec<_>>(), ["postgres"]);
}

#[test]
fn p012_unknown_names_match_nobody() {
    let cluster = fresh();
    for sessions in [
        Sessions::new().databases(["no such database"]),
        Sessions::new().roles(["no'such\\role"]),
        Sessions::new().pids([1, i32::MAX, -1]),
        Sessions::new().applications(["no such application"]),
        Sessions::new().databases(Vec::<String>::new()),
    ] {
        assert_eq!(cluster.terminate(sessions).unwrap(), pgsteward::TerminateReport::default());
    }
}

#[test]
fn the_longest_timeout_is_for_ever() {
    let cluster = fresh();
    let role = login(&cluster);
    let session = connect(cluster.current_database(), &role.name);
    let victim = pid(&session);
    assert_eq!(ended(&cluster, Sessions::new().pids([victim]).timeout(Duration::MAX)), [victim]);
}

#[test]
fn a_plan_collects_the_end_of_sessions() {
    let cluster = fresh();
    let role = login(&cluster);
    let session = connect(cluster.current_database(), &role.name);
    let victim = pid(&session);
    let plan = cluster.plan(|c| c.terminate(Sessions::new().roles([&role.name[..]]))).unwrap();
    assert!(plan.to_string().contains("pg_terminate_backend"), "{plan}");
    assert_eq!(pid(&session), victim);
    plan.apply().unwrap();
    assert_ne!(pid_now(&session), victim);
}

#[test]
fn p036_a_role_is_dropped_with_its_sessions_and_nobody_gets_in_between() {
    let cluster = fresh();
    let role = login(&cluster);
    let dsn = server().dsn_for(cluster.current_database(), &role.name);
    let sessions: Vec<Cluster> = (0..3).map(|_| Cluster::connect(&dsn).unwrap()).collect();
    let oid =
        cluster.execute("SELECT oid FROM pg_roles WHERE rolname = $1", &[&role.name]).unwrap()[0].get::<_, u32>(0);
    // Others keep coming until they are refused.
    let intruders: Vec<_> = (0..2)
        .map(|_| {
            let dsn = dsn.clone();
            std::thread::spawn(move || {
                let mut came = Vec::new();
                while let Ok(session) = Cluster::connect(&dsn) {
                    came.push(session);
                }
                came.len()
            })
        })
        .collect();
    std::thread::sleep(Duration::from_millis(100));
    role.clone().drop_after_terminating().unwrap();
    intruders.into_iter().for_each(|intruder| assert!(intruder.join().is_ok()));
    assert!(!cluster.roles().contains(&*role.name).unwrap());
    let left = cluster.execute("SELECT FROM pg_stat_activity WHERE usesysid = $1", &[&oid]).unwrap();
    assert_eq!(left.len(), 0);
    drop(sessions);
}

#[test]
fn p036_a_role_that_cannot_be_dropped_keeps_its_sessions_and_its_logins() {
    let cluster = fresh();
    let role = login(&cluster);
    let grant = sql!("CREATE SCHEMA s AUTHORIZATION {}", Ident(&role.name));
    cluster.execute(&grant.to_string(), &[]).unwrap();
    let session = connect(cluster.current_database(), &role.name);
    let before = pid(&session);
    let error = role.clone().drop_after_terminating().unwrap_err();
    assert_eq!(error.code().map(|code| code.code().to_owned()), Some("2BP01".into()), "{error}");
    assert_eq!(pid(&session), before);
    assert!(cluster.roles().get(&*role.name).unwrap().login);
    let inside = cluster.transaction(|| role.clone().drop_after_terminating());
    assert!(matches!(inside, Err(Error::Invalid { .. })));
}

#[test]
fn p036_a_plan_shows_the_three_steps() {
    let cluster = fresh();
    let role = login(&cluster);
    let plan = cluster.plan(|c| c.roles().get(&*role.name)?.drop_after_terminating()).unwrap();
    let script = plan.script();
    let steps: Vec<String> = script.statements().map(|sql| sql.to_string()).collect();
    assert_eq!(steps.len(), 3);
    assert!(
        steps[0].ends_with(" NOLOGIN") && steps[1].contains("pg_terminate_backend") && steps[2].starts_with("DROP")
    );
    plan.apply().unwrap();
    cluster.refresh();
    assert!(!cluster.roles().contains(&*role.name).unwrap());
}
