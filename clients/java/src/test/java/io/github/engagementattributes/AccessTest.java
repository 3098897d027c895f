package io.github.engagementattributes;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.google.gson.JsonObject;
import java.io.IOException;
import java.time.Instant;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Named;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

final class AccessTest {
  static Stream<Named<JsonObject>> targets() throws IOException {
    return Vectors.cases("targets.json");
  }

  @ParameterizedTest
  @MethodSource("targets")
  void a_token_leaves_this_machine_in_plain_text_only_if_that_is_allowed(JsonObject testCase) {
    String target = testCase.get("name").getAsString();
    if (testCase.get("is_this_machine").getAsBoolean()) {
      assertEquals(true, Targets.isThisMachine(target));
      return;
    }
    assertThrows(IllegalStateException.class, () -> withToken(target).build());
    withToken(target).allowPlaintextToken().build().close();
    withToken(target).tls().build().close();
  }

  private static EngagementClientBuilder withToken(String target) {
    return EngagementClient.builder(target).accountId("access").token("secret");
  }

  @Test
  void calls_at_once_ask_for_one_token() {
    AtomicInteger asks = new AtomicInteger();
    Tokens tokens =
        Tokens.of(() -> new Token("t" + asks.incrementAndGet(), Instant.now().plusSeconds(3600)));
    IntStream.range(0, 20).parallel().forEach(n -> assertEquals("t1", tokens.current()));
    tokens.discard("t1");
    assertEquals("t2", tokens.current());
    tokens.discard("t1");
    assertEquals("t2", tokens.current());
  }

  @Test
  void a_failure_of_the_source_is_that_of_the_call_the_upload_and_the_follower() {
    RuntimeException reason = new IllegalStateException("the vault is closed");
    TokenSource failing =
        () -> {
          throw reason;
        };
    try (EngagementClient client =
        EngagementClient.builder("127.0.0.1:1").accountId("a").tokenSource(failing).build()) {
      assertSame(
          reason,
          assertThrows(RuntimeException.class, () -> client.recordEvent(Events.valid("e1"))));
      assertSame(
          reason,
          assertThrows(
              RuntimeException.class, () -> client.uploader().build().upload(Events.numbered(1))));
      assertSame(
          reason,
          assertThrows(
              RuntimeException.class, () -> client.followEarliest().build().iterator().hasNext()));
    }
  }
}
