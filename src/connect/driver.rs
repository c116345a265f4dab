//! From connection parameters to the driver's configuration of one attempt. Pure.
use super::conninfo::Parameters;
use super::hosts::{Endpoint, Place, number};
use super::options::ConnectOptions;
use super::parameters::ConnectionParameters;
use super::tls_parameters::{ChannelBinding, text};
use crate::error::{Error, Result};
use postgres::Config;
use std::time::Duration;

/// The keywords whose values are whole numbers.
const NUMBERS: [&str; 6] =
    ["connect_timeout", "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout"];

/// # Errors
/// [`Error::Invalid`] for what should be a number and is none. Unlike with libpq that is so for Unix sockets, too.
pub(super) fn check(parameters: &ConnectionParameters) -> Result<()> {
    for keyword in NUMBERS {
        if parameters.get(keyword).is_some_and(|value| number(value).is_none()) {
            return Err(Error::invalid(format!("connection parameter {keyword}"), "it is no whole number"));
        }
    }
    let negative = |keyword: &&&str| whole(parameters.values(), keyword).is_some_and(|number| number < 0);
    match NUMBERS.iter().find(|name| name.starts_with("keepalives_") && negative(name)) {
        Some(keyword) => Err(Error::invalid(format!("connection parameter {keyword}"), "it is below 0")),
        None => Ok(()),
    }
}

fn whole(parameters: &Parameters, keyword: &str) -> Option<i32> {
    text(parameters, keyword).and_then(number)
}

/// A number above 0: for these keywords, any other stands for the system's default.
fn positive(parameters: &Parameters, keyword: &str) -> Option<u32> {
    whole(parameters, keyword).and_then(|number| u32::try_from(number).ok()).filter(|number| *number > 0)
}

/// Who connects to what: the parameters' user, or that of the operating system, and the database of that name where none is given.
///
/// # Errors
/// [`Error::Invalid`] if the operating system has no name for its user.
pub(super) fn login(parameters: &ConnectionParameters) -> Result<(String, String)> {
    let user = match text(parameters.values(), "user") {
        Some(user) => user.to_owned(),
        None => whoami::username()
            .map_err(|error| Error::invalid("user", format!("none was given, and the system has none: {error}")))?,
    };
    let database = text(parameters.values(), "dbname").unwrap_or(&user).to_owned();
    Ok((user, database))
}

/// The configuration for any place of the list. The mode of TLS is left to whoever calls.
pub(super) fn base(parameters: &ConnectionParameters, options: &ConnectOptions, timeout: Duration) -> Result<Config> {
    let values = parameters.values();
    let (user, database) = login(parameters)?;
    let mut config = Config::new();
    config.user(&user).dbname(&database).connect_timeout(timeout);
    // An empty name is one, and counts before the other.
    let name = parameters.get("application_name").or(parameters.get("fallback_application_name"));
    if let Some(name) = name.filter(|name| !name.is_empty()) {
        config.application_name(name);
    }
    let line = options.command_line(parameters.get("options").unwrap_or_default())?;
    if !line.is_empty() {
        config.options(&line);
    }
    config.keepalives(whole(values, "keepalives") != Some(0));
    let seconds = |keyword: &str| positive(values, keyword).map(|number| Duration::from_secs(number.into()));
    if let Some(idle) = seconds("keepalives_idle") {
        config.keepalives_idle(idle);
    }
    if let Some(interval) = seconds("keepalives_interval") {
        config.keepalives_interval(interval);
    }
    if let Some(count) = positive(values, "keepalives_count") {
        config.keepalives_retries(count);
    }
    if let Some(milliseconds) = positive(values, "tcp_user_timeout") {
        config.tcp_user_timeout(Duration::from_millis(milliseconds.into()));
    }
    config.channel_binding(match parameters.tls_of_socket()?.channel_binding {
        ChannelBinding::Disable => postgres::config::ChannelBinding::Disable,
        ChannelBinding::Prefer => postgres::config::ChannelBinding::Prefer,
        ChannelBinding::Require => postgres::config::ChannelBinding::Require,
    });
    Ok(config)
}

/// The configuration for one endpoint of a place.
pub(super) fn towards(base: &Config, place: &Place, endpoint: &Endpoint, port: u16) -> Config {
    let mut config = base.clone();
    config.port(port);
    match endpoint {
        #[cfg(unix)]
        Endpoint::Socket(path) => config.host_path(path),
        #[cfg(not(unix))]
        Endpoint::Socket(path) => config.host(&path.to_string_lossy()),
        // The driver wants a name for TLS; where there is none, nothing is verified by it.
        Endpoint::Address(address) => {
            config.host(place.host.as_deref().unwrap_or(&address.to_string())).hostaddr(*address)
        }
        Endpoint::Name(name) => config.host(name),
    };
    config
}

#[cfg(test)]
mod tests {
    use super::super::hosts::places;
    use super::*;

    fn configured(text: &str) -> Result<Config> {
        let parameters = ConnectionParameters::read(text, &[], &|_| None)?;
        base(&parameters, &ConnectOptions::new(), Duration::from_secs(1))
    }

    #[test]
    fn parameters_reach_the_driver_in_its_units() {
        let config =
            configured("user=x keepalives_idle=7 keepalives_interval=8 keepalives_count=9 tcp_user_timeout=1500");
        let config = config.unwrap();
        assert_eq!(config.get_tcp_user_timeout(), Some(&Duration::from_millis(1500)));
        assert_eq!(config.get_keepalives_idle(), Duration::from_secs(7));
        assert_eq!(config.get_keepalives_interval(), Some(Duration::from_secs(8)));
        assert_eq!(config.get_keepalives_retries(), Some(9));
        assert!(config.get_keepalives() && config.get_dbname() == Some("x"));
        assert!(!configured("user=x keepalives=' 0'").unwrap().get_keepalives());
        for wrong in ["keepalives=no", "keepalives_idle=", "connect_timeout=1.5", "keepalives_idle=-5"] {
            assert!(configured(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_name_given_empty_is_none_and_not_the_other() {
        let name = |text: &str| configured(text).unwrap().get_application_name().map(str::to_owned);
        assert_eq!(name("user=x fallback_application_name=f").as_deref(), Some("f"));
        assert_eq!(name("user=x fallback_application_name=f application_name=a").as_deref(), Some("a"));
        assert_eq!(name("user=x fallback_application_name=f application_name=''"), None);
    }

    #[test]
    fn one_attempt_has_one_host() {
        let parameters = ConnectionParameters::read("user=x host=a,b port=1,2", &[], &|_| None).unwrap();
        let base = base(&parameters, &ConnectOptions::new(), Duration::ZERO).unwrap();
        let places = places(parameters.values()).unwrap();
        let config = towards(&base, &places[1], &Endpoint::Address("::1".parse().unwrap()), 2);
        assert_eq!(config.get_hosts(), [postgres::config::Host::Tcp("b".into())]);
        assert_eq!(config.get_ports(), [2]);
        assert_eq!(config.get_hostaddrs().len(), 1);
    }
}
