//! The list of hosts in connection parameters
//! ([Specifying Multiple Hosts](https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-MULTIPLE-HOSTS)). Pure, but for where the default socket is.
use super::conninfo::Parameters;
use super::tls_parameters::{text, word};
use crate::error::{Error, Result};
use std::net::IpAddr;
use std::path::PathBuf;

/// One place of the list, as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The name of a machine, or a directory of Unix sockets.
    pub(super) host: Option<String>,
    /// The address of the machine.
    pub(super) address: Option<String>,
    port: String,
}

/// What a place leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// A directory with the server's Unix socket.
    Socket(PathBuf),
    Address(IpAddr),
    /// A name that has to be looked up.
    Name(String),
}

/// The order in which places are tried (`load_balance_hosts`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    AsGiven,
    Random,
}

/// Why a place cannot be called.
pub(super) enum Wrong {
    /// The next one is tried, as with libpq.
    This(Error),
    /// None is tried.
    All(Error),
}

/// The places in connection parameters; one for each host, or each address.
///
/// # Errors
/// [`Error::Invalid`] for lists of different lengths.
pub(super) fn places(parameters: &Parameters) -> Result<Vec<Place>> {
    let list = |keyword: &str| text(parameters, keyword).map(|value| value.split(',').collect::<Vec<_>>());
    let (hosts, addresses, ports) = (list("host"), list("hostaddr"), list("port").unwrap_or_default());
    let count = addresses.as_ref().or(hosts.as_ref()).map_or(1, Vec::len);
    let mismatch = |count: usize, what: &str, others: usize, of: &str| {
        let why = format!("there are {count} {what} for {others} {of}");
        Err(Error::invalid("connection parameters", why))
    };
    match (&hosts, &addresses) {
        (Some(hosts), Some(addresses)) if hosts.len() != addresses.len() => {
            return mismatch(addresses.len(), "addresses (hostaddr)", hosts.len(), "hosts");
        }
        _ if ports.len() > 1 && ports.len() != count => return mismatch(ports.len(), "ports", count, "hosts"),
        _ => {}
    }
    let at = |list: &Option<Vec<&str>>, number: usize| {
        let value = list.as_ref().and_then(|list| list.get(number));
        value.filter(|value| !value.is_empty()).map(|value| (*value).to_owned())
    };
    let place = |number| Place {
        host: at(&hosts, number),
        address: at(&addresses, number),
        port: ports.get(number).or(ports.first()).map_or_else(String::new, |port| (*port).to_owned()),
    };
    Ok((0..count).map(place).collect())
}

/// The order that the parameters ask for.
pub(super) fn order(parameters: &Parameters) -> Result<Order> {
    let words = [("disable", Order::AsGiven), ("random", Order::Random)];
    word(parameters, "load_balance_hosts", Order::AsGiven, &words)
}

impl Place {
    /// The port, 5432 where none is given.
    pub(super) fn port(&self) -> Result<u16, Wrong> {
        let wrong = |why: &str| Error::invalid("port among the connection parameters", why);
        if self.port.is_empty() {
            return Ok(5432);
        }
        // The value is not repeated: in a URL it may be a piece of a password with a slash in it.
        let number = number(&self.port).ok_or_else(|| Wrong::All(wrong("it is no number")))?;
        match u16::try_from(number) {
            Ok(port) if port > 0 => Ok(port),
            _ => Err(Wrong::This(wrong("it is not between 1 and 65535"))),
        }
    }

