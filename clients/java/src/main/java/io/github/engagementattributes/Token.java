package io.github.engagementattributes;

import java.time.Instant;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * What a {@link TokenSource} answers.
 *
 * @param value is sent as {@code authorization: Bearer …}
 * @param expiresAt when the server will refuse it: it is kept until 30 seconds before; null if
 *     unknown, then it serves one call, and those that wait for it
 */
public record Token(String value, @Nullable Instant expiresAt) {
  /**
   * A token with its expiry.
   *
   * @param value the token alone
   * @param expiresAt when the server will refuse it; null if unknown
   */
  public Token {
    Objects.requireNonNull(value, "value");
  }

  /**
   * A token whose expiry is unknown.
   *
   * @param value the token alone
   */
  public Token(String value) {
    this(value, null);
  }

  @Override
  public String toString() {
    return "Token[expiresAt=" + expiresAt + "]";
  }
}
