//! Following, against the real server.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use engagement_attributes::{
    BoxError, Kind, Start,
    v1::{EraseConsumerRequest, Event, EventFilter, Subject, subject},
};
use tokio::time::timeout;
use tokio_stream::StreamExt;

use crate::servers::{Server, event, events, id_of, in_time};

#[tokio::test]
async fn a_follower_misses_nothing_and_repeats_nothing_through_restarts() {
    in_time(async {
        let mut server = Server::start().await;
        let client = server.client();
        let mut follower = client.follow(Start::Earliest).start();
        let mut ids = Vec::new();
        for round in 0..3 {
            client.record_events(events(&format!("before-{round}"), 3)).await.unwrap();
            ids.push(id_of(follower.next().await.unwrap().unwrap()));
            server.restart().await;
            client.record_events(events(&format!("after-{round}"), 3)).await.unwrap();
            for _ in 0..5 {
                ids.push(id_of(follower.next().await.unwrap().unwrap()));
            }
        }
        let expected = (0..3).flat_map(|round| {
            ["before", "after"]
                .into_iter()
                .flat_map(move |when| (0..3).map(move |n| format!("{when}-{round}/{n}")))
        });
        assert_eq!(ids, expected.collect::<Vec<_>>());
    })
    .await;
}

#[tokio::test]
async fn the_cursor_covers_exactly_what_was_handed_out() {
    in_time(async {
        let server = Server::start().await;
        let client = server.client();
        client.record_events(events("e", 10)).await.unwrap();
        let mut first = client.follow(Start::Earliest).start();
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.push(id_of(first.next().await.unwrap().unwrap()));
        }
        let mut second = client.follow(Start::After(first.cursor().to_owned())).stop_at_tail().start();
        while let Some(stored) = second.next().await {
            seen.push(id_of(stored.unwrap()));
        }
        assert_eq!(seen, (0..10).map(|number| format!("e/{number}")).collect::<Vec<_>>());
    })
    .await;
}

#[tokio::test]
async fn a_wait_that_is_dropped_loses_nothing() {
    in_time(async {
        let server = Server::start().await;
        let client = server.client();
        let mut follower = client.follow(Start::Earliest).start();
        assert!(timeout(Duration::from_millis(100), follower.next()).await.is_err());
        client.record_event(event("e1")).await.unwrap();
        let stored = loop {
            if let Ok(stored) = timeout(Duration::from_millis(1), follower.next()).await {
                break stored;
            }
        };
        assert_eq!(id_of(stored.unwrap().unwrap()), "e1");
    })
    .await;
}

#[tokio::test]
async fn single_events_and_batches_go_on_where_the_other_stopped() {
    in_time(async {
        let server = Server::start().await;
        let client = server.client();
        client.record_events(events("e", 5)).await.unwrap();
        let mut follower = client.follow(Start::Earliest).stop_at_tail().start();
        assert_eq!(id_of(follower.next().await.unwrap().unwrap()), "e/0");
        assert_eq!(follower.lag_events(), 4);
        let batch = follower.next_batch().await.unwrap().unwrap();
        assert_eq!(batch.events.len(), 4);
        assert_eq!(follower.cursor(), batch.cursor);
        assert!(follower.next_batch().await.is_none());
        assert!(follower.next().await.is_none());
    })
    .await;
}

#[tokio::test]
async fn a_follower_is_a_stream_and_knows_when_it_is_caught_up() {
    in_time(async {
        let server = Server::start().await;
        let client = server.client();
        client.record_event(event("e1")).await.unwrap();
        let mut follower = client.follow(Start::Time(SystemTime::UNIX_EPOCH)).start();
        assert!(!follower.is_caught_up());
        assert_eq!(id_of(StreamExt::next(&mut follower).await.unwrap().unwrap()), "e1");
        assert!(timeout(Duration::from_millis(300), follower.next()).await.is_err());
        assert!(follower.is_caught_up());
        assert_eq!(follower.lag_events(), 0);
    })
    .await;
}

