package io.github.engagementattributes;

import java.time.Duration;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/** Builds an {@link Uploader}. Everything has a default. */
public final class UploaderBuilder {
  final EngagementClient client;
  @Nullable String uploadId;
  int chunkEvents;
  boolean keepGoing;
  Duration maxOutage = Outage.DEFAULT_MAX;
  @Nullable Consumer<UploadProgress> onProgress;
  @Nullable Consumer<RejectedEvent> onRejection;

  UploaderBuilder(EngagementClient client) {
    this.client = client;
  }

  /**
   * Sets the id of the upload, under which it can be resumed; by default a new UUIDv7.
   *
   * @param value 1 to 128 characters, unique in the account
   * @return this
   */
  public UploaderBuilder uploadId(String value) {
    uploadId = value;
    return this;
  }

  /**
   * Limits chunks to fewer events than the server allows.
   *
   * @param value maximum number of events in a chunk, at least 1; the server's limit applies too
   * @return this
   */
  public UploaderBuilder chunkEvents(int value) {
    if (value < 1) {
      throw new IllegalArgumentException("a chunk holds at least one event");
    }
    chunkEvents = value;
    return this;
  }

  /**
   * Lets the upload go on even if the server rejects all its events. By default it then ends with
   * the reason {@code UPLOAD_ALL_REJECTED}.
   *
   * @return this
   */
  public UploaderBuilder keepGoing() {
    keepGoing = true;
    return this;
  }

  /**
   * Sets how long to keep reconnecting without progress; five minutes by default.
   *
   * @param value from the first failure to the last attempt
   * @return this
   */
  public UploaderBuilder maxOutage(Duration value) {
    maxOutage = value;
    return this;
  }

  /**
   * Registers a callback for every ack and every reconnect. It runs in the uploading thread and
   * must not block for long; if it throws, the run ends with the exception.
   *
   * @param value receives each new state
   * @return this
   */
  public UploaderBuilder onProgress(Consumer<UploadProgress> value) {
    onProgress = value;
    return this;
  }

  /**
   * Registers a callback for each event rejected in this run, called once per event. It runs in the
   * uploading thread and must not block for long; if it throws, the run ends with the exception.
   *
   * @param value receives each rejected event
   * @return this
   */
  public UploaderBuilder onRejection(Consumer<RejectedEvent> value) {
    onRejection = value;
    return this;
  }

  /**
   * Builds the Uploader, which connects when it uploads.
   *
   * @return an uploader for one run
   */
  public Uploader build() {
    return new Uploader(this);
  }
}
