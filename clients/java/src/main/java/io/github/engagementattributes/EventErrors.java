package io.github.engagementattributes;

import io.github.engagementattributes.v1.ErrorReason;
import io.github.engagementattributes.v1.EventError;
import io.github.engagementattributes.v1.FieldViolation;

/** The errors of events that cannot be sent, in the server's terms. */
final class EventErrors {
  private EventErrors() {}

  /** The error of an event that is larger than events may be. */
  static EventError tooLarge(long bytes, long maxBytes) {
    String description = "must take at most " + maxBytes + " bytes, takes " + bytes;
    return error("", "the event " + description, "server.event.max_bytes", description);
  }

  /** The error of an event whose text in this field is not Unicode. */
  static EventError notUnicode(String field) {
    String description = UnicodeText.DESCRIPTION;
    return error(field, field + ": " + description, UnicodeText.RULE, description);
  }

  private static EventError error(String field, String message, String rule, String description) {
    return EventError.newBuilder()
        .setReason(ErrorReason.ERROR_REASON_FIELD_INVALID)
        .setMessage(message)
        .addViolations(
            FieldViolation.newBuilder().setField(field).setRule(rule).setDescription(description))
        .setViolationsTotal(1)
        .putMetadata("field", field)
        .putMetadata("rule", rule)
        .putMetadata("description", description)
        .putMetadata("violationsTotal", "1")
        .build();
  }
}
