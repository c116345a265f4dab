//! Connecting as libpq does: each expectation is what psql does with the same text, environment and files.
use crate::beside_psql::{Surroundings, psql};
use crate::support::{major, wait_until};
use pgsteward::testing::{TestServer, TestServerOptions};
use pgsteward::{Cluster, ConnectOptions, ConnectionParameters, Error, Retries};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

/// A server with the database `shop`, the role `app` without a password and the role `guarded` with one.
fn server() -> &'static TestServer {
    static SERVER: OnceLock<TestServer> = OnceLock::new();
    SERVER.get_or_init(|| {
        let mut options = TestServerOptions::new();
        options.hba = Some(
            "host all guarded 127.0.0.1/32 scram-sha-256\nlocal all guarded scram-sha-256\nlocal all all trust\n\
             host all all 127.0.0.1/32 trust\nlocal replication all trust\n"
                .into(),
        );
        options.settings.push(("password_encryption".into(), "scram-sha-256".into()));
        let server = TestServer::with(options).unwrap();
        let cluster = Cluster::connect(&server.dsn()).unwrap();
        for sql in ["CREATE DATABASE shop", "CREATE ROLE app LOGIN", "CREATE ROLE guarded LOGIN PASSWORD 'geheim'"] {
            cluster.execute(sql, &[]).unwrap();
        }
        server
    })
}

/// A server that says one thing to whoever begins a session, and hangs up.
fn speaker(says: impl Fn(&mut TcpStream) + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = begin(&mut stream).map(|()| says(&mut stream));
            let _ = stream.shutdown(Shutdown::Both);
        }
    });
    port
}

/// Reads what begins a session; whatever asks for encryption is told that there is none.
fn begin(stream: &mut TcpStream) -> std::io::Result<()> {
    loop {
        let mut head = [0; 8];
        stream.read_exact(&mut head)?;
        let [a, b, c, d, code @ ..] = head;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        std::io::copy(&mut stream.take(length as u64 - 8), &mut std::io::sink())?;
        if ![80_877_103_u32, 80_877_104].contains(&u32::from_be_bytes(code)) {
            return Ok(());
        }
        stream.write_all(b"N")?;
    }
}

/// A server that refuses with an SQLSTATE.
fn refuser(code: &'static str) -> u16 {
    speaker(move |stream| {
        let fields = format!("SFATAL\0VFATAL\0C{code}\0Mrefused with {code}\0\0");
        let length = u32::try_from(fields.len() + 4).unwrap().to_be_bytes();
        let _ = stream.write_all(&[b"E", &length[..], fields.as_bytes()].concat());
    })
}

/// A port at which nobody listens.
fn dead() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Passes on all connections to another port; once it is silent, new ones are taken and nothing is said.
fn forward(listener: TcpListener, to: u16, silent: Arc<AtomicBool>) {
    thread::spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming() {
            let client = stream.unwrap();
            if silent.load(Ordering::Acquire) {
                kept.push(client);
                continue;
            }
            let server = TcpStream::connect(("127.0.0.1", to)).unwrap();
            for (mut from, mut to) in [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)] {
                thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Both);
                });
            }
        }
    });
}

/// A case: the variables, the text, and the major version of libpq that first understands it so.
type Case<'a> = (&'a [(&'a str, &'a str)], String, u32);

