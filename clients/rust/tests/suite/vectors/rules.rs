//! `rules.json`: an event that breaks each rule, and a valid one that hardly differs from it.

use std::iter::repeat_n;

use engagement_attributes::{v1::Event, validate};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::read_cases;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleCase {
    name: String,
    field: String,
    rule: String,
    event: Value,
    valid_event: Value,
}

#[test]
fn every_rule_is_held() {
    let cases = read_cases::<RuleCase>("rules.json");
    assert!(!cases.is_empty());
    for case in cases {
        let broken = validate(&event(case.event));
        let [violation] = broken.as_slice() else { panic!("{}: {broken:?}", case.name) };
        assert_eq!(violation.rule, case.rule, "{}", case.name);
        let is_key = case.field.ends_with('[');
        let end = if is_key { case.field.len() } else { violation.field.len() };
        assert_eq!(violation.field.get(..end), Some(case.field.as_str()), "{}", case.name);
        assert_eq!(validate(&event(case.valid_event)), [], "{}", case.name);
    }
}

fn event(value: Value) -> Event {
    serde_json::from_value(expand(value)).unwrap()
}

/// Writes out what is repeated.
fn expand(value: Value) -> Value {
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
