//! Follows the events of an account across lost connections and server restarts.

mod builder;
mod stream;

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::time::{Sleep, sleep};
use tokio_stream::Stream;

pub use builder::{FollowBuilder, Start};
use builder::{OnErasure, OnReconnect};
use stream::FollowStream;

use crate::{
    client::Client,
    error::{BoxError, Error, Kind},
    retry::Outage,
    v1::{
        StoredEvent, SubscribeEventsRequest, SubscribeEventsResponse,
        subscribe_events_request::Start as StartField, subscribe_events_response::Message,
    },
};

/// A batch of consecutive events.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct EventBatch {
    /// At least one event, in the order of acceptance.
    pub events: Vec<StoredEvent>,
    /// Covers the events and everything before them.
    pub cursor: String,
}

/// A stream of the events that match a filter, in the order of acceptance, as soon as they are available;
/// created by [`FollowBuilder::start`].
///
/// It yields single events; [`next_batch`](Self::next_batch) is much faster for many. Each continues where
/// the other stopped. There are no gaps and no repeats, whatever happens to the connection or the server.
/// Waiting is cancel-safe, and after an error the next wait continues after [`cursor`](Self::cursor).
///
/// ```no_run
/// # use engagement_attributes::{Client, Error, Start, v1::StoredEvent};
/// # async fn store(events: Vec<StoredEvent>, cursor: String) {}
/// # async fn run(client: Client, cursor: String) -> Result<(), Error> {
/// let mut follower = client.follow(Start::After(cursor)).start();
/// while let Some(batch) = follower.next_batch().await {
///     let batch = batch?;
///     store(batch.events, batch.cursor).await;
/// }
/// # Ok(())
/// # }
/// ```
///
/// Memory holds one batch. The connection is not read before an event is asked for; a slow reader affects no
/// others.
///
/// # Errors
///
/// [`Kind::Precondition`] if the cursor precedes the retained events or belongs to another log,
/// [`Kind::InvalidArgument`] if the cursor or the filter is invalid, the last connection's error if an outage
/// lasts too long, and any other that is not transient, at once.
pub struct Follower {
    client: Client,
    request: SubscribeEventsRequest,
    on_erasure: Option<OnErasure>,
    on_reconnect: Option<OnReconnect>,
    outage: Outage,
    state: State,
    cursor: String,
    held: std::vec::IntoIter<StoredEvent>,
    held_cursor: String,
    lag_events: u64,
    is_caught_up: bool,
}

/// What the follower is waiting for, kept between polls so that a wait can be dropped at any point.
enum State {
    Disconnected,
    Connected(Box<FollowStream>),
    /// The caller handles an erasure notice; the cursor moves only when that is done.
    Erasing {
        taken: Taken,
        cursor: String,
        stream: Box<FollowStream>,
    },
    /// A connection was lost, and it is too early to reconnect.
    Waiting(Pin<Box<Sleep>>),
    Ended,
}

type Taken = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;

impl Follower {
    fn new(
        client: Client,
        request: SubscribeEventsRequest,
        on_erasure: Option<OnErasure>,
        on_reconnect: Option<OnReconnect>,
        outage: Outage,
    ) -> Self {
        let cursor = match &request.start {
            Some(StartField::AfterCursor(cursor)) => cursor.clone(),
            _ => String::new(),
        };
        Self {
            client,
            request,
            on_erasure,
            on_reconnect,
            outage,
            state: State::Disconnected,
            cursor,
            held: Vec::new().into_iter(),
            held_cursor: String::new(),
            lag_events: 0,
            is_caught_up: false,
        }
    }

    /// Covers exactly the events yielded so far, and the events around them that do not match the filter.
    ///
    /// Store it after handling an event and start again with [`Start::After`]: nothing is missed, and only
    /// events handled since it was last stored come again. It also moves while no event matches the filter.
    /// It is empty until the server has accepted the subscription.
    pub fn cursor(&self) -> &str {
        &self.cursor
    }

    /// Whether all stored events have been yielded; false while disconnected.
    pub fn is_caught_up(&self) -> bool {
        self.is_caught_up && self.held.len() == 0
    }

    /// The number of stored events after the cursor, as last reported by the server, less those yielded
    /// since.
    ///
    /// Events that do not match the filter are counted.
    pub fn lag_events(&self) -> u64 {
        self.lag_events + self.held.len() as u64
    }

    /// The next event; `None` at the end, which only a follower that stops at the tail reaches.
    pub async fn next(&mut self) -> Option<Result<StoredEvent, Error>> {
        poll_fn(|context| self.poll_event(context)).await
    }

