//! Connection parameters: where a connection leads, and how.
use super::conninfo::{self, Parameters};
use super::surroundings::{complete, variable};
use super::tls_parameters::{TlsParameters, text};
use super::{Reached, hosts, keywords, target_session};
use crate::error::{Error, Result};
use postgres::Config;
use postgres::config::{ChannelBinding, Host, LoadBalanceHosts, SslMode, SslNegotiation, TargetSessionAttrs};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What leads to a server: libpq's
/// [connection parameters](https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS). Which of them
/// there are, and what comes of each, is in [the page on connecting](https://docs.rs/crate/pgsteward/latest/source/docs/connecting.md).
///
/// Printed, they are key=value pairs in which passwords show as `********`, in whatever form they were given.
///
/// ```
/// use pgsteward::ConnectionParameters;
///
/// let mut parameters = ConnectionParameters::parse("postgresql://app:geheim@db.example.com/shop?sslmode=require")?;
/// parameters.set("connect_timeout", "5")?;
/// assert_eq!(parameters.get("host"), Some("db.example.com"));
/// assert!(!format!("{parameters} {parameters:?}").contains("geheim"));
/// # Ok::<(), pgsteward::Error>(())
/// ```
///
/// A driver's [`Config`] is another way to say them. It takes nothing from files and the environment.
#[derive(Clone)]
pub struct ConnectionParameters {
    values: Parameters,
    /// Where the files are that count when none was named. None of a driver's configuration.
    home: Option<PathBuf>,
    /// `connect_timeout`, where a driver's configuration says it in parts of seconds.
    timeout: Option<Duration>,
    /// Why a driver's configuration cannot be used, by the keyword that would have to be set.
    refused: Vec<(&'static str, Error)>,
}

impl ConnectionParameters {
    /// Reads a conninfo string (`host=db user=postgres`, `service=prod`) or a URL (`postgresql://postgres@db`) as libpq
    /// does. What it does not say comes from the
    /// [service file](https://www.postgresql.org/docs/current/libpq-pgservice.html), and what that does not say from the
    /// [environment](https://www.postgresql.org/docs/current/libpq-envars.html) (`PGHOST`, ...). The
    /// [password file](https://www.postgresql.org/docs/current/libpq-pgpass.html) is looked into when a connection is made.
    ///
    /// # Errors
    /// [`Error::Invalid`] for text that cannot be read, which is not repeated, for unknown keywords, and for values that
    /// libpq refuses; [`Error::NotFound`] for an unknown service; [`Error::Io`] for a service file that cannot be read;
    /// [`Error::Unsupported`] for what libpq can do and this cannot.
    pub fn parse(text: &str) -> Result<Self> {
        Self::parse_with(text, &[])
    }

    /// As [`parse`](ConnectionParameters::parse), with parameters that count before those of the text, as the options of a
    /// command line do. `service` may be among them. All are looked at together, so that their order does not matter.
    ///
    /// ```
    /// use pgsteward::ConnectionParameters;
    ///
    /// let over = [("host", "db1,db2"), ("port", "7,8")];
    /// let parameters = ConnectionParameters::parse_with("postgresql://app@db/shop", &over)?;
    /// assert_eq!((parameters.get("host"), parameters.get("dbname")), (Some("db1,db2"), Some("shop")));
    /// # Ok::<(), pgsteward::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`parse`](ConnectionParameters::parse).
    pub fn parse_with(text: &str, over: &[(&str, &str)]) -> Result<Self> {
        Self::read(text, over, &variable)
    }

    pub(super) fn read(text: &str, over: &[(&str, &str)], variable: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let mut given = conninfo::parse(text)?;
        for (keyword, value) in over {
            known(keyword)?;
            given.insert((*keyword).to_owned(), (*value).to_owned());
        }
        let (values, home) = (complete(given, variable)?, variable("HOME").map(PathBuf::from));
        let parameters = Self { values, home, timeout: None, refused: Vec::new() };
        parameters.check()?;
        Ok(parameters)
    }

    /// The value of a parameter; none if neither text nor service nor environment says it. One that is empty counts as the
    /// default.
    pub fn get(&self, keyword: &str) -> Option<&str> {
        self.values.get(keyword).map(String::as_str)
    }

