package engagement

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// watchdog cancels the context of a stream whose server is silent for too long.
type watchdog struct {
	limit  time.Duration
	timer  *time.Timer
	cancel context.CancelCauseFunc
	cause  func() error
}

// watch returns the context for a stream that is about to be opened, and its watchdog.
func watch(ctx context.Context, limit time.Duration) (context.Context, *watchdog) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &watchdog{limit: limit, cancel: cancel, cause: func() error { return context.Cause(ctx) }}
	w.expect()
	return ctx, w
}

// expect begins to wait for the server.
func (w *watchdog) expect() {
	limit := w.limit
	w.timer = time.AfterFunc(limit, func() {
		w.cancel(lostConnection(fmt.Sprintf("no message from the server for %v", limit), nil))
	})
}

// pause stops the clock between a message and the wait for the next one.
func (w *watchdog) pause() { w.timer.Stop() }

// allowTwo sets the limit to two of the server's heartbeat intervals.
func (w *watchdog) allowTwo(interval time.Duration) {
	if interval > 0 {
		w.limit = 2 * interval
	}
}

// end ends the stream; err is nil if nothing went wrong.
func (w *watchdog) end(err error) {
	w.pause()
	w.cancel(err)
}

// explain returns the error for which this side ended the stream, if it did, because the stream's own status would only
// be a cancellation; otherwise err.
func (w *watchdog) explain(err error) error {
	if lost := (*Error)(nil); errors.As(w.cause(), &lost) {
		return lost
	}
	return err
}
