package io.github.engagementattributes;

import com.google.protobuf.Descriptors.FieldDescriptor;
import com.google.protobuf.Descriptors.FieldDescriptor.JavaType;
import com.google.protobuf.Message;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * Finds text that is not Unicode: a Java string may hold one half of a surrogate pair, often
 * because it was cut in the middle. The library would send a question mark in its place.
 */
final class UnicodeText {
  static final String RULE = "string.utf8";
  static final String DESCRIPTION = "must be Unicode text, has an unpaired surrogate";

  private UnicodeText() {}

  /** Returns the message. Throws {@code INVALID_ARGUMENT} with the field that is not Unicode. */
  static <T extends Message> T require(T message) {
    String field = malformedField(message);
    if (field != null) {
      throw EngagementException.invalidField(new FieldViolation(field, RULE, DESCRIPTION));
    }
    return message;
  }

  /** The same as {@link #malformedField(Message)}, faster if the serialized message is at hand. */
  static @Nullable String malformedField(Message message, byte[] serialized) {
    for (byte each : serialized) {
      if (each == '?') {
        return malformedField(message);
      }
    }
    return null;
  }

  /** Path of the first field that is not Unicode; null if there is none. */
  static @Nullable String malformedField(Message message) {
    for (Map.Entry<FieldDescriptor, Object> each : message.getAllFields().entrySet()) {
      FieldDescriptor field = each.getKey();
      String path =
          field.isRepeated()
              ? malformedItem(field, (List<?>) each.getValue())
              : malformedValue(field, each.getValue());
      if (path != null) {
        return field.getName() + path;
      }
    }
    return null;
  }

  private static @Nullable String malformedItem(FieldDescriptor field, List<?> items) {
    for (int index = 0; index < items.size(); index++) {
      Object item = items.get(index);
      String path =
          field.isMapField() ? malformedEntry((Message) item) : malformedValue(field, item);
      if (path != null) {
        return field.isMapField() ? path : "[" + index + "]" + path;
      }
    }
    return null;
  }

  private static @Nullable String malformedEntry(Message entry) {
    FieldDescriptor valueField = entry.getDescriptorForType().findFieldByNumber(2);
    String key =
        Objects.toString(entry.getField(entry.getDescriptorForType().findFieldByNumber(1)));
    String path = isMalformed(key) ? "" : malformedValue(valueField, entry.getField(valueField));
    return path == null ? null : "[\"" + escaped(key) + "\"]" + path;
  }

  /** Path from a field to its first text that is not Unicode; empty if that is the field itself. */
  private static @Nullable String malformedValue(FieldDescriptor field, Object value) {
    if (field.getJavaType() == JavaType.MESSAGE) {
      String path = malformedField((Message) value);
      return path == null ? null : "." + path;
    }
    return value instanceof String text && isMalformed(text) ? "" : null;
  }

  private static boolean isMalformed(String text) {
    return text.codePoints().anyMatch(UnicodeText::isSurrogate);
  }

  private static String escaped(String text) {
    StringBuilder escaped = new StringBuilder();
    text.codePoints()
        .forEach(
            point -> {
              if (isSurrogate(point)) {
                escaped.append("\\u").append(Integer.toHexString(point));
              } else {
                escaped.appendCodePoint(point);
              }
            });
    return escaped.toString();
  }

  /** Surrogates in pairs are not code points of their own. */
  private static boolean isSurrogate(int codePoint) {
    return codePoint >= Character.MIN_SURROGATE && codePoint <= Character.MAX_SURROGATE;
  }
}
