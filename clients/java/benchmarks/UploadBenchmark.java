import io.github.engagementattributes.EngagementClient;
import io.github.engagementattributes.UploadSummary;
import io.github.engagementattributes.v1.Event;
import java.io.BufferedInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/**
 * Measures an upload: uploads the events of one file to warm up, then those of another, and prints
 * one line of JSON.
 *
 * <p>Arguments: ADDRESS ACCOUNT WARMUP_FILE EVENTS_FILE. The files hold varint-length-delimited
 * events.
 */
public final class UploadBenchmark {
  public static void main(String[] arguments) throws IOException, InterruptedException {
    List<Event> warmup = read(Path.of(arguments[2]));
    List<Event> events = read(Path.of(arguments[3]));
    try (var client = EngagementClient.builder(arguments[0]).accountId(arguments[1]).build()) {
      client.uploader().build().upload(warmup);
      long start = System.nanoTime();
      UploadSummary summary = client.uploader().build().upload(events);
      double seconds = (System.nanoTime() - start) / 1e9;
      System.out.printf(
          Locale.ROOT,
          "{\"events\": %d, \"accepted\": %d, \"seconds\": %.6f}%n",
          events.size(),
          summary.tally().getAccepted(),
          seconds);
    }
  }

  private static List<Event> read(Path file) throws IOException {
    List<Event> events = new ArrayList<>();
    try (InputStream input = new BufferedInputStream(Files.newInputStream(file))) {
      Event event;
      while ((event = Event.parseDelimitedFrom(input)) != null) {
        events.add(event);
      }
    }
    return events;
  }
}
