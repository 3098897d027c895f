//! `events.json` and `texts.json`: bytes, proto-JSON, and text at the edges.

use engagement_attributes::{
    buffa::Message,
    v1::{
        CustomerInfo, Date, Event, EventFilter, EventResult, GetEventRequest, StoredEvent,
        get_event_request::Key,
    },
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{from_base64, read_cases};
use crate::servers::{Server, in_time};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MessageCase {
    name: String,
    message: String,
    wire: String,
    #[serde(default)]
    other_wires: Vec<String>,
    json: Value,
    #[serde(default)]
    json_is_lossy: bool,
}

impl MessageCase {
    fn check<M: Message + Serialize + DeserializeOwned>(&self) {
        let message = M::decode_from_slice(&from_base64(&self.wire)).unwrap();
        self.check_wire(&message);
        assert_eq!(serde_json::to_value(&message).unwrap(), self.json, "{}", self.name);
        if !self.json_is_lossy {
            self.check_wire(&serde_json::from_value::<M>(self.json.clone()).unwrap());
        }
    }

    fn check_wire(&self, message: &impl Message) {
        let written = message.encode_to_vec();
        let mut allowed = self.other_wires.iter().chain([&self.wire]).map(|wire| from_base64(wire));
        assert!(allowed.any(|wire| wire == written), "{}: {written:?}", self.name);
    }
}

#[test]
fn messages_are_read_and_written() {
    for case in read_cases::<MessageCase>("events.json") {
        match case.message.as_str() {
            "engagement.v1.Date" => case.check::<Date>(),
            "engagement.v1.Event" => case.check::<Event>(),
            "engagement.v1.EventFilter" => case.check::<EventFilter>(),
            "engagement.v1.EventResult" => case.check::<EventResult>(),
            "engagement.v1.StoredEvent" => case.check::<StoredEvent>(),
            other => panic!("{}: no message {other}", case.name),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TextCase {
    name: String,
    unit: String,
    times: usize,
    rule: Option<String>,
    wire_bytes: usize,
    wire_sha256: String,
}

impl TextCase {
    fn event(&self) -> Event {
        let customer = CustomerInfo::default().with_balance(self.unit.repeat(self.times));
        Event { event_id: self.name.clone(), attributes: customer.into(), ..Default::default() }
    }
}

#[tokio::test]
async fn text_comes_out_as_it_went_in_or_is_refused() {
    in_time(async {
        let server = Server::start().await;
        let client = server.client();
        for case in read_cases::<TextCase>("texts.json") {
            let event = case.event();
            let wire = event.encode_to_vec();
            assert_eq!(wire.len(), case.wire_bytes, "{}", case.name);
            let digest = format!("{:x}", Sha256::digest(&wire));
            assert_eq!(digest, case.wire_sha256, "{}", case.name);
            #[cfg(feature = "validate")]
            {
                let found: Vec<_> = engagement_attributes::validate(&event)
                    .into_iter()
                    .map(|violation| violation.rule)
                    .collect();
                assert_eq!(found, Vec::from_iter(case.rule.clone()), "{}", case.name);
            }
            let result = client.record_event(event.clone()).await;
            if let Some(rule) = &case.rule {
                assert_eq!(&result.unwrap_err().violations()[0].rule, rule, "{}", case.name);
                continue;
            }
            let key = Key::EventId(result.unwrap().event_id);
            let account_id = client.account_id().to_owned();
            let request = GetEventRequest { account_id, key: Some(key), ..Default::default() };
            let stored = client.events().get_event(request).await.unwrap().into_inner().event;
            let mut expected = event;
            if let Some(engagement_attributes::v1::event::Attributes::CustomerInfo(customer)) =
                &mut expected.attributes
            {
                customer.server_time_stamp = match &stored.event.attributes {
                    Some(engagement_attributes::v1::event::Attributes::CustomerInfo(stored)) => {
                        stored.server_time_stamp
                    }
                    _ => None,
                };
            }
            assert_eq!(*stored.event, expected, "{}", case.name);
        }
    })
    .await;
}
