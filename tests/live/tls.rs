//! TLS, beside psql: each server, client and `sslmode` together have to end as they do there.
//!
//! psql of PostgreSQL 15 is what they were tried with; what it does not know has expectations of its own.
use crate::support::{unique, wait_until};
use crate::tls_certificates::{Authority, Certificate, openssl};
use crate::tls_world::{End, MODES, NAMED, World, by_psql, by_us, question};
use pgsteward::Cluster;
use std::fs::{self, Permissions};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// Lets everybody in, with TLS and without.
const OPEN: &str = "host all all 127.0.0.1/32 trust";
/// The modes in which there is a handshake, if the server can.
const WITH_TLS: [&str; 4] = ["prefer", "require", "verify-ca", "verify-full"];
const PLAIN_LEAF: &str = "basicConstraints = CA:FALSE";

/// How much is tried.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// What every run of the tests has time for.
    Bounded,
    /// Every case in every mode.
    Whole,
}

impl Extent {
    fn modes<'m>(self, bounded: &'m [&'m str]) -> &'m [&'m str] {
        if self == Self::Whole { &MODES } else { bounded }
    }
}

/// What was tried, and where we and psql differ.
struct Comparison<'w> {
    world: &'w World,
    modes: &'w [&'w str],
    setup: String,
    differences: Vec<String>,
}

