//! Modules: a schema each, over one pool.
use crate::support::{fresh, logged, server, unique};
use pgsteward::migrate::{MigrateOptions, Migrations, Migrator, MissingSchema};
use pgsteward::module::{Module, ModuleOptions, SearchPath};
use pgsteward::pool::{Pool, PoolOptions};
use pgsteward::{Error, Result, Role};
use postgres::types::ToSql;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Barrier, mpsc};
use std::thread;
use std::time::Duration;

/// A pool of at most two connections to a new database, and the string that connects to it.
fn pool() -> (Pool, String) {
    let dsn = server().dsn_for(fresh().current_database(), "postgres");
    (pool_of(&dsn), dsn)
}

fn pool_of(dsn: &str) -> Pool {
    let mut options = PoolOptions::new();
    options.maximum = 2;
    options.wait_timeout = Duration::from_secs(10);
    Pool::connect(dsn, options).unwrap()
}

/// A module whose schema is made.
fn module(pool: &Pool, schema: &str) -> Module {
    let mut options = ModuleOptions::new();
    options.create_schema_if_missing = true;
    Module::with_options(pool, schema, options).unwrap()
}

/// The module `app` of a new database, with the table `t (id int PRIMARY KEY, name text)` and three rows.
fn app() -> Module {
    let app = module(&pool().0, "app");
    app.batch_execute(
        "CREATE TABLE {{tables.t}} (id int PRIMARY KEY, name text); \
         INSERT INTO {{tables.t}} VALUES (1, 'one'), (2, 'two'), (3, NULL)",
    )
    .unwrap();
    app
}

fn count(module: &Module) -> i64 {
    module.value("SELECT count(*) FROM {{tables.t}}", &[]).unwrap()
}

#[test]
fn p105_a_missing_schema_is_made_once_by_many_at_once() {
    const MANY: usize = 24;
    let (_, dsn) = pool();
    // A pool each, as if each were a program.
    let pools: Vec<Pool> = (0..MANY).map(|_| pool_of(&dsn)).collect();
    for round in 0..10 {
        let (barrier, schema) = (Barrier::new(MANY), format!("Schema {round}"));
        thread::scope(|scope| {
            let start = |pool| {
                let (barrier, schema) = (&barrier, &schema);
                scope.spawn(move || {
                    barrier.wait();
                    module(pool, schema).value::<i32>("SELECT 1", &[]).unwrap()
                })
            };
            pools
                .iter()
                .map(start)
                .collect::<Vec<_>>()
                .into_iter()
                .for_each(|thread| assert_eq!(thread.join().unwrap(), 1));
        });
    }
    let made = "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'Schema %'";
    assert_eq!(Module::alone(&pools[0]).unwrap().value::<i64>(made, &[]).unwrap(), 10);
}

#[test]
fn p105_a_modules_tables_are_made_by_migrations_on_its_pool() {
    let (pool, _) = pool();
    let files = Migrations::embedded([("1_t.sql", "CREATE TABLE {{tables.t}} (id int)")]).unwrap();
    let mut options = MigrateOptions::for_module("app");
    options.missing_schema = MissingSchema::Create;
    let migrator = Migrator::new(&pool.cluster().unwrap(), files.clone(), options.clone());
    let error = migrator.unwrap().apply().unwrap_err();
    assert!(error.to_string().contains("gone back to its pool"), "{error}");
    let cluster = pool.cluster().unwrap();
    let migrator = Migrator::new(&cluster, files, options).unwrap();
    assert_eq!(migrator.apply().unwrap().applied.len(), 1);
    assert_eq!(pool.metrics().in_use, 1, "what they run on is none of the pool's");
    assert!(Module::new(&pool, "app").unwrap().table_exists("t").unwrap());
}

