package io.github.engagementattributes;

import io.github.engagementattributes.v1.Event;

/** Ensures that every recorded event has an id, so that every call is safe to repeat. */
final class EventIds {
  private EventIds() {}

  /** The event itself, or a copy with a new id if it has none. */
  static Event filledIn(Event event) {
    return event.getEventId().isEmpty()
        ? event.toBuilder().setEventId(Uuid7.next()).build()
        : event;
  }
}
