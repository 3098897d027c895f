package engagement_test

import (
	"context"
	"errors"
	"iter"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	engagement "github.com/engagement-attributes/engagement-attributes/clients/go"
	"github.com/engagement-attributes/engagement-attributes/clients/go/internal/testserver"
	v1 "github.com/engagement-attributes/engagement-attributes/clients/go/v1"
)

const (
	manyEvents    = 100_000
	uploadTimeout = 3 * time.Minute
)

func TestUploadStoresEveryEventOnceAndTellsEachRejectionOnce(t *testing.T) {
	t.Parallel()
	ctx := limited(t, uploadTimeout)
	client := connect(t, testserver.Start(t))
	long := strings.Repeat("x", 50_001)
	const every = 9_999
	source := func(yield func(*v1.Event, error) bool) {
		for n := range manyEvents {
			event := numberedEvent(n)
			if n%every == 0 {
				event = &v1.Event{ConsumerId: long, Attributes: event.GetAttributes()}
			}
			if !yield(event, nil) {
				return
			}
		}
	}
	rejected := map[int64]int{}
	uploader := client.NewUploader(engagement.UploadOptions{
		OnRejection: func(r engagement.RejectedEvent) {
			rejected[r.Position]++
			if r.Event.GetEventId() != "" || r.Event.GetConsumerId() != long {
				t.Errorf("at %d another event was rejected", r.Position)
			}
			if violation := r.Error.GetViolations()[0]; violation.GetRule() != "string.max_len" {
				t.Errorf("at %d, %v", r.Position, violation)
			}
		},
	})
	summary, err := uploader.Upload(ctx, source)
	if err != nil {
		t.Fatal(err)
	}
	const expected = (manyEvents + every - 1) / every
	if summary.UploadID != uploader.UploadID() || summary.Events != manyEvents ||
		summary.Tally.GetRejected() != expected || summary.Tally.GetAccepted() != manyEvents-expected {
		t.Errorf("the summary is %+v", summary)
	}
	if len(rejected) != expected {
		t.Errorf("%d rejections were told", len(rejected))
	}
	for position, times := range rejected {
		if position%every != 0 || times != 1 {
			t.Errorf("that at %d was told %d times", position, times)
		}
	}
}

func TestWhatAFailingSourceGaveIsCommitted(t *testing.T) {
	t.Parallel()
	ctx := limited(t, testTimeout)
	client := connect(t, testserver.Start(t))
	uploader := client.NewUploader(engagement.UploadOptions{ChunkEvents: 7})
	if _, err := uploader.Upload(ctx, failingAfter(1000)); !errors.Is(err, errSource) {
		t.Fatalf("it ended with %v", err)
	}
	requireUpload(ctx, t, client, uploader.UploadID(), v1.Upload_STATE_OPEN, 1000)
	requireNumbered(ctx, t, client, 1000)
}

func TestWhatAPausingSourceGaveIsSent(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(limited(t, testTimeout))
	client := connect(t, testserver.Start(t))
	events := make(chan *v1.Event)
	acknowledged := make(chan int64, 100)
	uploader := client.NewUploader(engagement.UploadOptions{
		OnProgress: func(progress engagement.UploadProgress) { acknowledged <- progress.Acknowledged },
	})
	ended := make(chan error)
	go func() {
		_, err := uploader.UploadChannel(ctx, events)
		ended <- err
	}()
	for n := range 3 {
		events <- numberedEvent(n)
	}
	for <-acknowledged < 3 {
	}
	// The source pauses on; only the cancellation ends it.
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
}

func TestSourceThatEndsWithItsContextDoesNotFinishTheUpload(t *testing.T) {
	t.Parallel()
	ctx := limited(t, testTimeout)
	client := connect(t, testserver.Start(t))
	cancelled, cancel := context.WithCancel(ctx)
	source := func(yield func(*v1.Event, error) bool) {
		if yield(numberedEvent(0), nil) {
			cancel()
		}
	}
	uploader := client.NewUploader(engagement.UploadOptions{})
	if _, err := uploader.Upload(cancelled, source); !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
	response, err := client.Ingest.GetUpload(ctx, &v1.GetUploadRequest{
		AccountId: account, UploadId: uploader.UploadID(),
	})
	// An upload that was left before its first chunk was committed is gone.
	failed := (*engagement.Error)(nil)
	isGone := errors.As(err, &failed) && failed.Reason == "UPLOAD_NOT_FOUND"
	if !isGone && (err != nil || response.GetUpload().GetState() != v1.Upload_STATE_OPEN) {
		t.Errorf("the upload is %v, %v", response, err)
	}
}

func TestNothingIsReadBeforeTheUploadIsOpen(t *testing.T) {
	t.Parallel()
	ctx := limited(t, testTimeout)
	client := connectWith(t, silentAddress(t), account, engagement.ClientOptions{Timeout: 100 * time.Millisecond})
	var isRead atomic.Bool
	source := func(func(*v1.Event, error) bool) { isRead.Store(true) }
	uploader := client.NewUploader(engagement.UploadOptions{MaxOutage: time.Second})
	_, err := uploader.Upload(ctx, source)
	requireKind(t, err, engagement.Unavailable)
	if isRead.Load() {
		t.Error("the source was read")
	}
}

func TestUploadHasTheDeadlineOfItsContext(t *testing.T) {
	t.Parallel()
	client := connectWith(t, silentAddress(t), account, engagement.ClientOptions{})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := client.NewUploader(engagement.UploadOptions{}).Upload(ctx, numbered(1))
	requireKind(t, err, engagement.Deadline)
}

func TestEventsOfASourceMayBeUsedAgain(t *testing.T) {
	t.Parallel()
	ctx := limited(t, testTimeout)
	client := connect(t, testserver.Start(t))
	event := numberedEvent(0)
	source := func(yield func(*v1.Event, error) bool) {
		for n := range 2000 {
			event.EventId = strconv.Itoa(n)
			if !yield(event, nil) {
				return
			}
		}
	}
	if _, err := client.NewUploader(engagement.UploadOptions{}).Upload(ctx, source); err != nil {
		t.Fatal(err)
	}
	requireNumbered(ctx, t, client, 2000)
}

// failingAfter iterates over numbered events and then fails.
func failingAfter(count int) iter.Seq2[*v1.Event, error] {
	return func(yield func(*v1.Event, error) bool) {
		for event := range numbered(count) {
			if !yield(event, nil) {
				return
			}
		}
		yield(nil, errSource)
	}
}

// requireUpload fails the test unless the upload is in the state and has so many events.
func requireUpload(
	ctx context.Context, t *testing.T, client *engagement.Client, id string, state v1.Upload_State, accepted int64,
) {
	t.Helper()
	response, err := client.Ingest.GetUpload(ctx, &v1.GetUploadRequest{AccountId: account, UploadId: id})
	if err != nil {
		t.Fatal(err)
	}
	upload := response.GetUpload()
	if upload.GetState() != state || upload.GetTally().GetAccepted() != accepted {
		t.Errorf("the upload is %v", upload)
	}
}
