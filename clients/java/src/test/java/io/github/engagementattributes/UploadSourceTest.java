package io.github.engagementattributes;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.engagementattributes.v1.CustomerInfo;
import io.github.engagementattributes.v1.Event;
import io.github.engagementattributes.v1.EventError;
import io.github.engagementattributes.v1.FieldViolation;
import io.github.engagementattributes.v1.PersonalContact;
import io.github.engagementattributes.v1.PersonalInfo;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.CountDownLatch;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Uploads that compare their source with that of an earlier run, or refuse its text. */
final class UploadSourceTest {
  private static final String HALF_A_PAIR = "\ud83d";

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
  void a_changed_source_is_refused_and_the_upload_stays_as_it_is() throws Exception {
    try (EngagementClient client = server.connect("changed")) {
      leaveOpen(client, Events.numbered(20));
      List<Event> changed = new ArrayList<>(Events.numbered(40).toList());
      changed.set(12, Events.valid("another"));
      assertEquals(
          "upload 'u' began with another source: 20 of its events are committed, and this source"
              + " differs between events 10 and 15. Use an upload id of its own for each source. If"
              + " this should be the same source, see whether ids, times or the order of events"
              + " change from run to run",
          mismatch(client, changed.stream()));
      List<Event> reversed = new ArrayList<>(Events.numbered(40).toList());
      Collections.reverse(reversed);
      assertDiffers("differs between events 0 and 5", mismatch(client, reversed.stream()));
      assertEquals(Events.ids(20), Events.storedIds(client));
      UploadSummary summary = client.uploader().uploadId("u").build().upload(Events.numbered(40));
      assertEquals(20, summary.skippedEvents());
      assertEquals(40, summary.tally().getAccepted());
    }
  }

  @Test
  void a_finished_upload_refuses_another_source() throws Exception {
    try (EngagementClient client = server.connect("finished")) {
      client.uploader().uploadId("u").build().upload(Events.numbered(20));
      assertDiffers("ends after 19 events", mismatch(client, Events.numbered(19)));
      assertDiffers("ends after 0 events", mismatch(client, Stream.empty()));
      assertDiffers(
          "differs between events 0 and 20", mismatch(client, Events.numbered(21).skip(1)));
      assertDiffers("has more events", mismatch(client, Events.numbered(21)));
      Stream<Event> endless = Stream.iterate(0, n -> n + 1).map(n -> Events.valid(Events.id(n)));
      assertDiffers("has more events", mismatch(client, endless));
    }
  }

  @Test
  void events_without_ids_are_stored_once_however_often_they_are_uploaded() throws Exception {
    try (EngagementClient client = server.connect("nameless")) {
      List<Event> nameless =
          Events.numbered(30).map(event -> event.toBuilder().clearEventId().build()).toList();
      leaveOpen(client, nameless.stream().limit(20));
      assertEquals(20, client.uploader().uploadId("u").build().upload(nameless).skippedEvents());
      client.uploader().uploadId("u").build().upload(nameless);
      assertEquals(30, Events.storedIds(client).size());
    }
  }

  @Test
  void an_event_whose_text_is_not_unicode_is_rejected_and_the_others_are_stored() throws Exception {
    try (EngagementClient client = server.connect("unicode")) {
      List<Event> events =
          List.of(
              Events.valid("0?"),
              Events.valid("1" + HALF_A_PAIR),
              Events.valid("2😀"),
              withKey(HALF_A_PAIR + "?"));
      leaveOpen(client, events.stream());
      List<RejectedEvent> rejected = new ArrayList<>();
      UploadSummary summary =
          client.uploader().uploadId("u").onRejection(rejected::add).build().upload(events);
      assertEquals(List.of(1L, 3L), rejected.stream().map(RejectedEvent::position).toList());
      assertEquals(violation("event_id"), rejected.get(0).error().getViolations(0));
      assertEquals(
          violation("additional_attributes[\"\\ud83d?\"]"),
          rejected.get(1).error().getViolations(0));
      assertEquals(2, summary.tally().getRejected());
      assertEquals(3, summary.skippedEvents());
      assertEquals(List.of("0?", "2😀"), Events.storedIds(client));
    }
  }

  @Test
  void a_finished_upload_tells_again_which_events_were_never_sent() throws Exception {
    try (EngagementClient client = server.connect("never-sent")) {
      List<Event> events = List.of(Events.valid("0"), Events.valid(HALF_A_PAIR));
      UploadSummary first = client.uploader().uploadId("u").build().upload(events);
      List<EventError> errors = new ArrayList<>();
      UploadSummary again =
          client
              .uploader()
              .uploadId("u")
              .onRejection(rejected -> errors.add(rejected.error()))
              .build()
              .upload(events);
      assertEquals(1, errors.size());
      assertEquals(first.tally(), again.tally());
      assertEquals(2, again.events());
    }
  }

