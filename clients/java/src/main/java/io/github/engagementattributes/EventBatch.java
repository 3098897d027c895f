package io.github.engagementattributes;

import io.github.engagementattributes.v1.StoredEvent;
import java.util.List;

/**
 * A batch of consecutive events.
 *
 * @param events at least one, in the order of acceptance; unmodifiable
 * @param cursor covers the events and everything before them
 */
public record EventBatch(List<StoredEvent> events, String cursor) {}
