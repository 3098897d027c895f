package io.github.engagementattributes;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;

import com.google.protobuf.ByteString;
import com.google.protobuf.Descriptors.FieldDescriptor;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.protobuf.UnknownFieldSet;
import io.github.engagementattributes.v1.Event;
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Random;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;

final class CanonicalFormTest {
  private static final int EVENTS = 3_000;
  // Characters whose order differs between UTF-16 and UTF-8, and others.
  private static final List<String> LETTERS = List.of("a", "b", "Z", "ä", "\uffff", "😀", "𐀀", "");

  private final Random random = new Random(20_261_129);

  @Test
  void the_form_is_what_the_contract_says_whatever_is_set() {
    for (int count = 0; count < EVENTS; count++) {
      Event event = (Event) anyMessage(Event.getDefaultInstance(), 0);
      assertArrayEquals(slowForm(event), CanonicalForm.of(event), event::toString);
    }
  }

  /** A message with any of its fields, those of a later contract too, and any unknown fields. */
  private Message anyMessage(Message prototype, int depth) {
    Message.Builder builder = prototype.newBuilderForType();
    for (FieldDescriptor field : prototype.getDescriptorForType().getFields()) {
      if (random.nextBoolean()) {
        continue;
      }
      if (!field.isRepeated()) {
        builder.setField(field, anyValue(builder, field, depth));
        continue;
      }
      for (int items = random.nextInt(6); items > 0; items--) {
        builder.addRepeatedField(field, anyValue(builder, field, depth));
      }
    }
    if (depth < 2 && random.nextInt(4) == 0) {
      builder.setUnknownFields(anyUnknownFields());
    }
    Message message = builder.build();
    // Of the entries with the same key, this keeps the last.
    try {
      return prototype.getParserForType().parseFrom(message.toByteString());
    } catch (InvalidProtocolBufferException error) {
      throw new AssertionError(error);
    }
  }

  private Object anyValue(Message.Builder builder, FieldDescriptor field, int depth) {
    return switch (field.getJavaType()) {
      case STRING -> anyText();
      case BOOLEAN -> random.nextBoolean();
      case INT -> random.nextInt() >> random.nextInt(32);
      case LONG -> random.nextLong() >> random.nextInt(64);
      case MESSAGE ->
          field.isMapField()
              ? anyEntry(builder.newBuilderForField(field))
              : anyMessage(
                  builder.newBuilderForField(field).getDefaultInstanceForType(), depth + 1);
      default -> throw new AssertionError("events have no " + field.getJavaType());
    };
  }

  private Message anyEntry(Message.Builder entry) {
    for (FieldDescriptor field : entry.getDescriptorForType().getFields()) {
      entry.setField(field, anyText());
    }
    return entry.build();
  }

  private String anyText() {
    StringBuilder text = new StringBuilder();
    for (int letters = random.nextInt(4); letters > 0; letters--) {
      text.append(LETTERS.get(random.nextInt(LETTERS.size())));
    }
    return text.toString();
  }

  private UnknownFieldSet anyUnknownFields() {
    UnknownFieldSet.Builder fields = UnknownFieldSet.newBuilder();
    for (int count = random.nextInt(3); count >= 0; count--) {
      fields.mergeVarintField(100 + random.nextInt(1_000), random.nextInt(1_000));
      fields.mergeLengthDelimitedField(
          2_000 + random.nextInt(1_000), ByteString.copyFromUtf8(anyText()));
    }
    return fields.build();
  }

  private static byte[] slowForm(Message message) {
    ByteArrayOutputStream form = new ByteArrayOutputStream();
    new TreeMap<>(message.getAllFields()).forEach((field, value) -> addField(form, field, value));
    form.writeBytes(message.getUnknownFields().toByteArray());
    return form.toByteArray();
  }

  private static void addField(ByteArrayOutputStream form, FieldDescriptor field, Object value) {
    if (field.isMapField()) {
      List<Message> entries = new ArrayList<>();
      ((List<?>) value).forEach(entry -> entries.add((Message) entry));
      entries.sort(Comparator.comparing(CanonicalFormTest::keyBytes, Arrays::compareUnsigned));
      entries.forEach(entry -> addDelimited(form, field.getNumber(), entryForm(entry)));
    } else if (field.isRepeated()) {
      ((List<?>) value).forEach(item -> addValue(form, field, item));
    } else {
      addValue(form, field, value);
    }
  }

  private static void addValue(ByteArrayOutputStream form, FieldDescriptor field, Object value) {
    if (value instanceof Message message) {
      addDelimited(form, field.getNumber(), slowForm(message));
    } else if (value instanceof String text) {
      addDelimited(form, field.getNumber(), text.getBytes(StandardCharsets.UTF_8));
    } else {
      addVarint(form, (long) field.getNumber() << 3);
      addVarint(form, value instanceof Boolean is ? (is ? 1 : 0) : ((Number) value).longValue());
    }
  }

  private static byte[] entryForm(Message entry) {
    ByteArrayOutputStream form = new ByteArrayOutputStream();
    for (FieldDescriptor field : entry.getDescriptorForType().getFields()) {
      addValue(form, field, entry.getField(field));
    }
    return form.toByteArray();
  }

  private static byte[] keyBytes(Message entry) {
    Object key = entry.getField(entry.getDescriptorForType().findFieldByName("key"));
    return ((String) key).getBytes(StandardCharsets.UTF_8);
  }

  private static void addDelimited(ByteArrayOutputStream form, int number, byte[] bytes) {
    addVarint(form, ((long) number << 3) | 2);
    addVarint(form, bytes.length);
    form.writeBytes(bytes);
  }

  private static void addVarint(ByteArrayOutputStream form, long value) {
    long rest = value;
    while ((rest & ~0x7FL) != 0) {
      form.write((int) ((rest & 0x7F) | 0x80));
      rest >>>= 7;
    }
    form.write((int) rest);
  }
}
