package io.github.engagementattributes;

import io.github.engagementattributes.v1.Event;
import io.github.engagementattributes.v1.UploadEventsRequest;
import java.util.BitSet;
import java.util.List;

/** Events that are sent, committed and, if necessary, resent together. */
final class Chunk {
  private final long firstPosition;
  private final UploadEventsRequest request;
  private final BitSet reported = new BitSet();

  /** {@code firstPosition} is the first event's position in the source, from 0. */
  Chunk(long sequence, long firstPosition, List<Event> events) {
    this.firstPosition = firstPosition;
    this.request =
        UploadEventsRequest.newBuilder()
            .setChunk(
                UploadEventsRequest.Chunk.newBuilder().setSequence(sequence).addAllEvents(events))
            .build();
  }

  /** The message to send, the same each time. */
  UploadEventsRequest request() {
    return request;
  }

  long sequence() {
    return request.getChunk().getSequence();
  }

  long position(int index) {
    return firstPosition + index;
  }

  /** Position after the last event. */
  long endPosition() {
    return position(request.getChunk().getEventsCount());
  }

  /** The event as sent, including an id that the client assigned. */
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
