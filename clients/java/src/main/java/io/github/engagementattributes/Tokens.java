package io.github.engagementattributes;

import java.time.Duration;
import java.time.Instant;
import org.jspecify.annotations.Nullable;

/** The tokens of one client. An answer is kept until shortly before its expiry, if it tells one. */
final class Tokens {
  private static final Duration RENEWAL = Duration.ofSeconds(30);

  private final @Nullable TokenSource source;
  private final Object asking = new Object();
  private volatile Latest latest;

  private record Latest(@Nullable String value, @Nullable Instant keptUntil, long answers) {
    boolean isKept() {
      return keptUntil != null && Instant.now().isBefore(keptUntil);
    }
  }

  private Tokens(@Nullable TokenSource source, Latest latest) {
    this.source = source;
    this.latest = latest;
  }

  /** A text that never changes, or no token. */
  static Tokens fixed(@Nullable String token) {
    return new Tokens(null, new Latest(token, Instant.MAX, 0));
  }

  static Tokens of(TokenSource source) {
    return new Tokens(source, new Latest(null, null, 0));
  }

  /** Whether there may be another token after one has expired. */
  boolean isRenewable() {
    return source != null;
  }

  /** The token of a call that begins now; null for none. */
  @Nullable String current() {
    Latest before = latest;
    TokenSource asked = source;
    if (asked == null || before.isKept()) {
      return before.value();
    }
    synchronized (asking) {
      // An answer to another call that came meanwhile serves this one too.
      Latest now = latest;
      if (now.isKept() || now.answers() != before.answers()) {
        return now.value();
      }
      Token token = asked.token();
      Instant expiry = token.expiresAt();
      Instant keptUntil = expiry == null ? null : expiry.minus(RENEWAL);
      latest = new Latest(token.value(), keptUntil, now.answers() + 1);
      return token.value();
    }
  }

  /** Drops a token that has expired, unless there is a newer one. */
  void discard(@Nullable String token) {
    Latest now = latest;
    if (source != null && token != null && token.equals(now.value())) {
      latest = new Latest(now.value(), null, now.answers());
    }
  }
}