#[tokio::test]
async fn latest_and_a_filter_leave_the_rest_out() {
    in_time(async {
        let server = Server::start().await;
        let client = server.client();
        client.record_event(event("old")).await.unwrap();
        let filter = EventFilter { consumer_ids: vec!["ada".to_owned()], ..Default::default() };
        let mut follower = client.follow(Start::Latest).filter(filter).start();
        // The subscription has its place in the log when it is caught up.
        while !follower.is_caught_up() {
            assert!(timeout(Duration::from_millis(20), follower.next()).await.is_err());
        }
        client.record_event(event("other")).await.unwrap();
        client.record_event(Event { consumer_id: "ada".to_owned(), ..event("new") }).await.unwrap();
        assert_eq!(id_of(follower.next().await.unwrap().unwrap()), "new");
    })
    .await;
}

#[tokio::test]
async fn an_erasure_that_is_not_taken_comes_again() {
    in_time(async {
        let server = Server::start().await;
        let client = server.client();
        client.record_event(Event { consumer_id: "ada".to_owned(), ..event("e1") }).await.unwrap();
        client.record_event(event("e2")).await.unwrap();
        let start = client.list_events().next().await.unwrap().unwrap().cursor;
        let request = EraseConsumerRequest {
            account_id: client.account_id().to_owned(),
            request_id: "r-1".to_owned(),
            subjects: vec![Subject {
                id: Some(subject::Id::ConsumerId("ada".to_owned())),
                ..Default::default()
            }],
            ..Default::default()
        };
        client.privacy().erase_consumer(request).await.unwrap();
        client.record_event(event("e3")).await.unwrap();
        let tries = Arc::new(Mutex::new(Vec::new()));
        let book = Arc::clone(&tries);
        let mut follower = client
            .follow(Start::After(start.clone()))
            .stop_at_tail()
            .on_erasure(move |notice| {
                let mut tries = book.lock().unwrap();
                tries.push(notice.erased_cursors);
                let is_first = tries.len() == 1;
                async move { if is_first { Err(BoxError::from("the copies are locked")) } else { Ok(()) } }
            })
            .start();
        assert_eq!(id_of(follower.next().await.unwrap().unwrap()), "e2");
        let cursor = follower.cursor().to_owned();
        let error = follower.next().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), Kind::Other);
        assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "the copies are locked");
        assert_eq!(follower.cursor(), cursor);
        assert_eq!(id_of(follower.next().await.unwrap().unwrap()), "e3");
        assert!(follower.next().await.is_none());
        assert_eq!(*tries.lock().unwrap(), [vec![start.clone()], vec![start]]);
    })
    .await;
}

#[tokio::test]
async fn a_wrong_cursor_is_told_at_once() {
    in_time(async {
        let server = Server::start().await;
        let mut follower = server.client().follow(Start::After("no cursor".to_owned())).start();
        let error = follower.next().await.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.reason()), (Kind::InvalidArgument, "CURSOR_MALFORMED"));
    })
    .await;
}

#[tokio::test]
async fn a_follower_tells_of_reconnects_and_gives_up_after_the_outage_it_allows() {
    in_time(async {
        let mut server = Server::start().await;
        let client = server.client();
        server.kill().await;
        let kinds = Arc::new(Mutex::new(Vec::new()));
        let book = Arc::clone(&kinds);
        let mut follower = client
            .follow(Start::Earliest)
            .max_outage(Duration::from_millis(500))
            .on_reconnect(move |error| book.lock().unwrap().push(error.kind()))
            .start();
        assert_eq!(follower.next().await.unwrap().unwrap_err().kind(), Kind::Unavailable);
        assert!(kinds.lock().unwrap().iter().all(|kind| *kind == Kind::Unavailable));
        assert!(!kinds.lock().unwrap().is_empty());
    })
    .await;
}
