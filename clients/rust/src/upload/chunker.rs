//! Cuts a source of events into chunks, and reads it no faster than they are taken.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Sleep, sleep};
use tokio_stream::Stream;

use super::{
    UploadError,
    canonical::CanonicalForm,
    chunk::{Chunk, ChunkBuffer},
    ledger::RejectedEvent,
    source::SourceDigester,
};
use crate::{
    error::{Error, Kind},
    v1::{ErrorReason, Event, EventError, FieldViolation, SourceDigest},
};

/// How long an incomplete chunk waits for more events once the source pauses.
const FLUSH_AFTER: Duration = Duration::from_millis(200);
/// Covers an event's tag and length, and its share of the enclosing message.
const FRAMING_BYTES: usize = 64;
/// The contract's limit, which `GetServerInfo` names `max_event_bytes`.
const MAX_EVENT_BYTES: usize = 3_584 * 1024;
/// Skipping never waits: without pauses it would starve the connection.
const SKIPPED_BETWEEN_PAUSES: u64 = 1024;

/// What a source yields next.
pub(super) enum Piece {
    Chunk(Chunk),
    /// An event that is larger than events may be.
    Rejected(RejectedEvent),
}

/// The limits of chunks, and where to begin.
pub(super) struct Cut {
    pub max_events: usize,
    pub max_bytes: usize,
    /// Sequence of the last chunk that is already committed.
    pub after_sequence: i64,
    pub source: SourceDigester,
    /// Number of committed events to skip without comparing them.
    pub skip_events: u64,
}

impl Cut {
    /// Checks a source that has ended.
    fn end(&self) -> Result<(), Error> {
        if self.skip_events == 0 {
            return self.source.end();
        }
        let message = format!(
            "the source ends {} events before the point that the upload has reached: it is not the source that \
             the upload began with; use another upload id for another source",
            self.skip_events
        );
        Err(Error::new(Kind::SourceMismatch, message))
    }
}

/// Where an event has gone.
enum Placed {
    /// Into the chunk in the buffer.
    Buffered,
    /// Nowhere: it is committed.
    Skipped,
    /// Nowhere: it is larger than events may be.
    Rejected(Box<RejectedEvent>),
}

/// Reads a source. A chunk is complete when it is full; a larger event is alone in its chunk. If the source
/// pauses, a chunk is taken as it is, so that an endless source never lags far behind.
pub(super) struct Chunker<'a, S, E> {
    source: Pin<&'a mut S>,
    cut: Option<Cut>,
    position: u64,
    buffer: ChunkBuffer,
    /// An event that was read and is not yet in its place, which may be after the chunk in the buffer.
    held: Option<(u64, Event)>,
    form: CanonicalForm,
    flush: Option<Pin<Box<Sleep>>>,
    has_source_ended: bool,
    /// The source's error; the events before still come as chunks.
    failure: Option<UploadError<E>>,
}

impl<'a, S: Stream<Item = Result<Event, E>>, E> Chunker<'a, S, E> {
    pub fn new(source: Pin<&'a mut S>) -> Self {
        Self {
            source,
            cut: None,
            position: 0,
            buffer: ChunkBuffer::default(),
            held: None,
            form: CanonicalForm::default(),
            flush: None,
            has_source_ended: false,
            failure: None,
        }
    }

    /// Starts reading after the events that are already committed.
    pub fn begin(&mut self, cut: Cut) {
        self.cut = Some(cut);
    }

    pub fn has_begun(&self) -> bool {
        self.cut.is_some()
    }

    /// Whether the source has ended, for whatever reason, and its last chunk was taken.
    pub fn has_ended(&self) -> bool {
        self.has_source_ended && self.buffer.is_empty() && self.held.is_none()
    }

    pub fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    pub fn into_failure(self) -> Option<UploadError<E>> {
        self.failure
    }

    /// Sequence of the last chunk that was taken or skipped.
    pub fn last_sequence(&self) -> i64 {
        self.cut.as_ref().map_or(0, |cut| cut.after_sequence)
    }

    /// The digest of the source, as far as it was taken.
    pub fn digest(&self) -> SourceDigest {
        self.cut.as_ref().map(|cut| cut.source.digest()).unwrap_or_default()
    }

