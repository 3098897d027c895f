package engagement

// Bulk upload that survives lost connections, restarts of the server and crashes of the client.

import (
	"context"
	"iter"
	"time"

	v1 "github.com/engagement-attributes/engagement-attributes/clients/go/v1"
)

// UploadOptions says how an upload goes. The zero value is a new upload with chunks as large as the server allows.
type UploadOptions struct {
	// UploadID names the upload, 1 to 128 characters. An upload is resumed under its name. Empty: a new id.
	UploadID string
	// ChunkEvents is how many events a chunk holds at most. 0: as many as the server allows.
	ChunkEvents int
	// MaxOutage is how long to go on reconnecting without any progress. 0: 300 seconds.
	MaxOutage time.Duration
	// OnProgress is called at every ack and every reconnect. It must not block.
	OnProgress func(UploadProgress)
	// OnRejection is called for each event that is refused in this run, once. It must not block. It is never
	// called at the same time as itself or OnProgress.
	OnRejection func(RejectedEvent)
}

// Uploader uploads a source of events of any length, in bounded memory.
//
// An upload is resumed by a new Uploader, of another process too, with the same UploadID and the same source
// from its start: the events that are committed are skipped by their number. An upload that is finished gives
// its summary again and reads nothing. One upload id names one source.
//
// Memory holds the chunks that the server has not acked, at most as many as it allows, and the next.
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

// UploadID returns the name of the upload.
func (u *Uploader) UploadID() string { return u.options.UploadID }

// Upload uploads all events of the source and finishes the upload.
//
// Events without an id are sent with a UUIDv7. An event that no chunk can carry is refused here: OnRejection
// gets it and the summary's tally counts it. The source is iterated in a goroutine of its own, no faster than the
// server commits, and an event may be used again once the next one is asked for. A source may pause for any time:
// what it gave before is sent meanwhile. Upload does not return before the source has, so a source that blocks
// must watch ctx, too; [Uploader.UploadChannel] does that for channels.
//
// An error that the source gives comes out of here after all events before it are committed; the upload then
// stays open, as after a cancellation.
//
// Other errors are TakenOver where a newer stream goes on with the upload, SourceMismatch where the source is too
// short to be the one that the upload began with, the error that explains an outage that lasts too long, and any
// other [*Error] that is not transient, at once.
func (u *Uploader) Upload(ctx context.Context, events iter.Seq2[*v1.Event, error]) (*UploadSummary, error) {
	return u.upload(ctx, func(context.Context) iter.Seq2[*v1.Event, error] { return events })
}

// UploadChannel uploads all events that come out of a channel, until it is closed. It is otherwise the same as
// [Uploader.Upload], and returns at once where ctx ends or the upload fails, even if nothing comes.
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
		ledger:      books,
		chunker:     newChunker(open(reading), books.refuse),
		outage:      newOutage(u.options.MaxOutage),
		reading:     reading,
	}
	defer run.chunker.close()
	defer stopReading()

	if err := run.connect(ctx, u.client); err != nil {
		return nil, err
	}
	if !books.finished() {
		return nil, run.chunker.failure()
	}
	return books.summarize(run.id), nil
}

// uploadRun is what the connections of one run share.
type uploadRun struct {
	id          string
	chunkEvents int
	ledger      *ledger
	chunker     *chunker
	outage      *outage
	reading     context.Context
}

// connect makes one connection after the other until everything is committed.
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

// beginSource starts to read the source, when the first connection is open.
func (r *uploadRun) beginSource(opened *v1.UploadEventsResponse_Opened) {
	if r.chunker.hasBegun() {
		return
	}
	maxEvents := int(opened.GetMaxChunkEvents())
	if r.chunkEvents > 0 {
		maxEvents = min(maxEvents, r.chunkEvents)
	}
	r.chunker.begin(r.reading, maxEvents, int(opened.GetMaxChunkBytes()), r.ledger.through(), r.ledger.skipCommitted())
}
