package engagement

// Follows the events of an account through lost connections and restarts of the server.

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

// Start says where a follower starts; [AfterCursor], [Earliest], [Latest] and [StartTime] make one.
type Start func(*v1.SubscribeEventsRequest)

// AfterCursor starts behind a cursor: the first event is the next one.
func AfterCursor(cursor string) Start {
	return func(request *v1.SubscribeEventsRequest) {
		request.Start = &v1.SubscribeEventsRequest_AfterCursor{AfterCursor: cursor}
	}
}

// Earliest starts with the earliest event that is kept.
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

// StartTime starts with the first event that was accepted at a time, or later.
func StartTime(time time.Time) Start {
	return func(request *v1.SubscribeEventsRequest) {
		request.Start = &v1.SubscribeEventsRequest_StartTime{StartTime: timestamppb.New(time)}
	}
}

// FollowOptions says what a follower does. The zero value follows all events without an end.
type FollowOptions struct {
	// Filter says which events. Nil: all.
	Filter *v1.EventFilter
	// StopAtTail ends the iteration behind what is stored already.
	StopAtTail bool
	// MaxBatchEvents is how many events a batch holds at most. 0: 500.
	MaxBatchEvents int
	// HeartbeatInterval is the longest silence of the server, 5 to 60 seconds; two of them mean that the
	// connection is lost. 0: as the server has it.
	HeartbeatInterval time.Duration
	// MaxOutage is how long to go on reconnecting without any news. 0: 300 seconds.
	MaxOutage time.Duration
	// OnErasure is called between the events before and after an erasure. Its error ends the iteration, and
	// the notice comes again. Nil: notices are passed over.
	OnErasure func(context.Context, *v1.SubscribeEventsResponse_ErasureNotice) error
	// OnReconnect is called with the error that ended a connection, before the next one is made.
	OnReconnect func(error)
}

// EventBatch is some events, one after the other.
type EventBatch struct {
	// Events are at least one.
	Events []*v1.StoredEvent
	// Cursor covers the events and everything before them.
	Cursor string
}

// Follower hands out the events that a filter takes, in the order of acceptance, each as soon as it is there.
//
// Range over [Follower.Events] for single events, or over [Follower.Batches] where there are many. What they hand
// out has no gap and no repeat, whatever happens to the connection or to the server. Whatever ends an iteration
// — a break, a cancelled context, an error — loses nothing: the next one goes on behind [Follower.Cursor].
//
// A follower is connected only while something iterates, and holds one batch. The stream is not read before
// somebody asks for an event; a reader that takes its time slows down nobody else. One goroutine at a time may
// iterate; the other methods may be called by any.
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

// Cursor covers exactly what was handed out, and what the filter does not take before and behind it.
//
// Whoever stores it after handling an event, and starts again with [AfterCursor], misses nothing and repeats only
// what came after it was last stored. It moves with a filter that takes nothing, too. Empty until the server has
// accepted the subscription.
func (f *Follower) Cursor() string {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return f.cursor
}

// CaughtUp reports whether everything that was stored has been handed out; false while there is no connection.
func (f *Follower) CaughtUp() bool {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return f.isCaughtUp && f.held == 0
}

// LagEvents returns how many events were stored behind the cursor when the server last said so. What was handed
// out since is taken off. Those that the filter does not take are counted.
func (f *Follower) LagEvents() int64 {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return f.lagEvents + int64(f.held)
}

// Events iterates over single events. An error ends the iteration: [context.Canceled] where ctx is cancelled,
// Precondition where the cursor is older than what is kept or of another log, InvalidArgument where the cursor or
// the filter is wrong, the error that explains an outage that lasts too long, what OnErasure returns, and any
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

// Batches iterates over the events in the batches in which they come, each with the cursor that covers it. An
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

// read iterates over the batches. The cursor is moved by who hands them out.
func (f *Follower) read(ctx context.Context) iter.Seq2[EventBatch, error] {
	return func(yield func(EventBatch, error) bool) {
		ctx, cancel := f.client.during(ctx)
		defer cancel()
		run := &followRun{follower: f, outage: newOutage(f.options.MaxOutage)}
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

// handOut moves the cursor over what is handed out now; rest is how many events of the batch are not yet.
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

// letGo notes that the connection is gone; what is held comes again.
func (f *Follower) letGo() {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.lagEvents += int64(f.held)
	f.held = 0
	f.isCaughtUp = false
}

// note takes in what is no event.
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

// nextRequest subscribes behind the cursor.
func (f *Follower) nextRequest() *v1.SubscribeEventsRequest {
	request := proto.CloneOf(f.request)
	if cursor := f.Cursor(); cursor != "" {
		AfterCursor(cursor)(request)
	}
	return request
}
