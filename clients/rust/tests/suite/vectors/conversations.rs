//! `conversations.json`: what client and server say to each other, message by message.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use engagement_attributes::{
    Client, Tls, Token,
    v1::{EntityKind, ListEntitiesRequest},
};
use serde::Deserialize;
use serde_json::Value;
use tokio::{process::Child, sync::Semaphore, task::JoinSet, time::timeout};

use super::{calls::Call, read_cases};
use crate::servers::{DEADLINE, in_time, spawn};

const TIMEOUT: Duration = Duration::from_secs(3);
const MAX_OUTAGE_SECONDS: f64 = 10.0;
/// How many conversations are held at once.
const MAX_CONVERSATIONS: usize = 8;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Conversation {
    name: String,
    #[serde(rename = "rules")]
    _rules: Vec<String>,
    call: Call,
    #[serde(rename = "server")]
    _server: Value,
    expected: Value,
    max_outage_seconds: Option<f64>,
    token: Option<String>,
    tokens: Option<Vec<ListedToken>>,
    #[serde(default)]
    tls: bool,
    #[serde(default)]
    client_certificate: bool,
}

/// An answer of a function for tokens.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListedToken {
    token: String,
    expires_in_seconds: Option<u64>,
}

impl ListedToken {
    fn answer(&self) -> Token {
        let token = Token::new(&self.token);
        match self.expires_in_seconds {
            Some(seconds) => token.expires_at(SystemTime::now() + Duration::from_secs(seconds)),
            None => token,
        }
    }
}

#[derive(Clone, Deserialize)]
struct Addresses {
    address: String,
    tls_address: String,
    mutual_tls_address: String,
    ca_file: String,
    certificate_file: String,
    key_file: String,
}

impl Addresses {
    async fn of_scripted_server() -> (Child, Self) {
        let (server, line) = spawn(&["clients.vectors.scripted_server"]).await;
        (server, serde_json::from_str(&line).unwrap())
    }
}

impl Conversation {
    fn client(&self, addresses: &Addresses, asks: &Arc<AtomicUsize>) -> Client {
        let address = match (self.tls, self.client_certificate) {
            (_, true) => &addresses.mutual_tls_address,
            (true, false) => &addresses.tls_address,
            (false, false) => &addresses.address,
        };
        let mut builder = Client::builder(address, &self.name).timeout(TIMEOUT);
        if self.tls || self.client_certificate {
            let mut tls = Tls::ca_pem(fs::read(&addresses.ca_file).unwrap());
            if self.client_certificate {
                let certificate = fs::read(&addresses.certificate_file).unwrap();
                tls = tls.client_certificate(certificate, fs::read(&addresses.key_file).unwrap());
            }
            builder = builder.tls(tls);
        }
        if let Some(tokens) = self.tokens.clone() {
            let asks = Arc::clone(asks);
            builder = builder.token_source(move || {
                // In order, and then the last one.
                let number = asks.fetch_add(1, Ordering::SeqCst).min(tokens.len() - 1);
                let answer = tokens[number].answer();
                async { Ok(answer) }
            });
        }
        if let Some(token) = &self.token {
            builder = builder.token(token);
        }
        builder.build().unwrap()
    }

    /// What went otherwise than the case says.
    async fn play(self, addresses: Addresses) -> Vec<String> {
        let asks = Arc::new(AtomicUsize::new(0));
        let client = self.client(&addresses, &asks);
        let longest = Duration::from_secs_f64(self.max_outage_seconds.unwrap_or(MAX_OUTAGE_SECONDS));
        let mut problems = Vec::new();
        let outcome = timeout(DEADLINE / 2, self.call.make(&client, longest)).await.map(|mut actual| {
            if self.tokens.is_some() {
                actual["token_asks"] = asks.load(Ordering::SeqCst).into();
            }
            actual
        });
        match outcome {
            Err(_) => problems.push("the call does not end".to_owned()),
            Ok(actual) if !holds(&self.expected, &actual) => {
                problems.push(format!("got {actual}, expected {}", self.expected));
            }
            Ok(_) => {}
        }
        problems.extend(problems_of_server(&client).await);
        problems.into_iter().map(|problem| format!("{}: {problem}", self.name)).collect()
    }
}

/// Whether it is what the case says. Of a result the case may leave out what differs from run to run.
fn holds(expected: &Value, actual: &Value) -> bool {
    match (expected.get("result"), actual.get("result")) {
        (Some(Value::Object(expected)), Some(Value::Object(actual))) => {
            expected.iter().all(|(name, value)| actual.get(name) == Some(value))
        }
        _ => expected == actual,
    }
}

async fn problems_of_server(client: &Client) -> Vec<String> {
    let request = ListEntitiesRequest {
        account_id: client.account_id().to_owned(),
        kind: EntityKind::CustomerStatus.into(),
        ..Default::default()
    };
    client.entities().list_entities(request).await.unwrap().into_inner().names
}

#[tokio::test]
async fn conversations_go_as_they_are_written() {
    in_time(async {
        let (_server, addresses) = Addresses::of_scripted_server().await;
        let mut playing = JoinSet::new();
        let permits = Arc::new(Semaphore::new(MAX_CONVERSATIONS));
        for case in read_cases::<Conversation>("conversations.json") {
            let (addresses, permits) = (addresses.clone(), Arc::clone(&permits));
            playing.spawn(async move {
                // The cases measure time, and all at once would keep each other waiting.
                let _permit = permits.acquire_owned().await.expect("the semaphore stays open");
                case.play(addresses).await
            });
        }
        let problems: Vec<String> = playing.join_all().await.into_iter().flatten().collect();
        assert!(problems.is_empty(), "\n{}", problems.join("\n"));
    })
    .await;
}
