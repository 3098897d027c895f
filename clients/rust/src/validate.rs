//! Checks an event by the contract's rules before it is sent.

use protovalidate_buffa::{Validate, ValidationError};

use crate::{error::FieldViolation, v1::Event};

/// Returns the rules of the contract that an event breaks; empty if it is valid.
///
/// Paths start at the event, as in `customer_info.last_payment_date.month`; rule ids are the server's. Rules
/// that need the server's clock or store are checked only by the server.
pub fn validate(event: &Event) -> Vec<FieldViolation> {
    event.validate().err().map(violations).unwrap_or_default()
}

fn violations(error: ValidationError) -> Vec<FieldViolation> {
    let broken = error.violations.into_iter().map(|violation| FieldViolation {
        field: violation.field.to_string(),
        rule: violation.rule_id.into_owned(),
        description: violation.message.into_owned(),
    });
    // A rule that cannot be evaluated counts as broken.
    let failed = error
        .compile_error
        .into_iter()
        .chain(error.runtime_error)
        .map(|description| FieldViolation { field: String::new(), rule: String::new(), description });
    broken.chain(failed).collect()
}
