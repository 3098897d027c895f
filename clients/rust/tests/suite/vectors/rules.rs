//! `rules.json`: an event that breaks each rule, and a valid one that hardly differs from it.

use engagement_attributes::{v1::Event, validate};
use serde::Deserialize;
use serde_json::Value;

use super::{read_cases, repetition::expand};

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
