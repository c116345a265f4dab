//! Databases for tests, their templates, fixtures, and what became of tables.
use crate::load::Folder;
use crate::support::{connect, fresh, server, unique, wait_until};
use pgsteward::testing::{
    TableRows, Template, TestDatabase, insert_json, load_fixture, remove_left_overs, with_rollback,
};
use pgsteward::{Cluster, Error, Ident, Role, Sessions, sql};
use std::io::{BufRead, BufReader, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

fn maintenance() -> Cluster {
    Cluster::connect(&server().dsn()).unwrap()
}

fn exists(name: &str) -> bool {
    maintenance().databases().contains(name).unwrap()
}

fn text(cluster: &Cluster, sql: &str) -> String {
    cluster.execute(sql, &[]).unwrap()[0].get::<_, Option<String>>(0).unwrap_or_else(|| "NULL".into())
}

fn run(cluster: &Cluster, sql: &str) {
    cluster.execute(sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// Databases whose names begin so.
fn beginning(start: &str) -> Vec<String> {
    let names = maintenance().databases().iter().unwrap().map(|database| database.name.clone()).collect::<Vec<_>>();
    names.into_iter().filter(|name| name.starts_with(start)).collect()
}

#[test]
fn p130_a_test_database_is_dropped_with_its_value_whoever_is_connected() {
    let database = TestDatabase::new(&server().dsn()).unwrap();
    let name = database.name().to_owned();
    assert_eq!(text(&database, "SELECT current_database()::text"), name);
    run(&database, "CREATE TABLE item ()");
    let other = Cluster::connect(database.dsn()).unwrap();
    assert!(other.tables().contains("item").unwrap());
    drop(database);
    assert!(!exists(&name));
    assert!(other.execute("SELECT 1", &[]).is_err());
}

#[test]
fn p130_a_test_database_is_dropped_after_a_panic_and_when_all_sessions_were_ended() {
    let mut name = String::new();
    let failed = catch_unwind(AssertUnwindSafe(|| {
        let database = TestDatabase::new(&server().dsn()).unwrap();
        name = database.name().to_owned();
        assert_eq!(1, 2, "on purpose");
    }));
    assert!(failed.is_err() && !name.is_empty() && !exists(&name));

    let database = TestDatabase::new(&server().dsn()).unwrap();
    let name = database.name().to_owned();
    let pid: i32 = name.split('_').nth(2).unwrap().parse().unwrap();
    let ended = maintenance().terminate(Sessions::new().pids([pid])).unwrap();
    assert_eq!(ended.terminated.len(), 1);
    drop(database);
    assert!(!exists(&name));
}

#[test]
fn p130_no_database_that_is_there_is_taken_or_dropped() {
    let cluster = maintenance();
    let looks_like_one = unique("pgsteward_test_1_1700000000.5_00000000");
    run(&cluster, &sql!("CREATE DATABASE {}", Ident(&looks_like_one)).to_string());
    let label = unique("taken");
    let template = Template::prepare(&server().dsn(), &label, "a", |_| Ok(())).unwrap();
    let name = template.name().to_owned();
    drop(template);
    run(&cluster, &sql!("DROP DATABASE {}", Ident(&name)).to_string());
    run(&cluster, &sql!("CREATE DATABASE {}", Ident(&name)).to_string());
    let error = Template::prepare(&server().dsn(), &label, "a", |_| panic!("it is made")).unwrap_err();
    assert!(matches!(error, Error::AlreadyExists { .. }) && error.to_string().contains(&name), "{error}");
    Template::prepare(&server().dsn(), &label, "b", |_| Ok(())).unwrap();
    remove_left_overs(&server().dsn()).unwrap();
    assert!(exists(&looks_like_one) && exists(&name));
}

#[test]
fn p130_a_kept_database_stays_and_is_nobodys_left_over() {
    let mut database = TestDatabase::new(&server().dsn()).unwrap();
    database.keep().unwrap();
    let name = database.name().to_owned();
    drop(database);
    wait_until("its owner is gone", || {
        let pid = name.split('_').nth(2).unwrap().to_owned();
        text(&maintenance(), &format!("SELECT count(*)::text FROM pg_stat_activity WHERE pid = {pid}")) == "0"
    });
    remove_left_overs(&server().dsn()).unwrap();
    assert!(exists(&name));
    run(&connect(&name, "postgres"), "SELECT 1");
}

#[test]
fn a_role_without_rights_to_others_makes_and_drops_them() {
    let role = unique("tester");
    let mut tester = Role::new(&role);
    (tester.login, tester.create_database) = (true, true);
    maintenance().roles().create(tester).unwrap();
    let dsn = server().dsn_for("postgres", &role);
    let template = Template::prepare(&dsn, &role, "a", |database| {
        database.execute("CREATE TABLE item AS SELECT 7 AS id", &[]).map(drop)
    });
    let template = template.unwrap();
    let database = TestDatabase::from_template(&template).unwrap();
    assert_eq!(text(&database, "SELECT id::text FROM item"), "7");
    let name = database.name().to_owned();
    drop(database);
    assert!(!exists(&name) && exists(template.name()));
    let denied = TestDatabase::new(&server().dsn_for("postgres", "nobody_at_all")).unwrap_err();
    assert!(denied.to_string().contains("nobody_at_all"), "{denied}");
}

#[test]
fn a_template_is_made_once_and_copied() {
    let (dsn, label) = (server().dsn(), unique("copied"));
    let mut made = 0;
    let mut prepare = || {
        let make = |database: &TestDatabase| {
            made += 1;
            database.execute("CREATE TABLE item AS SELECT 1 AS id", &[]).map(drop)
        };
        Template::prepare(&dsn, &label, "content", make).unwrap()
    };
    let (first, second) = (prepare(), prepare());
    assert_eq!((first.name(), made), (second.name(), 1));
    let copies = [&first, &second].map(|template| TestDatabase::from_template(template).unwrap());
    run(&copies[0], "INSERT INTO item VALUES (2)");
    let count = |database: &TestDatabase| text(database, "SELECT count(*)::text FROM item");
    assert_eq!(copies.each_ref().map(count), ["2", "1"]);
    // Nobody stands in the way of copying it.
    let refused = Cluster::connect(&server().dsn_for(first.name(), "postgres")).unwrap_err();
    assert!(refused.to_string().contains("not currently accepting connections"), "{refused}");
}

#[test]
fn older_templates_of_a_name_go_when_nobody_uses_them() {
    let (dsn, label) = (server().dsn(), unique("older"));
    let prepare = |content: &str| Template::prepare(&dsn, &label, content, |_| Ok(())).unwrap();
    let (first, second) = (prepare("1"), prepare("2"));
    let names = [first.name().to_owned(), second.name().to_owned()];
    assert!(exists(&names[0]), "it is in use");
    drop(first);
    wait_until("the first is dropped", || {
        drop(prepare(&unique("another")));
        !exists(&names[0])
    });
    assert!(exists(&names[1]), "it is in use");
    TestDatabase::from_template(&second).unwrap();
}

#[test]
fn nothing_is_left_of_a_template_that_fails() {
    let (dsn, label) = (server().dsn(), unique("fails"));
    let start = format!("pgsteward_template_{label}_");
    let mut name = String::new();
    let failed = Template::prepare(&dsn, &label, "", |database| {
        name = database.name().to_owned();
        database.execute("CREATE TABLE a (); CREATE TABLE a ()", &[]).map(drop)
    });
    assert!(failed.unwrap_err().to_string().contains("already exists"));
    assert!(!exists(&name));
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        Template::for_this_process(&dsn, |database| {
            name = database.name().to_owned();
            panic!("on purpose")
        })
    }));
    assert!(panicked.is_err() && !exists(&name) && beginning(&start).is_empty());
    Template::prepare(&dsn, &label, "", |_| Ok(())).unwrap();
    assert_eq!(beginning(&start).len(), 1);
    let long = Template::prepare(&dsn, &"x".repeat(28), "", |_| Ok(()));
    assert!(matches!(long, Err(Error::Invalid { .. })));
}

