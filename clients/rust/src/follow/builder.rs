//! Where a follower starts, and its options.

use std::{
    fmt,
    future::Future,
    time::{Duration, SystemTime},
};

use super::{Follower, Taken};
use crate::{
    client::Client,
    error::{BoxError, Error},
    retry::Outage,
    v1::{
        EventFilter, SubscribeEventsRequest, subscribe_events_request::Start as StartField,
        subscribe_events_response::ErasureNotice,
    },
};

pub(super) type OnErasure = Box<dyn FnMut(ErasureNotice) -> Taken + Send>;
pub(super) type OnReconnect = Box<dyn FnMut(&Error) + Send>;

/// Where a follower starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the first event after this cursor.
    After(String),
    /// With the earliest event that is retained.
    Earliest,
    /// With the next event that is accepted.
    Latest,
    /// With the first event accepted at this time or later.
    Time(SystemTime),
}

impl From<Start> for StartField {
    fn from(start: Start) -> Self {
        match start {
            Start::After(cursor) => Self::AfterCursor(cursor),
            Start::Earliest => Self::Earliest(true),
            Start::Latest => Self::Latest(true),
            Start::Time(time) => Self::StartTime(Box::new(time.into())),
        }
    }
}

/// Settings of a [`Follower`]; [`Client::follow`] makes one.
#[must_use = "nothing is followed until the follower is started"]
pub struct FollowBuilder {
    client: Client,
    request: SubscribeEventsRequest,
    on_erasure: Option<OnErasure>,
    on_reconnect: Option<OnReconnect>,
    longest_outage: Duration,
}

impl FollowBuilder {
    pub(crate) fn new(client: Client, start: Start) -> Self {
        let request = SubscribeEventsRequest {
            account_id: client.account_id().to_owned(),
            start: Some(start.into()),
            ..Default::default()
        };
        Self {
            client,
            request,
            on_erasure: None,
            on_reconnect: None,
            longest_outage: Outage::DEFAULT_LONGEST,
        }
    }

    /// Selects events; by default all.
    pub fn filter(mut self, filter: EventFilter) -> Self {
        self.request.filter = filter.into();
        self
    }

    /// Ends after the events that are stored when the follower connects.
    pub fn stop_at_tail(mut self) -> Self {
        self.request.stop_at_tail = true;
        self
    }

    /// Sets the maximum number of events in a batch, up to 1,000; 500 by default.
    pub fn max_batch_events(mut self, events: u16) -> Self {
        self.request.max_batch_events = events.into();
        self
    }

    /// Sets the longest silence of the server, 5 to 60 seconds; by default the server's choice. After twice
    /// that, the connection is lost.
    pub fn heartbeat_interval(mut self, interval: Duration) -> Self {
        self.request.heartbeat_interval = buffa_types::google::protobuf::Duration::from(interval).into();
        self
    }

    /// Sets how long to keep reconnecting without progress; 300 seconds by default.
    pub fn max_outage(mut self, longest: Duration) -> Self {
        self.longest_outage = longest;
        self
    }

    /// Registers a callback for erasures, called between the events before and after, to delete copies.
    ///
    /// If it fails, the follower fails with an error of kind `Other` whose source is the callback's error;
    /// the cursor stays before the notice, and the notice comes again.
    pub fn on_erasure<F, T>(mut self, mut on_erasure: F) -> Self
    where
        F: FnMut(ErasureNotice) -> T + Send + 'static,
        T: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        self.on_erasure = Some(Box::new(move |notice| Box::pin(on_erasure(notice))));
        self
    }

    /// Registers a callback for the error that ended a connection, called before reconnecting.
    pub fn on_reconnect(mut self, on_reconnect: impl FnMut(&Error) + Send + 'static) -> Self {
        self.on_reconnect = Some(Box::new(on_reconnect));
        self
    }

    /// Builds the follower, which connects when it is first polled.
    #[must_use = "a follower does nothing until it is asked for an event"]
    pub fn start(self) -> Follower {
        let outage = Outage::new(self.longest_outage, self.client.transport().tokens().is_renewable());
        Follower::new(self.client, self.request, self.on_erasure, self.on_reconnect, outage)
    }
}

impl fmt::Debug for FollowBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FollowBuilder").field("request", &self.request).finish_non_exhaustive()
    }
}
