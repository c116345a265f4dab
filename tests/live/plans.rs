//! See before doing.
use crate::support::{fresh, unique};
use pgsteward::{Error, Procedure, Result, Role, Schema, Table, sql};

#[test]
fn a_plan_collects_writes_and_changes_nothing_until_it_is_applied() {
    let cluster = fresh();
    let name = unique("r");
    let mut old = cluster.schemas().create(Schema::new("old")).unwrap();
    let plan = cluster
        .plan(|c| {
            let mut role = c.roles().create(Role::new(&name))?;
            assert!(c.roles().contains(name.as_str())?, "a plan sees its own changes");
            role.login = true;
            role.alter()?;
            role.set_password("geheim")?;
            let mut table = c.tables().create(Table::new("old.t"))?;
            table.owner = name.clone();
            table.alter()?;
            let mut schema = c.schemas().get("old")?;
            schema.name = "new".into();
            schema.alter()?;
            assert!(c.schemas().contains("new")? && !c.schemas().contains("old")?);
            c.execute("SELECT 1", &[])?;
            c.execute("CREATE TABLE more ()", &[]).map(drop)
        })
        .unwrap();
    let text = plan.to_string();
    assert!(text.contains("PASSWORD '********'") && !text.contains("SCRAM") && !text.contains("md5"), "{text}");
    assert_eq!(plan.script().len(), 7, "{text}");
    assert!(!cluster.roles().contains(name.as_str()).unwrap());
    assert!(!cluster.tables().contains("old.t").unwrap());
    plan.apply().unwrap();
    cluster.refresh();
    assert_eq!(cluster.tables().get("new.t").unwrap().owner, name);
    assert!(cluster.roles().get(name.as_str()).unwrap().login);
    assert!(cluster.tables().contains("more").unwrap());
    old.comment = Some("x".into());
    assert!(old.alter().unwrap_err().is_conflict());
}

#[test]
fn a_plan_is_all_or_nothing_and_sees_what_changed_meanwhile() {
    let cluster = fresh();
    cluster.execute("CREATE TABLE t ()", &[]).unwrap();
    let plan = cluster
        .plan(|c| {
            c.schemas().create(Schema::new("app"))?;
            let mut table = c.tables().get("t")?;
            table.comment = Some("planned".into());
            table.alter()
        })
        .unwrap();
    cluster.execute("COMMENT ON TABLE t IS 'theirs'", &[]).unwrap();
    assert!(plan.apply().unwrap_err().is_conflict());
    assert!(!cluster.schemas().contains("app").unwrap());
}

#[test]
fn writes_past_the_plan_are_refused() {
    let cluster = fresh();
    let mut outside = cluster.tables().create(Table::new("t")).unwrap();
    let result = cluster.plan(|_| {
        outside.comment = Some("x".into());
        outside.alter()
    });
    assert!(matches!(result, Err(Error::Invalid { .. })));
    outside.alter().unwrap();
    assert!(matches!(
        cluster.plan(|c| c.with_client(|client| client.batch_execute("SELECT 1"))),
        Err(Error::Invalid { .. })
    ));
}

#[test]
fn a_plan_reaches_into_other_databases() {
    let (here, there) = (fresh(), fresh());
    let plan =
        here.plan(|c| c.database(there.current_database())?.schemas().create(Schema::new("app")).map(drop)).unwrap();
    assert!(!there.schemas().contains("app").unwrap());
    let text = plan.to_string();
    assert!(text.starts_with(&format!("-- in database {:?}\nCREATE SCHEMA", there.current_database())), "{text}");
    plan.apply().unwrap();
    there.refresh();
    assert!(there.schemas().contains("app").unwrap());
    assert!(!here.schemas().contains("app").unwrap());
}

#[test]
fn what_a_plan_makes_can_be_changed_in_it() {
    let cluster = fresh();
    let (first, second) = (unique("a"), unique("b"));
    let plan = cluster
        .plan(|c| {
            let mut role = c.roles().create(Role::new(&first))?;
            role.name = second.clone();
            role.alter()?;
            role.login = true;
            role.alter()?;
            c.schemas().create(Schema::new("app"))?;
            let mut table = c.tables().create(Table::new("t"))?;
            table.schema = "app".into();
            table.alter()
        })
        .unwrap();
    plan.apply().unwrap();
    assert!(cluster.roles().get(second.as_str()).unwrap().login);
    assert!(cluster.tables().contains("app.t").unwrap());
}

