//! Deadlines, cancellation, retries of lost connections, and what stays behind.

use std::time::{Duration, Instant};

use engagement_attributes::{
    Client, Error, Kind, Start,
    buffa::Message,
    tonic::Request,
    v1::{GetServerInfoRequest, ListEventsRequest},
};
use tokio::{net::TcpListener, runtime::Handle, sync::mpsc, time::timeout};

use crate::servers::{DEADLINE, Server, event, events, in_time};

/// An address where connections are taken and nothing is ever said.
async fn silent_address() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

/// An address where nobody listens.
async fn dead_address() -> String {
    silent_address().await.1
}

#[tokio::test]
async fn a_call_without_an_answer_ends_at_its_deadline() {
    in_time(async {
        let (_listener, address) = silent_address().await;
        let client = Client::builder(address, "tests").timeout(Duration::from_millis(300)).build().unwrap();
        let error = client.record_event(event("e1")).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Deadline);
        assert!(error.is_transient());
    })
    .await;
}

#[tokio::test]
async fn a_call_may_bring_its_own_deadline() {
    in_time(async {
        let (_listener, address) = silent_address().await;
        let client = Client::builder(address, "tests").build().unwrap();
        let began = Instant::now();
        let error = client.record_event(event("e1")).timeout(Duration::from_millis(300)).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Deadline);
        let mut request = Request::new(GetServerInfoRequest::default());
        request.set_timeout(Duration::from_millis(300));
        let error: Error = client.server().get_server_info(request).await.unwrap_err().into();
        assert_eq!(error.kind(), Kind::Deadline);
        assert!(began.elapsed() < Duration::from_secs(10));
    })
    .await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable_after_five_tries() {
    in_time(async {
        let client = Client::builder(dead_address().await, "tests").build().unwrap();
        let began = Instant::now();
        let error = client.record_event(event("e1")).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable);
        // Four waits: at least half of 0.1, 0.2, 0.4 and 0.8 s.
        assert!(began.elapsed() > Duration::from_millis(750));
    })
    .await;
}

#[tokio::test]
async fn a_call_outlives_a_restart_of_the_server() {
    in_time(async {
        let mut server = Server::start().await;
        let client = server.client();
        client.record_event(event("e1")).await.unwrap();
        server.restart().await;
        client.record_event(event("e2")).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_call_is_cancelled_by_dropping_it() {
    in_time(async {
        let (_listener, address) = silent_address().await;
        let client = Client::builder(address, "tests").build().unwrap();
        let call = client.record_event(event("e1"));
        assert!(timeout(Duration::from_millis(50), call).await.is_err());
    })
    .await;
}

#[tokio::test]
async fn a_wrong_address_and_a_wrong_token_are_told_at_once() {
    for builder in [
        Client::builder("no address", "tests"),
        Client::builder("localhost", "tests"),
        Client::builder("http://localhost:50051", "tests"),
        Client::builder("127.0.0.1:50051", "tests").token("two\nlines"),
    ] {
        assert_eq!(builder.build().unwrap_err().kind(), Kind::InvalidArgument);
    }
}

#[tokio::test]
async fn nothing_stays_behind_when_a_client_is_closed() {
    in_time(async {
        let server = Server::start().await;
        let tasks_before = Handle::current().metrics().num_alive_tasks();
        {
            let client = server.client();
            client.uploader().upload(events("e", 1000)).await.unwrap();
            let mut follower = client.follow(Start::Earliest).start();
            follower.next().await.unwrap().unwrap();
            // Dropped in the middle: the call, the upload and the follower.
            let waiting = client.uploader().upload_stream(tokio_stream::pending());
            assert!(timeout(Duration::from_millis(300), waiting).await.is_err());
        }
        let began = Instant::now();
        while Handle::current().metrics().num_alive_tasks() > tasks_before {
            assert!(began.elapsed() < DEADLINE, "tasks stay behind");
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Compiles only where everything may be awaited in a spawned task.
#[test]
fn calls_may_be_spawned() {
    async fn all(client: Client) {
        let mut list = client.list_events();
        let mut follower = client.follow(Start::Latest).start();
        let _ = client.record_event(event("e1")).await;
        let _ = client.uploader().upload(events("e", 1)).await;
        let _ = client.uploader().upload_stream(tokio_stream::empty()).await;
        let _ = (list.next().await, follower.next().await, follower.next_batch().await);
    }
    fn spawn(client: Client) {
        tokio::spawn(all(client));
    }
    fn is_shareable<T: Send + Sync + std::error::Error + 'static>() {}
    let _ = spawn;
    is_shareable::<Error>();
}

#[tokio::test]
async fn a_connection_that_is_silent_is_given_up() {
    in_time(async {
        let server = Server::start().await;
        let client = server.client();
        client.record_event(event("e1")).await.unwrap();
        let (tell, mut lost) = mpsc::unbounded_channel();
        // By its heartbeats alone a follower would wait for two minutes.
        let mut follower = client
            .follow(Start::Earliest)
            .heartbeat_interval(Duration::from_secs(60))
            .on_reconnect(move |error| tell.send(error.kind()).unwrap())
            .start();
        follower.next().await.unwrap().unwrap();
        server.freeze().await;
        let began = Instant::now();
        tokio::select! {
            event = follower.next() => panic!("a frozen server says {event:?}"),
            kind = lost.recv() => assert_eq!(kind, Some(Kind::Unavailable)),
        }
        // 30 seconds until the ping, 10 for its answer.
        assert!(began.elapsed() > Duration::from_secs(35) && began.elapsed() < Duration::from_secs(60));
    })
    .await;
}

#[tokio::test]
async fn the_largest_event_is_read_back_within_the_default_limit_of_grpc() {
    const MOST_BYTES: usize = 3_670_016;
    in_time(async {
        let server = Server::start().await;
        let client = server.client();
        let mut large = event("large");
        large.additional_attributes =
            (0..73).map(|number| (format!("key-{number}"), "x".repeat(49_990))).collect();
        // A tag and a length of three bytes come with it.
        large.consumer_id = "c".repeat(MOST_BYTES - large.encode_to_vec().len() - 4);
        assert_eq!(large.encode_to_vec().len(), MOST_BYTES);
        client.record_event(large.clone()).await.unwrap();
        let account_id = client.account_id().to_owned();
        let request = ListEventsRequest { account_id, ..Default::default() };
        let mut stub = client.events().max_decoding_message_size(4 * 1024 * 1024);
        let stored = stub.list_events(request).await.unwrap().into_inner().events;
        assert_eq!(stored.len(), 1);
        assert_eq!(stored[0].event.additional_attributes, large.additional_attributes);

        large.consumer_id.push('c');
        let error = client.record_event(large).await.unwrap_err();
        let violation = &error.violations()[0];
        assert_eq!((violation.field.as_str(), violation.rule.as_str()), ("event", "server.event.max_bytes"));
    })
    .await;
}
