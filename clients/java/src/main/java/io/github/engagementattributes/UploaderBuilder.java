package io.github.engagementattributes;

import java.time.Duration;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/** Describes an upload: everything has a default. */
public final class UploaderBuilder {
  final EngagementClient client;
  @Nullable String uploadId;
  int chunkEvents;
  Duration maxOutage = Outage.DEFAULT_MAX;
  @Nullable Consumer<UploadProgress> onProgress;
  @Nullable Consumer<RejectedEvent> onRejection;

  UploaderBuilder(EngagementClient client) {
    this.client = client;
  }

  /**
   * Names the upload; by default it gets a new UUIDv7.
   *
   * @param value 1 to 128 characters, unique in the account
   * @return this
   */
  public UploaderBuilder uploadId(String value) {
    uploadId = value;
    return this;
  }

  /**
   * Makes chunks smaller than the server allows.
   *
   * @param value events of a chunk, at least 1; more than the server allows count as that
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
   * How long to go on reconnecting without any progress; five minutes by default.
   *
   * @param value from the first failure to the last try
   * @return this
   */
  public UploaderBuilder maxOutage(Duration value) {
    maxOutage = value;
    return this;
  }

  /**
   * Told at every ack and every reconnect, in the thread that uploads. It must not block for long;
   * what it throws ends the run.
   *
   * @param value takes each new state
   * @return this
   */
  public UploaderBuilder onProgress(Consumer<UploadProgress> value) {
    onProgress = value;
    return this;
  }

  /**
   * Told of each event that is refused in this run, once, in the thread that uploads. It must not
   * block for long; what it throws ends the run.
   *
   * @param value takes each refused event
   * @return this
   */
  public UploaderBuilder onRejection(Consumer<RejectedEvent> value) {
    onRejection = value;
    return this;
  }

  /**
   * Makes the Uploader; it connects when it uploads.
   *
   * @return for one run
   */
  public Uploader build() {
    return new Uploader(this);
  }
}
