package io.github.engagementattributes;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.engagementattributes.v1.Event;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.Iterator;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Callable;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

final class UploadTest {
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
  void a_hundred_thousand_events_are_stored_once_and_in_order() throws Exception {
    try (EngagementClient client = server.connect("bulk")) {
      UploadSummary summary =
          client.uploader().uploadId("u").build().upload(Events.numbered(100_000));
      assertEquals(100_000, summary.tally().getAccepted());
      assertEquals(100_000, summary.events());
      assertEquals(0, summary.reconnects());
      assertEquals(Events.ids(100_000), Events.storedIds(client));
    }
  }

  @Test
  void an_upload_goes_on_by_itself_after_the_server_was_killed() throws Exception {
    try (TestServer mortal = new TestServer();
        EngagementClient client = mortal.connect("killed")) {
      Restart restart = new Restart(mortal, 20_000);
      UploadSummary summary =
          client.uploader().onProgress(restart).build().upload(Events.numbered(100_000));
      restart.join();
      assertTrue(summary.reconnects() > 0);
      assertEquals(0, summary.skippedEvents());
      assertEquals(100_000, summary.events());
      assertEquals(Events.ids(100_000), Events.storedIds(client));
    }
  }

  @Test
  void an_abandoned_upload_is_finished_by_another_uploader() throws Exception {
    try (EngagementClient client = server.connect("abandoned")) {
      var abandoned = new IllegalStateException("enough");
      Uploader first =
          client
              .uploader()
              .uploadId("u")
              .onProgress(
                  progress -> {
                    if (progress.acknowledged() >= 10_000) {
                      throw abandoned;
                    }
                  })
              .build();
      assertSame(
          abandoned,
          assertThrows(IllegalStateException.class, () -> first.upload(Events.numbered(100_000))));
      UploadSummary summary =
          client.uploader().uploadId("u").build().upload(Events.numbered(100_000));
      assertTrue(summary.skippedEvents() >= 10_000, summary::toString);
      assertEquals(100_000, summary.events());
      assertEquals(Events.ids(100_000), Events.storedIds(client));
      UploadSummary again =
          client.uploader().uploadId("u").build().upload(Events.numbered(100_000));
      assertEquals(summary.tally(), again.tally());
      assertEquals(100_000, again.skippedEvents());
      assertFalse(again.resumedByCount());
    }
  }

  @Test
  void a_source_that_is_too_short_is_a_mismatch_and_the_upload_stays_open() throws Exception {
    try (EngagementClient client = server.connect("mismatch")) {
      Iterator<Event> failing = failingAfter(1_000, new IllegalStateException("source"));
      assertThrows(
          IllegalStateException.class,
          () -> client.uploader().uploadId("u").build().upload(failing));
      var error =
          assertThrows(
              EngagementException.class,
              () -> client.uploader().uploadId("u").build().upload(Events.numbered(999)));
      assertEquals(ErrorKind.SOURCE_MISMATCH, error.kind());
      UploadSummary summary =
          client.uploader().uploadId("u").build().upload(Events.numbered(1_001));
      assertEquals(1_000, summary.skippedEvents());
      assertEquals(1_001, summary.events());
    }
  }

  @Test
  void each_rejected_event_is_told_once_with_its_position() throws Exception {
    try (EngagementClient client = server.connect("rejected")) {
      List<RejectedEvent> rejected = new ArrayList<>();
      Stream<Event> events =
          Stream.of(Events.valid("0"), Events.invalid("1"), Events.valid("2"), Events.invalid(""));
      UploadSummary summary =
          client.uploader().onRejection(rejected::add).chunkEvents(2).build().upload(events);
      assertEquals(List.of(1L, 3L), rejected.stream().map(RejectedEvent::position).toList());
      assertEquals("1", rejected.get(0).event().getEventId());
      assertEquals("", rejected.get(1).event().getEventId());
      assertEquals(
          "customer_info.last_payment_date.month",
          rejected.get(0).error().getViolations(0).getField());
      assertEquals(2, summary.tally().getRejected());
      assertEquals(2, summary.tally().getAccepted());
    }
  }

  @Test
  void an_event_that_fits_into_no_chunk_is_rejected_by_the_client() throws Exception {
    try (EngagementClient client = server.connect("too-large")) {
      List<RejectedEvent> rejected = new ArrayList<>();
      Event large =
          Events.valid("large").toBuilder()
              .putAdditionalAttributes("key", "x".repeat(8 * 1024 * 1024))
              .build();
      UploadSummary summary =
          client
              .uploader()
              .onRejection(rejected::add)
              .build()
              .upload(List.of(Events.valid("0"), large, Events.valid("2")));
      assertEquals(1, rejected.get(0).position());
      assertEquals("server.event.max_bytes", rejected.get(0).error().getViolations(0).getRule());
      assertEquals(1, summary.tally().getRejected());
      assertEquals(3, summary.events());
      assertEquals(List.of("0", "2"), Events.storedIds(client));
    }
  }

