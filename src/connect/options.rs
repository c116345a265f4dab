//! What a program asks of its connections, besides where they lead.
use crate::error::{Error, Result};
use std::fmt;
use std::time::Duration;

/// How to connect: [`Cluster::connect_with`](crate::Cluster::connect_with).
///
/// The timeouts and settings hold for every connection that is made, also after one was lost, and are what `RESET` and
/// `RESET ALL` go back to
/// ([Statement Behavior](https://www.postgresql.org/docs/current/runtime-config-client.html#RUNTIME-CONFIG-CLIENT-STATEMENT)). The
/// server knows milliseconds; a part of one counts as a whole. None leaves what the server, the database or the role has
/// set, [`Duration::ZERO`] switches it off.
///
/// ```
/// # #[cfg(feature = "testing")] {
/// use pgsteward::{Cluster, ConnectOptions, ConnectionParameters};
/// use std::time::Duration;
///
/// let server = pgsteward::testing::TestServer::start()?;
/// let mut options = ConnectOptions::new();
/// options.lock_timeout = Some(Duration::from_secs(3));
/// options.settings.push(("work_mem".into(), "64MB".into()));
/// let cluster = Cluster::connect_with(ConnectionParameters::parse(&server.dsn())?, options)?;
/// let row = cluster.execute("SELECT current_setting('lock_timeout'), current_setting('work_mem')", &[])?;
/// assert_eq!((row[0].get(0), row[0].get(1)), ("3s", "64MB"));
/// # }
/// # Ok::<(), pgsteward::Error>(())
/// ```
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct ConnectOptions {
    /// The role to become on every connection: `SET ROLE`.
    pub role: Option<String>,
    /// How long a statement may take (`statement_timeout`).
    pub statement_timeout: Option<Duration>,
    /// How long a statement may wait for one lock (`lock_timeout`).
    pub lock_timeout: Option<Duration>,
    /// How long a transaction may be open without a statement (`idle_in_transaction_session_timeout`): the server ends the connection then.
    pub idle_in_transaction_session_timeout: Option<Duration>,
    /// How long a transaction may take (`transaction_timeout`): the server ends the connection then. From PostgreSQL 17 on;
    /// on older servers [`Error::Unsupported`](crate::Error::Unsupported).
    pub transaction_timeout: Option<Duration>,
    /// Other settings of the session, by name, in this order: `("work_mem", "64MB")`.
    pub settings: Vec<(String, String)>,
    /// Whether connecting is tried again; not at all where nothing is said.
    pub retries: Retries,
}

/// How often connecting is tried again when it failed for a reason that may pass by itself: nobody listens, there is no
/// answer in time, a connection that breaks off, the server is starting up or shutting down (SQLSTATE 57P03), it has no connection left
/// (53300), no server of the list is what `target_session_attrs` asks for. A wrong password, an unknown database or a name that
/// is not found fail at once.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Retries {
    /// How many times more, after the first.
    pub attempts: u32,
    /// How long to wait before the first of them; then twice as long each time.
    pub first_wait: Duration,
    /// The longest wait.
    pub longest_wait: Duration,
}

/// The values of settings do not show.
impl fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            role,
            statement_timeout,
            lock_timeout,
            idle_in_transaction_session_timeout,
            transaction_timeout,
            settings,
            retries,
        } = self;
        f.debug_struct("ConnectOptions")
            .field("role", role)
            .field("statement_timeout", statement_timeout)
            .field("lock_timeout", lock_timeout)
            .field("idle_in_transaction_session_timeout", idle_in_transaction_session_timeout)
            .field("transaction_timeout", transaction_timeout)
            .field("settings", &settings.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .field("retries", retries)
            .finish()
    }
}

impl Default for Retries {
    fn default() -> Self {
        Self { attempts: 0, first_wait: Duration::from_millis(100), longest_wait: Duration::from_secs(5) }
    }
}

impl Retries {
    /// So many, with waits of 0.1 seconds to 5 seconds between them.
    pub fn new(attempts: u32) -> Self {
        Self { attempts, ..Self::default() }
    }

    /// How long to wait before a retry, the first of which is number 0.
    pub(super) fn wait(&self, number: u32) -> Duration {
        self.first_wait.saturating_mul(2_u32.saturating_pow(number)).min(self.longest_wait)
    }
}

impl ConnectOptions {
    /// The defaults: no `SET ROLE`, the server's own timeouts and settings, no retries.
    pub fn new() -> Self {
        Self::default()
    }

    /// The settings as the server's command line takes them, behind what is there already: the last one counts.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name or a value that cannot be sent, and a timeout above 24 days.
    pub(super) fn command_line(&self, before: &str) -> Result<String> {
        let mut line = before.to_owned();
        let mut add = |name: &str, value: &str| {
            let space = if line.is_empty() { "" } else { " " };
            line.push_str(&format!("{space}-c {name}={}", escaped(value)));
        };
        for (name, timeout) in [
            ("statement_timeout", self.statement_timeout),
            ("lock_timeout", self.lock_timeout),
            ("idle_in_transaction_session_timeout", self.idle_in_transaction_session_timeout),
            ("transaction_timeout", self.transaction_timeout),
        ] {
            if let Some(timeout) = timeout {
                add(name, &milliseconds(name, timeout)?.to_string());
            }
        }
        for (name, value) in &self.settings {
            if name.is_empty() || !name.chars().all(|c| c.is_alphanumeric() || "_.$".contains(c)) {
                return Err(Error::invalid(format!("setting {name:?}"), "this is no name of a setting"));
            }
            if value.contains('\0') {
                return Err(Error::invalid(format!("value of setting {name}"), "it contains a NUL byte"));
            }
            add(name, value);
        }
        Ok(line)
    }
}

/// Rounded up: none of a positive time is 0, which would switch the timeout off.
fn milliseconds(name: &str, timeout: Duration) -> Result<i32> {
    let rounded = timeout.as_nanos().div_ceil(1_000_000);
    i32::try_from(rounded)
        .map_err(|_| Error::invalid(name, "the server takes 2147483647 milliseconds, 24 days, at most"))
}

/// A word of the server's command line: blanks part words, a backslash takes that from them.
pub(super) fn escaped(value: &str) -> String {
    let mut text = String::new();
    for c in value.chars() {
        if c == '\\' || c.is_ascii_whitespace() || c == '\u{b}' {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_words_of_a_command_line() {
        let mut options = ConnectOptions::new();
        assert_eq!(options.command_line("-c a=b").unwrap(), "-c a=b");
        options.statement_timeout = Some(Duration::from_micros(1));
        options.lock_timeout = Some(Duration::ZERO);
        options.settings.push(("my.x".into(), "a b\\c\n".into()));
        let line = options.command_line("-c a=b").unwrap();
        assert_eq!(line, "-c a=b -c statement_timeout=1 -c lock_timeout=0 -c my.x=a\\ b\\\\c\\\n");
        assert!(!format!("{options:?}").contains("a b"));
        options.transaction_timeout = Some(Duration::MAX);
        assert!(matches!(options.command_line(""), Err(Error::Invalid { .. })));
        options.transaction_timeout = None;
        for name in ["", "a b", "a=b", "a-b"] {
            options.settings = vec![(name.into(), "x".into())];
            assert!(options.command_line("").is_err(), "{name}");
        }
    }

    #[test]
    fn waits_double_up_to_the_longest() {
        let waits: Vec<_> = [0, 1, 5, 6, 4_000_000_000].map(|number| Retries::new(9).wait(number).as_millis()).into();
        assert_eq!(waits, [100, 200, 3200, 5000, 5000]);
    }
}
