//! The ledger of one upload: the chunks in flight, the totals, and the caller's callbacks.

use std::collections::VecDeque;

use super::{OnProgress, OnRejection, chunk::Chunk};
use crate::v1::{
    Event, EventError, Outcome, SourceDigest, Tally, Upload, UploadResult,
    upload::State,
    upload_events_response::{Ack, Opened},
};

/// The progress of an upload, in events of its source.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Progress {
    /// Number of events passed to the connection, in this run or an earlier one.
    pub sent: u64,
    /// Number of events with an outcome, which is the sum of the tally.
    pub acknowledged: u64,
    /// Number of events by outcome.
    pub tally: Tally,
    /// Number of lost connections.
    pub reconnects: u32,
}

/// An event that was rejected.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RejectedEvent {
    /// Position in the source, from 0.
    pub position: u64,
    /// The event as sent.
    pub event: Event,
    /// Why.
    pub error: EventError,
}

/// The result of a finished upload.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct UploadSummary {
    /// Id of the upload.
    pub upload_id: String,
    /// Totals of the whole upload, including earlier runs and events rejected by the client itself.
    pub tally: Tally,
    /// Number of events of the whole upload; each has one of the tally's outcomes.
    pub events: u64,
    /// Number of lost connections.
    pub reconnects: u32,
    /// Number of the source's events that an earlier run had committed. If it is not 0, `GetUpload` has all
    /// rejections by the server.
    pub skipped_events: u64,
    /// Whether these events were skipped by their number and not compared, because the earlier run sent no
    /// digest of its source.
    pub resumed_by_count: bool,
}

/// Holds the chunks that are not known to be committed, and reports outcomes to the caller.
///
/// Each rejection is reported once, with the event's position in the source, whatever connections are lost.
pub(super) struct UploadLedger {
    on_progress: Option<OnProgress>,
    on_rejection: Option<OnRejection>,
    /// Chunks to resend after a lost connection; the window bounds their number.
    unacked: VecDeque<Chunk>,
    committed_through: i64,
    /// The beginning of the source that is committed, if that has a digest.
    committed: Option<SourceDigest>,
    /// The whole source, once `finish` was sent.
    whole: Option<SourceDigest>,
    tally: Tally,
    is_finished: bool,
    sent: u64,
    rejected_here: i64,
    reconnects: u32,
    skipped_events: u64,
    resumed_by_count: bool,
}

impl UploadLedger {
    pub fn new(on_progress: Option<OnProgress>, on_rejection: Option<OnRejection>) -> Self {
        Self {
            on_progress,
            on_rejection,
            unacked: VecDeque::new(),
            committed_through: 0,
            committed: None,
            whole: None,
            tally: Tally::default(),
            is_finished: false,
            sent: 0,
            rejected_here: 0,
            reconnects: 0,
            skipped_events: 0,
            resumed_by_count: false,
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

    /// Begins after the events that an earlier run has committed.
    ///
    /// Returns how many to skip by their number, if that run sent no digest of its source.
    pub fn resume(&mut self, committed: Option<&SourceDigest>) -> u64 {
        self.committed = committed.cloned();
        self.skipped_events =
            committed.map_or_else(|| total(&self.tally), |source| source.events.cast_unsigned());
        self.sent = self.skipped_events;
        self.resumed_by_count = committed.is_none() && self.skipped_events > 0;
        if self.resumed_by_count { self.skipped_events } else { 0 }
    }

    /// Whether a reopened upload is where this run has brought it, and no other.
    pub fn is_own_progress(&self, opened: &Opened) -> bool {
        let last_sequence = self.unacked.back().map_or(self.committed_through, |chunk| chunk.sequence);
        if opened.committed_through > last_sequence {
            return false;
        }
        let Some(source) = opened.source.as_option() else { return true };
        let is_committed = |chunk: &&Chunk| chunk.sequence <= opened.committed_through;
        let own = self.unacked.iter().rev().find(is_committed).map(|chunk| &chunk.source);
        [own.or(self.committed.as_ref()), self.whole.as_ref()].contains(&Some(source))
    }

    /// Whether the upload is finished before this run has sent all of its source.
    pub fn is_finished_by_another(&self) -> bool {
        self.is_finished && (self.whole.is_none() || !self.unacked.is_empty())
    }

    /// Adds a chunk that is about to be sent.
    pub fn add(&mut self, chunk: Chunk) {
        self.sent = chunk.end_position();
        self.unacked.push_back(chunk);
    }

    /// Notes that the source has ended, and `finish` is about to be sent.
    pub fn finish(&mut self, whole: SourceDigest) {
        self.whole = Some(whole);
    }

    /// Processes an ack, and returns whether it is progress: the upload moved, or waits for nothing.
    pub fn acknowledge(&mut self, ack: Ack) -> bool {
        let has_moved = ack.committed_through > self.committed_through;
        self.settle(ack.committed_through, ack.tally.into_option().unwrap_or_default(), &ack.results);
        has_moved || self.unacked.is_empty()
    }

    /// Whether rejections in chunks in flight were not reported to this client.
    pub fn misses_rejections(&self, upload: &Upload) -> bool {
        self.on_rejection.is_some() && !self.unacked.is_empty() && upload.tally.rejected > self.tally.rejected
    }

    /// Processes the state of the upload and the rejections that it missed.
    pub fn catch_up(&mut self, upload: Upload, missed: &[UploadResult]) {
        self.is_finished = upload.state == State::Finished;
        self.settle(upload.committed_through, upload.tally.into_option().unwrap_or_default(), missed);
    }

    /// Processes an event that cannot be sent at all.
    pub fn reject(&mut self, rejected: RejectedEvent) {
        self.rejected_here += 1;
        if let Some(on_rejection) = &mut self.on_rejection {
            on_rejection(rejected);
        }
    }

    /// Counts a connection that was lost and is re-established.
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
            resumed_by_count: self.resumed_by_count,
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
            self.committed = self.unacked.pop_front().map(|chunk| chunk.source);
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
        tally.rejected += self.rejected_here;
        tally
    }
}

/// The rejection in a result, if there is one that was not yet reported.
fn take_rejection(unacked: &mut VecDeque<Chunk>, item: &UploadResult) -> Option<RejectedEvent> {
    let result = item.result.as_option()?;
    if result.outcome != Outcome::Rejected {
        return None;
    }
    let chunk = unacked.iter_mut().find(|chunk| chunk.sequence == item.chunk_sequence)?;
    // If a lost connection cuts the results of a chunk in two, all of them come again.
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