#[test]
fn a_template_of_this_process_goes_with_it_and_one_of_files_is_made_of_them() {
    let dsn = server().dsn();
    let template = Template::for_this_process(&dsn, |database| {
        // A session that goes on does not stand in the way.
        std::mem::forget(Cluster::connect(database.dsn())?);
        database.execute("CREATE TABLE item ()", &[]).map(drop)
    });
    let template = template.unwrap();
    let (name, database) = (template.name().to_owned(), TestDatabase::from_template(&template).unwrap());
    assert!(database.tables().contains("item").unwrap());
    drop(template);
    assert!(!exists(&name));

    let folder = Folder::new();
    folder.write("1.sql", "CREATE TABLE item (id int);\nCOPY item FROM stdin;\n1\n\\.\n");
    let label = unique("files");
    let first = Template::of_files(&dsn, &label, folder.path()).unwrap();
    assert_eq!(text(&TestDatabase::from_template(&first).unwrap(), "SELECT id::text FROM item"), "1");
    folder.write("2.sql", "ALTER TABLE item ADD name text");
    assert_ne!(Template::of_files(&dsn, &label, folder.path()).unwrap().name(), first.name());
}

#[test]
#[cfg(feature = "migrate")]
fn a_template_of_migrations_is_another_one_when_they_change() {
    use pgsteward::migrate::{MigrateOptions, Migration, Migrations, Migrator};
    let (dsn, label) = (server().dsn(), unique("migrated"));
    let prepare = |files: &[(&str, &str)]| {
        let migrations = Migrations::embedded(files.iter().copied()).unwrap();
        let checksums: Vec<&str> = migrations.iter().map(Migration::checksum).collect();
        let apply = |database: &TestDatabase| {
            Migrator::new(database, migrations.clone(), MigrateOptions::new())?.apply().map(drop)
        };
        Template::prepare(&dsn, &label, checksums.join(" "), apply).unwrap()
    };
    let (first, second) = (("V2__a.sql", "CREATE TABLE item (id int)"), ("V10__b.sql", "ALTER TABLE item ADD n int"));
    let names = [prepare(&[first]), prepare(&[first])].map(|template| template.name().to_owned());
    assert_eq!(names[0], names[1]);
    let template = prepare(&[first, second]);
    assert_ne!(template.name(), names[0]);
    let database = TestDatabase::from_template(&template).unwrap();
    assert_eq!(text(&database, "SELECT count(n)::text FROM item"), "0");
}

