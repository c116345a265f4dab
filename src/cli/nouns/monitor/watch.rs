//! The same question, again and again.
use super::super::super::context::Context;
use super::super::super::exit::Failure;
use super::super::super::interrupt;
use std::io::{self, IsTerminal};
use std::thread;
use std::time::{Duration, Instant};

/// How soon Ctrl-C is noticed.
const STEP: Duration = Duration::from_millis(50);

/// Puts the cursor into the corner, and removes what is on the screen.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Prints an answer after each pause until somebody presses Ctrl-C, or nobody reads any more. On a terminal each stands in
/// the place of the last. `print` is given what comes before the answer, which it prints when it has the answer.
pub(super) fn every(
    context: &Context,
    pause: Duration,
    print: impl Fn(&str) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let redraws = context.output.is_table() && io::stdout().is_terminal();
    let between = match (redraws, context.output.is_table()) {
        (true, _) => CLEAR,
        (false, true) => "\n",
        (false, false) => "",
    };
    let mut before = if redraws { CLEAR } else { "" };
    loop {
        match print(before) {
            // The question was cancelled.
            Err(_) if interrupt::happened() => return Ok(()),
            result => result?,
        }
        let started = Instant::now();
        while started.elapsed() < pause {
            if interrupt::happened() {
                return Ok(());
            }
            thread::sleep(STEP.min(pause.saturating_sub(started.elapsed())));
        }
        before = between;
    }
}
