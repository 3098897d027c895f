package engagement

// The connections of a follower, and whether each ended or was lost.

import (
	"context"
	"errors"
	"io"
	"time"

	v1 "github.com/engagement-attributes/engagement-attributes/clients/go/v1"
	"google.golang.org/grpc"
)

// errTail is the end of all events. It is compared by identity: callers have errors of their own.
var errTail = errors.New("all stored events are handed out")

// followRun is one iteration of a follower.
type followRun struct {
	follower *Follower
	outage   *outage
	stream   *followStream
}

// next returns the next batch, and errTail after the last.
func (r *followRun) next(ctx context.Context) (EventBatch, error) {
	for {
		response, err := r.receive(ctx)
		if err != nil {
			return EventBatch{}, err
		}
		if batch := response.GetBatch(); batch != nil {
			r.outage.end()
			r.follower.hold(len(batch.GetEvents()))
			return EventBatch{batch.GetEvents(), response.GetCursor()}, nil
		}
		if err := r.takeIn(ctx, response); err != nil {
			return EventBatch{}, err
		}
	}
}

// takeIn processes a message without events.
func (r *followRun) takeIn(ctx context.Context, response *v1.SubscribeEventsResponse) error {
	notice, onErasure := response.GetErasureNotice(), r.follower.options.OnErasure
	if notice != nil && onErasure != nil {
		if err := onErasure(ctx, notice); err != nil {
			return err
		}
	}
	r.follower.note(response)
	if response.GetStarted() == nil && response.GetClosing() == nil {
		r.outage.end()
	}
	return nil
}

// receive returns the next message, reconnecting as often as necessary.
func (r *followRun) receive(ctx context.Context) (*v1.SubscribeEventsResponse, error) {
	for {
		response, lost := r.read(ctx)
		if lost == nil || lost == errTail {
			return response, lost
		}
		r.disconnect()
		if ctx.Err() != nil {
			return nil, endOf(ctx)
		}
		delay, err := r.outage.delayAfter(lost)
		if err != nil {
			return nil, err
		}
		if onReconnect := r.follower.options.OnReconnect; onReconnect != nil {
			onReconnect(lost)
		}
		if err := sleep(ctx, delay); err != nil {
			return nil, err
		}
	}
}

func (r *followRun) read(ctx context.Context) (*v1.SubscribeEventsResponse, error) {
	if r.stream == nil {
		stream, err := openFollowStream(ctx, r.follower.client, r.follower.nextRequest())
		if err != nil {
			return nil, err
		}
		r.stream = stream
	}
	return r.stream.read()
}

func (r *followRun) disconnect() {
	r.follower.release()
	if r.stream != nil {
		r.stream.close()
		r.stream = nil
	}
}

// followStream is one stream. It is read one message at a time, never ahead of its reader.
type followStream struct {
	call           grpc.ServerStreamingClient[v1.SubscribeEventsResponse]
	watchdog       *watchdog
	stopsAtTail    bool
	isClosing      bool
	reconnectDelay *time.Duration
}

func openFollowStream(
	ctx context.Context, client *Client, request *v1.SubscribeEventsRequest,
) (*followStream, error) {
	ctx, watchdog := watch(ctx, client.timeout)
	call, err := client.Events.SubscribeEvents(ctx, request)
	if err != nil {
		err = watchdog.explain(err)
		watchdog.end(nil)
		return nil, err
	}
	watchdog.pause()
	return &followStream{call: call, watchdog: watchdog, stopsAtTail: request.GetStopAtTail()}, nil
}

// read returns the next message or, if the stream was to stop at the tail, errTail after the last one.
//
// The connection counts as lost if the server closes the stream or is silent for two of its intervals.
func (s *followStream) read() (*v1.SubscribeEventsResponse, error) {
	s.watchdog.expect()
	response, err := s.call.Recv()
	s.watchdog.pause()
	if errors.Is(err, io.EOF) {
		if s.stopsAtTail && !s.isClosing {
			return nil, errTail
		}
		return nil, lostConnection("the server closed the stream", s.reconnectDelay)
	}
	if err != nil {
		return nil, s.watchdog.explain(err)
	}
	switch message := response.GetMessage().(type) {
	case *v1.SubscribeEventsResponse_Started_:
		s.watchdog.allowTwo(message.Started.GetHeartbeatInterval().AsDuration())
	case *v1.SubscribeEventsResponse_Closing_:
		delay := message.Closing.GetReconnectDelay().AsDuration()
		s.isClosing, s.reconnectDelay = true, &delay
	}
	return response, nil
}

// close ends the call; the server stops sending.
func (s *followStream) close() { s.watchdog.end(nil) }
