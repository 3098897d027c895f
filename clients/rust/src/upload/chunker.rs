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

/// How long what a source gave waits for more, once the source pauses.
const FLUSH_AFTER: Duration = Duration::from_millis(200);
/// Room for an event's tag and length, an id where it has none, and its share of the message around it.
const FRAMING_BYTES: usize = 64;
/// Skipping does not wait for anything: without pauses the connection would be left alone for too long.
const SKIPPED_BETWEEN_PAUSES: u64 = 1024;

/// What comes next of a source.
pub(super) enum Piece {
    Chunk(Chunk),
    /// An event that is too large for any chunk.
    Refused(RejectedEvent),
}

/// The limits of a chunk, and where to begin.
pub(super) struct Cut {
    pub max_events: usize,
    pub max_bytes: usize,
    /// Sequence of the last chunk that is committed already.
    pub after_sequence: i64,
    /// How many events of the source that makes.
    pub skip_events: u64,
}

/// Reads a source. A chunk is complete when it is full, and is taken as it is when the source makes it wait,
/// so that a source without an end is never far behind.
pub(super) struct Chunker<'a, S, E> {
    source: Pin<&'a mut S>,
    cut: Option<Cut>,
    position: u64,
    buffer: ChunkBuffer,
    /// An event that belongs behind the chunk in the buffer.
    held: Option<(u64, Event)>,
    flush: Option<Pin<Box<Sleep>>>,
    sizes: SizeCache,
    has_source_ended: bool,
    /// What the source failed with; what it gave before comes as chunks all the same.
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

    /// Begins to read, behind the events that are committed already.
    pub fn begin(&mut self, cut: Cut) {
        self.cut = Some(cut);
    }

    pub fn has_begun(&self) -> bool {
        self.cut.is_some()
    }

    /// Whether the source has ended, in whatever way, and its last chunk was taken.
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

    /// The next piece, or none behind the last. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Piece> {
        poll_fn(|context| self.poll_piece(context)).await
    }

    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<Piece>> {
        loop {
            if self.buffer.is_empty()
                && let Some(refused) = self.release_held()
            {
                return Poll::Ready(Some(Piece::Refused(refused)));
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

    /// Ready when what there is has waited long enough.
    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.buffer.is_empty() {
            return Poll::Pending;
        }
        self.flush.get_or_insert_with(|| Box::pin(sleep(FLUSH_AFTER))).as_mut().poll(context)
    }

    /// Takes an event of the source in; whether it is time for a pause.
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

    /// Puts the event that waited for a new chunk into it, or gives it back where no chunk can carry it.
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

/// Why an event is refused that no chunk can carry, in the server's terms.
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
