package engagement

// Whether a stream is reopened, and how long to wait before.

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

const (
	firstDelay       = 100 * time.Millisecond
	longestDelay     = 5 * time.Second
	defaultMaxOutage = 300 * time.Second
)

// outage is the time since the last progress, with growing waits.
type outage struct {
	limit    time.Duration
	began    time.Time
	failures int
	// renewsToken is whether an expired token can be renewed, and hasRenewed whether one was since the last progress.
	renewsToken, hasRenewed bool
}

func newOutage(limit time.Duration, renewsToken bool) *outage {
	if limit == 0 {
		limit = defaultMaxOutage
	}
	return &outage{limit: limit, renewsToken: renewsToken}
}

// end records progress: the next failure begins a new outage.
func (o *outage) end() {
	o.began, o.failures, o.hasRenewed = time.Time{}, 0, false
}

// delayAfter returns how long to wait before the next attempt, or the error if another attempt cannot help or would
// come too late.
func (o *outage) delayAfter(err error) (time.Duration, error) {
	failure := (*Error)(nil)
	if !errors.As(err, &failure) {
		return 0, err
	}
	switch {
	case o.renewsToken && !o.hasRenewed && isExpired(err):
		o.hasRenewed = true
	case !failure.Transient():
		return 0, err
	}
	now := time.Now()
	if o.began.IsZero() {
		o.began = now
	}
	longest := min(longestDelay, firstDelay<<min(o.failures, 16))
	o.failures++
	asked, _ := failure.RetryDelay()
	delay := max(longest/2+rand.N(longest/2+1), asked)
	if now.Add(delay).After(o.began.Add(o.limit)) {
		return 0, err
	}
	return delay, nil
}

// sleep waits, or returns why a context of [Client.during] ended first.
func sleep(ctx context.Context, delay time.Duration) error {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return endOf(ctx)
	}
}
