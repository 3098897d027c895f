//! Checking events without a server.

use engagement_attributes::{
    v1::{CustomerInfo, Date, Event},
    validate,
};

use crate::servers::{Server, event, in_time};

fn with_date(year: i32, month: i32, day: i32) -> Event {
    let date = Date { year, month, day, ..Default::default() };
    let customer = CustomerInfo { last_payment_date: date.into(), ..Default::default() };
    Event { attributes: customer.into(), ..Default::default() }
}

#[test]
fn a_good_event_breaks_no_rule() {
    assert_eq!(validate(&event("e1")), []);
    assert_eq!(validate(&with_date(2024, 2, 29)), []);
}

#[tokio::test]
async fn what_is_found_is_what_the_server_finds() {
    in_time(async {
        let server = Server::start().await;
        let client = server.client();
        let long = Event { consumer_id: "x".repeat(50_001), ..event("e1") };
        for bad in [with_date(2014, 13, 15), with_date(2023, 2, 29), Event::default(), long] {
            let error = client.record_event(bad.clone()).await.unwrap_err();
            let here: Vec<_> = validate(&bad)
                .into_iter()
                .map(|violation| (format!("event.{}", violation.field), violation.rule))
                .collect();
            let there: Vec<_> = error
                .violations()
                .iter()
                .map(|violation| (violation.field.clone(), violation.rule.clone()))
                .collect();
            assert_eq!(here, there);
        }
    })
    .await;
}
