package engagement

// The connection of a client: the defaults of every call.

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
)

const (
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

func dialOptions(options ClientOptions) []grpc.DialOption {
	transport := insecure.NewCredentials()
	if options.TLS != nil {
		transport = credentials.NewTLS(options.TLS)
	}
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
		grpc.WithChainUnaryInterceptor(unaryCalls(options.Timeout)),
		grpc.WithChainStreamInterceptor(streamCalls),
	}
	if options.Token != "" {
		dial = append(dial, grpc.WithPerRPCCredentials(bearerToken(options.Token)))
	}
	return append(dial, options.DialOptions...)
}

// bearerToken is sent with every call.
type bearerToken string

func (t bearerToken) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(t)}, nil
}

// RequireTransportSecurity allows plain text: a proxy on the same machine may encrypt.
func (t bearerToken) RequireTransportSecurity() bool { return false }

// unaryCalls adds ids to events, and a deadline and typed errors to calls. The library retries below it, with the same
// message.
func unaryCalls(timeout time.Duration) grpc.UnaryClientInterceptor {
	return func(
		ctx context.Context, method string, request, response any,
		connection *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption,
	) error {
		if _, has := ctx.Deadline(); !has {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, timeout)
			defer cancel()
		}
		err := invoke(ctx, method, identified(request), response, connection, options...)
		return typedError(ctx, explainText(err, request))
	}
}

// streamCalls adds typed errors to streams.
func streamCalls(
	ctx context.Context, description *grpc.StreamDesc, connection *grpc.ClientConn, method string,
	open grpc.Streamer, options ...grpc.CallOption,
) (grpc.ClientStream, error) {
	stream, err := open(ctx, description, connection, method, options...)
	if err != nil {
		return nil, typedError(ctx, err)
	}
	return typedStream{stream, ctx}, nil
}

type typedStream struct {
	grpc.ClientStream
	ctx context.Context
}

func (s typedStream) Header() (metadata.MD, error) {
	header, err := s.ClientStream.Header()
	return header, s.typed(err)
}

func (s typedStream) CloseSend() error { return s.typed(s.ClientStream.CloseSend()) }

func (s typedStream) SendMsg(message any) error {
	return s.typed(explainText(s.ClientStream.SendMsg(message), message))
}

func (s typedStream) RecvMsg(message any) error { return s.typed(s.ClientStream.RecvMsg(message)) }

// typed leaves io.EOF, the end of a stream, as it is.
func (s typedStream) typed(err error) error {
	if errors.Is(err, io.EOF) {
		return err
	}
	return typedError(s.ctx, err)
}
