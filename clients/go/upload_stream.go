package engagement

// One connection of an upload: opens it, sends what is not committed, processes the server's messages.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	v1 "github.com/engagement-attributes/engagement-attributes/clients/go/v1"
)

// The server ends the call of a finished upload at once; without this wait it would see a cancellation.
const statusDelay = 2 * time.Second

// uploadStream continues an upload until it is finished, the source has failed, or the connection is lost.
type uploadStream struct {
	client   *Client
	upload   *uploadRun
	call     v1.IngestService_UploadEventsClient
	watchdog *watchdog

	// opened is closed when chunks may be sent, and maxUnackedChunks is set.
	opened           chan struct{}
	maxUnackedChunks int
	// acked is signalled at every ack.
	acked chan struct{}
	// stopSending ends the sending side, which then half-closes.
	stopSending    context.CancelFunc
	isOpen         bool
	reconnectDelay *time.Duration
}

// run returns nil once all events that the source yielded are committed, or the connection's error.
func (s *uploadStream) run(ctx context.Context) error {
	ctx, s.watchdog = watch(ctx, s.client.timeout)
	defer s.watchdog.end(nil)
	err := s.exchange(ctx)
	switch {
	case s.upload.ledger.finished():
		return nil
	case err != nil:
		return s.watchdog.explain(err)
	case s.upload.chunker.failure() != nil && s.upload.ledger.unackedChunks() == 0:
		return nil
	}
	return lostConnection("the server closed the stream", s.reconnectDelay)
}

// exchange returns when the server has ended the stream.
func (s *uploadStream) exchange(ctx context.Context) error {
	var err error
	if s.call, err = s.client.Ingest.UploadEvents(ctx); err != nil {
		return err
	}
	var sending context.Context
	sending, s.stopSending = context.WithCancel(ctx)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		if err := s.send(sending); err != nil {
			s.watchdog.cancel(err)
		}
	}()
	defer func() {
		// The sender may be waiting in the transport until the stream ends.
		s.watchdog.end(nil)
		<-stopped
	}()
	return s.receive(ctx)
}

func (s *uploadStream) receive(ctx context.Context) error {
	for !s.upload.ledger.finished() {
		s.watchdog.expect()
		response, err := s.call.Recv()
		s.watchdog.pause()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.takeIn(ctx, response); err != nil {
			return err
		}
	}
	s.awaitStatus()
	return nil
}

func (s *uploadStream) takeIn(ctx context.Context, response *v1.UploadEventsResponse) error {
	switch message := response.GetMessage().(type) {
	case *v1.UploadEventsResponse_Opened_:
		return s.begin(ctx, message.Opened)
	case *v1.UploadEventsResponse_Ack_:
		if s.upload.ledger.acknowledge(message.Ack) {
			s.upload.outage.end()
		}
		signal(s.acked)
	case *v1.UploadEventsResponse_Closing_:
		delay := message.Closing.GetReconnectDelay().AsDuration()
		s.reconnectDelay = &delay
		s.stopSending()
	case *v1.UploadEventsResponse_Finished_:
		return s.catchUp(ctx, message.Finished.GetUpload())
	}
	return nil
}

func (s *uploadStream) begin(ctx context.Context, opened *v1.UploadEventsResponse_Opened) error {
	s.watchdog.allowTwo(opened.GetHeartbeatInterval().AsDuration())
	ledger := s.upload.ledger
	hasBegun := s.upload.chunker.hasBegun()
	if hasBegun && !ledger.isOwn(opened) {
		return continuedByAnother(s.upload.id)
	}
	isResumed := !hasBegun && opened.GetSource() != nil
	if isResumed || opened.GetCommittedThrough() > ledger.through() {
		upload, err := s.getUpload(ctx)
		if err != nil {
			return err
		}
		if err := s.catchUp(ctx, upload); err != nil {
			return err
		}
		s.upload.outage.end()
	}
	if !hasBegun {
		s.upload.beginSource(opened)
	}
	if !ledger.finished() && !s.isOpen {
		s.isOpen = true
		s.maxUnackedChunks = max(1, int(opened.GetMaxUnackedChunks()))
		close(s.opened)
	}
	return nil
}

