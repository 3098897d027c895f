//! How long a client waits before it retries, and when it gives up.

use std::time::Duration;

use tokio::time::Instant;

use crate::{error::Error, uuid7::random_u64};

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_RECONNECT_DELAY: Duration = Duration::from_secs(5);
const LONGEST_RETRY_DELAY: Duration = Duration::from_secs(2);

/// The wait before a unary call is retried, after so many earlier failures.
pub(crate) fn retry_delay(failures: u32) -> Duration {
    spread_delay(failures, LONGEST_RETRY_DELAY)
}

/// Doubles with each failure up to `longest`; random between half and all of that, so that clients spread
/// out.
fn spread_delay(failures: u32, longest: Duration) -> Duration {
    let delay = longest.min(FIRST_DELAY * 2_u32.pow(failures.min(16)));
    #[expect(clippy::cast_precision_loss, reason = "a random share needs no precision")]
    let share = random_u64() as f64 / u64::MAX as f64;
    delay.mul_f64(0.5 + share / 2.0)
}

/// The time since the last progress of a resumable stream, with growing waits.
#[derive(Debug)]
pub(crate) struct Outage {
    longest: Duration,
    began_at: Option<Instant>,
    failures: u32,
    /// Whether an expired token can be renewed, and whether one was since the last progress.
    renews_token: bool,
    has_renewed_token: bool,
}

impl Outage {
    /// The outage after which an uploader or a follower gives up by default.
    pub const DEFAULT_LONGEST: Duration = Duration::from_secs(300);

    pub fn new(longest: Duration, renews_token: bool) -> Self {
        Self { longest, began_at: None, failures: 0, renews_token, has_renewed_token: false }
    }

    /// Records progress: the next failure begins a new outage.
    pub fn end(&mut self) {
        self.began_at = None;
        self.failures = 0;
        self.has_renewed_token = false;
    }

    /// How long to wait after an error before reconnecting, and the error. Fails with it if reconnecting
    /// cannot help or would come too late.
    pub fn delay_after(&mut self, error: Error) -> Result<(Duration, Error), Error> {
        if self.renews_token && !self.has_renewed_token && error.is_expired_token() {
            self.has_renewed_token = true;
        } else if !error.is_transient() {
            return Err(error);
        }
        let now = Instant::now();
        let began_at = *self.began_at.get_or_insert(now);
        let spread = spread_delay(self.failures, LONGEST_RECONNECT_DELAY);
        self.failures += 1;
        let delay = spread.max(error.retry_delay().unwrap_or_default());
        if now.duration_since(began_at) + delay > self.longest {
            return Err(error);
        }
        Ok((delay, error))
    }
}
