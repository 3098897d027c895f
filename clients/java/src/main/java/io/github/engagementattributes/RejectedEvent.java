package io.github.engagementattributes;

import io.github.engagementattributes.v1.Event;
import io.github.engagementattributes.v1.EventError;

/**
 * An event of an upload that was refused.
 *
 * @param position position in the source, from 0
 * @param event the event as sent, with the id that it got where it had none
 * @param error why it was refused
 */
public record RejectedEvent(long position, Event event, EventError error) {}
