//! Who may connect, as the server would decide it.
use crate::support::{connect, fresh, major, server, unique, wait_until};
use pgsteward::hba::{
    Connection, ConnectionKind, FindingKind, HbaAlterOptions, HbaName, HbaProbe, LockOutReason, OnLockOut, PeerKind,
    Replication, Severity, World,
};
use pgsteward::testing::{TestServer, TestServerOptions};
use pgsteward::{Cluster, Ident, sql};

fn name(bytes: &[u8]) -> HbaName {
    bytes.into()
}

#[test]
fn roles_and_databases_are_read_to_the_byte_whatever_their_encoding() {
    for encoding in ["SQL_ASCII", "UTF8", "EUC_JP"] {
        read_to_the_byte(encoding);
    }
}

fn read_to_the_byte(encoding: &str) {
    let mut options = TestServerOptions::new();
    options.encoding = encoding.into();
    let server = TestServer::with(options).unwrap();
    let cluster = Cluster::connect(&server.dsn()).unwrap();
    for statement in [
        "CREATE ROLE staff",
        "CREATE ROLE ops IN ROLE staff",
        r#"CREATE ROLE "b\ob" LOGIN IN ROLE ops"#,
        r#"CREATE DATABASE "sh\op" TEMPLATE template0"#,
        "CREATE DATABASE latin1 TEMPLATE template0 ENCODING LATIN1 LC_COLLATE 'C' LC_CTYPE 'C'",
    ] {
        cluster.execute(statement, &[]).unwrap();
    }
    let latin1 = cluster.database("latin1").unwrap();
    latin1.execute("CREATE ROLE \"caf\u{e9}\" LOGIN IN ROLE ops", &[]).unwrap();
    for from in [&cluster, &latin1] {
        let world = World::load(from).unwrap();
        let roles = world.roles.unwrap();
        assert!(roles.is_member(name(b"b\\ob"), "staff") && roles.is_member(name(b"caf\xE9"), "staff"), "{roles:?}");
        assert!(!roles.contains("caf\u{e9}") && !roles.is_member("staff", "ops"));
        assert!(world.databases.unwrap().contains(&name(b"sh\\op")));
        assert_eq!(world.ssl, Some(false));
    }
}

#[test]
fn own_sessions_are_known_for_own_and_as_they_logged_in() {
    let cluster = fresh();
    let role = unique("visitor");
    cluster.execute(&sql!("CREATE ROLE {} LOGIN", Ident(&role)).to_string(), &[]).unwrap();
    let over_tcp = server().tcp_dsn_for(cluster.current_database(), &role).unwrap();
    let visitor = Cluster::connect(&over_tcp).unwrap();
    let as_another = connect(cluster.current_database(), "postgres");
    as_another.execute(&sql!("SET SESSION AUTHORIZATION {}", Ident(&role)).to_string(), &[]).unwrap();

    let own = |world: World| {
        let own: Vec<_> = world.sessions.into_iter().filter(|peer| peer.kind == PeerKind::Own).collect();
        assert_eq!(own.len(), 1, "{own:?}");
        own.into_iter().next().unwrap().connection
    };
    let expected = Connection::tcp([127, 0, 0, 1], cluster.current_database(), role.as_str());
    assert_eq!(own(World::load(&visitor).unwrap()), expected);
    assert_eq!(own(World::load(&as_another).unwrap()), Connection::local(cluster.current_database(), "postgres"));

    let world = World::load(&cluster).unwrap();
    let seen = world.sessions.iter().find(|peer| peer.connection == expected).unwrap();
    assert_eq!(seen.kind, PeerKind::Other);
    // An ordinary role is not told where others come from, and so they are left out.
    let hidden = World::load(&visitor).unwrap();
    assert!(hidden.sessions.iter().all(|peer| peer.connection.user == role.as_str()), "{:?}", hidden.sessions);
    assert_eq!(hidden.roles, world.roles);
}

