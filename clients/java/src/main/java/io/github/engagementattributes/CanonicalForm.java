package io.github.engagementattributes;

import com.google.protobuf.ByteString;
import com.google.protobuf.CodedOutputStream;
import com.google.protobuf.UnknownFieldSet;
import io.github.engagementattributes.v1.Event;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.Comparator;
import java.util.Map;

/** Serializes events in their canonical form, as the contract's {@code SourceDigest} defines it. */
final class CanonicalForm {
  private static final Comparator<String> BY_BYTES =
      Comparator.comparing(
          ByteString::copyFromUtf8, ByteString.unsignedLexicographicalComparator());

  private CanonicalForm() {}

  static byte[] of(Event event) {
    try {
      for (String key : event.getAdditionalAttributesMap().keySet()) {
        if (hasSurrogate(key)) {
          return sortedByBytes(event);
        }
      }
      return deterministic(event);
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }

  /** The library writes known fields by number, and sorts entries by their keys' UTF-16. */
  private static byte[] deterministic(Event event) throws IOException {
    byte[] bytes = new byte[event.getSerializedSize()];
    CodedOutputStream output = CodedOutputStream.newInstance(bytes);
    output.useDeterministicSerialization();
    event.writeTo(output);
    return bytes;
  }

  /** Only unknown fields come after the entries, which have the highest number. */
  private static byte[] sortedByBytes(Event event) throws IOException {
    ByteArrayOutputStream output = new ByteArrayOutputStream(event.getSerializedSize());
    event.toBuilder()
        .clearAdditionalAttributes()
        .setUnknownFields(UnknownFieldSet.getDefaultInstance())
        .build()
        .writeTo(output);
    Map<String, String> attributes = event.getAdditionalAttributesMap();
    for (String key : attributes.keySet().stream().sorted(BY_BYTES).toList()) {
      Event.newBuilder()
          .putAdditionalAttributes(key, attributes.getOrDefault(key, ""))
          .build()
          .writeTo(output);
    }
    event.getUnknownFields().writeTo(output);
    return output.toByteArray();
  }

  /** Without surrogates, the order of UTF-16 is that of UTF-8. */
  private static boolean hasSurrogate(String key) {
    for (int index = 0; index < key.length(); index++) {
      if (Character.isSurrogate(key.charAt(index))) {
        return true;
      }
    }
    return false;
  }
}
