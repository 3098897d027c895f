//! The messages and service stubs of the contract, generated from its protos.
//!
//! Unknown fields are kept, and fields that hold personal data are left out of the `Debug` text. The stubs
//! take and give tonic's types; `Error::from` makes the typed error of a status.

#![allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated")]

include!("generated/messages.rs");
include!("generated/services.rs");

#[cfg(feature = "validate")]
mod validators {
    include!("generated/validators.rs");
}
