//! One upload: connection after connection, until everything is committed.

use std::{pin::Pin, time::Duration};

use tokio::{
    select,
    time::{sleep, timeout},
};
use tokio_stream::Stream;

use super::{
    UploadError, UploadSummary,
    chunker::{Chunker, Cut, Piece},
    ledger::UploadLedger,
    lookup,
    source::SourceDigester,
    stream::UploadStream,
};
use crate::{
    client::Client,
    error::{Error, Kind},
    retry::Outage,
    v1::{
        Event, Upload,
        upload_events_response::{Message, Opened},
    },
};

/// How long to wait for the server to end a finished call, which it does at once.
const STATUS_TIMEOUT: Duration = Duration::from_secs(2);

/// How every connection of the upload begins.
pub(super) struct Opening {
    pub upload_id: String,
    /// Whether the upload goes on if all its events are rejected.
    pub keep_going: bool,
}

pub(super) struct UploadRun<'a, S, E> {
    client: Client,
    opening: Opening,
    chunk_events: Option<usize>,
    chunker: Chunker<'a, S, E>,
    ledger: UploadLedger,
    outage: Outage,
    /// Whether the upload was finished by an earlier run, and the source is only compared.
    is_comparing: bool,
}

impl<'a, S: Stream<Item = Result<Event, E>>, E> UploadRun<'a, S, E> {
    pub fn new(
        client: Client,
        opening: Opening,
        chunk_events: Option<usize>,
        source: Pin<&'a mut S>,
        ledger: UploadLedger,
        outage: Outage,
    ) -> Self {
        let chunker = Chunker::new(source);
        Self { client, opening, chunk_events, chunker, ledger, outage, is_comparing: false }
    }

    pub async fn run(mut self) -> Result<UploadSummary, UploadError<E>> {
        while let Err(error) = self.connect().await {
            let (delay, _) = self.outage.delay_after(error)?;
            sleep(delay).await;
            self.ledger.note_reconnect();
        }
        if self.is_comparing {
            self.compare().await;
        }
        match self.chunker.into_failure() {
            Some(failure) => Err(failure),
            None => Ok(self.ledger.summarize(self.opening.upload_id)),
        }
    }

    /// Opens one connection, and returns once all events that the source yielded are committed.
    async fn connect(&mut self) -> Result<(), Error> {
        let mut stream = UploadStream::open(&self.client, &self.opening).await?;
        while !self.ledger.is_finished() {
            let may_send = stream.may_send(self.ledger.unacked().len());
            select! {
                biased;
                message = stream.receive() => match message? {
                    Some(message) => self.take(message, &mut stream).await?,
                    None => break,
                },
                piece = self.chunker.next(), if may_send => self.send(piece, &mut stream),
            }
        }
        let has_source_failed = self.chunker.has_failed() && self.chunker.has_ended();
        if self.ledger.is_finished() || (has_source_failed && self.ledger.unacked().is_empty()) {
            return Ok(());
        }
        Err(stream.closed())
    }

    async fn take(&mut self, message: Message, stream: &mut UploadStream) -> Result<(), Error> {
        match message {
            Message::Opened(opened) => self.begin(&opened, stream).await?,
            Message::Ack(ack) => {
                if self.ledger.acknowledge(*ack) {
                    self.outage.end();
                }
            }
            Message::Closing(closing) => stream.close(&closing),
            Message::Finished(finished) => {
                self.catch_up(finished.upload.into_option().unwrap_or_default()).await?;
                let is_sending = self.chunker.has_begun() && !self.is_comparing;
                if is_sending && self.ledger.is_finished_by_another() {
                    return Err(self.continued_elsewhere());
                }
                // Without this wait for the status the server would see a cancellation.
                let _ = timeout(STATUS_TIMEOUT, stream.receive()).await;
            }
        }
        Ok(())
    }

    fn send(&mut self, piece: Option<Piece>, stream: &mut UploadStream) {
        match piece {
            Some(Piece::Chunk(chunk)) => {
                stream.send(chunk.frame.clone());
                self.ledger.add(chunk);
            }
            Some(Piece::Rejected(rejected)) => self.ledger.reject(rejected),
            None if self.chunker.has_failed() => stream.half_close(),
            None => {
                self.ledger.finish(self.chunker.digest());
                stream.finish(self.chunker.last_sequence(), self.chunker.digest());
            }
        }
    }

    async fn begin(&mut self, opened: &Opened, stream: &mut UploadStream) -> Result<(), Error> {
        let is_first = !self.chunker.has_begun();
        if !is_first && !self.ledger.is_own_progress(opened) {
            return Err(self.continued_elsewhere());
        }
        let is_resumed = is_first && opened.source.is_set();
        if is_resumed || opened.committed_through > self.ledger.committed_through() {
            let upload = lookup::get_upload(&self.client, &self.opening.upload_id).await?;
            self.catch_up(upload).await?;
            self.outage.end();
        }
        if is_first {
            self.begin_source(opened);
        }
        if !self.ledger.is_finished() {
            for chunk in self.ledger.unacked() {
                stream.send(chunk.frame.clone());
            }
        }
        Ok(())
    }

    fn begin_source(&mut self, opened: &Opened) {
        let skip_events = self.ledger.resume(opened.source.as_option());
        let is_finished = self.ledger.is_finished();
        if is_finished && !opened.source.is_set() {
            return;
        }
        let max_events = usize::try_from(opened.max_chunk_events).unwrap_or_default().max(1);
        self.is_comparing = is_finished;
        self.chunker.begin(Cut {
            max_events: self.chunk_events.unwrap_or(max_events).min(max_events),
            max_bytes: usize::try_from(opened.max_chunk_bytes).unwrap_or_default(),
            after_sequence: opened.committed_through,
            source: SourceDigester::new(&self.opening.upload_id, opened, is_finished),
            skip_events,
        });
    }

    /// Reads the source of a finished upload, only to compare it.
    async fn compare(&mut self) {
        while let Some(piece) = self.chunker.next().await {
            if let Piece::Rejected(rejected) = piece {
                self.ledger.reject(rejected);
            }
        }
    }

    fn continued_elsewhere(&self) -> Error {
        let message = format!(
            "another client has continued upload {:?} with another source; use an upload id of its own for each \
             source",
            self.opening.upload_id
        );
        Error::new(Kind::SourceMismatch, message)
    }

    /// Processes commits whose acks were lost.
    async fn catch_up(&mut self, upload: Upload) -> Result<(), Error> {
        let missed = if self.ledger.misses_rejections(&upload) {
            let first = self.ledger.unacked().front().map_or(i64::MAX, |chunk| chunk.sequence);
            lookup::get_rejections(&self.client, &self.opening.upload_id, first).await?
        } else {
            Vec::new()
        };
        self.ledger.catch_up(upload, &missed);
        Ok(())
    }
}
