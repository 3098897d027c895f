//! The tests of the client against the real server, against scripted conversations and by shared cases.

// The public API does not show the digest of a source.
#[path = "../../src/upload/canonical.rs"]
mod canonical;
use engagement_attributes::v1;

#[cfg(feature = "tls")]
mod access;
mod broken_line;
mod connect;
mod follow;
mod ids;
mod record;
mod servers;
mod source;
mod upload;
#[cfg(feature = "validate")]
mod validate;
#[cfg(all(feature = "json", feature = "tls"))]
mod vectors;
