//! One connection of an upload: sends, receives, and decides when it is lost.

use std::time::Duration;

use http::uri::PathAndQuery;
use tokio::{
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
    time::{Instant, timeout_at},
};
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Status, Streaming, client::Grpc};

use super::run::Opening;
use crate::{
    client::Client,
    codec::{Frame, UploadCodec},
    error::Error,
    transport::{MAX_RECEIVED_MESSAGE_BYTES, Transport},
    v1::{
        SourceDigest, UploadEventsRequest, UploadEventsResponse,
        upload_events_request::{Finish, Open},
        upload_events_response::{Closing, Message, closing::Reason},
    },
};

const PATH: &str = "/engagement.v1.IngestService/UploadEvents";

/// One stream of UploadEvents.
pub(super) struct UploadStream {
    /// Frames to send; `None` after the last. The window bounds their number.
    frames: Option<UnboundedSender<Frame>>,
    messages: Streaming<UploadEventsResponse>,
    is_open: bool,
    window_chunks: usize,
    silence: Duration,
    quiet_since: Instant,
    reconnect_delay: Option<Duration>,
    transport: Transport,
    /// When the call had its token at the latest.
    opened_at: Instant,
}

impl UploadStream {
    pub async fn open(client: &Client, opening: &Opening) -> Result<Self, Error> {
        let silence = client.transport().timeout();
        let quiet_since = Instant::now();
        let (frames, requests) = mpsc::unbounded_channel();
        let open = Open {
            account_id: client.account_id().to_owned(),
            upload_id: opening.upload_id.clone(),
            keep_going: opening.keep_going,
            ..Default::default()
        };
        let first = UploadEventsRequest { message: open.into(), ..Default::default() };
        let _ = frames.send(Frame::from(&first));
        let transport = client.transport().clone();
        let mut grpc = Grpc::new(transport.clone()).max_decoding_message_size(MAX_RECEIVED_MESSAGE_BYTES);
        let call =
            grpc.streaming(Request::new(Frames(requests)), PathAndQuery::from_static(PATH), UploadCodec);
        let response = timeout_at(quiet_since + silence, call)
            .await
            .map_err(|_| silent(silence))?
            .map_err(|status| failed(status, &transport, Instant::now()))?;
        Ok(Self {
            frames: Some(frames),
            messages: response.into_inner(),
            is_open: false,
            window_chunks: 1,
            silence,
            quiet_since,
            reconnect_delay: None,
            transport,
            opened_at: Instant::now(),
        })
    }

    /// Whether another chunk, or `finish`, may be sent while so many chunks wait for their ack.
    pub fn may_send(&self, unacked_chunks: usize) -> bool {
        self.is_open && self.frames.is_some() && unacked_chunks < self.window_chunks
    }

    /// The next message, or `None` at the end. Fails if the server is silent for too long. Cancel-safe.
    pub async fn receive(&mut self) -> Result<Option<Message>, Error> {
        let message = loop {
            let next = timeout_at(self.quiet_since + self.silence, self.messages.next());
            let next = next.await.map_err(|_| silent(self.silence))?.transpose();
            match next.map_err(|status| failed(status, &self.transport, self.opened_at))? {
                None => return Ok(None),
                Some(UploadEventsResponse { message: Some(message), .. }) => break message,
                // A message that this version does not know.
                Some(_) => self.quiet_since = Instant::now(),
            }
        };
        self.quiet_since = Instant::now();
        if let Message::Opened(opened) = &message {
            self.is_open = true;
            self.window_chunks = usize::try_from(opened.max_unacked_chunks).unwrap_or_default().max(1);
            let interval = opened.heartbeat_interval.as_option().cloned();
            match interval.and_then(|interval| Duration::try_from(interval).ok()) {
                Some(interval) if !interval.is_zero() => self.silence = 2 * interval,
                _ => {}
            }
        }
        Ok(Some(message))
    }

    pub fn send(&mut self, frame: Frame) {
        if let Some(frames) = &self.frames {
            // Fails only if the connection is lost, which the receiving side reports.
            let _ = frames.send(frame);
        }
    }

    /// Declares that no chunk follows.
    pub fn finish(&mut self, last_sequence: i64, source: SourceDigest) {
        let finish = Finish { last_sequence, source: source.into(), ..Default::default() };
        self.send(Frame::from(&UploadEventsRequest { message: finish.into(), ..Default::default() }));
        self.half_close();
    }

    pub fn half_close(&mut self) {
        self.frames = None;
    }

    /// Stops sending, because the server is about to end the stream; its last messages are still read.
    pub fn close(&mut self, closing: &Closing) {
        self.half_close();
        if closing.reason == Reason::Unauthenticated {
            self.transport.tokens().discard(self.opened_at);
        }
        let delay = closing.reconnect_delay.as_option().cloned();
        self.reconnect_delay = delay.and_then(|delay| delay.try_into().ok());
    }

    /// The error of a connection that the server has closed without an error.
    pub fn closed(&self) -> Error {
        Error::unavailable("the server closed the stream").with_retry_delay(self.reconnect_delay)
    }
}

/// The error of a stream, after which the next one asks for another token if this one's has expired.
fn failed(status: Status, transport: &Transport, opened_at: Instant) -> Error {
    let error = Error::from(status);
    if error.is_expired_token() {
        transport.tokens().discard(opened_at);
    }
    error
}

fn silent(silence: Duration) -> Error {
    Error::unavailable(format!("no message from the server for {} seconds", silence.as_secs_f64()))
}

/// The frames to send, as a stream.
struct Frames(UnboundedReceiver<Frame>);

impl Stream for Frames {
    type Item = Frame;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Frame>> {
        self.0.poll_recv(context)
    }
}
