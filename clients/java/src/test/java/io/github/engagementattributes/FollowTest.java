package io.github.engagementattributes;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.engagementattributes.v1.EraseConsumerRequest;
import io.github.engagementattributes.v1.Event;
import io.github.engagementattributes.v1.EventFilter;
import io.github.engagementattributes.v1.EventServiceGrpc.EventServiceImplBase;
import io.github.engagementattributes.v1.ListEventsRequest;
import io.github.engagementattributes.v1.ListEventsResponse;
import io.github.engagementattributes.v1.PrivacyServiceGrpc;
import io.github.engagementattributes.v1.StoredEvent;
import io.github.engagementattributes.v1.Subject;
import io.github.engagementattributes.v1.SubscribeEventsRequest;
import io.github.engagementattributes.v1.SubscribeEventsResponse;
import io.grpc.stub.ServerCallStreamObserver;
import io.grpc.stub.StreamObserver;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

final class FollowTest {
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
  void a_follower_misses_and_repeats_nothing_across_a_crash_of_the_server() {
    try (TestServer mortal = new TestServer();
        EngagementClient client = mortal.connect("crash")) {
      client.recordEvents(Events.numbered(3).toList());
      List<EngagementException> lost = new ArrayList<>();
      try (Follower follower = client.followEarliest().onReconnect(lost::add).build()) {
        Iterator<StoredEvent> events = follower.iterator();
        assertEquals(Events.ids(3), take(events, 3));
        mortal.kill();
        var restart =
            CompletableFuture.runAsync(
                () -> {
                  mortal.start();
                  try (EngagementClient another = mortal.connect("crash")) {
                    another.recordEvents(Events.numbered(6).skip(3).toList());
                  }
                });
        assertEquals(Events.ids(6).subList(3, 6), take(events, 3));
        restart.join();
        assertTrue(lost.size() > 0);
        assertTrue(lost.get(0).isTransient());
      }
    }
  }

  @Test
  void a_follower_goes_on_after_the_server_was_stopped_and_started() {
    try (TestServer mortal = new TestServer();
        EngagementClient client = mortal.connect("stop")) {
      client.recordEvent(Events.valid("before"));
      try (Follower follower = client.followEarliest().build()) {
        Iterator<StoredEvent> events = follower.iterator();
        assertEquals(List.of("before"), take(events, 1));
        mortal.stop();
        mortal.start();
        try (EngagementClient another = mortal.connect("stop")) {
          another.recordEvent(Events.valid("after"));
        }
        assertEquals(List.of("after"), take(events, 1));
      }
    }
  }

  @Test
  void the_cursor_covers_exactly_what_was_handed_out() {
    try (EngagementClient client = server.connect("cursor")) {
      client.recordEvents(Events.numbered(5).toList());
      String cursor;
      try (Follower follower = client.followEarliest().stopAtTail().build()) {
        assertEquals(Events.ids(2), take(follower.iterator(), 2));
        cursor = follower.cursor();
        assertEquals(3, follower.lagEvents());
        assertFalse(follower.isCaughtUp());
      }
      try (Follower follower = client.followAfter(cursor).build()) {
        Iterator<EventBatch> batches = follower.batches().iterator();
        EventBatch rest = batches.next();
        assertEquals(3, rest.events().size());
        assertEquals(rest.cursor(), follower.cursor());
        assertEquals(0, follower.lagEvents());
      }
    }
  }

  @Test
  void a_follower_starts_at_a_time_or_with_the_latest() {
    try (EngagementClient client = server.connect("starts")) {
      client.recordEvent(Events.valid("old"));
      EventFilter filter = EventFilter.newBuilder().addConsumerIds("consumer-of-old").build();
      try (Follower since =
              client.followSince(Instant.EPOCH).filter(filter).maxBatchEvents(1).build();
          Follower latest = client.followLatest().stopAtTail().build()) {
        assertEquals(List.of("old"), take(since.iterator(), 1));
        assertFalse(latest.iterator().hasNext());
        assertFalse(latest.cursor().isEmpty());
      }
    }
  }

  @Test
  void an_erasure_is_told_in_its_place_and_comes_again_where_it_was_not_taken() {
    try (EngagementClient client = server.connect("erasure")) {
      client.recordEvents(Events.numbered(2).toList());
      AtomicInteger notices = new AtomicInteger();
      var notNow = new IllegalStateException("not now");
      FollowerBuilder builder =
          client
              .followEarliest()
              .onErasure(
                  notice -> {
                    if (notices.incrementAndGet() == 1) {
                      throw notNow;
                    }
                  });
      try (Follower follower = builder.build()) {
        Iterator<StoredEvent> events = follower.iterator();
        assertEquals(Events.ids(2), take(events, 2));
        String before = follower.cursor();
        erase(client, "consumer-of-" + Events.id(0));
        client.recordEvent(Events.valid("after"));
        assertSame(notNow, assertThrows(IllegalStateException.class, events::hasNext));
        assertEquals(before, follower.cursor());
        assertEquals(List.of("after"), take(events, 1));
        assertEquals(2, notices.get());
      }
    }
  }

