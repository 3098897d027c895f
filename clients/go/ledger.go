package engagement

// The books of one upload: what is on the way, the totals, and what the caller is told of both.

import (
	"slices"
	"sync"

	v1 "github.com/engagement-attributes/engagement-attributes/clients/go/v1"
	"google.golang.org/protobuf/proto"
)

// UploadProgress is how far an upload is, counted in events of its source.
type UploadProgress struct {
	// Sent are the events given to the connection, in this run or in an earlier one.
	Sent int64
	// Acknowledged are the events with an outcome: those of the tally together.
	Acknowledged int64
	// Tally counts the events by their outcome.
	Tally *v1.Tally
	// Reconnects are the connections that were lost.
	Reconnects int
}

// RejectedEvent is an event that was refused.
type RejectedEvent struct {
	// Position in the source, from 0.
	Position int64
	// Event as sent, with the id that it got where it had none.
	Event *v1.Event
	// Error says why.
	Error *v1.EventError
}

// UploadSummary is a finished upload.
type UploadSummary struct {
	// UploadID is the name of the upload.
	UploadID string
	// Tally has the totals of the whole upload, of earlier runs too, and of the events refused by the client
	// itself.
	Tally *v1.Tally
	// Events of the whole upload; every one has one of the tally's outcomes.
	Events int64
	// Reconnects are the connections that were lost.
	Reconnects int
	// SkippedEvents of the source were committed by an earlier run. Where there are some,
	// [Client.UploadRejections] has all rejections of the server.
	SkippedEvents int64
}

// ledger keeps the chunks that are not known to be committed, and tells the caller what became of events.
//
// Each rejection is told once, with the event's position in the source, whatever connections are lost. The
// caller's functions are called one at a time.
type ledger struct {
	onProgress  func(UploadProgress)
	onRejection func(RejectedEvent)

	mutex sync.Mutex
	// unacked are the chunks to send again after a lost connection; the stream bounds their number.
	unacked          []*chunk
	committedThrough int64
	skippedEvents    int64
	isFinished       bool
	tally            *v1.Tally
	sent             int64
	refused          int64
	reconnects       int
}

// pending returns the chunks to send again.
func (l *ledger) pending() []*chunk {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return slices.Clone(l.unacked)
}

// unackedChunks returns how many chunks wait for their ack.
func (l *ledger) unackedChunks() int {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return len(l.unacked)
}

// finished reports whether the upload is.
func (l *ledger) finished() bool {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.isFinished
}

// through returns the sequence of the last chunk that is known to be committed.
func (l *ledger) through() int64 {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.committedThrough
}

// skipCommitted begins behind what an earlier run had committed, and returns how many events that is.
func (l *ledger) skipCommitted() int64 {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.skippedEvents = total(l.tally)
	l.sent = l.skippedEvents
	return l.skippedEvents
}

// add notes that a chunk is about to be sent.
func (l *ledger) add(c *chunk) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.unacked = append(l.unacked, c)
	l.sent = c.firstPosition + int64(c.count)
}

// acknowledge takes in an ack, and returns whether the upload moves or has nothing to wait for.
func (l *ledger) acknowledge(ack *v1.UploadEventsResponse_Ack) bool {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	hasMoved := ack.GetCommittedThrough() > l.committedThrough
	l.settle(ack.GetCommittedThrough(), ack.GetTally(), ack.GetResults())
	return hasMoved || len(l.unacked) == 0
}

// firstMissed returns the sequence of the first chunk on the way where rejections of such were not heard of, or
// 0 where there are none.
func (l *ledger) firstMissed(upload *v1.Upload) int64 {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.onRejection == nil || len(l.unacked) == 0 || upload.GetTally().GetRejected() <= l.tally.GetRejected() {
		return 0
	}
	return l.unacked[0].sequence
}

// catchUp takes in the state of the upload, with the rejections that were not heard of.
func (l *ledger) catchUp(upload *v1.Upload, missed []*v1.UploadResult) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.settle(upload.GetCommittedThrough(), upload.GetTally(), missed)
	l.isFinished = upload.GetState() == v1.Upload_STATE_FINISHED
}

// refuse takes in an event that cannot be sent at all.
func (l *ledger) refuse(position int64, event *v1.Event, reason *v1.EventError) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.refused++
	if l.onRejection != nil {
		// A copy: the source may use the event again.
		l.onRejection(RejectedEvent{position, proto.CloneOf(event), reason})
	}
}

// noteReconnect takes in that a connection was lost and is made again.
func (l *ledger) noteReconnect() {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.reconnects++
	l.reportProgress()
}

// summarize returns the summary of the finished upload.
func (l *ledger) summarize(uploadID string) *UploadSummary {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	tally := l.fullTally()
	return &UploadSummary{
		UploadID:      uploadID,
		Tally:         tally,
		Events:        total(tally),
		Reconnects:    l.reconnects,
		SkippedEvents: l.skippedEvents,
	}
}

// The rest is called under the lock.

func (l *ledger) settle(committedThrough int64, tally *v1.Tally, results []*v1.UploadResult) {
	if l.onRejection != nil {
		for _, result := range results {
			l.reportRejection(result)
		}
	}
	l.committedThrough = committedThrough
	l.tally = tally
	for len(l.unacked) > 0 && l.unacked[0].sequence <= committedThrough {
		l.unacked = slices.Delete(l.unacked, 0, 1)
	}
	l.reportProgress()
}

func (l *ledger) reportRejection(item *v1.UploadResult) {
	result := item.GetResult()
	if result.GetOutcome() != v1.Outcome_OUTCOME_REJECTED {
		return
	}
	for _, c := range l.unacked {
		// A lost connection can cut the results of a chunk in two, and all of them come again.
		if c.sequence != item.GetChunkSequence() || c.reported[result.GetIndex()] {
			continue
		}
		if event := c.event(result.GetIndex()); event != nil {
			if c.reported == nil {
				c.reported = map[int32]bool{}
			}
			c.reported[result.GetIndex()] = true
			l.onRejection(RejectedEvent{c.firstPosition + int64(result.GetIndex()), event, result.GetError()})
		}
	}
}

func (l *ledger) reportProgress() {
	if l.onProgress != nil {
		tally := l.fullTally()
		l.onProgress(UploadProgress{l.sent, total(tally), tally, l.reconnects})
	}
}

func (l *ledger) fullTally() *v1.Tally {
	tally := &v1.Tally{}
	if l.tally != nil {
		tally = proto.CloneOf(l.tally)
	}
	tally.Rejected += l.refused
	return tally
}

// total returns the number of events in a tally.
func total(tally *v1.Tally) int64 {
	return tally.GetAccepted() + tally.GetDuplicate() + tally.GetRejected() + tally.GetSuppressed()
}