#[test]
fn a_standby_is_a_replica_that_connects_for_physical_replication() {
    let server = TestServer::start().unwrap();
    let standby = server.standby().unwrap();
    let world = World::load(&Cluster::connect(&server.dsn()).unwrap()).unwrap();
    let replicas: Vec<_> = world.sessions.iter().filter(|peer| peer.kind == PeerKind::Replica).collect();
    assert_eq!(replicas.len(), 1, "{:?}", world.sessions);
    let connection = &replicas[0].connection;
    assert_eq!((connection.replication, connection.kind), (Replication::Physical, ConnectionKind::Local));
    assert!(World::load(&Cluster::connect(&standby.dsn()).unwrap()).unwrap().roles.is_some());
}

/// A server that lets everybody in, one role and one database in it.
fn shop() -> (TestServer, Cluster) {
    let server = TestServer::start().unwrap();
    let cluster = Cluster::connect(&server.dsn()).unwrap();
    for statement in ["CREATE ROLE staff", "CREATE ROLE app LOGIN IN ROLE staff", "CREATE DATABASE shop"] {
        cluster.execute(statement, &[]).unwrap();
    }
    (server, cluster)
}

#[test]
fn rules_of_a_cluster_are_judged_as_they_are_in_the_list() {
    let (_server, cluster) = shop();
    let mut hba = cluster.hba_rules().unwrap();
    hba.clear().unwrap();
    hba.extend([
        "local all postgres peer",
        "host shop +staff 10.0.0.0/8 scram-sha-256",
        "host shop app 10.1.0.0/16 md5",
        "host stock nobody 127.0.0.1/32 trust",
        "local all all scram-sha-256",
    ])
    .unwrap();
    let connection = Connection::tcp([10, 1, 2, 3], "shop", "app");
    assert_eq!(hba.decide(&connection).unwrap().rule().map(|rule| rule.index), Some(1));
    let others = [Connection::local("shop", "app"), Connection::tcp([10, 1, 2, 3], "shop", "postgres")];
    let decisions = hba.decide_all(&others).unwrap();
    let rules: Vec<_> = decisions.iter().map(|decision| decision.rule().map(|rule| rule.index)).collect();
    assert_eq!(rules, [Some(4), None]);
    assert!(hba.explain(&connection).unwrap().contains("it is for another type of connection"));

    let kinds: Vec<_> = hba.lint().unwrap().into_iter().map(|finding| finding.kind).collect();
    for kind in [FindingKind::Unreachable, FindingKind::UnknownDatabase, FindingKind::UnknownRole] {
        assert_eq!(kinds.iter().filter(|found| **found == kind).count(), 1, "{kind:?} in {kinds:?}");
    }
    let matrix = hba.access_matrix(["app", "postgres"], ["shop"], ["10.1.2.3".parse().unwrap()]).unwrap();
    assert_eq!(
        matrix.to_string(),
        "\
user      database  local          10.1.2.3
app       shop      scram-sha-256  scram-sha-256
postgres  shop      peer           no rule
"
    );
}

#[test]
fn an_expression_that_only_the_server_understands_is_asked_about_in_one_query() {
    let (_server, cluster) = shop();
    let mut hba = cluster.hba_rules().unwrap();
    let decide = |hba: &pgsteward::hba::HbaRules, database: &str| {
        let connection = Connection::local(database, "app");
        hba.decide(&connection).unwrap().rule().map(|rule| rule.index)
    };
    if major() < 16 {
        hba.insert(0, "local \"/^(s).*\\1\" all reject").unwrap();
        assert_eq!((decide(&hba, "shops"), decide(&hba, "/^(s).*\\1")), (Some(1), Some(0)));
        return;
    }
    hba.insert(0, "local \"/^(s).*\\1$\" all reject").unwrap();
    assert_eq!((decide(&hba, "shops"), decide(&hba, "shop")), (Some(0), Some(1)));
}

#[test]
fn a_change_that_locks_somebody_out_is_refused() {
    let (server, cluster) = shop();
    let standby = server.standby().unwrap();
    let mut hba = cluster.hba_rules().unwrap();
    let before = hba.old_bytes().to_vec();
    assert_eq!(hba.lock_outs().unwrap(), []);

    hba.insert(0, "local postgres postgres reject").unwrap();
    let error = hba.alter().unwrap_err().to_string();
    assert!(error.contains("this program's own session") && error.contains("line"), "{error}");
    assert_eq!(hba.lock_outs().unwrap()[0].peer.kind, PeerKind::Own);
    hba.revert();

    hba.insert(0, "local replication all reject").unwrap();
    let error = hba.alter().unwrap_err().to_string();
    assert!(error.contains("the replica") && !error.contains("own session"), "{error}");
    let findings = hba.lint().unwrap();
    let worst = findings.iter().max_by_key(|finding| finding.severity()).unwrap();
    assert_eq!((worst.kind, worst.severity()), (FindingKind::LockOut, Severity::Error), "{worst}");

    assert_eq!(std::fs::read(server.data_directory().join("pg_hba.conf")).unwrap(), before);
    drop(standby);
    hba.insert(0, "local replication postgres trust").unwrap();
    assert_eq!(hba.lock_outs().unwrap(), []);
}