    /// Sets a parameter, over what there was. `service` has had its effect in [`parse`](ConnectionParameters::parse), and
    /// cannot be set. What comes of it has to fit together after each: for lists of hosts and ports, say, `port` is set to
    /// nothing before `host`; or [`parse_with`](ConnectionParameters::parse_with) is given all.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a keyword that is not libpq's, and for a value that libpq refuses; [`Error::Unsupported`] for what
    /// libpq can do and this cannot. Nothing was set then.
    pub fn set(&mut self, keyword: &str, value: &str) -> Result<()> {
        known(keyword)?;
        if keyword == "service" {
            let why = "it counts in ConnectionParameters::parse and parse_with alone";
            return Err(Error::invalid("connection parameter \"service\"", why));
        }
        let mut changed = self.clone();
        changed.values.insert(keyword.into(), value.into());
        if keyword == "connect_timeout" {
            changed.timeout = None;
        }
        changed.refused.retain(|(refused, _)| *refused != keyword);
        changed.check()?;
        *self = changed;
        Ok(())
    }

    /// The same parameters for another database.
    pub(crate) fn to_database(&self, name: &str) -> Self {
        let mut there = self.clone();
        there.values.insert("dbname".into(), name.into());
        there
    }

    /// The same parameters for one server of the list. A socket's directory is named, also where it was the default: client
    /// programs may have been built with another one.
    pub(crate) fn only(&self, reached: &Reached) -> Self {
        let mut there = self.clone();
        let address = reached.config.get_hostaddrs().first().map(ToString::to_string).unwrap_or_default();
        let socket = reached.config.get_hosts().iter().find_map(|host| match host {
            #[cfg(unix)]
            Host::Unix(path) => path.to_str(),
            Host::Tcp(_) => None,
        });
        there.give("host", socket.unwrap_or(&reached.host));
        there.give("hostaddr", address);
        there.give("port", reached.config.get_ports().first().copied().unwrap_or(5432));
        there
    }

    /// What can be said of them without looking at files.
    fn check(&self) -> Result<()> {
        if let Some((keyword, _)) = self.values.iter().find(|(_, value)| value.contains('\0')) {
            return Err(Error::invalid(format!("connection parameter {keyword}"), "it contains a NUL byte"));
        }
        keywords::check(&self.values)?;
        hosts::places(&self.values)?;
        hosts::order(&self.values)?;
        target_session::wanted(&self.values)?;
        self.tls_of_socket()?;
        super::driver::check(self)
    }

    /// What they say about TLS for a Unix socket: nothing, whatever the mode and the files are.
    pub(super) fn tls_of_socket(&self) -> Result<TlsParameters> {
        TlsParameters::of(&self.values, Some(Path::new("")), &|_| true).map(|tls| tls.without())
    }

    /// What they say about TLS, as the files are now.
    pub(crate) fn tls(&self) -> Result<TlsParameters> {
        TlsParameters::of(&self.values, self.home.as_deref(), &|path| path.exists())
    }

    pub(crate) fn values(&self) -> &Parameters {
        &self.values
    }

    pub(super) fn home(&self) -> Option<&Path> {
        self.home.as_deref()
    }

    /// `connect_timeout`, which is more than nothing where it is given.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        let seconds = || text(&self.values, "connect_timeout").and_then(hosts::number);
        let given = || seconds().and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
        self.timeout.or_else(given).filter(|timeout| !timeout.is_zero())
    }

    /// # Errors
    /// Why a driver's configuration cannot be used.
    pub(super) fn usable(&self) -> Result<&Self> {
        self.refused.first().map_or(Ok(self), |(_, error)| Err(error.clone()))
    }
}

impl fmt::Display for ConnectionParameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // In a URL, a password with a / or an @ that were not written %2F, %40 ends up here.
        let misread = self
            .values
            .get("port")
            .is_some_and(|port| port.split(',').any(|port| !port.is_empty() && hosts::number(port).is_none()));
        let shown = |(name, value): (&String, &String)| {
            let secret = match name.as_str() {
                "host" => value.split(',').any(hosts::has_stray_at),
                "port" | "dbname" => misread,
                name => keywords::is_secret(name),
            };
            let hidden = secret && !value.is_empty();
            (name.clone(), if hidden { "********".to_owned() } else { value.clone() })
        };
        f.write_str(&conninfo::print(&self.values.iter().map(shown).collect()))
    }
}

impl fmt::Debug for ConnectionParameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnectionParameters({self})")
    }
}

impl std::str::FromStr for ConnectionParameters {
    type Err = Error;

    /// As [`ConnectionParameters::parse`].
    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

/// All that a driver's configuration says; what it does not say is not taken from files or the environment, and its notice
/// callback is not kept. A password or a path that is not UTF-8, or a path with a comma in it, is refused when connecting.
impl From<Config> for ConnectionParameters {
    fn from(config: Config) -> Self {
        let timeout = config.get_connect_timeout().copied();
        let mut parameters = Self { values: Parameters::new(), home: None, timeout, refused: Vec::new() };
        parameters.take_place(&config);
        parameters.take_password(&config);
        parameters.take_rest(&config);
        parameters
    }
}

impl ConnectionParameters {
    fn give(&mut self, keyword: &str, value: impl ToString) {
        self.values.insert(keyword.into(), value.to_string());
    }

