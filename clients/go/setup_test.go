package engagement_test

// What tests share: clients, events and waits.

import (
	"context"
	"errors"
	"iter"
	"net"
	"strconv"
	"testing"
	"time"

	engagement "github.com/engagement-attributes/engagement-attributes/clients/go"
	"github.com/engagement-attributes/engagement-attributes/clients/go/internal/testserver"
	v1 "github.com/engagement-attributes/engagement-attributes/clients/go/v1"
)

func connectWith(t testing.TB, address, account string, options engagement.ClientOptions) *engagement.Client {
	t.Helper()
	client, err := engagement.NewClient(address, account, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Errorf("cannot close the client: %v", err)
		}
	})
	return client
}

// limited returns a context that ends after a time that no test should take. It has no deadline, so that those of
// the client hold.
func limited(t testing.TB, limit time.Duration) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	timer := time.AfterFunc(limit, func() {
		t.Errorf("it takes more than %v", limit)
		cancel()
	})
	t.Cleanup(func() {
		timer.Stop()
		cancel()
	})
	return ctx
}

const (
	account     = "acme"
	testTimeout = 60 * time.Second
)

// connect returns a client of a server, for an account of the test's own.
func connect(t testing.TB, server *testserver.Server) *engagement.Client {
	t.Helper()
	return connectWith(t, server.Address, account, engagement.ClientOptions{})
}

// customer returns an event about a customer.
func customer(id string, info *v1.CustomerInfo) *v1.Event {
	return &v1.Event{EventId: id, Attributes: &v1.Event_CustomerInfo{CustomerInfo: info}}
}

// requireViolation fails the test unless the error says that the field breaks the rule.
func requireViolation(t testing.TB, err error, field, rule string) {
	t.Helper()
	var failed *engagement.Error
	if !errors.As(err, &failed) || failed.Kind != engagement.InvalidArgument {
		t.Fatalf("%v, where an invalid argument is expected", err)
	}
	for _, violation := range failed.Violations {
		if violation.Field == field && violation.Rule == rule {
			return
		}
	}
	t.Errorf("%v does not say that %s breaks %s", err, field, rule)
}

// requireKind fails the test unless the error is of the kind.
func requireKind(t testing.TB, err error, kind engagement.Kind) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Fatalf("%v, where the kind %s is expected", err, kind)
	}
}

// waitUntil waits for a condition that nothing signals.
func waitUntil(ctx context.Context, t testing.TB, condition func() bool) {
	t.Helper()
	for !condition() {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			t.Fatal("what is waited for does not come")
		}
	}
}

// silentAddress is that of a listener that accepts connections and never answers.
func silentAddress(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = connection.Close() })
		}
	}()
	return listener.Addr().String()
}

// numbered iterates over small events with the ids 0 to count-1.
func numbered(count int) iter.Seq2[*v1.Event, error] {
	return func(yield func(*v1.Event, error) bool) {
		for n := range count {
			if !yield(numberedEvent(n), nil) {
				return
			}
		}
	}
}

// requireNumbered fails the test unless exactly the events of numbered are stored, each once, in their order.
func requireNumbered(ctx context.Context, t testing.TB, client *engagement.Client, count int) {
	t.Helper()
	next := 0
	follower := client.NewFollower(engagement.Earliest(), engagement.FollowOptions{StopAtTail: true})
	for batch, err := range follower.Batches(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		for _, stored := range batch.Events {
			if id := stored.GetEvent().GetEventId(); id != strconv.Itoa(next) {
				t.Fatalf("%s is stored where %d is expected", id, next)
			}
			next++
		}
	}
	if next != count {
		t.Errorf("%d events are stored, not %d", next, count)
	}
}

// numberedEvent is one of those of numbered.
func numberedEvent(n int) *v1.Event {
	number := strconv.Itoa(n)
	return customer(number, &v1.CustomerInfo{CustomerId: &number})
}
