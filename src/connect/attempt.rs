//! One attempt after the other: through the list of hosts and the addresses of each, as libpq goes through them.
use super::driver;
use super::hosts::{self, Endpoint, Order, Place, Wrong};
use super::options::ConnectOptions;
use super::parameters::ConnectionParameters;
use super::surroundings::{Found, password};
use super::target_session::{self, Session, TargetSession};
use super::tls_parameters::text;
use super::{Opened, Reached, arrive, dial};
use crate::error::{Error, Result};
use postgres::error::SqlState;
use postgres::{Client, Config};
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How long one attempt may take where `connect_timeout` does not say.
pub(super) const DEADLINE: Duration = Duration::from_secs(30);

/// Why there is no connection, and what may come next.
pub(super) struct Failure {
    pub(super) error: Error,
    next: Next,
    /// Whether it may pass by itself.
    pub(super) passing: bool,
}

/// What is tried after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// The next address of the host, and then the next host.
    Address,
    /// The next host.
    Host,
    Nothing,
}

impl Failure {
    fn last(error: Error) -> Self {
        Self { error, next: Next::Nothing, passing: false }
    }

    /// No answer in time, or no thread to wait for one.
    fn of_waiting(error: Error) -> Self {
        match &error {
            Error::Connection { .. } => Self { error, next: Next::Address, passing: true },
            _ => Self::last(error),
        }
    }

    /// After a server has let us in: nothing else is tried, but the connection may have been lost.
    fn of_arriving(error: Error) -> Self {
        Self { passing: matches!(error, Error::Connection { .. }), next: Next::Nothing, error }
    }

    /// What libpq goes on after: nobody there, no answer in time, a server that is starting up or shutting down. After a
    /// refusal, or a connection that breaks off, it does not.
    fn of_dialling(error: Error) -> Self {
        let (next, passing) = match &error {
            Error::Connection { reason, .. } if reason.starts_with("error connecting to server") => {
                (Next::Address, true)
            }
            Error::Connection { reason, .. } if reason.ends_with("(57P03)") => (Next::Host, true),
            Error::Connection { reason, .. } => {
                let broke_off = ["error communicating with the server", "connection closed"];
                (Next::Nothing, broke_off.iter().any(|start| reason.starts_with(start)))
            }
            Error::Server { cause, .. } => (Next::Nothing, cause.code == SqlState::TOO_MANY_CONNECTIONS),
            _ => (Next::Nothing, false),
        };
        Self { error, next, passing }
    }
}

/// All that the attempts have in common.
struct Attempts<'a> {
    parameters: &'a ConnectionParameters,
    options: &'a ConnectOptions,
    base: Config,
    timeout: Duration,
    order: Order,
}

/// Connects to the first server that will do.
pub(super) fn first(parameters: &ConnectionParameters, options: &ConnectOptions) -> Result<Opened, Failure> {
    let prepare = || -> Result<_> {
        let parameters = parameters.usable()?;
        let timeout = parameters.timeout().unwrap_or(DEADLINE);
        let base = driver::base(parameters, options, timeout)?;
        let order = hosts::order(parameters.values())?;
        let places = hosts::places(parameters.values())?;
        let target = target_session::wanted(parameters.values())?;
        Ok((Attempts { parameters, options, base, timeout, order }, places, target))
    };
    let (attempts, mut places, target) = prepare().map_err(Failure::last)?;
    shuffle(&mut places, attempts.order);
    let mut failures = Vec::new();
    for round in target.rounds() {
        failures.clear();
        for place in &places {
            match attempts.at(place, *round, &mut failures) {
                Some(opened) => return Ok(opened),
                None if failures.last().is_some_and(|failure: &Failure| failure.next == Next::Nothing) => {
                    return Err(together(failures));
                }
                None => {}
            }
        }
    }
    Err(together(failures))
}

