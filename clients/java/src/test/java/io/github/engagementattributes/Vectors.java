package io.github.engagementattributes;

import static java.util.stream.IntStream.range;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.gson.JsonPrimitive;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.protobuf.util.JsonFormat;
import java.io.IOException;
import java.io.Reader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.Named;

/** The cases that clients of all languages share. */
final class Vectors {
  private Vectors() {}

  /** All cases of a file, each under its name. */
  static Stream<Named<JsonObject>> cases(String fileName) throws IOException {
    Path file = Path.of("..", "vectors", fileName);
    try (Reader reader = Files.newBufferedReader(file)) {
      var cases = JsonParser.parseReader(reader).getAsJsonObject().getAsJsonArray("cases");
      return StreamSupport.stream(cases.spliterator(), false)
          .map(JsonElement::getAsJsonObject)
          .map(testCase -> Named.of(testCase.get("name").getAsString(), testCase));
    }
  }

  /** Reads a message from its JSON. */
  @SuppressWarnings("unchecked") // the builder of a T builds a T
  static <T extends Message> T parse(JsonElement json, T prototype) {
    Message.Builder builder = prototype.newBuilderForType();
    try {
      JsonFormat.parser().merge(json.toString(), builder);
    } catch (InvalidProtocolBufferException error) {
      throw new IllegalArgumentException(error);
    }
    return (T) builder.build();
  }

  /** Writes out what is repeated. */
  static JsonElement expand(JsonElement value) {
    if (value.isJsonArray()) {
      JsonArray items = new JsonArray();
      value.getAsJsonArray().forEach(item -> items.add(expand(item)));
      return items;
    }
    if (!value.isJsonObject()) {
      return value;
    }
    JsonObject object = value.getAsJsonObject();
    if (object.has("times")) {
      return repeat(expand(object.get("repeat")), object.get("times").getAsInt());
    }
    JsonObject members = new JsonObject();
    if (object.has("key")) {
      members.add(expand(object.get("key")).getAsString(), expand(object.get("value")));
    } else {
      object.asMap().forEach((name, member) -> members.add(name, expand(member)));
    }
    return members;
  }

  private static JsonElement repeat(JsonElement unit, int times) {
    if (unit.isJsonPrimitive()) {
      return new JsonPrimitive(unit.getAsString().repeat(times));
    }
    if (unit.isJsonArray()) {
      JsonArray items = new JsonArray();
      range(0, times).forEach(n -> items.addAll(unit.getAsJsonArray()));
      return items;
    }
    JsonObject members = new JsonObject();
    unit.getAsJsonObject()
        .asMap()
        .forEach((name, member) -> range(0, times).forEach(n -> members.add(name + n, member)));
    return members;
  }

  /** The JSON of a message. */
  static JsonElement json(Message message) {
    try {
      return JsonParser.parseString(JsonFormat.printer().print(message));
    } catch (InvalidProtocolBufferException error) {
      throw new IllegalArgumentException(error);
    }
  }
}
