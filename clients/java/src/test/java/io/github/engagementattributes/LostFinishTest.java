package io.github.engagementattributes;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.github.engagementattributes.v1.GetUploadRequest;
import io.github.engagementattributes.v1.GetUploadResponse;
import io.github.engagementattributes.v1.IngestServiceGrpc.IngestServiceImplBase;
import io.github.engagementattributes.v1.SourceDigest;
import io.github.engagementattributes.v1.Tally;
import io.github.engagementattributes.v1.Upload;
import io.github.engagementattributes.v1.UploadEventsRequest;
import io.github.engagementattributes.v1.UploadEventsResponse;
import io.grpc.Status;
import io.grpc.stub.StreamObserver;
import java.util.List;
import org.junit.jupiter.api.Test;

final class LostFinishTest {
  @Test
  void an_upload_whose_end_was_never_sent_is_still_its_own_after_a_lost_finish() throws Exception {
    try (ForeignServer server = new ForeignServer(new Losing());
        EngagementClient client = server.connect()) {
      UploadSummary summary =
          client.uploader().build().upload(List.of(Events.valid("0"), Events.valid("\ud83d")));
      assertEquals(1, summary.reconnects());
      assertEquals(2, summary.events());
      assertEquals(1, summary.tally().getRejected());
    }
  }

  /** Finishes the upload, and loses the connection before it says so. */
  private static final class Losing extends IngestServiceImplBase {
    private volatile SourceDigest source = SourceDigest.getDefaultInstance();

    @Override
    public StreamObserver<UploadEventsRequest> uploadEvents(
        StreamObserver<UploadEventsResponse> responses) {
      return new StreamObserver<>() {
        @Override
        public void onNext(UploadEventsRequest request) {
          if (request.hasOpen()) {
            responses.onNext(opened());
          } else if (request.hasFinish()) {
            source = request.getFinish().getSource();
            responses.onError(Status.UNAVAILABLE.asRuntimeException());
          }
        }

        @Override
        public void onError(Throwable error) {}

        @Override
        public void onCompleted() {}
      };
    }

    @Override
    public void getUpload(GetUploadRequest request, StreamObserver<GetUploadResponse> response) {
      Upload upload =
          Upload.newBuilder()
              .setState(Upload.State.STATE_FINISHED)
              .setCommittedThrough(1)
              .setTally(Tally.newBuilder().setAccepted(1))
              .build();
      response.onNext(GetUploadResponse.newBuilder().setUpload(upload).build());
      response.onCompleted();
    }

    private UploadEventsResponse opened() {
      var opened =
          UploadEventsResponse.Opened.newBuilder()
              .setMaxChunkEvents(500)
              .setMaxChunkBytes(1024 * 1024)
              .setMaxUnackedChunks(2);
      if (source.getEvents() > 0) {
        opened.setCommittedThrough(1).setSource(source);
      }
      return UploadEventsResponse.newBuilder().setOpened(opened).build();
    }
  }
}
