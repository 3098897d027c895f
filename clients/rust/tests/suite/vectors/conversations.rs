//! `conversations.json`: what client and server say to each other, message by message.

use std::{fs, sync::Arc, time::Duration};

use engagement_attributes::{
    Client, Tls,
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
    #[serde(default)]
    tls: bool,
}

#[derive(Clone, Deserialize)]
struct Addresses {
    address: String,
    tls_address: String,
    ca_file: String,
}

impl Addresses {
    async fn of_scripted_server() -> (Child, Self) {
        let (server, line) = spawn(&["clients.vectors.scripted_server"]).await;
        (server, serde_json::from_str(&line).unwrap())
    }
}

impl Conversation {
    fn client(&self, addresses: &Addresses) -> Client {
        let address = if self.tls { &addresses.tls_address } else { &addresses.address };
        let mut builder = Client::builder(address, &self.name).timeout(TIMEOUT);
        if self.tls {
            builder = builder.tls(Tls::ca_pem(fs::read(&addresses.ca_file).unwrap()));
        }
        if let Some(token) = &self.token {
            builder = builder.token(token);
        }
        builder.build().unwrap()
    }

    /// What went otherwise than the case says.
    async fn play(self, addresses: Addresses) -> Vec<String> {
        let client = self.client(&addresses);
        let longest = Duration::from_secs_f64(self.max_outage_seconds.unwrap_or(MAX_OUTAGE_SECONDS));
        let mut problems = Vec::new();
        match timeout(DEADLINE / 2, self.call.make(&client, longest)).await {
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
