//! Who may connect, as the server would decide it.
use crate::support::{connect, fresh, major, server, unique, wait_until};
use pgsteward::hba::{
    Access, Connection, ConnectionKind, Dialect, FindingKind, HbaAlterOptions, HbaFile, HbaName, HbaProbe,
    LockOutReason, OnLockOut, Outcome, PeerKind, Replication, Severity, World,
};
use pgsteward::testing::{TestServer, TestServerOptions};
use pgsteward::{Cluster, Ident, sql};
use socket2::{Domain, Socket, Type};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;

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

/// Numbers that look random, the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % count
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }

    /// One to three of them, with commas.
    fn list(&mut self, from: &[&str]) -> String {
        (0..=self.below(3)).map(|_| self.pick(from)).collect::<Vec<_>>().join(",")
    }
}

const LONG: &str = "llllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllll";
const USERS: [&str; 12] =
    ["alice", "bob", "carol", "gail", "ops", "staff", "+devs", "all", "nobody", "b\u{fc}ro", "/x", LONG];
const DATABASES: [&str; 10] = ["db1", "db2", "alice", "devs", "staff", "replication", "all", "b\u{fc}ro", "/x", ""];

/// A rule of which the server tells whether it decided: it asks for a password, which is always wrong.
fn random_rule(random: &mut Random) -> String {
    let kind = random.pick(&["local", "local", "host", "host", "host", "hostnossl", "hostnogssenc", "hostssl"]);
    let databases = random.list(&[
        "all",
        "all",
        "all",
        "db1",
        "db2",
        "sameuser",
        "samerole",
        "replication",
        "\"replication\"",
        "\"all\"",
        "/^db[0-9]$",
        "/b..ro",
        "devs",
        "/x",
        "\"/^(?:a|d).*s$\"",
        "b\u{fc}ro",
        "\"/(?=d)\"",
        "@words",
    ]);
    let cut = &LONG[..63];
    let users = random.list(&[
        "all",
        "all",
        "alice",
        "bob",
        "+devs",
        "+staff",
        "+ops",
        "\"+devs\"",
        "\"all\"",
        "+\"my group\"",
        "/^al",
        "/^b.{2}ro$",
        "/x$",
        "nobody",
        "+nobody",
        cut,
        LONG,
        "\"/(?i)^B\"",
        "/\\mstaff\\M",
        "b\u{fc}ro",
    ]);
    let address = match kind {
        "local" => "",
        _ => random.pick(&[
            "all",
            "samehost",
            "samenet",
            "127.0.0.1/32",
            "127.0.0.0/30",
            "127.1.0.0/16",
            "0.0.0.0/0",
            "::/0",
            "127.0.0.2/8",
            "127.0.7.0 255.0.255.0",
            "localhost",
            ".localhost",
            "\"all\"",
            "10.0.0.0/8",
        ]),
    };
    format!("{kind} {databases} {users} {address} password")
}

fn random_connection(random: &mut Random) -> Connection {
    let (database, user) = (random.pick(&DATABASES), random.pick(&USERS));
    let mut connection = Connection::local(database, user);
    if random.below(3) > 0 {
        let address = random.pick(&[&[127, 0, 0, 1], &[127, 0, 0, 2], &[127, 1, 2, 3], &[127, 9, 7, 1]]);
        connection = Connection::tcp(*address, database, user);
    }
    connection.replication = match random.below(5) {
        0 => Replication::Physical,
        1 => Replication::Logical,
        _ => Replication::None,
    };
    connection
}