#[test]
fn what_runs_in_a_plan_is_undone() {
    let cluster = fresh();
    let plan = cluster
        .plan(|c| {
            c.execute("SELECT lo_create(424242)", &[]).ok();
            assert!(!c.large_objects().contains(424242_u32)?);
            c.schemas().create(Schema::new("app"))?;
            c.execute("SELECT 1", &[])?;
            assert!(c.schemas().contains("app")?, "what was planned is still known");
            c.execute("VACUUM", &[]).map(drop)
        })
        .unwrap();
    assert!(plan.to_string().ends_with("VACUUM;\n"), "{plan}");
    plan.apply().unwrap();
    cluster.transaction(|| cluster.plan(|c| c.execute("CREATE TABLE t ()", &[]).map(drop)).map(drop)).unwrap();
    assert!(!cluster.tables().contains("t").unwrap());
}

#[test]
fn plans_of_two_threads_do_not_meet() {
    let cluster = fresh();
    let (began, wait_for_it) = std::sync::mpsc::channel();
    let (ended, wait_for_end) = std::sync::mpsc::channel::<()>();
    let other = cluster.clone();
    let thread = std::thread::spawn(move || {
        other
            .plan(|_| {
                began.send(()).unwrap();
                wait_for_end.recv().unwrap();
                Ok(())
            })
            .unwrap();
        other.schemas().create(Schema::new("there")).unwrap();
    });
    cluster
        .plan(|_| {
            wait_for_it.recv().unwrap();
            Ok(())
        })
        .unwrap();
    cluster.schemas().create(Schema::new("here")).unwrap();
    ended.send(()).unwrap();
    thread.join().unwrap();
    cluster.schemas().create(Schema::new("more")).unwrap();
}

#[test]
fn a_plan_neither_ends_a_transaction_nor_loses_a_setting() {
    let cluster = fresh();
    let undone: Result<()> = cluster.transaction(|| {
        cluster.schemas().create(Schema::new("app"))?;
        for statement in ["COMMIT", " /* x */ rollback", "BEGIN", "SAVEPOINT a", "-- x\nEND", "PREPARE TRANSACTION 'x'"]
        {
            let planned = cluster.plan(|c| c.execute(statement, &[]).map(drop));
            assert!(matches!(planned, Err(Error::Invalid { .. })), "{statement}");
        }
        Err(Error::NotFound { what: "x".into() })
    });
    assert!(undone.is_err() && !cluster.schemas().contains("app").unwrap());
    let plan = cluster.plan(|c| c.execute("SET application_name = 'planned'", &[]).map(drop)).unwrap();
    let name = || cluster.execute("SHOW application_name", &[]).unwrap()[0].get::<_, String>(0);
    assert_ne!(name(), "planned");
    plan.apply().unwrap();
    assert_eq!(name(), "planned");
}

#[test]
fn a_plan_sees_its_own_routines_by_name_and_its_own_changes_among_the_systems() {
    let cluster = fresh();
    cluster.execute("CREATE SCHEMA a; CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT 1'", &[]).unwrap();
    let routine = |name: &str| Procedure::function(name, sql!("integer"), "sql", "SELECT 1");
    let plan = cluster
        .plan(|c| {
            c.schemas().get("a")?.drop()?;
            assert!(!c.schemas().with_system().contains("a")?);
            c.procedures().create(routine("f(bigint)"))?;
            assert_eq!(c.procedures().get("f")?.len(), 2);
            let mut one = c.procedures().get("f(int)")?.one()?;
            one.name = "g".into();
            one.alter()?;
            assert_eq!((c.procedures().get("f")?.len(), c.procedures().get("g")?.len()), (1, 1));
            Ok(())
        })
        .unwrap();
    plan.apply().unwrap();
    assert!(cluster.procedures().contains("g(int)").unwrap() && cluster.procedures().contains("f(bigint)").unwrap());
}

#[test]
fn writes_to_another_database_do_not_slip_through_a_plan_and_reads_do() {
    let cluster = fresh();
    cluster
        .plan(|_| {
            assert!(cluster.schemas().contains("public")?);
            let there = cluster.database("template1")?;
            assert!(matches!(there.schemas().create(Schema::new("slipped")), Err(Error::Invalid { .. })));
            assert!(!there.schemas().contains("slipped")?);
            Ok(())
        })
        .unwrap();
}
