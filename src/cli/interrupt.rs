//! Ctrl-C: the running statement is cancelled on the server, and what it was part of is undone as after any error.
use super::exit;
use pgsteward::Canceller;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

static HAPPENED: AtomicBool = AtomicBool::new(false);
static PASSED_ON: AtomicBool = AtomicBool::new(false);
static ASKING: AtomicBool = AtomicBool::new(false);

/// Whether somebody pressed Ctrl-C.
pub(crate) fn happened() -> bool {
    HAPPENED.load(Ordering::Acquire)
}

/// Whether the server was told, too: what is begun from now on is not cancelled, so that it can clear up.
pub(crate) fn is_passed_on() -> bool {
    PASSED_ON.load(Ordering::Acquire)
}

/// From now on Ctrl-C cancels what runs; the second one ends the program.
pub(crate) fn cancels(canceller: Canceller) {
    let handler = move || {
        let again = HAPPENED.swap(true, Ordering::AcqRel);
        if again || ASKING.load(Ordering::Acquire) {
            // Nothing runs that this program has begun, or it does not let itself be cancelled.
            process::exit(exit::INTERRUPTED.into());
        }
        let canceller = canceller.clone();
        // Beside this, so that a server that does not answer does not keep the second Ctrl-C waiting.
        thread::spawn(move || {
            canceller.cancel().unwrap_or_else(|error| log::warn!("{error}"));
            PASSED_ON.store(true, Ordering::Release);
        });
    };
    // Without a handler Ctrl-C ends the program, and the server undoes what was not committed.
    if let Err(error) = ctrlc::set_handler(handler) {
        log::warn!("Ctrl-C cannot be caught: {error}");
    }
}

/// Asks a person something: Ctrl-C meanwhile ends the program.
pub(crate) fn while_asking<R>(f: impl FnOnce() -> R) -> R {
    ASKING.store(true, Ordering::Release);
    let result = f();
    ASKING.store(false, Ordering::Release);
    result
}
