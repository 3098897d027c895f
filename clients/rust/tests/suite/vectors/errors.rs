//! `errors.json`: what a status becomes.

use std::collections::BTreeMap;

use engagement_attributes::{
    Error,
    tonic::{Code, Status},
};
use serde::Deserialize;

use super::{from_base64, read_cases};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ErrorCase {
    name: String,
    code: String,
    message: String,
    details: Option<String>,
    expected: Expected,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Expected {
    kind: String,
    reason: String,
    metadata: BTreeMap<String, String>,
    violations: Vec<Violation>,
    retry_delay_seconds: Option<f64>,
    is_transient: bool,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Violation {
    field: String,
    rule: String,
    description: String,
}

impl From<&Error> for Expected {
    fn from(error: &Error) -> Self {
        let violations = error.violations().iter().map(|violation| Violation {
            field: violation.field.clone(),
            rule: violation.rule.clone(),
            description: violation.description.clone(),
        });
        Self {
            kind: error.kind().to_string(),
            reason: error.reason().to_owned(),
            metadata: error.metadata().clone(),
            violations: violations.collect(),
            retry_delay_seconds: error.retry_delay().map(|delay| delay.as_secs_f64()),
            is_transient: error.is_transient(),
        }
    }
}

#[test]
fn a_status_becomes_a_typed_error() {
    for case in read_cases::<ErrorCase>("errors.json") {
        let details = from_base64(case.details.as_deref().unwrap_or_default());
        let code = code_named(&case.code);
        let error = Error::from(Status::with_details(code, case.message.clone(), details.into()));
        assert_eq!(Expected::from(&error), case.expected, "{}", case.name);
        assert_eq!((error.code(), error.message()), (Some(code), case.message.as_str()), "{}", case.name);
        assert!(error.to_string().starts_with(&case.code), "{}: {error}", case.name);
    }
}

fn code_named(name: &str) -> Code {
    let pascal: String =
        name.split('_').map(|word| word[..1].to_owned() + &word[1..].to_lowercase()).collect();
    (0..17)
        .map(Code::from)
        .find(|code| format!("{code:?}") == pascal)
        .unwrap_or_else(|| panic!("no code {name}"))
}
