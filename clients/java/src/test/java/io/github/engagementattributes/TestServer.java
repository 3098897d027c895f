package io.github.engagementattributes;

import java.io.File;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;

/** The real server with data of its own, which may be killed and started again. */
final class TestServer implements AutoCloseable {
  private static final String READY = "listening on ";

  private final Path data;
  private PythonProcess process;
  private String address = "127.0.0.1:0";

  TestServer() {
    try {
      data = Files.createTempDirectory("engagement-java-");
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
    start();
  }

  /** Starts the server, again on the same port and with the same data. */
  void start() {
    process =
        new PythonProcess(
            "engagement.cli", "serve", "--listen", address, "--data", data.toString());
    address = process.firstLine().substring(READY.length());
  }

  void kill() {
    process.kill();
  }

  /** The server keeps its connections and says nothing any more. */
  void freeze() throws IOException, InterruptedException {
    process.freeze();
  }

  /** Lets the server end its streams well. */
  void stop() {
    process.stop();
  }

  String address() {
    return address;
  }

  EngagementClient connect(String accountId) {
    return EngagementClient.builder(address).accountId(accountId).build();
  }

  @Override
  public void close() {
    process.close();
    try (var files = Files.walk(data)) {
      files.sorted(Comparator.reverseOrder()).map(Path::toFile).forEach(File::delete);
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }
}
