//! A database for each client.
use crate::load::Folder;
use crate::support::{CancelledOnce, major, wait_until};
use pgsteward::testing::{TestServer, TestServerOptions};
use pgsteward::{ClientDatabase, Cluster, Error, LoadAs, Provision, ProvisionEvent, ProvisionReport, Role};
use std::collections::BTreeSet;
use std::fs;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A server on which everybody but `postgres` needs a password.
fn strict() -> (TestServer, Cluster) {
    let mut options = TestServerOptions::new();
    options.hba = Some("local all postgres,boss trust\nlocal all all md5\n".into());
    options.settings.push(("log_statement".into(), "all".into()));
    let server = TestServer::with(options).unwrap();
    let cluster = Cluster::connect(&server.dsn()).unwrap();
    (server, cluster)
}

fn run(cluster: &Cluster, provision: &Provision) -> ProvisionReport {
    cluster.provision(provision, |_| ControlFlow::Continue(())).unwrap()
}

fn names(list: &[ClientDatabase]) -> Vec<&str> {
    list.iter().map(|client| client.database.as_str()).collect()
}

fn made(report: &ProvisionReport) -> Vec<&str> {
    report.made.iter().map(|made| made.client.database.as_str()).collect()
}

fn texts(cluster: &Cluster, question: &str) -> Vec<String> {
    cluster.execute(question, &[]).unwrap().iter().map(|row| row.get(0)).collect()
}

const SCHEMA: &str = "CREATE TABLE item (id int PRIMARY KEY);\nINSERT INTO item VALUES (1);\n";

#[test]
fn p080_each_client_has_a_database_and_reaches_no_other() {
    let ((server, cluster), folder) = (strict(), Folder::new());
    let mut provision = Provision::new(ClientDatabase::by_pattern("client{09..11}_inventory").unwrap());
    provision.clients.push(ClientDatabase::new("we.ird \"na''me:").role("ro;le \\"));
    provision.files.push(folder.write("schema.sql", SCHEMA));
    provision.settings.push(("search_path".into(), vec!["app".into(), "public".into()]));
    provision.settings.push(("app.tenant".into(), vec!["it's".into()]));
    (provision.database.connection_limit, provision.database.comment) = (7, Some("a client's".into()));
    (provision.role.connection_limit, provision.role.comment) = (3, Some("theirs".into()));
    let mut told = Vec::new();
    let report = cluster.provision(&provision, |event| {
        told.push(event.clone());
        ControlFlow::Continue(())
    });
    let report = report.unwrap();
    assert_eq!(made(&report), names(&provision.clients), "{report:?}");
    assert_eq!(told.iter().filter(|event| matches!(event, ProvisionEvent::Made(_))).count(), 4);
    assert_eq!(told.iter().filter(|event| matches!(event, ProvisionEvent::Begun(_))).count(), 4);
    assert_eq!(report.open_databases, ["postgres", "template1"]);
    let enter = |database: &str, role: &str, password: &str| {
        let mut config: postgres::Config = server.dsn_for(database, role).parse().unwrap();
        config.password(password);
        Cluster::connect_with(config, pgsteward::ConnectOptions::new())
    };
    for one in &report.made {
        let (role, password) = (&one.client.role, one.password.as_ref().unwrap().reveal());
        let inside = enter(&one.client.database, role, password).unwrap();
        let rows = inside
            .execute("SELECT count(*), current_setting('search_path'), current_setting('app.tenant') FROM item", &[]);
        let rows = rows.unwrap();
        assert_eq!((rows[0].get(0), rows[0].get(1), rows[0].get(2)), (1_i64, "app, public", "it's"));
        inside.execute("CREATE TABLE public.own (); DROP TABLE item", &[]).unwrap();
        assert!(enter(&one.client.database, role, "wrong").is_err());
        for other in provision.clients.iter().filter(|other| **other != one.client) {
            let error = enter(&other.database, role, password).unwrap_err().to_string();
            assert!(error.contains("42501"), "{error}");
        }
        assert!(!format!("{report:?}").contains(password) && !server.log().unwrap().contains(password));
    }
    let database = cluster.databases().get("client09_inventory").unwrap();
    assert_eq!((database.owner.as_str(), database.connection_limit), ("client09_inventory", 7));
    assert_eq!(database.comment.as_deref(), Some("a client's"));
    let role = cluster.roles().get("ro;le \\").unwrap();
    assert_eq!((role.login, role.connection_limit, role.comment.as_deref()), (true, 3, Some("theirs")));
    let inside = cluster.database("client09_inventory").unwrap();
    assert_eq!(inside.schemas().with_system().get("public").unwrap().owner, "client09_inventory");
    let open = "SELECT 'x' FROM pg_namespace WHERE nspname = 'public' AND has_schema_privilege('public', oid, 'USAGE')";
    assert!(texts(&inside, open).is_empty());
}

