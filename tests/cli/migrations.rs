//! `pgsteward migrate`.
use crate::support::{Ended, end, fresh, interrupt, program, server, unique};
use pgsteward::Cluster;
use serde_json::json;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// A directory with a folder `migrations`, and a database.
struct Project {
    directory: PathBuf,
    cluster: Cluster,
}

impl Project {
    fn new() -> Self {
        let directory =
            std::env::temp_dir().join(format!("pgsteward-cli-{}-{}", std::process::id(), unique("migrate")));
        fs::create_dir_all(directory.join("migrations")).unwrap();
        Self { directory, cluster: fresh() }
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.directory.join("migrations").join(name), text).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = program(server());
        command.env("PGDATABASE", self.cluster.current_database()).current_dir(&self.directory);
        command.arg("migrate").args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        end(&mut self.command(arguments), "")
    }

    fn tables(&self) -> Vec<String> {
        let question = "SELECT schemaname || '.' || tablename FROM pg_tables WHERE schemaname !~ '^pg_' \
                        AND schemaname <> 'information_schema' ORDER BY 1";
        self.cluster.execute(question, &[]).unwrap().iter().map(|row| row.get(0)).collect()
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

#[test]
fn p128_migrations_are_made_planned_applied_and_told_of_in_the_schema_that_is_given() {
    let project = Project::new();
    let scope = ["--module", "shop", "--schema", "shop", "--table", "history"];
    let run = |verb: &[&str]| project.run(&[verb, scope.as_slice()].concat());
    // Without a connection.
    let made = end(project.command(&["new", "the users"]).env("PGHOST", "/nowhere"), "").with(0);
    assert_eq!(made.stdout, "migrations/001_the_users.sql\n");
    assert_eq!(project.run(&["new", "more"]).with(0).stdout, "migrations/002_more.sql\n");
    project.run(&["new", "a/b"]).with(2);
    let empty = run(&["apply", "--create-schema"]).with(2);
    assert!(empty.stderr.contains("001_the_users.sql") && empty.stderr.contains("no statement"), "{empty:?}");
    project.write("001_the_users.sql", "CREATE TABLE users (id int);\nINSERT INTO users VALUES (1);\n");
    project.write("002_more.sql", "CREATE TABLE {{tables.more}} ();\n");

    let missing = run(&["apply"]).with(3);
    assert!(missing.stderr.contains("schema \"shop\""), "{missing:?}");
    let plan = run(&["apply", "--create-schema", "--plan"]).with(0).stdout;
    assert!(plan.contains("CREATE TABLE \"shop\".\"history\"") && plan.contains("\"shop\".\"more\""), "{plan}");
    assert_eq!(project.tables(), Vec::<String>::new());
    let first = run(&["apply", "--to", "1", "--create-schema", "--format", "json"]).with(0).json();
    assert_eq!((&first[0]["name"], &first[0]["statements"]), (&json!("001_the_users.sql"), &json!(2)));
    run(&["apply", "--to", "7"]).with(3);
    assert_eq!(run(&["verify"]).with(0).stderr, "nothing is wrong; 1 migration to be applied\n");
    let table = run(&["apply"]).with(0).stdout;
    assert!(table.starts_with("version  name") && table.contains("002_more.sql"), "{table}");
    assert_eq!(run(&["apply"]).with(0).stderr, "there was nothing to apply\n");
    assert_eq!(run(&["apply", "--format", "csv"]).with(0).stdout, "version,name,statements,seconds\n");
    assert_eq!(project.tables(), ["shop.history", "shop.more", "shop.users"]);
    let status = run(&["status", "--format", "json"]).with(0).json();
    assert_eq!((&status[1]["state"], &status[1]["applied_by"]), (&json!("applied"), &json!("postgres")));
    // Another module, and the schema public, know nothing of it, and nothing is made by looking.
    let other = project.run(&["status", "--format", "json"]).with(0).json();
    assert_eq!(other[0]["state"], "pending");
    assert_eq!(project.tables().len(), 3);
}

#[test]
fn p123_what_is_wrong_is_told_and_repaired() {
    let project = Project::new();
    project.write("001_a.sql", "CREATE TABLE a ();");
    project.write("002_b.sql", "-- pgsteward:no-transaction\nCREATE TABLE b ();\nSELECT 1/0;\n");
    let failed = project.run(&["apply"]).with(1);
    for words in ["002_b.sql", "line 3", "22012", "1 of its 2 statements"] {
        assert!(failed.stderr.contains(words), "{failed:?}");
    }
    project.run(&["apply"]).with(2);
    let status = project.run(&["status"]).with(0);
    assert!(status.stdout.contains("incomplete") && status.stderr.contains("002_b.sql"), "{status:?}");
    let plan = project.run(&["repair", "2", "resume", "--plan"]).with(0).stdout;
    assert!(plan.contains("'resumable'"), "{plan}");
    project.write("002_b.sql", "-- pgsteward:no-transaction\nCREATE TABLE b ();\nSELECT 1;\n");
    assert_eq!(project.run(&["repair", "2", "resume"]).with(0).stderr, "migration 2 will be resumed\n");
    project.run(&["apply"]).with(0);
    project.write("001_a.sql", "CREATE TABLE c ();");
    assert!(project.run(&["verify"]).with(2).stderr.contains("001_a.sql"));
    project.run(&["repair", "1", "accept"]).with(0);
    project.run(&["repair", "1", "accept"]).with(2);
    project.run(&["repair", "9", "forget"]).with(3);
    project.run(&["verify"]).with(0);
    project.write("notes.sql", "");
    assert!(project.run(&["status"]).with(2).stderr.contains("notes.sql"));
    assert!(project.run(&["status", "--directory", "nowhere"]).with(1).stderr.contains("nowhere"));
}

#[test]
fn a_baseline_and_the_records_of_others_are_taken_over() {
    let project = Project::new();
    project.write("V1__a.sql", "CREATE TABLE a ();");
    project.write("V2__b.sql", "CREATE TABLE b ();");
    project.run(&["baseline", "3"]).with(3);
    project.run(&["baseline", "1"]).with(0);
    let applied = project.run(&["apply", "--format", "json"]).with(0).json();
    assert_eq!(applied[0]["version"], 2);
    let theirs = "CREATE TABLE theirs (id serial, filename text, checksum text, module_name text, \
         applied_at timestamp DEFAULT now(), applied_by text, execution_time_ms int); INSERT INTO theirs (filename, checksum, \
         module_name) VALUES ('V1__a.sql', encode(sha256('CREATE TABLE a ();'), 'hex'), 'old')";
    project.cluster.execute(theirs, &[]).unwrap();
    project.run(&["adopt", "pgdbm"]).with(3);
    project.run(&["adopt", "pgdbm", "--from", "theirs"]).with(2);
    let adopt = ["adopt", "pgdbm", "--from", "theirs", "--from-module", "old", "--module", "new"];
    project.run(&adopt).with(0);
    let status = project.run(&["status", "--module", "new", "--format", "json"]).with(0).json();
    assert_eq!((&status[0]["state"], &status[1]["state"]), (&json!("applied"), &json!("pending")));
    project.run(&["adopt", "refinery"]).with(3);
}

#[test]
fn ctrl_c_undoes_the_migration_that_runs() {
    let project = Project::new();
    project.write("001_a.sql", "CREATE TABLE a ();");
    project.write("002_b.sql", "CREATE TABLE b ();\nSELECT pg_sleep(120);\n");
    let sleeps = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";
    let is_time = || {
        std::thread::sleep(Duration::from_millis(5));
        !project.cluster.execute(sleeps, &[]).unwrap().is_empty()
    };
    interrupt(&mut project.command(&["apply"]), is_time).with(130);
    assert_eq!(project.tables(), ["public.a", "public.pgsteward_migrations"]);
    let status = project.run(&["status", "--format", "json"]).with(0).json();
    assert_eq!((&status[0]["state"], &status[1]["state"]), (&json!("applied"), &json!("pending")));
}
