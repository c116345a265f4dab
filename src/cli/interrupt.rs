//! Ctrl-C, SIGTERM and SIGHUP: the running statement is cancelled on the server, and what it was part of is undone as
//! after any error.
use super::exit;
use pgsteward::Canceller;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::fs::{self, File};
use std::io;
use std::process::{self, Command};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::thread;
use std::time::Duration;

/// The first signal that came, 0 if none did.
static SIGNAL: AtomicI32 = AtomicI32::new(0);
static PASSED_ON: AtomicBool = AtomicBool::new(false);
static ASKING: AtomicBool = AtomicBool::new(false);
static HIDING: AtomicBool = AtomicBool::new(false);
/// How the server is told, once there is a connection.
static CANCELLER: OnceLock<Canceller> = OnceLock::new();

/// Whether a signal came that is to end the program.
pub(crate) fn happened() -> bool {
    exit_code().is_some()
}

/// The exit code that a shell has for the signal that came; none if none did.
pub(crate) fn exit_code() -> Option<u8> {
    match SIGNAL.load(Ordering::SeqCst) {
        0 => None,
        signal => u8::try_from(128 + signal).ok(),
    }
}

/// Whether the server was told, too: what is begun from now on is not cancelled, so that it can clear up.
pub(crate) fn is_passed_on() -> bool {
    PASSED_ON.load(Ordering::SeqCst)
}

/// From now on a signal ends the program with its exit code.
pub(crate) fn catch() {
    let mut caught = vec![SIGINT, SIGTERM];
    if !hangup_is_ignored() {
        caught.push(SIGHUP);
    }
    match Signals::new(caught) {
        Ok(mut signals) => {
            thread::spawn(move || signals.forever().for_each(arrived));
        }
        // Then a signal ends the program, and the server undoes what was not committed.
        Err(error) => log::warn!("signals cannot be caught: {error}"),
    }
}

/// From now on a signal cancels what runs; Ctrl-C after that ends the program.
pub(crate) fn cancels(canceller: Canceller) {
    // It is called once.
    let _ = CANCELLER.set(canceller);
}

fn arrived(signal: i32) {
    let is_first = SIGNAL.compare_exchange(0, signal, Ordering::SeqCst, Ordering::SeqCst).is_ok();
    // The others come twice where one was meant: when a terminal is closed, its shell and the system send SIGHUP, and
    // `timeout` sends SIGTERM to the program and to its group.
    let is_insisted_on = !is_first && signal == SIGINT;
    let canceller = CANCELLER.get().filter(|_| !is_insisted_on && !ASKING.load(Ordering::SeqCst));
    // Nothing runs that this program has begun, or it does not let itself be cancelled.
    let Some(canceller) = canceller else { end() };
    if is_first {
        // Beside this, so that a server that does not answer does not keep the second Ctrl-C waiting.
        thread::spawn(move || {
            canceller.cancel().unwrap_or_else(|error| log::warn!("{error}"));
            PASSED_ON.store(true, Ordering::SeqCst);
        });
    }
}

/// Ends the program, whatever it is at.
fn end() -> ! {
    if HIDING.load(Ordering::SeqCst) {
        show_what_is_typed();
    }
    process::exit(exit_code().unwrap_or(exit::FAILED).into())
}

/// Has the terminal be again as it was before a password was asked for: who asked would do it, and does not come to it.
fn show_what_is_typed() {
    if let Ok(terminal) = File::open("/dev/tty") {
        let _ = Command::new("stty").args(["echo", "icanon", "isig"]).stdin(terminal).status();
    }
}

/// Whether the program was started to outlive its terminal, as by `nohup`: it is to stay so.
fn hangup_is_ignored() -> bool {
    match fs::read_to_string("/proc/self/status") {
        Ok(status) => ignores(&status, SIGHUP),
        // There is no such file but in Linux. A shell inherits what is ignored, and outlives the signal then.
        Err(_) => Command::new("/bin/sh").args(["-c", "kill -s HUP $$"]).status().is_ok_and(|ended| ended.success()),
    }
}

/// Whether a process with this status, as Linux tells it, ignores a signal.
fn ignores(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal - 1) & 1 == 1
}

/// Asks a person something: a signal meanwhile ends the program.
pub(crate) fn while_asking<R>(f: impl FnOnce() -> R) -> R {
    ASKING.store(true, Ordering::SeqCst);
    // One that came just before was not known to end it.
    if happened() {
        end();
    }
    let result = f();
    ASKING.store(false, Ordering::SeqCst);
    result
}

/// The same for what the terminal does not show.
pub(crate) fn while_asking_for_a_secret(f: impl FnOnce() -> io::Result<String>) -> io::Result<String> {
    while_asking(|| {
        HIDING.store(true, Ordering::SeqCst);
        let result = f();
        if result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::Interrupted) {
            // That was Ctrl-C, and the signal that comes of it ends the program.
            thread::sleep(Duration::from_secs(1));
        }
        HIDING.store(false, Ordering::SeqCst);
        result
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_tells_of_a_process_says_which_signals_it_ignores() {
        let ignored = |status| [SIGHUP, SIGINT, SIGTERM].map(|signal| ignores(status, signal));
        assert_eq!(
            ignored("SigBlk:\tffffffffffffffff\nSigIgn:\t0000000000000001\nSigCgt:\tffff\n"),
            [true, false, false]
        );
        assert_eq!(ignored("SigIgn:\t0000000000004002\n"), [false, true, true]);
        assert_eq!(ignored("Name:\tpgsteward\n"), [false; 3]);
    }
}