/// What [`child`] does.
const CHILD: &str = "PGSTEWARD_TEST_DATABASES_CHILD";

/// Another process in the tests below. Started for nothing, it does nothing.
#[test]
fn child() {
    let Ok(task) = std::env::var(CHILD) else { return };
    let (task, dsn) = task.split_once(' ').unwrap();
    let database = || {
        let database = TestDatabase::new(dsn).unwrap();
        println!("\nname {}", database.name());
        database
    };
    match task {
        "sleeps" => {
            let _database = database();
            thread::sleep(Duration::from_secs(60));
        }
        "passes" => drop(database()),
        "fails" => {
            let _database = database();
            panic!("on purpose");
        }
        "dies-making" => {
            let make = |database: &TestDatabase| {
                println!("\nname {}", database.name());
                thread::sleep(Duration::from_secs(60));
                Ok(())
            };
            Template::prepare(dsn, "killed", "", make).unwrap();
        }
        "shares" => share(dsn),
        other => panic!("{other}"),
    }
}

/// Several threads with a database each, from a template that says how often it was made.
fn share(dsn: &str) {
    let make = |database: &TestDatabase| {
        Cluster::connect(dsn)?.execute("INSERT INTO made VALUES (1)", &[])?;
        database.execute("CREATE TABLE item (id int)", &[]).map(drop)
    };
    let template = Template::prepare(dsn, "shared", "content", make).unwrap();
    thread::scope(|scope| {
        for id in 0..3 {
            let template = &template;
            scope.spawn(move || {
                let database = TestDatabase::from_template(template).unwrap();
                database.execute("INSERT INTO item VALUES ($1)", &[&id]).unwrap();
                assert_eq!(text(&database, "SELECT string_agg(id::text, ',') FROM item"), id.to_string());
            });
        }
    });
}

fn command(task: &str, dsn: &str, keep: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "test_databases::child"]).env(CHILD, format!("{task} {dsn}"));
    command.env("PGSTEWARD_KEEP_TEST_DATABASES", keep);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn start(task: &str, dsn: &str, keep: &str) -> Child {
    command(task, dsn, keep).arg("--nocapture").spawn().unwrap()
}

/// The name of its database; what it prints later must have a reader.
fn name_in(child: &mut Child) -> (String, BufReader<ChildStdout>) {
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut lines = reader.by_ref().lines().map(Result::unwrap);
    let name = lines.find_map(|line| line.strip_prefix("name ").map(str::to_owned)).unwrap();
    (name, reader)
}

