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
 * <p>So an upload or a follower runs in a single thread: no locks, and no user callback runs in an
 * unexpected one. Callbacks are few, because messages are requested one by one.
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

  /** Waits for a callback and runs it; false if none comes within {@code nanos}. */
  boolean runNext(long nanos) throws InterruptedException {
    Runnable callback = callbacks.poll(nanos, TimeUnit.NANOSECONDS);
    if (callback == null) {
      return false;
    }
    callback.run();
    return true;
  }

  /** Runs callbacks for a time, or until {@code until} holds, which is checked after each. */
  void runFor(Duration duration, BooleanSupplier until) throws InterruptedException {
    long end = System.nanoTime() + duration.toNanos();
    boolean isTimeLeft = true;
    while (isTimeLeft && !until.getAsBoolean()) {
      isTimeLeft = runNext(end - System.nanoTime());
    }
  }

  /** Ends waiting. Late callbacks still run, because they release memory. */
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
