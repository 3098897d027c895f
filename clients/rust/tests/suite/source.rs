//! The source of an upload: the canonical form of its events, and sources other than the upload's.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use engagement_attributes::{
    BoxError, Client, Error, Kind, UploadSummary,
    buffa::{ExtensionSet, Message},
    v1::{CustomerInfo, Date, Event, GetUploadRequest, PersonalInfo, Upload, upload::State},
};
use tokio::sync::mpsc;
use tokio_stream::{StreamExt, iter, wrappers::UnboundedReceiverStream};

use crate::{
    broken_line::MutedLine,
    canonical::{CanonicalForm, RunningDigest},
    servers::{Server, event, events, in_time, stored_ids},
};

/// Numbers that are the same in every run (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % limit as u64).unwrap()
    }

    fn choose<T>(&mut self, one: T) -> Option<T> {
        (self.below(2) == 1).then_some(one)
    }

    /// Text of characters whose order in UTF-8 differs from that in UTF-16, and whose lengths differ.
    fn text(&mut self) -> String {
        let letters = ['\0', '-', 'A', 'a', '\u{e4}', '\u{ffff}', '\u{1f600}'];
        (0..self.below(4)).map(|_| letters[self.below(letters.len())]).collect()
    }

    fn event(&mut self) -> Event {
        let customer = CustomerInfo {
            balance: self.choose("12.50".to_owned()),
            last_payment_date: self.choose(Date { day: 7, ..Default::default() }).into(),
            currency: self.choose("EUR".to_owned()),
            ..Default::default()
        };
        let person = PersonalInfo { name: self.choose("Ada".to_owned()), ..Default::default() };
        let mut event = Event {
            event_id: self.text(),
            source: self.text(),
            original_time_stamp: self.choose(0),
            additional_attributes: (0..self.below(12)).map(|_| (self.text(), self.text())).collect(),
            ..Default::default()
        };
        event.attributes = match self.below(3) {
            0 => None,
            1 => customer.into(),
            _ => person.into(),
        };
        // Fields 31 and 30 of a newer contract.
        for unknown in [self.choose(&[0xf8, 1, 7][..]), self.choose(&[0xf2, 1, 1, 0x78][..])].iter().flatten()
        {
            event.merge_from_slice(unknown).unwrap();
        }
        event
    }
}

/// The canonical form, from one event for each of its parts.
fn assembled_form(event: &Event) -> Vec<u8> {
    let mut fields = event.clone();
    fields.additional_attributes.clear();
    fields.unknown_fields_mut().clear();
    let mut form = fields.encode_to_vec();
    for entry in event.additional_attributes.clone().into_iter().collect::<BTreeMap<_, _>>() {
        let one = Event { additional_attributes: [entry].into_iter().collect(), ..Default::default() };
        form.extend(one.encode_to_vec());
    }
    let mut unknown = Event::default();
    *unknown.unknown_fields_mut() = event.unknown_fields().clone();
    form.extend(unknown.encode_to_vec());
    form
}

#[test]
fn the_canonical_form_is_that_of_its_parts() {
    let (mut numbers, mut form) = (Numbers(7), CanonicalForm::default());
    for _ in 0..5000 {
        let event = numbers.event();
        let size = form.write(&event);
        assert_eq!(form.as_bytes(), assembled_form(&event), "{:?}", event.encode_to_vec());
        assert_eq!(size, form.as_bytes().len());
        assert_eq!(Event::decode_from_slice(form.as_bytes()).unwrap(), event);
    }
}

#[test]
fn a_digest_does_not_end_the_source() {
    let (mut paused, mut whole) = (RunningDigest::new("salt"), RunningDigest::new("salt"));
    for form in [&b"ab"[..], b"", b"c"] {
        paused.add(form);
        assert_eq!(paused.digest(), paused.digest());
        whole.add(form);
    }
    assert_eq!(paused.events(), 3);
    assert_eq!(paused.digest(), whole.digest());
}

async fn state_of(client: &Client, upload_id: &str) -> Upload {
    let request = GetUploadRequest {
        account_id: client.account_id().to_owned(),
        upload_id: upload_id.to_owned(),
        ..Default::default()
    };
    client.ingest().get_upload(request).await.unwrap().into_inner().upload.into_option().unwrap()
}

async fn upload(client: &Client, events: impl Iterator<Item = Event>) -> Result<UploadSummary, Error> {
    client.uploader().upload_id("u-1").chunk_events(5).upload(events).await
}

/// Begins an upload, whose source fails.
async fn begin(client: &Client, events: impl Iterator<Item = Event>) {
    let source = iter(events).map(Ok).chain(iter([Err(BoxError::from("the file is torn"))]));
    let uploader = client.uploader().upload_id("u-1").chunk_events(5);
    uploader.try_upload_stream(source).await.unwrap_err();
}

fn assert_mismatch(result: Result<UploadSummary, Error>, difference: &str) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), Kind::SourceMismatch);
    assert!(!error.is_transient());
    assert!(error.message().contains(difference), "{error}");
}

