package io.github.engagementattributes;

import static org.junit.jupiter.api.Assertions.assertEquals;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.protobuf.util.Timestamps;
import io.github.engagementattributes.v1.EntityKind;
import io.github.engagementattributes.v1.EntityServiceGrpc;
import io.github.engagementattributes.v1.Event;
import io.github.engagementattributes.v1.EventResult;
import io.github.engagementattributes.v1.GetServerInfoRequest;
import io.github.engagementattributes.v1.ListEntitiesRequest;
import io.github.engagementattributes.v1.ListEventsRequest;
import io.github.engagementattributes.v1.ServerServiceGrpc;
import io.github.engagementattributes.v1.StoredEvent;
import io.github.engagementattributes.v1.SubscribeEventsRequest;
import io.github.engagementattributes.v1.Tally;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Named;
import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

final class ConversationsTest {
  private static PythonProcess server;
  private static JsonObject addresses;

  @BeforeAll
  static void startServer() {
    server = new PythonProcess("clients.vectors.scripted_server");
    addresses = JsonParser.parseString(server.firstLine()).getAsJsonObject();
  }

  @AfterAll
  static void stopServer() {
    server.stop();
  }

  static Stream<Named<JsonObject>> conversations() throws IOException {
    return Vectors.cases("conversations.json");
  }

  @ParameterizedTest
  @MethodSource("conversations")
  @Execution(ExecutionMode.CONCURRENT) // most of them wait most of the time
  void a_conversation_goes_as_written(JsonObject testCase) throws Exception {
    ListedTokens tokens = new ListedTokens(testCase.getAsJsonArray("tokens"));
    try (EngagementClient client = connect(testCase, tokens)) {
      JsonObject expected = testCase.getAsJsonObject("expected");
      JsonObject outcome = play(client, testCase);
      if (testCase.has("tokens")) {
        outcome.addProperty("token_asks", tokens.asks.get());
      }
      assertEquals(expected, onlyExpected(outcome, expected));
      assertEquals(List.of(), problems(client));
    }
  }

  /** Answers in order, and then with the last one. */
  private record ListedTokens(JsonArray answers, AtomicInteger asks) implements TokenSource {
    ListedTokens(JsonArray answers) {
      this(answers, new AtomicInteger());
    }

    @Override
    public Token token() {
      int number = Math.min(asks.getAndIncrement(), answers.size() - 1);
      JsonObject answer = answers.get(number).getAsJsonObject();
      JsonElement seconds = answer.get("expires_in_seconds");
      return new Token(
          answer.get("token").getAsString(),
          seconds == null ? null : Instant.now().plusSeconds(seconds.getAsLong()));
    }
  }

  private static EngagementClient connect(JsonObject testCase, TokenSource tokens)
      throws IOException {
    boolean isMutual = testCase.has("client_certificate");
    boolean isTls = testCase.has("tls") || isMutual;
    String key = isMutual ? "mutual_tls_address" : isTls ? "tls_address" : "address";
    String address = addresses.get(key).getAsString();
    EngagementClientBuilder builder =
        EngagementClient.builder(address)
            .accountId(testCase.get("name").getAsString())
            .timeout(Duration.ofSeconds(5));
    if (isTls) {
      builder.tls(Path.of(addresses.get("ca_file").getAsString()));
    }
    if (isMutual) {
      builder.clientCertificate(file("certificate_file"), file("key_file"));
    }
    if (testCase.has("tokens")) {
      builder.tokenSource(tokens);
    }
    if (testCase.has("token")) {
      builder.token(testCase.get("token").getAsString());
    }
    return builder.build();
  }

  private static Path file(String name) {
    return Path.of(addresses.get(name).getAsString());
  }

  private static String version(EngagementClient client) {
    GetServerInfoRequest request = GetServerInfoRequest.getDefaultInstance();
    return client
        .call(ServerServiceGrpc::newBlockingStub, stub -> stub.getServerInfo(request))
        .getVersion();
  }

  private static JsonObject play(EngagementClient client, JsonObject testCase)
      throws InterruptedException {
    Duration maxOutage =
        Duration.ofSeconds(
            testCase.has("max_outage_seconds")
                ? testCase.get("max_outage_seconds").getAsLong()
                : 10);
    var call = testCase.getAsJsonObject("call").entrySet().iterator().next();
    JsonObject arguments = call.getValue().getAsJsonObject();
    JsonObject outcome = new JsonObject();
    try {
      switch (call.getKey()) {
        case "server_info" -> outcome.addProperty("version", version(client));
        case "record_event" -> recordEvent(client, arguments, outcome);
        case "record_events" -> recordEvents(client, arguments, outcome);
        case "list_events" -> listEvents(client, outcome);
        case "upload" -> upload(client, arguments, maxOutage, outcome);
        case "follow" -> follow(client, arguments, maxOutage, outcome);
        default -> throw new AssertionError("no client knows the call " + call.getKey());
      }
    } catch (EngagementException error) {
      outcome.add("error", error(error.kind().name().toLowerCase(Locale.ROOT), error.reason()));
    } catch (SourceException error) {
      outcome.add("error", error("source", ""));
    }
    return outcome;
  }

  private static void recordEvent(
      EngagementClient client, JsonObject arguments, JsonObject outcome) {
    EventResult result = client.recordEvent(event(arguments.get("event")));
    outcome.add("result", Vectors.json(result));
  }

  private static void recordEvents(
      EngagementClient client, JsonObject arguments, JsonObject outcome) {
    List<Event> events = events(arguments);
    boolean isPartial =
        arguments.has("allow_partial") && arguments.get("allow_partial").getAsBoolean();
    var response =
        isPartial ? client.recordEventsAllowingPartial(events) : client.recordEvents(events);
    outcome.add("tally", tally(response.getTally()));
  }

