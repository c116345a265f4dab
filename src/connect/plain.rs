//! Connections without TLS; in builds without the feature `tls` there are no others.
use super::{no_connection, with_notices};
use crate::error::Result;
use postgres::{Client, Config, NoTls, config};

/// Connects to the one host of a configuration, without TLS.
///
/// # Errors
/// [`Error::Connection`](crate::Error::Connection) and [`Error::Server`](crate::Error::Server) if there is no connection.
pub(super) fn plain(config: &Config, action: &str) -> Result<Client> {
    let mut config = with_notices(config);
    config.ssl_mode(config::SslMode::Disable).connect(NoTls).map_err(|error| no_connection(action, &error))
}

/// As [`plain`], unless TLS is required, which is [`Error::Unsupported`](crate::Error::Unsupported).
#[cfg(not(feature = "tls"))]
pub(crate) fn dial(config: &Config, tls: &super::TlsParameters, _host: &str, action: &str) -> Result<Client> {
    if tls.mode >= super::tls_parameters::SslMode::Require {
        return Err(crate::error::Error::unsupported(
            "an sslmode that requires TLS (require, verify-ca, verify-full)",
            "a pgsteward that was built with the feature tls",
        ));
    }
    plain(config, action)
}

/// Asks the server to cancel what a connection is doing.
#[cfg(not(feature = "tls"))]
pub(super) fn send_cancel(
    token: &postgres::CancelToken,
    _reached: Option<&super::Reached>,
) -> Result<(), postgres::Error> {
    token.cancel_query(NoTls)
}
