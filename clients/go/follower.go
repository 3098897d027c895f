package engagement

// Follows the events of an account across lost connections and server restarts.

import (
	"context"
	"iter"
	"sync"
	"time"

	v1 "github.com/engagement-attributes/engagement-attributes/clients/go/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Start is where a follower starts: [AfterCursor], [Earliest], [Latest] or [StartTime].
type Start func(*v1.SubscribeEventsRequest)

// AfterCursor starts with the first event after a cursor.
func AfterCursor(cursor string) Start {
	return func(request *v1.SubscribeEventsRequest) {
		request.Start = &v1.SubscribeEventsRequest_AfterCursor{AfterCursor: cursor}
	}
}

// Earliest starts with the earliest event that is retained.
func Earliest() Start {
	return func(request *v1.SubscribeEventsRequest) {
		request.Start = &v1.SubscribeEventsRequest_Earliest{Earliest: true}
	}
}

// Latest starts with the next event that is accepted.
func Latest() Start {
	return func(request *v1.SubscribeEventsRequest) {
		request.Start = &v1.SubscribeEventsRequest_Latest{Latest: true}
	}
}

// StartTime starts with the first event accepted at this time or later.
func StartTime(time time.Time) Start {
	return func(request *v1.SubscribeEventsRequest) {
		request.Start = &v1.SubscribeEventsRequest_StartTime{StartTime: timestamppb.New(time)}
	}
}

// FollowOptions configures a follower. The zero value follows all events forever.
type FollowOptions struct {
	// Filter selects events. Nil: all.
	Filter *v1.EventFilter
	// StopAtTail ends the iteration after the events that are already stored.
	StopAtTail bool
	// MaxBatchEvents is the maximum number of events in a batch. 0: 500.
	MaxBatchEvents int
	// HeartbeatInterval is the longest silence of the server, 5 to 60 seconds; after twice that, the connection
	// is lost. 0: the server's default.
	HeartbeatInterval time.Duration
	// MaxOutage is how long to keep reconnecting without progress. 0: 300 seconds.
	MaxOutage time.Duration
	// OnErasure is called between the events before and after an erasure. If it returns an error, the iteration
	// ends with it and the notice comes again. Nil: notices are ignored.
	OnErasure func(context.Context, *v1.SubscribeEventsResponse_ErasureNotice) error
	// OnReconnect is called with the error that ended a connection, before reconnecting.
	OnReconnect func(error)
}

// EventBatch is a batch of consecutive events.
type EventBatch struct {
	// Events has at least one event.
	Events []*v1.StoredEvent
	// Cursor covers the events and everything before them.
	Cursor string
}

// Follower yields the events that match a filter, in the order of acceptance, as soon as they are available.
//
// Range over [Follower.Events] for single events, or over [Follower.Batches] for many. There are no gaps and no
// repeats, whatever happens to the connection or the server. Whatever ends an iteration — a break, a cancelled
// context, an error — loses nothing: the next one continues after [Follower.Cursor].
//
// A follower is connected only while it is being iterated, and holds one batch. It does not read the stream before
// it is asked for an event; a slow reader affects no others. Only one goroutine at a time may iterate; the other
// methods are safe for concurrent use.
type Follower struct {
	client  *Client
	request *v1.SubscribeEventsRequest
	options FollowOptions

	mutex      sync.Mutex
	cursor     string
	held       int
	lagEvents  int64
	isCaughtUp bool
}

// NewFollower returns a follower. It connects when it is iterated.
func (c *Client) NewFollower(start Start, options FollowOptions) *Follower {
	request := &v1.SubscribeEventsRequest{
		AccountId:      c.AccountID,
		Filter:         options.Filter,
		StopAtTail:     options.StopAtTail,
		MaxBatchEvents: int32(options.MaxBatchEvents),
	}
	start(request)
	if options.HeartbeatInterval > 0 {
		request.HeartbeatInterval = durationpb.New(options.HeartbeatInterval)
	}
	return &Follower{client: c, request: request, options: options, cursor: request.GetAfterCursor()}
}

// Cursor covers exactly the events yielded so far, and the events around them that do not match the filter.
//
// Store it after handling an event and start again with [AfterCursor]: nothing is missed, and only events handled
// since it was last stored come again. It also moves while no event matches the filter. It is empty until the
// server has accepted the subscription.
func (f *Follower) Cursor() string {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return f.cursor
}

// CaughtUp reports whether all stored events have been yielded; it is false while disconnected.
func (f *Follower) CaughtUp() bool {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return f.isCaughtUp && f.held == 0
}

// LagEvents returns the number of stored events after the cursor, as last reported by the server, less those
// yielded since. Events that do not match the filter are counted.
func (f *Follower) LagEvents() int64 {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return f.lagEvents + int64(f.held)
}

// Events iterates over single events. An error ends the iteration: [context.Canceled] if ctx is cancelled,
// Precondition if the cursor precedes the retained events or belongs to another log, InvalidArgument if the cursor or
// the filter is invalid, the last connection's error if an outage lasts too long, the error of OnErasure, and any
// other [*Error] that is not transient, at once.
func (f *Follower) Events(ctx context.Context) iter.Seq2[*v1.StoredEvent, error] {
	return func(yield func(*v1.StoredEvent, error) bool) {
		for batch, err := range f.read(ctx) {
			if err != nil {
				yield(nil, err)
				return
			}
			for i, event := range batch.Events {
				cursor := event.GetCursor()
				rest := len(batch.Events) - 1 - i
				if rest == 0 {
					cursor = batch.Cursor
				}
				f.handOut(cursor, rest)
				if !yield(event, nil) {
					return
				}
			}
		}
	}
}

// Batches iterates over the events in the batches in which they arrive, each with the cursor that covers it. An
// error ends the iteration, as in [Follower.Events].
func (f *Follower) Batches(ctx context.Context) iter.Seq2[EventBatch, error] {
	return func(yield func(EventBatch, error) bool) {
		for batch, err := range f.read(ctx) {
			if err == nil {
				f.handOut(batch.Cursor, 0)
			}
			if !yield(batch, err) {
				return
			}
		}
	}
}

// read iterates over the batches. Its caller moves the cursor.
func (f *Follower) read(ctx context.Context) iter.Seq2[EventBatch, error] {
	return func(yield func(EventBatch, error) bool) {
		ctx, cancel := f.client.during(ctx)
		defer cancel()
		run := &followRun{follower: f, outage: newOutage(f.options.MaxOutage, f.client.tokens.renewable())}
		defer run.disconnect()
		for {
			batch, err := run.next(ctx)
			if err == errTail {
				return
			}
			if !yield(batch, err) || err != nil {
				return
			}
		}
	}
}

// handOut moves the cursor; rest is the number of the batch's events that are not handed out yet.
func (f *Follower) handOut(cursor string, rest int) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.cursor, f.held = cursor, rest
}

