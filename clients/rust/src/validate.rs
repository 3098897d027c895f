//! Checks an event by the contract's rules before it is sent.

use protovalidate_buffa::{Validate, ValidationError};

use crate::{error::FieldViolation, v1::Event};

/// The rules of the contract that an event breaks; none where it is good.
///
/// Paths begin at the event, such as `customer_info.last_payment_date.month`; ids of rules are the server's.
/// Only the server can check what needs its clock or its store.
pub fn validate(event: &Event) -> Vec<FieldViolation> {
    event.validate().err().map(violations).unwrap_or_default()
}

fn violations(error: ValidationError) -> Vec<FieldViolation> {
    let broken = error.violations.into_iter().map(|violation| FieldViolation {
        field: violation.field.to_string(),
        rule: violation.rule_id.into_owned(),
        description: violation.message.into_owned(),
    });
    // A rule that cannot be evaluated is not a rule that holds.
    let failed = error
        .compile_error
        .into_iter()
        .chain(error.runtime_error)
        .map(|description| FieldViolation { field: String::new(), rule: String::new(), description });
    broken.chain(failed).collect()
}
