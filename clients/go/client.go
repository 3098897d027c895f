package engagement

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"iter"
	"time"

	v1 "github.com/engagement-attributes/engagement-attributes/clients/go/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
)

// ErrClosed is returned by uploads and followers whose client is closed.
var ErrClosed = errors.New("engagement: the client is closed")

// ClientOptions configures a client. The zero value connects in plain text, without a token.
type ClientOptions struct {
	// TLS encrypts the connection: an empty configuration trusts the system's roots, that of [TLSWithRoots] the
	// certificates of a PEM text, and [TLSFromFiles] adds a certificate of the client. Nil: plain text.
	TLS *tls.Config
	// Token is sent with every call as "authorization: Bearer …". Empty: none, or those of TokenSource.
	Token string
	// TokenSource is asked for a token before a call or a stream, unless its last answer is good for 30 s more, and
	// once more after TOKEN_EXPIRED.
	TokenSource TokenSource
	// AllowPlaintextToken lets a token leave this machine in plain text, for networks that encrypt by themselves.
	AllowPlaintextToken bool
	// Timeout is the deadline of a call whose context has none, including retries and waits, and bounds the
	// time in which a stream must open. 0: 30 seconds.
	Timeout time.Duration
	// DialOptions are added to the client's own, for example for statistics, compression or interceptors.
	DialOptions []grpc.DialOption
}

// Client talks to one server for one account, over one connection. It is safe for concurrent use.
//
// Every unary call, including those through the services, is safe to repeat, because events without an id get one
// before they are sent. Calls that end UNAVAILABLE are attempted up to five times. The two streams are not retried; an
// [Uploader] and a [Follower] resume them. A failed call returns an [*Error], a cancelled one [context.Canceled].
type Client struct {
	// AccountID is the account that the client's methods use.
	AccountID string

	// Ingest records events.
	Ingest v1.IngestServiceClient
	// Events reads stored events.
	Events v1.EventServiceClient
	// Entities maintains the account's lists of customer statuses and types.
	Entities v1.EntityServiceClient
	// Privacy erases personal data.
	Privacy v1.PrivacyServiceClient
	// Server reports the server's version and limits.
	Server v1.ServerServiceClient

	tokens     *tokens
	timeout    time.Duration
	connection *grpc.ClientConn
	closed     context.Context
	markClosed context.CancelCauseFunc
}

// NewClient returns a client of the server at target, such as "127.0.0.1:50051", for one account. It connects
// with its first call. An error means that the target or the options are invalid.
func NewClient(target, accountID string, options ClientOptions) (*Client, error) {
	if options.Timeout == 0 {
		options.Timeout = defaultTimeout
	}
	if err := checkToken(target, options); err != nil {
		return nil, err
	}
	tokens := newTokens(options.Token, options.TokenSource)
	connection, err := grpc.NewClient(target, dialOptions(options, accountID, tokens)...)
	if err != nil {
		return nil, err
	}
	closed, markClosed := context.WithCancelCause(context.Background())
	return &Client{
		AccountID:  accountID,
		Ingest:     v1.NewIngestServiceClient(connection),
		Events:     v1.NewEventServiceClient(connection),
		Entities:   v1.NewEntityServiceClient(connection),
		Privacy:    v1.NewPrivacyServiceClient(connection),
		Server:     v1.NewServerServiceClient(connection),
		tokens:     tokens,
		timeout:    options.Timeout,
		connection: connection,
		closed:     closed,
		markClosed: markClosed,
	}, nil
}

func checkToken(target string, options ClientOptions) error {
	switch {
	case options.Token != "" && options.TokenSource != nil:
		return errors.New("engagement: Token and TokenSource are both set; set one of them")
	case options.Token == "" && options.TokenSource == nil:
		return nil
	case options.TLS != nil || options.AllowPlaintextToken || isThisMachine(target):
		return nil
	}
	return fmt.Errorf("engagement: a token for %s would go over the network in plain text; set TLS, or "+
		"AllowPlaintextToken if the network itself encrypts", target)
}

// Close closes the connection and ends all running calls; uploads and followers return [ErrClosed].
func (c *Client) Close() error {
	c.markClosed(ErrClosed)
	return c.connection.Close()
}

