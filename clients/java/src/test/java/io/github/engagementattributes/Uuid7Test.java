package io.github.engagementattributes;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

final class Uuid7Test {
  @Test
  void an_id_is_a_uuid_of_version_7_with_the_time_in_front() {
    long before = System.currentTimeMillis();
    String id = Uuid7.next();
    assertTrue(
        id.matches("[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"), id);
    long millis = Long.parseLong(id.substring(0, 8) + id.substring(9, 13), 16);
    assertTrue(millis >= before && millis <= System.currentTimeMillis(), id);
  }

  @Test
  void ids_grow() {
    List<String> ids = Stream.generate(Uuid7::next).limit(100_000).toList();
    assertEquals(ids.stream().sorted().toList(), ids);
  }

  @Test
  void ids_of_many_threads_differ_and_grow_in_each() throws Exception {
    ExecutorService threads = Executors.newFixedThreadPool(8);
    Callable<List<String>> make = () -> Stream.generate(Uuid7::next).limit(20_000).toList();
    Set<String> all = new HashSet<>();
    for (Future<List<String>> made : threads.invokeAll(Collections.nCopies(8, make))) {
      assertEquals(made.get().stream().sorted().toList(), made.get());
      all.addAll(made.get());
    }
    threads.shutdown();
    assertEquals(8 * 20_000, all.size());
  }
}