  @Test
  void closing_ends_an_iteration_that_waits() {
    try (EngagementClient client = server.connect("closing")) {
      Follower follower = client.followLatest().build();
      var closing = CompletableFuture.runAsync(() -> whenCaughtUp(follower, follower::close));
      assertFalse(follower.iterator().hasNext());
      closing.join();
    }
  }

  @Test
  void an_interrupted_wait_loses_nothing() {
    try (EngagementClient client = server.connect("interrupted")) {
      try (Follower follower = client.followEarliest().build()) {
        Iterator<StoredEvent> events = follower.iterator();
        Thread.currentThread().interrupt();
        assertThrows(CancellationException.class, events::hasNext);
        assertTrue(Thread.interrupted());
        client.recordEvent(Events.valid("after"));
        assertEquals(List.of("after"), take(events, 1));
      }
    }
  }

  @Test
  void closing_the_client_ends_its_followers() {
    EngagementClient client = server.connect("client-closes");
    try (Follower follower = client.followLatest().build()) {
      var closing = CompletableFuture.runAsync(() -> whenCaughtUp(follower, client::close));
      assertThrows(CancellationException.class, () -> follower.iterator().hasNext());
      closing.join();
    }
  }

  @Test
  void what_a_reader_does_not_ask_for_stays_with_the_server() throws Exception {
    Flood flood = new Flood();
    try (ForeignServer foreign = new ForeignServer(flood);
        EngagementClient client = foreign.connect();
        Follower follower = client.followEarliest().stopAtTail().build()) {
      Iterator<StoredEvent> events = follower.iterator();
      assertEquals(List.of("1"), take(events, 1));
      // As many round trips on the same connection give a greedy client all the time it needs.
      for (int n = 0; n < Flood.BATCHES; n++) {
        assertFalse(client.listEvents(EventFilter.getDefaultInstance()).iterator().hasNext());
      }
      assertTrue(flood.sent.get() < Flood.BATCHES / 4, flood.sent::toString);
      assertEquals(Flood.BATCHES - 1, take(events, Flood.BATCHES - 1).size());
      assertFalse(events.hasNext());
    }
  }

  /** Sends batches of one large event each, as fast as the connection takes them. */
  private static final class Flood extends EventServiceImplBase {
    private static final int BATCHES = 500;
    private static final String LARGE = "x".repeat(200_000);
    private final AtomicInteger sent = new AtomicInteger();

    @Override
    public void subscribeEvents(
        SubscribeEventsRequest request, StreamObserver<SubscribeEventsResponse> response) {
      var call = (ServerCallStreamObserver<SubscribeEventsResponse>) response;
      call.setOnReadyHandler(
          () -> {
            while (call.isReady() && sent.get() < BATCHES) {
              call.onNext(batch(Integer.toString(sent.incrementAndGet())));
              if (sent.get() == BATCHES) {
                call.onCompleted();
              }
            }
          });
    }

    @Override
    public void listEvents(ListEventsRequest request, StreamObserver<ListEventsResponse> response) {
      response.onNext(ListEventsResponse.getDefaultInstance());
      response.onCompleted();
    }

    private static SubscribeEventsResponse batch(String id) {
      Event event = Event.newBuilder().setEventId(id).setConsumerId(LARGE).build();
      StoredEvent stored = StoredEvent.newBuilder().setEvent(event).setCursor(id).build();
      return SubscribeEventsResponse.newBuilder()
          .setCursor(id)
          .setBatch(SubscribeEventsResponse.Batch.newBuilder().addEvents(stored))
          .build();
    }
  }

  private static void erase(EngagementClient client, String consumerId) {
    var request =
        EraseConsumerRequest.newBuilder()
            .setAccountId(client.accountId())
            .setRequestId("erase-1")
            .addSubjects(Subject.newBuilder().setConsumerId(consumerId))
            .build();
    client.call(PrivacyServiceGrpc::newBlockingStub, stub -> stub.eraseConsumer(request));
  }

  private static void whenCaughtUp(Follower follower, Runnable action) {
    while (!follower.isCaughtUp()) {
      Thread.onSpinWait();
    }
    action.run();
  }

  private static List<String> take(Iterator<StoredEvent> events, int count) {
    List<String> ids = new ArrayList<>();
    while (ids.size() < count) {
      ids.add(events.next().getEvent().getEventId());
    }
    return ids;
  }
}