// RecordEvent records one event; the outcome is accepted, duplicate or suppressed. An event without an id is
// sent with a UUIDv7, which the result has; the event itself is not modified.
//
// If the event is rejected, the error is an InvalidArgument or a Conflict.
func (c *Client) RecordEvent(ctx context.Context, event *v1.Event) (*v1.EventResult, error) {
	response, err := c.Ingest.RecordEvent(ctx, &v1.RecordEventRequest{AccountId: c.AccountID, Event: event})
	if err != nil {
		return nil, err
	}
	return response.GetResult(), nil
}

// RecordOptions configures [Client.RecordEvents].
type RecordOptions struct {
	// AllowPartial stores the valid events and reports the others in the results, instead of refusing the whole
	// call.
	AllowPartial bool
	// ValidateOnly runs every check but stores nothing.
	ValidateOnly bool
}

// RecordEvents records up to 500 events in one transaction: all or none, unless AllowPartial is set. Events
// without an id are sent with a UUIDv7.
//
// If the call is refused because of an event, the error is an InvalidArgument or a Conflict.
func (c *Client) RecordEvents(
	ctx context.Context, events []*v1.Event, options RecordOptions,
) (*v1.RecordEventsResponse, error) {
	return c.Ingest.RecordEvents(ctx, &v1.RecordEventsRequest{
		AccountId:    c.AccountID,
		Events:       events,
		AllowPartial: options.AllowPartial,
		ValidateOnly: options.ValidateOnly,
	})
}

// ListOptions configures [Client.ListEvents].
type ListOptions struct {
	// NewestFirst lists the latest accepted event first.
	NewestFirst bool
	// PageSize is the number of events that one call reads. 0: 1,000, the maximum.
	PageSize int
	// ReadMask names the fields of StoredEvent to read, such as "event.customer_info". Empty: all.
	ReadMask []string
}

// ListEvents iterates over the stored events that match a filter, page by page, without gaps or repeats. A nil
// filter matches all. An error ends the iteration.
func (c *Client) ListEvents(
	ctx context.Context, filter *v1.EventFilter, options ListOptions,
) iter.Seq2[*v1.StoredEvent, error] {
	request := &v1.ListEventsRequest{
		AccountId:   c.AccountID,
		Filter:      filter,
		PageSize:    int32(options.PageSize),
		NewestFirst: options.NewestFirst,
	}
	if request.PageSize == 0 {
		request.PageSize = largestPage
	}
	if len(options.ReadMask) > 0 {
		request.ReadMask = &fieldmaskpb.FieldMask{Paths: options.ReadMask}
	}
	return pages(func(token string) ([]*v1.StoredEvent, string, error) {
		request := proto.CloneOf(request)
		request.PageToken = token
		response, err := c.Events.ListEvents(ctx, request)
		return response.GetEvents(), response.GetNextPageToken(), err
	})
}

// UploadRejections iterates over the events of an upload that the server rejected, in order, including those of
// earlier runs. An error ends the iteration; it is NotFound if the upload was never opened.
func (c *Client) UploadRejections(ctx context.Context, uploadID string) iter.Seq2[*v1.UploadResult, error] {
	return pages(func(token string) ([]*v1.UploadResult, string, error) {
		response, err := c.Ingest.GetUpload(ctx, &v1.GetUploadRequest{
			AccountId: c.AccountID, UploadId: uploadID, PageSize: largestPage, PageToken: token,
		})
		return response.GetRejections(), response.GetNextPageToken(), err
	})
}

const largestPage = 1000

// pages iterates over the items of all pages; read returns those of one page and the token of the next.
func pages[Item any](read func(token string) ([]Item, string, error)) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		token := ""
		for {
			items, next, err := read(token)
			if err != nil {
				yield(*new(Item), err)
				return
			}
			for _, item := range items {
				if !yield(item, nil) {
					return
				}
			}
			// An empty page is not necessarily the last; an empty token is.
			if next == "" {
				return
			}
			token = next
		}
	}
}

// during returns a context that also ends when the client is closed.
func (c *Client) during(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(c.closed, func() { cancel(ErrClosed) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// endOf returns why a context of [Client.during] ended, as callers get it.
func endOf(ctx context.Context) error {
	if errors.Is(context.Cause(ctx), ErrClosed) {
		return ErrClosed
	}
	return typedError(ctx, status.FromContextError(ctx.Err()).Err())
}
