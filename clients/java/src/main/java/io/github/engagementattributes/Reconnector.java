package io.github.engagementattributes;

import io.grpc.ConnectivityState;
import io.grpc.ManagedChannel;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

/**
 * Re-establishes a lost connection within seconds: gRPC itself waits up to two minutes, and has no
 * setting for it.
 */
final class Reconnector {
  private static final long FIRST_DELAY_MILLIS = 100;
  private static final long LONGEST_DELAY_MILLIS = 5_000;

  private final ManagedChannel channel;
  private long delayMillis = FIRST_DELAY_MILLIS;

  private Reconnector(ManagedChannel channel) {
    this.channel = channel;
  }

  /** Watches the channel until it is shut down. */
  static void watch(ManagedChannel channel) {
    new Reconnector(channel).observe();
  }

  private synchronized void observe() {
    ConnectivityState state = channel.getState(false);
    switch (state) {
      case SHUTDOWN -> {
        return;
      }
      case TRANSIENT_FAILURE -> {
        // On the JDK's threads: no thread of our own, and none that keeps a process alive.
        CompletableFuture.delayedExecutor(delayMillis, TimeUnit.MILLISECONDS)
            .execute(this::connectAgain);
        delayMillis = Math.min(2 * delayMillis, LONGEST_DELAY_MILLIS);
        return;
      }
      case READY -> delayMillis = FIRST_DELAY_MILLIS;
      case IDLE, CONNECTING -> {
        // Nothing has failed.
      }
    }
    channel.notifyWhenStateChanged(state, this::observe);
  }

  private void connectAgain() {
    channel.resetConnectBackoff();
    observe();
  }
}
