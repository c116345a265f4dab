//! Texts, password files and service files that nobody thought of, for psql and for this crate: both begin a session with
//! one server, which writes down what they said.
use crate::beside_psql::{Ours, Surroundings, psql};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRng, TestRunner};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::thread;

/// What a client said: its parameters and its password.
type Said = Vec<BTreeMap<String, String>>;

/// A server that asks for a password and refuses it. It serves one client after the other.
struct Listener {
    port: u16,
}

/// Instead of a version of the protocol: a question of the test's own.
const WHAT_WAS_SAID: u32 = 0x7067_7374;

impl Listener {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            let mut said = Said::new();
            for stream in listener.incoming() {
                // A client that hangs up has said nothing.
                let _ = listen(&mut stream.unwrap(), &mut said);
            }
        });
        Self { port }
    }

    /// What clients have said since this was asked last. Whoever connected before was served before.
    fn said(&self) -> Said {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.write_all(&[&8_u32.to_be_bytes()[..], &WHAT_WAS_SAID.to_be_bytes()].concat()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let one = |part: &str| {
            part.split('\0')
                .filter_map(|pair| pair.split_once('\x01'))
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect()
        };
        text.split_terminator('\x02').map(one).collect()
    }
}

fn listen(stream: &mut TcpStream, said: &mut Said) -> std::io::Result<()> {
    let number = |stream: &mut TcpStream| -> std::io::Result<u32> {
        let mut bytes = [0; 4];
        stream.read_exact(&mut bytes)?;
        Ok(u32::from_be_bytes(bytes))
    };
    loop {
        let (length, code) = (number(stream)?, number(stream)?);
        let mut body = vec![0; length as usize - 8];
        stream.read_exact(&mut body)?;
        match code {
            80_877_103 | 80_877_104 => stream.write_all(b"N")?,
            WHAT_WAS_SAID => {
                let one = |one: BTreeMap<String, String>| -> String {
                    one.into_iter().map(|(key, value)| format!("{key}\x01{value}\0")).collect::<String>() + "\x02"
                };
                return stream.write_all(said.drain(..).map(one).collect::<String>().as_bytes());
            }
            _ => {
                let text = String::from_utf8_lossy(&body).into_owned();
                let words: Vec<_> = text.split('\0').collect();
                let pairs = words.chunks_exact(2).filter(|pair| !pair[0].is_empty());
                let mut parameters: BTreeMap<String, String> =
                    pairs.map(|pair| (pair[0].to_owned(), pair[1].to_owned())).collect();
                // psql's own, and what the driver always says.
                parameters
                    .retain(|key, value| !(key == "client_encoding" || key == "application_name" && value == "psql"));
                said.push(parameters);
                stream.write_all(b"R\0\0\0\x08\0\0\0\x03")?;
                stream.read_exact(&mut [0])?;
                let length = number(stream)?;
                let mut password = vec![0; length as usize - 4];
                stream.read_exact(&mut password)?;
                let password = String::from_utf8_lossy(&password).trim_end_matches('\0').to_owned();
                said.last_mut().unwrap().insert("password".into(), password);
                let fields = "SFATAL\0VFATAL\0C28000\0Mno\0\0";
                let length = u32::try_from(fields.len() + 4).unwrap().to_be_bytes();
                return stream.write_all(&[b"E", &length[..], fields.as_bytes()].concat());
            }
        }
    }
}

/// psql, this crate's program, and the server that both talk to.
struct Pair {
    listener: Listener,
    psql: PathBuf,
    surroundings: Surroundings,
    ours: Ours,
}

impl Pair {
    /// None where psql is not installed.
    fn start(name: &str, more: &[(&str, &str)]) -> Option<Self> {
        let Some((psql, _)) = psql() else {
            println!("SKIPPED: psql is not installed");
            return None;
        };
        let listener = Listener::start();
        let port = listener.port.to_string();
        let mut surroundings = Surroundings::new(name);
        let mut variables = vec![
            ("PGHOSTADDR", "127.0.0.1"),
            ("PGPORT", port.as_str()),
            ("PGSSLMODE", "disable"),
            ("PGGSSENCMODE", "disable"),
        ];
        variables.extend(more);
        surroundings.set(&variables);
        let ours = surroundings.ours();
        Some(Self { listener, psql, surroundings, ours })
    }

