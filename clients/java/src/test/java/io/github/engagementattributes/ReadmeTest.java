package io.github.engagementattributes;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;

final class ReadmeTest {
  private static final Pattern EXAMPLE =
      Pattern.compile("```java\n(.*?)```\n+```text output\n(.*?)```", Pattern.DOTALL);

  private static final Pattern ENGINE = Pattern.compile("[/\\\\](cel|re2j)[/\\\\]");

  @Test
  void the_example_is_the_program_and_prints_what_the_readme_says_however_often_it_is_run()
      throws Exception {
    Matcher example = EXAMPLE.matcher(Files.readString(Path.of("README.md")));
    assertTrue(example.find());
    assertEquals(Files.readString(Path.of("examples", "Quickstart.java")), example.group(1));
    try (TestServer server = new TestServer()) {
      assertEquals(example.group(2), run("Quickstart", server.address()));
      assertEquals(example.group(2), run("Quickstart", server.address()));
    }
  }

  private static String run(String mainClass, String server)
      throws IOException, InterruptedException {
    ProcessBuilder builder =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-cp",
                withoutTheEngine(System.getProperty("java.class.path")),
                mainClass)
            .redirectError(ProcessBuilder.Redirect.INHERIT);
    builder.environment().put("ENGAGEMENT_SERVER", server);
    Process process = builder.start();
    String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertEquals(0, process.waitFor());
    return output;
  }

  /** Only those who validate need the engine that evaluates rules; see README.md. */
  private static String withoutTheEngine(String classPath) {
    String withoutIt =
        Arrays.stream(classPath.split(File.pathSeparator))
            .filter(entry -> !ENGINE.matcher(entry).find())
            .collect(Collectors.joining(File.pathSeparator));
    assertNotEquals(classPath, withoutIt);
    return withoutIt;
  }
}
