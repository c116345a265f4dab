//! The question before something is dropped.
use crate::support::{Asking, answer, cluster, end_by, program, run, server, unique};
use pgsteward::{Database, Role};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn made() -> String {
    let name = unique("asked");
    cluster().databases().create(Database::new(&name)).unwrap();
    name
}

fn exists(name: &str) -> bool {
    cluster().databases().contains(name).unwrap()
}

#[test]
fn p077_the_answer_comes_from_a_pipe_and_only_yes_is_yes() {
    for no in ["", "\n", "no\n", "n", "yess\n", "ja\n", "\u{feff}yes\n", "1\n"] {
        let name = made();
        let declined = answer(&["db", "drop", &name], no).with(6);
        assert!(declined.stderr.contains("[y/N]") && declined.stderr.contains("nothing was done"), "{declined:?}");
        // An answer from a pipe ends no line, and what follows begins on one of its own.
        assert!(declined.stderr.contains("[y/N] \nerror"), "{declined:?}");
        assert!(declined.stdout.is_empty() && exists(&name));
        assert_eq!(declined.stderr.contains("end of input"), no.is_empty(), "{declined:?}");
    }
    for yes in ["y\n", "Y", "yes", " YES \r\n", "Yes\nno\n"] {
        let name = made();
        answer(&["db", "drop", &name], yes).with(0);
        assert!(!exists(&name), "{yes:?}");
    }
}

#[test]
fn p071_without_a_terminal_and_without_input_nothing_is_dropped_and_yes_or_force_skips_the_question() {
    let name = made();
    run(&["db", "drop", &name]).with(6);
    assert!(exists(&name));
    let dropped = run(&["db", "drop", &name, "--yes"]).with(0);
    assert!(!dropped.stderr.contains("[y/N]") && !exists(&name));
    let name = made();
    run(&["db", "drop", &name, "--force", "--quiet"]).with(0);
    assert!(!exists(&name));
}

/// `script` of util-linux runs a command in a pseudo-terminal, and types what is on its standard input. What the
/// terminal shows is the standard error here.
pub fn in_a_terminal(arguments: &[&str]) -> Asking {
    let quoted: Vec<_> = arguments.iter().map(|argument| format!("'{argument}'")).collect();
    of_a_shell_in_a_terminal(&format!("tty; exec '{}' {}", env!("CARGO_BIN_EXE_pgsteward"), quoted.join(" ")))
}

fn of_a_shell_in_a_terminal(line: &str) -> Asking {
    let mut command = Command::new("sh");
    command.args(["-c", "exec script -qec \"$1\" /dev/null >&2", "sh", line]);
    for (name, value) in program(server()).get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    Asking::start(&mut command)
}

/// The same with an answer, or without one: the exit code and what the terminal has shown.
pub fn answer_in_a_terminal(arguments: &[&str], answer: &str) -> (i32, String) {
    let mut asking = in_a_terminal(arguments);
    if !answer.is_empty() {
        asking.wait_for("[y/N] ");
    }
    let ended = asking.answer(answer);
    (ended.code, ended.stderr)
}

/// Waits until the terminal shows no longer what is typed, which it does for a moment after the prompt.
fn wait_until_hidden(asking: &Asking) {
    let terminal = asking.seen().lines().next().unwrap().trim().to_owned();
    let began = Instant::now();
    let hidden = || {
        let settings = Command::new("stty").args(["-a", "-F", &terminal]).output().unwrap();
        String::from_utf8(settings.stdout).unwrap().contains(" -echo ")
    };
    while !hidden() {
        assert!(began.elapsed() < Duration::from_secs(10), "what is typed can be seen");
    }
}

pub fn no_terminal() -> bool {
    let missing = Command::new("script").arg("--version").output().is_err();
    if missing {
        println!("SKIPPED: there is no program `script` that makes a terminal");
    }
    missing
}

#[test]
fn p077_the_answer_comes_from_a_terminal() {
    if no_terminal() {
        return;
    }
    let name = made();
    // Ctrl-D is the end of input, Ctrl-C ends the program.
    for (typed, code) in [("no\n", 6), ("\u{4}", 6), ("\u{3}", 130), ("yes\n", 0)] {
        assert!(exists(&name));
        let mut asking = in_a_terminal(&["db", "drop", &name]);
        asking.wait_for("[y/N] ");
        asking.answer(typed).with(code);
    }
    assert!(!exists(&name));
}

#[test]
fn a_password_is_typed_twice_and_not_seen() {
    if no_terminal() {
        return;
    }
    let name = unique("typist");
    cluster().roles().create(Role::new(&name)).unwrap();
    let has_password = || cluster().roles().get(&name).unwrap().password_verifier().unwrap().is_some();
    for (again, code) in [("geheim2\n", 6), ("geheim\n", 0)] {
        assert!(!has_password());
        let mut asking = in_a_terminal(&["role", "password", &name]);
        asking.wait_for(&format!("New password of role \"{name}\": "));
        wait_until_hidden(&asking);
        asking.say("geheim\n");
        asking.wait_for("Again: ");
        wait_until_hidden(&asking);
        let ended = asking.answer(again).with(code);
        assert!(!ended.stderr.contains("geheim"), "{ended:?}");
    }
    assert!(has_password());
    let mut asking = in_a_terminal(&["info", "-W"]);
    asking.wait_for("Password: ");
    wait_until_hidden(&asking);
    let ended = asking.answer("geheim\n").with(0);
    assert!(ended.stderr.contains("version") && !ended.stderr.contains("geheim"), "{ended:?}");
}

#[test]
fn ctrl_c_while_a_password_is_asked_for_leaves_the_terminal_as_it_was() {
    if no_terminal() {
        return;
    }
    for (arguments, prompt) in [("role password postgres", "postgres\": "), ("info -W", "Password: ")] {
        let line = format!("tty; '{}' {arguments}; echo code=$?; stty -a", env!("CARGO_BIN_EXE_pgsteward"));
        let mut asking = of_a_shell_in_a_terminal(&line);
        asking.wait_for(prompt);
        wait_until_hidden(&asking);
        asking.say("\u{3}");
        asking.wait_for(" echok");
        let ended = asking.answer("").with(0);
        assert!(ended.stderr.contains("code=130"), "{ended:?}");
        for setting in [" echo ", "isig ", " icanon "] {
            assert!(ended.stderr.contains(setting) && !ended.stderr.contains("-isig"), "{ended:?}");
        }
    }
}

#[test]
fn sigterm_while_a_password_is_waited_for_from_a_pipe_ends_the_program() {
    let mut command = program(server());
    command.args(["role", "password", "postgres"]).env("PGAPPNAME", "waits for a password").stdin(Stdio::piped());
    let is_connected = || {
        let question = "SELECT FROM pg_stat_activity WHERE application_name = 'waits for a password'";
        cluster().execute(question, &[]).unwrap().len() == 1
    };
    end_by("TERM", &mut command, is_connected).with(143);
}
