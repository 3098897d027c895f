package engagement

// The ledger of one upload: the chunks in flight, the totals, and the caller's callbacks.

import (
	"slices"
	"sync"

	v1 "github.com/engagement-attributes/engagement-attributes/clients/go/v1"
	"google.golang.org/protobuf/proto"
)

// UploadProgress is the progress of an upload, in events of its source.
type UploadProgress struct {
	// Sent is the number of events passed to the connection, in this run or an earlier one.
	Sent int64
	// Acknowledged is the number of events with an outcome, which is the sum of the tally.
	Acknowledged int64
	// Tally counts the events by outcome.
	Tally *v1.Tally
	// Reconnects is the number of lost connections.
	Reconnects int
}

// RejectedEvent is an event that was rejected.
type RejectedEvent struct {
	// Position is the event's position in the source, from 0.
	Position int64
	// Event is the event as sent.
	Event *v1.Event
	// Error says why.
	Error *v1.EventError
}

// UploadSummary is the result of a finished upload.
type UploadSummary struct {
	// UploadID is the id of the upload.
	UploadID string
	// Tally has the totals of the whole upload, including earlier runs and events rejected by the client itself.
	Tally *v1.Tally
	// Events is the number of events of the whole upload; each has one of the tally's outcomes.
	Events int64
	// Reconnects is the number of lost connections.
	Reconnects int
	// SkippedEvents is the number of the source's events that an earlier run had committed. If it is not 0,
	// [Client.UploadRejections] has all rejections by the server.
	SkippedEvents int64
	// ResumedByCount reports whether these events were skipped by their number and not compared, because the
	// earlier run sent no digest of its source.
	ResumedByCount bool
}

// ledger holds the chunks that are not known to be committed, and reports outcomes to the caller.
//
// Each rejection is reported once, with the event's position in the source, whatever connections are lost. The
// caller's functions are called one at a time.
type ledger struct {
	onProgress  func(UploadProgress)
	onRejection func(RejectedEvent)

	mutex sync.Mutex
	// unacked are the chunks to resend after a lost connection; the stream bounds their number.
	unacked          []*chunk
	committedThrough int64
	// source is the digest sent with the last committed chunk, nil if unknown; end is that sent with finish.
	source, end    *v1.SourceDigest
	skippedEvents  int64
	resumedByCount bool
	isFinished     bool
	tally          *v1.Tally
	sent           int64
	rejectedHere   int64
	reconnects     int
}

// pending returns the chunks to resend.
func (l *ledger) pending() []*chunk {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return slices.Clone(l.unacked)
}

// unackedChunks returns the number of chunks that wait for their ack.
func (l *ledger) unackedChunks() int {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return len(l.unacked)
}

// finished reports whether the upload is finished.
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

// resume begins after the events that an earlier run committed, and returns how many to skip by their number because
// that run sent no digest of its source.
func (l *ledger) resume(committed *v1.SourceDigest) (skipEvents int64) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.source = committed
	l.skippedEvents = committed.GetEvents()
	if committed == nil {
		skipEvents = total(l.tally)
		l.skippedEvents = skipEvents
		l.resumedByCount = skipEvents > 0
	}
	l.sent = l.skippedEvents
	return skipEvents
}

// isOwn reports whether an upload that is opened again is where this run has brought it.
func (l *ledger) isOwn(opened *v1.UploadEventsResponse_Opened) bool {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	last, source := l.committedThrough, l.source
	for _, c := range l.unacked {
		last = c.sequence
		if c.sequence <= opened.GetCommittedThrough() {
			source = c.source
		}
	}
	if opened.GetCommittedThrough() > last {
		return false
	}
	reached := opened.GetSource()
	// The end is later than the last chunk if the last events were rejected here.
	return reached == nil || source == nil || proto.Equal(reached, source) || proto.Equal(reached, l.end)
}

// finishing notes that finish is about to be sent.
func (l *ledger) finishing(end *v1.SourceDigest) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.end = end
}

// isFinishedByAnother reports whether the upload is finished before this run has sent all of its source.
func (l *ledger) isFinishedByAnother() bool {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.isFinished && (l.end == nil || len(l.unacked) > 0)
}

// add notes that a chunk is about to be sent.
func (l *ledger) add(c *chunk) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.unacked = append(l.unacked, c)
	l.sent = c.firstPosition + int64(c.count)
}

// acknowledge processes an ack, and returns whether it is progress: the upload moved, or waits for nothing.
func (l *ledger) acknowledge(ack *v1.UploadEventsResponse_Ack) bool {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	hasMoved := ack.GetCommittedThrough() > l.committedThrough
	l.settle(ack.GetCommittedThrough(), ack.GetTally(), ack.GetResults())
	return hasMoved || len(l.unacked) == 0
}

// firstMissed returns the sequence of the first chunk in flight if rejections in such chunks were not reported to
// this client, otherwise 0.
func (l *ledger) firstMissed(upload *v1.Upload) int64 {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.onRejection == nil || len(l.unacked) == 0 || upload.GetTally().GetRejected() <= l.tally.GetRejected() {
		return 0
	}
	return l.unacked[0].sequence
}

// catchUp processes the state of the upload and the rejections that it missed.
func (l *ledger) catchUp(upload *v1.Upload, missed []*v1.UploadResult) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.settle(upload.GetCommittedThrough(), upload.GetTally(), missed)
	l.isFinished = upload.GetState() == v1.Upload_STATE_FINISHED
}

// reject processes an event that cannot be sent at all.
func (l *ledger) reject(position int64, event *v1.Event, reason *v1.EventError) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.rejectedHere++
	if l.onRejection != nil {
		// A copy: the source may reuse the event.
		l.onRejection(RejectedEvent{position, proto.CloneOf(event), reason})
	}
}

// noteReconnect counts a connection that was lost and is re-established.
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
		UploadID:       uploadID,
		Tally:          tally,
		Events:         total(tally),
		Reconnects:     l.reconnects,
		SkippedEvents:  l.skippedEvents,
		ResumedByCount: l.resumedByCount,
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
		l.source = l.unacked[0].source
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
		// If a lost connection cuts the results of a chunk in two, all of them come again.
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
	tally.Rejected += l.rejectedHere
	return tally
}

// total returns the number of events in a tally.
func total(tally *v1.Tally) int64 {
	return tally.GetAccepted() + tally.GetDuplicate() + tally.GetRejected() + tally.GetSuppressed()
}
