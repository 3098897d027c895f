//! The books of one upload: what is on the way, the totals, and what the caller is told of both.

use std::collections::VecDeque;

use super::{OnProgress, OnRejection, chunk::Chunk};
use crate::v1::{
    Event, EventError, Outcome, Tally, Upload, UploadResult, upload::State, upload_events_response::Ack,
};

/// How far an upload is, counted in events of its source.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Progress {
    /// Events given to the connection, in this run or in an earlier one.
    pub sent: u64,
    /// Events with an outcome: those of the tally together.
    pub acknowledged: u64,
    /// How many events had each outcome.
    pub tally: Tally,
    /// How many connections were lost.
    pub reconnects: u32,
}

/// An event that was refused.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RejectedEvent {
    /// Position in the source, from 0.
    pub position: u64,
    /// The event as sent, with the id that it got where it had none.
    pub event: Event,
    /// Why.
    pub error: EventError,
}

/// A finished upload.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct UploadSummary {
    /// The client's name for the upload.
    pub upload_id: String,
    /// Totals of the whole upload, of earlier runs too, and of the events refused by the client itself.
    pub tally: Tally,
    /// Events of the whole upload; every one has one of the tally's outcomes.
    pub events: u64,
    /// How many connections were lost.
    pub reconnects: u32,
    /// Events of the source that an earlier run had committed. Where there are some, `GetUpload` has all
    /// rejections of the server.
    pub skipped_events: u64,
}

/// Keeps the chunks that are not known to be committed, and tells the caller what became of events.
///
/// Each rejection is told once, with the event's position in the source, whatever connections are lost.
pub(super) struct UploadLedger {
    on_progress: Option<OnProgress>,
    on_rejection: Option<OnRejection>,
    /// Chunks to send again after a lost connection; the window bounds their number.
    unacked: VecDeque<Chunk>,
    committed_through: i64,
    tally: Tally,
    is_finished: bool,
    sent: u64,
    refused: i64,
    reconnects: u32,
    skipped_events: u64,
}

impl UploadLedger {
    pub fn new(on_progress: Option<OnProgress>, on_rejection: Option<OnRejection>) -> Self {
        Self {
            on_progress,
            on_rejection,
            unacked: VecDeque::new(),
            committed_through: 0,
            tally: Tally::default(),
            is_finished: false,
            sent: 0,
            refused: 0,
            reconnects: 0,
            skipped_events: 0,
        }
    }

    pub fn committed_through(&self) -> i64 {
        self.committed_through
    }

    pub fn is_finished(&self) -> bool {
        self.is_finished
    }

    pub fn unacked(&self) -> &VecDeque<Chunk> {
        &self.unacked
    }

    /// Begins behind what an earlier run had committed; how many events that is.
    pub fn skip_committed(&mut self) -> u64 {
        self.skipped_events = total(&self.tally);
        self.sent = self.skipped_events;
        self.skipped_events
    }

    /// A chunk is about to be sent.
    pub fn add(&mut self, chunk: Chunk) {
        self.sent = chunk.end_position();
        self.unacked.push_back(chunk);
    }

    /// Takes in an ack; whether the upload moves or has nothing to wait for.
    pub fn acknowledge(&mut self, ack: Ack) -> bool {
        let has_moved = ack.committed_through > self.committed_through;
        self.settle(ack.committed_through, ack.tally.into_option().unwrap_or_default(), &ack.results);
        has_moved || self.unacked.is_empty()
    }

    /// Whether rejections of chunks on the way were not heard of.
    pub fn misses_rejections(&self, upload: &Upload) -> bool {
        self.on_rejection.is_some() && !self.unacked.is_empty() && upload.tally.rejected > self.tally.rejected
    }

    /// Takes in the state of the upload, with the rejections that were not heard of.
    pub fn catch_up(&mut self, upload: Upload, missed: &[UploadResult]) {
        self.is_finished = upload.state == State::Finished;
        self.settle(upload.committed_through, upload.tally.into_option().unwrap_or_default(), missed);
    }

    /// An event that cannot be sent at all.
    pub fn refuse(&mut self, rejected: RejectedEvent) {
        self.refused += 1;
        if let Some(on_rejection) = &mut self.on_rejection {
            on_rejection(rejected);
        }
    }

    /// The connection was lost and is made again.
    pub fn note_reconnect(&mut self) {
        self.reconnects += 1;
        self.report_progress();
    }

    /// The summary of the finished upload.
    pub fn summarize(&self, upload_id: String) -> UploadSummary {
        let tally = self.full_tally();
        UploadSummary {
            upload_id,
            events: total(&tally),
            tally,
            reconnects: self.reconnects,
            skipped_events: self.skipped_events,
        }
    }

    fn settle(&mut self, committed_through: i64, tally: Tally, results: &[UploadResult]) {
        if let Some(on_rejection) = &mut self.on_rejection {
            for result in results {
                if let Some(rejected) = take_rejection(&mut self.unacked, result) {
                    on_rejection(rejected);
                }
            }
        }
        self.committed_through = committed_through;
        self.tally = tally;
        while self.unacked.front().is_some_and(|chunk| chunk.sequence <= committed_through) {
            self.unacked.pop_front();
        }
        self.report_progress();
    }

    fn report_progress(&mut self) {
        let tally = self.full_tally();
        if let Some(on_progress) = &mut self.on_progress {
            on_progress(&Progress {
                sent: self.sent,
                acknowledged: total(&tally),
                tally,
                reconnects: self.reconnects,
            });
        }
    }

    fn full_tally(&self) -> Tally {
        let mut tally = self.tally.clone();
        tally.rejected += self.refused;
        tally
    }
}

/// The rejection that a result tells of, where it is one that the caller does not know.
fn take_rejection(unacked: &mut VecDeque<Chunk>, item: &UploadResult) -> Option<RejectedEvent> {
    let result = item.result.as_option()?;
    if result.outcome != Outcome::Rejected {
        return None;
    }
    let chunk = unacked.iter_mut().find(|chunk| chunk.sequence == item.chunk_sequence)?;
    // A lost connection can cut the results of a chunk in two, and all of them come again.
    if !chunk.reported.insert(result.index) {
        return None;
    }
    let index = usize::try_from(result.index).ok()?;
    Some(RejectedEvent {
        position: chunk.first_position + index as u64,
        event: chunk.event(index)?,
        error: result.error.as_option().cloned().unwrap_or_default(),
    })
}

fn total(tally: &Tally) -> u64 {
    let total = tally.accepted + tally.duplicate + tally.rejected + tally.suppressed;
    u64::try_from(total).unwrap_or_default()
}
