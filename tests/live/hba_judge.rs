//! Who may connect, as the server would decide it.
use crate::support::{connect, fresh, server, unique};
use pgsteward::hba::{Connection, ConnectionKind, HbaName, PeerKind, Replication, World};
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
