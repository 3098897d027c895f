//! Compares the source of an upload with that of an earlier run.

use std::collections::BTreeMap;

use super::canonical::RunningDigest;
use crate::{
    error::{Error, Kind},
    v1::{SourceDigest, upload_events_response::Opened},
};

/// Digests a source, event after event, and fails where an earlier run's differs.
pub(super) struct SourceDigester {
    upload_id: String,
    running: RunningDigest,
    /// Digests that are still ahead, by number of events.
    known: BTreeMap<i64, String>,
    committed_events: i64,
    /// Number of events known to be the earlier run's.
    same_events: i64,
    is_finished: bool,
}

impl SourceDigester {
    /// The source of an upload, about which `opened` says what an earlier run has committed.
    ///
    /// If the upload `is_finished`, the source must end where that of the earlier run did.
    pub fn new(upload_id: &str, opened: &Opened, is_finished: bool) -> Self {
        let committed = opened.source.as_option();
        let known = committed.map_or_else(BTreeMap::new, |committed| {
            let digests = opened.earlier_sources.iter().chain([committed]);
            // A source without events is never another one.
            digests.filter(|each| each.events > 0).map(|each| (each.events, each.sha256.clone())).collect()
        });
        Self {
            upload_id: upload_id.to_owned(),
            running: RunningDigest::new(&opened.source_salt),
            known,
            committed_events: committed.map_or(0, |committed| committed.events),
            same_events: 0,
            is_finished,
        }
    }

    /// Whether the events that come next are committed, or should not be there.
    pub fn is_comparing(&self) -> bool {
        self.is_finished || self.running.events() < self.committed_events
    }

    /// Adds the canonical form of the next event.
    pub fn add(&mut self, form: &[u8]) -> Result<(), Error> {
        self.running.add(form);
        let events = self.running.events();
        if self.is_finished && events > self.committed_events {
            return Err(self.mismatch("has more events"));
        }
        let Some(next) = self.known.first_entry().filter(|next| *next.key() == events) else {
            return Ok(());
        };
        if self.running.digest().sha256 != next.remove() {
            return Err(self.mismatch(&format!("differs between events {} and {events}", self.same_events)));
        }
        self.same_events = events;
        Ok(())
    }

    /// The digest of the events so far.
    pub fn digest(&self) -> SourceDigest {
        self.running.digest()
    }

    /// Checks a source that has ended.
    pub fn end(&self) -> Result<(), Error> {
        let events = self.running.events();
        if events < self.committed_events {
            return Err(self.mismatch(&format!("ends after {events} events")));
        }
        Ok(())
    }

    fn mismatch(&self, difference: &str) -> Error {
        Error::new(
            Kind::SourceMismatch,
            format!(
                "upload {:?} began with another source: {} of its events are committed, and this source \
                 {difference}. Use an upload id of its own for each source. If this should be the same source, \
                 see whether ids, times or the order of events change from run to run",
                self.upload_id, self.committed_events
            ),
        )
    }
}
