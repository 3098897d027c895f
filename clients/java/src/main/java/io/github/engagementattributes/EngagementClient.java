package io.github.engagementattributes;

import com.google.protobuf.Timestamp;
import io.github.engagementattributes.v1.Event;
import io.github.engagementattributes.v1.EventFilter;
import io.github.engagementattributes.v1.EventResult;
import io.github.engagementattributes.v1.EventServiceGrpc;
import io.github.engagementattributes.v1.GetUploadRequest;
import io.github.engagementattributes.v1.IngestServiceGrpc;
import io.github.engagementattributes.v1.ListEventsRequest;
import io.github.engagementattributes.v1.RecordEventRequest;
import io.github.engagementattributes.v1.RecordEventsRequest;
import io.github.engagementattributes.v1.RecordEventsResponse;
import io.github.engagementattributes.v1.StoredEvent;
import io.github.engagementattributes.v1.SubscribeEventsRequest;
import io.github.engagementattributes.v1.Upload;
import io.github.engagementattributes.v1.UploadResult;
import io.grpc.Channel;
import io.grpc.Context;
import java.time.Instant;
import java.util.concurrent.CancellationException;
import java.util.function.Function;

/**
 * Talks to one server for one account, over one channel. Any number of threads may share it.
 *
 * <p>Every call of its own methods is safe to repeat: events without an id get a UUIDv7 before they
 * are sent. Unary calls that end UNAVAILABLE are made up to five times, within a deadline that the
 * builder sets; a call that runs in a {@link Context} with a deadline has that one instead, and so
 * has a stub with its own.
 *
 * <p>Failed calls throw an {@link EngagementException}. A call ends with a {@link
 * CancellationException} where its thread is interrupted (which it stays), its Context cancelled,
 * or the client closed.
 */
public final class EngagementClient implements AutoCloseable {
  private static final int REJECTIONS_PAGE_SIZE = 1000;
  private static final int EVENTS_PAGE_SIZE = 1000;

  private final String accountId;
  private final Connection connection;

  EngagementClient(String accountId, Connection connection) {
    this.accountId = accountId;
    this.connection = connection;
  }

  /**
   * Starts to describe a client.
   *
   * @param target {@code host:port}, or any target that gRPC understands
   * @return needs an account id
   */
  public static EngagementClientBuilder builder(String target) {
    return new EngagementClientBuilder(target);
  }

  /**
   * The brand's account, which requests to the stubs need.
   *
   * @return what the builder was given
   */
  public String accountId() {
    return accountId;
  }

  /**
   * The channel, for stubs that {@link #call} cannot use, such as asynchronous ones. Their calls
   * have the token, the deadline and the retries too; {@link EngagementException#of} makes typed
   * errors of their failures.
   *
   * @return closed with the client
   */
  public Channel channel() {
    return connection.channel();
  }

  Connection connection() {
    return connection;
  }

  /**
   * Makes any call of the contract on a generated stub, with the client's token, deadline, retries
   * and errors:
   *
   * <pre>{@code
   * client.call(EventServiceGrpc::newBlockingStub, events -> events.getProfile(request))
   * }</pre>
   *
   * @param <S> the blocking stub of a service
   * @param <T> what the call answers
   * @param service makes the stub
   * @param call makes a unary call on it; requests say which account they are for
   * @return the answer
   * @throws EngagementException where the call fails
   */
  public <S, T> T call(Function<Channel, S> service, Function<S, T> call) {
    return connection.call(() -> call.apply(service.apply(connection.channel())));
  }

  /**
   * Records one event.
   *
   * @param event gets an id where it has none; the caller's stays as it is
   * @return {@code ACCEPTED}, {@code DUPLICATE} or {@code SUPPRESSED}
   * @throws EngagementException {@code INVALID_ARGUMENT} or {@code CONFLICT} where the event is
   *     refused, and as of every call
   */
  public EventResult recordEvent(Event event) {
    RecordEventRequest request =
        RecordEventRequest.newBuilder()
            .setAccountId(accountId)
            .setEvent(EventIds.filledIn(event))
            .build();
    return call(IngestServiceGrpc::newBlockingStub, stub -> stub.recordEvent(request)).getResult();
  }

  /**
   * Records up to 500 events in one transaction, all or none.
   *
   * @param events get ids where they have none; the caller's stay as they are
   * @return what became of each, in the same order
   * @throws EngagementException {@code INVALID_ARGUMENT} or {@code CONFLICT} where one bad event
   *     refuses the call, and as of every call
   */
  public RecordEventsResponse recordEvents(Iterable<Event> events) {
    return recordEvents(events, false);
  }