// getUpload has the deadline of a single call, whatever that of the upload is.
func (s *uploadStream) getUpload(ctx context.Context) (*v1.Upload, error) {
	ctx, cancel := context.WithTimeout(ctx, s.client.timeout)
	defer cancel()
	response, err := s.client.Ingest.GetUpload(ctx, &v1.GetUploadRequest{
		AccountId: s.client.AccountID, UploadId: s.upload.id, PageSize: 1,
	})
	return response.GetUpload(), err
}

// catchUp processes commits whose acks were lost.
func (s *uploadStream) catchUp(ctx context.Context, upload *v1.Upload) error {
	ctx, cancel := context.WithTimeout(ctx, s.client.timeout)
	defer cancel()
	var missed []*v1.UploadResult
	if first := s.upload.ledger.firstMissed(upload); first > 0 {
		for rejection, err := range s.client.UploadRejections(ctx, s.upload.id) {
			if err != nil {
				return err
			}
			if rejection.GetChunkSequence() >= first {
				missed = append(missed, rejection)
			}
		}
	}
	s.upload.ledger.catchUp(upload, missed)
	return nil
}

func (s *uploadStream) awaitStatus() {
	s.stopSending()
	s.watchdog.limit = statusDelay
	s.watchdog.expect()
	for {
		if _, err := s.call.Recv(); err != nil {
			return
		}
	}
}

// send returns an error only if the stream is unusable and will not report why itself.
func (s *uploadStream) send(ctx context.Context) error {
	err := s.sendAll(ctx)
	if ctx.Err() == nil && err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return s.call.CloseSend()
}

func (s *uploadStream) sendAll(ctx context.Context) error {
	open := &v1.UploadEventsRequest_Open{
		AccountId: s.client.AccountID,
		UploadId:  s.upload.id,
		KeepGoing: s.upload.keepGoing,
	}
	opening := &v1.UploadEventsRequest{Message: &v1.UploadEventsRequest_Open_{Open: open}}
	if err := s.sendMessage(ctx, opening); err != nil {
		return err
	}
	select {
	case <-s.opened:
	case <-ctx.Done():
		return ctx.Err()
	}
	for _, chunk := range s.upload.ledger.pending() {
		if err := s.sendMessage(ctx, chunk.request); err != nil {
			return err
		}
	}
	for {
		chunk, err := s.nextChunk(ctx)
		if err != nil {
			return err
		}
		if chunk == nil {
			return s.finish(ctx)
		}
		s.upload.ledger.add(chunk)
		if err := s.sendMessage(ctx, chunk.request); err != nil {
			return err
		}
	}
}

// sendMessage sends nothing once the sending side is to end.
func (s *uploadStream) sendMessage(ctx context.Context, request *v1.UploadEventsRequest) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.call.Send(request)
}

// nextChunk waits for room and for a chunk; it returns nil after the last one.
func (s *uploadStream) nextChunk(ctx context.Context) (*chunk, error) {
	for s.upload.ledger.unackedChunks() >= s.maxUnackedChunks {
		select {
		case <-s.acked:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return s.upload.chunker.next(ctx)
}

// finish follows the last chunk, unless the source failed: then the upload stays open.
func (s *uploadStream) finish(ctx context.Context) error {
	if s.upload.chunker.failure() != nil {
		return nil
	}
	finish := &v1.UploadEventsRequest_Finish{
		LastSequence: s.upload.chunker.lastSequence,
		Source:       s.upload.chunker.digest(),
	}
	s.upload.ledger.finishing(finish.GetSource())
	return s.sendMessage(ctx, &v1.UploadEventsRequest{Message: &v1.UploadEventsRequest_Finish_{Finish: finish}})
}

// continuedByAnother returns the error of an upload that is not where this run has brought it.
func continuedByAnother(uploadID string) error {
	return &Error{Kind: SourceMismatch, Message: fmt.Sprintf(
		"another client has continued upload %q with another source. Use an upload id of its own for each source",
		uploadID)}
}
