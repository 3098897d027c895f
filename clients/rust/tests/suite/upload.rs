//! Uploads through all that can happen to them, against the real server.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use engagement_attributes::{
    BoxError, Kind, UploadError,
    v1::{Event, GetUploadRequest, upload::State},
};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::{StreamExt, iter};

use crate::servers::{Server, event, events, in_time, stored_ids};

const MANY: usize = 100_000;

fn ids(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{prefix}/{number}")).collect()
}

#[tokio::test]
async fn many_events_are_uploaded_in_their_order() {
    in_time(async {
        let server = Server::start().await;
        let client = server.client();
        let summary = client.uploader().upload_id("u-1").upload(events("e", MANY)).await.unwrap();
        assert_eq!(summary.upload_id, "u-1");
        assert_eq!(summary.tally.accepted.cast_unsigned(), MANY as u64);
        assert_eq!((summary.events, summary.reconnects, summary.skipped_events), (MANY as u64, 0, 0));
        assert_eq!(stored_ids(&client).await, ids("e", MANY));
    })
    .await;
}

#[tokio::test]
async fn an_upload_goes_on_after_the_server_was_killed() {
    in_time(async {
        let mut server = Server::start().await;
        let client = server.client();
        let (is_half_done, mut half_done) = mpsc::unbounded_channel();
        let upload = client.uploader().on_progress(move |progress| {
            if progress.acknowledged > MANY as u64 / 4 {
                let _ = is_half_done.send(());
            }
        });
        let restart = async {
            half_done.recv().await.expect("the upload gets so far");
            server.restart().await;
        };
        let (summary, ()) = tokio::join!(upload.upload(events("e", MANY)), restart);
        let summary = summary.unwrap();
        assert_eq!((summary.tally.accepted + summary.tally.duplicate).cast_unsigned(), MANY as u64);
        assert_eq!(summary.tally.rejected, 0);
        assert!(summary.reconnects > 0);
        assert_eq!(stored_ids(&client).await, ids("e", MANY));
    })
    .await;
}

#[tokio::test]
async fn an_abandoned_upload_is_finished_by_another_run() {
    in_time(async {
        let server = Server::start().await;
        let client = server.client();
        let (is_half_done, mut half_done) = mpsc::unbounded_channel();
        let first = client.uploader().upload_id("u-1").on_progress(move |progress| {
            if progress.acknowledged > MANY as u64 / 4 {
                let _ = is_half_done.send(());
            }
        });
        tokio::select! {
            _ = first.upload(events("e", MANY)) => panic!("the upload is abandoned before its end"),
            _ = half_done.recv() => {}
        }
        let second = server.client();
        let summary = second.uploader().upload_id("u-1").upload(events("e", MANY)).await.unwrap();
        assert!(summary.skipped_events > MANY as u64 / 4);
        assert_eq!((summary.events, summary.reconnects), (MANY as u64, 0));
        assert_eq!(stored_ids(&second).await, ids("e", MANY));
    })
    .await;
}

#[tokio::test]
async fn a_finished_upload_gives_its_summary_again() {
    in_time(async {
        let server = Server::start().await;
        let client = server.client();
        let first = client.uploader().upload_id("u-1").upload(events("e", 10)).await.unwrap();
        let second = client.uploader().upload_id("u-1").upload(events("e", 10)).await.unwrap();
        assert_eq!((second.tally, second.events, second.skipped_events), (first.tally, 10, 10));
        assert!(!second.resumed_by_count);
    })
    .await;
}

#[tokio::test]
async fn each_rejected_event_is_told_once_with_its_position() {
    in_time(async {
        let mut server = Server::start().await;
        let client = server.client();
        let rejected = Arc::new(Mutex::new(Vec::new()));
        let book = Arc::clone(&rejected);
        let (told, mut progress) = mpsc::unbounded_channel();
        let source = events("e", 20_000).enumerate().map(|(number, event)| match number % 1000 {
            7 => Event { consumer_id: "x\0".to_owned(), ..event },
            _ => event,
        });
        let upload = client
            .uploader()
            .on_rejection(move |rejected| book.lock().unwrap().push(rejected))
            .on_progress(move |progress| {
                let _ = told.send(progress.acknowledged);
            });
        let restart = async {
            while progress.recv().await.expect("the upload gets so far") < 5000 {}
            server.restart().await;
        };
        let (summary, ()) = tokio::join!(upload.upload(source), restart);
        assert_eq!(summary.unwrap().tally.rejected, 20);
        let rejected = rejected.lock().unwrap();
        let positions: Vec<u64> = rejected.iter().map(|item| item.position).collect();
        assert_eq!(positions, (0..20).map(|number| number * 1000 + 7).collect::<Vec<_>>());
        for item in rejected.iter() {
            assert_eq!(item.event.event_id, format!("e/{}", item.position));
            assert_eq!(item.error.violations[0].rule, "string.not_contains");
        }
    })
    .await;
}

