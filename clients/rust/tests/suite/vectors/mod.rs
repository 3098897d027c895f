//! The cases that every client runs; `clients/vectors` has them and says what they mean.

mod calls;
mod conversations;
mod errors;
mod messages;
mod repetition;
#[cfg(feature = "validate")]
mod rules;
mod sources;

use std::fs;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, de::DeserializeOwned};

use crate::servers::root;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases<T> {
    cases: Vec<T>,
}

/// All cases of a file. A member that this runner does not know makes it fail.
fn read_cases<T: DeserializeOwned>(name: &str) -> Vec<T> {
    let path = root().join("clients/vectors").join(name);
    let text = fs::read_to_string(&path).unwrap();
    serde_json::from_str::<Cases<T>>(&text).unwrap_or_else(|error| panic!("{name}: {error}")).cases
}

fn from_base64(text: &str) -> Vec<u8> {
    BASE64_STANDARD.decode(text).unwrap()
}
