//! The sessions in the documents: what the pages show is what the program prints.
//!
//! A block marked `console` has lines that begin with `$ `, which a shell runs in an empty directory, and what they
//! print. With `PGSTEWARD_WRITE_PAGES=1` the pages get what is printed now.
use crate::support::{program, server};
use pgsteward::Cluster;
use pgsteward::testing::TestServer;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What every page finds: a shop, and somebody who works in it.
const SHOP: &[&str] = &["CREATE ROLE app LOGIN CONNECTION LIMIT 20", "CREATE ROLE alice LOGIN", "CREATE DATABASE shop"];
const IN_SHOP: &str = "
    CREATE SCHEMA app;
    CREATE TABLE app.customers (id bigint PRIMARY KEY, name text NOT NULL);
    CREATE TABLE app.orders (id bigserial PRIMARY KEY, customer bigint NOT NULL REFERENCES app.customers,
                             total numeric(10, 2) NOT NULL DEFAULT 0);
    CREATE VIEW app.totals AS SELECT customer, sum(total) AS total FROM app.orders GROUP BY customer;
    CREATE FUNCTION app.discount(total numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS 'SELECT total * 0.9';
    INSERT INTO app.customers SELECT n, 'customer ' || n FROM generate_series(1, 100) n;
    INSERT INTO app.orders (customer, total) SELECT 1 + n % 100, n FROM generate_series(1, 1000) n;
    ALTER TABLE app.orders OWNER TO app;
    CREATE MATERIALIZED VIEW app.best AS SELECT customer, max(total) FROM app.orders GROUP BY customer;
    SELECT lo_create(4711);
";
/// What stands in a page for the server's directories.
const DATA_DIRECTORY: &str = "/var/lib/postgresql/data";
const SOCKET_DIRECTORY: &str = "/var/run/postgresql";

/// The version that the pages are about: what others print differs in details.
const MAJOR: u32 = 15;

/// A server and a directory for one page.
struct Page {
    server: TestServer,
    directory: PathBuf,
    /// Somebody else who is there.
    _alice: Cluster,
}

impl Page {
    fn new(name: &str) -> Self {
        let server = TestServer::start().unwrap();
        let cluster = Cluster::connect(&server.dsn()).unwrap();
        SHOP.iter().for_each(|statement| drop(cluster.execute(statement, &[]).unwrap()));
        let shop = Cluster::connect(&server.dsn_for("shop", "postgres")).unwrap();
        shop.with_client(|client| client.batch_execute(IN_SHOP)).unwrap();
        drop(shop);
        let alice = Cluster::connect(&format!("{} user=alice application_name=reporting", server.dsn())).unwrap();
        // A session ends a moment after its connection.
        let gone = || cluster.execute("SELECT FROM pg_stat_activity WHERE datname = 'shop'", &[]).unwrap().is_empty();
        let deadline = Instant::now() + Duration::from_secs(30);
        while !gone() {
            assert!(Instant::now() < deadline, "the session in the shop does not end");
        }
        let directory = server.socket_directory().join(format!("page-{name}"));
        fs::create_dir(&directory).unwrap();
        Self { server, directory, _alice: alice }
    }

    /// What a shell prints for a line.
    fn run(&self, line: &str) -> String {
        let bin = Path::new(env!("CARGO_BIN_EXE_pgsteward")).parent().unwrap().to_str().unwrap();
        let path = std::env::var("PATH").unwrap_or_default();
        // Of what the program knows about its surroundings, all but itself.
        let known = program(&self.server);
        let mut shell = std::process::Command::new("sh");
        shell.env_clear().envs(known.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let server = self.server.bin().to_str().unwrap();
        shell.env("PATH", format!("{bin}:{server}:{path}")).current_dir(&self.directory);
        let output = shell.args(["-c", &format!("exec 2>&1; {line}")]).output().unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        let replaced = printed
            .replace(self.server.data_directory().to_str().unwrap(), DATA_DIRECTORY)
            .replace(self.server.socket_directory().to_str().unwrap(), SOCKET_DIRECTORY);
        replaced.lines().map(|line| format!("{}\n", line.trim_end())).collect()
    }

    /// The page with what its lines print now.
    fn rewrite(&self, text: &str) -> String {
        let (mut page, mut in_session) = (String::new(), false);
        for line in text.lines() {
            match (in_session, line.strip_prefix("$ ")) {
                (true, Some(command)) => write!(page, "{line}\n{}", self.run(command)).unwrap(),
                (true, None) if !line.starts_with("```") => continue,
                _ => writeln!(page, "{line}").unwrap(),
            }
            in_session = if in_session { line != "```" } else { line == "```console" };
        }
        page
    }
}

/// A page without what another run prints otherwise: numbers, and the widths of columns that they are in.
fn without_numbers(page: &str) -> Vec<String> {
    let mask = |word: &str| {
        let mut masked = String::new();
        for c in word.chars() {
            match c {
                '0'..='9' if masked.ends_with('0') => {}
                '─' | '-' | '═' if masked.ends_with(c) => {}
                '0'..='9' => masked.push('0'),
                _ => masked.push(c),
            }
        }
        masked
    };
    page.lines().map(|line| line.split_whitespace().map(mask).collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn the_pages_show_what_the_program_prints() {
    if server().major() != MAJOR {
        println!("SKIPPED: the pages show what PostgreSQL {MAJOR} prints");
        return;
    }
    let documents = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let mut sessions = 0;
    for entry in fs::read_dir(&documents).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap_or_default();
        if !text.contains("\n```console\n") {
            continue;
        }
        sessions += 1;
        let name = path.file_stem().unwrap().to_str().unwrap();
        let now = Page::new(name).rewrite(&text);
        if std::env::var_os("PGSTEWARD_WRITE_PAGES").is_some() {
            fs::write(&path, now).unwrap();
            continue;
        }
        for (shown, printed) in without_numbers(&text).iter().zip(&without_numbers(&now)) {
            assert_eq!(shown, printed, "{name}; PGSTEWARD_WRITE_PAGES=1 writes what is printed now:\n{now}");
        }
        assert_eq!(text.lines().count(), now.lines().count(), "{name}:\n{now}");
    }
    assert!(sessions > 5, "only {sessions} pages have sessions");
}
