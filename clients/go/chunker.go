package engagement

// Cuts a source of events into chunks, and reads it no faster than they are taken.

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"time"

	v1 "github.com/engagement-attributes/engagement-attributes/clients/go/v1"
)

const (
	flushDelay = 200 * time.Millisecond
	// Covers an event's tag and length, and its share of the enclosing message.
	framingBytes = 64
	// The contract's limit, which GetServerInfo names max_event_bytes.
	maxEventBytes = 3_584 * 1024
)

// chunker reads a source in a goroutine of its own and keeps the events of one chunk ready.
//
// A chunk is complete when it is full; a larger event is alone in its chunk. If the source pauses, a chunk is taken as
// it is, so that an endless source never lags far behind. An event that cannot be sent is rejected here.
type chunker struct {
	source iter.Seq2[*v1.Event, error]
	reject func(position int64, event *v1.Event, reason *v1.EventError)

	// Set by begin, before the reader starts.
	beginning
	stop    context.CancelFunc
	stopped chan struct{}

	// form is the canonical form of the last event. Only the reader uses it.
	form []byte

	// lastSequence is that of the last chunk that was taken or skipped. Only the taker uses it.
	lastSequence int64

	// Each is signalled when the state that it names may have changed; waiters check again under the lock.
	changed chan struct{}
	taken   chan struct{}

	// The mutex also protects the digester: a chunk's digest is taken before the next event is digested.
	mutex      sync.Mutex
	draft      draft
	isComplete bool
	hasEnded   bool
	err        error
}

// beginning is how an upload stands when its source is first read.
type beginning struct {
	maxEvents int
	maxBytes  int
	// committedThrough is the sequence of the last committed chunk.
	committedThrough int64
	digester         *sourceDigester
	// skipEvents is the number of events to skip if an earlier run sent no digest.
	skipEvents int64
	// isComparing means that the upload is finished, and its source only compared.
	isComparing bool
}

func newChunker(
	source iter.Seq2[*v1.Event, error], reject func(int64, *v1.Event, *v1.EventError),
) *chunker {
	return &chunker{
		source:  source,
		reject:  reject,
		changed: make(chan struct{}, 1),
		taken:   make(chan struct{}, 1),
	}
}

// hasBegun reports whether the source is being read.
func (c *chunker) hasBegun() bool { return c.stopped != nil }

// begin starts reading the source, of which the committed events are compared and not sent again.
func (c *chunker) begin(ctx context.Context, beginning beginning) {
	c.beginning = beginning
	c.lastSequence = beginning.committedThrough
	ctx, c.stop = context.WithCancel(ctx)
	c.stopped = make(chan struct{})
	go func() {
		defer close(c.stopped)
		err := c.read(ctx)
		c.mutex.Lock()
		c.hasEnded, c.err = true, err
		c.mutex.Unlock()
		signal(c.changed)
	}()
}

// close stops the reader at the next event and waits until it has stopped.
func (c *chunker) close() {
	if c.hasBegun() {
		c.stop()
		<-c.stopped
	}
}

// wait returns when the source has ended or failed.
func (c *chunker) wait() { <-c.stopped }

// digest returns the digest of the events that the source has given so far.
func (c *chunker) digest() *v1.SourceDigest {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.digester.digest()
}

// failure returns the source's error once its last chunk is taken, nil before and without an error.
func (c *chunker) failure() error {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.hasEnded && c.draft.count == 0 {
		return c.err
	}
	return nil
}