#[test]
fn p105_a_schema_that_is_there_takes_no_right_to_make_it() {
    let cluster = fresh();
    let mut role = Role::new(unique("plain"));
    role.login = true;
    let role = cluster.roles().create(role).unwrap();
    cluster.execute(&format!("CREATE SCHEMA there AUTHORIZATION {}", role.name), &[]).unwrap();
    let pool = pool_of(&server().dsn_for(cluster.current_database(), &role.name));
    module(&pool, "there").execute("CREATE TABLE {{tables.t}} (a int)", &[]).unwrap();
    let mut options = ModuleOptions::new();
    options.create_schema_if_missing = true;
    let refused = Module::with_options(&pool, "new", options).unwrap_err();
    assert!(matches!(&refused, Error::Denied { action, .. } if action == "create schema \"new\""), "{refused}");
    // Without the option it is noticed when it is needed.
    let absent = Module::new(&pool, "new").unwrap().execute("CREATE TABLE {{tables.t}} (a int)", &[]).unwrap_err();
    assert!(absent.to_string().contains("schema \"new\" does not exist (3F000)"), "{absent}");
}

#[test]
fn p105_modules_on_one_pool_do_not_see_each_others_tables() {
    let (pool, _) = pool();
    let modules: Vec<Module> = ["users", "Orders", "order"].iter().map(|schema| module(&pool, schema)).collect();
    for module in &modules {
        assert!(!module.table_exists("t").unwrap());
        module.execute("CREATE TABLE {{tables.t}} (name text)", &[]).unwrap();
        module.execute("INSERT INTO {{tables.t}} VALUES ($1)", &[&module.schema()]).unwrap();
        assert!(module.table_exists("t").unwrap() && !module.table_exists("T").unwrap());
    }
    for module in &modules {
        assert_eq!(module.value::<String>("SELECT name FROM {{tables.t}}", &[]).unwrap(), module.schema());
        assert_eq!(module.value::<String>("SELECT name FROM {{tables.users.t}}", &[]).unwrap(), "users");
    }
    assert_eq!(pool.metrics().in_use, 0);
}

/// A module's code, which does not know in which schema it runs.
fn life(module: &Module) -> Result<Vec<String>> {
    module.batch_execute(
        "CREATE TABLE {{tables.user}} (id int GENERATED ALWAYS AS IDENTITY, name text NOT NULL); \
         CREATE FUNCTION {{tables.add}}(text) RETURNS int LANGUAGE sql AS \
         $$ INSERT INTO {{tables.user}} (name) VALUES ($1) RETURNING id $$",
    )?;
    assert_eq!(module.value::<i32>("SELECT {{schema}}.add($1)", &[&"a"])?, 1);
    assert_eq!(module.value::<i32>("SELECT {{tables.add}}($1)", &[&"b"])?, 2);
    module.query_as("SELECT name FROM {{tables.user}} ORDER BY id", &[], |row| Ok(row.get(0)))
}

#[test]
fn p110_a_module_runs_the_same_in_a_schema_of_its_own_and_alone_in_public() {
    let (pool, _) = pool();
    for schema in ["app", "Select", "a\"b.c' $x$"] {
        assert_eq!(life(&module(&pool, schema)).unwrap(), ["a", "b"], "{schema}");
    }
    let alone = Module::alone(&pool).unwrap();
    assert_eq!(life(&alone).unwrap(), ["a", "b"]);
    assert!(alone.table_exists("user").unwrap());
    // In a schema whose name would end the quotes it is refused, and nothing is sent.
    assert!(life(&module(&pool, "a$$")).unwrap_err().to_string().contains("the dollar quotes"));
    assert!(Module::new(&pool, "").is_err() && Module::new(&pool, &"x".repeat(64)).is_err());
}

