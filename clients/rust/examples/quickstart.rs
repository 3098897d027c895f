//! Records an event, reads the profile that follows from it, uploads in bulk, follows what is stored, and shows
//! why an event is refused.

use std::time::{SystemTime, UNIX_EPOCH};

use engagement_attributes::v1::{
    CustomerInfo, Event, EventFilter, GetProfileRequest, get_profile_request::Subject,
};
use engagement_attributes::{Client, Start};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = std::env::var("ENGAGEMENT_SERVER").unwrap_or_else(|_| "127.0.0.1:50051".to_owned());
    let client = Client::builder(server, "demo-rust").build()?;

    let vip = CustomerInfo::default().with_customer_type("VIP").with_balance("12.50");
    let visit = Event {
        event_id: "visit-19/1".to_owned(),
        consumer_id: "visitor-19".to_owned(),
        attributes: vip.into(),
        ..Default::default()
    };
    client.record_event(visit.clone()).await?;

    let request = GetProfileRequest {
        account_id: client.account_id().to_owned(),
        subject: Some(Subject::ConsumerId("visitor-19".to_owned())),
        ..Default::default()
    };
    let found = client.events().get_profile(request).await?.into_inner();
    let customer = &found.profile.customer_info;
    let (kind, balance) = (customer.customer_type.as_deref(), customer.balance.as_deref());
    println!("profile: {} {}", kind.unwrap_or("?"), balance.unwrap_or("?"));

    let day = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() / 86_400; // since 1970
    let source = format!("orders.csv/{day}"); // the file's name and day
    let orders = (0..10_000).map(|n| Event {
        event_id: format!("{source}/{n}"),
        attributes: CustomerInfo::default().with_customer_id(format!("NW-{n}")).into(),
        ..Default::default()
    });
    let summary = client.uploader().upload_id(&source).upload(orders).await?;
    println!("{} stored, {} rejected", summary.tally.accepted, summary.tally.rejected);

    let visitor = EventFilter { consumer_ids: vec!["visitor-19".to_owned()], ..Default::default() };
    let mut follower = client.follow(Start::Earliest).filter(visitor).stop_at_tail().start();
    while let Some(stored) = follower.next().await {
        println!("followed {}", stored?.event.event_id);
    }

    if let Err(error) = client.record_event(Event { consumer_id: "x".repeat(50_001), ..visit }).await {
        println!("{error}");
    }
    Ok(())
}
