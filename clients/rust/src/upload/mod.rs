//! Bulk upload that survives lost connections, server restarts and client crashes.

mod canonical;
mod chunk;
mod chunker;
mod ledger;
mod lookup;
mod run;
mod source;
mod stream;

use std::{convert::Infallible, error, fmt, time::Duration};

use tokio_stream::{Stream, StreamExt, iter};

use crate::{client::Client, error::Error, retry::Outage, uuid7::uuid7, v1::Event};

use ledger::UploadLedger;
pub use ledger::{Progress, RejectedEvent, UploadSummary};
use run::{Opening, UploadRun};

type OnProgress = Box<dyn FnMut(&Progress) + Send>;
type OnRejection = Box<dyn FnMut(RejectedEvent) + Send>;

/// Uploads a source of events of any length, in bounded memory; created by [`Client::uploader`].
///
/// To resume an upload, even from another process, use a new uploader with the same id and the same source
/// from its start. Committed events are compared by their digest and not sent again; another source is
/// refused before anything is sent. A finished upload compares the whole source and returns its summary
/// again. An upload id names one source: derive it from what identifies the source, such as its name and day.
///
/// Memory holds the unacked chunks, serialized, at most as many as the server allows, and the next one.
/// Everything happens in the future of the upload: dropping it stops the upload, which stays open.
///
/// ```no_run
/// # use engagement_attributes::{Client, Error, v1::Event};
/// # async fn run(client: Client, events: Vec<Event>) -> Result<(), Error> {
/// let summary = client
///     .uploader()
///     .upload_id("crm-2026-11-30")
///     .on_rejection(|rejected| eprintln!("event {}: {}", rejected.position, rejected.error.message))
///     .upload(events)
///     .await?;
/// println!("{} stored", summary.tally.accepted);
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is sent until a source is uploaded"]
pub struct Uploader {
    client: Client,
    upload_id: String,
    chunk_events: Option<usize>,
    keep_going: bool,
    longest_outage: Duration,
    on_progress: Option<OnProgress>,
    on_rejection: Option<OnRejection>,
}

impl Uploader {
    pub(crate) fn new(client: Client) -> Self {
        Self {
            client,
            upload_id: uuid7(),
            chunk_events: None,
            keep_going: false,
            longest_outage: Outage::DEFAULT_LONGEST,
            on_progress: None,
            on_rejection: None,
        }
    }

    /// Sets the id of the upload, 1 to 128 characters, under which it can be resumed; by default a new
    /// UUIDv7.
    pub fn upload_id(mut self, upload_id: impl Into<String>) -> Self {
        self.upload_id = upload_id.into();
        self
    }

    /// The id of the upload.
    pub fn id(&self) -> &str {
        &self.upload_id
    }

    /// Sets the maximum number of events in a chunk; by default as many as the server allows.
    pub fn chunk_events(mut self, events: usize) -> Self {
        self.chunk_events = Some(events.max(1));
        self
    }

    /// Sets whether the upload goes on even if the server rejects all its events; by default it then ends with
    /// the reason `UPLOAD_ALL_REJECTED`.
    pub fn keep_going(mut self, keep_going: bool) -> Self {
        self.keep_going = keep_going;
        self
    }

    /// Sets how long to keep reconnecting without progress; 300 seconds by default.
    pub fn max_outage(mut self, longest: Duration) -> Self {
        self.longest_outage = longest;
        self
    }

    /// Registers a callback for every ack and every reconnect. It must not block.
    pub fn on_progress(mut self, on_progress: impl FnMut(&Progress) + Send + 'static) -> Self {
        self.on_progress = Some(Box::new(on_progress));
        self
    }

    /// Registers a callback for each event rejected in this run, called once per event. It must not block.
    pub fn on_rejection(mut self, on_rejection: impl FnMut(RejectedEvent) + Send + 'static) -> Self {
        self.on_rejection = Some(Box::new(on_rejection));
        self
    }

    /// Uploads all events of an iterator and finishes the upload.
    ///
    /// An event without an id gets one from the server, the same whenever the source is uploaded under this
    /// upload id. An event larger than 3.5 MiB is rejected by the client: `on_rejection` gets it and the
    /// summary's tally counts it. The source is read in this task, no faster than the server commits; if it
    /// may block, use a stream.
    ///
    /// # Errors
    ///
    /// [`Kind::TakenOver`](crate::Kind) if a newer stream has taken over the upload,
    /// [`Kind::SourceMismatch`](crate::Kind) if the upload began with another source or another client has
    /// continued it with one, [`Kind::Precondition`](crate::Kind) with the reason `UPLOAD_ALL_REJECTED` if the
    /// server rejected the first events, all of them, the last connection's error if an outage lasts too long,
    /// and any other that is not transient, at once.
    pub async fn upload(self, events: impl IntoIterator<Item = Event>) -> Result<UploadSummary, Error> {
        self.upload_stream(iter(events)).await
    }

    /// Uploads all events of a stream and finishes the upload.
    ///
    /// The stream may pause for any time: earlier events are sent meanwhile.
    ///
    /// # Errors
    ///
    /// As [`upload`](Self::upload).
    pub async fn upload_stream(self, events: impl Stream<Item = Event>) -> Result<UploadSummary, Error> {
        match self.try_upload_stream(events.map(Ok::<_, Infallible>)).await {
            Ok(summary) => Ok(summary),
            Err(UploadError::Call(error)) => Err(error),
            Err(UploadError::Source(never)) => match never {},
        }
    }

    /// Uploads all events of a stream that may fail.
    ///
    /// If the stream fails, all events before are committed, then this returns its error. The upload stays
    /// open, as after any error and when the future is dropped.
    ///
    /// # Errors
    ///
    /// [`UploadError::Source`] with the error of the stream, and [`UploadError::Call`] as
    /// [`upload`](Self::upload).
    pub async fn try_upload_stream<E>(
        self,
        events: impl Stream<Item = Result<Event, E>>,
    ) -> Result<UploadSummary, UploadError<E>> {
        let ledger = UploadLedger::new(self.on_progress, self.on_rejection);
        let outage = Outage::new(self.longest_outage, self.client.transport().tokens().is_renewable());
        let mut events = std::pin::pin!(events);
        let opening = Opening { upload_id: self.upload_id, keep_going: self.keep_going };
        UploadRun::new(self.client, opening, self.chunk_events, events.as_mut(), ledger, outage).run().await
    }
}

impl fmt::Debug for Uploader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Uploader").field("upload_id", &self.upload_id).finish_non_exhaustive()
    }
}

/// Why an upload from a source that may fail did not finish.
#[derive(Debug)]
pub enum UploadError<E> {
    /// The source failed; all events before are committed.
    Source(E),
    /// The upload failed.
    Call(Error),
}

impl<E> From<Error> for UploadError<E> {
    fn from(error: Error) -> Self {
        Self::Call(error)
    }
}

impl<E> fmt::Display for UploadError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(_) => f.write_str("the source of the events failed"),
            Self::Call(error) => error.fmt(f),
        }
    }
}

impl<E: error::Error + 'static> error::Error for UploadError<E> {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Source(error) => Some(error),
            Self::Call(error) => error.source(),
        }
    }
}
