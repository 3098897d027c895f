package io.github.engagementattributes;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.protobuf.Message;
import io.github.engagementattributes.v1.CustomerInfo;
import io.github.engagementattributes.v1.Event;
import io.github.engagementattributes.v1.EventServiceGrpc;
import io.github.engagementattributes.v1.GetEventRequest;
import io.github.engagementattributes.validation.EventValidator;
import io.grpc.Metadata;
import io.grpc.Status;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HexFormat;
import java.util.List;
import java.util.Locale;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Named;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

final class MessageVectorsTest {
  private static final EventValidator VALIDATOR = new EventValidator();
  private static TestServer server;

  @BeforeAll
  static void startServer() {
    server = new TestServer();
  }

  @AfterAll
  static void stopServer() {
    server.close();
  }

  static Stream<Named<JsonObject>> events() throws Exception {
    return Vectors.cases("events.json");
  }

  static Stream<Named<JsonObject>> texts() throws Exception {
    return Vectors.cases("texts.json");
  }

  static Stream<Named<JsonObject>> rules() throws Exception {
    return Vectors.cases("rules.json");
  }

  static Stream<Named<JsonObject>> errors() throws Exception {
    return Vectors.cases("errors.json");
  }

  @ParameterizedTest
  @MethodSource("events")
  void messages_have_their_bytes_and_their_json(JsonObject testCase) throws Exception {
    Message prototype = prototype(testCase.get("message").getAsString());
    String wire = testCase.get("wire").getAsString();
    List<String> wires = new ArrayList<>(List.of(wire));
    if (testCase.has("other_wires")) {
      testCase.getAsJsonArray("other_wires").forEach(other -> wires.add(other.getAsString()));
    }
    Message message = prototype.getParserForType().parseFrom(Base64.getDecoder().decode(wire));
    assertTrue(wires.contains(encode(message)), () -> encode(message));
    assertEquals(testCase.get("json"), Vectors.json(message));
    if (!testCase.has("json_is_lossy")) {
      String fromJson = encode(Vectors.parse(testCase.get("json"), prototype));
      assertTrue(wires.contains(fromJson), fromJson);
    }
  }

  @ParameterizedTest
  @MethodSource("texts")
  void texts_are_accepted_up_to_their_limit(JsonObject testCase) throws Exception {
    String name = testCase.get("name").getAsString();
    String balance = testCase.get("unit").getAsString().repeat(testCase.get("times").getAsInt());
    Event event =
        Event.newBuilder()
            .setEventId(name)
            .setCustomerInfo(CustomerInfo.newBuilder().setBalance(balance))
            .build();
    byte[] wire = event.toByteArray();
    assertEquals(testCase.get("wire_bytes").getAsInt(), wire.length);
    assertEquals(
        testCase.get("wire_sha256").getAsString(),
        HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(wire)));
    try (EngagementClient client = server.connect("texts")) {
      if (testCase.has("rule")) {
        var error = assertThrows(EngagementException.class, () -> client.recordEvent(event));
        assertEquals(
            List.of(testCase.get("rule").getAsString()),
            error.violations().stream().map(FieldViolation::rule).toList());
        return;
      }
      client.recordEvent(event);
      var request = GetEventRequest.newBuilder().setAccountId("texts").setEventId(name).build();
      var stored = client.call(EventServiceGrpc::newBlockingStub, stub -> stub.getEvent(request));
      assertEquals(balance, stored.getEvent().getEvent().getCustomerInfo().getBalance());
    }
  }

  @ParameterizedTest
  @MethodSource("rules")
  void every_rule_is_held(JsonObject testCase) {
    var broken = violations(testCase.get("event"));
    assertEquals(1, broken.size(), broken::toString);
    assertEquals(testCase.get("rule").getAsString(), broken.get(0).rule());
    String field = testCase.get("field").getAsString();
    String found = broken.get(0).field();
    assertTrue(field.endsWith("[") ? found.startsWith(field) : found.equals(field), found);
    assertEquals(List.of(), violations(testCase.get("valid_event")));
  }

  private static List<FieldViolation> violations(JsonElement event) {
    return VALIDATOR.violations(Vectors.parse(Vectors.expand(event), Event.getDefaultInstance()));
  }

  @ParameterizedTest
  @MethodSource("errors")
  void statuses_become_typed_errors(JsonObject testCase) {
    Metadata trailers = new Metadata();
    if (!testCase.get("details").isJsonNull()) {
      trailers.put(
          Metadata.Key.of("grpc-status-details-bin", Metadata.BINARY_BYTE_MARSHALLER),
          Base64.getDecoder().decode(testCase.get("details").getAsString()));
    }
    Status.Code code = Status.Code.valueOf(testCase.get("code").getAsString());
    String message = testCase.get("message").getAsString();
    var error = EngagementException.of(code.toStatus().withDescription(message), trailers);
    assertEquals(code, error.code().orElseThrow());
    assertEquals(message, error.message());
    assertEquals(testCase.get("expected"), describe(error));
  }

  private static JsonObject describe(EngagementException error) {
    JsonObject described = new JsonObject();
    described.addProperty("kind", error.kind().name().toLowerCase(Locale.ROOT));
    described.addProperty("reason", error.reason());
    JsonObject metadata = new JsonObject();
    error.metadata().forEach(metadata::addProperty);
    described.add("metadata", metadata);
    JsonArray violations = new JsonArray();
    for (FieldViolation violation : error.violations()) {
      JsonObject item = new JsonObject();
      item.addProperty("field", violation.field());
      item.addProperty("rule", violation.rule());
      item.addProperty("description", violation.description());
      violations.add(item);
    }
    described.add("violations", violations);
    described.addProperty(
        "retry_delay_seconds", error.retryDelay().map(delay -> delay.toNanos() / 1e9).orElse(null));
    described.addProperty("is_transient", error.isTransient());
    return described;
  }

  private static Message prototype(String fullName) throws ReflectiveOperationException {
    String nested = fullName.substring("engagement.v1.".length()).replace('.', '$');
    Class<?> type = Class.forName("io.github.engagementattributes.v1." + nested);
    return (Message) type.getMethod("getDefaultInstance").invoke(null);
  }

  private static String encode(Message message) {
    return Base64.getEncoder().encodeToString(message.toByteArray());
  }
}
