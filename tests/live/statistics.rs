//! The statements that a program runs, counted.
use crate::support::{server, unique, wait_until};
use pgsteward::module::Module;
use pgsteward::monitor::{Statistics, StatisticsOptions, StatisticsReport};
use pgsteward::pool::{Pool, PoolOptions};
use pgsteward::{Error, Role};
use postgres::types::ToSql;
use std::time::Duration;

/// A module in a database of its own, and what counts its statements: all are slow.
fn counted(change: impl FnOnce(&mut StatisticsOptions)) -> (Module, Statistics) {
    let name = unique("counted");
    let maintenance = pgsteward::Cluster::connect(&server().dsn()).unwrap();
    maintenance.execute(&format!("CREATE DATABASE {name} TEMPLATE template0"), &[]).unwrap();
    let mut options = StatisticsOptions::new();
    options.slow = Some(Duration::ZERO);
    change(&mut options);
    let (statistics, mut of_pool) = (Statistics::new(options), PoolOptions::new());
    of_pool.statistics = Some(statistics.clone());
    let pool = Pool::connect(&server().dsn_for(&name, "postgres"), of_pool).unwrap();
    (Module::alone(&pool).unwrap(), statistics)
}

fn texts(report: &StatisticsReport) -> Vec<String> {
    report.slow_statements.iter().map(|slow| slow.statement.clone()).collect()
}

#[test]
fn p132_every_way_of_running_sql_is_counted_and_asking_is_not() {
    let (module, statistics) = counted(|_| ());
    assert_eq!(statistics.report().statements, 0);
    module.batch_execute("CREATE TABLE {{tables.t}} (id int UNIQUE DEFERRABLE INITIALLY DEFERRED)").unwrap();
    module.execute("INSERT INTO {{tables.t}} VALUES (1)", &[]).unwrap();
    module.execute("INSERT INTO {{tables.t}} VALUES ($1)", &[&2]).unwrap();
    module.query("SELECT 3 AS query", &[]).unwrap();
    module.query_one("SELECT $1::int AS query_one", &[&4]).unwrap();
    module.query_opt("SELECT 5 AS query_opt", &[]).unwrap();
    let _: i32 = module.value("SELECT 6 AS value", &[]).unwrap();
    module.copy_in("COPY {{tables.t}} FROM STDIN", &b"7\n8\n"[..]).unwrap();
    module.copy_out("COPY {{tables.t}} TO STDOUT", std::io::sink()).unwrap();
    assert!(module.table_exists("t").unwrap());
    let report = statistics.report();
    let seen = texts(&report);
    assert_eq!((report.statements, report.errors, report.slow), (10, 0, 10), "{seen:?}");
    assert_eq!(seen[2], "INSERT INTO \"public\".\"t\" VALUES ($1)");
    assert_eq!(
        (seen[4].as_str(), seen[7].as_str()),
        ("SELECT $1::int AS query_one", "COPY \"public\".\"t\" FROM STDIN")
    );
    assert!(report.histogram.count() == 10 && report.total >= report.longest && report.longest > Duration::ZERO);
    // Asking counts nothing, nor does what the pool does between two users.
    let _ = (statistics.report(), module.pool().metrics(), format!("{statistics:?}"));
    assert_eq!(statistics.report().statements, 10);

    let rows = [[&11 as &(dyn ToSql + Sync)], [&12], [&13]];
    module.execute_many("INSERT INTO {{tables.t}} VALUES ($1)", rows).unwrap();
    let seen = texts(&statistics.report()).split_off(10);
    assert_eq!((seen.len(), seen[0].as_str(), seen[4].as_str()), (5, "BEGIN", "SAVEPOINT pgsteward_end; COMMIT"));
    assert!(seen[1..4].iter().all(|text| text == "INSERT INTO \"public\".\"t\" VALUES ($1)"));

    let kept = module.transaction(|t| {
        t.execute("DELETE FROM {{tables.t}}", &[])?;
        let undone = t.transaction(|t| t.execute("SELECT 1/0", &[]).map(drop));
        assert!(undone.is_err());
        t.value::<i64>("SELECT count(*) FROM {{tables.t}}", &[])
    });
    assert_eq!(kept.unwrap(), 0);
    let seen = texts(&statistics.report()).split_off(15);
    let expected = ["BEGIN", "DELETE", "SAVEPOINT", "SELECT 1/0", "ROLLBACK TO", "SELECT count", "SAVEPOINT"];
    assert!(seen.iter().zip(expected).all(|(text, start)| text.starts_with(start)) && seen.len() == 7, "{seen:?}");
}