    /// Where the place is.
    pub(super) fn endpoint(&self) -> Result<Endpoint, Wrong> {
        if let Some(address) = &self.address {
            let wrong = || Error::invalid("hostaddr among the connection parameters", "it is no IP address");
            return address.parse().map(Endpoint::Address).map_err(|_| Wrong::This(wrong()));
        }
        match self.host.as_deref().unwrap_or(socket_directory()) {
            host if host.starts_with('@') => {
                Err(Wrong::All(Error::unsupported("an abstract Unix socket", "a directory of a socket, or a host")))
            }
            // It is not repeated: what stands before the @ may be a piece of a password.
            host if has_stray_at(host) => Err(Wrong::All(Error::invalid(
                "host among the connection parameters",
                "it contains an @; in a URL, an @ in a user's name or a password is written %40",
            ))),
            host if host.starts_with('/') => Ok(Endpoint::Socket(host.into())),
            host => Ok(host.parse().map_or_else(|_| Endpoint::Name(host.to_owned()), Endpoint::Address)),
        }
    }

    /// The host as the password file names it: `localhost` for the socket that is the default.
    pub(super) fn for_password(&self) -> &str {
        let named = self.host.as_deref().or(self.address.as_deref());
        named.filter(|host| *host != socket_directory()).unwrap_or("localhost")
    }
}

/// Whether there is an `@` that no host has: what stands before it is perhaps the end of a password.
pub(super) fn has_stray_at(host: &str) -> bool {
    host.contains('@') && !host.starts_with('/')
}

/// A whole number as libpq reads it: blanks around it and a sign may be there.
pub(super) fn number(text: &str) -> Option<i32> {
    text.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\u{b}').parse().ok()
}

/// Where libpq looks for the server's socket: at a place that depends on how it was built.
pub(super) fn socket_directory() -> &'static str {
    match std::path::Path::new("/var/run/postgresql").is_dir() {
        true => "/var/run/postgresql",
        false => "/tmp",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Vec<Place>> {
        places(&super::super::conninfo::parse(text).unwrap())
    }

    fn place(host: &str, address: &str, port: &str) -> Place {
        let some = |value: &str| Some(value.to_owned()).filter(|value| !value.is_empty());
        Place { host: some(host), address: some(address), port: port.into() }
    }

    #[test]
    fn lists_go_together() {
        assert_eq!(of("").unwrap(), [place("", "", "")]);
        assert_eq!(of("host=a,b port=7").unwrap(), [place("a", "", "7"), place("b", "", "7")]);
        assert_eq!(of("host=a, port=,8").unwrap(), [place("a", "", ""), place("", "", "8")]);
        assert_eq!(of("host=a,b hostaddr=,::1").unwrap(), [place("a", "", ""), place("b", "::1", "")]);
        for wrong in ["host=a port=1,2", "host=a hostaddr=::1,::1", "port=1,2"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_place_is_a_socket_an_address_or_a_name() {
        let endpoint = |host: &str, address: &str| place(host, address, "").endpoint().ok();
        assert_eq!(endpoint("/run", ""), Some(Endpoint::Socket("/run".into())));
        assert_eq!(endpoint("::1", ""), Some(Endpoint::Address("::1".parse().unwrap())));
        assert_eq!(endpoint("db", "10.0.0.1"), Some(Endpoint::Address("10.0.0.1".parse().unwrap())));
        assert_eq!(endpoint("db", ""), Some(Endpoint::Name("db".into())));
        assert_eq!(endpoint("", ""), Some(Endpoint::Socket(socket_directory().into())));
        assert_eq!(endpoint("@x", ""), None);
        assert_eq!(endpoint("db", "db"), None);
        let Err(Wrong::All(error)) = place("geheim@db", "", "").endpoint() else { panic!() };
        assert!(!error.to_string().contains("geheim"), "{error}");
    }

    #[test]
    fn ports_are_numbers() {
        let port = |text: &str| place("", "", text).port();
        for (text, number) in [("", 5432), (" 7 ", 7), ("+65535", 65535)] {
            assert!(matches!(port(text), Ok(port) if port == number), "{text}");
        }
        assert!(matches!(port("x"), Err(Wrong::All(_))));
        assert!(matches!(port("7x"), Err(Wrong::All(_))));
        assert!(matches!(port("0"), Err(Wrong::This(_))));
        assert!(matches!(port("65536"), Err(Wrong::This(_))));
    }
}
