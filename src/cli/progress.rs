//! How far long work is: one line on standard error, rewritten as it goes. Only a terminal sees it, and never with `--quiet`.
use super::context::Context;
use super::output::on_one_line;
use super::units::readable;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// The line. It is taken away when this is dropped.
pub(crate) struct Progress {
    line: ProgressBar,
}

impl Progress {
    /// A bar for work of so many steps. For work that nobody knows the end of, the time that it has taken.
    pub(crate) fn new(context: &Context, steps: Option<u64>) -> Self {
        let target = match context.output.is_quiet() {
            true => ProgressDrawTarget::hidden(),
            // Hidden where it is no terminal.
            false => ProgressDrawTarget::stderr(),
        };
        let template = match steps {
            Some(_) => "{bar:30} {pos}/{len} {elapsed} {wide_msg}",
            None => "{elapsed} {wide_msg}",
        };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        Self { line: ProgressBar::with_draw_target(steps, target).with_style(style) }
    }

    /// How many steps are done, or how many bytes where nobody knows the end, and what it is at.
    pub(crate) fn at(&self, done: u64, what: &str) {
        let bytes = if self.line.length().is_none() && done > 0 { readable(done) + " " } else { String::new() };
        self.line.set_message(bytes + &on_one_line(what));
        self.line.set_position(done);
    }

    /// Runs what writes to standard error by itself, with the line out of its way.
    pub(crate) fn aside<R>(&self, write: impl FnOnce() -> R) -> R {
        self.line.suspend(write)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.line.finish_and_clear();
    }
}
