package engagement_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	engagement "github.com/engagement-attributes/engagement-attributes/clients/go"
	"github.com/engagement-attributes/engagement-attributes/clients/go/internal/testserver"
	v1 "github.com/engagement-attributes/engagement-attributes/clients/go/v1"
)

func TestFollowThroughACrashOfTheServerMissesAndRepeatsNothing(t *testing.T) {
	t.Parallel()
	ctx := limited(t, testTimeout)
	server := testserver.Start(t)
	client := connect(t, server)
	record := func(from, to int) {
		for n := from; n < to; n++ {
			// What is unclear is safe to repeat.
			waitUntil(ctx, t, func() bool {
				_, err := client.RecordEvent(ctx, numberedEvent(n))
				return err == nil
			})
		}
	}
	var lost []error
	follower := client.NewFollower(engagement.Earliest(), engagement.FollowOptions{
		OnReconnect: func(err error) { lost = append(lost, err) },
	})
	const each = 50
	record(0, each)
	var recording sync.WaitGroup
	defer recording.Wait()
	next := 0
	for stored, err := range follower.Events(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if id := stored.GetEvent().GetEventId(); id != numberedEvent(next).GetEventId() {
			t.Fatalf("%s came where %d is expected", id, next)
		}
		if next++; next == 2*each {
			break
		}
		if next == each {
			server.Kill()
			server.Restart()
			recording.Go(func() { record(each, 2*each) })
		}
	}
	if len(lost) == 0 {
		t.Error("no lost connection was told")
	}
}

func TestFollowOverAConnectionThatBreaksMissesAndRepeatsNothing(t *testing.T) {
	t.Parallel()
	ctx := limited(t, testTimeout)
	relay := startRelay(t, testserver.Start(t).Address)
	client := connectWith(t, relay.address, account, engagement.ClientOptions{})
	const count, batchesToCut = 5000, 10
	if _, err := client.NewUploader(engagement.UploadOptions{}).Upload(ctx, numbered(count)); err != nil {
		t.Fatal(err)
	}
	follower := client.NewFollower(engagement.Earliest(), engagement.FollowOptions{
		StopAtTail: true, MaxBatchEvents: 100,
	})
	next, batches := 0, 0
	for batch, err := range follower.Batches(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		for _, stored := range batch.Events {
			if id := stored.GetEvent().GetEventId(); id != numberedEvent(next).GetEventId() {
				t.Fatalf("%s came where %d is expected", id, next)
			}
			next++
		}
		if batches++; batches%batchesToCut == 0 {
			relay.cut()
		}
	}
	if next != count {
		t.Errorf("%d events came", next)
	}
}

func TestFollowerGoesOnBehindItsCursor(t *testing.T) {
	t.Parallel()
	ctx := limited(t, testTimeout)
	client := connect(t, testserver.Start(t))
	recordNumbered(ctx, t, client, 0, 10)
	follower := client.NewFollower(engagement.Earliest(), engagement.FollowOptions{StopAtTail: true})
	if ids := take(ctx, t, follower, 3); !slices.Equal(ids, []string{"0", "1", "2"}) {
		t.Errorf("first came %v", ids)
	}
	if lag := follower.LagEvents(); lag != 7 {
		t.Errorf("%d events are behind the cursor", lag)
	}
	other := client.NewFollower(engagement.AfterCursor(follower.Cursor()), engagement.FollowOptions{StopAtTail: true})
	if ids := take(ctx, t, other, 1); !slices.Equal(ids, []string{"3"}) {
		t.Errorf("behind its cursor came %v", ids)
	}
	var rest int
	for batch, err := range follower.Batches(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		rest += len(batch.Events)
		if follower.Cursor() != batch.Cursor || batch.Events[0].GetEvent().GetEventId() != "3" {
			t.Errorf("then came %v", batch)
		}
	}
	if rest != 7 || follower.LagEvents() != 0 {
		t.Errorf("%d came, %d are behind", rest, follower.LagEvents())
	}
	// What came since is behind the tail of before.
	recordNumbered(ctx, t, client, 10, 11)
	if ids := take(ctx, t, follower, toTheEnd); !slices.Equal(ids, []string{"10"}) {
		t.Errorf("at last came %v", ids)
	}
}

