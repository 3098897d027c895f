package io.github.engagementattributes;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.engagementattributes.v1.Event;
import io.github.engagementattributes.v1.EventFilter;
import io.github.engagementattributes.v1.EventServiceGrpc;
import io.github.engagementattributes.v1.GetServerInfoRequest;
import io.github.engagementattributes.v1.ListEventsRequest;
import io.github.engagementattributes.v1.Outcome;
import io.github.engagementattributes.v1.ServerServiceGrpc;
import io.grpc.Context;
import io.grpc.Status;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CancellationException;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

final class RecordTest {
  private static TestServer server;

  @BeforeAll
  static void startServer() {
    server = new TestServer();
  }

  @AfterAll
  static void stopServer() {
    server.close();
  }

  @Test
  void an_event_is_accepted_and_its_repetition_a_duplicate() {
    try (EngagementClient client = server.connect("record")) {
      var first = client.recordEvent(Events.valid("1"));
      assertEquals(Outcome.OUTCOME_ACCEPTED, first.getOutcome());
      var second = client.recordEvent(Events.valid("1"));
      assertEquals(Outcome.OUTCOME_DUPLICATE, second.getOutcome());
      assertEquals(first.getCursor(), second.getCursor());
    }
  }

  @Test
  void the_largest_event_is_read_back_within_the_default_limit_of_grpc() {
    int mostBytes = 3_670_016;
    int defaultLimit = 4 * 1024 * 1024;
    Event.Builder event = Events.valid("1").toBuilder().clearConsumerId();
    for (int n = 0; n < 73; n++) {
      event.putAdditionalAttributes("key-" + n, "x".repeat(49_990));
    }
    // A tag and a length of three bytes come with it.
    String padding = "x".repeat(mostBytes - event.build().getSerializedSize() - 4);
    Event largest = event.setConsumerId(padding).build();
    assertEquals(mostBytes, largest.getSerializedSize());
    try (EngagementClient client = server.connect("record-largest")) {
      client.recordEvent(largest);
      var request = ListEventsRequest.newBuilder().setAccountId("record-largest").build();
      var response =
          client.call(
              EventServiceGrpc::newBlockingStub,
              stub -> stub.withMaxInboundMessageSize(defaultLimit).listEvents(request));
      assertEquals(
          List.of(largest.getAdditionalAttributesMap()),
          response.getEventsList().stream()
              .map(stored -> stored.getEvent().getAdditionalAttributesMap())
              .toList());

      Event larger = event.setConsumerId(padding + "x").build();
      var error = assertThrows(EngagementException.class, () -> client.recordEvent(larger));
      assertEquals("server.event.max_bytes", error.violations().get(0).rule());
    }
  }

  @Test
  void an_event_without_an_id_gets_a_uuid_and_the_callers_stays_as_it_is() {
    try (EngagementClient client = server.connect("record-id")) {
      Event event = Events.valid("1").toBuilder().clearEventId().build();
      String id = client.recordEvent(event).getEventId();
      assertEquals('7', id.charAt(14));
      assertEquals("", event.getEventId());
    }
  }

  @Test
  void a_rejected_event_is_a_typed_error_with_its_fields() {
    try (EngagementClient client = server.connect("rejected")) {
      var error =
          assertThrows(EngagementException.class, () -> client.recordEvent(Events.invalid("1")));
      assertEquals(ErrorKind.INVALID_ARGUMENT, error.kind());
      assertEquals(Status.Code.INVALID_ARGUMENT, error.code().orElseThrow());
      assertEquals("FIELD_INVALID", error.reason());
      assertEquals("1", error.metadata().get("violationsTotal"));
      assertEquals(
          List.of(
              new FieldViolation(
                  "event.customer_info.last_payment_date.month",
                  "int32.gte_lte",
                  "must be greater than or equal to 1 and less than or equal to 12")),
          error.violations());
      assertFalse(error.isTransient());
    }
  }

  @Test
  void other_content_under_a_stored_id_is_a_conflict() {
    try (EngagementClient client = server.connect("conflict")) {
      client.recordEvent(Events.valid("1"));
      Event other = Events.valid("1").toBuilder().setConsumerId("another").build();
      var error = assertThrows(EngagementException.class, () -> client.recordEvent(other));
      assertEquals(ErrorKind.CONFLICT, error.kind());
    }
  }

