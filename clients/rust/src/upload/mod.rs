//! Bulk upload that survives lost connections, restarts of the server and crashes of the client.

mod chunk;
mod chunker;
mod ledger;
mod lookup;
mod run;
mod stream;

use std::{convert::Infallible, error, fmt, time::Duration};

use tokio_stream::{Stream, StreamExt, iter};

use crate::{client::Client, error::Error, retry::Outage, uuid7::uuid7, v1::Event};

use ledger::UploadLedger;
pub use ledger::{Progress, RejectedEvent, UploadSummary};
use run::UploadRun;

type OnProgress = Box<dyn FnMut(&Progress) + Send>;
type OnRejection = Box<dyn FnMut(RejectedEvent) + Send>;

/// Uploads a source of events of any length, in bounded memory; [`Client::uploader`] makes it.
///
/// An upload is resumed by a new uploader, of another process too, with the same id and the same source from
/// its start: the events that are committed are skipped by their number. An upload that is finished gives its
/// summary again and reads nothing. One upload id names one source.
///
/// Memory holds, serialized, the chunks that the server has not acked, at most as many as it allows, and the
/// next. Everything happens in the future of the upload: whoever drops it stops the upload, which stays open.
///
/// ```no_run
/// # use engagement_attributes::{Client, Error, v1::Event};
/// # async fn run(client: Client, events: Vec<Event>) -> Result<(), Error> {
/// let summary = client
///     .uploader()
///     .upload_id("crm-2026-11")
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
            longest_outage: Outage::DEFAULT_LONGEST,
            on_progress: None,
            on_rejection: None,
        }
    }

    /// The client's name for the upload, 1 to 128 characters; a new UUIDv7 by default.
    pub fn upload_id(mut self, upload_id: impl Into<String>) -> Self {
        self.upload_id = upload_id.into();
        self
    }

    /// The name of the upload.
    pub fn id(&self) -> &str {
        &self.upload_id
    }

    /// How many events a chunk holds at most; as many as the server allows by default.
    pub fn chunk_events(mut self, events: usize) -> Self {
        self.chunk_events = Some(events.max(1));
        self
    }

    /// How long to go on reconnecting without any progress; 300 seconds by default.
    pub fn max_outage(mut self, longest: Duration) -> Self {
        self.longest_outage = longest;
        self
    }

    /// Calls this at every ack and every reconnect. It must not block.
    pub fn on_progress(mut self, on_progress: impl FnMut(&Progress) + Send + 'static) -> Self {
        self.on_progress = Some(Box::new(on_progress));
        self
    }

    /// Calls this for each event that is refused in this run, once. It must not block.
    pub fn on_rejection(mut self, on_rejection: impl FnMut(RejectedEvent) + Send + 'static) -> Self {
        self.on_rejection = Some(Box::new(on_rejection));
        self
    }

    /// Uploads all events of an iterator and finishes the upload.
    ///
    /// Events without an id are sent with a UUIDv7. An event that no chunk can carry is refused here:
    /// `on_rejection` gets it and the summary's tally counts it. The source is read in this task, no faster than
    /// the server commits; what blocks for long belongs into a stream.
    ///
    /// # Errors
    ///
    /// [`Kind::TakenOver`](crate::Kind) where a newer stream goes on with the upload,
    /// [`Kind::SourceMismatch`](crate::Kind) where the source is too short to be the one that the upload
    /// began with, the error that explains an outage that lasts too long, and any other that is not transient
    /// at once.
    pub async fn upload(self, events: impl IntoIterator<Item = Event>) -> Result<UploadSummary, Error> {
        self.upload_stream(iter(events)).await
    }

    /// Uploads all events of a stream and finishes the upload.
    ///
    /// The stream may pause for any time: what it gave before is sent meanwhile.
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
    /// What the stream fails with comes out of here after all that it gave before is committed. The upload
    /// then stays open, as after an error and when the future is dropped.
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
        let outage = Outage::new(self.longest_outage);
        let mut events = std::pin::pin!(events);
        UploadRun::new(self.client, self.upload_id, self.chunk_events, events.as_mut(), ledger, outage)
            .run()
            .await
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
    /// The source failed; all that it gave before is committed.
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