    /// The next batch of events; `None` at the end.
    pub async fn next_batch(&mut self) -> Option<Result<EventBatch, Error>> {
        poll_fn(|context| self.poll_batch(context)).await
    }

    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<StoredEvent, Error>>> {
        loop {
            if let Some(event) = self.held.next() {
                self.cursor = match self.held.len() {
                    0 => std::mem::take(&mut self.held_cursor),
                    _ => event.cursor.clone(),
                };
                return Poll::Ready(Some(Ok(event)));
            }
            match ready!(self.poll_held(context)) {
                Some(Ok(())) => {}
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }

    fn poll_batch(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<EventBatch, Error>>> {
        if self.held.len() == 0 {
            match ready!(self.poll_held(context)) {
                Some(Ok(())) => {}
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        self.cursor = std::mem::take(&mut self.held_cursor);
        let events = std::mem::take(&mut self.held).collect();
        Poll::Ready(Some(Ok(EventBatch { events, cursor: self.cursor.clone() })))
    }

    /// Ready when a batch is held; `None` at the end.
    fn poll_held(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<(), Error>>> {
        loop {
            match &mut self.state {
                State::Ended => return Poll::Ready(None),
                State::Disconnected => {
                    let stream = FollowStream::open(&self.client, self.next_request());
                    self.state = State::Connected(Box::new(stream));
                }
                State::Waiting(timer) => {
                    ready!(timer.as_mut().poll(context));
                    self.state = State::Disconnected;
                }
                State::Erasing { taken, .. } => {
                    let result = ready!(taken.as_mut().poll(context));
                    if let Err(error) = self.end_erasing(result) {
                        return Poll::Ready(Some(Err(error)));
                    }
                }
                State::Connected(stream) => match ready!(stream.poll_message(context)) {
                    Ok(Some(message)) => self.take(message),
                    Ok(None) => {
                        self.disconnect();
                        self.state = State::Ended;
                    }
                    Err(error) => {
                        if let Err(error) = self.await_reconnect(error) {
                            return Poll::Ready(Some(Err(error)));
                        }
                    }
                },
            }
            if self.held.len() > 0 {
                return Poll::Ready(Some(Ok(())));
            }
        }
    }

    fn take(&mut self, response: SubscribeEventsResponse) {
        let SubscribeEventsResponse { cursor, message, .. } = response;
        match message {
            Some(Message::Batch(batch)) => {
                self.lag_events = self.lag_events.saturating_sub(batch.events.len() as u64);
                self.outage.end();
                if !batch.events.is_empty() {
                    self.held_cursor = cursor;
                    self.held = batch.events.into_iter();
                    return;
                }
            }
            Some(Message::Started(started)) => self.lag_events = count(started.lag_events),
            Some(Message::CaughtUp(_)) => {
                self.is_caught_up = true;
                self.lag_events = 0;
                self.outage.end();
            }
            Some(Message::FellBehind(fell_behind)) => {
                self.is_caught_up = false;
                self.lag_events = count(fell_behind.lag_events);
                self.outage.end();
            }
            Some(Message::Progress(progress)) => {
                self.lag_events = count(progress.lag_events);
                self.outage.end();
            }
            Some(Message::ErasureNotice(notice)) => {
                self.outage.end();
                if let Some(on_erasure) = &mut self.on_erasure {
                    let taken = on_erasure(*notice);
                    return self.begin_erasing(taken, cursor);
                }
            }
            Some(Message::Closing(_)) => {}
            // A message that this version does not know.
            None => self.outage.end(),
        }
        self.cursor = cursor;
    }

    fn begin_erasing(&mut self, taken: Taken, cursor: String) {
        if let State::Connected(stream) = std::mem::replace(&mut self.state, State::Disconnected) {
            self.state = State::Erasing { taken, cursor, stream };
        }
    }

    fn end_erasing(&mut self, result: Result<(), BoxError>) -> Result<(), Error> {
        let state = std::mem::replace(&mut self.state, State::Disconnected);
        if let Err(source) = result {
            // The cursor stays before the notice, so that it comes again.
            self.disconnect();
            return Err(Error::new(Kind::Other, "an erasure notice was not taken").with_source(source));
        }
        if let State::Erasing { cursor, stream, .. } = state {
            self.cursor = cursor;
            self.state = State::Connected(stream);
        }
        Ok(())
    }

    /// Waits until it is time to reconnect. Returns the error if reconnecting cannot help.
    fn await_reconnect(&mut self, error: Error) -> Result<(), Error> {
        self.disconnect();
        let (delay, error) = self.outage.delay_after(error)?;
        if let Some(on_reconnect) = &mut self.on_reconnect {
            on_reconnect(&error);
        }
        self.state = State::Waiting(Box::pin(sleep(delay)));
        Ok(())
    }

    fn next_request(&self) -> SubscribeEventsRequest {
        let mut request = self.request.clone();
        if !self.cursor.is_empty() {
            request.start = Some(StartField::AfterCursor(self.cursor.clone()));
        }
        request
    }

    fn disconnect(&mut self) {
        self.is_caught_up = false;
        self.state = State::Disconnected;
    }
}

impl Stream for Follower {
    type Item = Result<StoredEvent, Error>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_event(context)
    }
}

impl fmt::Debug for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follower")
            .field("cursor", &self.cursor)
            .field("is_caught_up", &self.is_caught_up)
            .field("lag_events", &self.lag_events())
            .finish_non_exhaustive()
    }
}

fn count(events: i64) -> u64 {
    u64::try_from(events).unwrap_or_default()
}