#[test]
fn p132_errors_are_counted_by_sqlstate_wherever_they_come_from() {
    let (module, statistics) = counted(|_| ());
    module.batch_execute("CREATE TABLE {{tables.t}} (id int UNIQUE DEFERRABLE INITIALLY DEFERRED)").unwrap();
    // It fails at the end of the transaction.
    let rows = [[&1 as &(dyn ToSql + Sync)], [&1]];
    assert!(module.execute_many("INSERT INTO {{tables.t}} VALUES ($1)", rows).is_err());
    assert!(module.copy_in("COPY {{tables.t}} FROM STDIN", &b"x\n"[..]).is_err());
    assert!(module.execute_many("INSERT INTO nothing VALUES ($1)", [[&1 as &(dyn ToSql + Sync)]]).is_err());
    assert!(module.query("SELECT $1::int", &[&"secret"]).is_err());
    // It is not sent.
    assert!(matches!(module.query("SELECT {{tables.}}", &[]), Err(Error::Invalid { .. })));
    let report = statistics.report();
    let errors: Vec<_> = report.errors_by_sqlstate.iter().map(|(code, number)| (code.as_str(), *number)).collect();
    assert_eq!(errors, [("", 1), ("22P02", 1), ("23505", 1), ("42P01", 1)]);
    assert_eq!(report.errors, 4);
    assert!(!format!("{report:?}").contains("secret"));
    let failed = report.slow_statements.iter().find(|slow| slow.error.as_deref() == Some("23505")).unwrap();
    assert_eq!(failed.statement, "SAVEPOINT pgsteward_end; COMMIT");
}

#[test]
fn p132_only_what_takes_longer_than_the_threshold_is_slow() {
    let (module, statistics) = counted(|options| options.slow = Some(Duration::from_millis(300)));
    module.query("SELECT 1", &[]).unwrap();
    module.query("SELECT pg_sleep($1)", &[&0.35]).unwrap();
    let report = statistics.report();
    assert_eq!((report.statements, report.slow), (2, 1));
    let [slow] = report.slow_statements.as_slice() else { panic!("{report:?}") };
    assert_eq!((slow.statement.as_str(), &slow.error), ("SELECT pg_sleep($1)", &None));
    assert!(slow.duration >= Duration::from_millis(350) && slow.duration == report.longest);
    assert!(report.histogram.quantile(1.0) >= Some(Duration::from_millis(350)));
}

#[test]
fn clusters_of_a_pool_are_counted_and_clients_where_they_are_measured() {
    let (module, statistics) = counted(|_| ());
    let cluster = module.pool().cluster().unwrap();
    assert!(cluster.roles().contains("postgres").unwrap());
    cluster.execute("SELECT $1::int", &[&1]).unwrap();
    assert!(cluster.execute("SELECT 1/0", &[]).is_err());
    let role = unique("counted");
    cluster.roles().create(Role::new(&role)).unwrap();
    let plan = cluster.plan(|cluster| cluster.roles().get(role.as_str())?.set_password("hidden")).unwrap();
    cluster.run(&plan.script()).unwrap();
    drop(cluster);
    let mut client = module.pool().get().unwrap();
    client.batch_execute("SELECT 'unseen'").unwrap();
    statistics.measure("SELECT 'seen'", || client.batch_execute("SELECT 'seen'")).unwrap();
    assert!(statistics.measure("SELECT", || client.batch_execute("SELECT 1/0")).is_err());
    let report = statistics.report();
    let expected = [
        "SELECT $1::int",
        "SELECT 1/0",
        &format!("ALTER ROLE \"{role}\" PASSWORD '********'"),
        "SELECT 'seen'",
        "SELECT",
    ];
    assert_eq!((texts(&report), report.errors_by_sqlstate["22012"]), (expected.map(str::to_owned).to_vec(), 2));
    drop(client);
    wait_until("it is back", || module.pool().metrics().in_use == 0);
    assert_eq!(statistics.report().statements, 5);
}
