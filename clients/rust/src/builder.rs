//! How a client connects.

use std::{fmt, time::Duration};

use http::{HeaderValue, uri::Authority};
use tonic::transport::Endpoint;
#[cfg(feature = "tls")]
use tonic::transport::{Certificate, ClientTlsConfig};

use crate::{
    client::Client,
    error::{Error, Kind},
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
    token: Option<String>,
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
            timeout: DEFAULT_TIMEOUT,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// Sends this token with every call, even in plain text.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Sets the deadline of unary calls, including retries and waits; 30 seconds by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Encrypts the connection. By default everything, including the token, is in plain text.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Builds the client. It connects with its first call, and reconnects whenever the connection is lost.
    ///
    /// # Errors
    ///
    /// [`Kind::InvalidArgument`] if the address is not `host:port`, the token is not a valid header value, or
    /// a certificate cannot be read.
    ///
    /// # Panics
    ///
    /// Panics outside a Tokio runtime.
    pub fn build(self) -> Result<Client, Error> {
        let authorization = self.token.as_deref().map(bearer).transpose()?;
        let channel = self.endpoint()?.connect_lazy();
        Ok(Client::new(Transport::new(channel, authorization, self.timeout), self.account_id))
    }

    fn endpoint(&self) -> Result<Endpoint, Error> {
        let scheme = "http";
        #[cfg(feature = "tls")]
        let scheme = if self.tls.is_some() { "https" } else { scheme };
        let endpoint = Endpoint::from_shared(format!("{scheme}://{}", self.authority()?))
            .map_err(|error| wrong("the address cannot be used").with_source(error))?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return endpoint
                .tls_config(tls.0.clone())
                .map_err(|error| wrong("the certificates cannot be used").with_source(error));
        }
        Ok(endpoint)
    }

    fn authority(&self) -> Result<Authority, Error> {
        let authority = self.address.parse::<Authority>().ok();
        authority
            .filter(|authority| authority.port().is_some())
            .ok_or_else(|| wrong(format!("the address {:?} is not host:port", self.address)))
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

fn bearer(token: &str) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::try_from(format!("Bearer {token}"))
        .map_err(|error| wrong("the token holds characters that a header cannot").with_source(error))?;
    value.set_sensitive(true);
    Ok(value)
}

fn wrong(message: impl Into<String>) -> Error {
    Error::new(Kind::InvalidArgument, message)
}