/// Compares psql with this crate in each case; returns how many cases reached a server.
fn compare(surroundings: &mut Surroundings, cases: &[Case<'_>]) -> Option<usize> {
    let Some((program, version)) = psql() else {
        println!("SKIPPED: psql is not installed");
        return None;
    };
    let (mut reached, mut before) = (0, None);
    for (variables, text, since) in cases {
        if *since > version {
            continue;
        }
        let surroundings = surroundings.set(variables);
        if before.as_ref().is_none_or(|(last, _)| last != variables) {
            before = Some((*variables, surroundings.ours()));
        }
        let Some((_, program_of_ours)) = &mut before else { unreachable!() };
        let (theirs, ours) = (surroundings.psql(&program, text), program_of_ours.connect(text));
        if theirs.as_ref().is_err_and(|error| error.contains("support is not compiled in")) {
            continue;
        }
        assert_eq!(theirs.clone().ok(), ours.clone().ok(), "{variables:?} {text}\npsql: {theirs:?}\nours: {ours:?}");
        reached += usize::from(theirs.is_ok());
    }
    Some(reached)
}

/// Text that leads to the server, and more.
fn with(more: &str) -> String {
    format!("host=127.0.0.1 port={} user=app dbname=shop {more}", server().port())
}

#[test]
fn values_are_taken_and_refused_as_by_psql() {
    let mut values: Vec<(String, u32)> = Vec::new();
    for keyword in [
        "sslmode",
        "channel_binding",
        "target_session_attrs",
        "gssencmode",
        "connect_timeout",
        "keepalives",
        "keepalives_idle",
        "tcp_user_timeout",
        "client_encoding",
        "replication",
        "options",
        "service",
        "passfile",
        "hostaddr",
        "sslsni",
        "sslcompression",
        "requirepeer",
        "ssl_min_protocol_version",
        "ssl_max_protocol_version",
        "application_name",
        "sslcrldir",
        "password",
        "user",
        "dbname",
        "port",
        "fallback_application_name",
    ] {
        values.push((format!("{keyword}=''"), 12));
    }
    for keyword in ["load_balance_hosts", "require_auth", "sslcertmode"] {
        values.push((format!("{keyword}=''"), 16));
    }
    for keyword in ["sslnegotiation", "gssdelegation"] {
        values.push((format!("{keyword}=''"), 17));
    }
    for keyword in ["min_protocol_version", "max_protocol_version", "scram_client_key", "oauth_issuer", "sslkeylogfile"]
    {
        values.push((format!("{keyword}=''"), 18));
    }
    for value in [
        "tty=x",
        "authtype=x",
        "HOST=x",
        "nonsense=1",
        "keepalives=no",
        "keepalives=-1",
        "keepalives=' 1 '",
        "keepalives=0",
        "keepalives_idle=x",
        "keepalives_idle=-5",
        "keepalives_idle=10",
        "keepalives_count=3",
        "keepalives_interval=4",
        "tcp_user_timeout=x",
        "tcp_user_timeout=-1",
        "tcp_user_timeout=1500",
        "connect_timeout=x",
        "connect_timeout=1.5",
        "connect_timeout=-4",
        "connect_timeout=0",
        "connect_timeout=99999999999",
        "sslsni=x",
        "sslsni=0",
        "sslcompression=x",
        "client_encoding=auto",
        "client_encoding=UTF-8",
        "client_encoding=unicode",
        "client_encoding=nix",
        "replication=off",
        "replication=0",
        "replication=false",
        "replication=x",
        "requirepeer=postgres",
        "sslmode=disable",
        "sslmode=allow",
        "sslmode=prefer",
        "sslmode=PREFER",
        "sslmode=require",
        "sslmode=x",
        "gssencmode=x",
        "gssencmode=disable",
        "gssencmode=prefer",
        "krbsrvname=x",
        "target_session_attrs=foo",
        "target_session_attrs=read-write",
        "application_name=a",
        "application_name='a b'",
        "options='-c TimeZone=Europe/Berlin -c geqo=off'",
        "options='-c application_name=o' application_name=a",
        r"options='-c TimeZone=\\ UTC'",
        r"options='-c geqo=off -c TimeZone=x\\\\y'",
        "channel_binding=require",
        "channel_binding=disable",
        "ssl_min_protocol_version=x",
        "ssl_min_protocol_version=TLSv1.3 ssl_max_protocol_version=tlsv1.2",
        "requiressl=1",
        "ssl_max_protocol_version=TLSv1.1",
        "ssl_max_protocol_version=TLSv1.1 sslmode=disable",
        "ssl_min_protocol_version=tlsv1.2",
        "ssl_min_protocol_version=SSLv3",
        "sslcert=/nowhere",
        "sslcert=/nowhere sslkey=/nowhere sslmode=disable",
        "sslmode=require sslrootcert=/nowhere",
        "sslmode=verify-full sslrootcert=/nowhere",
        "requiressl=0",
        "requiressl=1 sslmode=disable",
        "dbname='host=x'",
        "dbname='postgresql:///x'",
        "dbname=",
        "user=nobody",
        "hostaddr=127.0.0.1 host=nix",
        "user=guarded",
        "user=guarded password=geheim",
        "user=guarded password=falsch",
    ] {
        values.push((value.to_owned(), 12));
    }
    for (value, since) in [
        ("load_balance_hosts=random", 16),
        ("load_balance_hosts=x", 16),
        ("gssdelegation=x", 17),
        ("sslnegotiation=x", 17),
        ("sslnegotiation=postgres", 17),
        ("min_protocol_version=3.0", 18),
        ("max_protocol_version=3.0", 18),
        ("max_protocol_version=latest", 18),
        ("max_protocol_version=2.0", 18),
        ("min_protocol_version=3.2 max_protocol_version=3.0", 18),
        ("oauth_scope=x", 18),
        ("sslcertmode=x", 16),
        ("sslcertmode=x sslmode=disable", 16),
        ("sslcertmode=require", 16),
        ("sslrootcert=system", 16),
        ("sslrootcert=system sslmode=require", 16),
        ("sslrootcert=system sslmode=disable", 16),
        ("sslrootcert=system sslmode=verify-full", 16),
        ("sslnegotiation=direct", 17),
        ("sslcertmode=disable", 16),
        ("scram_client_key=x", 18),
    ] {
        values.push((value.to_owned(), since));
    }
    let cases: Vec<Case<'_>> = values.into_iter().map(|(value, since)| (&[][..], with(&value), since)).collect();
    if let Some(reached) = compare(&mut Surroundings::new("values"), &cases) {
        assert!(reached > 45, "{reached}");
    }
}

#[test]
fn lists_of_hosts_are_gone_through_as_by_psql() {
    let (port, dead, socket) = (server().port(), dead(), server().socket_directory().display().to_string());
    let mut texts: Vec<(String, u32)> = Vec::new();
    for list in [
        format!("host=127.0.0.1 port={port},{port}"),
        format!("host=127.0.0.1,127.0.0.1 port={dead},{port}"),
        format!("host=127.0.0.1,127.0.0.1 port=x,{port}"),
        format!("host=127.0.0.1,127.0.0.1 port=99999,{port}"),
        format!("host=127.0.0.1,127.0.0.1 port=0,{port}"),
        format!("host=127.0.0.1,127.0.0.1 port={port},x"),
        format!("host=127.0.0.1 port=' {port} '"),
        format!("host=127.0.0.1 port=+{port}"),
        format!("host=127.0.0.1 port={port}x"),
        format!("host=127.0.0.1 hostaddr=127.0.0.1,127.0.0.1 port={port}"),
        format!("host=nowhere.invalid hostaddr=127.0.0.1 port={port}"),
        format!("host=nowhere.invalid hostaddr=localhost port={port}"),
        format!("hostaddr=127.0.0.1 port={port}"),
        format!("host=nowhere.invalid,127.0.0.1 port={port}"),
        format!("host=nowhere.invalid,127.0.0.1 hostaddr=127.0.0.5, port={port}"),
        format!("host=,{socket} port={port}"),
        format!("host={socket},127.0.0.1 port={dead},{port}"),
        format!("host={socket} port={port}"),
        format!("host={socket} port={port} sslmode=require"),
        format!("host={socket} port={port} sslmode=x"),
        format!("host={socket} port={port} sslmode=verify-full"),
        format!("host={socket} port={port} sslmode=verify-ca sslrootcert=/nowhere"),
        format!("host={socket} port={port} sslmode=require channel_binding=require"),
        format!("host={socket}/nowhere,{socket} port={port}"),
        format!("host=@nowhere port={port}"),
        format!("hostaddr=, host=127.0.0.1,x port={port}"),
        format!("host=127.0.0.1, port={port}"),
        format!("hostaddr=nonsense,127.0.0.1 host=a,b port={port}"),
        format!("host=' 127.0.0.1' port={port}"),
        format!("host=localhost port={port}"),
        format!("host=127.0.0.1,127.0.0.1 port={port} user=guarded password=falsch"),
        format!("host=127.0.0.1,127.0.0.1 port={dead},{dead}"),
    ] {
        texts.push((list, 12));
    }
    texts.push((format!("host={socket} port={port} sslcertmode=require"), 16));
    texts.push((format!("host={socket} port={port} sslrootcert=system"), 16));
    texts.push((format!("host={socket} port={port} sslnegotiation=direct sslmode=require"), 17));
    texts.push((format!("host=127.0.0.1,127.0.0.1,127.0.0.1 port={dead},{port},{dead} load_balance_hosts=random"), 16));
    for code in ["57P03", "53300", "28P01", "28000", "3D000", "57P01", "57P02", "XX000", "42704", "08P01"] {
        texts.push((format!("host=127.0.0.1,127.0.0.1 port={},{port}", refuser(code)), 14));
    }
    let hangs_up = speaker(|_| {});
    let no_server = speaker(|stream| drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")));
    let silent = speaker(|stream| drop(stream.read(&mut [0])));
    texts.push((format!("host=127.0.0.1,127.0.0.1 port={hangs_up},{port}"), 12));
    texts.push((format!("host=127.0.0.1,127.0.0.1 port={no_server},{port}"), 12));
    texts.push((format!("host=127.0.0.1,127.0.0.1 port={silent},{port} connect_timeout=2"), 12));
    let cases: Vec<Case<'_>> =
        texts.into_iter().map(|(text, since)| (&[][..], format!("user=app dbname=shop {text}"), since)).collect();
    if let Some(reached) = compare(&mut Surroundings::new("lists"), &cases) {
        assert!(reached > 15, "{reached}");
    }
}

#[test]
fn the_environment_and_services_count_as_for_psql() {
    let mut surroundings = Surroundings::new("environment");
    let port = server().port().to_string();
    let here = format!("host=127.0.0.1\nport={port}\n");
    surroundings.file(
        ".pg_service.conf",
        &format!(
            "# a comment\n\n[ours]\n{here}user=app\ndbname=shop\n[app]\n  {here}  user=app  \n[wrong]\n{here}nonsense=1\n[blank]\nhost = x\n\
             [nested]\nservice=ours\n[twice]\n{here}user=app\nuser=nobody\ndbname=shop\n[ours]\nuser=late\n[two words]\n{here}user=app\ndbname=shop\n\
             [empty]\n{here}user=\ndbname=shop\n[bad]\nnothing\n[after] rubbish\n{here}user=app\ndbname=shop\n[old]\nrequiressl=1\n"
        ),
    );
    surroundings
        .file("pg_service.conf", &format!("[central]\n{here}user=app\ndbname=shop\n[ours]\nhost=nowhere.invalid\n"));
    surroundings.file("named", &format!("[named]\n{here}user=app\ndbname=shop\n"));
    surroundings.file("no_section", "host=x\n");
    let system: (&str, &str) = ("PGSYSCONFDIR", "HOME");
    let server_variables: &[(&str, &str)] =
        &[("PGHOST", "127.0.0.1"), ("PGPORT", &port), ("PGUSER", "app"), ("PGDATABASE", "shop")];
    let mut cases: Vec<Case<'_>> = Vec::new();
    for service in [
        "ours",
        "app",
        "wrong",
        "blank",
        "nested",
        "twice",
        "'two words'",
        "empty",
        "bad",
        "after",
        "old",
        "lost",
        "central",
        "our",
        "",
    ] {
        cases.push((&[], format!("service={service}"), 12));
    }
    let variables: [&[(&str, &str)]; 12] = [
        &[system, ("PGSERVICE", "central")],
        &[system, ("PGSERVICE", "ours")],
        &[("PGSERVICE", "")],
        &[("PGSERVICEFILE", "HOME/named"), ("PGSERVICE", "named")],
        &[("PGSERVICEFILE", "HOME/named"), ("PGSERVICE", "ours")],
        &[("PGSERVICEFILE", "HOME/named"), system, ("PGSERVICE", "central")],
        &[("PGSERVICEFILE", "HOME/nowhere"), system, ("PGSERVICE", "central")],
        &[("PGSERVICEFILE", "HOME/no_section"), system, ("PGSERVICE", "central")],
        &[("PGSERVICE", "ours"), ("PGUSER", "nobody")],
        &[("PGSERVICE", "app"), ("PGDATABASE", "shop")],
        &[("PGSERVICE", "ours"), ("PGPORT", "1"), ("PGAPPNAME", "named")],
        &[],
    ];
    for variables in variables {
        cases.push((variables, String::new(), 12));
        cases.push((variables, "user=app dbname=postgres".into(), 12));
        cases.push((variables, "postgresql://".into(), 12));
    }
    for text in [
        "",
        "user=''",
        "port=''",
        "host='' port=''",
        "dbname=postgres",
        "postgresql:///postgres",
        "postgresql://:/?host=",
    ] {
        cases.push((server_variables, text.into(), 12));
    }
    let text = with("");
    for (name, value) in [
        ("PGSSLMODE", "x"),
        ("PGSSLMODE", ""),
        ("PGREQUIRESSL", "1"),
        ("PGREQUIRESSL", "0"),
        ("PGDATESTYLE", "x"),
        ("PGDATESTYLE", "German"),
        ("PGDATESTYLE", "default"),
        ("PGTZ", "UTC"),
        ("PGTZ", "a b"),
        ("PGGEQO", "off"),
        ("PGGEQO", ""),
        ("PGCONNECT_TIMEOUT", "x"),
        ("PGCONNECT_TIMEOUT", ""),
        ("PGTARGETSESSIONATTRS", "standby"),
        ("PGTARGETSESSIONATTRS", ""),
        ("PGCHANNELBINDING", "x"),
        ("PGGSSENCMODE", "x"),
        ("PGOPTIONS", "-c geqo=off"),
        ("PGAPPNAME", "named"),
        ("PGAPPNAME", ""),
        ("PGHOSTADDR", "127.0.0.1"),
        ("PGHOSTADDR", "127.0.0.9,127.0.0.1"),
        ("PGUSER", ""),
        ("PGPASSWORD", "x"),
        ("PGKRBSRVNAME", "x"),
        ("PGSSLMINPROTOCOLVERSION", "x"),
        ("PGREQUIREPEER", "x"),
        ("PGCLIENTENCODING", "UTF8"),
        ("PGSSLCOMPRESSION", "1"),
    ] {
        let variables: &'static [(&'static str, &'static str)] = Box::leak(Box::new([(name, value)]));
        cases.push((variables, text.clone(), 14));
        cases.push((
            variables,
            format!("{text} options='-c TimeZone=Europe/Berlin -c geqo=on' application_name=given"),
            14,
        ));
    }
    if let Some(reached) = compare(&mut surroundings, &cases) {
        assert!(reached > 50, "{reached}");
    }
}

#[test]
fn a_password_file_is_used_as_by_psql() {
    let mut surroundings = Surroundings::new("passwords");
    let (port, socket) = (server().port(), server().socket_directory().display().to_string());
    for (name, mode) in
        [("0600", 0o600), ("0400", 0o400), ("0640", 0o640), ("0644", 0o644), ("0660", 0o660), ("0700", 0o700)]
    {
        surroundings.file_with_mode(name, "*:*:*:*:geheim", mode);
    }
    let lines = [
        "*:*:*:*:geheim".to_owned(),
        format!("127.0.0.1:{port}:shop:guarded:geheim"),
        "*:*:*:*:falsch\n*:*:*:*:geheim".into(),
        "#*:*:*:*:falsch\n*:*:*:*:geheim".into(),
        "127.0.0.1:*:*:guarded:ge\\heim".into(),
        "127.0.0.1:*:*:guarded:geheim:more".into(),
        "*:*:*:guarded:geheim\r".into(),
        " *:*:*:*:geheim".into(),
        "*:*:*:*:geheim ".into(),
        "*:*:*:\\guarded:geheim".into(),
        "*:*:*:*:\n*:*:*:*:geheim".into(),
        "*:*:other:*:falsch\n*:*:shop:*:geheim".into(),
        "localhost:*:*:*:geheim".into(),
        format!("{socket}:*:*:*:geheim"),
        "nowhere.invalid:*:*:*:geheim".into(),
        "*:*:*:*".into(),
        "\n\n*:*:*:*:geheim".into(),
        "127.0.0.*:*:*:*:geheim".into(),
        "*:5432:*:*:geheim".into(),
        String::new(),
    ];
    for (number, line) in lines.iter().enumerate() {
        surroundings.file(&format!("lines{number}"), line);
    }
    surroundings.file(".pgpass", &format!("127.0.0.1:{port}:shop:guarded:geheim\n"));
    let files: Vec<String> = ["0600", "0400", "0640", "0644", "0660", "0700", "nowhere", ""]
        .into_iter()
        .map(str::to_owned)
        .chain((0..lines.len()).map(|number| format!("lines{number}")))
        .collect();
    let home = surroundings.home().display().to_string();
    let mut cases: Vec<Case<'_>> = Vec::new();
    for file in &files {
        let path = if file.is_empty() { String::new() } else { format!("{home}/{file}") };
        for place in [
            "host=127.0.0.1",
            &format!("host={socket}"),
            "hostaddr=127.0.0.1",
            "host=nowhere.invalid hostaddr=127.0.0.1",
        ] {
            cases.push((&[], format!("{place} port={port} user=guarded dbname=shop passfile='{path}'"), 12));
        }
    }
    let named: &[(&str, &str)] = &[("PGPASSFILE", "HOME/lines0")];
    let wrong: &[(&str, &str)] = &[("PGPASSFILE", "HOME/lines5"), ("PGPASSWORD", "falsch")];
    for (variables, more) in [
        (named, ""),
        (named, "password=falsch"),
        (named, "password=''"),
        (wrong, ""),
        (&[], ""),
        (&[], "dbname=postgres"),
        (&[], "password=''"),
        (&[("PGPASSWORD", "")], ""),
        (&[("PGPASSWORD", "geheim")], "dbname=postgres"),
    ] {
        cases.push((variables, format!("host=127.0.0.1 port={port} user=guarded dbname=shop {more}"), 12));
    }
    let list = format!("host=127.0.0.1,127.0.0.1 port={},{port} user=guarded dbname=shop", dead());
    cases.push((&[], list, 12));
    if let Some(reached) = compare(&mut surroundings, &cases) {
        assert!(reached > 40, "{reached}");
    }
}

#[test]
fn target_session_attrs_finds_the_servers_that_psql_finds() {
    let primary = server();
    let standby = primary.standby().unwrap();
    let quiet = format!("{}options='-c default_transaction_read_only=on'", " ");
    let (first, second, dead) = (primary.port(), standby.port(), dead());
    let mut cases: Vec<Case<'_>> = Vec::new();
    for target in ["any", "read-write", "read-only", "primary", "standby", "prefer-standby"] {
        for ports in [
            vec![first],
            vec![second],
            vec![first, second],
            vec![second, first],
            vec![dead, first],
            vec![dead, second, first],
            vec![dead],
        ] {
            let hosts = vec!["127.0.0.1"; ports.len()].join(",");
            let ports = ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            let text = format!("host={hosts} port={ports} user=app dbname=shop target_session_attrs={target}");
            cases.push((&[], text.clone() + &quiet, 14));
            cases.push((&[], text, 14));
        }
    }
    if let Some(reached) = compare(&mut Surroundings::new("targets"), &cases) {
        assert!(reached > 45, "{reached}");
    }
}

#[test]
fn p100_timeouts_and_settings_are_those_of_the_session() {
    let parameters = ConnectionParameters::parse(&with("options='-c lock_timeout=7s -c geqo=off'")).unwrap();
    let mut options = ConnectOptions::new();
    options.statement_timeout = Some(Duration::from_millis(1500));
    options.lock_timeout = Some(Duration::ZERO);
    options.idle_in_transaction_session_timeout = Some(Duration::from_secs(60));
    options.settings = vec![("application_name".into(), r"it's \a name".into()), ("my.setting".into(), "a b".into())];
    let cluster = Cluster::connect_with(parameters.clone(), options.clone()).unwrap();
    let settings = || -> Vec<String> {
        let names = [
            "statement_timeout",
            "lock_timeout",
            "idle_in_transaction_session_timeout",
            "application_name",
            "my.setting",
            "geqo",
        ];
        let value = |name: &str| cluster.execute("SELECT current_setting($1)", &[&name]).unwrap()[0].get(0);
        names.map(value).into()
    };
    let expected = ["1500ms", "0", "1min", r"it's \a name", "a b", "off"];
    assert_eq!(settings(), expected);
    cluster.execute("SET statement_timeout = '1h'", &[]).unwrap();
    cluster.execute("RESET ALL", &[]).unwrap();
    assert_eq!(settings(), expected);
    // Also after the connection was lost.
    let pid: i32 = cluster.execute("SELECT pg_backend_pid()", &[]).unwrap()[0].get(0);
    Cluster::connect(&server().dsn()).unwrap().execute("SELECT pg_terminate_backend($1)", &[&pid]).unwrap();
    wait_until("it is connected again", || cluster.execute("SELECT 1", &[]).is_ok());
    assert_eq!(settings(), expected);
    // What nobody asked for is the server's.
    let plain = Cluster::connect(&with("")).unwrap();
    let timeout: String = plain.execute("SELECT current_setting('statement_timeout')", &[]).unwrap()[0].get(0);
    assert_eq!(timeout, "0");
    options.transaction_timeout = Some(Duration::from_secs(9));
    let newer = Cluster::connect_with(parameters, options);
    if major() >= 17 {
        let timeout: String =
            newer.unwrap().execute("SELECT current_setting('transaction_timeout')", &[]).unwrap()[0].get(0);
        assert_eq!(timeout, "9s");
    } else {
        assert!(matches!(newer, Err(Error::Unsupported { needs, .. }) if needs == "PostgreSQL 17"));
    }
}

#[test]
fn p103_what_passes_is_tried_again_and_nothing_else() {
    let attempts = |text: &str| {
        let mut options = ConnectOptions::new();
        options.retries = Retries::new(3);
        options.retries.first_wait = Duration::from_millis(40);
        options.retries.longest_wait = Duration::from_millis(60);
        let started = Instant::now();
        let error = Cluster::connect_with(ConnectionParameters::parse(text).unwrap(), options).unwrap_err();
        let again = error.to_string().contains("; tried 4 times");
        assert!(!again || started.elapsed() >= Duration::from_millis(160));
        (error, again)
    };
    // Lets in whoever comes, and hangs up.
    let welcome = || speaker(|stream| drop(stream.write_all(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I")));
    for passing in [dead(), refuser("57P03"), refuser("53300"), speaker(|_| {}), welcome()] {
        let (error, again) = attempts(&format!("host=127.0.0.1 port={passing} user=app dbname=shop"));
        assert!(again, "{error}");
        let target = format!("connect to host=127.0.0.1 port={passing} dbname=shop user=app");
        assert!(error.to_string().contains(&target), "{error}");
    }
    for (text, code) in [
        (with("dbname=no_such"), "3D000"),
        (with("user=guarded password=falsch"), "28P01"),
        (with("user=nobody"), "28000"),
    ] {
        let (error, again) = attempts(&text);
        assert!(!again && error.code().unwrap().code() == code, "{error}");
        assert!(error.to_string().contains(&format!("port={}", server().port())), "{error}");
        assert!(!error.to_string().contains("falsch"), "{error}");
    }
    let (error, again) = attempts(&with("user=guarded"));
    assert!(!again && error.to_string().contains("password missing"), "{error}");
    assert!(!attempts("host=nowhere.invalid user=app").1);
}

#[test]
fn p103_a_server_that_comes_up_later_is_reached() {
    let reserved = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = reserved.local_addr().unwrap().port();
    drop(reserved);
    let real = server().port();
    let (sender, receiver) = std::sync::mpsc::channel();
    let waiting = thread::spawn(move || {
        let mut options = ConnectOptions::new();
        options.retries = Retries::new(500);
        options.retries.longest_wait = Duration::from_millis(50);
        sender.send(()).unwrap();
        let text = format!("host=127.0.0.1 port={port} user=app dbname=shop connect_timeout=5");
        Cluster::connect_with(ConnectionParameters::parse(&text).unwrap(), options)
            .map(|cluster| cluster.current_database().to_owned())
    });
    receiver.recv().unwrap();
    // A way to the server that is there only now.
    forward(TcpListener::bind(("127.0.0.1", port)).unwrap(), real, Arc::default());
    assert_eq!(waiting.join().unwrap().unwrap(), "shop");
}

#[test]
fn an_error_of_several_hosts_says_what_happened_at_each() {
    let (first, second, port) = (dead(), refuser("57P03"), server().port());
    let text = format!("host=127.0.0.1,nowhere.invalid,127.0.0.1 port={first},1,{second} user=app dbname=shop");
    let error = Cluster::connect(&text).unwrap_err().to_string();
    for part in [
        &format!("host=127.0.0.1 port={first} "),
        "refused",
        "host=nowhere.invalid",
        &format!("port={second} "),
        "57P03",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    let text = format!("host=127.0.0.1,127.0.0.1 port={first},{port} user=guarded dbname=shop password=falsch");
    let error = Cluster::connect(&text).unwrap_err();
    assert_eq!(error.code().unwrap().code(), "28P01");
    assert!(
        error.to_string().contains(&format!("before that: cannot connect to host=127.0.0.1 port={first}")),
        "{error}"
    );
}

#[test]
fn connections_beside_the_first_go_to_the_same_server() {
    let primary = server();
    let standby = primary.standby().unwrap();
    let list = format!("host=127.0.0.1,127.0.0.1 port={},{}", standby.port(), primary.port());
    standby.stop().unwrap();
    let cluster = Cluster::connect(&format!("{list} user=postgres dbname=postgres")).unwrap();
    let port = |cluster: &Cluster| -> u16 {
        let rows = cluster.execute("SELECT current_setting('port')", &[]).unwrap();
        rows[0].get::<_, String>(0).parse().unwrap()
    };
    assert_eq!(port(&cluster), primary.port());
    // The first of the list is there again.
    standby.restart().unwrap();
    assert_eq!(port(&cluster.database("shop").unwrap()), primary.port());
    // Lost, a connection is made anew from the list.
    let pid: i32 = cluster.execute("SELECT pg_backend_pid()", &[]).unwrap()[0].get(0);
    Cluster::connect(&primary.dsn()).unwrap().execute("SELECT pg_terminate_backend($1)", &[&pid]).unwrap();
    wait_until("it is connected again", || cluster.execute("SELECT 1", &[]).is_ok());
    assert_eq!(port(&cluster), standby.port());
    assert_eq!(port(&cluster.database("template1").unwrap()), standby.port());
}

#[test]
fn requirepeer_is_refused_where_it_would_have_an_effect() {
    let socket = format!("{} user=app dbname=shop requirepeer=root", server().dsn());
    let error = Cluster::connect(&socket).unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    Cluster::connect(&with("requirepeer=root")).unwrap();
}

#[cfg(feature = "tls")]
#[test]
fn a_cancel_request_waits_no_longer_than_connecting_does() {
    let (listener, silent) = (TcpListener::bind("127.0.0.1:0").unwrap(), Arc::new(AtomicBool::new(false)));
    let port = listener.local_addr().unwrap().port();
    forward(listener, server().port(), silent.clone());
    // The request asks for TLS first, as its connection did.
    let text = format!("host=127.0.0.1 port={port} user=app dbname=shop sslmode=prefer connect_timeout=2");
    let cluster = Cluster::connect(&text).unwrap();
    silent.store(true, Ordering::Release);
    let (sender, receiver) = std::sync::mpsc::channel();
    let canceller = cluster.canceller();
    thread::spawn(move || sender.send(canceller.cancel()));
    let error = receiver.recv_timeout(Duration::from_secs(20)).expect("it has an end").unwrap_err();
    assert!(matches!(error, Error::Connection { .. }) && error.to_string().contains("connect_timeout"), "{error}");
}

#[test]
fn a_variable_that_is_not_utf_8_is_not_left_out() {
    let Some((program, _)) = psql() else {
        println!("SKIPPED: psql is not installed");
        return;
    };
    let mut surroundings = Surroundings::new("bytes");
    for name in ["PGSSLMODE", "PGTARGETSESSIONATTRS", "PGCHANNELBINDING", "PGPORT"] {
        surroundings.set(&[]);
        let text = if name == "PGPORT" { "host=127.0.0.1 user=app dbname=shop".into() } else { with("") };
        surroundings.set_bytes(name, b"\xff");
        let (theirs, ours) = (surroundings.psql(&program, &text), surroundings.ours().connect(&text));
        assert!(theirs.is_err() && ours.is_err(), "{name} {theirs:?} {ours:?}");
        assert!(!ours.unwrap_err().contains("refused"), "{name}");
    }
}
