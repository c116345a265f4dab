//! Connections without TLS, for builds without the feature `tls`.
use super::tls_parameters::{CertificateMode, SslMode, TlsParameters};
use super::{Reached, no_connection, with_notices};
use crate::error::{Error, Result};
use postgres::{CancelToken, Client, Config, NoTls};

/// Connects to the one host of a configuration.
///
/// # Errors
/// [`Error::Unsupported`] where TLS is required; [`Error::Connection`] and [`Error::Server`] if there is no connection.
pub(crate) fn dial(config: &Config, tls: &TlsParameters, _host: &str, action: &str) -> Result<Client> {
    if tls.mode >= SslMode::Require {
        return Err(Error::unsupported(
            "an sslmode that requires TLS (require, verify-ca, verify-full)",
            "a pgsteward that was built with the feature tls",
        ));
    }
    if tls.certificate_mode == CertificateMode::Require {
        let reason = "without TLS the server asks for no client certificate (sslcertmode=require)".into();
        return Err(Error::Connection { action: action.into(), reason });
    }
    let mut config = with_notices(config);
    config.ssl_mode(postgres::config::SslMode::Disable);
    config.connect(NoTls).map_err(|error| no_connection(action, &error))
}

/// Asks the server to cancel what a connection is doing, over a connection like that one.
pub(crate) fn cancel(token: &CancelToken, _reached: Option<&Reached>) -> Result<(), postgres::Error> {
    token.cancel_query(NoTls)
}
