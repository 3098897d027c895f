//! Client of the Engagement Attributes service, contract `engagement.v1`.
//!
//! A [`Client`] records single events, lists stored events, uploads in bulk with an [`Uploader`] and follows
//! new events with a [`Follower`]. All other calls of the contract are made through the client's generated
//! stubs, with the same token, deadline and retries. All calls fail with one type, [`Error`].
//!
//! ```no_run
//! use engagement_attributes::{Client, Start, v1};
//!
//! # async fn run() -> Result<(), engagement_attributes::Error> {
//! let client = Client::builder("127.0.0.1:50051", "demo").build()?;
//! let vip = v1::CustomerInfo::default().with_customer_id("NW-7").with_customer_type("VIP");
//! client.record_event(v1::Event { attributes: vip.into(), ..Default::default() }).await?;
//!
//! let mut follower = client.follow(Start::Earliest).start();
//! while let Some(stored) = follower.next().await {
//!     println!("{:?}", stored?.event);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Calls run nothing in the background: to cancel one, drop its future.
//!
//! # Features
//!
//! `tls` (default) encrypts connections, `json` adds proto-JSON as serde implementations of all messages, and
//! `validate` checks events against the contract's rules before they are sent.

mod builder;
mod client;
mod codec;
mod error;
mod follow;
mod list;
mod record;
mod retry;
mod status;
mod token;
mod transport;
mod upload;
mod uuid7;
#[cfg(feature = "validate")]
mod validate;

pub mod v1;

pub use builder::ClientBuilder;
#[cfg(feature = "tls")]
pub use builder::Tls;
pub use client::Client;
pub use error::{BoxError, Error, FieldViolation, Kind};
pub use follow::{EventBatch, FollowBuilder, Follower, Start};
pub use list::ListEvents;
pub use record::{RecordEvent, RecordEvents};
pub use token::Token;
pub use transport::Transport;
pub use upload::{Progress, RejectedEvent, UploadError, UploadSummary, Uploader};
pub use uuid7::uuid7;
#[cfg(feature = "validate")]
pub use validate::validate;

/// The runtime of the generated messages: encoding, unknown fields, well-known types.
pub use buffa;
/// The well-known types that the contract uses, such as `Timestamp`.
pub use buffa_types;
/// The transport of the generated stubs.
pub use tonic;
