//! The messages and service stubs of the contract, generated from its protos.
//!
//! Unknown fields are preserved, and fields with personal data are omitted from `Debug` output. The stubs use
//! tonic's types; `Error::from` converts a status to the typed error.

#![allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated")]

include!("generated/messages.rs");
include!("generated/services.rs");

#[cfg(feature = "validate")]
mod validators {
    include!("generated/validators.rs");
}