  @Test
  void events_are_recorded_all_or_none_or_in_part() {
    try (EngagementClient client = server.connect("several")) {
      List<Event> events = List.of(Events.valid("1"), Events.invalid("2"), Events.valid(""));
      var error = assertThrows(EngagementException.class, () -> client.recordEvents(events));
      assertEquals(
          "events[1].customer_info.last_payment_date.month", error.violations().get(0).field());
      assertEquals(List.of(), Events.storedIds(client));
      var response = client.recordEventsAllowingPartial(events);
      assertEquals(2, response.getTally().getAccepted());
      assertEquals(1, response.getTally().getRejected());
      assertEquals(36, response.getResults(2).getEventId().length());
    }
  }

  @Test
  void a_list_goes_over_all_pages() {
    try (EngagementClient client = server.connect("list")) {
      client.recordEvents(Events.numbered(7).toList());
      List<String> ids = new ArrayList<>();
      client
          .listEvents(ListEventsRequest.newBuilder().setPageSize(3).setNewestFirst(true).build())
          .forEach(stored -> ids.add(0, stored.getEvent().getEventId()));
      assertEquals(Events.ids(7), ids);
      EventFilter one =
          EventFilter.newBuilder().addConsumerIds("consumer-of-event-0000003").build();
      var found = client.listEvents(one).iterator();
      assertEquals("event-0000003", found.next().getEvent().getEventId());
      assertFalse(found.hasNext());
    }
  }

  @Test
  void a_call_has_the_deadline_of_the_client() throws Exception {
    try (ServerSocket silent = silentServer();
        EngagementClient client = connect(silent, Duration.ofMillis(300))) {
      var error =
          assertThrows(EngagementException.class, () -> client.recordEvent(Events.valid("1")));
      assertEquals(ErrorKind.DEADLINE, error.kind());
      assertTrue(error.isTransient());
    }
  }

  @Test
  void a_call_may_bring_its_own_deadline() throws Exception {
    try (ServerSocket silent = silentServer();
        EngagementClient client = connect(silent, Duration.ofMinutes(10));
        Timer timer = new Timer()) {
      var byStub =
          assertThrows(
              EngagementException.class,
              () ->
                  client.call(
                      ServerServiceGrpc::newBlockingStub,
                      stub ->
                          stub.withDeadlineAfter(100, TimeUnit.MILLISECONDS)
                              .getServerInfo(GetServerInfoRequest.getDefaultInstance())));
      assertEquals(ErrorKind.DEADLINE, byStub.kind());
      try (var context =
          Context.current().withDeadlineAfter(100, TimeUnit.MILLISECONDS, timer.executor())) {
        var byContext =
            assertThrows(
                EngagementException.class,
                () -> context.call(() -> client.recordEvent(Events.valid("1"))));
        assertEquals(ErrorKind.DEADLINE, byContext.kind());
      }
    }
  }

  @Test
  void a_call_ends_where_its_context_is_cancelled() throws Exception {
    try (ServerSocket silent = silentServer();
        EngagementClient client = connect(silent, Duration.ofMinutes(10));
        Timer timer = new Timer();
        var context = Context.current().withCancellation()) {
      Future<?> unused =
          timer.executor().schedule(() -> context.cancel(null), 100, TimeUnit.MILLISECONDS);
      assertThrows(
          CancellationException.class,
          () -> context.call(() -> client.recordEvent(Events.valid("1"))));
    }
  }

  @Test
  void a_call_ends_where_its_thread_is_interrupted() throws Exception {
    try (ServerSocket silent = silentServer();
        EngagementClient client = connect(silent, Duration.ofMinutes(10))) {
      Thread.currentThread().interrupt();
      assertThrows(CancellationException.class, () -> client.recordEvent(Events.valid("1")));
      assertTrue(Thread.interrupted());
    }
  }

  private static ServerSocket silentServer() throws Exception {
    return new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
  }

  private static EngagementClient connect(ServerSocket socket, Duration timeout) {
    return EngagementClient.builder("127.0.0.1:" + socket.getLocalPort())
        .accountId("silent")
        .timeout(timeout)
        .build();
  }

  private record Timer(ScheduledExecutorService executor) implements AutoCloseable {
    Timer() {
      this(Executors.newSingleThreadScheduledExecutor());
    }

    @Override
    public void close() {
      executor.shutdownNow();
    }
  }
}
