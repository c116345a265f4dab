//! What decides, compared with what the server says that decided.
use crate::support::{fresh, major};
use pgsteward::Cluster;
use pgsteward::hba::{Access, Connection, ConnectionType, Dialect, HbaFile, Outcome, Replication, World};
use pgsteward::testing::TestServer;
use socket2::{Domain, Socket, Type};
use std::collections::HashMap;
use std::fs::Permissions;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

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

/// What random rules and connections are made of.
struct Kinds {
    rules: &'static [&'static str],
    addresses: Vec<IpAddr>,
    /// Whether some of the connections use TLS.
    tls: bool,
}

/// A rule of which the server tells whether it decided: it asks for a password, which is always wrong.
fn random_rule(random: &mut Random, kinds: &Kinds) -> String {
    let kind = random.pick(kinds.rules);
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
            "::1/128",
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

fn random_connection(random: &mut Random, kinds: &Kinds) -> Connection {
    let (database, user) = (random.pick(&DATABASES), random.pick(&USERS));
    let mut connection = Connection::local(database, user);
    if random.below(3) > 0 {
        connection = Connection::tcp(kinds.addresses[random.below(kinds.addresses.len())], database, user);
        connection.ssl = kinds.tls && random.below(2) == 0;
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
    let mut stream = dial(server, connection);
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

/// The way to the server, from the connection's address, before anything of PostgreSQL's is said on it.
fn dial(server: &TestServer, connection: &Connection) -> Box<dyn ReadWrite> {
    let Some(address) = connection.address else {
        let path = server.socket_directory().join(format!(".s.PGSQL.{}", server.port()));
        return Box::new(UnixStream::connect(path).unwrap());
    };
    let to = if address.is_ipv4() { IpAddr::from([127, 0, 0, 1]) } else { Ipv6Addr::LOCALHOST.into() };
    let (from, to) = (SocketAddr::new(address, 0), SocketAddr::new(to, server.port()));
    if connection.ssl {
        return Box::new(Tls::start(from, to));
    }
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).unwrap();
    socket.bind(&from.into()).unwrap();
    socket.connect(&to.into()).unwrap();
    Box::new(TcpStream::from(socket))
}

/// A connection that the program openssl encrypts.
struct Tls {
    program: Child,
    input: ChildStdin,
    output: ChildStdout,
}

impl Tls {
    fn start(from: SocketAddr, to: SocketAddr) -> Self {
        let mut program = Command::new("openssl");
        program.args(["s_client", "-quiet", "-starttls", "postgres"]);
        program.args(["-bind", &from.to_string(), "-connect", &to.to_string()]);
        let program = program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut program = program.spawn().unwrap();
        let (input, output) = (program.stdin.take().unwrap(), program.stdout.take().unwrap());
        Self { program, input, output }
    }
}

impl Read for Tls {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.output.read(buffer)
    }
}

impl Write for Tls {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.input.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.input.flush()
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

/// The line of the rule that decided about the last connection, as the server's log has it; none if there was none.
fn deciding_line(log: &str) -> Option<usize> {
    let Some((_, matched)) = log.split_once("Connection matched") else {
        assert!(log.contains("no pg_hba.conf entry"), "{log}");
        return None;
    };
    let line = matched.split_once("line ").unwrap().1.split(':').next().unwrap();
    Some(line.parse().unwrap())
}

/// How often a connection met what.
#[derive(Debug, Default)]
struct Met {
    decided: HashMap<ConnectionType, usize>,
    refused: usize,
    unknown: usize,
}

/// Compares what is decided about random connections, by as many random files as said, with what the server does.
fn compare(server: &TestServer, cluster: &Cluster, files: usize, kinds: &Kinds) -> Met {
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
    let world = World::load(cluster).unwrap();
    let (mut random, mut met) = (Random(11), Met::default());
    for _ in 0..files {
        let text: String = (0..20).map(|_| random_rule(&mut random, kinds) + "\n").collect();
        std::fs::write(&path, &text).unwrap();
        assert_eq!(cluster.reload().unwrap(), pgsteward::ReloadOutcome::Taken, "{text}");
        let file = HbaFile::open(path.to_str().unwrap(), Dialect::new(cluster.version().clone())).unwrap();
        assert_eq!(file.faults(), [], "{text}");
        let judge = file.judge(&world);
        for _ in 0..20 {
            let connection = random_connection(&mut random, kinds);
            let before = server.log().unwrap().len();
            knock(server, &connection);
            let line = deciding_line(&server.log().unwrap()[before..]);
            let decision = judge.decide(&connection);
            let told = || format!("{text}\n{}server: {line:?}", judge.explain(&connection));
            match &decision.outcome {
                Outcome::Rule(rule) => {
                    assert_eq!(Some(rule.line), line, "{}", told());
                    *met.decided.entry(file.get(rule.index).unwrap().connection).or_default() += 1;
                }
                Outcome::ImplicitReject => {
                    assert_eq!(None, line, "{}", told());
                    met.refused += 1;
                }
                Outcome::Unknown { doubts, otherwise } => {
                    let lines = doubts.iter().map(|doubt| &doubt.rule).chain(otherwise).map(|rule| Some(rule.line));
                    let open = if otherwise.is_none() { Some(None) } else { None };
                    assert!(lines.chain(open).any(|possible| possible == line), "{}", told());
                    met.unknown += 1;
                }
                other => panic!("{other}"),
            }
        }
    }
    println!("{met:?}");
    met
}

#[test]
fn decisions_are_those_of_the_server() {
    let server = TestServer::start().unwrap();
    let cluster = Cluster::connect(&server.dsn()).unwrap();
    let addresses = [[127, 0, 0, 1], [127, 0, 0, 2], [127, 1, 2, 3], [127, 9, 7, 1]].map(IpAddr::from);
    let rules = &["local", "local", "host", "host", "host", "hostnossl", "hostnogssenc", "hostssl"];
    let met = compare(&server, &cluster, 30, &Kinds { rules, addresses: addresses.into(), tls: false });
    assert!(met.decided.values().sum::<usize>() > 200 && met.refused > 50 && met.unknown < 150, "{met:?}");
}

#[test]
fn decisions_about_connections_with_tls_and_over_ipv6_are_those_of_the_server() {
    let server = TestServer::start().unwrap();
    if !turn_tls_on(&server) {
        println!("SKIPPED: openssl is not installed");
        return;
    }
    let cluster = Cluster::connect(&server.dsn()).unwrap();
    assert_eq!(World::load(&cluster).unwrap().ssl, Some(true));
    let mut addresses: Vec<IpAddr> = vec![[127, 0, 0, 1].into(), [127, 1, 2, 3].into()];
    match TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) {
        Ok(_) => addresses.push(Ipv6Addr::LOCALHOST.into()),
        Err(_) => println!("SKIPPED: this machine has no IPv6 address ::1"),
    }
    let rules = &["hostssl", "hostssl", "hostnossl", "hostnossl", "host"];
    let met = compare(&server, &cluster, 15, &Kinds { rules, addresses, tls: true });
    for connection in [ConnectionType::HostSsl, ConnectionType::HostNoSsl, ConnectionType::Host] {
        assert!(met.decided.get(&connection).is_some_and(|count| *count > 10), "{connection}: {met:?}");
    }
}

/// Gives a server a certificate of its own and has it listen on ::1 too; false without the program openssl.
fn turn_tls_on(server: &TestServer) -> bool {
    let data = server.data_directory();
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]);
    openssl.arg("-keyout").arg(data.join("server.key")).arg("-out").arg(data.join("server.crt"));
    match openssl.output() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return false,
        output => {
            let output = output.unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
    }
    let owner = std::fs::metadata(&data).unwrap();
    for name in ["server.key", "server.crt"] {
        chown(data.join(name), Some(owner.uid()), Some(owner.gid())).unwrap();
        std::fs::set_permissions(data.join(name), Permissions::from_mode(0o600)).unwrap();
    }
    let cluster = Cluster::connect(&server.dsn()).unwrap();
    cluster.execute("ALTER SYSTEM SET ssl = on", &[]).unwrap();
    cluster.execute("ALTER SYSTEM SET listen_addresses = '127.0.0.1, ::1'", &[]).unwrap();
    server.restart().unwrap();
    true
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
