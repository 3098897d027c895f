package engagement

// The tokens of a client: a text, or a function that is asked again when its answer expires.

import (
	"context"
	"fmt"
	"sync"
	"time"

	v1 "github.com/engagement-attributes/engagement-attributes/clients/go/v1"
	"google.golang.org/grpc/status"
)

const (
	tokenRenewal  = 30 * time.Second
	reasonExpired = "TOKEN_EXPIRED"
)

// Token is what a [TokenSource] answers.
type Token struct {
	// Value is sent as "authorization: Bearer …".
	Value string
	// ExpiresAt is when the server will refuse it. The token is kept until 30 s before; if the time is zero, it serves
	// one call, and those that wait for it.
	ExpiresAt time.Time
}

// TokenSource returns a token for a call or a stream. Its context is that of the call, and its error is that of the call,
// the upload or the follower.
type TokenSource func(ctx context.Context) (Token, error)

// tokens are those of one client. Safe for concurrent use.
type tokens struct {
	source TokenSource
	// asking is held while the source is asked.
	asking chan struct{}

	mutex   sync.Mutex
	latest  Token
	isKept  bool
	answers int
}

// newTokens returns tokens of a text or, if that is empty, of a source; both may be absent.
func newTokens(text string, source TokenSource) *tokens {
	return &tokens{source: source, latest: Token{Value: text}, asking: make(chan struct{}, 1)}
}

// renewable reports whether there may be another token after one has expired.
func (t *tokens) renewable() bool { return t.source != nil }

// current returns the token of a call that begins now; empty for none.
func (t *tokens) current(ctx context.Context) (string, error) {
	token, answers, isKept := t.look()
	if isKept {
		return token, nil
	}
	select {
	case t.asking <- struct{}{}:
		defer func() { <-t.asking }()
	case <-ctx.Done():
		return "", typedError(ctx, status.FromContextError(ctx.Err()).Err())
	}
	// An answer to another call that came meanwhile serves this one too.
	if token, now, isKept := t.look(); isKept || now != answers {
		return token, nil
	}
	return t.ask(ctx)
}

func (t *tokens) look() (token string, answers int, isKept bool) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	isKept = t.source == nil || t.isKept && time.Now().Before(t.latest.ExpiresAt.Add(-tokenRenewal))
	return t.latest.Value, t.answers, isKept
}

func (t *tokens) ask(ctx context.Context) (string, error) {
	token, err := t.source(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return "", typedError(ctx, status.FromContextError(ctx.Err()).Err())
		}
		return "", fmt.Errorf("engagement: no token: %w", err)
	}
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.latest, t.isKept = token, !token.ExpiresAt.IsZero()
	t.answers++
	return token.Value, nil
}

// discard drops a token that has expired, unless a newer one is kept.
func (t *tokens) discard(token string) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if t.latest.Value == token {
		t.isKept = false
	}
}

// saysExpired reports whether a message announces the end of its stream because the token has expired.
func saysExpired(message any) bool {
	switch response := message.(type) {
	case *v1.UploadEventsResponse:
		return response.GetClosing().GetReason() == v1.UploadEventsResponse_Closing_REASON_UNAUTHENTICATED
	case *v1.SubscribeEventsResponse:
		return response.GetClosing().GetReason() == v1.SubscribeEventsResponse_Closing_REASON_UNAUTHENTICATED
	}
	return false
}
