package io.github.engagementattributes;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.engagementattributes.v1.Event;
import io.github.engagementattributes.v1.EventResult;
import io.github.engagementattributes.v1.GetUploadRequest;
import io.github.engagementattributes.v1.IngestServiceGrpc;
import io.github.engagementattributes.v1.IngestServiceGrpc.IngestServiceImplBase;
import io.github.engagementattributes.v1.RecordEventRequest;
import io.github.engagementattributes.v1.RecordEventResponse;
import io.grpc.Metadata;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerInterceptor;
import io.grpc.Status;
import io.grpc.stub.StreamObserver;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.time.Duration;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

final class ConnectionTest {
  @Test
  void a_connection_that_is_silent_is_given_up() throws Exception {
    try (TestServer server = new TestServer();
        EngagementClient client = server.connect("silence")) {
      client.recordEvent(Events.valid("e1"));
      BlockingQueue<ErrorKind> lost = new LinkedBlockingQueue<>();
      CompletableFuture<Boolean> waiting;
      // By its heartbeats alone a follower would wait for two minutes.
      try (Follower follower =
          client
              .followEarliest()
              .heartbeat(Duration.ofSeconds(60))
              .onReconnect(error -> lost.add(error.kind()))
              .build()) {
        var events = follower.iterator();
        events.next();
        server.freeze();
        long began = System.nanoTime();
        waiting = CompletableFuture.supplyAsync(events::hasNext);
        assertEquals(ErrorKind.UNAVAILABLE, lost.poll(60, TimeUnit.SECONDS));
        // 30 seconds until the ping, 10 for its answer.
        assertTrue(Duration.ofNanos(System.nanoTime() - began).toSeconds() >= 35);
      }
      assertFalse(waiting.get(10, TimeUnit.SECONDS));
    }
  }

  @Test
  void a_large_call_is_made_five_times_with_the_same_message() throws Exception {
    Event large =
        Event.newBuilder()
            .setEventId("large")
            .putAllAdditionalAttributes(
                IntStream.range(0, 60)
                    .boxed()
                    .collect(Collectors.toMap(n -> "key-" + n, n -> "x".repeat(50_000))))
            .build();
    List<Event> received = new CopyOnWriteArrayList<>();
    var overloaded =
        new IngestServiceImplBase() {
          @Override
          public void recordEvent(
              RecordEventRequest request, StreamObserver<RecordEventResponse> response) {
            received.add(request.getEvent());
            response.onError(Status.UNAVAILABLE.asRuntimeException());
          }
        };
    try (ForeignServer server = new ForeignServer(overloaded);
        EngagementClient client = server.connect()) {
      var error = assertThrows(EngagementException.class, () -> client.recordEvent(large));
      assertEquals(ErrorKind.UNAVAILABLE, error.kind());
    }
    assertEquals(Collections.nCopies(5, large), received);
  }

  @Test
  void messages_of_up_to_16_mebibytes_are_received() throws Exception {
    int[] sizes = {16 * 1024 * 1024 - 100, 16 * 1024 * 1024 + 1};
    var talkative =
        new IngestServiceImplBase() {
          @Override
          public void recordEvent(
              RecordEventRequest request, StreamObserver<RecordEventResponse> response) {
            int size = sizes[Integer.parseInt(request.getEvent().getEventId())];
            var result = EventResult.newBuilder().setCursor("x".repeat(size));
            response.onNext(RecordEventResponse.newBuilder().setResult(result).build());
            response.onCompleted();
          }
        };
    try (ForeignServer server = new ForeignServer(talkative);
        EngagementClient client = server.connect()) {
      assertEquals(sizes[0], client.recordEvent(Events.valid("0")).getCursor().length());
      var error =
          assertThrows(EngagementException.class, () -> client.recordEvent(Events.valid("1")));
      assertEquals(ErrorKind.QUOTA_EXCEEDED, error.kind());
      assertFalse(error.isTransient());
    }
  }