#[test]
fn p130_what_a_killed_process_left_is_found_and_removed_and_nothing_else() {
    let dsn = server().dsn();
    // Nobody is connected to it, and so it could be dropped.
    let template = Template::for_this_process(&dsn, |_| Ok(())).unwrap();
    let [mut killed, mut living, mut making] = ["sleeps", "sleeps", "dies-making"].map(|task| start(task, &dsn, ""));
    let [(name, _out), (other, _other_out), (made, _made_out)] = [&mut killed, &mut living, &mut making].map(name_in);
    for child in [&mut killed, &mut making] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    wait_until("the left-overs are removed", || {
        remove_left_overs(&dsn).unwrap();
        !exists(&name) && !exists(&made)
    });
    assert!(exists(&other) && exists(template.name()), "their processes live");
    assert!(beginning("pgsteward_template_killed_").is_empty(), "it was not finished");
    Template::prepare(&dsn, "killed", "", |_| Ok(())).unwrap();
    living.kill().unwrap();
    living.wait().unwrap();
}

#[test]
fn p130_databases_are_kept_on_demand_with_their_names_printed() {
    let dsn = server().dsn();
    for (task, keep, kept) in
        [("fails", "", false), ("fails", "failed", true), ("passes", "failed", false), ("passes", "all", true)]
    {
        let mut child = start(task, &dsn, keep);
        let (name, mut rest) = name_in(&mut child);
        rest.read_to_string(&mut String::new()).unwrap();
        let mut errors = String::new();
        child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        assert_eq!(child.wait().unwrap().success(), task == "passes");
        assert_eq!(exists(&name), kept, "{task} {keep}");
        assert_eq!(errors.contains(&format!("the test database \"{name}\" is kept")), kept, "{errors}");
    }
    let mut child = start("passes", &dsn, "perhaps");
    assert!(!child.wait().unwrap().success());
    // What a test that passes prints is not shown; this is.
    let output = command("passes", &dsn, "all").output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    let name = errors.split('"').nth(1).unwrap_or_else(|| panic!("it is not printed: {errors:?}"));
    assert!(output.status.success() && exists(name), "{errors}");
}

#[test]
fn p130_a_left_over_that_somebody_looks_into_stands_in_nobodys_way() {
    let dsn = server().dsn();
    let mut killed = start("sleeps", &dsn, "");
    let (name, _out) = name_in(&mut killed);
    let looking = connect(&name, "postgres");
    killed.kill().unwrap();
    killed.wait().unwrap();
    let pid = name.split('_').nth(2).unwrap().to_owned();
    wait_until("its owner is gone", || {
        text(&maintenance(), &format!("SELECT count(*)::text FROM pg_stat_activity WHERE pid = {pid}")) == "0"
    });
    assert!(!remove_left_overs(&dsn).unwrap().contains(&name) && exists(&name));
    // The server would have waited for whoever looks, five seconds for each new database.
    assert!(!server().log().unwrap().contains(&format!("database \"{name}\" is being accessed")));
    drop(looking);
    wait_until("it is removed", || {
        remove_left_overs(&dsn).unwrap();
        !exists(&name)
    });
}

#[test]
fn parallel_processes_make_a_template_once_and_do_not_meet() {
    let cluster = fresh();
    run(&cluster, "CREATE TABLE made (id int)");
    let dsn = server().dsn_for(cluster.current_database(), "postgres");
    let children: Vec<_> = (0..5).map(|_| start("shares", &dsn, "")).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(text(&cluster, "SELECT count(*)::text FROM made"), "1");
}