#[test]
fn p108_a_name_without_its_schema_is_nobodys_table() {
    let (pool, dsn) = pool();
    let alone = Module::alone(&pool).unwrap();
    alone.execute("CREATE TABLE {{tables.t}} (a int)", &[]).unwrap();
    for refused in [
        alone.query("SELECT * FROM t", &[]).map(drop),
        alone.execute("INSERT INTO t VALUES ($1)", &[&1]).map(drop),
        alone.batch_execute("DROP TABLE t"),
        alone.transaction(|t| t.execute("DELETE FROM t", &[])).map(drop),
        alone.copy_in("COPY t FROM STDIN", "1\n".as_bytes()).map(drop),
    ] {
        let error = refused.unwrap_err();
        assert!(error.is_not_found() && error.to_string().contains("\"t\" does not exist"), "{error}");
    }
    // Nor is anything made where nobody looks for it.
    for made in ["CREATE TABLE x (a int)", "CREATE FUNCTION x() RETURNS int LANGUAGE sql AS 'SELECT 1'"] {
        let error = alone.execute(made, &[]).unwrap_err();
        assert!(error.to_string().contains("no schema has been selected to create in (3F000)"), "{error}");
    }
    let mut options = ModuleOptions::new();
    options.search_path = SearchPath::OfThePool;
    let free = Module::with_options(&pool, "public", options).unwrap();
    for module in [&free, &alone, &free] {
        assert_eq!(module.query("SELECT * FROM t", &[]).is_ok(), std::ptr::eq(module, &free));
        // Who takes a connection without a module has it as it was connected.
        assert!(pool.get().unwrap().query("SELECT * FROM t", &[]).is_ok());
    }
    // What a statement sets is gone with it, and what a role or a database sets does not count.
    let database = pool.metrics().database;
    for setting in ["standard_conforming_strings = off", "search_path = public"] {
        alone.execute(&format!("ALTER DATABASE \"{database}\" SET {setting}"), &[]).unwrap();
    }
    let pool = pool_of(&dsn);
    let alone = Module::alone(&pool).unwrap();
    assert!(pool.get().unwrap().query("SELECT * FROM t", &[]).is_ok());
    alone.execute("SET search_path = public", &[]).unwrap();
    alone.execute("SET standard_conforming_strings = off", &[]).unwrap();
    for _ in 0..3 {
        assert!(alone.query("SELECT * FROM t", &[]).is_err());
        assert_eq!(alone.value::<String>(r"SELECT '\{{schema}}'", &[]).unwrap(), r"\{{schema}}");
    }
}

#[test]
fn p110_what_is_no_template_is_refused_before_anything_is_sent() {
    let app = app();
    for sql in ["DELETE FROM {{tables.t}}; SELECT {{x}}", "DELETE FROM {{tables.t}} WHERE true }}"] {
        let error = app.batch_execute(sql).unwrap_err();
        assert!(matches!(&error, Error::Invalid { what, .. } if what.starts_with("SQL, line 1")), "{error}");
        assert!(app.transaction(|t| t.execute(sql, &[])).is_err());
    }
    assert_eq!(count(&app), 3);
}

