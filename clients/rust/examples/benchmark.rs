//! Measures the rate of an upload: `benchmark ADDRESS ACCOUNT WARMUP_FILE EVENTS_FILE`.
//!
//! The files hold varint-length-delimited events. Both are read into memory first; the upload of the second
//! is timed and reported as one line of JSON.

use std::{env, error::Error, fs, time::Instant};

use engagement_attributes::{Client, buffa::Message, v1::Event};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [address, account_id, warmup_file, events_file] = arguments.as_slice() else {
        return Err("usage: benchmark ADDRESS ACCOUNT WARMUP_FILE EVENTS_FILE".into());
    };
    let (warmup, events) = (read_events(warmup_file)?, read_events(events_file)?);
    let client = Client::builder(address, account_id).build()?;
    client.uploader().upload(warmup).await?;

    let count = events.len();
    let began_at = Instant::now();
    let summary = client.uploader().upload(events).await?;
    let seconds = began_at.elapsed().as_secs_f64();
    println!(r#"{{"events": {count}, "accepted": {}, "seconds": {seconds}}}"#, summary.tally.accepted);
    Ok(())
}

fn read_events(path: &str) -> Result<Vec<Event>, Box<dyn Error>> {
    let bytes = fs::read(path)?;
    let mut rest = bytes.as_slice();
    let mut events = Vec::new();
    while !rest.is_empty() {
        events.push(Event::decode_length_delimited(&mut rest)?);
    }
    Ok(events)
}
