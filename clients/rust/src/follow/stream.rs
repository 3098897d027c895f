//! One connection of a follower: reads the server's messages, and distinguishes its end from a loss.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};
use tokio_stream::Stream;
use tonic::{Response, Status, Streaming};

use crate::{
    client::Client,
    error::Error,
    transport::Transport,
    v1::{
        SubscribeEventsRequest, SubscribeEventsResponse,
        subscribe_events_response::{Message, closing::Reason},
    },
};

type Messages = Streaming<SubscribeEventsResponse>;
type Call = Pin<Box<dyn Future<Output = Result<Response<Messages>, Status>> + Send>>;

/// One stream of SubscribeEvents. It is read one message at a time, never ahead of its reader.
pub(super) struct FollowStream {
    call: Option<Call>,
    messages: Option<Messages>,
    stops_at_tail: bool,
    silence: Duration,
    /// Runs only while a message is awaited: a slow reader does not make the server silent.
    patience: Pin<Box<Sleep>>,
    is_waiting: bool,
    is_closing: bool,
    reconnect_delay: Option<Duration>,
    transport: Transport,
    /// When the call had its token at the latest.
    opened_at: Option<Instant>,
}

impl FollowStream {
    pub fn open(client: &Client, request: SubscribeEventsRequest) -> Self {
        let silence = client.transport().timeout();
        let stops_at_tail = request.stop_at_tail;
        let mut stub = client.events();
        Self {
            call: Some(Box::pin(async move { stub.subscribe_events(request).await })),
            messages: None,
            stops_at_tail,
            silence,
            patience: Box::pin(sleep(silence)),
            is_waiting: false,
            is_closing: false,
            reconnect_delay: None,
            transport: client.transport().clone(),
            opened_at: None,
        }
    }

    /// The next message or, if the stream was to stop at the tail, `None` after the last one.
    ///
    /// Fails with an error of kind `Unavailable` if the server closes the stream or is silent for too long.
    pub fn poll_message(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<SubscribeEventsResponse>, Error>> {
        match self.poll_read(context) {
            Poll::Ready(Ok(Some(message))) => {
                self.note(&message);
                Poll::Ready(Ok(Some(message)))
            }
            Poll::Ready(Ok(None)) if self.stops_at_tail && !self.is_closing => Poll::Ready(Ok(None)),
            Poll::Ready(Ok(None)) => Poll::Ready(Err(
                Error::unavailable("the server closed the stream").with_retry_delay(self.reconnect_delay)
            )),
            Poll::Ready(Err(status)) => {
                let error = Error::from(status);
                if error.is_expired_token() {
                    self.discard_token();
                }
                Poll::Ready(Err(error))
            }
            Poll::Pending => self.poll_patience(context).map(|()| {
                let seconds = self.silence.as_secs_f64();
                Err(Error::unavailable(format!("no message from the server for {seconds} seconds")))
            }),
        }
    }

    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<SubscribeEventsResponse>, Status>> {
        if let Some(call) = &mut self.call {
            let response = std::task::ready!(call.as_mut().poll(context));
            self.call = None;
            self.opened_at = Some(Instant::now());
            self.messages = Some(response?.into_inner());
        }
        match &mut self.messages {
            Some(messages) => Pin::new(messages).poll_next(context).map(Option::transpose),
            None => Poll::Ready(Ok(None)),
        }
    }

    fn poll_patience(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if !self.is_waiting {
            self.is_waiting = true;
            self.patience.as_mut().reset(Instant::now() + self.silence);
        }
        self.patience.as_mut().poll(context)
    }

    fn discard_token(&self) {
        self.transport.tokens().discard(self.opened_at.unwrap_or_else(Instant::now));
    }

    fn note(&mut self, message: &SubscribeEventsResponse) {
        match &message.message {
            Some(Message::Started(started)) => {
                let interval = started.heartbeat_interval.as_option().cloned();
                match interval.and_then(|interval| Duration::try_from(interval).ok()) {
                    Some(interval) if !interval.is_zero() => self.silence = 2 * interval,
                    _ => {}
                }
            }
            Some(Message::Closing(closing)) => {
                self.is_closing = true;
                if closing.reason == Reason::Unauthenticated {
                    self.discard_token();
                }
                let delay = closing.reconnect_delay.as_option().cloned();
                self.reconnect_delay = delay.and_then(|delay| delay.try_into().ok());
            }
            _ => {}
        }
        self.is_waiting = false;
    }
}
