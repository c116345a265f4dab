//! Whether the statements of a connection are counted. Without the feature `monitor` there is nothing of it.
use crate::error::Error;
#[cfg(feature = "monitor")]
use crate::statistics::Statistics;
use postgres::error::SqlState;
#[cfg(feature = "monitor")]
use std::time::Instant;

/// What counts statements, if somebody wants to know.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counter {
    #[cfg(feature = "monitor")]
    pub(crate) statistics: Option<Statistics>,
}

/// An error that the server may have given a code.
pub(crate) trait Coded {
    #[cfg_attr(not(feature = "monitor"), expect(dead_code, reason = "nobody counts"))]
    fn sqlstate(&self) -> Option<&SqlState>;
}

impl Coded for Error {
    fn sqlstate(&self) -> Option<&SqlState> {
        self.code()
    }
}

impl Coded for postgres::Error {
    fn sqlstate(&self) -> Option<&SqlState> {
        self.code()
    }
}

impl Counter {
    /// Runs a statement, and counts it.
    #[cfg(feature = "monitor")]
    pub(crate) fn run<R, E: Coded>(&self, text: &str, f: impl FnOnce() -> Result<R, E>) -> Result<R, E> {
        let Some(statistics) = &self.statistics else { return f() };
        let started = Instant::now();
        let result = f();
        statistics.count(text, started.elapsed(), result.as_ref().err().map(Coded::sqlstate));
        result
    }

    /// Runs a statement.
    #[cfg(not(feature = "monitor"))]
    pub(crate) fn run<R, E: Coded>(&self, _: &str, f: impl FnOnce() -> Result<R, E>) -> Result<R, E> {
        f()
    }
}
