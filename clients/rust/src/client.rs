//! The client of one account.

use std::sync::Arc;

use crate::{
    builder::{ClientBuilder, Target},
    follow::{FollowBuilder, Start},
    list::ListEvents,
    record::{RecordEvent, RecordEvents},
    transport::{MAX_RECEIVED_MESSAGE_BYTES, Transport},
    upload::Uploader,
    v1::{
        Event, entity_service_client::EntityServiceClient, event_service_client::EventServiceClient,
        ingest_service_client::IngestServiceClient, privacy_service_client::PrivacyServiceClient,
        server_service_client::ServerServiceClient,
    },
};
#[cfg(feature = "tls")]
use crate::{
    builder::{Tls, wrong},
    error::Error,
};

/// Talks to one server for one account, over one connection.
///
/// All methods are safe to repeat: events without an id get a UUIDv7 before they are sent, and unary calls
/// that end UNAVAILABLE are attempted up to five times. Clones share the connection, which closes with the
/// last one. Dropping the future of a call cancels it.
///
/// All other calls of the contract are made through the stubs:
///
/// ```no_run
/// # use engagement_attributes::{Client, Error, v1::{GetProfileRequest, Profile, get_profile_request::Subject}};
/// # async fn run(client: Client) -> Result<Option<Profile>, Error> {
/// let request = GetProfileRequest {
///     account_id: client.account_id().to_owned(),
///     subject: Some(Subject::ConsumerId("visitor-19".to_owned())),
///     ..Default::default()
/// };
/// let profile = client.events().get_profile(request).await?.into_inner().profile;
/// # Ok(profile.into_option())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    transport: Transport,
    account_id: Arc<str>,
    #[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "only TLS is replaced"))]
    target: Arc<Target>,
    #[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "only TLS is replaced"))]
    is_encrypted: bool,
}

impl Client {
    /// Starts building a client of the server at `address` (`host:port`), for one account.
    pub fn builder(address: impl Into<String>, account_id: impl Into<String>) -> ClientBuilder {
        ClientBuilder::new(address.into(), account_id.into())
    }

    pub(crate) fn new(transport: Transport, account_id: String, target: Target, is_encrypted: bool) -> Self {
        Self { transport, account_id: account_id.into(), target: Arc::new(target), is_encrypted }
    }

    /// Connects anew with other certificates, such as a renewed one of the client. New calls of this client and
    /// its clones use them at once; those that run go on over the first connection, which ends with the last.
    ///
    /// # Errors
    ///
    /// [`Kind::InvalidArgument`](crate::Kind) if a certificate cannot be read, or the connection has been in plain
    /// text so far.
    #[cfg(feature = "tls")]
    pub fn replace_tls(&self, tls: &Tls) -> Result<(), Error> {
        if !self.is_encrypted {
            return Err(wrong("a client in plain text cannot change to TLS; build one with it"));
        }
        self.transport.replace(self.target.endpoint_with(Some(tls))?.connect_lazy());
        Ok(())
    }

    /// The account that the client's methods use.
    pub fn account_id(&self) -> &str {
        &self.account_id
    }

    pub(crate) fn transport(&self) -> &Transport {
        &self.transport
    }

    /// Records one event when awaited. The result is accepted, duplicate or suppressed.
    ///
    /// An event without an id gets a UUIDv7. Fails with [`Kind::InvalidArgument`](crate::Kind) or
    /// [`Kind::Conflict`](crate::Kind) if the event is rejected.
    pub fn record_event(&self, event: Event) -> RecordEvent {
        RecordEvent::new(self, event)
    }

    /// Records up to 500 events, all or none, when awaited.
    ///
    /// Events without an id get a UUIDv7. Fails with [`Kind::InvalidArgument`](crate::Kind) or
    /// [`Kind::Conflict`](crate::Kind) if the call is refused because of an event.
    pub fn record_events(&self, events: impl IntoIterator<Item = Event>) -> RecordEvents {
        RecordEvents::new(self, events.into_iter().collect())
    }

    /// Lists the stored events, page by page, without gaps or repeats: a stream, oldest first.
    pub fn list_events(&self) -> ListEvents {
        ListEvents::new(self)
    }

    /// Uploads any number of events.
    pub fn uploader(&self) -> Uploader {
        Uploader::new(self.clone())
    }

    /// Follows the events of the account.
    pub fn follow(&self, start: Start) -> FollowBuilder {
        FollowBuilder::new(self.clone(), start)
    }

    /// The generated stub of the calls that record and upload events.
    pub fn ingest(&self) -> IngestServiceClient<Transport> {
        IngestServiceClient::new(self.transport.clone()).max_decoding_message_size(MAX_RECEIVED_MESSAGE_BYTES)
    }

    /// The generated stub of the calls that read events and profiles.
    pub fn events(&self) -> EventServiceClient<Transport> {
        EventServiceClient::new(self.transport.clone()).max_decoding_message_size(MAX_RECEIVED_MESSAGE_BYTES)
    }

    /// The generated stub of the account's lists of statuses and types.
    pub fn entities(&self) -> EntityServiceClient<Transport> {
        EntityServiceClient::new(self.transport.clone()).max_decoding_message_size(MAX_RECEIVED_MESSAGE_BYTES)
    }

    /// The generated stub of the calls that erase.
    pub fn privacy(&self) -> PrivacyServiceClient<Transport> {
        PrivacyServiceClient::new(self.transport.clone())
            .max_decoding_message_size(MAX_RECEIVED_MESSAGE_BYTES)
    }

    /// The generated stub of the call that reports the server's version and limits.
    pub fn server(&self) -> ServerServiceClient<Transport> {
        ServerServiceClient::new(self.transport.clone()).max_decoding_message_size(MAX_RECEIVED_MESSAGE_BYTES)
    }
}