#[test]
fn p131_json_rows_get_defaults_for_what_they_do_not_have_and_values_as_the_server_reads_them() {
    let cluster = fresh();
    run(
        &cluster,
        r#"CREATE SCHEMA "A.b";
        CREATE TABLE "A.b"."o""r" (id int GENERATED ALWAYS AS IDENTITY, r text DEFAULT 'none', "Day" date,
            amount numeric, data bytea, tags text[], extra jsonb, raw json, during interval, at timestamptz,
            twice numeric GENERATED ALWAYS AS (amount * 2) STORED);
        CREATE TABLE line (n serial, owner int, note text DEFAULT 'x')"#,
    );
    let json = r#"{ "\"A.b\".\"o\"\"r\"": [
        { "id": 70, "r": null, "Day": "2024-02-29", "amount": 12345678901234567890.123456789012345678900,
          "data": "\\x00ff", "tags": ["a,b", "\"", null], "extra": { "k": [1, 2.50] }, "raw": { "b":1,  "a": 1.0 },
          "during": "1 day 02:00", "at": "2026-03-29T02:30:00+02:00" },
        { "amount": 0.1, "extra": null }, {}, { "extra": { "n": null }, "amount": "NaN" } ],
      "line": [ { "owner": 1 }, { "owner": 2, "note": "'; DROP TABLE line" }, { "owner": 3 } ] }"#;
    assert_eq!(insert_json(&cluster, json).unwrap(), 7);
    let rows = |sql: &str| text(&cluster, sql);
    assert_eq!(
        rows(
            r#"SELECT concat_ws('|', id, coalesce(r, 'NULL'), "Day", amount, data, tags, extra, raw, during,
                at = '2026-03-29 00:30Z', twice) FROM "A.b"."o""r" WHERE id = 70"#
        ),
        "70|NULL|2024-02-29|12345678901234567890.123456789012345678900|\\x00ff|{\"a,b\",\"\\\"\",NULL}|\
         {\"k\": [1, 2.50]}|{ \"b\":1,  \"a\": 1.0 }|1 day 02:00:00|t|24691357802469135780.246913578024691357800"
    );
    assert_eq!(
        rows(
            r#"SELECT string_agg(concat_ws('|', id, r, amount, extra), ';' ORDER BY id) FROM "A.b"."o""r" WHERE id < 70"#
        ),
        "1|none|0.1;2|none;3|none|NaN|{\"n\": null}"
    );
    // In their order, though they have different columns.
    assert_eq!(
        rows("SELECT string_agg(concat_ws('|', n, owner, note), ';' ORDER BY n) FROM line"),
        "1|1|x;2|2|'; DROP TABLE line;3|3|x"
    );
}

