//! Tokens, and where they may go in plain text.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use engagement_attributes::{
    BoxError, Client, ClientBuilder, Kind, Start, Tls, Token, v1::GetServerInfoRequest,
};
use serde::Deserialize;
use tokio::task::JoinSet;

use crate::servers::{Server, events, in_time, root};

#[derive(Deserialize)]
struct Targets {
    cases: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    is_this_machine: bool,
    has_scheme: bool,
}

fn with_token(target: &str) -> ClientBuilder {
    Client::builder(target, "access").token("secret")
}

#[tokio::test]
async fn a_token_leaves_this_machine_in_plain_text_only_if_that_is_allowed() {
    let text = fs::read_to_string(root().join("clients/vectors/targets.json")).unwrap();
    let targets: Targets = serde_json::from_str(&text).unwrap();
    for Target { name, is_this_machine, has_scheme } in targets.cases {
        // Schemes are no addresses here.
        let is_taken = is_this_machine && !has_scheme;
        assert_eq!(with_token(&name).build().is_ok(), is_taken, "{name}");
        assert_eq!(with_token(&name).allow_plaintext_token().build().is_ok(), !has_scheme, "{name}");
        assert_eq!(with_token(&name).tls(Tls::system_roots()).build().is_ok(), !has_scheme, "{name}");
    }
}

#[tokio::test]
async fn calls_at_once_ask_for_one_token() {
    in_time(async {
        let server = Server::start().await;
        let asks = Arc::new(AtomicUsize::new(0));
        let asked = Arc::clone(&asks);
        let client = Client::builder(&server.address, "tests")
            .token_source(move || {
                asked.fetch_add(1, Ordering::SeqCst);
                async { Ok(Token::new("t").expires_at(SystemTime::now() + Duration::from_secs(3600))) }
            })
            .build()
            .unwrap();
        let mut calls = JoinSet::new();
        for _ in 0..10 {
            let mut stub = client.server();
            calls.spawn(async move { stub.get_server_info(GetServerInfoRequest::default()).await.map(drop) });
        }
        for outcome in calls.join_all().await {
            outcome.unwrap();
        }
        assert_eq!(asks.load(Ordering::SeqCst), 1);
    })
    .await;
}

#[tokio::test]
async fn a_failure_of_the_function_is_that_of_the_call_the_upload_and_the_follower() {
    in_time(async {
        let client = Client::builder("127.0.0.1:1", "tests")
            .token_source(|| async { Err(BoxError::from("the vault is closed")) })
            .build()
            .unwrap();
        let errors = [
            client.record_event(events("e", 1).next().unwrap()).await.unwrap_err(),
            client.uploader().upload(events("e", 1)).await.unwrap_err(),
            client.follow(Start::Earliest).start().next().await.unwrap().unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), Kind::Unauthenticated);
            assert!(error.message().contains("the vault is closed"));
        }
    })
    .await;
}

#[tokio::test]
async fn waiting_for_a_token_counts_towards_the_deadline() {
    in_time(async {
        let client = Client::builder("127.0.0.1:1", "tests")
            .token_source(std::future::pending)
            .timeout(Duration::from_millis(50))
            .build()
            .unwrap();
        let error = client.record_event(events("e", 1).next().unwrap()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Deadline);
    })
    .await;
}

#[tokio::test]
async fn a_client_in_plain_text_does_not_change_to_tls() {
    let client = Client::builder("127.0.0.1:1", "tests").build().unwrap();
    assert_eq!(client.replace_tls(&Tls::system_roots()).unwrap_err().kind(), Kind::InvalidArgument);
}