func TestFollowerTellsWhetherItIsCaughtUp(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(limited(t, testTimeout))
	client := connect(t, testserver.Start(t))
	recordNumbered(ctx, t, client, 0, 3)
	follower := client.NewFollower(engagement.Earliest(), engagement.FollowOptions{})
	ended := make(chan error)
	go func() {
		for _, err := range follower.Events(ctx) {
			if err != nil {
				ended <- err
				continue
			}
			if follower.CaughtUp() && follower.LagEvents() > 0 {
				t.Error("it is caught up and behind")
			}
		}
	}()
	waitUntil(ctx, t, follower.CaughtUp)
	if follower.LagEvents() != 0 || follower.Cursor() == "" {
		t.Errorf("%d behind %q", follower.LagEvents(), follower.Cursor())
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
	if follower.CaughtUp() {
		t.Error("it is caught up without a connection")
	}
}

func TestErasureNoticeThatWasNotTakenComesAgain(t *testing.T) {
	t.Parallel()
	ctx := limited(t, testTimeout)
	client := connect(t, testserver.Start(t))
	start := client.NewFollower(engagement.Earliest(), engagement.FollowOptions{StopAtTail: true})
	recordNumbered(ctx, t, client, 0, 1)
	take(ctx, t, start, toTheEnd)
	erased, err := client.Privacy.EraseConsumer(ctx, &v1.EraseConsumerRequest{
		AccountId: account,
		RequestId: engagement.NewEventID(),
		Subjects:  []*v1.Subject{{Id: &v1.Subject_CustomerId{CustomerId: "0"}}},
	})
	if err != nil {
		t.Fatal(err)
	}

	errFull := errors.New("the disk is full")
	var told []string
	follower := client.NewFollower(engagement.AfterCursor(start.Cursor()), engagement.FollowOptions{
		StopAtTail: true,
		OnErasure: func(_ context.Context, notice *v1.SubscribeEventsResponse_ErasureNotice) error {
			told = append(told, notice.GetErasureId())
			if len(told) == 1 {
				return errFull
			}
			return nil
		},
	})
	for _, err := range follower.Events(ctx) {
		if !errors.Is(err, errFull) {
			t.Errorf("it ended with %v", err)
		}
	}
	if follower.Cursor() != start.Cursor() {
		t.Error("the cursor is behind a notice that was not taken")
	}
	for _, err := range follower.Events(ctx) {
		t.Errorf("then came %v", err)
	}
	id := erased.GetErasure().GetErasureId()
	if !slices.Equal(told, []string{id, id}) {
		t.Errorf("%v was told, not %s twice", told, id)
	}
}

func TestFollowRefusesAWrongCursor(t *testing.T) {
	t.Parallel()
	ctx := limited(t, testTimeout)
	client := connect(t, testserver.Start(t))
	follower := client.NewFollower(engagement.AfterCursor("no cursor"), engagement.FollowOptions{})
	for _, err := range follower.Events(ctx) {
		requireKind(t, err, engagement.InvalidArgument)
	}
}

func TestFollowStartsAtATimeAndTakesAFilter(t *testing.T) {
	t.Parallel()
	ctx := limited(t, testTimeout)
	client := connect(t, testserver.Start(t))
	recordNumbered(ctx, t, client, 0, 3)
	follower := client.NewFollower(engagement.StartTime(time.Now().Add(-time.Minute)), engagement.FollowOptions{
		Filter:            &v1.EventFilter{CustomerIds: []string{"1"}},
		StopAtTail:        true,
		MaxBatchEvents:    1,
		HeartbeatInterval: 5 * time.Second,
	})
	if ids := take(ctx, t, follower, toTheEnd); !slices.Equal(ids, []string{"1"}) {
		t.Errorf("%v came", ids)
	}
}

func recordNumbered(ctx context.Context, t *testing.T, client *engagement.Client, from, to int) {
	t.Helper()
	for n := from; n < to; n++ {
		if _, err := client.RecordEvent(ctx, numberedEvent(n)); err != nil {
			t.Fatal(err)
		}
	}
}

const toTheEnd = 0

// take returns the ids of the next events, so many or all.
func take(ctx context.Context, t *testing.T, follower *engagement.Follower, count int) (ids []string) {
	t.Helper()
	for stored, err := range follower.Events(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if ids = append(ids, stored.GetEvent().GetEventId()); len(ids) == count {
			break
		}
	}
	return ids
}
