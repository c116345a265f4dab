//! What the library logs, on standard error.
use super::arguments::GlobalArguments;
use super::output;
use log::{Level, LevelFilter, Log, Metadata, Record};

struct Stderr;

static STDERR: Stderr = Stderr;

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // The driver's own messages repeat the statements, with what they hold.
        metadata.target().starts_with("pgsteward")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let word = match record.level() {
                Level::Error | Level::Warn => "warning: ",
                _ => "",
            };
            output::tell(&format!("{word}{}", record.args()));
        }
    }

    fn flush(&self) {}
}

/// Warnings; notices with `-v`, statements with `-vv`.
pub(crate) fn start(global: &GlobalArguments) {
    let level = match (global.quiet, global.verbose) {
        (true, _) => LevelFilter::Error,
        (false, 0) => LevelFilter::Warn,
        (false, 1) => LevelFilter::Info,
        (false, _) => LevelFilter::Debug,
    };
    if log::set_logger(&STDERR).is_ok() {
        log::set_max_level(level);
    }
}
