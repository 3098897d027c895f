package io.github.engagementattributes;

import static org.junit.jupiter.api.Assertions.assertEquals;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import io.github.engagementattributes.v1.Event;
import io.github.engagementattributes.v1.SourceDigest;
import io.github.engagementattributes.v1.UploadEventsResponse;
import java.util.Base64;
import java.util.stream.Stream;
import org.junit.jupiter.api.Named;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

final class SourceDigesterTest {
  static Stream<Named<JsonObject>> sources() throws Exception {
    return Vectors.cases("sources.json");
  }

  @ParameterizedTest
  @MethodSource("sources")
  void a_source_has_its_digest(JsonObject testCase) throws Exception {
    var opened =
        UploadEventsResponse.Opened.newBuilder()
            .setSourceSalt(testCase.get("salt").getAsString())
            .build();
    SourceDigester digester = new SourceDigester("u", opened, false);
    var events = testCase.getAsJsonArray("events");
    for (JsonElement wire : events) {
      Event event = Event.parseFrom(Base64.getDecoder().decode(wire.getAsString()));
      digester.add(CanonicalForm.of(event));
    }
    assertEquals(
        SourceDigest.newBuilder()
            .setEvents(events.size())
            .setSha256(testCase.get("sha256").getAsString())
            .build(),
        digester.digest());
  }
}