#[test]
fn p081_a_client_that_fails_leaves_nothing_and_stops_no_other() {
    let ((_server, cluster), folder) = (strict(), Folder::new());
    let mut provision = Provision::new(ClientDatabase::by_pattern("c{1..6}").unwrap());
    provision.files.push(folder.write("01.sql", SCHEMA));
    let trap =
        "DO $$BEGIN IF current_database() IN ('c2', 'c5') THEN RAISE 'not %', current_database(); END IF; END$$;";
    provision.files.push(folder.write("02.sql", format!("SELECT 1;\n\n{trap}")));
    cluster.execute("CREATE DATABASE c3", &[]).unwrap();
    cluster.roles().create(Role::new("c4")).unwrap();
    let report = run(&cluster, &provision);
    assert_eq!(made(&report), ["c1", "c6"], "{report:?}");
    let failed: Vec<String> =
        report.failed.iter().map(|(client, error)| format!("{}: {error}", client.database)).collect();
    assert!(
        failed[0].starts_with("c2: ") && failed[0].contains("02.sql\", line 3 (DO ...): not c2 (P0001)"),
        "{failed:?}"
    );
    assert!(failed[1].starts_with("c3: database \"c3\" exists already"), "{failed:?}");
    assert!(failed[2].starts_with("c4: role \"c4\" exists already"), "{failed:?}");
    assert!(failed[3].contains("not c5"), "{failed:?}");
    assert_eq!(
        texts(&cluster, "SELECT datname::text FROM pg_database WHERE datname ~ '^c' ORDER BY 1"),
        ["c1", "c3", "c6"]
    );
    assert_eq!(
        texts(&cluster, "SELECT rolname::text FROM pg_roles WHERE rolname ~ '^c' ORDER BY 1"),
        ["c1", "c4", "c6"]
    );
    // Again, with what stood in the way gone.
    cluster.execute("DROP DATABASE c3", &[]).unwrap();
    cluster.execute("DROP ROLE c4", &[]).unwrap();
    provision.files.pop();
    // Names that are taken say nothing of those that are not.
    cluster.roles().create(Role::new("c0")).unwrap();
    let mut others = provision.clone();
    others.jobs = 1;
    others.clients = vec![ClientDatabase::new("c0"), ClientDatabase::new("d1")];
    let report = run(&cluster, &others);
    assert_eq!((made(&report), report.failed.len()), (vec!["d1"], 1));
    let report = run(&cluster, &provision);
    assert_eq!((made(&report), names(&report.skipped)), (vec!["c2", "c3", "c4", "c5"], vec!["c1", "c6"]));
    let report = run(&cluster, &provision);
    assert!(report.is_complete() && report.skipped.len() == 6);
}