#[test]
fn p131_a_column_that_takes_no_null_gets_its_default() {
    let cluster = fresh();
    run(
        &cluster,
        r#"CREATE SCHEMA "A.b"; CREATE DOMAIN "A.b"."Fu""ll" AS varchar(3) NOT NULL;
        CREATE TABLE item (id int, code "A.b"."Fu""ll" DEFAULT 'abc', price numeric(4, 1), kinds "A.b"."Fu""ll"[])"#,
    );
    let json = r#"{ "item": [ { "id": 1, "price": 1.25 }, { "id": 2, "code": "x", "kinds": ["y", "z"] } ] }"#;
    assert_eq!(insert_json(&cluster, json).unwrap(), 2);
    assert_eq!(
        text(&cluster, "SELECT string_agg(concat_ws('|', id, code, price, kinds), ';' ORDER BY id) FROM item"),
        "1|abc|1.3;2|x|{y,z}"
    );
    let null = insert_json(&cluster, r#"{ "item": [ { "code": null } ] }"#).unwrap_err();
    assert_eq!(null.code().map(|code| code.code()), Some("23502"), "{null}");
}

#[test]
fn p131_json_that_does_not_fit_inserts_nothing_and_says_where() {
    let cluster = fresh();
    run(&cluster, "CREATE TABLE item (id int PRIMARY KEY, day date)");
    for (json, says) in [
        (r#"{ "item": [ { "id": 1 }, { "id": 2, "dya": "2026-01-01" } ] }"#, "column \"dya\""),
        (r#"{ "item": [ { "id": 1 }, { "id": 2, "day": "2026-02-30" } ] }"#, "2026-02-30"),
        (r#"{ "item": [ { "id": 1 }, { "id": 1 } ] }"#, "in a row for table public.item"),
        (r#"{ "item": [ { "id": 1 } ], "items": [ {} ] }"#, "public.items"),
        (r#"{ "item": [ { "id": 1 } ], "a b": [ {} ] }"#, "\"a b\""),
        (r#"{ "item": [ { "id": 1, "id": 2 } ] }"#, "more than once"),
        (r#"{ "item": { "id": 1 } }"#, "cannot"),
        (r#"[ { "id": 1 } ]"#, "cannot"),
        ("{", "json"),
    ] {
        let error = insert_json(&cluster, json).unwrap_err().to_string();
        assert!(error.contains(says), "{json}: {error}");
    }
    assert_eq!(text(&cluster, "SELECT count(*)::text FROM item"), "0");
}

#[test]
fn p131_fixtures_are_files_of_sql_or_json() {
    let cluster = fresh();
    let folder = Folder::new();
    let file = |name: &str, text: &str| folder.write(name, text);
    let schema = file("schema.sql", "CREATE TABLE item (id int); -- a comment; and\nINSERT INTO item VALUES (1)");
    let rows = file("rows.json", r#"{ "item": [ { "id": 2 } ] }"#);
    with_rollback(&cluster, |cluster| {
        load_fixture(cluster, &schema)?;
        load_fixture(cluster, &rows)?;
        assert_eq!(text(cluster, "SELECT sum(id)::text FROM item"), "3");
        Ok(())
    })
    .unwrap();
    assert!(!cluster.tables().contains("item").unwrap());
    let fails = file("fails.sql", "CREATE TABLE item (); SELECT 1/0");
    let error = load_fixture(&cluster, fails).unwrap_err().to_string();
    assert!(error.contains("fails.sql") && error.contains("22012"), "{error}");
    let fails = load_fixture(&cluster, file("fails.json", r#"{ "item": [ {} ] }"#)).unwrap_err().to_string();
    assert!(fails.contains("fails.json") && fails.contains("public.item"), "{fails}");
    let ends = load_fixture(&cluster, file("ends.sql", "CREATE TABLE item (); COMMIT; SELECT 1"));
    assert!(matches!(ends, Err(Error::Invalid { .. })), "{ends:?}");
    assert!(matches!(load_fixture(&cluster, folder.path().join("none.sql")), Err(Error::Io { .. })));
}

#[test]
fn p131_a_table_is_compared_with_what_it_was_duplicates_counted() {
    let cluster = fresh();
    // A column that has the name of the table, and one that has that of its alias.
    run(&cluster, r#"CREATE TABLE "t" (t text, "T" numeric)"#);
    run(&cluster, "INSERT INTO t VALUES ('a', 1.0), ('a', 1.0), ('b', NULL), ('null', 2)");
    let before = TableRows::read(&cluster, "t").unwrap();
    assert!(before.compare(&cluster).unwrap().is_empty());
    run(&cluster, "DELETE FROM t WHERE ctid = '(0,1)'; UPDATE t SET t = NULL WHERE t = 'null'");
    run(&cluster, "INSERT INTO t VALUES ('b', NULL), ('b', NULL)");
    let difference = before.compare(&cluster).unwrap();
    assert_eq!(
        difference.to_string(),
        "public.t: 2 rows gone, 3 new\n- {\"t\":\"a\",\"T\":1.0}\n- {\"t\":\"null\",\"T\":2}\n\
         + {\"t\":\"b\",\"T\":null} (2 times)\n+ {\"t\":null,\"T\":2}\n"
    );
    assert!(TableRows::read(&cluster, "gone").unwrap_err().is_not_found());
}

#[test]
fn with_rollback_leaves_nothing_however_it_ends() {
    let cluster = fresh();
    run(&cluster, "CREATE TABLE item (id int)");
    let insert = |cluster: &Cluster| cluster.execute("INSERT INTO item VALUES (1)", &[]).map(drop);
    assert_eq!(with_rollback(&cluster, |cluster| insert(cluster).map(|()| 7)).unwrap(), 7);
    let error = with_rollback(&cluster, |cluster| {
        insert(cluster)?;
        cluster.execute("SELECT 1/0", &[])
    });
    assert!(error.unwrap_err().to_string().contains("22012"));
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        with_rollback(&cluster, |cluster| -> pgsteward::Result<()> {
            insert(cluster)?;
            panic!("on purpose")
        })
    }));
    assert!(panicked.is_err());
    // An error that the closure does not pass on ends nothing but the transaction.
    let swallowed = with_rollback(&cluster, |cluster| {
        insert(cluster)?;
        assert!(cluster.execute("SELECT 1/0", &[]).is_err());
        Ok("well")
    });
    assert_eq!(swallowed.unwrap(), "well");
    let nested = with_rollback(&cluster, |cluster| {
        cluster.transaction(|| insert(cluster))?;
        Ok(text(cluster, "SELECT count(*)::text FROM item"))
    });
    assert_eq!(nested.unwrap(), "1");
    assert_eq!(text(&cluster, "SELECT count(*)::text FROM item"), "0");
    for end in ["COMMIT", "COMMIT; BEGIN"] {
        let ended = with_rollback(&cluster, |cluster| {
            insert(cluster)?;
            cluster.execute(end, &[]).map(drop)
        });
        let error = ended.unwrap_err();
        assert!(
            matches!(&error, Error::Invalid { .. }) && error.to_string().contains("COMMIT or ROLLBACK"),
            "{end}: {error}"
        );
        run(&cluster, "ROLLBACK");
    }
}