/// Expressions, and their values in the schema `app`, whose table `t` has the row of 1 and `one`.
const EXPRESSIONS: [(&str, &str); 17] = [
    ("'{{schema}}'", "{{schema}}"),
    ("'{{tables.t}} }} {{'", "{{tables.t}} }} {{"),
    ("'it''s {{schema}}'", "it's {{schema}}"),
    (r"'\{{schema}}'", r"\{{schema}}"),
    (r"E'\'{{schema}}\\'", r"'{{schema}}\"),
    ("E'{{schema}}' -- '\n '\\'{{schema}}'", "{{schema}}'{{schema}}"),
    (r"U&'\0061{{schema}}'", "a{{schema}}"),
    ("$${{tables.t}}$$", "{{tables.t}}"),
    ("$a$ $$ {{schema}} '$$ $a$", " $$ {{schema}} '$$ "),
    ("'a' /* {{schema}} /* ' */ {{ */", "a"),
    ("'b' -- {{schema}} '\n", "b"),
    ("(SELECT \"{{schema}}\" FROM (SELECT 'c' AS \"{{schema}}\") AS q)", "c"),
    ("(SELECT name FROM {{tables.t}} WHERE id = 1)", "one"),
    ("(SELECT {{tables.t}}.name FROM {{schema}}.t WHERE {{tables.t}}.id=1)", "one"),
    ("{{tables.app.shout}}('x')", "x!"),
    ("{{schema}}.shout(E'\\'')", "'!"),
    ("('{{1},{2}}'::int[])[2][1]", "2"),
];

#[test]
fn p111_the_server_sees_templates_where_it_sees_code() {
    let app = app();
    app.execute("CREATE FUNCTION {{tables.shout}}(text) RETURNS text LANGUAGE sql AS $$ SELECT $1 || '!' $$", &[])
        .unwrap();
    let chosen = prop::collection::vec(prop::sample::select(EXPRESSIONS.as_slice()), 1..9);
    let mut runner = TestRunner::new(Config { cases: 150, failure_persistence: None, ..Config::default() });
    let agree = |chosen: Vec<(&str, &str)>| {
        let list: Vec<String> = chosen.iter().map(|(expression, _)| format!("({expression})::text")).collect();
        let list = list.join(", ");
        let expected: Vec<&str> = chosen.iter().map(|(_, value)| *value).collect();
        let row = app.query_one(&format!("SELECT {list}"), &[]).unwrap();
        prop_assert_eq!((0..row.len()).map(|index| row.get(index)).collect::<Vec<&str>>(), expected.clone());
        // The same in a body, and in one that a body makes.
        let make = |name: &str, tag: &str, language: &str, body: &str| {
            format!(
                "CREATE OR REPLACE FUNCTION {{{{schema}}}}.{name}() RETURNS text[] LANGUAGE {language} AS ${tag}${body}${tag}$"
            )
        };
        let plain = make("plain", "p", "plpgsql", &format!("BEGIN RETURN ARRAY[{list}]; END"));
        let nested = make("nested", "n", "sql", &format!("SELECT ARRAY[{list}];"));
        app.batch_execute(&format!("{plain}; DO $d$ BEGIN {nested}; END $d$")).unwrap();
        let values: Vec<String> = app.value("SELECT {{tables.plain}}()", &[]).unwrap();
        prop_assert_eq!(&values, &expected);
        prop_assert_eq!(app.value::<Vec<String>>("SELECT {{tables.nested}}()", &[]).unwrap(), expected);
        Ok(())
    };
    runner.run(&chosen, agree).unwrap();
}

#[test]
fn p112_rows_values_and_many_executions() {
    let app = app();
    assert_eq!(app.query("SELECT * FROM {{tables.t}}", &[]).unwrap().len(), 3);
    assert_eq!(app.query("SELECT * FROM {{tables.t}} WHERE id < $1", &[&3]).unwrap().len(), 2);
    assert_eq!(app.query_one("SELECT name FROM {{tables.t}} WHERE id = $1", &[&2]).unwrap().get::<_, &str>(0), "two");
    assert!(app.query_opt("SELECT 1 FROM {{tables.t}} WHERE id = 9", &[]).unwrap().is_none());
    assert_eq!(app.value::<Option<String>>("SELECT name FROM {{tables.t}} WHERE id = 3", &[]).unwrap(), None);
    let insert = "INSERT INTO {{tables.t}} VALUES ($1, $2) RETURNING id";
    assert_eq!(app.value::<i32>(insert, &[&4, &"four"]).unwrap(), 4);
    assert_eq!(app.execute("UPDATE {{tables.t}} SET name = '' WHERE id > $1", &[&2]).unwrap(), 2);
    assert_eq!(app.execute("DELETE FROM {{tables.t}} WHERE id = 4", &[]).unwrap(), 1);
    assert_eq!(app.execute("CREATE INDEX ON {{tables.t}} (name)", &[]).unwrap(), 0);

    #[derive(Debug, PartialEq)]
    struct Named {
        id: i32,
        name: String,
    }
    let named = app.query_as("SELECT id, name FROM {{tables.t}} WHERE id < $1 ORDER BY id", &[&3], |row| {
        Ok(Named { id: row.try_get("id")?, name: row.try_get("name")? })
    });
    assert_eq!(named.unwrap(), [Named { id: 1, name: "one".into() }, Named { id: 2, name: "two".into() }]);

    let more = [(10, "ten"), (11, "eleven")];
    let rows = || more.iter().map(|(id, name)| [id as &(dyn ToSql + Sync), name]);
    assert_eq!(app.execute_many("INSERT INTO {{tables.t}} VALUES ($1, $2)", rows()).unwrap(), 2);
    let again = (12..14).map(|id| (id, "x")).chain(more);
    let again: Vec<_> = again.collect();
    let again = again.iter().map(|(id, name)| [id as &(dyn ToSql + Sync), name]);
    assert!(app.execute_many("INSERT INTO {{tables.t}} VALUES ($1, $2)", again).is_err());
    assert_eq!(count(&app), 5);
    assert_eq!(app.execute_many("SELECT $1::int", Vec::<Vec<&(dyn ToSql + Sync)>>::new()).unwrap(), 0);
}

#[test]
fn p112_results_of_another_shape_are_errors_that_say_so() {
    let app = app();
    let all = "SELECT id FROM {{tables.t}}";
    let said = |error: Error| error.to_string();
    assert_eq!(
        said(app.query_one("SELECT 1 FROM {{tables.t}} WHERE id = $1", &[&9]).unwrap_err()),
        "a row of SELECT 1 FROM \"app\".\"t\" WHERE id = $1 does not exist"
    );
    assert!(matches!(app.value::<i32>("SELECT 1 WHERE false", &[]), Err(Error::NotFound { .. })));
    for several in
        [app.query_one(all, &[]).map(drop), app.query_opt(all, &[]).map(drop), app.value::<i32>(all, &[]).map(drop)]
    {
        assert!(said(several.unwrap_err()).contains("more than one row"));
    }
    assert!(said(app.value::<i32>("SELECT 1, 2", &[]).unwrap_err()).contains("it has 2"));
    assert!(matches!(app.value::<i32>("SELECT 'a'", &[]), Err(Error::Invalid { .. })));
    assert!(matches!(app.value::<i32>("SELECT NULL::int", &[]), Err(Error::Invalid { .. })));
    assert!(matches!(app.execute("SELECT $1::int", &[]), Err(Error::Invalid { .. } | Error::Server { .. })));
    assert!(matches!(app.execute("SELECT $1::int", &[&1, &2]), Err(Error::Invalid { .. })));
    assert!(matches!(app.execute("SELECT $1::int", &[&"a"]), Err(Error::Invalid { .. })));
    assert!(matches!(app.query("COPY {{tables.t}} TO STDOUT", &[]), Err(Error::Invalid { .. })));
    assert_eq!(count(&app), 3);
}

#[test]
fn p112_copy_goes_in_and_out() {
    let app = app();
    let copy = "COPY {{tables.t}} FROM STDIN";
    let data: String = (10..5000).map(|id| format!("{id}\trow {id}\n")).collect();
    assert_eq!(app.copy_in(copy, data.as_bytes()).unwrap(), 4990);
    let mut out = Vec::new();
    let bytes =
        app.copy_out("COPY (SELECT * FROM {{tables.t}} WHERE id >= 10 ORDER BY id) TO STDOUT", &mut out).unwrap();
    assert!(out == data.as_bytes() && bytes as usize == data.len());

    /// Gives some data, and then an error; takes nothing.
    struct Broken(usize);
    impl Read for Broken {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(1).ok_or_else(|| io::Error::other("the disk is on fire"))?;
            let row = format!("{}\tx\n", 9000 + self.0);
            buffer[..row.len()].copy_from_slice(row.as_bytes());
            Ok(row.len())
        }
    }
    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk is full"))
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let before = count(&app);
    let error = app.copy_in(copy, Broken(900)).unwrap_err();
    assert!(matches!(error, Error::Io { .. }) && error.to_string().contains("\"app\".\"t\""), "{error}");
    let error = app.copy_out("COPY {{tables.t}} TO STDOUT", Broken(0)).unwrap_err();
    assert!(error.to_string().contains("the disk is full"), "{error}");
    // The server's complaint, also when it comes while data are still being sent.
    let wrong = format!("s3cret\tx\n{data}");
    let error = app.copy_in(copy, wrong.as_bytes()).unwrap_err();
    assert_eq!(error.code().unwrap().code(), "22P02", "{error}");
    assert!(!error.to_string().contains("s3cret"), "{error}");
    assert_eq!(count(&app), before);
    app.transaction(|t| t.copy_in(copy, "7000\tx\n".as_bytes())).unwrap();
    assert_eq!(count(&app), before + 1);
}

