//! Cuts a source of events into chunks, and reads it no faster than they are taken.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use buffa::{Message, SizeCache};
use tokio::time::{Sleep, sleep};
use tokio_stream::Stream;

use super::{
    UploadError,
    chunk::{Chunk, ChunkBuffer},
    ledger::RejectedEvent,
};
use crate::{
    error::{Error, Kind},
    uuid7::uuid7,
    v1::{ErrorReason, Event, EventError, FieldViolation},
};

/// How long an incomplete chunk waits for more events once the source pauses.
const FLUSH_AFTER: Duration = Duration::from_millis(200);
/// Covers an event's tag and length, an id if it has none, and its share of the enclosing message.
const FRAMING_BYTES: usize = 64;
/// Skipping never waits: without pauses it would starve the connection.
const SKIPPED_BETWEEN_PAUSES: u64 = 1024;

/// What a source yields next.
pub(super) enum Piece {
    Chunk(Chunk),
    /// An event too large for any chunk.
    Rejected(RejectedEvent),
}

/// The limits of chunks, and where to begin.
pub(super) struct Cut {
    pub max_events: usize,
    pub max_bytes: usize,
    /// Sequence of the last chunk that is already committed.
    pub after_sequence: i64,
    /// Number of the source's events that are already committed.
    pub skip_events: u64,
}

/// Reads a source. A chunk is complete when it is full. If the source pauses, it is taken as it is, so that
/// an endless source never lags far behind.
pub(super) struct Chunker<'a, S, E> {
    source: Pin<&'a mut S>,
    cut: Option<Cut>,
    position: u64,
    buffer: ChunkBuffer,
    /// An event that belongs after the chunk in the buffer.
    held: Option<(u64, Event)>,
    flush: Option<Pin<Box<Sleep>>>,
    sizes: SizeCache,
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
            flush: None,
            sizes: SizeCache::new(),
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

    /// The next piece, or `None` after the last. Cancel-safe.
    pub async fn next(&mut self) -> Option<Piece> {
        poll_fn(|context| self.poll_piece(context)).await
    }

    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<Piece>> {
        loop {
            if self.buffer.is_empty()
                && let Some(rejected) = self.release_held()
            {
                return Poll::Ready(Some(Piece::Rejected(rejected)));
            }
            if self.is_chunk_complete() {
                return Poll::Ready(Some(Piece::Chunk(self.take_chunk())));
            }
            if self.has_source_ended {
                return Poll::Ready(None);
            }
            match self.source.as_mut().poll_next(context) {
                Poll::Ready(Some(Ok(event))) => {
                    if self.accept(event) {
                        context.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                }
                Poll::Ready(Some(Err(error))) => self.end(Some(UploadError::Source(error))),
                Poll::Ready(None) => self.end(None),
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

    /// Processes an event of the source; returns whether it is time for a pause.
    fn accept(&mut self, event: Event) -> bool {
        let position = self.position;
        self.position += 1;
        let size_bytes = size_of_event(&event, &mut self.sizes);
        let cut = self.cut.as_mut().expect("the chunker has begun");
        if size_bytes > cut.max_bytes {
            self.held = Some((position, event));
        } else if cut.skip_events > 0 {
            cut.skip_events -= 1;
            return cut.skip_events.is_multiple_of(SKIPPED_BETWEEN_PAUSES);
        } else if self.buffer.size_bytes + size_bytes > cut.max_bytes {
            self.held = Some((position, event));
        } else {
            self.push(position, event, size_bytes);
        }
        false
    }

    /// Puts the event that waited for a new chunk into it, or returns it if it is too large for any.
    fn release_held(&mut self) -> Option<RejectedEvent> {
        let (position, event) = self.held.take()?;
        let size_bytes = size_of_event(&event, &mut self.sizes);
        let max_bytes = self.cut.as_ref().map_or(usize::MAX, |cut| cut.max_bytes);
        if size_bytes > max_bytes {
            return Some(RejectedEvent { position, event, error: too_large(size_bytes, max_bytes) });
        }
        self.push(position, event, size_bytes);
        None
    }

    fn push(&mut self, position: u64, mut event: Event, size_bytes: usize) {
        if self.buffer.is_empty() {
            self.buffer.first_position = position;
        }
        if event.event_id.is_empty() {
            event.event_id = uuid7();
        }
        self.buffer.size_bytes += size_bytes;
        self.buffer.push(&event, &mut self.sizes);
    }

    fn is_chunk_complete(&self) -> bool {
        let is_full = self.cut.as_ref().is_some_and(|cut| self.buffer.count >= cut.max_events);
        !self.buffer.is_empty() && (is_full || self.held.is_some() || self.has_source_ended)
    }

    fn take_chunk(&mut self) -> Chunk {
        self.flush = None;
        let cut = self.cut.as_mut().expect("the chunker has begun");
        cut.after_sequence += 1;
        let chunk = std::mem::take(&mut self.buffer).into_chunk(cut.after_sequence);
        self.buffer = ChunkBuffer::like(&chunk);
        chunk
    }

    fn end(&mut self, failure: Option<UploadError<E>>) {
        self.has_source_ended = true;
        let missing = self.cut.as_ref().map_or(0, |cut| cut.skip_events);
        self.failure = failure.or_else(|| (missing > 0).then(|| source_mismatch(missing).into()));
    }
}

fn size_of_event(event: &Event, sizes: &mut SizeCache) -> usize {
    sizes.clear();
    event.compute_size(sizes) as usize + FRAMING_BYTES
}

fn source_mismatch(missing: u64) -> Error {
    Error::new(
        Kind::SourceMismatch,
        format!(
            "the source ends {missing} events before the point that the upload has reached: it is not the source \
             that the upload began with"
        ),
    )
}

/// The error of an event too large for any chunk, in the server's terms.
fn too_large(size_bytes: usize, max_bytes: usize) -> EventError {
    let description = format!(
        "must take at most {} bytes, takes {}",
        max_bytes.saturating_sub(FRAMING_BYTES),
        size_bytes - FRAMING_BYTES
    );
    EventError {
        reason: ErrorReason::FieldInvalid.into(),
        message: format!("the event {description}"),
        violations: vec![FieldViolation {
            rule: "server.event.max_bytes".to_owned(),
            description,
            ..Default::default()
        }],
        violations_total: 1,
        ..Default::default()
    }
}
