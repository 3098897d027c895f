package io.github.engagementattributes;

import java.nio.ByteBuffer;
import java.security.SecureRandom;
import java.util.UUID;

/** UUIDv7 (RFC 9562): ids that increase with time and so keep neighbours together in the store. */
public final class Uuid7 {
  private static final int COUNTER_BITS = 42;
  private static final int LOW_COUNTER_BITS = 30;
  private static final long VERSION = 0x7L << 12;
  private static final long VARIANT = 0b10L << 62;

  private static final Object LOCK = new Object();
  private static final SecureRandom RANDOM = new SecureRandom();
  // Drawn in bulk: one draw per id would dominate the cost.
  private static final ByteBuffer RANDOM_BYTES = ByteBuffer.allocate(4096).position(4096);
  private static long lastMillis;
  private static long counter;

  private Uuid7() {}

  /**
   * Returns a new id, greater as text than all that this process generated before.
   *
   * <p>It consists of 48 bits of epoch milliseconds, a 42-bit counter that starts at a random
   * number every millisecond, and 32 random bits.
   *
   * @return 36 lower-case characters
   */
  public static String next() {
    long millis;
    long count;
    long random;
    synchronized (LOCK) {
      long now = System.currentTimeMillis();
      if (now > lastMillis) {
        lastMillis = now;
        counter = randomLong() >>> (Long.SIZE - COUNTER_BITS + 1);
      } else {
        // Also if the clock goes back. Half of the counter is unused at first, which no process
        // can exhaust.
        counter++;
      }
      millis = lastMillis;
      count = counter;
      random = randomLong() >>> Integer.SIZE;
    }
    long low = count & ((1L << LOW_COUNTER_BITS) - 1);
    return new UUID(
            millis << 16 | VERSION | count >>> LOW_COUNTER_BITS, VARIANT | low << 32 | random)
        .toString();
  }

  private static long randomLong() {
    if (!RANDOM_BYTES.hasRemaining()) {
      RANDOM.nextBytes(RANDOM_BYTES.array());
      RANDOM_BYTES.clear();
    }
    return RANDOM_BYTES.getLong();
  }
}