    fn take_place(&mut self, config: &Config) {
        match host_list(config) {
            Ok(hosts) => self.give("host", hosts),
            Err(error) => self.refused.push(("host", error)),
        }
        let list = |values: Vec<String>| values.join(",");
        self.give("hostaddr", list(config.get_hostaddrs().iter().map(ToString::to_string).collect()));
        self.give("port", list(config.get_ports().iter().map(ToString::to_string).collect()));
    }

    fn take_password(&mut self, config: &Config) {
        match config.get_password().map(std::str::from_utf8) {
            None => {}
            Some(Ok(password)) => self.give("password", password),
            Some(Err(_)) => self.refused.push(("password", Error::invalid("password", "it is not UTF-8"))),
        }
    }

    fn take_rest(&mut self, config: &Config) {
        let texts = [
            ("user", config.get_user()),
            ("dbname", config.get_dbname()),
            ("options", config.get_options()),
            ("application_name", config.get_application_name()),
        ];
        for (keyword, value) in texts {
            if let Some(value) = value {
                self.give(keyword, value);
            }
        }
        if let Some(timeout) = config.get_tcp_user_timeout() {
            self.give("tcp_user_timeout", timeout.as_millis());
        }
        self.give("keepalives", u8::from(config.get_keepalives()));
        self.give("keepalives_idle", config.get_keepalives_idle().as_secs());
        if let Some(interval) = config.get_keepalives_interval() {
            self.give("keepalives_interval", interval.as_secs());
        }
        if let Some(count) = config.get_keepalives_retries() {
            self.give("keepalives_count", count);
        }
        self.give(
            "sslmode",
            match config.get_ssl_mode() {
                SslMode::Disable => "disable",
                SslMode::Prefer => "prefer",
                // A mode that is not known yet is no weaker one.
                _ => "require",
            },
        );
        if config.get_ssl_negotiation() == SslNegotiation::Direct {
            self.give("sslnegotiation", "direct");
        }
        self.give(
            "channel_binding",
            match config.get_channel_binding() {
                ChannelBinding::Disable => "disable",
                ChannelBinding::Prefer => "prefer",
                _ => "require",
            },
        );
        self.give(
            "target_session_attrs",
            match config.get_target_session_attrs() {
                TargetSessionAttrs::ReadWrite => "read-write",
                TargetSessionAttrs::ReadOnly => "read-only",
                _ => "any",
            },
        );
        if config.get_load_balance_hosts() == LoadBalanceHosts::Random {
            self.give("load_balance_hosts", "random");
        }
    }
}

fn host_list(config: &Config) -> Result<String> {
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        let why = "they name no host: host=..., or a directory of a Unix socket";
        return Err(Error::invalid("connection parameters", why));
    }
    let mut hosts = Vec::new();
    for host in config.get_hosts() {
        let name = match host {
            Host::Tcp(name) => Some(name.as_str()),
            #[cfg(unix)]
            Host::Unix(path) => path.to_str(),
        };
        let listed = name.filter(|name| !name.contains(','));
        hosts.push(listed.ok_or_else(|| Error::invalid("host", "it is not UTF-8, or contains a comma"))?);
    }
    Ok(hosts.join(","))
}