/// Asks the server for a connection as a client does, with a wrong password, and returns when it has refused.
fn knock(server: &TestServer, connection: &Connection) {
    let mut packet = 196_608_i32.to_be_bytes().to_vec();
    let mut say = |name: &[u8], value: &[u8]| packet.extend([name, b"\0", value, b"\0"].concat());
    say(b"user", connection.user.as_bytes());
    if !connection.database.as_bytes().is_empty() {
        say(b"database", connection.database.as_bytes());
    }
    match connection.replication {
        Replication::None => {}
        Replication::Physical => say(b"replication", b"true"),
        Replication::Logical => say(b"replication", b"database"),
    }
    packet.push(0);
    let mut stream: Box<dyn ReadWrite> = match connection.address {
        None => Box::new(
            UnixStream::connect(server.socket_directory().join(format!(".s.PGSQL.{}", server.port()))).unwrap(),
        ),
        Some(address) => {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.bind(&SocketAddr::new(address, 0).into()).unwrap();
            socket.connect(&SocketAddr::from(([127, 0, 0, 1], server.port())).into()).unwrap();
            Box::new(TcpStream::from(socket))
        }
    };
    let length = i32::try_from(packet.len() + 4).unwrap();
    stream.write_all(&[length.to_be_bytes().as_slice(), &packet].concat()).unwrap();
    let mut kind = [0];
    stream.read_exact(&mut kind).unwrap();
    if kind == *b"R" {
        stream.write_all(b"p\0\0\0\x0Awrong\0").unwrap();
    }
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(kind == *b"E" || rest.contains(&b'E'), "{connection} was let in");
}

trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

/// The line of the rule that decided about the last connection, as the server's log has it; none if there was none.
fn deciding_line(log: &str) -> Option<usize> {
    let Some((_, matched)) = log.split_once("Connection matched") else {
        assert!(log.contains("no pg_hba.conf entry"), "{log}");
        return None;
    };
    let line = matched.split_once("line ").unwrap().1.split(':').next().unwrap();
    Some(line.parse().unwrap())
}

#[test]
fn decisions_are_those_of_the_server() {
    let server = TestServer::start().unwrap();
    let cluster = Cluster::connect(&server.dsn()).unwrap();
    for statement in [
        "CREATE ROLE staff",
        "CREATE ROLE devs",
        "CREATE ROLE \"my group\"",
        "CREATE ROLE ops IN ROLE staff",
        "CREATE ROLE alice LOGIN IN ROLE devs",
        "CREATE ROLE bob LOGIN IN ROLE ops",
        "CREATE ROLE carol LOGIN NOINHERIT IN ROLE devs",
        "CREATE ROLE gail LOGIN SUPERUSER IN ROLE \"my group\"",
        "CREATE ROLE \"+devs\" LOGIN",
        "CREATE ROLE \"all\" LOGIN",
        "CREATE ROLE \"b\u{fc}ro\" LOGIN ROLE alice",
    ] {
        cluster.execute(statement, &[]).unwrap();
    }
    let path = server.data_directory().join("pg_hba.conf");
    std::fs::write(server.data_directory().join("words"), "db2, \"all\"\nsameuser\n").unwrap();
    let world = World::load(&cluster).unwrap();
    let mut random = Random(11);
    let (mut decided, mut refused, mut unknown) = (0, 0, 0);
    for _ in 0..30 {
        let text: String = (0..20).map(|_| random_rule(&mut random) + "\n").collect();
        std::fs::write(&path, &text).unwrap();
        assert_eq!(cluster.reload().unwrap(), pgsteward::ReloadOutcome::Taken, "{text}");
        let file = HbaFile::open(path.to_str().unwrap(), Dialect::new(cluster.version().clone())).unwrap();
        assert_eq!(file.faults(), [], "{text}");
        let judge = file.judge(&world);
        for _ in 0..20 {
            let connection = random_connection(&mut random);
            let before = server.log().unwrap().len();
            knock(&server, &connection);
            let line = deciding_line(&server.log().unwrap()[before..]);
            let decision = judge.decide(&connection);
            let told = || format!("{text}\n{}server: {line:?}", judge.explain(&connection));
            match &decision.outcome {
                Outcome::Rule(rule) => assert_eq!(Some(rule.line), line, "{}", told()),
                Outcome::ImplicitReject => assert_eq!(None, line, "{}", told()),
                Outcome::Unknown { doubts, otherwise } => {
                    let lines = doubts.iter().map(|doubt| &doubt.rule).chain(otherwise).map(|rule| Some(rule.line));
                    let open = if otherwise.is_none() { Some(None) } else { None };
                    assert!(lines.chain(open).any(|possible| possible == line), "{}", told());
                }
                other => panic!("{other}"),
            }
            match decision.access() {
                Access::Unknown => unknown += 1,
                Access::NoRule => refused += 1,
                _ => decided += 1,
            }
        }
    }
    println!("{decided} decided, {refused} without a rule, {unknown} unknown");
    assert!(decided > 200 && refused > 50 && unknown < 150, "{decided} {refused} {unknown}");
}

