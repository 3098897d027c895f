//! Events that are sent, committed and, if necessary, resent together, serialized once.

use std::collections::HashSet;

use buffa::{
    Message,
    encoding::{decode_varint, encode_varint},
};
use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::{
    codec::Frame,
    v1::{Event, SourceDigest, upload_events_request},
};

// Tags of length-delimited fields, as the contract numbers them.
const REQUEST_CHUNK_TAG: u64 = 2 << 3 | 2;
const CHUNK_EVENTS_TAG: u64 = 2 << 3 | 2;

/// The serialized events of an incomplete chunk.
#[derive(Default)]
pub(super) struct ChunkBuffer {
    events: BytesMut,
    pub count: usize,
    /// Size of the events, including the framing charged for each.
    pub size_bytes: usize,
    /// Position of the first event in the source.
    pub first_position: u64,
}

impl ChunkBuffer {
    /// Allocates about as much as the previous chunk took.
    pub fn like(previous: &Chunk) -> Self {
        Self { events: BytesMut::with_capacity(previous.frame.events.len()), ..Self::default() }
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds a serialized event.
    pub fn push(&mut self, form: &[u8]) {
        encode_varint(CHUNK_EVENTS_TAG, &mut self.events);
        encode_varint(form.len() as u64, &mut self.events);
        self.events.put_slice(form);
        self.count += 1;
    }

    /// The chunk; `source` is the beginning of the source up to its last event.
    pub fn into_chunk(self, sequence: i64, source: SourceDigest) -> Chunk {
        // Fields may come in any order: those beside the events come first.
        let fields =
            upload_events_request::Chunk { sequence, source: source.clone().into(), ..Default::default() }
                .encode_to_bytes();
        let mut head = BytesMut::new();
        encode_varint(REQUEST_CHUNK_TAG, &mut head);
        encode_varint((fields.len() + self.events.len()) as u64, &mut head);
        head.put(fields);
        Chunk {
            sequence,
            source,
            first_position: self.first_position,
            count: self.count,
            frame: Frame { head: head.freeze(), events: self.events.freeze() },
            reported: HashSet::new(),
        }
    }
}

/// A complete chunk.
pub(super) struct Chunk {
    pub sequence: i64,
    /// The beginning of the source up to the last event.
    pub source: SourceDigest,
    /// Position of the first event in the source, from 0; the others follow it without a gap.
    pub first_position: u64,
    pub count: usize,
    pub frame: Frame,
    /// Indexes of the events whose rejection was reported to the caller.
    pub reported: HashSet<i32>,
}

impl Chunk {
    /// Position after the last event.
    pub fn end_position(&self) -> u64 {
        self.first_position + self.count as u64
    }

    /// One event as sent.
    pub fn event(&self, index: usize) -> Option<Event> {
        let mut events = self.frame.events.clone();
        let mut current = next_event(&mut events);
        for _ in 0..index {
            current = next_event(&mut events);
        }
        Event::decode(&mut current?).ok()
    }
}

fn next_event(events: &mut Bytes) -> Option<Bytes> {
    decode_varint(events).ok()?;
    let length = usize::try_from(decode_varint(events).ok()?).ok()?;
    (length <= events.remaining()).then(|| events.split_to(length))
}