impl Attempts<'_> {
    /// Tries all the addresses of a place; what failed is added to the failures.
    fn at(&self, place: &Place, target: TargetSession, failures: &mut Vec<Failure>) -> Option<Opened> {
        let mut fail = |failure| {
            failures.push(failure);
            None
        };
        let (port, endpoint) = match place.port().and_then(|port| Ok((port, place.endpoint()?))) {
            Ok(both) => both,
            Err(Wrong::This(error)) => return fail(Failure { error, next: Next::Host, passing: false }),
            Err(Wrong::All(error)) => return fail(Failure::last(error)),
        };
        let endpoints = match self.look_up(endpoint) {
            Ok(endpoints) => endpoints,
            Err(failure) => return fail(failure),
        };
        for endpoint in endpoints {
            match self.call(place, &endpoint, port, target) {
                Ok(opened) => return Some(opened),
                Err(failure) => {
                    let next = failure.next;
                    failures.push(failure);
                    if next != Next::Address {
                        break;
                    }
                }
            }
        }
        None
    }

    /// The addresses of a name.
    fn look_up(&self, endpoint: Endpoint) -> Result<Vec<Endpoint>, Failure> {
        let Endpoint::Name(name) = endpoint else { return Ok(vec![endpoint]) };
        let action = format!("connect to host={name}");
        let found =
            within(self.timeout, &action, move || (name.as_str(), 0).to_socket_addrs()).map_err(Failure::of_waiting)?;
        let addresses = found.map(|found| found.map(|address| address.ip()).collect::<Vec<IpAddr>>());
        let reason = match addresses {
            Ok(mut addresses) if !addresses.is_empty() => {
                addresses.dedup();
                shuffle(&mut addresses, self.order);
                return Ok(addresses.into_iter().map(Endpoint::Address).collect());
            }
            Ok(_) => "the name has no address".to_owned(),
            Err(error) => format!("the name cannot be looked up: {error}"),
        };
        Err(Failure { error: Error::Connection { action, reason }, next: Next::Host, passing: false })
    }

    /// Connects to one endpoint, and sees whether it will do.
    fn call(&self, place: &Place, endpoint: &Endpoint, port: u16, target: TargetSession) -> Result<Opened, Failure> {
        let socket = matches!(endpoint, Endpoint::Socket(_));
        if socket && text(self.parameters.values(), "requirepeer").is_some() {
            let needs = "a driver that tells whose process answers; a TCP connection with TLS proves the server too";
            let error = Error::unsupported("the connection parameter requirepeer for a Unix socket", needs);
            return Err(Failure::last(error));
        }
        let mut config = driver::towards(&self.base, place, endpoint, port);
        let (user, database) = driver::login(self.parameters).map_err(Failure::last)?;
        let found = password(self.parameters.values(), self.parameters.home(), place, (&user, &database, port));
        if let Some(Found { password, .. }) = &found {
            config.password(password);
        }
        let tls =
            if socket { self.parameters.tls_of_socket() } else { self.parameters.tls() }.map_err(Failure::last)?;
        let host = place.host.clone().unwrap_or_default();
        let action = format!("connect to {}", target_text(place, endpoint, &config));
        let reached = Reached { config, tls, host };
        let (role, doing) = (self.options.role.clone(), action.clone());
        let outcome = within(self.timeout, &action, move || one(reached, target, role.as_deref(), &doing))
            .map_err(Failure::of_waiting)?;
        outcome.map_err(|failure| self.explained(failure, found))
    }

    /// The failure, with what only the parameters tell.
    fn explained(&self, failure: Failure, password: Option<Found>) -> Failure {
        let Error::Server { cause, .. } = &failure.error else { return failure };
        let error = match (&cause.code, password.and_then(|found| found.file)) {
            (code, Some(file)) if *code == SqlState::INVALID_PASSWORD => {
                failure.error.and(&format!("the password is from the file {file:?}"))
            }
            (code, _)
                if *code == SqlState::UNDEFINED_OBJECT
                    && self.options.transaction_timeout.is_some()
                    && cause.message.contains("transaction_timeout") =>
            {
                Error::unsupported("transaction_timeout", "PostgreSQL 17")
            }
            _ => failure.error,
        };
        Failure { error, ..failure }
    }
}

/// One attempt, as far as it talks to a server.
fn one(reached: Reached, target: TargetSession, role: Option<&str>, action: &str) -> Result<Opened, Failure> {
    let started = std::time::Instant::now();
    let mut client = dial(&reached.config, &reached.tls, &reached.host, action).map_err(Failure::of_dialling)?;
    let facts = arrive(&mut client, &reached, started, action).map_err(Failure::of_arriving)?;
    if target != TargetSession::Any {
        let session = session(&mut client, action).map_err(Failure::of_arriving)?;
        if let Some(objection) = target.objection(session) {
            let error = Error::Connection { action: action.into(), reason: objection.into() };
            return Err(Failure { error, next: Next::Host, passing: true });
        }
    }
    super::become_role(&mut client, role).map_err(Failure::of_arriving)?;
    Ok(Opened { client, facts, reached })
}