#[test]
fn p112_data_of_a_copy_go_through_copy_in_and_nothing_waits_for_them_elsewhere() {
    let app = app();
    let copy = "COPY {{tables.t}} FROM STDIN";
    let refused = |what: &str, refused: Result<()>| {
        let error = refused.unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }) && error.to_string().contains("copy_in"), "{what}: {error}");
    };
    let (sender, done) = mpsc::channel();
    let other = app.clone();
    thread::spawn(move || {
        refused("query", other.query(copy, &[]).map(drop));
        refused("execute", other.execute(copy, &[]).map(drop));
        refused("batch", other.batch_execute(&format!("DELETE FROM {{{{tables.t}}}}; {copy}")));
        let rows: [[&(dyn ToSql + Sync); 0]; 1] = [[]];
        refused("many", other.execute_many(copy, rows).map(drop));
        refused("within", other.transaction(|t| t.query(copy, &[])).map(drop));
        let went_on = other.transaction(|t| {
            refused("within, and swallowed", t.batch_execute(copy));
            t.execute("INSERT INTO {{tables.t}} VALUES (10)", &[])
        });
        assert_eq!(went_on.unwrap(), 1);
        sender.send(()).unwrap();
    });
    done.recv_timeout(Duration::from_secs(30)).expect("all are refused at once");
    assert_eq!((count(&app), app.pool().metrics().closed), (4, 0));
}

