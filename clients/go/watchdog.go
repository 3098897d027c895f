package engagement

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// watchdog ends a stream whose server says nothing for too long, by the end of its context.
type watchdog struct {
	limit  time.Duration
	timer  *time.Timer
	cancel context.CancelCauseFunc
	cause  func() error
}

// watch returns the context of a stream that is to be opened now, with its watchdog.
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

// pause stands between a message and the wait for the next one.
func (w *watchdog) pause() { w.timer.Stop() }

// allowTwo takes the server's own interval for heartbeats, of which two may pass.
func (w *watchdog) allowTwo(interval time.Duration) {
	if interval > 0 {
		w.limit = 2 * interval
	}
}

// end ends the stream; nil where nothing went wrong.
func (w *watchdog) end(err error) {
	w.pause()
	w.cancel(err)
}

// explain returns the error that ended the stream from this side, where there is one: the status of the stream only
// tells that it was cancelled.
func (w *watchdog) explain(err error) error {
	if lost := (*Error)(nil); errors.As(w.cause(), &lost) {
		return lost
	}
	return err
}
