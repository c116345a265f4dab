//! How a pool is to behave.
use crate::connect::ConnectOptions;
use crate::counter::Counter;
use crate::error::{Error, Result};
use crate::sql::Sql;
use std::time::Duration;

/// How a [`Pool`](super::Pool) is to behave.
///
/// ```
/// use pgsteward::pool::PoolOptions;
/// use pgsteward::{Ident, sql};
///
/// let mut options = PoolOptions::new();
/// options.maximum = 20;
/// options.session_setup.push(sql!("SET search_path = {}", Ident("app")));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PoolOptions {
    /// How many connections are kept open, also when nobody needs them. 0 by default.
    pub minimum: usize,
    /// How many connections there may be at once. 10 by default. Where the server lets the role or the database have no more
    /// than that, one that takes the place of another may have to wait until the server has let go of that, for a second at
    /// most.
    pub maximum: usize,
    /// How long [`get`](super::Pool::get) waits for a connection when all are in use. 30 seconds by default. To make a new
    /// one may take the `connect_timeout` besides.
    pub wait_timeout: Duration,
    /// After how long without a user a connection is closed, unless the [`minimum`](PoolOptions::minimum) needs it. 10
    /// minutes by default; `None` is never.
    pub idle_timeout: Option<Duration>,
    /// How old a connection may grow before another takes its place: what a server has in the memory of a session, and where a
    /// name led when it was made, does not stay for ever. Each connection has up to a tenth less, so that they do not
    /// all end together. One in use is not ended. 30 minutes by default; `None` is no limit.
    pub lifetime: Option<Duration>,
    /// After how long since its last answer a connection is asked for a sign of life before it is handed out. A
    /// millisecond by default: what comes back and goes out again at once was asked a moment ago. Zero is always.
    pub check_after: Duration,
    /// How many queries each connection keeps prepared, of those without parameters that its users have sent: the last ones.
    /// 30 by default; 0 is none. What that means is said of [`PooledClient`](super::PooledClient).
    pub prepared_statements: usize,
    /// After how long in one user's hands a connection is taken for forgotten: the place where it was taken is logged as a
    /// warning, once. `None`, the default, is never.
    pub leak_warning: Option<Duration>,
    /// Statements that every session begins with: after it was made, and again each time it was made clean. Each is sent as
    /// it is, so what is logged has its text: no secrets. They must not `PREPARE`: what was prepared in SQL is taken off
    /// last.
    ///
    /// What the connection string says in `options` (`options='-c statement_timeout=5s'`) needs no statement: what users set
    /// falls back to it.
    pub session_setup: Vec<Sql>,
    /// How the connections are made. What every session must have belongs here, or into the connection string.
    pub connect: ConnectOptions,
    /// What counts the statements of modules and clusters on this pool. `None`, the default, counts nothing.
    #[cfg(feature = "monitor")]
    pub statistics: Option<crate::monitor::Statistics>,
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self {
            minimum: 0,
            maximum: 10,
            wait_timeout: Duration::from_secs(30),
            idle_timeout: Some(Duration::from_secs(600)),
            lifetime: Some(Duration::from_secs(1800)),
            check_after: Duration::from_millis(1),
            prepared_statements: 30,
            leak_warning: None,
            session_setup: Vec::new(),
            connect: ConnectOptions::new(),
            #[cfg(feature = "monitor")]
            statistics: None,
        }
    }
}

impl PoolOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// What counts statements.
    pub(crate) fn counter(&self) -> Counter {
        #[cfg(feature = "monitor")]
        return Counter { statistics: self.statistics.clone() };
        #[cfg(not(feature = "monitor"))]
        return Counter::default();
    }

    pub(super) fn check(&self) -> Result<()> {
        let refuse = |why: &str| Err(Error::invalid("options of a pool", why));
        if self.maximum == 0 {
            return refuse("with a maximum of 0 nobody would ever get a connection");
        }
        if self.minimum > self.maximum {
            return refuse("the minimum is greater than the maximum");
        }
        if self.minimum > 0 && self.lifetime.is_some_and(|limit| limit.is_zero()) {
            return refuse("with a lifetime of 0 a minimum would be made anew without end");
        }
        if self.session_setup.iter().any(Sql::is_secret) {
            return refuse("a secret in session_setup would be in the logs; connection parameters are not");
        }
        self.session_setup.iter().try_for_each(Sql::check)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::Secret;

    #[test]
    fn options_that_contradict_each_other_are_refused() {
        assert!(PoolOptions::new().check().is_ok());
        let with = |change: fn(&mut PoolOptions)| {
            let mut options = PoolOptions::new();
            change(&mut options);
            options.check().unwrap_err().to_string()
        };
        assert!(with(|options| options.maximum = 0).contains("nobody"));
        assert!(with(|options| options.minimum = 11).contains("greater"));
        assert!(
            with(|options| (options.minimum, options.lifetime) = (1, Some(Duration::ZERO))).contains("without end")
        );
        assert!(with(|options| options.session_setup.push(sql!("SET x = {}", Secret("p")))).contains("secret"));
        assert!(with(|options| options.session_setup.push(Sql::trusted("SET x = '\0'"))).contains("invalid"));
    }
}
