//! Which statements a program runs, how long they take, and how they fail.
mod facade;
mod histogram;

pub use histogram::Histogram;

use crate::counter::Coded;
use histogram::Counts;
use jiff::Timestamp;
use postgres::error::SqlState;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How much of a statement's text is kept, in characters.
const LONGEST: usize = 2000;

/// What [`Statistics`] are to keep.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StatisticsOptions {
    /// From which duration on a statement is slow, and its text is kept. One second by default; zero is all statements,
    /// `None` is none.
    pub slow: Option<Duration>,
    /// How many slow statements are kept: the latest. 100 by default.
    pub slow_kept: usize,
    /// The label `name` under which each statement is also told to the [`metrics`](https://docs.rs/metrics) facade, as
    /// [`Statistics`] says. `None`, the default, tells it nothing.
    pub facade: Option<String>,
}

impl Default for StatisticsOptions {
    fn default() -> Self {
        Self { slow: Some(Duration::from_secs(1)), slow_kept: 100, facade: None }
    }
}

impl StatisticsOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }
}

/// The figures of the statements that a program runs. Clones are handles on the same figures.
///
/// With the feature `pool`, give them to a pool (`PoolOptions::statistics`). Then every statement of its modules is counted, in transactions too,
/// with what begins and ends those, each execution of `execute_many`, and `COPY`; and what a cluster of the pool runs by
/// `execute` and `run`. What goes through the driver's client itself nobody sees: [`measure`](Statistics::measure) it. What
/// the pool does by itself, and asking for the figures, is not counted. A statement's time begins when it has its connection.
///
/// ```
/// # #[cfg(all(feature = "testing", feature = "pool"))] {
/// # let server = pgsteward::testing::TestServer::start()?;
/// use pgsteward::module::Module;
/// use pgsteward::monitor::{Statistics, StatisticsOptions};
/// use pgsteward::pool::{Pool, PoolOptions};
///
/// let statistics = Statistics::new(StatisticsOptions::new());
/// let mut options = PoolOptions::new();
/// options.statistics = Some(statistics.clone());
/// let users = Module::alone(&Pool::connect(&server.dsn(), options)?)?;
/// users.query("SELECT 1", &[])?;
/// assert!(users.query("SELECT 1/$1::int", &[&0]).is_err());
///
/// let report = statistics.report();
/// assert_eq!((report.statements, report.errors), (2, 1));
/// assert_eq!(report.errors_by_sqlstate["22012"], 1);
/// # }
/// # Ok::<(), pgsteward::Error>(())
/// ```
///
/// # The facade
///
/// With [`StatisticsOptions::facade`], each statement adds to `pgsteward_statements_total`, `pgsteward_statement_seconds` (a
/// histogram), and, where it applies, `pgsteward_slow_statements_total` and `pgsteward_statement_errors_total` with the label
/// `sqlstate`. With the feature `pool`, `PoolMetrics::publish` sets the figures of a pool.
#[derive(Clone)]
pub struct Statistics {
    inner: Arc<Inner>,
}

struct Inner {
    options: StatisticsOptions,
    counts: Counts,
    kept: Mutex<Kept>,
}

/// What is rare.
#[derive(Clone, Default)]
struct Kept {
    errors_by_sqlstate: BTreeMap<String, u64>,
    slow: u64,
    slow_statements: VecDeque<SlowStatement>,
}

/// A statement that took long.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlowStatement {
    /// Its text as it was sent, up to 2,000 characters: with `$1` for parameters, whose values are not kept.
    pub statement: String,
    /// How long it took.
    pub duration: Duration,
    /// When it ended.
    pub ended: Timestamp,
    /// Whether it failed: the SQLSTATE, or nothing where the server gave none.
    pub error: Option<String>,
}

/// The figures at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StatisticsReport {
    /// How many statements were run, well or not.
    pub statements: u64,
    /// How many of them failed.
    pub errors: u64,
    /// How many, by SQLSTATE; those without one (a lost connection, a parameter of the wrong type) under the empty one.
    pub errors_by_sqlstate: BTreeMap<String, u64>,
    /// How many were slow.
    pub slow: u64,
    /// The slow ones that were kept, the latest last.
    pub slow_statements: Vec<SlowStatement>,
    /// How long all took together.
    pub total: Duration,
    /// How long the longest took.
    pub longest: Duration,
    /// How many took how long.
    pub histogram: Histogram,
}