  @Test
  void text_that_is_not_unicode_is_not_recorded() {
    try (EngagementClient client = server.connect("record-unicode")) {
      var contacts =
          PersonalInfo.newBuilder()
              .addOtherContacts(PersonalContact.newBuilder().setPhone("1"))
              .addOtherContacts(PersonalContact.newBuilder().setPhone("\udc00"));
      Event contact = Event.newBuilder().setPersonalInfo(contacts).build();
      Event attribute =
          Events.valid("1").toBuilder().putAdditionalAttributes("a", HALF_A_PAIR).build();
      assertRefused("event.event_id", () -> client.recordEvent(Events.valid(HALF_A_PAIR)));
      assertRefused(
          "events[1].personal_info.other_contacts[1].phone",
          () -> client.recordEvents(List.of(Events.valid("0"), contact)));
      assertRefused(
          "events[0].additional_attributes[\"a\"]",
          () -> client.recordEventsAllowingPartial(List.of(attribute)));
      assertEquals(List.of(), Events.storedIds(client));
      CustomerInfo smile = CustomerInfo.newBuilder().setBalance("😀").build();
      client.recordEvent(Event.newBuilder().setEventId("2").setCustomerInfo(smile).build());
      assertEquals(List.of("2"), Events.storedIds(client));
    }
  }

  @Test
  void a_comparison_ends_when_it_is_cancelled_or_the_client_is_closed() throws Exception {
    try (EngagementClient client = server.connect("compares")) {
      client.uploader().uploadId("u").build().upload(Events.numbered(20));
      Uploader cancelled = client.uploader().uploadId("u").build();
      assertEndsAfter(cancelled::cancel, cancelled);
      assertEndsAfter(client::close, client.uploader().uploadId("u").build());
    }
  }

  private static void assertEndsAfter(Runnable end, Uploader uploader) throws Exception {
    CountDownLatch reads = new CountDownLatch(1);
    CountDownLatch never = new CountDownLatch(1);
    Stream<Event> waiting =
        Stream.generate(
            () -> {
              reads.countDown();
              try {
                never.await();
              } catch (InterruptedException error) {
                throw new IllegalStateException(error);
              }
              return Events.valid("0");
            });
    var upload =
        CompletableFuture.supplyAsync(
            () -> {
              try {
                return uploader.upload(waiting);
              } catch (InterruptedException error) {
                throw new CompletionException(error);
              }
            });
    reads.await();
    end.run();
    Throwable error = assertThrows(Exception.class, upload::get);
    while (error.getCause() != null && !(error instanceof CancellationException)) {
      error = error.getCause();
    }
    assertInstanceOf(CancellationException.class, error);
  }

  /** Uploads these events as {@code u}, five in a chunk, without finishing the upload. */
  private static void leaveOpen(EngagementClient client, Stream<Event> events) {
    var broken = new IllegalStateException("the source breaks off");
    Stream<Event> breaking =
        Stream.concat(
            events,
            Stream.generate(
                () -> {
                  throw broken;
                }));
    assertThrows(
        IllegalStateException.class,
        () -> client.uploader().uploadId("u").chunkEvents(5).build().upload(breaking));
  }

  private static String mismatch(EngagementClient client, Stream<Event> events) {
    var error =
        assertThrows(
            EngagementException.class,
            () -> client.uploader().uploadId("u").build().upload(events));
    assertEquals(ErrorKind.SOURCE_MISMATCH, error.kind());
    return error.getMessage();
  }

  private static void assertDiffers(String difference, String message) {
    assertTrue(message.contains("this source " + difference + "."), message);
  }

  private static void assertRefused(String field, Runnable call) {
    var error = assertThrows(EngagementException.class, call::run);
    assertEquals(ErrorKind.INVALID_ARGUMENT, error.kind());
    assertEquals("FIELD_INVALID", error.reason());
    assertEquals(field, error.violations().get(0).field());
    assertEquals("string.utf8", error.violations().get(0).rule());
  }

  private static FieldViolation violation(String field) {
    return FieldViolation.newBuilder()
        .setField(field)
        .setRule("string.utf8")
        .setDescription("must be Unicode text, has an unpaired surrogate")
        .build();
  }

  private static Event withKey(String key) {
    return Events.valid("key").toBuilder().putAdditionalAttributes(key, "").build();
  }
}
