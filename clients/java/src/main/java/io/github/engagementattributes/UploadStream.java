package io.github.engagementattributes;

import io.github.engagementattributes.v1.IngestServiceGrpc;
import io.github.engagementattributes.v1.SourceDigest;
import io.github.engagementattributes.v1.Upload;
import io.github.engagementattributes.v1.UploadEventsRequest;
import io.github.engagementattributes.v1.UploadEventsResponse;
import io.github.engagementattributes.v1.UploadResult;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import java.util.Queue;
import org.jspecify.annotations.Nullable;

/**
 * One connection of an upload: opens it, sends what is not committed, processes the server's
 * messages. Everything runs in the uploading thread.
 */
final class UploadStream implements AutoCloseable {
  private static final Duration STATUS_PATIENCE = Duration.ofSeconds(2);

  private final EngagementClient client;
  private final String uploadId;
  private final boolean keepGoing;
  private final Chunker chunker;
  private final UploadLedger ledger;
  private final Outage outage;
  private final Mailbox mailbox;
  private final StreamCall<UploadEventsRequest, UploadEventsResponse> call;
  private final Queue<Chunk> toSendAgain = new ArrayDeque<>();
  private Duration silence;
  private @Nullable Duration reconnectDelay;
  private int maxUnackedChunks;
  private boolean isOpen;
  private boolean isHalfClosed;

  UploadStream(
      EngagementClient client,
      String uploadId,
      boolean keepGoing,
      Chunker chunker,
      UploadLedger ledger,
      Outage outage,
      Mailbox mailbox) {
    this.client = client;
    this.uploadId = uploadId;
    this.keepGoing = keepGoing;
    this.chunker = chunker;
    this.ledger = ledger;
    this.outage = outage;
    this.mailbox = mailbox;
    this.silence = client.connection().timeout();
    this.call =
        new StreamCall<>(client.connection(), IngestServiceGrpc.getUploadEventsMethod(), mailbox);
  }

  /** Returns once all events that the source yielded are committed; throws an error before. */
  void run() throws InterruptedException {
    call.send(
        UploadEventsRequest.newBuilder()
            .setOpen(
                UploadEventsRequest.Open.newBuilder()
                    .setAccountId(client.accountId())
                    .setUploadId(uploadId)
                    .setKeepGoing(keepGoing))
            .build());
    while (!ledger.isFinished()) {
      UploadEventsResponse message = receive();
      if (message == null) {
        requireAllCommitted();
        return;
      }
      handle(message);
    }
  }

  @Override
  public void close() {
    call.close();
  }

  /** The next message, null at the end; sends whatever may be sent meanwhile. */
  private @Nullable UploadEventsResponse receive() throws InterruptedException {
    long silentAt = System.nanoTime() + silence.toNanos();
    call.ask();
    while (true) {
      UploadEventsResponse message = call.take();
      if (message != null || call.hasEnded()) {
        return message;
      }
      sendWhatIsReady();
      long untilSilent = silentAt - System.nanoTime();
      long untilDue = canSend() && hasRoom() ? chunker.nanosUntilDue() : Long.MAX_VALUE;
      if (!mailbox.runNext(Math.min(untilSilent, untilDue)) && untilSilent <= 0) {
        throw StreamCall.silent(silence);
      }
    }
  }

  private void handle(UploadEventsResponse message) throws InterruptedException {
    switch (message.getMessageCase()) {
      case OPENED -> begin(message.getOpened());
      case ACK -> {
        if (ledger.acknowledge(message.getAck())) {
          outage.end();
        }
      }
      case CLOSING -> {
        reconnectDelay = Durations.toJava(message.getClosing().getReconnectDelay());
        halfClose();
      }
      case FINISHED -> {
        catchUp(message.getFinished().getUpload());
        if (chunker.hasBegun() && !chunker.isComparing() && ledger.isFinishedByAnother()) {
          throw continuedByAnother();
        }
        call.awaitEnd(STATUS_PATIENCE);
      }
      case MESSAGE_NOT_SET -> {
        // A message newer than this client still shows that the server is alive.
      }
    }
  }

