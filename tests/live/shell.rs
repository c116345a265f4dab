//! Commands of the server's operating system.
use crate::support::{alone, connect, fresh, server, unique};
use pgsteward::{Cluster, Error, Ident, OsCommand, OsOutput, Role, sql};
use std::time::{Duration, Instant};

fn run(cluster: &Cluster, text: &str) -> OsOutput {
    cluster.run_os_command(OsCommand::new(text)).unwrap()
}

fn out(cluster: &Cluster, text: &str) -> String {
    let output = run(cluster, text);
    assert_eq!((output.exit_code, output.stderr_text()), (0, String::new()), "{text}");
    output.stdout_text()
}

#[test]
fn p013_a_command_is_what_it_would_be_in_a_shell() {
    let cluster = fresh();
    let data = server().data_directory();
    assert_eq!(out(&cluster, "pwd"), format!("{}\n", data.canonicalize().unwrap().display()));
    assert_eq!(out(&cluster, r#"echo "\",'""#), "\",'\n");
    assert_eq!(out(&cluster, "x=3; echo \"$x\" '$x' \\$x $((x + 1))"), "3 $x $x 4\n");
    assert_eq!(out(&cluster, "echo $(whoami)"), out(&cluster, "whoami"));
    assert_eq!(out(&cluster, "echo \"$HOME\""), out(&cluster, "printenv HOME"));
    assert_eq!(out(&cluster, "echo a |\ntr a b"), "b\n");
    assert_eq!(out(&cluster, "cat"), "");
}

#[test]
fn p014_exit_codes_are_results_or_errors_as_asked() {
    let cluster = fresh();
    let output = run(&cluster, "PATH=/usr/bin:/bin; no_such_command");
    assert_eq!((output.exit_code, output.stdout_text()), (127, String::new()));
    let said = output.stderr_text();
    assert!(said.contains("no_such_command") && said.contains("not found"), "{said}");
    let output = run(&cluster, "echo foo; /bin/false");
    assert_eq!((output.exit_code, output.stdout_text()), (1, "foo\n".into()));
    let error = cluster.run_os_command(OsCommand::new("echo why >&2; exit 3").checked()).unwrap_err();
    let Error::OsCommand { exit_code, stderr, .. } = &error else { panic!("{error}") };
    assert_eq!((*exit_code, stderr.as_str()), (Some(3), "why"));
    assert_eq!(cluster.run_os_command(OsCommand::new("true").checked()).unwrap().exit_code, 0);
    assert_eq!(run(&cluster, "kill -9 $$").exit_code, 137);
    assert_ne!(run(&cluster, "if (").exit_code, 0);
}

#[test]
fn p015_commands_and_output_arrive_unharmed() {
    let cluster = fresh();
    let nasty = "a\tb\\c\\N\\.\\\\ $$ $tag$ 'it' \"is\" `x` %s {} é🐘 --\nEOF\n\\.\n;\r\n";
    let quoted = format!("printf %s '{}'", nasty.replace('\'', r"'\''"));
    assert_eq!(out(&cluster, &quoted), nasty);
    assert_eq!(out(&cluster, "cat <<'EOF'\n$$\t\\N\nEOF\n"), "$$\t\\N\n");
    let output = run(&cluster, "printf 'a\\000\\351\\n\\n'; printf '\\377' >&2");
    assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"a\0\xe9\n\n"[..], &b"\xff"[..]));
    assert_eq!(output.stdout_text(), "a\0\u{FFFD}\n\n");
    let output = run(&cluster, "head -c 3000000 /dev/urandom | tee base/sum_of_this; exit 0");
    let sum = out(&cluster, "cksum <base/sum_of_this; rm base/sum_of_this");
    assert_eq!(output.stdout.len(), 3_000_000);
    assert!(sum.contains(" 3000000"));
    // Longer than the operating system takes as an argument.
    let long = format!(": {}\necho end", "x".repeat(300_000));
    assert_eq!(out(&cluster, &long), "end\n");
    assert!(matches!(cluster.run_os_command(OsCommand::new("a\0")), Err(Error::Invalid { .. })));
}

