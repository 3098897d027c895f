//! The calls of conversations, made as a user would, and what came of them as JSON.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use engagement_attributes::{
    BoxError, Client, Error, Follower, Start, UploadError, UploadSummary,
    buffa::Enumeration,
    v1::{
        Event, GetServerInfoRequest, SubscribeEventsRequest, Tally,
        subscribe_events_request::Start as StartField,
    },
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_stream::{StreamExt, iter};

use super::repetition::expand;
use crate::servers::id_of;

const PAGE_SIZE: u16 = 2;

/// One call; a kind that is not here makes the runner fail.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Call {
    ServerInfo(ServerInfo),
    RecordEvent(RecordOne),
    RecordEvents(RecordSome),
    ListEvents(List),
    Upload(Upload),
    Follow(Box<Follow>),
}

impl Call {
    pub async fn make(self, client: &Client, longest_outage: Duration) -> Value {
        match self {
            Self::ServerInfo(call) => call.make(client).await,
            Self::RecordEvent(call) => call.make(client).await,
            Self::RecordEvents(call) => call.make(client).await,
            Self::ListEvents(call) => call.make(client).await,
            Self::Upload(call) => call.make(client, longest_outage).await,
            Self::Follow(call) => call.make(client, longest_outage).await,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerInfo {}

impl ServerInfo {
    async fn make(self, client: &Client) -> Value {
        match client.server().get_server_info(GetServerInfoRequest::default()).await {
            Ok(response) => json!({"version": response.into_inner().version}),
            Err(status) => json!({"error": describe(&status.into())}),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordOne {
    event: Event,
}

impl RecordOne {
    async fn make(self, client: &Client) -> Value {
        match client.record_event(self.event).await {
            Ok(result) => json!({"result": result}),
            Err(error) => json!({"error": describe(&error)}),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordSome {
    events: Vec<Event>,
    #[serde(default)]
    allow_partial: bool,
}

impl RecordSome {
    async fn make(self, client: &Client) -> Value {
        let mut call = client.record_events(self.events);
        if self.allow_partial {
            call = call.allow_partial();
        }
        match call.await {
            Ok(response) => json!({"tally": count(&response.tally)}),
            Err(error) => json!({"error": describe(&error)}),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {}

impl List {
    async fn make(self, client: &Client) -> Value {
        let stored: Vec<_> = client.list_events().page_size(PAGE_SIZE).collect().await;
        let ids: Result<Vec<String>, Error> = stored.into_iter().map(|stored| Ok(id_of(stored?))).collect();
        match ids {
            Ok(ids) => json!({"event_ids": ids}),
            Err(error) => json!({"error": describe(&error)}),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upload {
    #[serde(rename = "upload_id")]
    id: String,
    chunk_events: usize,
    events: Vec<Value>,
    fails_after: Option<usize>,
    #[serde(default)]
    keep_going: bool,
}

impl Upload {
    async fn make(self, client: &Client, longest_outage: Duration) -> Value {
        let rejections = Arc::new(Mutex::new(Vec::new()));
        let book = Arc::clone(&rejections);
        let uploader = client
            .uploader()
            .upload_id(&self.id)
            .chunk_events(self.chunk_events)
            .keep_going(self.keep_going)
            .max_outage(longest_outage)
            .on_rejection(move |rejected| {
                let reason =
                    rejected.error.reason.as_known().map(|reason| reason.proto_name()).unwrap_or_default();
                book.lock().unwrap().push(json!({
                    "position": rejected.position,
                    "event_id": rejected.event.event_id,
                    "reason": reason.trim_start_matches("ERROR_REASON_"),
                }));
            });
        let events = self.events.into_iter().map(|event| serde_json::from_value(expand(event)).unwrap());
        let result = match self.fails_after {
            None => uploader.upload(events).await.map_err(|error| describe(&error)),
            Some(count) => {
                let broken = iter([Err(BoxError::from("the source fails"))]);
                let source = iter(events).take(count).map(Ok).chain(broken);
                uploader.try_upload_stream(source).await.map_err(|error| match error {
                    UploadError::Source(_) => json!({"kind": "source", "reason": ""}),
                    UploadError::Call(error) => describe(&error),
                })
            }
        };
        let rejections = rejections.lock().unwrap().clone();
        match result {
            Ok(summary) => json!({"summary": summarize(&summary), "rejections": rejections}),
            Err(error) => json!({"error": error, "rejections": rejections}),
        }
    }
}

fn summarize(summary: &UploadSummary) -> Value {
    json!({
        "tally": count(&summary.tally),
        "events": summary.events,
        "reconnects": summary.reconnects,
        "skipped_events": summary.skipped_events,
        "resumed_by_count": summary.resumed_by_count,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Follow {
    request: SubscribeEventsRequest,
    take: Option<usize>,
}

impl Follow {
    async fn make(self, client: &Client, longest_outage: Duration) -> Value {
        let erasures = Arc::new(Mutex::new(Vec::new()));
        let book = Arc::clone(&erasures);
        let mut builder =
            client.follow(start_of(&self.request)).max_outage(longest_outage).on_erasure(move |notice| {
                book.lock().unwrap().push(notice.erasure_id);
                async { Ok(()) }
            });
        if let Some(filter) = self.request.filter.into_option() {
            builder = builder.filter(filter);
        }
        if self.request.stop_at_tail {
            builder = builder.stop_at_tail();
        }
        let mut follower = builder.start();
        let (steps, error) = walk(&mut follower, self.take.unwrap_or(usize::MAX)).await;
        let mut outcome = json!({
            "steps": steps,
            "cursor": follower.cursor(),
            "erasures": *erasures.lock().unwrap(),
        });
        if let Some(error) = error {
            outcome["error"] = describe(&error);
        }
        outcome
    }
}

async fn walk(follower: &mut Follower, count: usize) -> (Vec<Value>, Option<Error>) {
    let mut steps = Vec::new();
    while steps.len() < count {
        match follower.next().await {
            None => break,
            Some(Err(error)) => return (steps, Some(error)),
            Some(Ok(stored)) => steps.push(json!({"event_id": id_of(stored), "cursor": follower.cursor()})),
        }
    }
    (steps, None)
}

fn start_of(request: &SubscribeEventsRequest) -> Start {
    match request.start.clone().expect("every case starts somewhere") {
        StartField::AfterCursor(cursor) => Start::After(cursor),
        StartField::Earliest(_) => Start::Earliest,
        StartField::Latest(_) => Start::Latest,
        StartField::StartTime(time) => Start::Time((*time).try_into().expect("the time is in range")),
    }
}

fn describe(error: &Error) -> Value {
    json!({"kind": error.kind().as_str(), "reason": error.reason()})
}

/// The counts of a tally, without those that are zero.
fn count(tally: &Tally) -> Value {
    let counts = [
        ("accepted", tally.accepted),
        ("duplicate", tally.duplicate),
        ("rejected", tally.rejected),
        ("suppressed", tally.suppressed),
    ];
    counts.into_iter().filter(|(_, events)| *events > 0).collect()
}
