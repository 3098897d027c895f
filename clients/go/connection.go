package engagement

// The connection of a client: the defaults of every call.

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
)

const (
	serverService           = "/engagement.v1.ServerService/"
	shortestQuotaDelay      = 100 * time.Millisecond
	defaultTimeout          = 30 * time.Second
	maxReceivedMessageBytes = 16 << 20
)

// An empty name matches every method. Uploads and subscriptions resume by themselves: if the library retried them as
// well, waits of a subscription would go unnoticed.
const serviceConfig = `{
	"methodConfig": [
		{
			"name": [{}],
			"retryPolicy": {
				"maxAttempts": 5,
				"initialBackoff": "0.1s",
				"maxBackoff": "2s",
				"backoffMultiplier": 2,
				"retryableStatusCodes": ["UNAVAILABLE"]
			}
		},
		{
			"name": [
				{"service": "engagement.v1.IngestService", "method": "UploadEvents"},
				{"service": "engagement.v1.EventService", "method": "SubscribeEvents"}
			]
		}
	]
}`

func dialOptions(options ClientOptions, account string, tokens *tokens) []grpc.DialOption {
	transport := insecure.NewCredentials()
	if options.TLS != nil {
		transport = credentials.NewTLS(options.TLS)
	}
	defaults := callDefaults{account: account, timeout: options.Timeout, tokens: tokens}
	dial := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithDefaultServiceConfig(serviceConfig),
		grpc.WithDisableServiceConfig(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxReceivedMessageBytes)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		// The library's default is to wait up to two minutes before it reconnects.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{
				BaseDelay: firstDelay, Multiplier: 2, Jitter: 0.2, MaxDelay: longestDelay,
			},
			MinConnectTimeout: 20 * time.Second,
		}),
		grpc.WithChainUnaryInterceptor(defaults.call),
		grpc.WithChainStreamInterceptor(defaults.open),
	}
	return append(dial, options.DialOptions...)
}

// callDefaults is what every call has.
type callDefaults struct {
	account string
	timeout time.Duration
	tokens  *tokens
}

// describe adds the metadata of a call.
func (d callDefaults) describe(ctx context.Context, method, token string) context.Context {
	if !strings.HasPrefix(method, serverService) {
		ctx = metadata.AppendToOutgoingContext(ctx, "engagement-account", d.account)
	}
	if token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	}
	return ctx
}

// call adds ids to events, and account, token, deadline and typed errors to unary calls. It repeats a call after
// TOKEN_EXPIRED, once, and as quotas ask; the library retries below it. The message is always the same.
func (d callDefaults) call(
	ctx context.Context, method string, request, response any,
	connection *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption,
) error {
	if _, has := ctx.Deadline(); !has {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.timeout)
		defer cancel()
	}
	message := identified(request)
	for hasRenewed := false; ; {
		token, err := d.tokens.current(ctx)
		if err != nil {
			return err
		}
		err = invoke(d.describe(ctx, method, token), method, message, response, connection, options...)
		err = typedError(ctx, explainText(err, request))
		if isExpired(err) {
			d.tokens.discard(token)
			if !hasRenewed && d.tokens.renewable() {
				hasRenewed = true
				continue
			}
		}
		delay, waits := quotaDelay(err)
		if deadline, _ := ctx.Deadline(); !waits || time.Now().Add(delay).After(deadline) {
			return err
		}
		if err := sleep(ctx, delay); err != nil {
			return err
		}
	}
}

// open adds account, token and typed errors to streams.
func (d callDefaults) open(
	ctx context.Context, description *grpc.StreamDesc, connection *grpc.ClientConn, method string,
	open grpc.Streamer, options ...grpc.CallOption,
) (grpc.ClientStream, error) {
	token, err := d.tokens.current(ctx)
	if err != nil {
		return nil, err
	}
	stream, err := open(d.describe(ctx, method, token), description, connection, method, options...)
	if err != nil {
		return nil, typedError(ctx, err)
	}
	return typedStream{stream, ctx, func() { d.tokens.discard(token) }}, nil
}

type typedStream struct {
	grpc.ClientStream
	ctx context.Context
	// discardToken lets the next stream ask for another token.
	discardToken func()
}

func (s typedStream) Header() (metadata.MD, error) {
	header, err := s.ClientStream.Header()
	return header, s.typed(err)
}

func (s typedStream) CloseSend() error { return s.typed(s.ClientStream.CloseSend()) }

func (s typedStream) SendMsg(message any) error {
	return s.typed(explainText(s.ClientStream.SendMsg(message), message))
}

func (s typedStream) RecvMsg(message any) error {
	err := s.typed(s.ClientStream.RecvMsg(message))
	if isExpired(err) || err == nil && saysExpired(message) {
		s.discardToken()
	}
	return err
}

// typed leaves io.EOF, the end of a stream, as it is.
func (s typedStream) typed(err error) error {
	if errors.Is(err, io.EOF) {
		return err
	}
	return typedError(s.ctx, err)
}