  @Test
  void stubs_on_the_channel_have_the_token_and_the_deadline() throws Exception {
    BlockingQueue<Metadata> headers = new LinkedBlockingQueue<>();
    var open = new IngestServiceImplBase() {};
    ServerInterceptor listening =
        new ServerInterceptor() {
          @Override
          public <A, B> ServerCall.Listener<A> interceptCall(
              ServerCall<A, B> call, Metadata received, ServerCallHandler<A, B> next) {
            headers.add(received);
            return next.startCall(call, received);
          }
        };
    try (ForeignServer server = new ForeignServer(open, listening);
        EngagementClient client =
            EngagementClient.builder(server.address()).accountId("a").token("secret").build()) {
      var call =
          IngestServiceGrpc.newFutureStub(client.channel())
              .getUpload(GetUploadRequest.getDefaultInstance());
      assertThrows(ExecutionException.class, call::get);
    }
    Metadata received = headers.take();
    assertEquals("Bearer secret", received.get(header("authorization")));
    assertTrue(received.containsKey(header("grpc-timeout")));
  }

  @Test
  void a_connection_that_cannot_be_made_is_tried_again_within_seconds() throws Exception {
    try (ServerSocket refusing = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
        EngagementClient client =
            EngagementClient.builder("127.0.0.1:" + refusing.getLocalPort())
                .accountId("refused")
                .build()) {
      var call = CompletableFuture.runAsync(() -> recordInVain(client));
      long start = System.nanoTime();
      for (int tries = 0; tries < 6; tries++) {
        refusing.accept().close();
      }
      // Waits of 0.1, 0.2, 0.4, 0.8 and 1.6 s; by its own schedule gRPC takes five times as long.
      Duration taken = Duration.ofNanos(System.nanoTime() - start);
      assertTrue(taken.compareTo(Duration.ofSeconds(10)) < 0, taken::toString);
      call.join();
    }
  }

  @Test
  void an_upload_gives_up_with_the_last_error_where_no_server_is() throws Exception {
    int port;
    try (ServerSocket free = new ServerSocket(0)) {
      port = free.getLocalPort();
    }
    try (EngagementClient client =
        EngagementClient.builder("127.0.0.1:" + port).accountId("nobody").build()) {
      Uploader uploader = client.uploader().maxOutage(Duration.ofSeconds(1)).build();
      var error =
          assertThrows(EngagementException.class, () -> uploader.upload(Events.numbered(1)));
      assertEquals(ErrorKind.UNAVAILABLE, error.kind());
    }
  }

  @Test
  void a_closed_client_leaves_no_thread_behind() throws Exception {
    try (TestServer server = new TestServer()) {
      EngagementClient client = server.connect("threads");
      client.uploader().build().upload(Events.numbered(1_000));
      assertEquals(1_000, Events.storedIds(client).size());
      Follower open = client.followEarliest().build();
      assertTrue(open.iterator().hasNext());
      client.close();
      assertThrows(CancellationException.class, () -> client.recordEvent(Events.valid("1")));
    }
    // gRPC shares its threads among clients, and ends them a second after the last one.
    while (!ourThreads().isEmpty()) {
      Thread.onSpinWait();
    }
  }

  private static Metadata.Key<String> header(String name) {
    return Metadata.Key.of(name, Metadata.ASCII_STRING_MARSHALLER);
  }

  private static List<String> ourThreads() {
    return Thread.getAllStackTraces().keySet().stream()
        .map(Thread::getName)
        .filter(name -> name.startsWith("grpc-") || name.startsWith("engagement-"))
        .toList();
  }

  private static void recordInVain(EngagementClient client) {
    var error =
        assertThrows(EngagementException.class, () -> client.recordEvent(Events.valid("1")));
    assertEquals(ErrorKind.UNAVAILABLE, error.kind());
  }
}