/// # Errors
/// [`Error::Invalid`] for what is none of libpq's keywords.
fn known(keyword: &str) -> Result<()> {
    match keywords::find(keyword) {
        Some(_) => Ok(()),
        None => Err(Error::invalid(format!("connection parameter {keyword:?}"), "libpq has no such one")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ConnectionParameters> {
        ConnectionParameters::read(text, &[], &|_| None)
    }

    #[test]
    fn p101_no_printed_form_has_a_password() {
        for text in [
            "postgresql://app:geh%40eim@db/shop",
            "postgresql://db/shop?user=app&password=geheim",
            "postgresql://app:geheim@a,b:7/shop?sslpassword=geheim",
            r"host=db password='geh@eim \'x' sslpassword=geheim oauth_client_secret=geheim",
        ] {
            let parameters = read(text).unwrap();
            for printed in [parameters.to_string(), format!("{parameters:?}"), format!("{parameters:#?}")] {
                assert!(!printed.contains("eim") && printed.contains("password='********'"), "{printed}");
            }
        }
        // Nor what is left of one in a URL that does not say %40 and %2F.
        for text in [
            "postgresql://app:x@geheim@db/shop",
            "postgresql://app:x@a,geheim@db/shop",
            "postgresql://app:geh/eim@db/shop",
            "postgresql://app:geh/eim@db/geheim",
        ] {
            let printed = read(text).unwrap().to_string();
            assert!(!printed.contains("eim") && printed.contains("********"), "{printed}");
        }
        let printed = read("host=/run/a@b,db port=5432,+1 dbname=a@b").unwrap().to_string();
        assert_eq!(printed, "dbname='a@b' host='/run/a@b,db' port='5432,+1'");
        // What is wrong is not repeated either.
        for text in [
            "postgresql://app:geheim@x@db/shop?sslmode=geheim",
            "password=my geheim=x",
            "password=my geheim",
            "postgresql://app:geh/eim@db/shop?x",
            "host=db connect_timeout=geheim",
            "host=db ssl_min_protocol_version=geheim",
        ] {
            let error = format!("{:#?}", read(text).unwrap_err());
            assert!(!error.contains("eim"), "{error}");
        }
        let config: Config = "host=db password=geheim".parse().unwrap();
        assert!(!format!("{:?}", ConnectionParameters::from(config)).contains("geheim"));
    }

    #[test]
    fn what_is_set_counts_and_what_is_refused_is_not_set() {
        let mut parameters = read("host=db sslmode=require").unwrap();
        parameters.set("host", "other").unwrap();
        assert_eq!(parameters.get("host"), Some("other"));
        assert_eq!(parameters.get("port"), None);
        for (keyword, value) in
            [("sslmode", "no"), ("hots", "x"), ("service", "x"), ("port", "1,2"), ("user", "\0"), ("keepalives", "no")]
        {
            let error = parameters.set(keyword, value).unwrap_err();
            assert!(matches!(error, Error::Invalid { .. }), "{error}");
        }
        assert!(matches!(parameters.set("require_auth", "md5"), Err(Error::Unsupported { .. })));
        assert_eq!(parameters.to_string(), "host='other' sslmode='require'");
    }

    #[test]
    fn a_drivers_configuration_says_the_same() {
        let mut config: Config =
            "host=/run,b hostaddr=127.0.0.1,::1 port=1,2 user='o x' password='p q' options='-c a=b' \
            sslmode=require target_session_attrs=read-write dbname=d load_balance_hosts=random"
                .parse()
                .unwrap();
        config.connect_timeout(Duration::from_millis(300)).tcp_user_timeout(Duration::from_millis(1500));
        let parameters = ConnectionParameters::from(config);
        assert_eq!(parameters.timeout(), Some(Duration::from_millis(300)));
        let expected = "channel_binding='prefer' dbname='d' host='/run,b' hostaddr='127.0.0.1,::1' keepalives='1' \
            keepalives_idle='7200' load_balance_hosts='random' options='-c a=b' password='********' port='1,2' \
            sslmode='require' target_session_attrs='read-write' tcp_user_timeout='1500' user='o x'";
        assert_eq!(parameters.to_string(), expected);
        parameters.usable().unwrap().check().unwrap();
        let mut odd = Config::new();
        odd.host("db").password([255_u8]);
        odd.host("a,b");
        let mut odd = ConnectionParameters::from(odd);
        for keyword in ["host", "password"] {
            assert!(odd.usable().is_err());
            odd.set(keyword, "x").unwrap();
        }
        odd.usable().unwrap();
        assert!(ConnectionParameters::from(Config::new()).usable().is_err());
    }

    #[test]
    fn what_is_given_over_a_text_counts_before_it_whatever_the_text_is() {
        let over = [("user", "a&b"), ("port", "7,8"), ("host", "c,d"), ("dbname", "it's")];
        for text in [
            "",
            "host=db user=x port=9",
            r"host=a,b port=1,2 application_name=x\",
            "postgresql://x:p?w@db/shop",
            "postgresql://a:1,b:2/?sslmode=disable",
        ] {
            let parameters = ConnectionParameters::read(text, &over, &|_| None).unwrap();
            for (keyword, value) in over {
                assert_eq!(parameters.get(keyword), Some(value), "{text} {keyword}");
            }
        }
        let wrong = ConnectionParameters::read("", &[("hots", "x")], &|_| None).unwrap_err();
        assert!(wrong.to_string().contains("hots"), "{wrong}");
        for over in [("user", "\0"), ("sslcert", "/x\0")] {
            assert!(ConnectionParameters::read("", &[over], &|_| None).is_err());
        }
        assert!(read("sslrootcert='/x\0'").is_err());
    }

    #[cfg(unix)]
    #[test]
    fn the_socket_that_was_reached_is_named() {
        let mut config = Config::new();
        config.host_path("/run/pg").port(7);
        let parameters = read("host=,db port=7").unwrap();
        let reached = Reached { config, tls: parameters.tls_of_socket().unwrap(), host: String::new() };
        let there = parameters.only(&reached);
        assert_eq!((there.get("host"), there.get("port")), (Some("/run/pg"), Some("7")));
    }
}