#[tokio::test]
async fn a_resumed_upload_refuses_another_source_and_says_where_it_differs() {
    in_time(async {
        let server = Server::start().await;
        let client = server.client();
        begin(&client, events("e", 20)).await;
        let changed = events("e", 40).enumerate().map(|(number, event)| match number {
            12 => Event { consumer_id: "changed".to_owned(), ..event },
            _ => event,
        });
        assert_mismatch(upload(&client, changed).await, "differs between events 10 and 15");
        let reordered: Vec<Event> = events("e", 40).collect();
        let reordered = upload(&client, reordered.into_iter().rev()).await;
        assert_mismatch(reordered, "differs between events 0 and 5");
        assert_mismatch(upload(&client, events("e", 19)).await, "ends after 19 events");
        let state = state_of(&client, "u-1").await;
        assert_eq!(state.committed_through, 4);
        assert_eq!(state.state, State::Open);

        let summary = upload(&client, events("e", 40)).await.unwrap();
        assert_eq!((summary.tally.accepted, summary.skipped_events), (40, 20));
        assert!(!summary.resumed_by_count);
    })
    .await;
}

#[tokio::test]
async fn a_finished_upload_refuses_another_source() {
    in_time(async {
        let server = Server::start().await;
        let client = server.client();
        upload(&client, events("e", 20)).await.unwrap();
        assert_mismatch(upload(&client, events("f", 20)).await, "differs between events 0 and 5");
        assert_mismatch(upload(&client, events("e", 19)).await, "ends after 19 events");
        assert_mismatch(upload(&client, std::iter::empty()).await, "ends after 0 events");
        // It need not end to be refused.
        let endless = events("e", 20).chain((0_u64..).map(|number| event(format!("f/{number}"))));
        assert_mismatch(upload(&client, endless).await, "has more events");
        assert_eq!(stored_ids(&client).await.len(), 20);
    })
    .await;
}

#[tokio::test]
async fn events_without_ids_are_sent_without_them_and_stored_once() {
    in_time(async {
        let server = Server::start().await;
        let client = server.client();
        let nameless = |count: usize| {
            (0..count).map(|number| match number {
                3 => Event { consumer_id: "x\0".to_owned(), ..event("") },
                _ => Event { consumer_id: format!("c/{number}"), ..event("") },
            })
        };
        let rejected = Arc::new(Mutex::new(Vec::new()));
        let book = Arc::clone(&rejected);
        let uploader = client.uploader().upload_id("u-1");
        let uploader = uploader.on_rejection(move |rejected| book.lock().unwrap().push(rejected));
        let source = iter(nameless(20)).map(Ok).chain(iter([Err(BoxError::from("the file is torn"))]));
        uploader.try_upload_stream(source).await.unwrap_err();
        let rejected: Vec<_> =
            rejected.lock().unwrap().iter().map(|item| (item.position, item.event.clone())).collect();
        assert_eq!(rejected, [(3, nameless(4).next_back().unwrap())]);

        let summary = upload(&client, nameless(50)).await.unwrap();
        assert_eq!((summary.tally.accepted, summary.tally.rejected, summary.skipped_events), (49, 1, 20));
        let ids = stored_ids(&client).await;
        assert_eq!(ids.len(), 49);
        assert!(ids.iter().all(|id| !id.is_empty()));
    })
    .await;
}

#[tokio::test]
async fn an_event_too_large_for_any_chunk_belongs_to_the_source() {
    in_time(async {
        let server = Server::start().await;
        let client = server.client();
        let source = |size: usize| {
            events("e", 20).enumerate().map(move |(number, event)| match number {
                1 | 19 => Event { consumer_id: "x".repeat(size + number), ..event },
                _ => event,
            })
        };
        begin(&client, source(9_000_000).take(10)).await;
        assert_mismatch(upload(&client, source(9_000_001)).await, "differs between events 1 and 7");
        let summary = upload(&client, source(9_000_000)).await.unwrap();
        assert_eq!((summary.tally.accepted, summary.tally.rejected, summary.skipped_events), (18, 2, 10));
        let again = upload(&client, source(9_000_000)).await.unwrap();
        assert_eq!((again.tally, again.events, again.skipped_events), (summary.tally, 20, 20));
        assert_mismatch(upload(&client, source(9_000_000).take(19)).await, "ends after 19 events");
    })
    .await;
}

#[tokio::test]
async fn an_upload_whose_end_was_not_heard_is_still_its_own() {
    in_time(async {
        let server = Server::start().await;
        let line = MutedLine::to(&server.address).await;
        let (sender, receiver) = mpsc::unbounded_channel();
        let (told, mut progress) = mpsc::unbounded_channel();
        let upload = line.client().uploader().upload_id("u-1").on_progress(move |progress| {
            let _ = told.send(progress.acknowledged);
        });
        let source = UnboundedReceiverStream::new(receiver);
        let end = async {
            sender.send(event("e/0")).unwrap();
            while progress.recv().await.expect("the upload gets so far") < 1 {}
            line.mute();
            // After the last chunk, so that the whole source is more than that covers.
            sender.send(Event { consumer_id: "x".repeat(9_000_000), ..event("e/1") }).unwrap();
            drop(sender);
            while state_of(&server.client(), "u-1").await.state != State::Finished {}
            line.cut();
        };
        let (summary, ()) = tokio::join!(Box::pin(upload.upload_stream(source)), end);
        let summary = summary.unwrap();
        assert_eq!((summary.tally.accepted, summary.tally.rejected, summary.reconnects), (1, 1, 1));
    })
    .await;
}
