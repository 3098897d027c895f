package engagement_test

// What ends with a client, and what a connection that went silent does.

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	engagement "github.com/engagement-attributes/engagement-attributes/clients/go"
	"github.com/engagement-attributes/engagement-attributes/clients/go/internal/testserver"
	v1 "github.com/engagement-attributes/engagement-attributes/clients/go/v1"
)

func TestClosedClientEndsItsUploadsAndFollowersAndLeavesNoGoroutine(t *testing.T) {
	ctx := limited(t, testTimeout)
	server := testserver.Start(t)
	client, err := engagement.NewClient(server.Address, account, engagement.ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	events := make(chan *v1.Event)
	ended := make(chan error)
	go func() {
		_, err := client.NewUploader(engagement.UploadOptions{}).UploadChannel(ctx, events)
		ended <- err
	}()
	follower := client.NewFollower(engagement.Latest(), engagement.FollowOptions{})
	go func() {
		for _, err := range follower.Events(ctx) {
			ended <- err
		}
	}()
	events <- numberedEvent(0)
	waitUntil(ctx, t, follower.CaughtUp)
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := <-ended; !errors.Is(err, engagement.ErrClosed) {
			t.Errorf("it ended with %v", err)
		}
	}
	requireNoGoroutine(ctx, t)
}

func TestWhatIsCancelledLeavesNoGoroutine(t *testing.T) {
	ctx := limited(t, testTimeout)
	server := testserver.Start(t)
	client, err := engagement.NewClient(server.Address, account, engagement.ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	cancelled, cancel := context.WithCancel(ctx)
	uploader := client.NewUploader(engagement.UploadOptions{
		OnProgress: func(engagement.UploadProgress) { cancel() },
	})
	if _, err := uploader.Upload(cancelled, numbered(manyEvents)); !errors.Is(err, context.Canceled) {
		t.Errorf("the upload ended with %v", err)
	}
	for _, err := range client.NewFollower(engagement.Earliest(), engagement.FollowOptions{}).Events(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		break
	}
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	requireNoGoroutine(ctx, t)
}

// requireNoGoroutine waits until nothing of the client and of gRPC runs.
func requireNoGoroutine(ctx context.Context, t *testing.T) {
	t.Helper()
	stacks := make([]byte, 1<<20)
	waitUntil(ctx, t, func() bool {
		running := string(stacks[:runtime.Stack(stacks, true)])
		return !strings.Contains(running, "clients/go.") && !strings.Contains(running, "google.golang.org/grpc")
	})
}

func TestConnectionThatIsSilentIsGivenUp(t *testing.T) {
	if testing.Short() {
		t.Skip("a ping takes its time")
	}
	t.Parallel()
	ctx := limited(t, 2*testTimeout)
	relay := startRelay(t, testserver.Start(t).Address)
	client := connectWith(t, relay.address, account, engagement.ClientOptions{Timeout: 100 * time.Second})
	if _, err := client.RecordEvent(ctx, numberedEvent(0)); err != nil {
		t.Fatal(err)
	}
	relay.swallow()
	began := time.Now()
	// The ping is not answered; the call is made again over another connection.
	if _, err := client.RecordEvent(ctx, numberedEvent(1)); err != nil {
		t.Fatal(err)
	}
	if waited := time.Since(began); waited < 35*time.Second || waited > 50*time.Second {
		t.Errorf("it took %v", waited)
	}
}
