//! Connections with TLS or without, as `sslmode` says
//! ([Protection Provided in Different Modes](https://www.postgresql.org/docs/current/libpq-ssl.html#LIBPQ-SSL-PROTECTION)).
use super::plain::plain;
use super::tls_parameters::{SslMode, SslNegotiation, TlsParameters};
use super::{Reached, no_connection, with_notices};
use crate::error::{Error, Result};
use handshake::{Connector, Refusal};
use postgres::{CancelToken, Client, Config, NoTls, config};

mod context;
mod handshake;
mod peer_name;

/// Why there is no connection.
struct Failure {
    error: Error,
    /// Whether `sslmode=prefer` goes on without TLS: the handshake failed, or the server refused this user, perhaps for
    /// using TLS.
    passes: bool,
}

/// Connects to the one host of a configuration. The certificate of the server has to be for `host`, whatever the address.
///
/// # Errors
/// [`Error::Connection`] and [`Error::Server`] if there is no connection; [`Error::Invalid`] and [`Error::Io`] for a file
/// that cannot be used, once the server has agreed to TLS.
pub(crate) fn dial(config: &Config, tls: &TlsParameters, host: &str, action: &str) -> Result<Client> {
    let with_tls = |mode| attempt(config, tls, host, mode, action);
    match tls.mode {
        SslMode::Disable => plain(config, action),
        SslMode::Allow => plain(config, action).or_else(|first| match is_refusal(&first) {
            true => with_tls(config::SslMode::Prefer).map_err(|second| both(second.error, "without TLS", &first)),
            false => Err(first),
        }),
        SslMode::Prefer => with_tls(config::SslMode::Prefer).or_else(|first| match first.passes {
            true => {
                log::warn!("{}; going on without TLS, as sslmode=prefer says", first.error);
                plain(config, action).map_err(|second| both(second, "with TLS", &first.error))
            }
            false => Err(first.error),
        }),
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => {
            with_tls(config::SslMode::Require).map_err(|failure| failure.error)
        }
    }
}

/// Asks the server to cancel what a connection is doing: with TLS, if that connection was made with it or would have been
/// had the server been able to. What the certificate has to be is the same.
pub(super) fn send_cancel(token: &CancelToken, reached: Option<&Reached>) -> Result<(), postgres::Error> {
    match reached {
        // The token knows the mode in which its connection was made.
        Some(reached) => token.cancel_query(Connector::new(&reached.tls, &reached.host)),
        None => token.cancel_query(NoTls),
    }
}

/// Connects with TLS; where the mode is the driver's `Prefer`, without it if the server has none.
fn attempt(
    config: &Config,
    tls: &TlsParameters,
    host: &str,
    mode: config::SslMode,
    action: &str,
) -> Result<Client, Failure> {
    let connector = Connector::new(tls, host);
    let mut config = with_notices(config);
    config.ssl_mode(mode).ssl_negotiation(match tls.negotiation {
        SslNegotiation::Postgres => config::SslNegotiation::Postgres,
        SslNegotiation::Direct => config::SslNegotiation::Direct,
    });
    config.connect(connector.clone()).map_err(|error| match connector.ended() {
        Some(Err(Refusal::Unusable(error))) => Failure { error, passes: false },
        Some(Err(Refusal::Failed(reason))) => {
            Failure { error: Error::Connection { action: action.into(), reason }, passes: true }
        }
        encrypted => {
            let error = no_connection(action, &error);
            Failure { passes: encrypted.is_some() && is_refusal(&error), error }
        }
    })
}

/// Whether the server does not let this user in by this way: SQLSTATE class 28.
fn is_refusal(error: &Error) -> bool {
    error.code().is_some_and(|code| code.code().starts_with("28"))
}

/// The last error, with what was tried before.
fn both(last: Error, how: &str, first: &Error) -> Error {
    match last.to_string() == first.to_string() {
        true => last,
        false => last.and(&format!("before that, {how}: {first}")),
    }
}
