//! Long values, which the cases give as a short one and how often it is repeated.

use std::iter::repeat_n;

use serde_json::{Map, Value};

/// Writes out what is repeated.
pub fn expand(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(expand).collect(),
        Value::Object(mut members) => match (members.remove("times"), members.remove("key")) {
            (Some(times), _) => {
                repeat(expand(members["repeat"].take()), times.as_u64().unwrap().try_into().unwrap())
            }
            (_, Some(key)) => {
                let key = expand(key).as_str().unwrap().to_owned();
                Map::from_iter([(key, expand(members["value"].take()))]).into()
            }
            _ => members.into_iter().map(|(name, member)| (name, expand(member))).collect(),
        },
        other => other,
    }
}

fn repeat(unit: Value, times: usize) -> Value {
    match unit {
        Value::String(text) => text.repeat(times).into(),
        Value::Array(items) => repeat_n(items, times).flatten().collect(),
        Value::Object(members) => (0..times)
            .flat_map(|number| {
                members.iter().map(move |(name, member)| (format!("{name}{number}"), member.clone()))
            })
            .collect(),
        other => panic!("{other} cannot be repeated"),
    }
}
