package engagement

// Bulk upload that survives lost connections, server restarts and client crashes.

import (
	"context"
	"iter"
	"time"

	v1 "github.com/engagement-attributes/engagement-attributes/clients/go/v1"
)

// UploadOptions configures an upload. The zero value is a new upload with chunks as large as the server allows.
type UploadOptions struct {
	// UploadID identifies the upload and its source, 1 to 128 characters; resuming it takes the same id. Derive it
	// from what identifies the source, such as its name and day. Empty: a new UUIDv7.
	UploadID string
	// ChunkEvents is the maximum number of events in a chunk. 0: as many as the server allows.
	ChunkEvents int
	// KeepGoing lets the upload go on even if the server rejects all its events. Otherwise it ends with the reason
	// UPLOAD_ALL_REJECTED.
	KeepGoing bool
	// MaxOutage is how long to keep reconnecting without progress. 0: 300 seconds.
	MaxOutage time.Duration
	// OnProgress is called at every ack and every reconnect. It must not block.
	OnProgress func(UploadProgress)
	// OnRejection is called once for each event rejected in this run. It must not block. It is never called
	// concurrently with itself or OnProgress.
	OnRejection func(RejectedEvent)
}

// Uploader uploads a source of events of any length, in bounded memory.
//
// To resume an upload, even from another process, use a new Uploader with the same UploadID and the same source from
// its start. The events that are committed are compared by their digest and not sent again; another source is refused
// before anything is sent. A finished upload compares the whole source and returns its summary again. One upload id
// names one source.
//
// Memory holds the unacked chunks, at most as many as the server allows, and the next one.
type Uploader struct {
	client  *Client
	options UploadOptions
}

// NewUploader returns an uploader for one upload.
func (c *Client) NewUploader(options UploadOptions) *Uploader {
	if options.UploadID == "" {
		options.UploadID = NewEventID()
	}
	return &Uploader{client: c, options: options}
}

// UploadID returns the id of the upload.
func (u *Uploader) UploadID() string { return u.options.UploadID }

// Upload uploads all events of the source and finishes the upload.
//
// An event without an id gets one from the server, the same whenever the source is uploaded under this upload id. An
// event that cannot be sent, because it is too large or has a text that is not UTF-8, is rejected by the client:
// OnRejection gets it and the summary's tally counts it. The source is iterated in a goroutine of its own, no faster
// than the server commits, and may reuse an event once it is asked for the next one. It may pause for any time: earlier
// events are sent meanwhile. Upload does not return before the source has, so a source that blocks must watch ctx as
// well; [Uploader.UploadChannel] does that for channels.
//
// If the source yields an error, Upload commits all events before it and then returns it; the upload stays open, as
// after a cancellation.
//
// Other errors are TakenOver if a newer stream has taken over the upload, SourceMismatch if the upload began with
// another source, Precondition with the reason UPLOAD_ALL_REJECTED if the server rejected the first events, all of
// them, the last connection's error if an outage lasts too long, and any other [*Error] that is not transient, at once.
func (u *Uploader) Upload(ctx context.Context, events iter.Seq2[*v1.Event, error]) (*UploadSummary, error) {
	return u.upload(ctx, func(context.Context) iter.Seq2[*v1.Event, error] { return events })
}

// UploadChannel uploads all events received from a channel until it is closed. It works like [Uploader.Upload], but
// returns at once if ctx ends or the upload fails, even if the channel is silent.
func (u *Uploader) UploadChannel(ctx context.Context, events <-chan *v1.Event) (*UploadSummary, error) {
	return u.upload(ctx, func(ctx context.Context) iter.Seq2[*v1.Event, error] {
		return func(yield func(*v1.Event, error) bool) {
			for {
				select {
				case event, isOpen := <-events:
					if !isOpen || !yield(event, nil) {
						return
					}
				case <-ctx.Done():
					yield(nil, ctx.Err())
					return
				}
			}
		}
	})
}

func (u *Uploader) upload(
	ctx context.Context, open func(context.Context) iter.Seq2[*v1.Event, error],
) (*UploadSummary, error) {
	ctx, cancel := u.client.during(ctx)
	defer cancel()
	reading, stopReading := context.WithCancel(ctx)
	books := &ledger{onProgress: u.options.OnProgress, onRejection: u.options.OnRejection}
	run := &uploadRun{
		id:          u.options.UploadID,
		chunkEvents: u.options.ChunkEvents,
		keepGoing:   u.options.KeepGoing,
		ledger:      books,
		chunker:     newChunker(open(reading), books.reject),
		outage:      newOutage(u.options.MaxOutage, u.client.tokens.renewable()),
		reading:     reading,
	}
	defer run.chunker.close()
	defer stopReading()

	if err := run.connect(ctx, u.client); err != nil {
		return nil, err
	}
	if run.chunker.isComparing {
		run.chunker.wait()
	}
	if err := run.chunker.failure(); err != nil {
		if ctx.Err() != nil {
			return nil, endOf(ctx)
		}
		return nil, err
	}
	if run.chunker.hasBegun() && !run.chunker.isComparing && books.isFinishedByAnother() {
		return nil, continuedByAnother(run.id)
	}
	return books.summarize(run.id), nil
}

// uploadRun is the state that the connections of one run share.
type uploadRun struct {
	id          string
	chunkEvents int
	keepGoing   bool
	ledger      *ledger
	chunker     *chunker
	outage      *outage
	reading     context.Context
}

// connect opens connection after connection until everything is committed.
func (r *uploadRun) connect(ctx context.Context, client *Client) error {
	for {
		stream := &uploadStream{
			client: client,
			upload: r,
			opened: make(chan struct{}),
			acked:  make(chan struct{}, 1),
		}
		err := stream.run(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return endOf(ctx)
		}
		delay, err := r.outage.delayAfter(err)
		if err != nil {
			return err
		}
		if err := sleep(ctx, delay); err != nil {
			return err
		}
		r.ledger.noteReconnect()
	}
}

// beginSource starts reading the source when the first connection is open, unless there is nothing to read it for.
func (r *uploadRun) beginSource(opened *v1.UploadEventsResponse_Opened) {
	isFinished := r.ledger.finished()
	skipEvents := r.ledger.resume(opened.GetSource())
	if isFinished && opened.GetSource() == nil {
		return
	}
	maxEvents := int(opened.GetMaxChunkEvents())
	if r.chunkEvents > 0 {
		maxEvents = min(maxEvents, r.chunkEvents)
	}
	r.chunker.begin(r.reading, beginning{
		maxEvents:        max(1, maxEvents),
		maxBytes:         int(opened.GetMaxChunkBytes()),
		committedThrough: opened.GetCommittedThrough(),
		digester:         newSourceDigester(r.id, opened),
		skipEvents:       skipEvents,
		isComparing:      isFinished,
	})
}
