package io.github.engagementattributes;

import io.github.engagementattributes.v1.SourceDigest;
import io.github.engagementattributes.v1.UploadEventsResponse;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.Map;

/**
 * Digests the events of a source, in order, and compares them with those that an earlier run has
 * committed. Not thread-safe.
 */
final class SourceDigester {
  private final String uploadId;
  private final boolean isFinished;
  private final long committedEvents;
  private final Map<Long, String> known = new HashMap<>();
  private final MessageDigest hash;
  private long events;
  private long sameEvents;

  /** {@code isFinished} tells that all of the source is committed, and not only its beginning. */
  SourceDigester(String uploadId, UploadEventsResponse.Opened opened, boolean isFinished) {
    this.uploadId = uploadId;
    this.isFinished = isFinished;
    committedEvents = opened.getSource().getEvents();
    for (SourceDigest each : opened.getEarlierSourcesList()) {
      known.put(each.getEvents(), each.getSha256());
    }
    if (opened.hasSource()) {
      known.put(committedEvents, opened.getSource().getSha256());
    }
    hash = sha256();
    hash.update(opened.getSourceSalt().getBytes(StandardCharsets.UTF_8));
  }

  /** Whether all of the source is only compared. */
  boolean isFinished() {
    return isFinished;
  }

  /** Whether the earlier run has committed the next event. */
  boolean isNextCommitted() {
    return isFinished || events < committedEvents;
  }

  /** Adds the canonical form of the next event. Throws {@code SOURCE_MISMATCH}. */
  void add(byte[] form) {
    hash.update(ByteBuffer.allocate(Integer.BYTES).putInt(form.length).flip());
    hash.update(form);
    events++;
    if (isFinished && events > committedEvents) {
      throw mismatch("has more events");
    }
    String expected = events > committedEvents ? null : known.get(events);
    if (expected == null) {
      return;
    }
    if (!digest().getSha256().equals(expected)) {
      throw mismatch("differs between events " + sameEvents + " and " + events);
    }
    sameEvents = events;
  }

  /** The digest of the events so far. */
  SourceDigest digest() {
    try {
      byte[] sha256 = ((MessageDigest) hash.clone()).digest();
      return SourceDigest.newBuilder()
          .setEvents(events)
          .setSha256(HexFormat.of().formatHex(sha256))
          .build();
    } catch (CloneNotSupportedException error) {
      throw new IllegalStateException(
          "the SHA-256 of " + hash.getProvider() + " has no copy", error);
    }
  }

  /** Checks a source that has ended. Throws {@code SOURCE_MISMATCH}. */
  void end() {
    if (events < committedEvents) {
      throw mismatch("ends after " + events + " events");
    }
  }

  private EngagementException mismatch(String difference) {
    return EngagementException.sourceMismatch(
        "upload '"
            + uploadId
            + "' began with another source: "
            + committedEvents
            + " of its events are committed, and this source "
            + difference
            + ". Use an upload id of its own for each source. If this should be the same source, see"
            + " whether ids, times or the order of events change from run to run");
  }

  private static MessageDigest sha256() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException error) {
      throw new IllegalStateException("every Java platform has SHA-256", error);
    }
  }
}