impl<'w> Comparison<'w> {
    fn new(world: &'w World, modes: &'w [&'w str]) -> Self {
        Self { world, modes, setup: String::new(), differences: Vec::new() }
    }

    fn server(&mut self, setup: &str, certificate: Option<&Certificate>, rules: &str) {
        self.setup = setup.into();
        self.world.set_up(certificate, rules, &[]);
    }

    /// We have to end as psql does.
    fn same(&mut self, client: &str, given: &str) {
        for mode in self.modes {
            let parameters = self.world.parameters(mode, given);
            let ((theirs, they), (ours, we)) = (by_psql(&parameters), by_us(&parameters));
            if theirs != ours {
                let setup = &self.setup;
                self.differences.push(format!("{setup}, {client}, {mode}: psql {theirs:?} {they}, we {ours:?} {we}"));
            }
        }
    }

    /// A file that cannot be used is an error of ours as soon as the server agrees to TLS, whatever the mode. psql goes on
    /// without TLS in `prefer`, and without lists of what was revoked in all modes: the differences that are wanted.
    fn file_refused(&mut self, client: &str, given: &str) {
        let is_about_a_file =
            |said: &str| ["invalid ssl", "cannot read ssl"].iter().any(|start| said.starts_with(start));
        for mode in self.modes {
            let parameters = self.world.parameters(mode, given);
            let (ours, we) = by_us(&parameters);
            let as_meant = match WITH_TLS.contains(mode) {
                true => ours == End::Refused && is_about_a_file(&we),
                false => by_psql(&parameters).0 == ours,
            };
            if !as_meant {
                self.differences.push(format!("{}, {client}, {mode}: we {ours:?} {we}", self.setup));
            }
        }
    }

    fn end(self) {
        assert!(self.differences.is_empty(), "{}", self.differences.join("\n"));
    }
}

/// A text file made of others.
fn joined(directory: &Path, name: &str, parts: &[&str]) -> String {
    let text: String = parts.iter().map(|part| fs::read_to_string(part).unwrap()).collect();
    let path = directory.join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn trusting(root: &str) -> String {
    format!("{NAMED} sslrootcert={root}")
}

fn with(certificate: &Certificate, key: &str) -> String {
    format!("sslcert={} sslkey={key}", certificate.certificate)
}

fn names(world: &World, extent: Extent) {
    let directory = world.directory();
    let root = Authority::root(&directory, "root");
    let alternative = |names: &str| format!("subjectAltName = {names}");
    let cases: &[(&str, &str, &str, &[&str])] = &[
        ("name", "x", "DNS:db.example.com", &["db.example.com", "DB.Example.COM", "db.example.org", "example.com", ""]),
        ("star", "x", "DNS:*.example.com", &["db.example.com", "a.db.example.com", "example.com", ".example.com"]),
        ("star inside", "x", "DNS:d*.example.com", &["db.example.com"]),
        ("star alone", "x", "DNS:*", &["db"]),
        ("star for a part", "*.example.com", "", &["db.example.com"]),
        ("star in an address", "*.0.0.1", "", &["127.0.0.1"]),
        ("address", "x", "IP:127.0.0.1, IP:::1", &["127.0.0.1", "127.0.0.2", "0:0:0:0:0:0:0:1", "x"]),
        ("common name", "db.example.com", "", &["db.example.com", "x"]),
        ("common name and name", "db.example.com", "DNS:x", &["db.example.com", "x"]),
        ("common name and address", "db.example.com", "IP:127.0.0.1", &["db.example.com", "127.0.0.1"]),
        ("address as common name", "127.0.0.1", "DNS:x", &["127.0.0.1"]),
        ("address as common name and address", "127.0.0.1", "IP:127.0.0.2", &["127.0.0.1"]),
        ("address as name", "x", "DNS:127.0.0.1", &["127.0.0.1"]),
        ("mail", "db.example.com", "email:a@example.com", &["db.example.com"]),
    ];
    let mut comparison = Comparison::new(world, extent.modes(&["verify-full"]));
    for (number, (case, common_name, alternatives, hosts)) in cases.iter().enumerate() {
        let extensions = if alternatives.is_empty() { PLAIN_LEAF.into() } else { alternative(alternatives) };
        let certificate = root.sign(&format!("name{number}"), common_name, &extensions);
        comparison.server(case, Some(&certificate), OPEN);
        for host in *hosts {
            comparison.same(host, &format!("host='{host}' sslrootcert={}", root.certificate()));
        }
    }
    comparison.end();
}

#[test]
fn p102_the_name_of_the_host_is_looked_for_where_libpq_looks() {
    let Some(world) = World::shared() else { return };
    names(&world, Extent::Bounded);
}

fn chains(world: &World, extent: Extent) {
    let directory = world.directory();
    let (root, other) = (Authority::root(&directory, "root"), Authority::root(&directory, "other"));
    let intermediate = root.intermediate("intermediate");
    let trusted = trusting(&root.certificate());
    let named = "subjectAltName = DNS:db.example.com";
    let mut comparison = Comparison::new(world, extent.modes(&["prefer", "require", "verify-full"]));

    comparison.server("right", Some(&root.sign("right", "x", named)), OPEN);
    comparison.same("root", &trusted);
    comparison.same("no root", NAMED);
    comparison.same("another root", &trusting(&other.certificate()));
    comparison.same("no server name", &format!("{trusted} sslsni=0"));
    comparison.same("TLS 1.2", &format!("{trusted} ssl_max_protocol_version=TLSv1.2"));
    comparison.same("TLS 1.0", &format!("{trusted} ssl_min_protocol_version=TLSv1 ssl_max_protocol_version=TLSv1"));
    comparison.file_refused("not a root", &trusting(directory.join("root.key").to_str().unwrap()));
    let first = root.sign("first", "db.example.com", "");
    comparison.server("first version, common name", Some(&first), OPEN);
    comparison.same("root", &trusted);
    comparison.server("expired", Some(&root.sign_expired("expired", "x", named)), OPEN);
    comparison.same("root", &trusted);
    comparison.same("no root", NAMED);

    let itself = Authority::root(&directory, "itself");
    comparison.server("self-signed authority", Some(&itself.own()), OPEN);
    comparison.same("itself", &trusting(&itself.certificate()).replace(NAMED, "host=itself"));
    comparison.same("root", &trusted);

    let below = intermediate.sign("below", "x", named);
    comparison.server("intermediate missing", Some(&below), OPEN);
    comparison.same("root", &trusted);
    comparison.same("intermediate alone", &trusting(&intermediate.certificate()));
    let both = joined(&directory, "both.crt", &[&root.certificate(), &intermediate.certificate()]);
    comparison.same("both", &trusting(&both));
    let chain = joined(&directory, "chain.crt", &[&below.certificate, &intermediate.certificate()]);
    comparison.server("intermediate sent", Some(&Certificate { certificate: chain, ..below }), OPEN);
    comparison.same("root", &trusted);
    comparison.end();
}

#[test]
fn p102_a_chain_of_certificates_is_verified_as_by_libpq() {
    let Some(world) = World::shared() else { return };
    chains(&world, Extent::Bounded);
}

fn revocations(world: &World, extent: Extent) {
    let directory = world.directory();
    let (root, other) = (Authority::root(&directory, "root"), Authority::root(&directory, "other"));
    let trusted = trusting(&root.certificate());
    let named = "subjectAltName = DNS:db.example.com";
    let (right, revoked) = (root.sign("right", "x", named), root.sign("revoked", "x", named));
    let list = root.revoke(&revoked);
    let lists = world.directory();
    fs::copy(&list, lists.join("root.crl")).unwrap();
    openssl(&lists, &["rehash", "."]);
    let in_directory = format!("{trusted} sslcrl='' sslcrldir={}", lists.display());
    let mut comparison = Comparison::new(world, extent.modes(&["prefer", "verify-ca"]));
    for (setup, certificate) in [("good", &right), ("revoked", &revoked)] {
        comparison.server(setup, Some(certificate), OPEN);
        comparison.same("no list", &trusted);
        comparison.same("list", &format!("{trusted} sslcrl={list}"));
        comparison.same("directory", &in_directory);
    }
    comparison.same("list of another", &format!("{trusted} sslcrl={}", other.revoked()));
    comparison.same("list and no root", &format!("{NAMED} sslcrl={list}"));
    comparison.file_refused("no list", &format!("{trusted} sslcrl={}", right.key));
    comparison.file_refused("no directory", &format!("{trusted} sslcrl='' sslcrldir={}/none", lists.display()));
    comparison.end();
}

#[test]
fn p102_what_was_revoked_is_refused_as_by_libpq() {
    let Some(world) = World::shared() else { return };
    revocations(&world, Extent::Bounded);
}

fn clients(world: &World, extent: Extent) {
    let directory = world.directory();
    let (root, other) = (Authority::root(&directory, "root"), Authority::root(&directory, "other"));
    let server = root.sign("server", "x", "subjectAltName = DNS:db.example.com");
    let (own, stranger) = (root.sign("own", "postgres", PLAIN_LEAF), other.sign("stranger", "postgres", PLAIN_LEAF));
    let another = root.sign("another", "app", PLAIN_LEAF);
    let trusted = trusting(&root.certificate());
    openssl(&directory, &["pkcs8", "-topk8", "-in", "own.key", "-passout", "pass:word", "-out", "pkcs8.key"]);
    openssl(&directory, &["ec", "-aes256", "-in", "own.key", "-passout", "pass:word", "-out", "traditional.key"]);
    openssl(&directory, &["ec", "-in", "own.key", "-outform", "DER", "-out", "der.key"]);
    for (file, mode) in [("group.key", 0o640), ("world.key", 0o644), ("written.key", 0o660), ("searched.key", 0o710)] {
        fs::copy(&own.key, directory.join(file)).unwrap();
        fs::set_permissions(directory.join(file), Permissions::from_mode(mode)).unwrap();
    }
    let keyed = |file: &str| format!("{trusted} {}", with(&own, directory.join(file).to_str().unwrap()));
    let mut comparison = Comparison::new(world, extent.modes(&["allow", "prefer", "require"]));
    let setups = [
        ("cert, or without TLS", "hostssl all all 127.0.0.1/32 cert\nhostnossl all all 127.0.0.1/32 trust"),
        ("cert", "hostssl all all 127.0.0.1/32 cert"),
        ("clientcert", "hostssl all all 127.0.0.1/32 trust clientcert=verify-ca"),
    ];
    for (setup, rules) in setups.iter().take(if extent == Extent::Whole { 3 } else { 1 }) {
        comparison.server(setup, Some(&server), rules);
        comparison.same("none", &trusted);
        comparison.same("own", &keyed("own.key"));
        let stranger = format!("{trusted} {}", with(&stranger, &stranger.key));
        comparison.same("of another authority", &stranger);
        comparison.same("of another authority, TLS 1.2", &format!("{stranger} ssl_max_protocol_version=TLSv1.2"));
        comparison.same("another's", &format!("{trusted} {}", with(&another, &another.key)));
        comparison.same("encrypted", &(keyed("pkcs8.key") + " sslpassword=word"));
        comparison.same("encrypted in the old way", &(keyed("traditional.key") + " sslpassword=word"));
        comparison.same("DER", &keyed("der.key"));
        match owned_by_root(&directory.join("group.key")) {
            true => comparison.same("root's, read by a group", &keyed("group.key")),
            false => comparison.file_refused("read by a group", &keyed("group.key")),
        }
        for (client, given) in [
            ("another's key", format!("{trusted} {}", with(&own, &another.key))),
            ("no key", format!("{trusted} sslcert={}", own.certificate)),
            (
                "not a certificate",
                format!("{trusted} {}", with(&Certificate { certificate: own.key.clone(), ..own.clone() }, &own.key)),
            ),
            ("not a key", keyed("own.csr")),
            ("encrypted, no password", keyed("pkcs8.key")),
            ("encrypted, wrong password", keyed("pkcs8.key") + " sslpassword=sword"),
            ("encrypted in the old way, wrong password", keyed("traditional.key") + " sslpassword=sword"),
            ("read by all", keyed("world.key")),
            ("written by a group", keyed("written.key")),
            ("a directory", keyed(".")),
        ] {
            comparison.file_refused(client, &given);
        }
    }
    comparison.end();
}

fn owned_by_root(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).unwrap().uid() == 0
}

#[test]
fn p102_a_client_shows_its_certificate_as_with_libpq() {
    let Some(world) = World::shared() else { return };
    clients(&world, Extent::Bounded);
}

fn access(world: &World, extent: Extent) {
    let directory = world.directory();
    let (root, other) = (Authority::root(&directory, "root"), Authority::root(&directory, "other"));
    let server = root.sign("server", "x", "subjectAltName = DNS:db.example.com");
    let app = trusting(&root.certificate()) + " user=app";
    let mut comparison = Comparison::new(world, extent.modes(&["allow", "prefer", "require"]));
    let setups = [
        ("hostssl", "hostssl all all 127.0.0.1/32 scram-sha-256"),
        ("hostnossl", "hostnossl all all 127.0.0.1/32 scram-sha-256"),
        ("TLS rejected", "hostssl all all 127.0.0.1/32 reject\nhost all all 127.0.0.1/32 scram-sha-256"),
        ("nobody", "host all all 127.0.0.1/32 reject"),
        ("host", "host all all 127.0.0.1/32 scram-sha-256"),
        ("password", "host all all 127.0.0.1/32 password"),
        ("trust", OPEN),
    ];
    for (setup, rules) in setups.iter().take(if extent == Extent::Whole { 7 } else { 4 }) {
        comparison.server(setup, Some(&server), rules);
        comparison.same("password", &format!("{app} password=secret"));
        comparison.same("wrong password", &format!("{app} password=wrong"));
        comparison.same("bound", &format!("{app} password=secret channel_binding=require"));
        comparison.same("another root", &(trusting(&other.certificate()) + " user=app password=secret"));
        if extent == Extent::Whole {
            comparison.same("not bound", &format!("{app} password=secret channel_binding=disable"));
            comparison.same("no password", &app);
            comparison.same("no database", &format!("{app} password=secret dbname=nowhere"));
            comparison.same("no role", &format!("{app} password=secret user=nobody"));
            comparison.same("unverified", &format!("{NAMED} user=app password=secret"));
        }
    }
    comparison.server("no TLS", None, OPEN);
    comparison.same("trusting", &app);
    comparison.same("no root", NAMED);
    comparison.same("bound", &format!("{app} channel_binding=require"));
    comparison.same("an unusable file", &format!("{NAMED} {}", with(&server, &server.certificate)));
    comparison.end();
}

#[test]
fn p102_rules_of_the_server_and_fallbacks_end_as_with_libpq() {
    let Some(world) = World::shared() else { return };
    access(&world, Extent::Bounded);
}

#[test]
#[ignore = "a campaign of some minutes: every mode with every case of the tests here"]
fn every_mode_ends_as_with_libpq() {
    let Some(world) = World::shared() else { return };
    names(&world, Extent::Whole);
    chains(&world, Extent::Whole);
    revocations(&world, Extent::Whole);
    clients(&world, Extent::Whole);
    access(&world, Extent::Whole);
}

#[test]
fn the_protocols_versions_and_sockets_end_as_with_libpq() {
    let Some(world) = World::shared() else { return };
    let directory = world.directory();
    let root = Authority::root(&directory, "root");
    let server = root.sign("server", "x", "subjectAltName = DNS:db.example.com");
    let trusted = trusting(&root.certificate());
    let mut comparison = Comparison::new(&world, &["prefer", "require"]);
    world.set_up(Some(&server), OPEN, &[("ssl_max_protocol_version", "'TLSv1.2'")]);
    comparison.same("any", &trusted);
    comparison.same("1.3", &format!("{trusted} ssl_min_protocol_version=TLSv1.3"));
    // Over a Unix socket there is no TLS, whatever is asked for.
    comparison.modes = &["require", "verify-full"];
    let socket = world.server.socket_directory().display().to_string();
    comparison.same("socket", &format!("{trusted} hostaddr='' host={socket}"));
    comparison.same("socket, bound", &format!("{trusted} hostaddr='' host={socket} channel_binding=require"));
    comparison.end();
}

#[test]
fn refusals_say_what_is_wrong_and_what_to_do() {
    let Some(world) = World::shared() else { return };
    let directory = world.directory();
    let (root, other) = (Authority::root(&directory, "root"), Authority::root(&directory, "other"));
    let server = root.sign("server", "x", "subjectAltName = DNS:db.example.com");
    world.set_up(Some(&server), "hostssl all all 127.0.0.1/32 scram-sha-256", &[]);
    let trusted = trusting(&root.certificate());
    openssl(&directory, &["pkcs8", "-topk8", "-in", "server.key", "-passout", "pass:word", "-out", "pkcs8.key"]);
    let keyed = format!("{trusted} {}", with(&server, directory.join("pkcs8.key").to_str().unwrap()));
    let other_root = trusting(&other.certificate());
    for (mode, given, words) in [
        (
            "verify-full",
            trusted.replace(NAMED, "host=b"),
            &["certificate is for \"db.example.com\", not for \"b\""][..],
        ),
        ("verify-full", trusted.replace(NAMED, ""), &["needs the host's name: give host"]),
        ("verify-ca", other_root.clone(), &["certificate is not accepted: ", "other.crt", "sslrootcert"]),
        ("prefer", other_root, &["no pg_hba.conf entry", "before that, with TLS: ", "certificate is not accepted"]),
        (
            "allow",
            format!("{trusted} user=app password=wrong"),
            &["password authentication failed", "before that, without TLS: "],
        ),
        ("require", keyed.clone(), &["pkcs8.key", "it is encrypted: give sslpassword"]),
        ("require", format!("{keyed} sslpassword=sesame"), &["pkcs8.key", "sslpassword does not decrypt it"]),
        ("require", format!("{trusted} sslcertmode=require"), &["sslcertmode=require"]),
    ] {
        let (end, said) = by_us(&world.parameters(mode, &given));
        assert_eq!(end, End::Refused, "{mode} {given}");
        for word in words {
            assert!(said.contains(word), "{mode} {given}: {said}");
        }
        assert!(!said.contains("sesame"), "{said}");
    }
    world.set_up(None, OPEN, &[]);
    let (_, said) = by_us(&world.parameters("require", NAMED));
    assert!(said.contains("server does not support TLS"), "{said}");
}

#[test]
fn direct_negotiation_takes_postgresql_17() {
    let Some(world) = World::shared() else { return };
    let directory = world.directory();
    let root = Authority::root(&directory, "root");
    let server = root.sign("server", "x", "subjectAltName = DNS:db.example.com");
    world.set_up(Some(&server), OPEN, &[]);
    let direct = trusting(&root.certificate()) + " sslnegotiation=direct";
    let end = by_us(&world.parameters("verify-full", &direct)).0;
    assert_eq!(end, if world.server.major() >= 17 { End::Tls } else { End::Refused });
    let (end, said) = by_us(&world.parameters("verify-full", &direct.replace(NAMED, "host=b")));
    assert_eq!(end, End::Refused);
    assert_eq!(said.contains("not for \"b\""), world.server.major() >= 17, "{said}");
    let (end, said) = by_us(&world.parameters("prefer", &direct));
    assert!(end == End::Refused && said.contains("sslnegotiation"), "{said}");
}

#[test]
fn a_server_that_speaks_another_protocol_in_tls_is_refused() {
    let Some(world) = World::shared() else { return };
    let directory = world.directory();
    let certificate = Authority::root(&directory, "root").sign("server", "x", "subjectAltName = DNS:db.example.com");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut other = Command::new("openssl");
    other.args(["s_server", "-quiet", "-accept", &format!("127.0.0.1:{port}")]);
    other.args(["-cert", &certificate.certificate, "-key", &certificate.key]);
    let mut other = other.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_until("it listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    let given = format!("{NAMED} sslnegotiation=direct port={port}");
    let (end, said) = by_us(&world.parameters("require", &given));
    other.kill().unwrap();
    other.wait().unwrap();
    assert!(end == End::Refused && said.contains("did not say that it speaks PostgreSQL's protocol"), "{said}");
}

#[test]
fn the_systems_certificates_verify_the_name_too() {
    let Some(world) = World::shared() else { return };
    let directory = world.directory();
    let root = Authority::root(&directory, "root");
    let server = root.sign("server", "x", "subjectAltName = DNS:db.example.com");
    world.set_up(Some(&server), OPEN, &[]);
    let connect = |given: &str, file: &str| {
        let parameters = world.parameters("verify-full", given).replace("sslmode=verify-full", "");
        let mut program = Command::new(std::env::current_exe().unwrap());
        program.args(["--exact", "--ignored", "tls::the_program_that_connects"]);
        let output = program.env("PGSTEWARD_TLS_DSN", parameters).env("SSL_CERT_FILE", file).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let system = format!("{NAMED} sslrootcert=system");
    let (connected, said) = connect(&system, &root.certificate());
    assert!(connected, "{said}");
    let (connected, said) = connect(&system.replace(NAMED, "host=b"), &root.certificate());
    assert!(!connected && said.contains("not for \"b\""), "{said}");
    let nobody = directory.join("empty");
    fs::write(&nobody, "").unwrap();
    let (connected, said) = connect(&system, nobody.to_str().unwrap());
    assert!(!connected && said.contains("what the system trusts"), "{said}");
    let (end, said) = by_us(&world.parameters("require", &system));
    assert!(end == End::Refused && said.contains("verify-full"), "{said}");
}

#[test]
#[ignore = "the program that another test starts"]
fn the_program_that_connects() {
    let Ok(parameters) = std::env::var("PGSTEWARD_TLS_DSN") else { return };
    let rows = Cluster::connect(&parameters).unwrap().execute(question(), &[]).unwrap();
    assert!(rows[0].get::<_, bool>(0));
}

#[test]
fn a_cancel_request_travels_as_its_connection_does() {
    let Some(world) = World::shared() else { return };
    let directory = world.directory();
    let root = Authority::root(&directory, "root");
    let server = root.sign("server", "x", "subjectAltName = DNS:db.example.com");
    world.set_up(Some(&server), OPEN, &[]);
    for (mode, in_the_clear) in [("verify-full", false), ("prefer", false), ("disable", true)] {
        let watch = world.watch();
        let parameters = world.parameters(mode, &trusting(&root.certificate()));
        let parameters = parameters + &format!(" port={}", watch.port);
        // A connection each: PostgreSQL signals twice, and the second signal may hit the next statement.
        for _ in 0..10 {
            let cluster = Cluster::connect(&parameters).unwrap();
            let (canceller, marker) = (cluster.canceller(), unique("asleep"));
            let sleep = format!("SELECT pg_catalog.pg_sleep(60) AS {marker}");
            let sleeper = std::thread::spawn(move || cluster.execute(&sleep, &[]).unwrap_err());
            world.wait_for_statement(&marker);
            canceller.cancel().unwrap();
            assert_eq!(sleeper.join().unwrap().code().unwrap().code(), "57014");
        }
        wait_until("the watch has seen all", || watch.seen() >= 20);
        assert_eq!(watch.cancelled_in_the_clear(), if in_the_clear { 10 } else { 0 }, "{mode}");
    }
}