// next returns the next chunk, or nil after the last. If the context ends first, nothing is lost.
func (c *chunker) next(ctx context.Context) (*chunk, error) {
	var pause <-chan time.Time
	isPausing := false
	for {
		chunk, hasSome, hasEnded := c.take(isPausing)
		if chunk != nil || hasEnded {
			return chunk, nil
		}
		if hasSome && pause == nil {
			pause = time.After(flushDelay)
		}
		select {
		case <-c.changed:
		case <-pause:
			isPausing = true
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// take returns the chunk if it is time to send it.
func (c *chunker) take(isPausing bool) (taken *chunk, hasSome, hasEnded bool) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.draft.count == 0 {
		return nil, false, c.hasEnded
	}
	if !c.isComplete && !c.hasEnded && !isPausing {
		return nil, true, false
	}
	c.lastSequence++
	taken = c.draft.finish(c.lastSequence, c.digester.digest())
	// The next one is likely to be about as large.
	c.draft = draft{events: make([]byte, 0, len(taken.events)+len(taken.events)/8)}
	c.isComplete = false
	signal(c.taken)
	return taken, true, false
}

func (c *chunker) read(ctx context.Context) error {
	position := int64(0)
	for event, err := range c.source {
		if err == nil {
			err = c.add(ctx, position, event)
		}
		if err != nil {
			return err
		}
		position++
	}
	// A source may end early because the context did.
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := c.digester.end(c.isComparing); err != nil {
		return err
	}
	if c.skipEvents > 0 {
		return &Error{Kind: SourceMismatch, Message: fmt.Sprintf(
			"the source ends %d events before the point that the upload has reached: it is not the source that "+
				"the upload began with. Use an upload id of its own for each source", c.skipEvents)}
	}
	return nil
}

// add takes in one event, and waits while there is no room for it.
func (c *chunker) add(ctx context.Context, position int64, event *v1.Event) error {
	reason, err := c.serialize(event)
	if err != nil {
		return fmt.Errorf("engagement: the event at position %d: %w", position, err)
	}
	if reason != nil {
		// It is not covered by the digest of the chunk before it.
		if err := c.complete(ctx); err != nil {
			return err
		}
	}
	hasRoom, isFull, err := c.put(position, reason == nil)
	if err == nil && !hasRoom {
		if err = c.complete(ctx); err == nil {
			_, isFull, err = c.put(position, true)
		}
	}
	if err != nil {
		return err
	}
	if reason != nil {
		c.reject(position, event, reason)
		// It may be too large to keep.
		c.form = nil
	}
	if isFull {
		return c.complete(ctx)
	}
	return ctx.Err()
}

// serialize makes the canonical form of an event. It returns a reason if the event cannot be sent.
func (c *chunker) serialize(event *v1.Event) (*v1.EventError, error) {
	form, err := canonicalForm(c.form, event)
	if err != nil {
		c.form = c.form[:0]
		if path := invalidText(event); path != "" {
			return notText(path), nil
		}
		return nil, err
	}
	c.form = form
	if len(form) > maxEventBytes {
		return tooLarge(len(form)), nil
	}
	return nil, nil
}

// put digests the event that was serialized, and adds it to the draft if it is to be sent. Without room in the draft
// it does neither.
func (c *chunker) put(position int64, isSendable bool) (hasRoom, isFull bool, err error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.draft.count > 0 && c.draft.chargedBytes+len(c.form)+framingBytes > c.maxBytes {
		return false, false, nil
	}
	isCommitted := c.isComparing || !c.digester.hasPassed()
	if err := c.digester.add(c.form); err != nil {
		return false, false, err
	}
	switch {
	case isCommitted || !isSendable:
		return true, false, nil
	case c.skipEvents > 0:
		c.skipEvents--
		return true, false, nil
	}
	c.draft.add(c.form)
	if c.draft.count == 1 {
		c.draft.firstPosition = position
		signal(c.changed)
	}
	return true, c.draft.count >= c.maxEvents, nil
}

// complete marks the chunk as complete and waits until it is taken.
func (c *chunker) complete(ctx context.Context) error {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.isComplete = c.draft.count > 0
	for c.isComplete {
		signal(c.changed)
		c.mutex.Unlock()
		select {
		case <-c.taken:
		case <-ctx.Done():
		}
		c.mutex.Lock()
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// signal wakes the channel's current or next waiter.
func signal(channel chan struct{}) {
	select {
	case channel <- struct{}{}:
	default:
	}
}

// tooLarge returns the error of an event that is larger than events may be, in the server's terms.
func tooLarge(bytes int) *v1.EventError {
	description := fmt.Sprintf("must take at most %d bytes, takes %d", maxEventBytes, bytes)
	return fieldInvalid("the event "+description, "", "server.event.max_bytes", description)
}