#[test]
fn p112_a_statement_with_too_many_rows_runs_to_its_end_all_the_same() {
    let app = app();
    let many = "INSERT INTO {{tables.t}} SELECT 10 + n FROM generate_series(1, 3) AS n, pg_sleep(0.01) RETURNING id";
    app.query_opt(many, &[]).unwrap_err();
    assert_eq!(count(&app), 6);
    // What the server says last is what counts.
    let fails = "SELECT 1 / (3 - n) FROM generate_series(1, 3) AS n";
    assert_eq!(app.query_one(fails, &[]).unwrap_err().code().unwrap().code(), "22012");
    let error = app.value::<i32>("SELECT 1 / ($1 - n) FROM generate_series(1, 3) AS n", &[&3]).unwrap_err();
    assert_eq!(error.code().unwrap().code(), "22012");
}

#[test]
fn p112_transactions_nest_and_undo_what_failed() {
    let app = app();
    let insert = "INSERT INTO {{tables.t}} VALUES ($1)";
    let kept = app.transaction(|t| {
        t.execute(insert, &[&10])?;
        let failed = t.transaction(|t| {
            t.execute(insert, &[&11])?;
            t.transaction(|t| t.execute(insert, &[&12]))?;
            t.execute(insert, &[&1])
        });
        assert_eq!(failed.unwrap_err().code().unwrap().code(), "23505");
        t.transaction(|t| t.execute(insert, &[&13]))?;
        assert!(t.table_exists("t")?);
        let refused: Result<()> = t.transaction(|_| Err(Error::NotFound { what: "reason".into() }));
        assert!(refused.is_err());
        t.value::<i64>("SELECT count(*) FROM {{tables.t}}", &[])
    });
    assert_eq!(kept.unwrap(), 5);
    assert_eq!(count(&app), 5);

    let undone: Result<()> = app.transaction(|t| {
        t.execute("DELETE FROM {{tables.t}}", &[])?;
        Err(Error::NotFound { what: "reason".into() })
    });
    assert_eq!(undone.unwrap_err().to_string(), "reason does not exist");
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        app.transaction(|t| -> Result<()> {
            t.execute("DELETE FROM {{tables.t}}", &[])?;
            t.transaction(|_| panic!("the test's own"))
        })
    }));
    assert!(panicked.is_err());
    assert_eq!(count(&app), 5);
    assert_eq!(app.pool().metrics().in_use, 0);
    // The driver's own errors are the crate's.
    let raw = app.transaction(|t| Ok(t.client().query("SELECT 1/0", &[])?.len()));
    assert_eq!(raw.unwrap_err().code().unwrap().code(), "22012");
}

