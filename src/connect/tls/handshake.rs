//! The handshake, as the driver calls for it, and the stream that comes of it.
use super::context::{self, reasons};
use super::peer_name::Names;
use crate::connect::tls_parameters::{RootCertificate, SslMode, SslNegotiation, TlsParameters};
use crate::error::Error;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::ssl::{self, Ssl, SslRef};
use openssl::x509::X509VerifyResult;
use postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect};
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_openssl::SslStream;

/// Why there was no handshake, or not with the server that is wanted.
#[derive(Clone, Debug)]
pub(super) enum Refusal {
    /// A file cannot be used.
    Unusable(Error),
    /// What the two sides made of it.
    Failed(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unusable(error) => error.fmt(f),
            Self::Failed(reason) => reason.fmt(f),
        }
    }
}

impl std::error::Error for Refusal {}

/// Makes the TLS connections to one host. The files that the parameters name are read at each handshake: certificates are
/// renewed, and a server without TLS needs none.
#[derive(Clone)]
pub(super) struct Connector {
    tls: TlsParameters,
    host: String,
    ended: Arc<Mutex<Option<Result<(), Refusal>>>>,
}

impl Connector {
    pub(super) fn new(tls: &TlsParameters, host: &str) -> Self {
        Self { tls: tls.clone(), host: host.into(), ended: Arc::default() }
    }

    /// How the last handshake ended; None if the server has not agreed to one.
    pub(super) fn ended(&self) -> Option<Result<(), Refusal>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn shake_hands<S>(&self, stream: S) -> Result<SslStream<S>, Refusal>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let context = context::context(&self.tls).map_err(Refusal::Unusable)?;
        let failed = |error: ErrorStack| Refusal::Failed(reasons(&error));
        let mut ssl = Ssl::new(&context).map_err(failed)?;
        // OpenSSL takes no zero byte, and no host has one.
        let is_name = self.host.parse::<IpAddr>().is_err() && !self.host.is_empty() && !self.host.contains('\0');
        if self.tls.server_name_indication && is_name {
            ssl.set_hostname(&self.host).map_err(failed)?;
        }
        let mut stream = SslStream::new(ssl, stream).map_err(failed)?;
        let connected = Pin::new(&mut stream).connect().await;
        connected.map_err(|error| Refusal::Failed(self.refusal(&error, stream.ssl().verify_result())))?;
        self.check(stream.ssl()).map_err(Refusal::Failed)?;
        Ok(stream)
    }

    /// What a handshake does not check by itself.
    fn check(&self, ssl: &SslRef) -> Result<(), String> {
        if self.tls.negotiation == SslNegotiation::Direct && ssl.selected_alpn_protocol().is_none() {
            return Err("the server speaks TLS, but did not say that it speaks PostgreSQL's protocol in it".into());
        }
        match ssl.peer_certificate() {
            _ if self.tls.mode != SslMode::VerifyFull => Ok(()),
            _ if self.host.is_empty() => Err("sslmode=verify-full needs the host's name: give host".into()),
            Some(certificate) => Names::of(&certificate).fit(&self.host),
            None => Err("the server showed no certificate".into()),
        }
    }

    fn refusal(&self, error: &ssl::Error, verified: X509VerifyResult) -> String {
        match (verified, error.ssl_error()) {
            (X509VerifyResult::OK, Some(stack)) => format!("no TLS connection: {}", reasons(stack)),
            (X509VerifyResult::OK, None) => format!("no TLS connection: {error}"),
            (why, _) => {
                let trusted = match &self.tls.root_certificate {
                    RootCertificate::File(path) => format!("{path:?}"),
                    RootCertificate::System => "what the system trusts".into(),
                    RootCertificate::None => "nothing".into(),
                };
                let why = why.error_string();
                format!("the server's certificate is not accepted: {why}; it was verified by {trusted} (sslrootcert)")
            }
        }
    }
}

impl<S> MakeTlsConnect<S> for Connector
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = TlsStream<S>;
    type TlsConnect = Self;
    type Error = Infallible;

    /// The driver's name for the host is an address where no name was given; ours is empty then.
    fn make_tls_connect(&mut self, _: &str) -> Result<Self, Infallible> {
        Ok(self.clone())
    }
}

impl<S> TlsConnect<S> for Connector
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = TlsStream<S>;
    type Error = Refusal;
    type Future = Pin<Box<dyn Future<Output = Result<TlsStream<S>, Refusal>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move {
            let made = self.shake_hands(stream).await;
            let ended = made.as_ref().map(|_| ()).map_err(Clone::clone);
            *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = Some(ended);
            made.map(TlsStream)
        })
    }
}

/// A connection inside TLS.
pub(super) struct TlsStream<S>(SslStream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> postgres::tls::TlsStream for TlsStream<S> {
    fn channel_binding(&self) -> ChannelBinding {
        end_point(self.0.ssl()).map_or_else(ChannelBinding::none, ChannelBinding::tls_server_end_point)
    }
}

/// The hash of the server's certificate that SCRAM includes: by the certificate's own hash, but none that is weak
/// ([RFC 5929](https://www.rfc-editor.org/rfc/rfc5929#section-4.1)).
fn end_point(ssl: &SslRef) -> Option<Vec<u8>> {
    let certificate = ssl.peer_certificate()?;
    let algorithms = certificate.signature_algorithm().object().nid().signature_algorithms()?;
    let digest = match algorithms.digest {
        Nid::MD5 | Nid::SHA1 => MessageDigest::sha256(),
        other => MessageDigest::from_nid(other)?,
    };
    certificate.digest(digest).ok().map(|hash| hash.to_vec())
}