    /// Whether both say the same; whether they got as far as saying something.
    fn compare(&mut self, text: &str) -> Result<bool, TestCaseError> {
        let error = self.surroundings.psql(&self.psql, text).unwrap_err();
        let theirs = self.listener.said();
        let our_error = self.ours.connect(text).unwrap_err();
        let ours = self.listener.said();
        prop_assert_eq!(&theirs, &ours, "{:?}\npsql: {}\nours: {}", text, error, our_error);
        Ok(!theirs.is_empty())
    }
}

/// How many random cases.
#[derive(Clone, Copy)]
enum Cases {
    /// The same ones each time.
    Few,
    /// Others each time.
    Many,
}

/// Runs random cases; says which part of them said something to the server.
fn run<S: Strategy>(cases: Cases, strategy: S, mut test: impl FnMut(S::Value) -> Result<bool, TestCaseError>) -> f64 {
    let number = match cases {
        Cases::Few => 100,
        Cases::Many => 3000,
    };
    let config = Config { cases: number, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    let mut runner = match cases {
        Cases::Few => TestRunner::new_with_rng(config, TestRng::deterministic_rng(Default::default())),
        Cases::Many => TestRunner::new(config),
    };
    let (count, test) = (Cell::new(0), RefCell::new(&mut test));
    let outcome = runner.run(&strategy, |value| {
        count.set(count.get() + u32::from((test.borrow_mut())(value)?));
        Ok(())
    });
    outcome.unwrap();
    f64::from(count.get()) / f64::from(number)
}

fn word(pattern: &'static str) -> BoxedStrategy<String> {
    pattern.prop_map(|text| text).boxed()
}

/// Pieces of conninfo strings, right and wrong ones.
fn conninfo() -> impl Strategy<Value = String> {
    let keyword = prop_oneof![
        12 => proptest::sample::select(vec!["user", "password", "dbname", "application_name", "options", "host"]).prop_map(str::to_owned),
        1 => word("[a-z_]{0,5}"),
    ];
    let value = prop_oneof![
        6 => word(r"[a-zA-Z0-9_.@:%/-]{1,6}"),
        3 => word(r"'([a-z =@:/%é]|\\'|\\\\|\\a){0,6}'"),
        1 => word(r"[a-z'\\ ]{0,5}"),
    ];
    let pair = (keyword, word("[ \n]{0,2}=[ \t]{0,1}"), value, word("[ \n]{1,2}"))
        .prop_map(|(key, equals, value, end)| key + &equals + &value + &end);
    proptest::collection::vec(pair, 0..5).prop_map(|pairs| "user=u ".to_owned() + &pairs.concat())
}

/// Pieces of URLs, right and wrong ones.
fn url() -> impl Strategy<Value = String> {
    let part = || prop_oneof![8 => word("[a-z0-9_.-]{0,4}"), 2 => word("(%[0-7][0-9a-fA-F]|[a-z]){1,3}"), 1 => word("[a-z@:/?#&=%+,;]{0,4}")];
    let login = prop_oneof![
        2 => Just(String::new()),
        4 => (part(), part()).prop_map(|(user, password)| format!("{user}:{password}@")),
        2 => part().prop_map(|user| user + "@"),
    ];
    let host = prop_oneof![3 => Just(String::new()), 4 => part(), 1 => Just("[::1]".to_owned()), 1 => word(r"\[[:0-9a-z]{0,4}\]?x?")];
    let path = prop_oneof![2 => Just(String::new()), 4 => part().prop_map(|name| format!("/{name}"))];
    let keyword = prop_oneof![
        8 => proptest::sample::select(vec!["user", "password", "dbname", "application_name", "options", "%75ser"]).prop_map(str::to_owned),
        1 => word("[a-z%]{0,4}"),
    ];
    let pair = (keyword, part()).prop_map(|(key, value)| format!("{key}={value}"));
    let query = proptest::collection::vec(pair, 0..4)
        .prop_map(|pairs| if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) });
    let scheme = prop_oneof![Just("postgresql://"), Just("postgres://")];
    (scheme, login, host, path, query)
        .prop_map(|(scheme, login, host, path, query)| format!("{scheme}{login}{host}{path}{query}"))
}