#[test]
fn a_timeout_holds_whatever_the_command_does_about_it() {
    let cluster = fresh();
    for text in [
        "echo started >&2; sleep 60",
        "trap '' INT; echo started >&2; while :; do sleep 1; done",
        "trap '' INT TERM; echo started >&2; while :; do sleep 1; done",
        "echo started >&2; setsid sleep 20",
    ] {
        let started = Instant::now();
        let error = cluster.run_os_command(OsCommand::new(text).timeout(Duration::from_secs(1))).unwrap_err();
        assert!(started.elapsed() < Duration::from_secs(10), "{text}");
        let Error::OsCommand { exit_code, stderr, failure, .. } = &error else { panic!("{error}") };
        // The shell may add that the command was terminated.
        assert!(exit_code.is_none() && stderr.starts_with("started"), "{error}");
        assert!(failure.contains("after 1 seconds (timeout)"), "{error}");
    }
    let output = cluster.run_os_command(OsCommand::new("exit 124").timeout(Duration::from_secs(20))).unwrap();
    assert_eq!(output.exit_code, 124);
}

#[test]
fn a_timeout_of_the_session_ends_a_command_too() {
    let cluster = fresh();
    cluster.execute("SET statement_timeout = '500ms'", &[]).unwrap();
    let started = Instant::now();
    let error = cluster.run_os_command(OsCommand::new("sleep 30")).unwrap_err();
    assert!(matches!(error, Error::OsCommand { exit_code: None, .. }), "{error}");
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_job_in_the_background_is_not_waited_for() {
    let cluster = fresh();
    let started = Instant::now();
    assert_eq!(out(&cluster, "sleep 8 & echo on its way"), "on its way\n");
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn commands_leave_nothing_behind() {
    let cluster = fresh();
    let name = out(&cluster, "dirname \"$0\"");
    let name = name.trim();
    assert!(name.starts_with("base/pgsql_tmp/pgsql_tmp_steward_"), "{name}");
    assert!(!server().data_directory().join(name).exists());
}

#[test]
fn commands_run_on_a_standby_and_in_a_read_only_transaction() {
    let cluster = fresh();
    let read_only = cluster.transaction(|| {
        cluster.execute("SET TRANSACTION READ ONLY", &[])?;
        cluster.run_os_command(OsCommand::new("echo here"))
    });
    assert_eq!(read_only.unwrap().stdout_text(), "here\n");
    let standby = alone().0.standby().unwrap();
    let there = Cluster::connect(&standby.dsn()).unwrap();
    let data = standby.data_directory().canonicalize().unwrap();
    assert_eq!(out(&there, "pwd"), format!("{}\n", data.display()));
}

#[test]
fn a_role_needs_the_rights_and_is_told_which() {
    let cluster = fresh();
    let mut role = Role::new(unique("runner"));
    role.login = true;
    let role = cluster.roles().create(role).unwrap();
    let other = connect(cluster.current_database(), &role.name);
    let denied = || other.run_os_command(OsCommand::new("echo hi")).unwrap_err();
    let error = denied();
    assert!(
        matches!(error, Error::Denied { .. }) && error.to_string().contains("pg_execute_server_program"),
        "{error}"
    );
    let grant = sql!("GRANT pg_execute_server_program TO {}", Ident(&role.name));
    cluster.execute(&grant.to_string(), &[]).unwrap();
    let error = denied();
    assert!(error.to_string().contains("lacks EXECUTE on the function pg_read_binary_file"), "{error}");
    let grant =
        sql!("GRANT EXECUTE ON FUNCTION pg_read_binary_file(text, bigint, bigint, boolean) TO {}", Ident(&role.name));
    cluster.execute(&grant.to_string(), &[]).unwrap();
    assert_eq!(out(&other, "echo hi"), "hi\n");
}

#[test]
fn a_plan_collects_commands() {
    let cluster = fresh();
    let file = unique("made_by_a_plan");
    let command = OsCommand::new(format!("touch {file}")).checked();
    let mut output = None;
    let plan = cluster.plan(|c| c.run_os_command(command).map(|said| output = Some(said))).unwrap();
    assert_eq!(output, Some(OsOutput::default()));
    assert!(plan.to_string().contains(&format!("touch {file}")), "{plan}");
    assert!(!server().data_directory().join(&file).exists());
    plan.apply().unwrap();
    assert!(server().data_directory().join(&file).exists());
    out(&cluster, &format!("rm {file}"));
}
