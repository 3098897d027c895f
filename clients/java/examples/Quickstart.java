import io.github.engagementattributes.EngagementClient;
import io.github.engagementattributes.EngagementException;
import io.github.engagementattributes.Follower;
import io.github.engagementattributes.UploadSummary;
import io.github.engagementattributes.v1.CustomerInfo;
import io.github.engagementattributes.v1.Event;
import io.github.engagementattributes.v1.EventFilter;
import io.github.engagementattributes.v1.EventServiceGrpc;
import io.github.engagementattributes.v1.GetProfileRequest;
import io.github.engagementattributes.v1.StoredEvent;
import java.time.LocalDate;
import java.time.ZoneOffset;
import java.util.stream.IntStream;

public final class Quickstart {
  public static void main(String[] arguments) throws InterruptedException {
    String server = System.getenv().getOrDefault("ENGAGEMENT_SERVER", "127.0.0.1:50051");
    try (var client = EngagementClient.builder(server).accountId("demo-java").build()) {
      var vip = CustomerInfo.newBuilder().setCustomerType("VIP").setBalance("12.50");
      var visit = Event.newBuilder().setEventId("visit-19/1").setConsumerId("visitor-19");
      client.recordEvent(visit.setCustomerInfo(vip).build());

      var request = GetProfileRequest.newBuilder().setAccountId(client.accountId());
      var found =
          client.call(
              EventServiceGrpc::newBlockingStub,
              events -> events.getProfile(request.setConsumerId("visitor-19").build()));
      CustomerInfo customer = found.getProfile().getCustomerInfo();
      System.out.println("profile: " + customer.getCustomerType() + " " + customer.getBalance());

      String source = "orders.csv/" + LocalDate.now(ZoneOffset.UTC); // the file's name and day
      var orders = IntStream.range(0, 10_000).mapToObj(number -> order(source, number));
      UploadSummary summary = client.uploader().uploadId(source).build().upload(orders);
      System.out.printf(
          "%d stored, %d rejected%n", summary.tally().getAccepted(), summary.tally().getRejected());

      var visitor = EventFilter.newBuilder().addConsumerIds("visitor-19").build();
      try (Follower follower = client.followEarliest().filter(visitor).stopAtTail().build()) {
        for (StoredEvent stored : follower) {
          System.out.println("followed " + stored.getEvent().getEventId());
        }
      }

      client.recordEvent(
          Event.newBuilder().setConsumerId("x".repeat(50_001)).setCustomerInfo(vip).build());
    } catch (EngagementException error) {
      System.out.println(error.getMessage());
    }
  }

  private static Event order(String source, int number) {
    return Event.newBuilder()
        .setEventId(source + "/" + number)
        .setCustomerInfo(CustomerInfo.newBuilder().setCustomerId("NW-" + number))
        .build();
  }
}