#[test]
fn a_change_that_asks_a_replica_for_another_proof_is_refused_unless_it_is_allowed() {
    let (server, cluster) = shop();
    let _standby = server.standby().unwrap();
    let replicas = || cluster.execute("SELECT FROM pg_stat_replication", &[]).unwrap().len();
    wait_until("the standby streams", || replicas() == 1);
    let mut hba = cluster.hba_rules().unwrap();
    let trust = hba.index("local replication all trust").unwrap().unwrap();
    hba.replace(trust, "local replication all scram-sha-256").unwrap();
    let error = hba.alter().unwrap_err().to_string();
    for words in [
        "the replica",
        "decides: trust (\"local replication all trust\");",
        "decides: scram-sha-256 (\"local replication all scram-sha-256\");",
        "OnLockOut::Allow",
    ] {
        assert!(error.contains(words), "{words}: {error}");
    }
    let line = format!("line {} decides", hba.get(trust).unwrap().line());
    assert!(error.contains(&line) && !error.contains("own session"), "{error}");
    assert_eq!(std::fs::read(server.data_directory().join("pg_hba.conf")).unwrap(), hba.old_bytes());
    let findings = hba.lint().unwrap();
    let changed: Vec<_> =
        findings.iter().filter(|finding| finding.kind == FindingKind::ChangedAuthentication).collect();
    assert_eq!(changed.len(), 1, "{findings:?}");
    assert_eq!(
        (changed[0].severity(), changed[0].place.as_ref().unwrap().line),
        (Severity::Warning, hba.get(trust).unwrap().line())
    );

    let mut others = cluster.hba_rules().unwrap();
    let other = others.index("host replication all 127.0.0.1/32 trust").unwrap().unwrap();
    others.replace(other, "host replication all 127.0.0.1/32 scram-sha-256").unwrap();
    assert_eq!(others.lock_outs().unwrap(), []);
    others.alter().unwrap();

    hba.refresh().unwrap();
    hba.replace(trust, "local replication all scram-sha-256").unwrap();
    let mut options = HbaAlterOptions::new();
    options.lock_out = OnLockOut::Allow;
    hba.alter_with(&options).unwrap();
    assert!(!hba.is_changed());
}

#[test]
fn another_proof_for_this_session_is_tried_and_refused_only_where_nothing_tries_it() {
    let (server, cluster) = shop();
    let mut hba = cluster.hba_rules().unwrap();
    hba.insert(0, "local postgres postgres scram-sha-256").unwrap();
    let reason = hba.lock_outs().unwrap().remove(0).reason;
    assert!(matches!(reason, LockOutReason::ChangedAuthentication { .. }), "{reason:?}");
    let mut unprobed = HbaAlterOptions::new();
    unprobed.probe = HbaProbe::Skip;
    let error = hba.alter_with(&unprobed).unwrap_err().to_string();
    assert!(error.contains("own session") && error.contains("OnLockOut::Allow"), "{error}");
    // Without a password, the new connection is not let in.
    let error = hba.alter().unwrap_err().to_string();
    assert!(error.contains("password") && error.contains("put back and loaded"), "{error}");

    cluster.execute("SET password_encryption = 'scram-sha-256'", &[]).unwrap();
    cluster.execute("ALTER ROLE postgres PASSWORD 'geheim'", &[]).unwrap();
    let known = Cluster::connect(&format!("{} password=geheim", server.dsn())).unwrap();
    let mut hba = known.hba_rules().unwrap();
    hba.insert(0, "local postgres postgres scram-sha-256").unwrap();
    assert!(hba.alter().unwrap().probed);
}