  @Test
  void what_a_source_gave_before_it_pauses_is_stored_meanwhile() throws Exception {
    try (EngagementClient client = server.connect("pauses")) {
      BlockingQueue<Event> queue = new ArrayBlockingQueue<>(10);
      CountDownLatch firstIsStored = new CountDownLatch(1);
      Uploader uploader =
          client
              .uploader()
              .onProgress(
                  progress -> {
                    if (progress.acknowledged() == 1) {
                      firstIsStored.countDown();
                    }
                  })
              .build();
      FutureTask<UploadSummary> upload = inBackground(() -> uploader.upload(taking(queue, 2)));
      queue.put(Events.valid("first"));
      firstIsStored.await();
      assertEquals(List.of("first"), Events.storedIds(client));
      queue.put(Events.valid("second"));
      assertEquals(2, upload.get().events());
    }
  }

  @Test
  void an_error_of_the_source_comes_out_after_what_it_gave_is_committed() throws Exception {
    try (EngagementClient client = server.connect("source-error")) {
      var broken = new IllegalStateException("the file ends here");
      var error =
          assertThrows(
              IllegalStateException.class,
              () -> client.uploader().build().upload(failingAfter(700, broken)));
      assertSame(broken, error);
      assertEquals(Events.ids(700), Events.storedIds(client));
    }
  }

  @Test
  void cancel_ends_an_upload_whose_source_waits_and_interrupts_the_source() throws Exception {
    try (EngagementClient client = server.connect("cancelled")) {
      BlockingQueue<Event> empty = new ArrayBlockingQueue<>(1);
      CompletableFuture<Thread> sourceThread = new CompletableFuture<>();
      Uploader uploader = client.uploader().build();
      FutureTask<UploadSummary> upload =
          inBackground(
              () ->
                  uploader.upload(
                      Stream.generate(
                          () -> {
                            sourceThread.complete(Thread.currentThread());
                            return take(empty);
                          })));
      sourceThread.join();
      uploader.cancel();
      var error = assertThrows(ExecutionException.class, upload::get);
      assertInstanceOf(CancellationException.class, error.getCause());
      assertFalse(sourceThread.join().isAlive());
      assertThrows(CancellationException.class, () -> uploader.upload(Stream.<Event>empty()));
    }
  }

  @Test
  void an_interrupted_upload_throws_interrupted_exception() throws Exception {
    try (EngagementClient client = server.connect("interrupted")) {
      Thread uploading = Thread.currentThread();
      Stream<Event> endless =
          Stream.iterate(0, n -> n + 1)
              .map(
                  n -> {
                    if (n == 5_000) {
                      uploading.interrupt();
                    }
                    return Events.valid(Events.id(n));
                  });
      assertThrows(InterruptedException.class, () -> client.uploader().build().upload(endless));
      assertFalse(Thread.currentThread().isInterrupted());
    }
  }

  @Test
  void closing_the_client_ends_its_uploads() throws Exception {
    EngagementClient client = server.connect("client-closes");
    CountDownLatch reads = new CountDownLatch(1);
    BlockingQueue<Event> empty = new ArrayBlockingQueue<>(1);
    FutureTask<UploadSummary> upload =
        inBackground(
            () ->
                client
                    .uploader()
                    .build()
                    .upload(
                        Stream.generate(
                            () -> {
                              reads.countDown();
                              return take(empty);
                            })));
    reads.await();
    client.close();
    var error = assertThrows(ExecutionException.class, upload::get);
    assertInstanceOf(CancellationException.class, error.getCause());
  }

  @Test
  void callbacks_run_in_the_thread_that_uploads() throws Exception {
    try (EngagementClient client = server.connect("callbacks")) {
      Set<Thread> threads = new HashSet<>();
      client
          .uploader()
          .onProgress(progress -> threads.add(Thread.currentThread()))
          .onRejection(rejected -> threads.add(Thread.currentThread()))
          .build()
          .upload(List.of(Events.invalid("1"), Events.valid("2")));
      assertEquals(Set.of(Thread.currentThread()), threads);
    }
  }

  @Test
  void a_newer_upload_takes_over() throws Exception {
    try (EngagementClient client = server.connect("taken-over")) {
      BlockingQueue<Event> queue = new ArrayBlockingQueue<>(1);
      CountDownLatch reads = new CountDownLatch(1);
      Uploader older = client.uploader().uploadId("u").build();
      FutureTask<UploadSummary> upload =
          inBackground(
              () ->
                  older.upload(
                      Stream.generate(
                          () -> {
                            reads.countDown();
                            return take(queue);
                          })));
      reads.await();
      client.uploader().uploadId("u").build().upload(Events.numbered(1));
      var error = assertThrows(ExecutionException.class, upload::get);
      var cause = assertInstanceOf(EngagementException.class, error.getCause());
      assertEquals(ErrorKind.TAKEN_OVER, cause.kind());
    }
  }

  private static Iterator<Event> failingAfter(int count, RuntimeException error) {
    return Stream.concat(
            Events.numbered(count),
            Stream.generate(
                () -> {
                  throw error;
                }))
        .iterator();
  }

  private static Stream<Event> taking(BlockingQueue<Event> queue, int count) {
    return Stream.generate(() -> take(queue)).limit(count);
  }

  private static Event take(BlockingQueue<Event> queue) {
    try {
      return queue.take();
    } catch (InterruptedException error) {
      throw new IllegalStateException(error);
    }
  }

  private static <T> FutureTask<T> inBackground(Callable<T> work) {
    FutureTask<T> task = new FutureTask<>(work);
    Thread thread = new Thread(task, "test-upload");
    thread.setDaemon(true);
    thread.start();
    return task;
  }
}