impl Statistics {
    /// Figures that begin with nothing.
    pub fn new(options: StatisticsOptions) -> Self {
        let inner = Inner { options, counts: Counts::default(), kept: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    /// Runs a closure that runs a statement with the driver's client, and counts it under its text.
    ///
    /// ```no_run
    /// # fn example(statistics: &pgsteward::monitor::Statistics, client: &mut postgres::Client) -> Result<(), postgres::Error> {
    /// let sql = "SELECT name FROM users WHERE id = $1";
    /// let rows = statistics.measure(sql, || client.query(sql, &[&7]))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of the closure.
    pub fn measure<R>(
        &self,
        statement: &str,
        f: impl FnOnce() -> Result<R, postgres::Error>,
    ) -> Result<R, postgres::Error> {
        let started = Instant::now();
        let result = f();
        self.count(statement, started.elapsed(), result.as_ref().err().map(Coded::sqlstate));
        result
    }

    /// The figures of this moment. Sends nothing.
    pub fn report(&self) -> StatisticsReport {
        let Inner { options: _, counts, kept } = &*self.inner;
        let Kept { errors_by_sqlstate, slow, slow_statements } = lock(kept).clone();
        // Read last, as it is counted first: no more have failed than were run.
        let histogram = counts.histogram();
        StatisticsReport {
            statements: histogram.count(),
            errors: errors_by_sqlstate.values().sum(),
            errors_by_sqlstate,
            slow,
            slow_statements: slow_statements.into(),
            total: counts.total(),
            longest: counts.longest(),
            histogram,
        }
    }

    /// Counts a statement that has ended; `error` is that of one that has failed, with its code if it has one.
    pub(crate) fn count(&self, statement: &str, duration: Duration, error: Option<Option<&SqlState>>) {
        let Inner { options, counts, kept } = &*self.inner;
        let sqlstate = error.map(|code| code.map_or("", SqlState::code));
        let is_slow = options.slow.is_some_and(|slow| duration >= slow);
        counts.add(duration);
        if let Some(sqlstate) = sqlstate {
            *lock(kept).errors_by_sqlstate.entry(sqlstate.to_owned()).or_default() += 1;
        }
        if is_slow {
            lock(kept).keep(options.slow_kept, || SlowStatement {
                statement: statement.chars().take(LONGEST).collect(),
                duration,
                ended: Timestamp::now(),
                error: sqlstate.map(str::to_owned),
            });
        }
        if let Some(name) = &options.facade {
            facade::tell(name, duration, is_slow, sqlstate);
        }
    }
}

impl Kept {
    fn keep(&mut self, most: usize, statement: impl FnOnce() -> SlowStatement) {
        self.slow += 1;
        if most == 0 {
            return;
        }
        while self.slow_statements.len() >= most {
            self.slow_statements.pop_front();
        }
        self.slow_statements.push_back(statement());
    }
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Statistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Statistics").field("statements", &self.inner.counts.histogram().count()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    fn with(change: impl FnOnce(&mut StatisticsOptions)) -> Statistics {
        let mut options = StatisticsOptions::new();
        change(&mut options);
        Statistics::new(options)
    }

    #[test]
    fn a_threshold_of_zero_is_all_statements_and_none_is_none() {
        for (slow, number) in [(Some(Duration::ZERO), 3), (Some(MILLISECOND), 2), (None, 0)] {
            let statistics = with(|options| options.slow = slow);
            for duration in [Duration::ZERO, MILLISECOND, MILLISECOND * 2] {
                statistics.count("SELECT 1", duration, None);
            }
            let report = statistics.report();
            assert_eq!((report.slow, report.slow_statements.len()), (number, usize::try_from(number).unwrap()));
            assert_eq!((report.statements, report.total, report.longest), (3, MILLISECOND * 3, MILLISECOND * 2));
        }
    }

    #[test]
    fn the_latest_slow_statements_are_kept_cut_to_their_bound() {
        let statistics = with(|options| (options.slow, options.slow_kept) = (Some(Duration::ZERO), 2));
        for text in ["a", "b", &"é".repeat(3000)] {
            statistics.count(text, MILLISECOND, None);
        }
        let report = statistics.report();
        let texts: Vec<_> = report.slow_statements.iter().map(|slow| slow.statement.clone()).collect();
        assert_eq!((texts, report.slow), (vec!["b".to_owned(), "é".repeat(2000)], 3));
        let none = with(|options| (options.slow, options.slow_kept) = (Some(Duration::ZERO), 0));
        none.count("a", MILLISECOND, None);
        assert_eq!((none.report().slow, none.report().slow_statements.len()), (1, 0));
    }

    #[test]
    fn errors_are_counted_by_their_codes() {
        let statistics = with(|options| options.slow = Some(MILLISECOND));
        statistics.count("a", MILLISECOND, Some(Some(&SqlState::UNIQUE_VIOLATION)));
        statistics.count("b", MILLISECOND / 2, Some(Some(&SqlState::UNIQUE_VIOLATION)));
        statistics.count("c", MILLISECOND, Some(None));
        statistics.clone().count("d", MILLISECOND, None);
        let report = statistics.report();
        assert_eq!((report.statements, report.errors), (4, 3));
        assert_eq!(report.errors_by_sqlstate, BTreeMap::from([("23505".into(), 2), (String::new(), 1)]));
        let errors: Vec<_> = report.slow_statements.iter().map(|slow| slow.error.as_deref()).collect();
        assert_eq!(errors, [Some("23505"), Some(""), None]);
    }

    #[test]
    fn the_figures_of_a_report_fit_together_whoever_counts_meanwhile() {
        let statistics = with(|options| (options.slow, options.slow_kept) = (Some(Duration::ZERO), 0));
        std::thread::scope(|scope| {
            let counting = [(); 2]
                .map(|()| scope.spawn(|| (0..100_000).for_each(|_| statistics.count("a", MILLISECOND, Some(None)))));
            while !counting.iter().all(|thread| thread.is_finished()) {
                let report = statistics.report();
                assert!(report.statements >= report.errors && report.statements >= report.slow, "{report:?}");
                assert_eq!(report.errors, report.errors_by_sqlstate.values().sum::<u64>());
            }
        });
        let report = statistics.report();
        assert_eq!((report.statements, report.errors, report.slow), (200_000, 200_000, 200_000));
    }
}