  private static void listEvents(EngagementClient client, JsonObject outcome) {
    JsonArray ids = new JsonArray();
    for (StoredEvent stored :
        client.listEvents(ListEventsRequest.newBuilder().setPageSize(2).build())) {
      ids.add(stored.getEvent().getEventId());
    }
    outcome.add("event_ids", ids);
  }

  private static void upload(
      EngagementClient client, JsonObject arguments, Duration maxOutage, JsonObject outcome)
      throws InterruptedException {
    JsonArray rejections = new JsonArray();
    outcome.add("rejections", rejections);
    UploaderBuilder builder =
        client
            .uploader()
            .uploadId(arguments.get("upload_id").getAsString())
            .chunkEvents(arguments.get("chunk_events").getAsInt())
            .maxOutage(maxOutage)
            .onRejection(rejected -> rejections.add(rejection(rejected)));
    if (arguments.has("keep_going")) {
      builder.keepGoing();
    }
    UploadSummary summary = builder.build().upload(source(arguments));
    JsonObject described = new JsonObject();
    described.add("tally", tally(summary.tally()));
    described.addProperty("events", summary.events());
    described.addProperty("reconnects", summary.reconnects());
    described.addProperty("skipped_events", summary.skippedEvents());
    described.addProperty("resumed_by_count", summary.resumedByCount());
    outcome.add("summary", described);
  }

  private static void follow(
      EngagementClient client, JsonObject arguments, Duration maxOutage, JsonObject outcome) {
    JsonArray steps = new JsonArray();
    JsonArray erasures = new JsonArray();
    outcome.add("steps", steps);
    outcome.add("erasures", erasures);
    var request =
        Vectors.parse(arguments.get("request"), SubscribeEventsRequest.getDefaultInstance());
    int take = arguments.has("take") ? arguments.get("take").getAsInt() : Integer.MAX_VALUE;
    FollowerBuilder builder =
        start(client, request)
            .maxOutage(maxOutage)
            .onErasure(notice -> erasures.add(notice.getErasureId()));
    if (request.hasFilter()) {
      builder.filter(request.getFilter());
    }
    if (request.getStopAtTail()) {
      builder.stopAtTail();
    }
    Follower follower = builder.build();
    try (follower) {
      for (StoredEvent stored : follower) {
        JsonObject step = new JsonObject();
        step.addProperty("event_id", stored.getEvent().getEventId());
        step.addProperty("cursor", follower.cursor());
        steps.add(step);
        if (steps.size() == take) {
          break;
        }
      }
    } finally {
      outcome.addProperty("cursor", follower.cursor());
    }
  }

  private static FollowerBuilder start(EngagementClient client, SubscribeEventsRequest request) {
    return switch (request.getStartCase()) {
      case AFTER_CURSOR -> client.followAfter(request.getAfterCursor());
      case EARLIEST -> client.followEarliest();
      case LATEST -> client.followLatest();
      case START_TIME ->
          client.followSince(Instant.parse(Timestamps.toString(request.getStartTime())));
      case START_NOT_SET -> throw new AssertionError("the case has no start");
    };
  }

  private static Stream<Event> source(JsonObject arguments) {
    List<Event> events = events(arguments);
    int failsAfter =
        arguments.has("fails_after") ? arguments.get("fails_after").getAsInt() : events.size();
    return IntStream.range(0, events.size())
        .mapToObj(
            n -> {
              if (n == failsAfter) {
                throw new SourceException();
              }
              return events.get(n);
            });
  }

  private static List<Event> events(JsonObject arguments) {
    List<Event> events = new ArrayList<>();
    arguments.getAsJsonArray("events").forEach(value -> events.add(event(value)));
    return events;
  }

  private static Event event(JsonElement value) {
    return Vectors.parse(Vectors.expand(value), Event.getDefaultInstance());
  }

  private static JsonObject rejection(RejectedEvent rejected) {
    JsonObject described = new JsonObject();
    described.addProperty("position", rejected.position());
    described.addProperty("event_id", rejected.event().getEventId());
    String reason = rejected.error().getReason().name();
    described.addProperty("reason", reason.substring("ERROR_REASON_".length()));
    return described;
  }

  private static JsonObject tally(Tally tally) {
    JsonObject counts = new JsonObject();
    tally
        .getAllFields()
        .forEach((field, count) -> counts.addProperty(field.getName(), (Long) count));
    return counts;
  }

  private static JsonObject error(String kind, String reason) {
    JsonObject described = new JsonObject();
    described.addProperty("kind", kind);
    described.addProperty("reason", reason);
    return described;
  }

  /** Leaves out what a result says beside what is expected of it. */
  private static JsonObject onlyExpected(JsonObject outcome, JsonObject expected) {
    if (outcome.has("result") && expected.has("result")) {
      JsonObject result = outcome.getAsJsonObject("result");
      result.keySet().retainAll(expected.getAsJsonObject("result").keySet());
    }
    return outcome;
  }

  private static List<String> problems(EngagementClient client) {
    var request =
        ListEntitiesRequest.newBuilder()
            .setAccountId(client.accountId())
            .setKind(EntityKind.ENTITY_KIND_CUSTOMER_STATUS)
            .build();
    return client
        .call(EntityServiceGrpc::newBlockingStub, stub -> stub.listEntities(request))
        .getNamesList();
  }

  /** What the source of an upload throws. */
  private static final class SourceException extends RuntimeException {
    private static final long serialVersionUID = 1;
  }
}
