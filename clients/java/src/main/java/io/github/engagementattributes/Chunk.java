package io.github.engagementattributes;

import io.github.engagementattributes.v1.Event;
import io.github.engagementattributes.v1.SourceDigest;
import io.github.engagementattributes.v1.UploadEventsRequest;
import java.util.BitSet;
import java.util.List;

/** Events that are sent, committed and, if necessary, resent together. */
final class Chunk {
  private final long firstPosition;
  private final UploadEventsRequest request;
  private final BitSet reported = new BitSet();

  /**
   * {@code firstPosition} is the first event's position in the source, from 0; {@code source}
   * digests the source up to the last event.
   */
  Chunk(long sequence, long firstPosition, List<Event> events, SourceDigest source) {
    this.firstPosition = firstPosition;
    this.request =
        UploadEventsRequest.newBuilder()
            .setChunk(
                UploadEventsRequest.Chunk.newBuilder()
                    .setSequence(sequence)
                    .addAllEvents(events)
                    .setSource(source))
            .build();
  }

  /** The message to send, the same each time. */
  UploadEventsRequest request() {
    return request;
  }

  long sequence() {
    return request.getChunk().getSequence();
  }

  /** The digest of the source up to the last event. */
  SourceDigest source() {
    return request.getChunk().getSource();
  }

  long position(int index) {
    return firstPosition + index;
  }

  /** Position after the last event. */
  long endPosition() {
    return position(request.getChunk().getEventsCount());
  }

  /** The event as sent. */
  Event event(int index) {
    return request.getChunk().getEvents(index);
  }

  /** Whether the rejection of this event was not yet reported; true once. */
  boolean isFirstReportOf(int index) {
    boolean isFirst = !reported.get(index);
    reported.set(index);
    return isFirst;
  }
}
