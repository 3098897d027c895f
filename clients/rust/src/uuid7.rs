//! UUIDv7 (RFC 9562): ids that increase with time and so keep neighbours together in the store.

use std::{
    sync::{Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

const COUNTER_BITS: u32 = 42;

struct Clock {
    last_ms: u64,
    counter: u64,
}

static CLOCK: Mutex<Clock> = Mutex::new(Clock { last_ms: 0, counter: 0 });

/// Returns a new UUIDv7 as text, greater than all that this process generated before.
///
/// It consists of 48 bits of epoch milliseconds, a 42-bit counter that starts at a random number every
/// millisecond, and 32 random bits.
///
/// # Panics
///
/// Panics if the operating system has no random numbers.
pub fn uuid7() -> String {
    let random = random_u64();
    let (milliseconds, counter) = next_tick(random >> 32);
    let high = u128::from(counter >> 30);
    let low = u128::from(counter & ((1 << 30) - 1));
    let number = u128::from(milliseconds) << 80
        | 0x7 << 76
        | high << 64
        | 0b10 << 62
        | low << 32
        | u128::from(random & 0xffff_ffff);
    let hex = format!("{number:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// Milliseconds and counter of the next id; `seed` starts the counter of a new millisecond.
fn next_tick(seed: u64) -> (u64, u64) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    let mut clock = CLOCK.lock().unwrap_or_else(PoisonError::into_inner);
    if now_ms > clock.last_ms {
        clock.last_ms = now_ms;
        // Half of the counter is unused at first, which no process can exhaust.
        clock.counter = seed << (COUNTER_BITS - 1 - 32);
    } else {
        // Also if the clock goes back.
        clock.counter += 1;
    }
    (clock.last_ms, clock.counter)
}

/// 64 random bits of the operating system.
pub(crate) fn random_u64() -> u64 {
    getrandom::u64().expect("the operating system has random numbers")
}
