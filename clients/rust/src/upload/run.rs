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
    stream::UploadStream,
};
use crate::{
    client::Client,
    error::Error,
    retry::Outage,
    v1::{
        Event, Upload,
        upload_events_response::{Message, Opened},
    },
};

/// How long to wait for the server to end a finished call, which it does at once.
const STATUS_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) struct UploadRun<'a, S, E> {
    client: Client,
    upload_id: String,
    chunk_events: Option<usize>,
    chunker: Chunker<'a, S, E>,
    ledger: UploadLedger,
    outage: Outage,
}

impl<'a, S: Stream<Item = Result<Event, E>>, E> UploadRun<'a, S, E> {
    pub fn new(
        client: Client,
        upload_id: String,
        chunk_events: Option<usize>,
        source: Pin<&'a mut S>,
        ledger: UploadLedger,
        outage: Outage,
    ) -> Self {
        Self { client, upload_id, chunk_events, chunker: Chunker::new(source), ledger, outage }
    }

    pub async fn run(mut self) -> Result<UploadSummary, UploadError<E>> {
        while let Err(error) = self.connect().await {
            let (delay, _) = self.outage.delay_after(error)?;
            sleep(delay).await;
            self.ledger.note_reconnect();
        }
        if !self.ledger.is_finished()
            && let Some(failure) = self.chunker.into_failure()
        {
            return Err(failure);
        }
        Ok(self.ledger.summarize(self.upload_id))
    }

    /// Opens one connection, and returns once all events that the source yielded are committed.
    async fn connect(&mut self) -> Result<(), Error> {
        let mut stream = UploadStream::open(&self.client, &self.upload_id).await?;
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
            None => stream.finish(self.chunker.last_sequence()),
        }
    }

    async fn begin(&mut self, opened: &Opened, stream: &mut UploadStream) -> Result<(), Error> {
        if opened.committed_through > self.ledger.committed_through() {
            let upload = lookup::get_upload(&self.client, &self.upload_id).await?;
            self.catch_up(upload).await?;
            self.outage.end();
        }
        if self.ledger.is_finished() {
            return Ok(());
        }
        if !self.chunker.has_begun() {
            let max_events = usize::try_from(opened.max_chunk_events).unwrap_or_default().max(1);
            self.chunker.begin(Cut {
                max_events: self.chunk_events.unwrap_or(max_events).min(max_events),
                max_bytes: usize::try_from(opened.max_chunk_bytes).unwrap_or_default(),
                after_sequence: self.ledger.committed_through(),
                skip_events: self.ledger.skip_committed(),
            });
        }
        for chunk in self.ledger.unacked() {
            stream.send(chunk.frame.clone());
        }
        Ok(())
    }

    /// Processes commits whose acks were lost.
    async fn catch_up(&mut self, upload: Upload) -> Result<(), Error> {
        let missed = if self.ledger.misses_rejections(&upload) {
            let first = self.ledger.unacked().front().map_or(i64::MAX, |chunk| chunk.sequence);
            lookup::get_rejections(&self.client, &self.upload_id, first).await?
        } else {
            Vec::new()
        };
        self.ledger.catch_up(upload, &missed);
        Ok(())
    }
}