#[test]
fn p112_a_transaction_that_was_not_kept_is_never_reported_as_kept() {
    let app = app();
    let delete = "DELETE FROM {{tables.t}}";
    let swallowed = app.transaction(|t| {
        t.execute(delete, &[])?;
        let _ = t.execute("SELECT 1/0", &[]);
        Ok(())
    });
    assert!(swallowed.unwrap_err().to_string().contains("one of its statements has failed"));
    for end in ["ROLLBACK", "COMMIT"] {
        let ended = app.transaction(|t| t.execute(end, &[])).unwrap_err();
        assert!(ended.to_string().contains("a statement within has ended it"), "{ended}");
    }
    let within = app.transaction(|t| {
        let swallowed = t.transaction(|t| {
            let _ = t.execute("SELECT 1/0", &[]);
            Ok(())
        });
        assert!(swallowed.unwrap_err().to_string().contains("has failed"));
        t.execute("INSERT INTO {{tables.t}} VALUES (10)", &[])
    });
    assert_eq!(within.unwrap(), 1);
    let deferred = app.transaction(|t| {
        t.batch_execute("CREATE TABLE {{tables.d}} (a int REFERENCES {{tables.t}} DEFERRABLE INITIALLY DEFERRED)")?;
        t.execute("INSERT INTO {{tables.d}} VALUES ($1)", &[&987_654])
    });
    let deferred = deferred.unwrap_err();
    assert_eq!(deferred.code().unwrap().code(), "23503");
    assert!(
        deferred.to_string().starts_with("cannot commit the transaction: ") && !deferred.to_string().contains("987654")
    );
    assert!(!app.table_exists("d").unwrap());
    assert_eq!((count(&app), app.pool().metrics().in_use), (4, 0));
}

#[test]
fn p113_an_error_shows_the_statement_and_no_value() {
    let app = app();
    logged();
    let secret = "pw";
    let insert = "INSERT INTO {{tables.t}} VALUES ($1, $2)";
    app.execute("CREATE UNIQUE INDEX ON {{tables.t}} (name)", &[]).unwrap();
    app.execute(insert, &[&10, &secret]).unwrap();
    let failed = |result: Result<u64>, code: &str| {
        let error = result.unwrap_err();
        for text in [format!("{error}"), format!("{error:?}"), format!("{error:#?}")] {
            assert!(!text.contains("(pw)") && !text.contains("\"pw") && !text.contains("pw\""), "{text}");
        }
        assert_eq!(error.code().unwrap().code(), code, "{error}");
        error.to_string()
    };
    let said = failed(app.execute(insert, &[&11, &secret]), "23505");
    assert!(said.starts_with("cannot execute INSERT INTO \"app\".\"t\" VALUES ($1, $2): "), "{said}");
    assert!(said.contains("t_name_idx"), "{said}");
    assert_eq!(said, failed(app.transaction(|t| t.execute(insert, &[&11, &secret])), "23505"));
    assert_eq!(said, failed(app.execute_many(insert, [[&11 as &(dyn ToSql + Sync), &secret]]), "23505"));
    failed(app.execute("SELECT $1::text::int", &[&secret]), "22P02");
    failed(app.query("SELECT $1::text::date", &[&secret]).map(|_| 0), "22007");
    failed(app.value::<i32>("SELECT ($1::text::json -> 'a')::text::int", &[&secret]).map(|_| 0), "22P02");
    // What the driver logs at its lowest levels.
    let logged = logged().lock().unwrap().clone();
    assert!(logged.contains("INSERT INTO \"app\".\"t\" VALUES ($1, $2)"), "nothing was logged");
    assert!(logged.contains("********") && !logged.contains("\"pw\""));
}