// hold notes a batch that was read.
func (f *Follower) hold(events int) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.held = events
	f.lagEvents = max(0, f.lagEvents-int64(events))
}

// release discards the held events when the connection is gone: they come again.
func (f *Follower) release() {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.lagEvents += int64(f.held)
	f.held = 0
	f.isCaughtUp = false
}

// note processes a message without events.
func (f *Follower) note(response *v1.SubscribeEventsResponse) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	switch message := response.GetMessage().(type) {
	case *v1.SubscribeEventsResponse_Started_:
		f.lagEvents = message.Started.GetLagEvents()
	case *v1.SubscribeEventsResponse_CaughtUp_:
		f.isCaughtUp, f.lagEvents = true, 0
	case *v1.SubscribeEventsResponse_FellBehind_:
		f.isCaughtUp, f.lagEvents = false, message.FellBehind.GetLagEvents()
	case *v1.SubscribeEventsResponse_Progress_:
		f.lagEvents = message.Progress.GetLagEvents()
	}
	f.cursor = response.GetCursor()
}

// nextRequest subscribes after the cursor.
func (f *Follower) nextRequest() *v1.SubscribeEventsRequest {
	request := proto.CloneOf(f.request)
	if cursor := f.Cursor(); cursor != "" {
		AfterCursor(cursor)(request)
	}
	return request
}
