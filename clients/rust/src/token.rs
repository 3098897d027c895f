//! Where the tokens of calls come from: a text, or a function that is asked again when its answer expires.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use http::HeaderValue;
use tokio::time::Instant;
use tonic::Status;

use crate::error::{BoxError, Error, Kind};

/// A token is not kept longer than until so long before its expiry.
const RENEWAL: Duration = Duration::from_secs(30);

type Answer = Pin<Box<dyn Future<Output = Result<Token, BoxError>> + Send>>;
pub(crate) type Source = Box<dyn Fn() -> Answer + Send + Sync>;

/// What a function for tokens answers, see [`ClientBuilder::token_source`](crate::ClientBuilder::token_source).
#[derive(Clone)]
pub struct Token {
    value: String,
    expires_at: Option<SystemTime>,
}

impl Token {
    /// A token that serves one call, and those that wait for it.
    pub fn new(value: impl Into<String>) -> Self {
        Self { value: value.into(), expires_at: None }
    }

    /// Lets the token be kept until 30 seconds before this time.
    #[must_use]
    pub fn expires_at(self, time: SystemTime) -> Self {
        Self { expires_at: Some(time), ..self }
    }
}

impl fmt::Debug for Token {
    /// Omits the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// The tokens of one client.
pub(crate) struct Tokens {
    source: Option<Source>,
    /// Held while the function is asked.
    asking: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    latest: Option<HeaderValue>,
    /// Until when `latest` may be used for other calls; `None` if it may not.
    kept_until: Option<SystemTime>,
    answered_at: Option<Instant>,
    answers: u64,
}

impl Tokens {
    /// A text that never changes, or no token.
    pub fn fixed(authorization: Option<HeaderValue>) -> Self {
        let state = State { latest: authorization, ..Default::default() };
        Self { source: None, asking: tokio::sync::Mutex::default(), state: Mutex::new(state) }
    }

    pub fn asked(source: Source) -> Self {
        Self { source: Some(source), asking: tokio::sync::Mutex::default(), state: Mutex::default() }
    }

    /// Whether there may be another token after one has expired.
    pub fn is_renewable(&self) -> bool {
        self.source.is_some()
    }

    /// The header of a call that begins now, if there is a token.
    pub async fn current(&self) -> Result<Option<HeaderValue>, Status> {
        let Some(source) = &self.source else {
            return Ok(self.state().latest.clone());
        };
        let answers = match self.kept() {
            Ok(kept) => return Ok(kept),
            Err(answers) => answers,
        };
        let _asking = self.asking.lock().await;
        // An answer to another call that came meanwhile serves this one too.
        match self.kept() {
            Ok(kept) => return Ok(kept),
            Err(now) if now != answers => return Ok(self.state().latest.clone()),
            Err(_) => {}
        }
        let token = source().await.map_err(|error| Status::unauthenticated(format!("no token: {error}")))?;
        let header = bearer(&token.value).map_err(|error| Status::unauthenticated(error.message()))?;
        let mut state = self.state();
        state.latest = Some(header.clone());
        state.kept_until = token.expires_at.and_then(|time| time.checked_sub(RENEWAL));
        state.answered_at = Some(Instant::now());
        state.answers += 1;
        Ok(Some(header))
    }

    /// Drops a token that has expired, unless there is an answer from after the time at which it was used.
    pub fn discard(&self, used_at: Instant) {
        let mut state = self.state();
        if state.answered_at.is_some_and(|answered_at| answered_at <= used_at) {
            state.kept_until = None;
        }
    }

    /// The token that is kept, or else how many answers there were.
    fn kept(&self) -> Result<Option<HeaderValue>, u64> {
        let state = self.state();
        match state.kept_until {
            Some(until) if SystemTime::now() < until => Ok(state.latest.clone()),
            _ => Err(state.answers),
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn bearer(token: &str) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|error| {
        Error::new(Kind::InvalidArgument, "the token holds characters that a header cannot")
            .with_source(error)
    })?;
    value.set_sensitive(true);
    Ok(value)
}
