//! Calls that record one event or several.

use std::{
    future::{Future, IntoFuture},
    pin::Pin,
    time::Duration,
};

use tonic::Request;

use crate::{
    client::Client,
    error::{Error, Kind},
    uuid7::uuid7,
    v1::{Event, EventResult, RecordEventRequest, RecordEventsRequest, RecordEventsResponse},
};

type Answer<T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send>>;

/// A call that records one event; created by [`Client::record_event`] and sent by `.await`.
#[derive(Debug)]
#[must_use = "nothing is sent until the call is awaited"]
pub struct RecordEvent {
    client: Client,
    event: Event,
    is_validate_only: bool,
    timeout: Option<Duration>,
}

impl RecordEvent {
    pub(crate) fn new(client: &Client, event: Event) -> Self {
        Self { client: client.clone(), event, is_validate_only: false, timeout: None }
    }

    /// Runs every check, including those against the store, but stores nothing.
    pub fn validate_only(mut self) -> Self {
        self.is_validate_only = true;
        self
    }

    /// Sets the deadline of this call, overriding the client's.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    async fn send(self) -> Result<EventResult, Error> {
        let message = RecordEventRequest {
            account_id: self.client.account_id().to_owned(),
            event: identify(self.event).into(),
            validate_only: self.is_validate_only,
            ..Default::default()
        };
        let response = self.client.ingest().record_event(request(message, self.timeout)).await?;
        response
            .into_inner()
            .result
            .into_option()
            .ok_or_else(|| Error::new(Kind::Internal, "the server's answer holds no result"))
    }
}

impl IntoFuture for RecordEvent {
    type Output = Result<EventResult, Error>;
    type IntoFuture = Answer<EventResult>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

/// A call that records several events; created by [`Client::record_events`] and sent by `.await`.
#[derive(Debug)]
#[must_use = "nothing is sent until the call is awaited"]
pub struct RecordEvents {
    client: Client,
    events: Vec<Event>,
    is_partial: bool,
    is_validate_only: bool,
    timeout: Option<Duration>,
}

impl RecordEvents {
    pub(crate) fn new(client: &Client, events: Vec<Event>) -> Self {
        Self { client: client.clone(), events, is_partial: false, is_validate_only: false, timeout: None }
    }

    /// Stores the valid events and reports the others in the results, instead of refusing the whole call.
    pub fn allow_partial(mut self) -> Self {
        self.is_partial = true;
        self
    }

    /// Runs every check, including those against the store, but stores nothing.
    pub fn validate_only(mut self) -> Self {
        self.is_validate_only = true;
        self
    }

    /// Sets the deadline of this call, overriding the client's.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    async fn send(self) -> Result<RecordEventsResponse, Error> {
        let message = RecordEventsRequest {
            account_id: self.client.account_id().to_owned(),
            events: self.events.into_iter().map(identify).collect(),
            allow_partial: self.is_partial,
            validate_only: self.is_validate_only,
            ..Default::default()
        };
        let response = self.client.ingest().record_events(request(message, self.timeout)).await?;
        Ok(response.into_inner())
    }
}

impl IntoFuture for RecordEvents {
    type Output = Result<RecordEventsResponse, Error>;
    type IntoFuture = Answer<RecordEventsResponse>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

/// The event, with a new id if it has none: the server would generate another for every attempt.
fn identify(mut event: Event) -> Event {
    if event.event_id.is_empty() {
        event.event_id = uuid7();
    }
    event
}

fn request<T>(message: T, timeout: Option<Duration>) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(timeout) = timeout {
        request.set_timeout(timeout);
    }
    request
}
