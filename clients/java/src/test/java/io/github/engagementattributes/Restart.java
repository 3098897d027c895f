package io.github.engagementattributes;

import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/** Kills a server once an upload has come so far, and starts it again. */
final class Restart implements Consumer<UploadProgress> {
  private final TestServer server;
  private final long afterEvents;
  private @Nullable CompletableFuture<Void> started;

  Restart(TestServer server, long afterEvents) {
    this.server = server;
    this.afterEvents = afterEvents;
  }

  @Override
  public void accept(UploadProgress progress) {
    if (started == null && progress.acknowledged() >= afterEvents) {
      server.kill();
      started = CompletableFuture.runAsync(server::start);
    }
  }

  void join() {
    Objects.requireNonNull(started, "the upload never came so far").join();
  }
}