    /// The next piece, or `None` after the last. Cancel-safe.
    pub async fn next(&mut self) -> Option<Piece> {
        poll_fn(|context| self.poll_piece(context)).await
    }

    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<Piece>> {
        loop {
            match self.place_held() {
                Some(Placed::Rejected(rejected)) => return Poll::Ready(Some(Piece::Rejected(*rejected))),
                Some(Placed::Skipped) if self.position.is_multiple_of(SKIPPED_BETWEEN_PAUSES) => {
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                _ => {}
            }
            if self.is_chunk_complete() {
                return Poll::Ready(Some(Piece::Chunk(self.take_chunk())));
            }
            if self.has_source_ended {
                return Poll::Ready(None);
            }
            match self.source.as_mut().poll_next(context) {
                Poll::Ready(Some(Ok(event))) => {
                    self.held = Some((self.position, event));
                    self.position += 1;
                }
                Poll::Ready(Some(Err(error))) => self.end(Some(UploadError::Source(error))),
                Poll::Ready(None) => {
                    let failure = self.cut.as_ref().and_then(|cut| cut.end().err());
                    self.end(failure.map(UploadError::Call));
                }
                Poll::Pending => {
                    ready!(self.poll_flush(context));
                    return Poll::Ready(Some(Piece::Chunk(self.take_chunk())));
                }
            }
        }
    }

    /// Ready once the buffered events have waited long enough.
    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.buffer.is_empty() {
            return Poll::Pending;
        }
        self.flush.get_or_insert_with(|| Box::pin(sleep(FLUSH_AFTER))).as_mut().poll(context)
    }

    /// Digests the event that was read last, and puts it into its place. It waits if it does not fit into the
    /// chunk in the buffer, because the digest of a chunk covers no event after it.
    fn place_held(&mut self) -> Option<Placed> {
        let (position, event) = self.held.take()?;
        let cut = self.cut.as_mut().expect("the chunker has begun");
        let form_bytes = self.form.write(&event);
        let size_bytes = form_bytes + FRAMING_BYTES;
        let is_too_large = form_bytes > MAX_EVENT_BYTES;
        let has_room = self.buffer.size_bytes + size_bytes <= cut.max_bytes && !is_too_large;
        if !self.buffer.is_empty() && !has_room {
            self.held = Some((position, event));
            return None;
        }
        let is_compared = cut.source.is_comparing();
        if let Err(error) = cut.source.add(self.form.as_bytes()) {
            self.end(Some(error.into()));
            return None;
        }
        if is_too_large {
            // Its memory is not needed again.
            self.form = CanonicalForm::default();
            let error = too_large(form_bytes);
            return Some(Placed::Rejected(Box::new(RejectedEvent { position, event, error })));
        }
        if is_compared {
            return Some(Placed::Skipped);
        }
        if cut.skip_events > 0 {
            cut.skip_events -= 1;
            return Some(Placed::Skipped);
        }
        if self.buffer.is_empty() {
            self.buffer.first_position = position;
        }
        self.buffer.size_bytes += size_bytes;
        self.buffer.push(self.form.as_bytes());
        Some(Placed::Buffered)
    }

    fn is_chunk_complete(&self) -> bool {
        let is_full = self.cut.as_ref().is_some_and(|cut| self.buffer.count >= cut.max_events);
        !self.buffer.is_empty() && (is_full || self.held.is_some() || self.has_source_ended)
    }

    fn take_chunk(&mut self) -> Chunk {
        self.flush = None;
        let cut = self.cut.as_mut().expect("the chunker has begun");
        cut.after_sequence += 1;
        let chunk = std::mem::take(&mut self.buffer).into_chunk(cut.after_sequence, cut.source.digest());
        self.buffer = ChunkBuffer::like(&chunk);
        chunk
    }

    fn end(&mut self, failure: Option<UploadError<E>>) {
        self.has_source_ended = true;
        self.failure = failure;
    }
}

/// The error of an event that is larger than events may be, in the server's terms.
fn too_large(size_bytes: usize) -> EventError {
    let rule = "server.event.max_bytes";
    let description = format!("must take at most {MAX_EVENT_BYTES} bytes, takes {size_bytes}");
    let facts = [("field", ""), ("rule", rule), ("description", &description), ("violationsTotal", "1")];
    EventError {
        metadata: facts.into_iter().map(|(name, text)| (name.to_owned(), text.to_owned())).collect(),
        reason: ErrorReason::FieldInvalid.into(),
        message: format!("the event {description}"),
        violations: vec![FieldViolation { rule: rule.to_owned(), description, ..Default::default() }],
        violations_total: 1,
        ..Default::default()
    }
}