  private EngagementException continuedByAnother() {
    return EngagementException.sourceMismatch(
        "another client has continued upload '"
            + uploadId
            + "' with another source; use an upload id of its own for each source");
  }

  private void begin(UploadEventsResponse.Opened opened) {
    maxUnackedChunks = Math.max(1, opened.getMaxUnackedChunks());
    if (opened.hasHeartbeatInterval()) {
      silence = Durations.toJava(opened.getHeartbeatInterval()).multipliedBy(2);
    }
    if (chunker.hasBegun() && !ledger.isOwnProgress(opened)) {
      throw continuedByAnother();
    }
    boolean isResumed = !chunker.hasBegun() && opened.hasSource();
    if (isResumed || opened.getCommittedThrough() > ledger.committedThrough()) {
      catchUp(client.getUpload(uploadId));
      outage.end();
    }
    if (!chunker.hasBegun()) {
      beginSource(opened);
    }
    if (!ledger.isFinished()) {
      toSendAgain.addAll(ledger.unacked());
      isOpen = true;
    }
  }

  private void beginSource(UploadEventsResponse.Opened opened) {
    long skipEvents = ledger.resume(opened.hasSource() ? opened.getSource() : null);
    boolean isFinished = ledger.isFinished();
    if (opened.hasSource() || !isFinished) {
      chunker.begin(opened, new SourceDigester(uploadId, opened, isFinished), skipEvents);
    }
  }

  /** Processes commits whose acks were lost. */
  private void catchUp(Upload upload) {
    List<UploadResult> missed = new ArrayList<>();
    if (ledger.missesRejections(upload)) {
      long first = ledger.unacked().getFirst().sequence();
      for (UploadResult rejection : client.uploadRejections(uploadId)) {
        if (rejection.getChunkSequence() >= first) {
          missed.add(rejection);
        }
      }
    }
    ledger.catchUp(upload, missed);
  }

  private void sendWhatIsReady() {
    while (canSend()) {
      reportRejected();
      Chunk next = nextChunk();
      if (next == null) {
        if (toSendAgain.isEmpty() && chunker.hasEnded()) {
          finish();
        }
        return;
      }
      call.send(next.request());
    }
  }

  private void reportRejected() {
    for (RejectedEvent rejected = chunker.pollRejected();
        rejected != null;
        rejected = chunker.pollRejected()) {
      ledger.reject(rejected);
    }
  }

  /** The chunk to send now; null if there is none, or no room for it. */
  private @Nullable Chunk nextChunk() {
    if (!toSendAgain.isEmpty()) {
      return toSendAgain.remove();
    }
    Chunk chunk = hasRoom() ? chunker.poll() : null;
    if (chunk != null) {
      ledger.add(chunk);
    }
    return chunk;
  }

  private boolean canSend() {
    return isOpen && !isHalfClosed && call.isReady();
  }

  private boolean hasRoom() {
    return ledger.unacked().size() < maxUnackedChunks;
  }

  private void finish() {
    if (chunker.error() == null) {
      SourceDigest source = chunker.digest();
      ledger.finish(source);
      call.send(
          UploadEventsRequest.newBuilder()
              .setFinish(
                  UploadEventsRequest.Finish.newBuilder()
                      .setLastSequence(chunker.lastSequence())
                      .setSource(source))
              .build());
    }
    halfClose();
  }

  private void halfClose() {
    if (!isHalfClosed) {
      isHalfClosed = true;
      call.halfClose();
    }
  }

  private void requireAllCommitted() {
    boolean hasSourceFailed = chunker.error() != null && chunker.hasEnded();
    if (!hasSourceFailed || !ledger.unacked().isEmpty()) {
      throw EngagementException.unavailable("the server closed the stream", reconnectDelay);
    }
  }
}