  /**
   * Records the good ones of up to 500 events in one transaction.
   *
   * @param events get ids where they have none; the caller's stay as they are
   * @return what became of each, in the same order, with the errors of those that are rejected
   * @throws EngagementException as of every call, but not because of a bad event
   */
  public RecordEventsResponse recordEventsAllowingPartial(Iterable<Event> events) {
    return recordEvents(events, true);
  }

  private RecordEventsResponse recordEvents(Iterable<Event> events, boolean allowPartial) {
    RecordEventsRequest.Builder request =
        RecordEventsRequest.newBuilder().setAccountId(accountId).setAllowPartial(allowPartial);
    events.forEach(event -> request.addEvents(EventIds.filledIn(event)));
    RecordEventsRequest built = request.build();
    return call(IngestServiceGrpc::newBlockingStub, stub -> stub.recordEvents(built));
  }

  /**
   * The events that a filter takes, oldest first, read page by page while they are walked through:
   * no gaps and no repeats, whatever arrives meanwhile.
   *
   * @param filter all that it says must hold; the empty one takes everything
   * @return each iterator is a new walk, and throws as every call does
   */
  public Iterable<StoredEvent> listEvents(EventFilter filter) {
    return listEvents(
        ListEventsRequest.newBuilder().setFilter(filter).setPageSize(EVENTS_PAGE_SIZE).build());
  }

  /**
   * The events of a request with its own order, page size or fields.
   *
   * @param request the account is filled in; a page token is where the walk begins
   * @return each iterator is a new walk, and throws as every call does
   */
  public Iterable<StoredEvent> listEvents(ListEventsRequest request) {
    ListEventsRequest.Builder page = request.toBuilder().setAccountId(accountId);
    return () ->
        new Pages<>(
            request.getPageToken(),
            token -> {
              ListEventsRequest next = page.clone().setPageToken(token).build();
              var response = call(EventServiceGrpc::newBlockingStub, stub -> stub.listEvents(next));
              return new Pages.Page<>(response.getEventsList(), response.getNextPageToken());
            });
  }

  /**
   * Starts to describe an upload.
   *
   * @return may be built as it is
   */
  public UploaderBuilder uploader() {
    return new UploaderBuilder(this);
  }

  /**
   * The events of an upload that the server rejected, in order.
   *
   * @param uploadId name of the upload
   * @return each iterator is a new walk, and throws {@code NOT_FOUND} where nobody opened the
   *     upload, and as every call does
   */
  public Iterable<UploadResult> uploadRejections(String uploadId) {
    GetUploadRequest.Builder page =
        GetUploadRequest.newBuilder()
            .setAccountId(accountId)
            .setUploadId(uploadId)
            .setPageSize(REJECTIONS_PAGE_SIZE);
    return () ->
        new Pages<>(
            "",
            token -> {
              GetUploadRequest next = page.clone().setPageToken(token).build();
              var response = call(IngestServiceGrpc::newBlockingStub, stub -> stub.getUpload(next));
              return new Pages.Page<>(response.getRejectionsList(), response.getNextPageToken());
            });
  }

  /** The state of an upload. */
  Upload getUpload(String uploadId) {
    GetUploadRequest request =
        GetUploadRequest.newBuilder()
            .setAccountId(accountId)
            .setUploadId(uploadId)
            .setPageSize(1)
            .build();
    return call(IngestServiceGrpc::newBlockingStub, stub -> stub.getUpload(request)).getUpload();
  }

  /**
   * Follows events behind a cursor.
   *
   * @param cursor what {@link Follower#cursor} said, or that of an event
   * @return may be built as it is
   */
  public FollowerBuilder followAfter(String cursor) {
    return follow(SubscribeEventsRequest.newBuilder().setAfterCursor(cursor));
  }

  /**
   * Follows events from the earliest that is kept.
   *
   * @return may be built as it is
   */
  public FollowerBuilder followEarliest() {
    return follow(SubscribeEventsRequest.newBuilder().setEarliest(true));
  }

  /**
   * Follows events from the next that is accepted.
   *
   * @return may be built as it is
   */
  public FollowerBuilder followLatest() {
    return follow(SubscribeEventsRequest.newBuilder().setLatest(true));
  }

  /**
   * Follows events from the first that was accepted at a time or later.
   *
   * @param time 1970 to 9999
   * @return may be built as it is
   */
  public FollowerBuilder followSince(Instant time) {
    return follow(
        SubscribeEventsRequest.newBuilder()
            .setStartTime(
                Timestamp.newBuilder().setSeconds(time.getEpochSecond()).setNanos(time.getNano())));
  }

  private FollowerBuilder follow(SubscribeEventsRequest.Builder request) {
    return new FollowerBuilder(this, request);
  }

  /** Ends all calls, uploads and followers of this client. */
  @Override
  public void close() {
    connection.close();
  }
}
