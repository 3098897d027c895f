package io.github.engagementattributes;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** A program of the repository that says on its first line that it is ready. */
final class PythonProcess implements AutoCloseable {
  private final Process process;
  private final String firstLine;

  PythonProcess(String module, String... arguments) {
    Path root = Path.of("..", "..").toAbsolutePath().normalize();
    String python = System.getenv("ENGAGEMENT_PYTHON");
    List<String> command = new ArrayList<>();
    command.add(python == null ? root.resolve(".venv/bin/python").toString() : python);
    command.addAll(List.of("-m", module));
    command.addAll(List.of(arguments));
    try {
      process =
          new ProcessBuilder(command)
              .directory(root.toFile())
              .redirectError(
                  ProcessBuilder.Redirect.appendTo(Path.of("target", module + ".log").toFile()))
              .start();
      // Not even a test run that is ended from outside leaves it behind.
      Runtime.getRuntime().addShutdownHook(new Thread(process::destroyForcibly));
      BufferedReader output = process.inputReader(StandardCharsets.UTF_8);
      firstLine = output.readLine();
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
    if (firstLine == null) {
      throw new IllegalStateException(command + " ended before it was ready: see target/*.log");
    }
  }

  String firstLine() {
    return firstLine;
  }

  /** As a crash does it: the program gets no chance to end anything well. */
  void kill() {
    process.destroyForcibly();
    process.onExit().join();
  }

  /** The program keeps its connections and says nothing any more. */
  void freeze() throws IOException, InterruptedException {
    String pid = Long.toString(process.pid());
    int status = new ProcessBuilder("kill", "-STOP", pid).inheritIO().start().waitFor();
    if (status != 0) {
      throw new IllegalStateException("kill ended with " + status);
    }
  }

  /** Asks the program to stop, and waits. */
  void stop() {
    process.destroy();
    process.onExit().join();
  }

  @Override
  public void close() {
    kill();
  }
}