/// Asks what libpq asks.
fn session(client: &mut Client, action: &str) -> Result<Session> {
    let question = "SELECT pg_catalog.pg_is_in_recovery()::pg_catalog.text AS standby, \
        pg_catalog.current_setting('default_transaction_read_only') AS read_only";
    let answer = client.simple_query(question).map_err(|error| Error::driver(action, &error))?;
    let row = answer.iter().find_map(|message| match message {
        postgres::SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let is = |name: &str, value: &str| row.and_then(|row| row.try_get(name).ok().flatten()) == Some(value);
    Ok(Session { standby: is("standby", "true"), read_only: is("read_only", "on") })
}

/// Does something on a thread of its own, and waits for it no longer than a time: the driver's timeout covers neither a
/// server that accepts and stays silent nor a slow look-up of names. A thread that is left behind stays as long as that does.
pub(super) fn within<R: Send + 'static>(
    timeout: Duration,
    action: &str,
    work: impl FnOnce() -> R + Send + 'static,
) -> Result<R> {
    let (sender, receiver) = mpsc::channel();
    let run = move || {
        let _ = sender.send(work());
    };
    let thread = thread::Builder::new().name("pgsteward-connect".into()).spawn(run);
    thread.map_err(|error| Error::io(action, error))?;
    receiver.recv_timeout(timeout).map_err(|_| {
        let reason = format!("no answer within {} seconds (connect_timeout)", timeout.as_secs_f32());
        Error::Connection { action: action.into(), reason }
    })
}

/// Where an attempt leads, for messages; no secret is in it.
fn target_text(place: &Place, endpoint: &Endpoint, config: &Config) -> String {
    let mut parts = Vec::new();
    match endpoint {
        Endpoint::Socket(path) => parts.push(format!("host={}", path.display())),
        Endpoint::Name(name) => parts.push(format!("host={name}")),
        Endpoint::Address(address) => {
            let address = address.to_string();
            // What has an @ in it is perhaps the end of a password.
            let name = place.host.as_ref().filter(|name| **name != address && !name.contains('@'));
            parts.extend(name.map(|name| format!("host={name}")));
            parts.push(format!("{}={address}", if name.is_some() { "hostaddr" } else { "host" }));
        }
    }
    parts.extend(config.get_ports().iter().map(|port| format!("port={port}")));
    parts.extend(config.get_dbname().map(|name| format!("dbname={name}")));
    parts.extend(config.get_user().map(|name| format!("user={name}")));
    parts.join(" ")
}

/// One failure of all: the last one where that ended it, else all that happened.
fn together(mut failures: Vec<Failure>) -> Failure {
    let Some(last) = failures.pop() else {
        return Failure::last(Error::invalid("connection parameters", "they name no host"));
    };
    if failures.is_empty() {
        return last;
    }
    let before: Vec<_> = failures.iter().map(|failure| failure.error.to_string()).collect();
    let before = before.join("; ");
    match last.next {
        Next::Nothing => Failure { error: last.error.and(&format!("before that: {before}")), ..last },
        _ => {
            let reason = format!("{before}; {}", last.error);
            let error = Error::Connection { action: "connect to any of the hosts".into(), reason };
            let passing = last.passing || failures.iter().any(|failure| failure.passing);
            Failure { error, next: last.next, passing }
        }
    }
}

/// Puts a list in a random order, if that is asked for.
fn shuffle<T>(list: &mut [T], order: Order) {
    if order == Order::AsGiven {
        return;
    }
    for end in (1..list.len()).rev() {
        // Without random numbers the order stays as it is, which is one of the possible ones.
        let number = getrandom::u64().unwrap_or(end as u64);
        list.swap(end, (number % (end as u64 + 1)) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(reason: &str, next: Next) -> Failure {
        Failure { error: Error::Connection { action: "x".into(), reason: reason.into() }, next, passing: true }
    }

    #[test]
    fn all_that_happened_is_said() {
        let one = together(vec![failure("refused", Next::Address)]);
        assert_eq!(one.error.to_string(), "cannot x: refused");
        let both = || vec![failure("refused", Next::Address), failure("silent", Next::Address)];
        let all = together(both()).error.to_string();
        assert_eq!(all, "cannot connect to any of the hosts: cannot x: refused; cannot x: silent");
        let mut ended = both();
        ended.push(Failure::last(Error::Connection { action: "y".into(), reason: "wrong password".into() }));
        let ended = together(ended);
        assert!(!ended.passing);
        assert_eq!(
            ended.error.to_string(),
            "cannot y: wrong password; before that: cannot x: refused; cannot x: silent"
        );
    }

    #[test]
    fn every_order_comes_about() {
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..2000 {
            let mut list = [1, 2, 3];
            shuffle(&mut list, Order::Random);
            seen.insert(list);
        }
        assert_eq!(seen.len(), 6);
    }
}
