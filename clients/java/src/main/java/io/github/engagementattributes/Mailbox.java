package io.github.engagementattributes;

import java.time.Duration;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Executor;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;

/**
 * Runs the callbacks of streams in the thread that waits for them.
 *
 * <p>So an upload or a follower is one thread's business: no locks, and no callback of a user runs
 * where the user does not expect it. Callbacks are few, because messages are asked for one by one.
 */
final class Mailbox implements Executor, AutoCloseable {
  private final BlockingQueue<Runnable> callbacks = new LinkedBlockingQueue<>();
  private volatile boolean isClosed;

  @Override
  public void execute(Runnable callback) {
    callbacks.add(callback);
    if (isClosed) {
      runAll();
    }
  }

  /** Makes {@link #runNext} return. */
  void wake() {
    execute(() -> {});
  }

  /** Waits for a callback and runs it; false where none comes within {@code nanos}. */
  boolean runNext(long nanos) throws InterruptedException {
    Runnable callback = callbacks.poll(nanos, TimeUnit.NANOSECONDS);
    if (callback == null) {
      return false;
    }
    callback.run();
    return true;
  }

  /**
   * Sleeps, and runs what comes meanwhile; {@code until} ends it early, asked at every callback.
   */
  void runFor(Duration duration, BooleanSupplier until) throws InterruptedException {
    long end = System.nanoTime() + duration.toNanos();
    boolean isTimeLeft = true;
    while (isTimeLeft && !until.getAsBoolean()) {
      isTimeLeft = runNext(end - System.nanoTime());
    }
  }

  /** Nobody waits any more; what still comes must run all the same, to give back its memory. */
  @Override
  public void close() {
    isClosed = true;
    runAll();
  }

  private void runAll() {
    for (Runnable next = callbacks.poll(); next != null; next = callbacks.poll()) {
      next.run();
    }
  }
}
