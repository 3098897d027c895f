package io.github.engagementattributes;

/** Answers with a token for a call or a stream. It may be called by any thread, and may block. */
@FunctionalInterface
public interface TokenSource {
  /**
   * Returns a token; an exception is that of the call, the upload or the follower.
   *
   * @return the token, and when it expires
   */
  Token token();
}