#[test]
fn when_all_fail_the_rest_is_not_tried_and_a_stop_is_heard() {
    let ((_server, cluster), folder) = (strict(), Folder::new());
    let mut provision = Provision::new(ClientDatabase::by_pattern("c{1..30}").unwrap());
    provision.jobs = 2;
    provision.files.push(folder.write("bad.sql", "SELECT 1/0;"));
    let report = run(&cluster, &provision);
    assert!((2..=4).contains(&report.failed.len()), "{report:?}");
    assert_eq!(report.failed.len() + report.not_tried.len(), 30);
    assert!(texts(&cluster, "SELECT rolname::text FROM pg_roles WHERE rolname ~ '^c'").is_empty());
    provision.files.clear();
    let report = cluster.provision(&provision, |event| match event {
        ProvisionEvent::Made(_) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    let report = report.unwrap();
    assert!((1..=5).contains(&report.made.len()) && report.failed.is_empty(), "{report:?}");
    assert_eq!(report.made.len() + report.not_tried.len(), 30);
}

#[test]
fn what_would_fail_is_refused_before_anything_is_made() {
    let ((_server, cluster), folder) = (strict(), Folder::new());
    let one = || Provision::new([ClientDatabase::new("c1")]);
    let try_it = |change: &dyn Fn(&mut Provision)| {
        let mut provision = one();
        change(&mut provision);
        cluster.provision(&provision, |_| ControlFlow::Continue(())).unwrap_err().to_string()
    };
    let commit = folder.write("commit.sql", "SELECT 1;\nCOMMIT;");
    let taken = folder.write("taken", "");
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for (change, words) in [
        (&(|p: &mut Provision| p.clients.clear()) as &dyn Fn(&mut Provision), "empty"),
        (&|p| p.clients.push(ClientDatabase::new("c1")), "twice"),
        (&|p| p.clients.push(ClientDatabase::new("c2").role("c1")), "twice"),
        (&|p| p.clients.push(ClientDatabase::new("x".repeat(64))), "longer than 63 bytes"),
        (&|p| p.clients.push(ClientDatabase::new("c2").role("pg_x")), "pg_"),
        (&|p| p.clients.push(ClientDatabase::new("a\0b")), "NUL"),
        (&|p| p.jobs = 0, "jobs"),
        (&|p| p.role.superuser = true, "SUPERUSER"),
        (&|p| p.database.is_template = true, "copy a template"),
        (&|p| p.database.connection_limit = -7, "connection limit"),
        (&|p| p.settings.push(("a".into(), Vec::new())), "no value"),
        (&|p| p.settings.push((String::new(), vec!["b".into()])), "empty"),
        (&|p| p.files.push(commit.clone()), "line 2"),
        (&|p| p.files.push(PathBuf::from("/nowhere/x.sql")), "/nowhere/x.sql"),
        (&|p| p.files.push(pipe.clone()), "it is no file"),
        (&|p| p.password_file = Some(taken.clone()), "exists"),
        (
            &|p| {
                p.password_file = Some(folder.path().join("new"));
                p.clients.push(ClientDatabase::new("a\nb"));
            },
            "line break",
        ),
    ] {
        let error = try_it(change);
        assert!(error.contains(words), "{words}: {error}");
    }
    let inside = cluster.transaction(|| cluster.provision(&one(), |_| ControlFlow::Continue(())));
    assert!(matches!(inside, Err(Error::Invalid { .. })));
    assert!(texts(&cluster, "SELECT rolname::text FROM pg_roles WHERE rolname ~ '^c'").is_empty());
}

#[test]
fn passwords_go_to_a_file_that_others_cannot_read() {
    let ((server, cluster), folder) = (strict(), Folder::new());
    let path = folder.path().join("passwords");
    let mut provision = Provision::new([ClientDatabase::new("a:1"), ClientDatabase::new("b").role("c")]);
    provision.password_file = Some(path.clone());
    let report = run(&cluster, &provision);
    assert!(report.made.len() == 2 && report.made.iter().all(|made| made.password.is_none()), "{report:?}");
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let text = fs::read_to_string(&path).unwrap();
    let lines: BTreeSet<&str> = text.lines().map(|line| line.rsplit_once(':').unwrap().0).collect();
    assert_eq!(lines, BTreeSet::from(["*:*:a\\:1:a\\:1", "*:*:b:c"]));
    let password = text.lines().find(|line| line.contains(":b:")).unwrap().rsplit(':').next().unwrap();
    let mut config: postgres::Config = server.dsn_for("b", "c").parse().unwrap();
    config.password(password);
    Cluster::connect_with(config, pgsteward::ConnectOptions::new()).unwrap();
    // Nothing to write: no file.
    let again = folder.path().join("again");
    provision.password_file = Some(again.clone());
    assert_eq!(run(&cluster, &provision).skipped.len(), 2);
    assert!(!again.exists());
}

#[test]
fn p080_an_encoding_that_the_template_lacks_takes_template0() {
    let (_server, cluster) = strict();
    let template = cluster.database("template1").unwrap();
    template.execute("CREATE TABLE from_template ()", &[]).unwrap();
    drop(template);
    cluster.databases().create(pgsteward::Database::new("lets_go_of_connections")).unwrap();
    let inside = |name: &str, encoding: &str| {
        let mut provision = Provision::new([ClientDatabase::new(name)]);
        provision.database.encoding = Some(encoding.into());
        let report = run(&cluster, &provision);
        assert!(report.is_complete(), "{report:?}");
        assert_eq!(cluster.databases().get(name).unwrap().encoding.as_deref().map(str::len), Some(encoding.len()));
        cluster.database(name).unwrap().tables().contains("from_template").unwrap()
    };
    assert!(inside("same", "UTF8"));
    assert!(!inside("other", "LATIN1"));
}

#[test]
fn a_role_that_is_no_superuser_provisions_and_deprovisions() {
    let ((server, cluster), folder) = (strict(), Folder::new());
    cluster.execute("CREATE ROLE boss LOGIN CREATEDB CREATEROLE", &[]).unwrap();
    let boss = Cluster::connect(&server.dsn_for("postgres", "boss")).unwrap();
    let mut provision = Provision::new(ClientDatabase::by_pattern("c{1..3}").unwrap());
    let own = "CREATE SCHEMA own; CREATE TABLE own.item (id int);";
    provision.files.push(folder.write("schema.sql", own));
    let report = run(&boss, &provision);
    assert_eq!(report.made.len(), 3, "{report:?}");
    let inside = Cluster::connect(&server.dsn_for("c1", "postgres")).unwrap();
    assert_eq!(inside.tables().get("own.item").unwrap().owner, "c1");
    let open = "SELECT 'x' FROM pg_database WHERE datname = 'c1' AND has_database_privilege('public', oid, 'CONNECT')";
    assert!(texts(&cluster, open).is_empty());
    provision.files = vec![folder.write("bad.sql", "SELECT 1/0")];
    provision.clients = vec![ClientDatabase::new("c4")];
    assert_eq!(run(&boss, &provision).failed.len(), 1);
    drop(inside);
    let clients = ClientDatabase::by_pattern("c{1..4}").unwrap();
    let report = boss.deprovision_without_archive(&clients).unwrap();
    assert_eq!((names(&report.dropped), names(&report.absent)), (vec!["c1", "c2", "c3"], vec!["c4"]), "{report:?}");
}

#[test]
fn files_may_be_run_as_the_one_who_is_connected() {
    let ((_server, cluster), folder) = (strict(), Folder::new());
    let mut provision = Provision::new([ClientDatabase::new("c1")]);
    let text = "CREATE TABLE mine (); CREATE TABLE theirs (); ALTER TABLE theirs OWNER TO c1;";
    provision.files.push(folder.write("schema.sql", text));
    provision.load_as = LoadAs::Connected;
    assert!(run(&cluster, &provision).is_complete());
    let inside = cluster.database("c1").unwrap();
    assert_eq!(inside.tables().get("mine").unwrap().owner, "postgres");
    assert_eq!(inside.tables().get("theirs").unwrap().owner, "c1");
}

#[test]
fn what_is_deprovisioned_is_archived_first() {
    let ((server, cluster), folder) = (strict(), Folder::new());
    let mut provision = Provision::new(ClientDatabase::by_pattern("c{1..3}").unwrap());
    provision.files.push(folder.write("schema.sql", SCHEMA));
    assert!(run(&cluster, &provision).is_complete());
    cluster.execute("CREATE DATABASE foreigner", &[]).unwrap();
    let mut clients = provision.clients.clone();
    clients.extend([ClientDatabase::new("foreigner"), ClientDatabase::new("nobody")]);
    let open = Cluster::connect(&server.dsn_for("c1", "postgres")).unwrap();
    let mut archived = Vec::new();
    let report = cluster.deprovision(&clients, |client, there| {
        assert_eq!(there.current_database(), client.database);
        assert!(!cluster.roles().get(client.role.as_str())?.login);
        archived.push(there.execute("SELECT id::text FROM item", &[])?.len());
        match client.database.as_str() {
            "c2" => Err(Error::NotFound { what: "room in the archive".into() }),
            _ => Ok(()),
        }
    });
    let report = report.unwrap();
    assert_eq!(archived, [1, 1, 1]);
    assert_eq!((names(&report.dropped), names(&report.absent)), (vec!["c1", "c3"], vec!["nobody"]), "{report:?}");
    assert_eq!(
        report.failed.iter().map(|(client, _)| client.database.as_str()).collect::<Vec<_>>(),
        ["c2", "foreigner"]
    );
    cluster.roles().refresh();
    assert!(cluster.roles().get("c2").unwrap().login && cluster.roles().find("c1").unwrap().is_none());
    assert!(cluster.databases().contains("c2").unwrap() && cluster.databases().contains("foreigner").unwrap());
    drop(open);
}

#[test]
fn a_client_whose_archive_was_ended_can_log_in_again_although_the_cancel_comes_late() {
    let (server, cluster) = strict();
    let provision = Provision::new([ClientDatabase::new("shop")]);
    assert!(run(&cluster, &provision).is_complete());
    let (late, canceller) = (CancelledOnce::new(&server.dsn(), "pg_authid"), cluster.canceller());
    let report = std::thread::scope(|scope| {
        let work = scope.spawn(|| {
            cluster.deprovision(&provision.clients, |_, _| {
                late.lock();
                Err(Error::NotFound { what: "room in the archive".into() })
            })
        });
        late.cancel(&server.dsn(), &canceller);
        work.join().unwrap().unwrap()
    });
    assert!(matches!(report.failed.as_slice(), [(_, Error::NotFound { .. })]), "{report:?}");
    cluster.roles().refresh();
    assert!(cluster.roles().get("shop").unwrap().login);
}

/// What the program does that is killed: it makes clients on the server that it is told.
#[test]
#[ignore = "run by the tests that kill it"]
fn the_program_that_is_killed() {
    let Ok(dsn) = std::env::var("PGSTEWARD_PROVISION_DSN") else { return };
    let mut provision =
        Provision::new(ClientDatabase::by_pattern(&std::env::var("PGSTEWARD_PROVISION_CLIENTS").unwrap()).unwrap());
    provision.files.push(std::env::var_os("PGSTEWARD_PROVISION_FILES").unwrap().into());
    provision.password_file = Some(std::env::var_os("PGSTEWARD_PROVISION_PASSWORDS").unwrap().into());
    let report = run(&Cluster::connect(&dsn).unwrap(), &provision);
    assert!(report.is_complete(), "{report:?}");
}

/// A server on which clients are made by programs that are killed.
struct Killing {
    server: TestServer,
    cluster: Cluster,
    folder: Folder,
    clients: Vec<ClientDatabase>,
    pattern: String,
    tables: usize,
    /// Of the last program.
    passwords: Vec<PathBuf>,
}

impl Killing {
    fn new(clients: usize, tables: usize) -> Self {
        let (server, cluster) = strict();
        let folder = Folder::new();
        let schema: String = (0..tables)
            .map(|table| {
                format!(
                    "CREATE TABLE t{table} (id serial PRIMARY KEY, a text, b int);\nCREATE INDEX ON t{table} (b);\n"
                )
            })
            .collect();
        folder.write("schema.sql", schema);
        let pattern = format!("c{{1..{clients}}}");
        let clients = ClientDatabase::by_pattern(&pattern).unwrap();
        Self { server, cluster, folder, clients, pattern, tables, passwords: Vec::new() }
    }

    fn start(&mut self) -> Child {
        let passwords = self.folder.path().join(format!("passwords{}", self.passwords.len()));
        self.passwords.push(passwords.clone());
        let mut program = Command::new(std::env::current_exe().unwrap());
        program.args(["--exact", "--ignored", "provision::the_program_that_is_killed"]);
        program.env("PGSTEWARD_PROVISION_DSN", self.server.dsn());
        program.env("PGSTEWARD_PROVISION_CLIENTS", &self.pattern);
        program.env("PGSTEWARD_PROVISION_FILES", self.folder.path().join("schema.sql"));
        program.env("PGSTEWARD_PROVISION_PASSWORDS", passwords);
        program.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
    }

    fn count(&self, question: &str) -> i64 {
        self.cluster.execute(question, &[]).unwrap()[0].get(0)
    }

    fn complete(&self) -> i64 {
        self.count("SELECT count(*) FROM pg_roles WHERE rolname ~ '^c[0-9]' AND rolcanlogin")
    }

    /// Kills a program when so many more clients are complete, and a little later.
    fn kill_after(&mut self, more: i64, later: Duration) {
        let enough = (self.complete() + more).min(self.clients.len() as i64 - 1);
        let mut child = self.start();
        wait_until("clients are made", || self.complete() >= enough || child.try_wait().unwrap().is_some());
        std::thread::sleep(later);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// The last program is not killed: after it, all is there and nothing else.
    fn finish(&mut self) {
        let output = self.start().wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        let databases = "SELECT datname::text FROM pg_database d WHERE datname NOT IN ('postgres', 'template0', 'template1') \
            AND datallowconn AND NOT has_database_privilege('public', oid, 'CONNECT') AND pg_get_userbyid(datdba) = datname";
        let names: BTreeSet<String> = self.clients.iter().map(|client| client.database.clone()).collect();
        assert_eq!(texts(&self.cluster, databases).into_iter().collect::<BTreeSet<_>>(), names);
        assert_eq!(self.count("SELECT count(*) FROM pg_database"), names.len() as i64 + 3);
        let roles = "SELECT rolname::text FROM pg_roles r WHERE rolcanlogin AND rolname <> 'postgres' \
            AND shobj_description(oid, 'pg_authid') IS NULL";
        assert_eq!(texts(&self.cluster, roles).into_iter().collect::<BTreeSet<_>>(), names);
        assert_eq!(self.count("SELECT count(*) FROM pg_roles WHERE rolname !~ '^pg_'"), names.len() as i64 + 1);
        // The last password that was written is the one.
        let written: String = self.passwords.iter().filter_map(|path| fs::read_to_string(path).ok()).collect();
        for client in &self.clients {
            let start = format!("*:*:{0}:{0}:", client.database);
            let password = written.lines().filter_map(|line| line.strip_prefix(&start)).next_back().unwrap();
            let mut config: postgres::Config = self.server.dsn_for(&client.database, &client.role).parse().unwrap();
            config.password(password);
            let inside = Cluster::connect_with(config, pgsteward::ConnectOptions::new()).unwrap();
            assert_eq!(inside.tables().len().unwrap(), self.tables, "{client:?}");
        }
    }
}

#[test]
fn a_program_that_was_killed_is_taken_up_where_it_was() {
    let mut killing = Killing::new(10, 5);
    for (more, later) in [(0, 30), (1, 15), (3, 4)] {
        killing.kill_after(more, Duration::from_millis(later));
    }
    killing.finish();
}

#[test]
#[ignore = "takes minutes; scripts/soak runs it"]
fn two_hundred_databases_and_twenty_kills() {
    let started = Instant::now();
    let mut killing = Killing::new(200, 50);
    for round in 0..20_u64 {
        let random = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), round);
        killing.kill_after((random % 15) as i64, Duration::from_millis(random >> 8 & 127));
        println!("killed when {} were complete, after {:?}", killing.complete(), started.elapsed());
    }
    killing.finish();
    println!("200 databases of 50 tables and 20 kills in {:?}", started.elapsed());
}

#[test]
fn passwords_are_handed_out_whatever_becomes_of_the_connection_meanwhile() {
    let (server, cluster) = strict();
    let other = Cluster::connect(&server.dsn()).unwrap();
    let pid: i32 = cluster.execute("SELECT pg_backend_pid()", &[]).unwrap()[0].get(0);
    let provision = Provision::new(ClientDatabase::by_pattern("c{1..3}").unwrap());
    let report = cluster.provision(&provision, |_| {
        other.execute("SELECT pg_terminate_backend($1)", &[&pid]).unwrap();
        ControlFlow::Continue(())
    });
    let report = report.unwrap();
    assert!(report.made.len() == 3 && report.made.iter().all(|made| made.password.is_some()), "{report:?}");
    assert_eq!(report.open_databases, ["postgres", "template1"]);
}

#[test]
fn settings_of_the_role_that_provisions_do_not_stand_in_its_way() {
    let ((server, cluster), folder) = (strict(), Folder::new());
    cluster.execute("CREATE ROLE boss LOGIN SUPERUSER", &[]).unwrap();
    let idle = if major() < 14 { "lock_timeout = '20s'" } else { "idle_session_timeout = '300ms'" };
    for setting in [
        idle,
        "idle_in_transaction_session_timeout = '300ms'",
        "default_transaction_isolation = 'serializable'",
        "extra_float_digits = 0",
        "datestyle = 'German'",
        "standard_conforming_strings = off",
        "client_encoding = 'LATIN1'",
        "search_path = 'evil, pg_catalog'",
    ] {
        cluster.execute(&format!("ALTER ROLE boss SET {setting}"), &[]).unwrap();
    }
    let boss = Cluster::connect(&server.dsn_for("postgres", "boss")).unwrap();
    let mut provision = Provision::new([ClientDatabase::new("cé\\")]);
    let text = "CREATE TABLE public.item AS SELECT 'é\\' AS t; SELECT pg_sleep(1);";
    provision.files.push(folder.write("schema.sql", text));
    let report = run(&boss, &provision);
    assert_eq!(made(&report), ["cé\\"], "{report:?}");
    let inside = Cluster::connect(&server.dsn_for("cé\\", "postgres")).unwrap();
    assert_eq!(texts(&inside, "SELECT t FROM item"), ["é\\"]);
    let report = Cluster::connect(&server.dsn_for("postgres", "boss")).unwrap().deprovision(
        &provision.clients,
        |client, there| {
            there.execute("SELECT pg_sleep(1)", &[])?;
            assert_eq!(there.current_database(), client.database);
            Ok(())
        },
    );
    assert_eq!(names(&report.unwrap().dropped), ["cé\\"]);
}

#[test]
fn a_role_that_was_become_provisions_and_deprovisions() {
    let (server, cluster) = strict();
    cluster.execute("CREATE ROLE dba CREATEDB CREATEROLE", &[]).unwrap();
    cluster.execute("CREATE ROLE boss LOGIN IN ROLE dba", &[]).unwrap();
    let provision = Provision::new(ClientDatabase::by_pattern("c{1..2}").unwrap());
    for login in ["postgres", "boss"] {
        let config: postgres::Config = server.dsn_for("postgres", login).parse().unwrap();
        let mut options = pgsteward::ConnectOptions::new();
        options.role = Some("dba".into());
        let dba = Cluster::connect_with(config, options).unwrap();
        let report = run(&dba, &provision);
        assert_eq!(report.made.len(), 2, "{login}: {report:?}");
        let report = dba.deprovision_without_archive(&provision.clients).unwrap();
        assert_eq!(report.dropped.len(), 2, "{login}: {report:?}");
    }
}

#[test]
fn what_could_not_be_dropped_is_dropped_when_nothing_stands_in_the_way() {
    let mut options = TestServerOptions::new();
    options.settings.push(("max_prepared_transactions".into(), "1".into()));
    let server = TestServer::with(options).unwrap();
    let cluster = Cluster::connect(&server.dsn()).unwrap();
    let provision = Provision::new([ClientDatabase::new("c1")]);
    assert!(run(&cluster, &provision).is_complete());
    let prepare = |statements: &str| {
        let mut inside = postgres::Client::connect(&server.dsn_for("c1", "postgres"), postgres::NoTls).unwrap();
        inside.batch_execute(statements).unwrap();
    };
    prepare("BEGIN; CREATE TABLE in_the_way (); PREPARE TRANSACTION 'in the way'");
    let report = cluster.deprovision_without_archive(&provision.clients).unwrap();
    assert!(report.failed[0].1.to_string().contains("prepared transaction"), "{report:?}");
    prepare("ROLLBACK PREPARED 'in the way'");
    let report = cluster.deprovision_without_archive(&provision.clients).unwrap();
    assert_eq!(names(&report.dropped), ["c1"], "{report:?}");
}

#[test]
fn who_finds_a_client_in_the_making_waits_until_it_is_made() {
    let ((server, cluster), folder) = (strict(), Folder::new());
    let mut both = Provision::new(ClientDatabase::by_pattern("c{1..2}").unwrap());
    both.jobs = 1;
    both.files
        .push(folder.write("schema.sql", "SELECT pg_sleep(CASE current_database() WHEN 'c1' THEN 1 ELSE 3 END);"));
    let one = Provision::new([ClientDatabase::new("c1")]);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| run(&Cluster::connect(&server.dsn()).unwrap(), &both));
        let sleeps = "SELECT 'x'::text FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        wait_until("it is in the making", || !texts(&cluster, sleeps).is_empty());
        // The process that makes it goes on with the next one.
        let report = run(&cluster, &one);
        assert!(names(&report.skipped) == ["c1"] && !first.is_finished(), "{report:?}");
        assert_eq!(made(&first.join().unwrap()), ["c1", "c2"]);
    });
}
