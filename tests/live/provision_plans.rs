//! A plan of databases for clients.
use crate::load::Folder;
use crate::support::{major, statements};
use pgsteward::testing::{TestServer, TestServerOptions};
use pgsteward::{ClientDatabase, Cluster, Error, Provision, ProvisionReport, Result};
use std::fs;
use std::ops::ControlFlow;

/// A server that logs what it is sent.
fn logging() -> (TestServer, Cluster) {
    let mut options = TestServerOptions::new();
    options.settings.push(("log_statement".into(), "all".into()));
    let server = TestServer::with(options).unwrap();
    let cluster = Cluster::connect(&server.dsn()).unwrap();
    (server, cluster)
}

fn clients(names: &[&str]) -> Vec<ClientDatabase> {
    names.iter().map(|name| ClientDatabase::new(*name).role(format!("{name}_role"))).collect()
}

fn provision(cluster: &Cluster, provision: &Provision) -> Result<ProvisionReport> {
    cluster.provision(provision, |_| ControlFlow::Continue(()))
}

/// Databases and roles, and who may log in.
fn there(cluster: &Cluster) -> Vec<String> {
    let question = "SELECT datname::text FROM pg_database WHERE datname NOT LIKE 'template%' UNION ALL \
         SELECT rolname || ' ' || rolcanlogin || COALESCE(shobj_description(oid, 'pg_authid'), '') \
         FROM pg_roles WHERE rolname !~ '^pg_' ORDER BY 1";
    cluster.execute(question, &[]).unwrap().iter().map(|row| row.get(0)).collect()
}

/// A client whose making was interrupted.
fn half_made(cluster: &Cluster, client: &ClientDatabase) {
    let mark = format!("pgsteward: database {:?} is not complete; process 1 since 1.5", client.database);
    for statement in [
        format!("CREATE ROLE \"{}\"", client.role),
        format!("COMMENT ON ROLE \"{}\" IS '{mark}'", client.role),
        format!("CREATE DATABASE \"{}\" OWNER \"{}\"", client.database, client.role),
    ] {
        cluster.execute(&statement, &[]).unwrap();
    }
}

/// What does not depend on the process at work, and on chance: what stands before it.
fn fixed(statement: &str) -> &str {
    let end = ["; process ", "PASSWORD '"].iter().filter_map(|word| statement.find(word)).min();
    &statement[..end.unwrap_or(statement.len())]
}