/// What random expressions match, in the collation and the encoding in which the server compiles them. Before PostgreSQL
/// 16 they are names.
#[test]
fn expressions_match_what_they_match_on_the_server() {
    let cluster = fresh();
    let pieces = [
        "a",
        "b",
        "A",
        "1",
        "_",
        " ",
        "-",
        "]",
        "}",
        "{",
        "{1",
        "{2}",
        "{1,2}",
        "{,2}",
        "{0,}",
        "(",
        ")",
        ")",
        "(?:",
        "|",
        "^",
        "$",
        ".",
        "*",
        "+",
        "?",
        "*?",
        "+?",
        "[",
        "[^",
        "[a-b]",
        "[^a]",
        "[]a]",
        "[a-]",
        "[-a]",
        "[^]-]",
        "[a-b-]",
        "[--A]",
        "[[:alpha:]]",
        "[[:upper:]_]",
        "[[:word:]]",
        "[^[:space:]1-]",
        "[\\d-]",
        "[\\w-]",
        "[\\]a]",
        "[a\\-b]",
        "\\d",
        "\\s",
        "\\w",
        "\\D",
        "\\S",
        "\\W",
        "\\A",
        "\\Z",
        "\\m",
        "\\M",
        "\\y",
        "\\Y",
        "\\.",
        "\\(",
        "\\{",
        "\\B",
        "\\b",
        "\\_",
        "(?i)",
        "(?q)",
        "(?s)",
        "***:",
        "***=",
        "/",
        "@",
        "\u{e9}",
        "\u{ff}",
    ];
    let letters =
        ["a", "b", "A", "B", "1", "_", " ", "-", "]", "{", "}", "\\", "2", ",", "\u{e9}", "\u{ff}", "\u{c9}", ".", "("];
    let bytes = |text: &str| text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect::<Vec<u8>>();
    let world = World::new(cluster.version().clone());
    let (mut random, mut compared) = (Random(5), 0);
    for _ in 0..2000 {
        let expression: String = (0..=random.below(6)).map(|_| random.pick(&pieces)).collect();
        let mut names: Vec<String> =
            (0..6).map(|_| (0..=random.below(4)).map(|_| random.pick(&letters)).collect()).collect();
        names.push(format!("/{expression}"));
        let question = "SELECT n ~ $1 COLLATE \"C\" FROM unnest($2::text[]) WITH ORDINALITY u (n, o) ORDER BY o";
        let Ok(rows) = cluster.execute(question, &[&expression, &names]) else { continue };
        let rule = [b"local \"/", bytes(&expression).as_slice(), b"\" all trust"].concat();
        let file = HbaFile::from_bytes("pg_hba.conf", rule, Dialect::new(cluster.version().clone()));
        assert_eq!(file.len(), 1, "/{expression}: {:?}", file.faults());
        let judge = file.judge(&world);
        for (name, row) in names.iter().zip(&rows) {
            let decision = judge.decide(&Connection::local(bytes(name), "postgres"));
            if decision.access() != Access::Unknown {
                compared += 1;
                let expected = if major() < 16 { *name == format!("/{expression}") } else { row.get(0) };
                assert_eq!(decision.rule().is_some(), expected, "/{expression} {name:?}");
            }
        }
    }
    println!("{compared} compared");
    assert!(compared > 2000, "{compared}");
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
    for words in ["the replica", "decides: trust;", "decides: scram-sha-256;", "OnLockOut::Allow"] {
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
