//! `sources.json`: the digests of sources.

use engagement_attributes::{buffa::Message, v1::Event};
use serde::Deserialize;

use super::{from_base64, read_cases};
use crate::canonical::{CanonicalForm, RunningDigest};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SourceCase {
    name: String,
    salt: String,
    events: Vec<String>,
    sha256: String,
}

#[test]
fn sources_have_their_digests() {
    let mut form = CanonicalForm::default();
    for case in read_cases::<SourceCase>("sources.json") {
        let mut running = RunningDigest::new(&case.salt);
        for wire in &case.events {
            form.write(&Event::decode_from_slice(&from_base64(wire)).unwrap());
            running.add(form.as_bytes());
        }
        let digest = running.digest();
        assert_eq!(digest.events.cast_unsigned(), case.events.len() as u64, "{}", case.name);
        assert_eq!(digest.sha256, case.sha256, "{}", case.name);
    }
}