#[test]
fn a_plan_prints_what_provision_then_sends_and_makes_nothing_until_it_is_applied() {
    let ((server, cluster), folder) = (logging(), Folder::new());
    let passwords = folder.path().join("passwords");
    let schema = folder.write("schema.sql", "CREATE TABLE item (id int);\nCOPY item FROM stdin;\n1\n\\.\n");
    let mut order = Provision::new(clients(&["new", "half", "we\"ird"]));
    half_made(&cluster, &order.clients[1]);
    order.settings.push(("search_path".into(), vec!["a".into(), "public".into()]));
    (order.database.connection_limit, order.role.comment) = (7, Some("theirs".into()));
    order.files.push(schema.clone());
    let before = there(&cluster);
    let (mut report, mut heard) = (None, 0);
    order.password_file = Some(passwords.clone());
    let plan = cluster.plan(|plan| {
        report = Some(plan.provision(&order, |_| {
            heard += 1;
            ControlFlow::Continue(())
        })?);
        assert!(plan.databases().contains("new")? && plan.roles().get("new_role")?.login);
        Ok(())
    });
    let (plan, report) = (plan.unwrap(), report.unwrap());
    assert_eq!((report.not_tried, report.made.len(), heard), (order.clients.clone(), 0, 0));
    assert_eq!(report.open_databases[..], ["postgres", "template1"]);
    assert!(there(&cluster) == before && !passwords.exists());

    let text = plan.to_string();
    for expected in [
        "CREATE ROLE \"new_role\"".to_owned(),
        "REVOKE ALL ON DATABASE \"new\" FROM PUBLIC;\nALTER DATABASE \"new\" ALLOW_CONNECTIONS true;\n\
         -- in database \"new\"\nALTER SCHEMA public OWNER TO \"new_role\";\n"
            .to_owned(),
        format!(
            "-- as role \"new_role\", in one transaction: {schema:?} (2 statements)\n-- in database \"postgres\"\n"
        ),
        "ALTER DATABASE \"new\" SET \"search_path\" TO 'a', 'public';\n".to_owned(),
        "ALTER ROLE \"new_role\" LOGIN PASSWORD '********';\nCOMMENT ON ROLE \"new_role\" IS 'theirs';\n".to_owned(),
        "DROP DATABASE \"half\"".to_owned(),
        "DROP ROLE \"half_role\";\nCREATE ROLE \"half_role\"".to_owned(),
    ] {
        assert!(text.contains(&expected), "{expected}: {text}");
    }
    assert!(!text.contains("SCRAM") && !text.contains("md5"), "{text}");

    let printed = statements(&plan.script());
    plan.apply().unwrap();
    assert_eq!(fs::read_to_string(&passwords).unwrap().lines().count(), 3);
    assert_eq!(cluster.databases().get("half").unwrap().owner, "half_role");
    let log = server.log().unwrap();
    for statement in printed.iter().filter(|statement| !statement.starts_with("--")) {
        assert!(log.contains(fixed(statement)), "{statement} was not sent");
    }
    order.password_file = None;
    assert_eq!(provision(&cluster, &order).unwrap().skipped, order.clients);
    assert!(cluster.plan(|plan| provision(plan, &order).map(drop)).unwrap().is_empty());
}

#[test]
fn a_plan_leaves_out_what_is_there_and_says_what_would_fail() {
    let ((_server, cluster), folder) = (logging(), Folder::new());
    let all = clients(&["there", "taken", "new"]);
    assert!(provision(&cluster, &Provision::new(all[..1].to_vec())).unwrap().is_complete());
    cluster.execute("CREATE DATABASE taken", &[]).unwrap();
    let mut order = Provision::new(all.clone());
    let mut report = ProvisionReport::default();
    let mut planned = |order: &Provision| {
        cluster.plan(|plan| {
            report = provision(plan, order)?;
            Ok(())
        })
    };
    let plan = planned(&order).unwrap();
    let text = plan.to_string();
    assert!(text.contains("\"new\"") && !text.contains("\"there\"") && !text.contains("\"taken\""), "{text}");
    // Nobody would be told the passwords.
    assert!(plan.apply().unwrap_err().to_string().contains("password file"));
    order.password_file = Some(folder.path().join("passwords"));
    let plan = planned(&order).unwrap();
    let error = plan.apply().unwrap_err();
    assert!(matches!(error, Error::AlreadyExists { .. }), "{error}");
    assert!(error.to_string().contains("\"taken\"; in all 1 failed"), "{error}");
    assert!(cluster.databases().contains("new").unwrap(), "the others are made");
    // The file is there now, and is not overwritten.
    assert!(matches!(planned(&order), Err(Error::AlreadyExists { .. })));
    assert_eq!((report.skipped, report.not_tried), (all[..1].to_vec(), all[2..].to_vec()));
    assert_eq!(report.failed.len(), 1);
}

