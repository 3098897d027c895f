//! Records an event, uploads in bulk, follows what is stored, and shows why an event is refused.

use std::time::{SystemTime, UNIX_EPOCH};

use engagement_attributes::v1::{CustomerInfo, Event, EventFilter, event::Attributes};
use engagement_attributes::{Client, Start};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = std::env::var("ENGAGEMENT_SERVER").unwrap_or_else(|_| "127.0.0.1:50051".to_owned());
    let client = Client::builder(server, "demo-rust").build()?;

    let vip =
        CustomerInfo::default().with_customer_id("NW-7").with_customer_type("VIP").with_balance("12.50");
    let visit = Event {
        event_id: "visit-19/1".to_owned(),
        consumer_id: "visitor-19".to_owned(),
        attributes: vip.into(),
        ..Default::default()
    };
    client.record_event(visit.clone()).await?;

    let day = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() / 86_400; // since 1970
    let source = format!("orders.csv/{day}");
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
        if let Some(Attributes::CustomerInfo(customer)) = &stored?.event.attributes {
            let (kind, balance) = (customer.customer_type.as_deref(), customer.balance.as_deref());
            println!("{} {}", kind.unwrap_or("?"), balance.unwrap_or("?"));
        }
    }

    if let Err(error) = client.record_event(Event { consumer_id: "x".repeat(50_001), ..visit }).await {
        println!("{error}");
    }
    Ok(())
}
