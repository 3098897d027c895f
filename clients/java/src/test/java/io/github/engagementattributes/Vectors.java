package io.github.engagementattributes;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
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

  /** The JSON of a message. */
  static JsonElement json(Message message) {
    try {
      return JsonParser.parseString(JsonFormat.printer().print(message));
    } catch (InvalidProtocolBufferException error) {
      throw new IllegalArgumentException(error);
    }
  }
}
