package io.github.engagementattributes;

import io.github.engagementattributes.v1.CustomerInfo;
import io.github.engagementattributes.v1.Date;
import io.github.engagementattributes.v1.Event;
import io.github.engagementattributes.v1.StoredEvent;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/** Events to send, and how to read all that are stored. */
final class Events {
  private Events() {}

  static Event valid(String id) {
    return Event.newBuilder()
        .setEventId(id)
        .setConsumerId("consumer-of-" + id)
        .setCustomerInfo(CustomerInfo.newBuilder().setBalance("-400.99"))
        .build();
  }

  static Event invalid(String id) {
    return Event.newBuilder()
        .setEventId(id)
        .setCustomerInfo(
            CustomerInfo.newBuilder()
                .setLastPaymentDate(Date.newBuilder().setYear(2014).setMonth(13).setDay(15)))
        .build();
  }

  static Stream<Event> numbered(int count) {
    return IntStream.range(0, count).mapToObj(n -> valid(id(n)));
  }

  static List<String> ids(int count) {
    return IntStream.range(0, count).mapToObj(Events::id).toList();
  }

  static String id(int number) {
    return "event-%07d".formatted(number);
  }

  /** The ids of everything that is stored, in order. */
  static List<String> storedIds(EngagementClient client) {
    List<String> ids = new ArrayList<>();
    try (Follower follower = client.followEarliest().stopAtTail().build()) {
      for (EventBatch batch : follower.batches()) {
        for (StoredEvent stored : batch.events()) {
          ids.add(stored.getEvent().getEventId());
        }
      }
    }
    return ids;
  }
}
