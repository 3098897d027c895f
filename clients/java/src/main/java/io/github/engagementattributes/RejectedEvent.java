package io.github.engagementattributes;

import io.github.engagementattributes.v1.Event;
import io.github.engagementattributes.v1.EventError;

/**
 * An event of an upload that was rejected.
 *
 * @param position position in the source, from 0
 * @param event the event as the source gave it
 * @param error why it was rejected
 */
public record RejectedEvent(long position, Event event, EventError error) {}