#[test]
fn conninfo_strings_say_what_they_say_to_psql() {
    conninfo_strings(Cases::Few);
}

fn conninfo_strings(cases: Cases) {
    let Some(mut pair) = Pair::start("conninfo", &[]) else { return };
    let said = run(cases, conninfo(), |text| pair.compare(&text));
    assert!(said > 0.2, "{said}");
}

#[test]
fn urls_say_what_they_say_to_psql() {
    urls(Cases::Few);
}

fn urls(cases: Cases) {
    let Some(mut pair) = Pair::start("urls", &[]) else { return };
    let said = run(cases, url(), |text| pair.compare(&text));
    assert!(said > 0.2, "{said}");
}

#[test]
fn password_files_say_what_they_say_to_psql() {
    password_files(Cases::Few);
}

fn password_files(cases: Cases) {
    let Some(mut pair) = Pair::start("passfiles", &[]) else { return };
    let port = pair.listener.port;
    let field = |right: String| prop_oneof![3 => Just("*".to_owned()), 4 => Just(right.clone()), 1 => Just(right.replace(':', "\\:")), 1 => word(r"[a-z*\\ ]{0,3}")];
    let line = (
        field("db:1".into()),
        field(port.to_string()),
        field("d\\x".into()),
        field("u:v".into()),
        word(r"([a-z #é]|\\:|\\\\|\\a|:){0,6}"),
    )
        .prop_map(|(host, port, database, user, password)| format!("{host}:{port}:{database}:{user}:{password}"));
    let line = prop_oneof![9 => line, 1 => word("[#*: a-z]{0,8}")];
    let file = (proptest::collection::vec(line, 0..5), word("\r?\n")).prop_map(|(lines, end)| lines.join(&end));
    let said = run(cases, file, |file| {
        pair.surroundings.file(".pgpass", &file);
        pair.compare(r"host=db:1 user=u:v dbname='d\\x'")
    });
    assert!(said > 0.2, "{said}");
}

#[test]
fn service_files_say_what_they_say_to_psql() {
    service_files(Cases::Few);
}

fn service_files(cases: Cases) {
    let Some(mut pair) = Pair::start("services", &[("PGUSER", "environment")]) else { return };
    let line = prop_oneof![
        3 => Just("[s]".to_owned()),
        1 => word(r"\[[a-z ]{0,2}\]?[ a]{0,1}"),
        8 => (proptest::sample::select(vec!["user", "password", "dbname", "application_name", "options"]), word(r"[a-z '=\\#\[\]-]{0,5}")).prop_map(|(key, value)| format!("{key}={value}")),
        1 => word("[a-z =#]{0,6}"),
        1 => word("#[a-z=]{0,4}"),
    ];
    let indented =
        (word("[ \t]{0,1}"), line, word("[ \t]{0,1}")).prop_map(|(before, line, after)| before + &line + &after);
    let file = proptest::collection::vec(indented, 0..7).prop_map(|lines| format!("[s]\n{}", lines.join("\n")));
    let said = run(cases, file, |file| {
        pair.surroundings.file(".pg_service.conf", &file);
        pair.compare("service=s")
    });
    assert!(said > 0.2, "{said}");
}

#[test]
#[ignore = "a campaign of some minutes, for scripts/soak"]
fn many_texts_and_files_say_what_they_say_to_psql() {
    conninfo_strings(Cases::Many);
    urls(Cases::Many);
    password_files(Cases::Many);
    service_files(Cases::Many);
}
