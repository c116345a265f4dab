//! The question before something is dropped.
use crate::support::{answer, cluster, program, run, server, unique};
use pgsteward::Database;
use std::process::Command;

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

/// Whether there is what [`in_a_terminal`] takes.
pub fn has_terminals() -> bool {
    let there = Command::new("script").arg("--version").output().is_ok();
    if !there {
        println!("SKIPPED: there is no program `script` that makes a terminal");
    }
    there
}

/// `script` of util-linux runs a command in a pseudo-terminal, and types what is on its standard input.
pub fn in_a_terminal(arguments: &[&str], typed: &str) -> (i32, String) {
    let quoted: Vec<_> = arguments.iter().map(|argument| format!("'{argument}'")).collect();
    let line = format!("'{}' {}", env!("CARGO_BIN_EXE_pgsteward"), quoted.join(" "));
    let mut command = Command::new("script");
    command.args(["-qec", &line, "/dev/null"]);
    for (name, value) in program(server()).get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let ended = crate::support::end(&mut command, typed);
    (ended.code, ended.stdout)
}

#[test]
fn p077_the_answer_comes_from_a_terminal() {
    if !has_terminals() {
        return;
    }
    let name = made();
    let (code, seen) = in_a_terminal(&["db", "drop", &name], "no\n");
    assert_eq!(code, 6, "{seen}");
    assert!(seen.contains("[y/N]") && exists(&name), "{seen}");
    // Ctrl-D is the end of input.
    let (code, seen) = in_a_terminal(&["db", "drop", &name], "\u{4}");
    assert_eq!(code, 6, "{seen}");
    assert!(exists(&name));
    let (code, seen) = in_a_terminal(&["db", "drop", &name], "yes\n");
    assert_eq!(code, 0, "{seen}");
    assert!(!exists(&name));
}
