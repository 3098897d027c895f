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
 * Talks to one server for one account, over one channel. Thread-safe.
 *
 * <p>All methods are safe to repeat: events without an id get a UUIDv7 before they are recorded.
 * Unary calls that end UNAVAILABLE are attempted up to five times, within the deadline that the
 * builder sets, unless the current {@link Context} or the stub has its own.
 *
 * <p>Failed calls throw an {@link EngagementException}. A call throws a {@link
 * CancellationException} if its Context is cancelled, the client is closed, or its thread is
 * interrupted (its interrupt status stays set).
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
   * Starts building a client.
   *
   * @param target {@code host:port}, or any target that gRPC understands
   * @return a builder that needs an account id
   */
  public static EngagementClientBuilder builder(String target) {
    return new EngagementClientBuilder(target);
  }

  /**
   * The account that the client's methods use. Set it in requests to the stubs.
   *
   * @return the id that the builder was given
   */
  public String accountId() {
    return accountId;
  }

  /**
   * The channel, for stubs that {@link #call} cannot use, such as asynchronous ones. Their calls
   * have the token, the deadline and the retries too; {@link EngagementException#of} converts their
   * failures to typed errors.
   *
   * @return the channel, which is closed with the client
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
   * @param <T> the type of the response
   * @param service creates the stub
   * @param call makes a unary call on it; its request must name the account
   * @return the response
   * @throws EngagementException if the call fails
   */
  public <S, T> T call(Function<Channel, S> service, Function<S, T> call) {
    return connection.call(() -> call.apply(service.apply(connection.channel())));
  }

  /**
   * Records one event.
   *
   * @param event is sent with a UUIDv7 if it has no id
   * @return a result with the outcome accepted, duplicate or suppressed
   * @throws EngagementException {@code INVALID_ARGUMENT} or {@code CONFLICT} if the event is
   *     rejected, {@code INVALID_ARGUMENT} before it is sent if its text is not Unicode, and as for
   *     every call
   */
  public EventResult recordEvent(Event event) {
    RecordEventRequest request =
        RecordEventRequest.newBuilder()
            .setAccountId(accountId)
            .setEvent(EventIds.filledIn(event))
            .build();
    UnicodeText.require(request);
    return call(IngestServiceGrpc::newBlockingStub, stub -> stub.recordEvent(request)).getResult();
  }

  /**
   * Records up to 500 events in one transaction, all or none.
   *
   * @param events are sent with a UUIDv7 if they have no id
   * @return the result of each, in the same order
   * @throws EngagementException {@code INVALID_ARGUMENT} or {@code CONFLICT} if the call is refused
   *     because of an event, {@code INVALID_ARGUMENT} before it is sent if an event's text is not
   *     Unicode, and as for every call
   */
  public RecordEventsResponse recordEvents(Iterable<Event> events) {
    return recordEvents(events, false);
  }

  /**
   * Records those of up to 500 events that are valid, in one transaction.
   *
   * @param events are sent with a UUIDv7 if they have no id
   * @return the result of each, in the same order, with the errors of those rejected
   * @throws EngagementException as for every call, but because of an event only if its text is not
   *     Unicode: then {@code INVALID_ARGUMENT}, before anything is sent
   */
  public RecordEventsResponse recordEventsAllowingPartial(Iterable<Event> events) {
    return recordEvents(events, true);
  }

  private RecordEventsResponse recordEvents(Iterable<Event> events, boolean allowPartial) {
    RecordEventsRequest.Builder request =
        RecordEventsRequest.newBuilder().setAccountId(accountId).setAllowPartial(allowPartial);
    events.forEach(event -> request.addEvents(EventIds.filledIn(event)));
    RecordEventsRequest built = UnicodeText.require(request.build());
    return call(IngestServiceGrpc::newBlockingStub, stub -> stub.recordEvents(built));
  }

  /**
   * Lists the events that match a filter, oldest first, reading page by page during the iteration:
   * without gaps or repeats, whatever arrives meanwhile.
   *
   * @param filter all of its conditions must hold; the empty one matches all events
   * @return each iterator starts from the beginning, and throws as every call does
   */
  public Iterable<StoredEvent> listEvents(EventFilter filter) {
    return listEvents(
        ListEventsRequest.newBuilder().setFilter(filter).setPageSize(EVENTS_PAGE_SIZE).build());
  }

  /**
   * Lists the events of a request that sets the order, the page size or the fields.
   *
   * @param request its account is filled in; a page token is where the iteration begins
   * @return each iterator starts from the beginning, and throws as every call does
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
   * Starts building an uploader.
   *
   * @return a builder with defaults for everything
   */
  public UploaderBuilder uploader() {
    return new UploaderBuilder(this);
  }

  /**
   * Lists the events of an upload that the server rejected, in order.
   *
   * @param uploadId the id of the upload
   * @return each iterator starts from the beginning; it throws {@code NOT_FOUND} if the upload was
   *     never opened, and as every call does
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
   * Follows events after a cursor.
   *
   * @param cursor that of {@link Follower#cursor} or of an event
   * @return a builder with defaults for everything
   */
  public FollowerBuilder followAfter(String cursor) {
    return follow(SubscribeEventsRequest.newBuilder().setAfterCursor(cursor));
  }

  /**
   * Follows events from the earliest that is retained.
   *
   * @return a builder with defaults for everything
   */
  public FollowerBuilder followEarliest() {
    return follow(SubscribeEventsRequest.newBuilder().setEarliest(true));
  }

  /**
   * Follows events from the next that is accepted.
   *
   * @return a builder with defaults for everything
   */
  public FollowerBuilder followLatest() {
    return follow(SubscribeEventsRequest.newBuilder().setLatest(true));
  }

  /**
   * Follows events from the first accepted at this time or later.
   *
   * @param time 1970 to 9999
   * @return a builder with defaults for everything
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
