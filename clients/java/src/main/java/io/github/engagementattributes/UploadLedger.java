package io.github.engagementattributes;

import io.github.engagementattributes.v1.Outcome;
import io.github.engagementattributes.v1.SourceDigest;
import io.github.engagementattributes.v1.Tally;
import io.github.engagementattributes.v1.Upload;
import io.github.engagementattributes.v1.UploadEventsResponse;
import io.github.engagementattributes.v1.UploadResult;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/**
 * The ledger of one upload: the chunks that are not known to be committed, the totals, and the
 * caller's callbacks.
 *
 * <p>Each rejection is reported once, with the event's position in the source, whatever connections
 * are lost.
 */
final class UploadLedger {
  private final @Nullable Consumer<UploadProgress> onProgress;
  private final @Nullable Consumer<RejectedEvent> onRejection;
  private final Deque<Chunk> unacked = new ArrayDeque<>();
  private Tally tally = Tally.getDefaultInstance();
  private long committedThrough;
  private @Nullable SourceDigest committedSource;
  private @Nullable SourceDigest wholeSource;
  private long sent;
  private long skippedEvents;
  private boolean isResumedByCount;
  private long rejectedHere;
  private int reconnects;
  private boolean isFinished;

  /** Null stands for no callback. */
  UploadLedger(
      @Nullable Consumer<UploadProgress> onProgress,
      @Nullable Consumer<RejectedEvent> onRejection) {
    this.onProgress = onProgress;
    this.onRejection = onRejection;
  }

  /** Chunks to resend after a lost connection, in order; the stream bounds their number. */
  Deque<Chunk> unacked() {
    return unacked;
  }

  long committedThrough() {
    return committedThrough;
  }

  boolean isFinished() {
    return isFinished;
  }

  /**
   * Begins after the events that an earlier run committed, and returns how many of them to skip by
   * their number: none, unless that run sent no digest of its source.
   */
  long resume(@Nullable SourceDigest committed) {
    committedSource = committed;
    skippedEvents = committed == null ? total(tally) : committed.getEvents();
    sent = skippedEvents;
    isResumedByCount = committed == null && skippedEvents > 0;
    return isResumedByCount ? skippedEvents : 0;
  }

  /** Whether a reopened upload is where this run has brought it, and not another client. */
  boolean isOwnProgress(UploadEventsResponse.Opened opened) {
    SourceDigest expected = committedSource;
    long lastSent = committedThrough;
    for (Chunk chunk : unacked) {
      lastSent = chunk.sequence();
      if (lastSent <= opened.getCommittedThrough()) {
        expected = chunk.source();
      }
    }
    boolean isSameSource =
        expected == null
            || !opened.hasSource()
            || opened.getSource().equals(expected)
            || opened.getSource().equals(wholeSource);
    return opened.getCommittedThrough() <= lastSent && isSameSource;
  }

  /** Whether the upload is finished before this run has sent all of its source. */
  boolean isFinishedByAnother() {
    return isFinished && (wholeSource == null || !unacked.isEmpty());
  }

  /** Adds a chunk that is about to be sent. */
  void add(Chunk chunk) {
    unacked.addLast(chunk);
    sent = chunk.endPosition();
  }

  /** Notes the digest of the whole source, with which the upload is about to be finished. */
  void finish(SourceDigest source) {
    wholeSource = source;
  }

  /**
   * Processes an ack, and returns whether it is progress: the upload moved or waits for nothing.
   */
  boolean acknowledge(UploadEventsResponse.Ack ack) {
    boolean hasMoved = ack.getCommittedThrough() > committedThrough;
    settle(ack.getCommittedThrough(), ack.getTally(), ack.getResultsList());
    return hasMoved || unacked.isEmpty();
  }

  /** Whether rejections in chunks in flight were not reported to this client. */
  boolean missesRejections(Upload upload) {
    return onRejection != null
        && !unacked.isEmpty()
        && upload.getTally().getRejected() > tally.getRejected();
  }

  /** Processes the state of the upload and the rejections that it missed. */
  void catchUp(Upload upload, List<UploadResult> missed) {
    settle(upload.getCommittedThrough(), upload.getTally(), missed);
    isFinished = upload.getState() == Upload.State.STATE_FINISHED;
  }

  /** Processes an event that cannot be sent at all. */
  void reject(RejectedEvent rejected) {
    rejectedHere++;
    report(rejected);
  }

  /** Counts a connection that was lost and is re-established. */
  void noteReconnect() {
    reconnects++;
    reportProgress();
  }

  UploadSummary summarize(String uploadId) {
    Tally full = fullTally();
    return new UploadSummary(
        uploadId, full, total(full), reconnects, skippedEvents, isResumedByCount);
  }

  private void settle(long committed, Tally newTally, List<UploadResult> results) {
    if (onRejection != null && !results.isEmpty()) {
      reportRejections(results);
    }
    committedThrough = committed;
    tally = newTally;
    while (!unacked.isEmpty() && unacked.getFirst().sequence() <= committed) {
      committedSource = unacked.removeFirst().source();
    }
    reportProgress();
  }

  private void reportRejections(List<UploadResult> results) {
    Map<Long, Chunk> chunks =
        unacked.stream().collect(Collectors.toMap(Chunk::sequence, Function.identity()));
    for (UploadResult item : results) {
      var result = item.getResult();
      Chunk chunk = chunks.get(item.getChunkSequence());
      // If a lost connection cuts the results of a chunk in two, all of them come again.
      if (result.getOutcome() == Outcome.OUTCOME_REJECTED
          && chunk != null
          && chunk.isFirstReportOf(result.getIndex())) {
        int index = result.getIndex();
        report(new RejectedEvent(chunk.position(index), chunk.event(index), result.getError()));
      }
    }
  }

  private void report(RejectedEvent rejected) {
    if (onRejection != null) {
      onRejection.accept(rejected);
    }
  }

  private void reportProgress() {
    if (onProgress != null) {
      Tally full = fullTally();
      onProgress.accept(new UploadProgress(sent, total(full), full, reconnects));
    }
  }

  private Tally fullTally() {
    return tally.toBuilder().setRejected(tally.getRejected() + rejectedHere).build();
  }

  private static long total(Tally tally) {
    return tally.getAccepted() + tally.getDuplicate() + tally.getRejected() + tally.getSuppressed();
  }
}