#[tokio::test]
async fn a_source_that_pauses_gets_what_it_gave_stored() {
    in_time(async {
        let server = Server::start().await;
        let client = server.client();
        let (sender, receiver) = mpsc::unbounded_channel();
        let (told, mut progress) = mpsc::unbounded_channel();
        let source = tokio_stream::wrappers::UnboundedReceiverStream::new(receiver);
        let upload = client.uploader().on_progress(move |progress| {
            let _ = told.send(progress.acknowledged);
        });
        let slow = async {
            for number in 0..3 {
                sender.send(event(format!("e/{number}"))).unwrap();
                while progress.recv().await.unwrap() <= number {}
            }
            drop(sender);
        };
        let (summary, ()) = tokio::join!(upload.upload_stream(source), slow);
        assert_eq!(summary.unwrap().tally.accepted, 3);
    })
    .await;
}

#[tokio::test]
async fn what_a_failing_source_gave_before_is_committed() {
    in_time(async {
        let server = Server::start().await;
        let client = server.client();
        let broken = iter([Err(BoxError::from("the file is torn"))]);
        let source = iter(events("e", 1200)).map(Ok::<Event, BoxError>).chain(broken);
        let error = client.uploader().upload_id("u-1").try_upload_stream(source).await.unwrap_err();
        assert!(matches!(error, UploadError::Source(source) if source.to_string() == "the file is torn"));
        assert_eq!(stored_ids(&client).await, ids("e", 1200));
        let request = GetUploadRequest {
            account_id: client.account_id().to_owned(),
            upload_id: "u-1".to_owned(),
            ..Default::default()
        };
        let upload = client.ingest().get_upload(request).await.unwrap().into_inner().upload;
        assert_eq!(upload.state, State::Open);
    })
    .await;
}

#[tokio::test]
async fn a_shorter_source_is_not_the_one_that_the_upload_began_with() {
    in_time(async {
        let server = Server::start().await;
        let client = server.client();
        let broken = iter([Err(BoxError::from("the file is torn"))]);
        let source = iter(events("e", 10)).map(Ok::<Event, BoxError>).chain(broken);
        client.uploader().upload_id("u-1").try_upload_stream(source).await.unwrap_err();
        let error = client.uploader().upload_id("u-1").upload(events("e", 9)).await.unwrap_err();
        assert_eq!(error.kind(), Kind::SourceMismatch);
        assert!(!error.is_transient());
    })
    .await;
}

#[tokio::test]
async fn a_newer_stream_takes_the_upload_over() {
    in_time(async {
        let server = Server::start().await;
        let client = server.client();
        let (opened, mut is_open) = mpsc::unbounded_channel();
        let first = client.uploader().upload_id("u-1").on_progress(move |_| {
            let _ = opened.send(());
        });
        let paused = iter([event("e/0")]).chain(tokio_stream::pending());
        let second = async {
            is_open.recv().await.expect("the first upload is open");
            client.uploader().upload_id("u-1").upload(events("e", 2)).await
        };
        let (first, second) = tokio::join!(Box::pin(first.upload_stream(paused)), second);
        assert_eq!(first.unwrap_err().kind(), Kind::TakenOver);
        assert_eq!(second.unwrap().events, 2);
    })
    .await;
}

#[tokio::test]
async fn an_upload_gives_up_after_the_outage_it_allows() {
    in_time(async {
        let mut server = Server::start().await;
        let client = server.client();
        server.kill().await;
        let upload = client.uploader().max_outage(Duration::from_millis(500)).upload(events("e", 1));
        let error = timeout(Duration::from_secs(20), upload).await.expect("it gives up").unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable);
    })
    .await;
}
