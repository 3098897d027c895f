package engagement_test

// Uploads that lose their connection, their server or their client.

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"

	engagement "github.com/engagement-attributes/engagement-attributes/clients/go"
	"github.com/engagement-attributes/engagement-attributes/clients/go/internal/testserver"
	v1 "github.com/engagement-attributes/engagement-attributes/clients/go/v1"
)

func TestUploadSurvivesACrashOfTheServer(t *testing.T) {
	t.Parallel()
	ctx := limited(t, uploadTimeout)
	server := testserver.Start(t)
	client := connect(t, server)
	var crash sync.Once
	var restarting sync.WaitGroup
	summary, err := client.NewUploader(engagement.UploadOptions{
		OnProgress: func(progress engagement.UploadProgress) {
			if progress.Acknowledged > manyEvents/3 {
				crash.Do(func() {
					server.Kill()
					restarting.Go(server.Restart)
				})
			}
		},
	}).Upload(ctx, numbered(manyEvents))
	restarting.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if summary.Events != manyEvents || summary.Tally.GetAccepted() != manyEvents || summary.Reconnects == 0 {
		t.Errorf("the summary is %+v", summary)
	}
	requireNumbered(ctx, t, client, manyEvents)
}

func TestUploadOverAConnectionThatBreaksTellsEachRejectionOnce(t *testing.T) {
	t.Parallel()
	ctx := limited(t, uploadTimeout)
	relay := startRelay(t, testserver.Start(t).Address)
	client := connectWith(t, relay.address, account, engagement.ClientOptions{})
	const count, every, acksToCut = 20_000, 77, 10
	source := func(yield func(*v1.Event, error) bool) {
		for n := range count {
			event := numberedEvent(n)
			if n%every == 0 {
				event.Attributes = nil
			}
			if !yield(event, nil) {
				return
			}
		}
	}
	acks := 0
	rejected := map[int64]string{}
	summary, err := client.NewUploader(engagement.UploadOptions{
		ChunkEvents: 100,
		OnProgress: func(engagement.UploadProgress) {
			if acks++; acks%acksToCut == 0 {
				relay.cut()
			}
		},
		OnRejection: func(r engagement.RejectedEvent) {
			if _, again := rejected[r.Position]; again {
				t.Errorf("that at %d was told twice", r.Position)
			}
			rejected[r.Position] = r.Event.GetEventId()
		},
	}).Upload(ctx, source)
	if err != nil {
		t.Fatal(err)
	}
	if summary.Events != count || summary.Reconnects == 0 || summary.Tally.GetDuplicate() > 0 {
		t.Errorf("the summary is %+v", summary)
	}
	for n := 0; n < count; n += every {
		if rejected[int64(n)] != strconv.Itoa(n) {
			t.Errorf("at %d, %q was told", n, rejected[int64(n)])
		}
	}
}

func TestAbandonedUploadIsFinishedByAnotherUploader(t *testing.T) {
	t.Parallel()
	ctx := limited(t, uploadTimeout)
	client := connect(t, testserver.Start(t))
	abandoned, abandon := context.WithCancel(ctx)
	first := client.NewUploader(engagement.UploadOptions{
		OnProgress: func(progress engagement.UploadProgress) {
			if progress.Acknowledged > manyEvents/2 {
				abandon()
			}
		},
	})
	if _, err := first.Upload(abandoned, numbered(manyEvents)); !errors.Is(err, context.Canceled) {
		t.Fatalf("the first ended with %v", err)
	}

	again := engagement.UploadOptions{UploadID: first.UploadID()}
	summary, err := client.NewUploader(again).Upload(ctx, numbered(manyEvents))
	if err != nil {
		t.Fatal(err)
	}
	if summary.SkippedEvents <= manyEvents/2 || summary.Tally.GetAccepted() != manyEvents {
		t.Errorf("the summary is %+v", summary)
	}
	requireNumbered(ctx, t, client, manyEvents)
}

func TestUploadThatAnotherClientContinuedMeanwhileIsNotReportedAsDone(t *testing.T) {
	t.Parallel()
	for name, others := range map[string]int{"with more events": 2, "and finished": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := limited(t, testTimeout)
			server := testserver.Start(t)
			relay := startRelay(t, server.Address)
			events := make(chan *v1.Event)
			acknowledged := make(chan int64, 100)
			uploader := connectWith(t, relay.address, account, engagement.ClientOptions{}).NewUploader(
				engagement.UploadOptions{OnProgress: func(progress engagement.UploadProgress) {
					acknowledged <- progress.Acknowledged
				}})
			ended := make(chan error)
			go func() {
				_, err := uploader.UploadChannel(ctx, events)
				ended <- err
			}()
			events <- numberedEvent(0)
			for <-acknowledged < 1 {
			}

			relay.swallow()
			again := engagement.UploadOptions{UploadID: uploader.UploadID()}
			if _, err := connect(t, server).NewUploader(again).Upload(ctx, numbered(others)); err != nil {
				t.Fatal(err)
			}
			relay.cut()
			requireKind(t, <-ended, engagement.SourceMismatch)
		})
	}
}

func TestNewerUploadTakesOver(t *testing.T) {
	t.Parallel()
	ctx := limited(t, testTimeout)
	client := connect(t, testserver.Start(t))
	events := make(chan *v1.Event)
	options := engagement.UploadOptions{UploadID: "u"}
	ended := make(chan error)
	go func() {
		_, err := client.NewUploader(options).UploadChannel(ctx, events)
		ended <- err
	}()
	events <- numberedEvent(0)
	summary, err := client.NewUploader(options).Upload(ctx, numbered(2))
	if err != nil || summary.Events != 2 {
		t.Errorf("the newer one: %+v, %v", summary, err)
	}
	requireKind(t, <-ended, engagement.TakenOver)
}
