package io.github.engagementattributes;

import java.time.Duration;
import java.util.concurrent.ThreadLocalRandom;

/** The time since the last progress, with growing waits. */
final class Outage {
  static final Duration DEFAULT_MAX = Duration.ofMinutes(5);
  private static final Duration FIRST_DELAY = Duration.ofMillis(100);
  private static final Duration LONGEST_DELAY = Duration.ofSeconds(5);

  private final Duration max;
  private boolean isOngoing;
  private long beganAtNanos;
  private Duration longestNextDelay = FIRST_DELAY;

  private final boolean renewsToken;
  private boolean hasRenewedToken;

  /** With {@code renewsToken}, an expired token is an outage, too, once without progress. */
  Outage(Duration max, boolean renewsToken) {
    this.max = max;
    this.renewsToken = renewsToken;
  }

  /** Records progress: the next failure begins a new outage. */
  void end() {
    isOngoing = false;
    hasRenewedToken = false;
    longestNextDelay = FIRST_DELAY;
  }

  /**
   * How long to wait before the next attempt. Throws the error if it cannot help or is too late.
   */
  Duration delayAfter(EngagementException error) {
    if (renewsToken && !hasRenewedToken && error.isExpiredToken()) {
      hasRenewedToken = true;
    } else if (!error.isTransient()) {
      throw error;
    }
    long now = System.nanoTime();
    if (!isOngoing) {
      isOngoing = true;
      beganAtNanos = now;
    }
    long longestNanos = longestNextDelay.toNanos();
    longestNextDelay = shorter(longestNextDelay.multipliedBy(2), LONGEST_DELAY);
    // Randomized, so that the clients of a restarting server do not all reconnect at once.
    Duration spread =
        Duration.ofNanos(ThreadLocalRandom.current().nextLong(longestNanos / 2, longestNanos + 1));
    Duration asked = error.retryDelay().orElse(Duration.ZERO);
    Duration delay = spread.compareTo(asked) < 0 ? asked : spread;
    if (Duration.ofNanos(now - beganAtNanos).plus(delay).compareTo(max) > 0) {
      throw error;
    }
    return delay;
  }

  private static Duration shorter(Duration one, Duration other) {
    return one.compareTo(other) < 0 ? one : other;
  }
}
