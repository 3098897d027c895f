//! How a client connects.

use std::{fmt, future::Future, net::IpAddr, time::Duration};

use http::{HeaderValue, uri::Authority};
use tonic::transport::Endpoint;
#[cfg(feature = "tls")]
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use crate::{
    client::Client,
    error::{BoxError, Error, Kind},
    token::{Source, Token, Tokens, bearer},
    transport::Transport,
};

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// Long enough for a handshake over a slow line; without it, losing the network goes unnoticed for minutes.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// The bytes that wait for a follower while it is not polled. They must not exhaust the connection's window,
/// which all calls of a client share.
const STREAM_WINDOW_BYTES: u32 = 512 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;

/// Encryption of the connection.
///
/// ```no_run
/// # use std::time::Duration;
/// # use engagement_attributes::{Client, Error, Tls};
/// # fn build(token: String) -> Result<Client, Error> {
/// Client::builder("engagement.example.com:443", "demo")
///     .tls(Tls::system_roots())
///     .token(token)
///     .timeout(Duration::from_secs(10))
///     .build()
/// # }
/// ```
#[cfg(feature = "tls")]
#[derive(Clone, Debug)]
pub struct Tls(ClientTlsConfig);

#[cfg(feature = "tls")]
impl Tls {
    /// Trusts the certificate authorities of the system.
    pub fn system_roots() -> Self {
        Self(ClientTlsConfig::new().with_native_roots())
    }

    /// Trusts only the certificate authorities of a PEM text.
    pub fn ca_pem(pem: impl AsRef<[u8]>) -> Self {
        Self(ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)))
    }

    /// Shows this certificate, with its key, to servers that ask for one; both are PEM.
    #[must_use]
    pub fn client_certificate(self, certificate: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Self {
        Self(self.0.identity(Identity::from_pem(certificate, key)))
    }

    /// Expects the server's certificate to name this host instead of that of the address.
    #[must_use]
    pub fn server_name(self, name: impl Into<String>) -> Self {
        Self(self.0.domain_name(name))
    }
}

/// Builds a [`Client`]; created by [`Client::builder`].
#[must_use = "a builder does nothing until `build` is called"]
pub struct ClientBuilder {
    address: String,
    account_id: String,
    token: Option<TokenOption>,
    allows_plaintext_token: bool,
    timeout: Duration,
    #[cfg(feature = "tls")]
    tls: Option<Tls>,
}

impl ClientBuilder {
    pub(crate) fn new(address: String, account_id: String) -> Self {
        Self {
            address,
            account_id,
            token: None,
            allows_plaintext_token: false,
            timeout: DEFAULT_TIMEOUT,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// Sends this token with every call.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(TokenOption::Text(token.into()));
        self
    }

    /// Sends a token of this function with every call. It is asked before a call or a stream, unless its last
    /// answer is good for 30 seconds more, and once more after TOKEN_EXPIRED.
    ///
    /// If it fails, so do the call, the upload or the follower, with [`Kind::Unauthenticated`].
    pub fn token_source<F, A>(mut self, source: F) -> Self
    where
        F: Fn() -> A + Send + Sync + 'static,
        A: Future<Output = Result<Token, BoxError>> + Send + 'static,
    {
        self.token = Some(TokenOption::Source(Box::new(move || Box::pin(source()))));
        self
    }

    /// Lets the token leave this machine in plain text, for networks that encrypt by themselves.
    pub fn allow_plaintext_token(mut self) -> Self {
        self.allows_plaintext_token = true;
        self
    }

    /// Sets the deadline of unary calls, including retries and waits; 30 seconds by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Encrypts the connection. By default everything is in plain text.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Builds the client. It connects with its first call, and reconnects whenever the connection is lost.
    ///
    /// # Errors
    ///
    /// [`Kind::InvalidArgument`] if the address is not `host:port`, the token is not a valid header value or would
    /// go over the network in plain text, or a certificate cannot be read.
    ///
    /// # Panics
    ///
    /// Panics outside a Tokio runtime.
    pub fn build(self) -> Result<Client, Error> {
        let target = Target { address: self.address };
        #[cfg(feature = "tls")]
        let (endpoint, is_encrypted) = (target.endpoint_with(self.tls.as_ref())?, self.tls.is_some());
        #[cfg(not(feature = "tls"))]
        let (endpoint, is_encrypted) = (target.endpoint("http")?, false);
        let is_protected = is_encrypted || self.allows_plaintext_token || target.is_this_machine();
        if self.token.is_some() && !is_protected {
            return Err(wrong(format!(
                "a token for {} would go over the network in plain text; use TLS, or allow_plaintext_token if the \
                 network itself encrypts",
                target.address
            )));
        }
        let tokens = match self.token {
            None => Tokens::fixed(None),
            Some(TokenOption::Text(text)) => Tokens::fixed(Some(bearer(&text)?)),
            Some(TokenOption::Source(source)) => Tokens::asked(source),
        };
        let account = HeaderValue::try_from(&self.account_id)
            .map_err(|error| wrong("the account holds characters that a header cannot").with_source(error))?;
        let transport = Transport::new(endpoint.connect_lazy(), tokens, account, self.timeout);
        Ok(Client::new(transport, self.account_id, target, is_encrypted))
    }
}

enum TokenOption {
    Text(String),
    Source(Source),
}

/// The server of a client.
#[derive(Debug)]
pub(crate) struct Target {
    address: String,
}

impl Target {
    /// The settings of a connection.
    #[cfg(feature = "tls")]
    pub fn endpoint_with(&self, tls: Option<&Tls>) -> Result<Endpoint, Error> {
        let Some(tls) = tls else {
            return self.endpoint("http");
        };
        self.endpoint("https")?
            .tls_config(tls.0.clone())
            .map_err(|error| wrong("the certificates cannot be used").with_source(error))
    }

    fn endpoint(&self, scheme: &str) -> Result<Endpoint, Error> {
        Ok(Endpoint::from_shared(format!("{scheme}://{}", self.authority()?))
            .map_err(|error| wrong("the address cannot be used").with_source(error))?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES))
    }

    fn authority(&self) -> Result<Authority, Error> {
        let authority = self.address.parse::<Authority>().ok();
        authority
            .filter(|authority| authority.port().is_some())
            .ok_or_else(|| wrong(format!("the address {:?} is not host:port", self.address)))
    }

    /// Whether the address is `localhost` or a loopback address.
    fn is_this_machine(&self) -> bool {
        let Ok(authority) = self.authority() else {
            return false;
        };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        host.eq_ignore_ascii_case("localhost")
            || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Debug for ClientBuilder {
    /// Omits the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("address", &self.address)
            .field("account_id", &self.account_id)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

pub(crate) fn wrong(message: impl Into<String>) -> Error {
    Error::new(Kind::InvalidArgument, message)
}
