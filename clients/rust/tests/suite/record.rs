//! Recording, listing and the generated stubs, against the real server.

use engagement_attributes::{
    Error, Kind,
    tonic::Code,
    v1::{
        CustomerInfo, Date, Event, GetEventRequest, GetServerInfoRequest, Outcome, event::Attributes,
        get_event_request::Key,
    },
};

use crate::servers::{Server, event, events, id_of, in_time};

#[tokio::test]
async fn an_event_is_recorded_once() {
    in_time(async {
        let server = Server::start().await;
        let client = server.client();
        let first = client.record_event(event("e1")).await.unwrap();
        assert_eq!(first.outcome, Outcome::Accepted);
        let second = client.record_event(event("e1")).await.unwrap();
        assert_eq!(second.outcome, Outcome::Duplicate);
        assert_eq!(second.cursor, first.cursor);
    })
    .await;
}

#[tokio::test]
async fn an_event_without_an_id_gets_one() {
    in_time(async {
        let server = Server::start().await;
        let result = server.client().record_event(event("")).await.unwrap();
        assert_eq!(result.event_id.len(), 36);
    })
    .await;
}

#[tokio::test]
async fn a_rejected_event_reports_its_fields() {
    in_time(async {
        let server = Server::start().await;
        let last_payment_date = Date { year: 2014, month: 13, day: 15, ..Default::default() };
        let customer = CustomerInfo { last_payment_date: last_payment_date.into(), ..Default::default() };
        let bad = Event { attributes: customer.into(), ..Default::default() };
        let error = server.client().record_event(bad).await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (Kind::InvalidArgument, Some(Code::InvalidArgument)));
        assert_eq!(error.reason(), "FIELD_INVALID");
        let [violation] = error.violations() else { panic!("one field is wrong: {error}") };
        assert_eq!(violation.field, "event.customer_info.last_payment_date.month");
        assert_eq!(violation.rule, "int32.gte_lte");
        assert_eq!(error.metadata()["violationsTotal"], "1");
        assert!(!error.is_transient());
    })
    .await;
}

#[tokio::test]
async fn an_id_that_is_taken_is_a_conflict() {
    in_time(async {
        let server = Server::start().await;
        let client = server.client();
        client.record_event(event("e1")).await.unwrap();
        let other = Event { consumer_id: "visitor-1".to_owned(), ..event("e1") };
        let error = client.record_event(other).await.unwrap_err();
        assert_eq!((error.kind(), error.reason()), (Kind::Conflict, "EVENT_ID_CONFLICT"));
    })
    .await;
}

#[tokio::test]
async fn events_are_recorded_together_or_partially() {
    in_time(async {
        let server = Server::start().await;
        let client = server.client();
        let bad = Event { attributes: None, ..event("bad") };
        let mixed = [event("e1"), bad, event("e2")];
        let error = client.record_events(mixed.clone()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidArgument);
        let response = client.record_events(mixed).allow_partial().await.unwrap();
        assert_eq!((response.tally.accepted, response.tally.rejected), (2, 1));
    })
    .await;
}

#[tokio::test]
async fn validating_stores_nothing() {
    in_time(async {
        let server = Server::start().await;
        let client = server.client();
        client.record_event(event("e1")).validate_only().await.unwrap();
        client.record_events([event("e2")]).validate_only().await.unwrap();
        assert!(client.list_events().next().await.is_none());
    })
    .await;
}

#[tokio::test]
async fn a_list_walks_through_all_pages() {
    in_time(async {
        let server = Server::start().await;
        let client = server.client();
        client.record_events(events("e", 7)).await.unwrap();
        let mut list = client.list_events().newest_first().page_size(3).read_mask(["event.event_id"]);
        let mut ids = Vec::new();
        while let Some(stored) = list.next().await {
            ids.push(id_of(stored.unwrap()));
        }
        assert_eq!(ids, ["e/6", "e/5", "e/4", "e/3", "e/2", "e/1", "e/0"]);
    })
    .await;
}

#[tokio::test]
async fn stubs_make_the_other_calls_with_the_same_errors() {
    in_time(async {
        let server = Server::start().await;
        let client = server.client();
        let info = client.server().get_server_info(GetServerInfoRequest::default()).await.unwrap();
        assert_eq!(info.into_inner().contract, "engagement.v1");
        let request = GetEventRequest {
            account_id: client.account_id().to_owned(),
            key: Some(Key::EventId("nothing".to_owned())),
            ..Default::default()
        };
        let error: Error = client.events().get_event(request).await.unwrap_err().into();
        assert_eq!((error.kind(), error.reason()), (Kind::NotFound, "EVENT_NOT_FOUND"));
    })
    .await;
}

#[test]
fn personal_data_is_not_in_the_debug_text() {
    let customer = CustomerInfo::default().with_user_name("ada").with_role("broker");
    let text = format!("{:?}", Attributes::from(customer));
    assert!(text.contains("broker") && !text.contains("ada"));
}