#[test]
fn a_plan_prints_what_deprovision_then_sends_and_drops_nothing_until_it_is_applied() {
    let (server, cluster) = logging();
    let all = clients(&["one", "half", "absent", "taken"]);
    provision(&cluster, &Provision::new(all[..1].to_vec())).unwrap();
    half_made(&cluster, &all[1]);
    cluster.execute("CREATE DATABASE taken", &[]).unwrap();
    let before = there(&cluster);
    let plan = cluster.plan(|plan| {
        let report = plan.deprovision_without_archive(&all)?;
        assert_eq!((&report.not_tried[..], &report.absent[..]), (&all[..2], &all[2..3]));
        assert!(report.failed.len() == 1 && report.dropped.is_empty(), "{report:?}");
        assert!(!plan.databases().contains("one")? && !plan.roles().contains("one_role")?);
        Ok(())
    });
    let plan = plan.unwrap();
    assert_eq!(there(&cluster), before);
    let printed = statements(&plan.script());
    let drop = if major() < 13 { "DROP DATABASE \"one\"" } else { "DROP DATABASE \"one\" WITH (FORCE)" };
    assert_eq!(printed[0], "ALTER ROLE \"one_role\" NOLOGIN");
    assert!(printed.iter().any(|sql| sql == drop) && printed.iter().any(|sql| sql == "DROP ROLE \"half_role\""));
    assert!(!plan.to_string().contains("taken"), "{plan}");
    let error = plan.apply().unwrap_err();
    assert!(matches!(error, Error::AlreadyExists { .. }), "{error}");
    assert_eq!(there(&cluster), ["postgres", "postgres true", "taken"]);
    let log = server.log().unwrap();
    for statement in printed.iter().filter(|statement| !statement.contains("pg_terminate_backend")) {
        assert!(log.contains(fixed(statement)), "{statement} was not sent");
    }
}

#[test]
fn an_archive_is_part_of_a_plan_that_cannot_be_applied() {
    let (_server, cluster) = logging();
    let all = clients(&["one", "two"]);
    provision(&cluster, &Provision::new(all.clone())).unwrap();
    let before = there(&cluster);
    let plan = cluster.plan(|plan| {
        let archive = |client: &ClientDatabase, there: &Cluster| {
            assert_eq!(there.current_database(), client.database);
            there.execute("CREATE TABLE archived ()", &[]).map(drop)
        };
        plan.deprovision(&all, archive).map(drop)
    });
    let plan = plan.unwrap();
    let text = plan.to_string();
    let archived =
        "-- in database \"two\"\nCREATE TABLE archived ();\n-- in database \"postgres\"\nALTER ROLE \"two_role\"";
    assert!(text.contains(archived), "{text}");
    assert!(plan.apply().unwrap_err().to_string().contains("call deprovision itself"));
    assert_eq!(there(&cluster), before);
    let inside = Cluster::database(&cluster, "one").unwrap();
    assert!(inside.tables().is_empty().unwrap());
    // What goes wrong with an archive goes wrong with the plan.
    let failing =
        cluster.plan(|plan| plan.deprovision(&all, |_, _| Err(Error::NotFound { what: "tape".into() })).map(drop));
    assert!(failing.unwrap_err().is_not_found());
}

#[test]
fn a_plan_of_a_role_that_is_no_superuser_prints_what_it_then_may() {
    let ((server, cluster), folder) = (logging(), Folder::new());
    cluster.execute("CREATE ROLE boss LOGIN CREATEDB CREATEROLE", &[]).unwrap();
    let boss = Cluster::connect(&format!("{} user=boss", server.dsn())).unwrap();
    let mut order = Provision::new(clients(&["new"]));
    order.password_file = Some(folder.path().join("passwords"));
    let plan = boss.plan(|plan| provision(plan, &order).map(drop)).unwrap();
    let printed = statements(&plan.script());
    let grant = "GRANT \"new_role\" TO CURRENT_USER, SESSION_USER";
    assert!(printed.iter().any(|statement| statement == grant), "{printed:?}");
    plan.apply().unwrap();
    let log = server.log().unwrap();
    assert!(printed.iter().all(|statement| log.contains(fixed(statement))), "{printed:?}");
    let public = "ALTER SCHEMA public OWNER TO \"new_role\"";
    assert_eq!(printed.iter().any(|statement| statement == public), log.contains(public));
}
