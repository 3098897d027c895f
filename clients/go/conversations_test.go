package engagement_test

// The shared conversations: what client and server say to each other, message by message.

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"maps"
	"os"
	"reflect"
	"testing"
	"time"

	engagement "github.com/engagement-attributes/engagement-attributes/clients/go"
	"github.com/engagement-attributes/engagement-attributes/clients/go/internal/testserver"
	v1 "github.com/engagement-attributes/engagement-attributes/clients/go/v1"
	"google.golang.org/protobuf/encoding/protojson"
)

const (
	conversationTimeout = 5 * time.Second
	defaultOutage       = 10 * time.Second
	caseTimeout         = 60 * time.Second
)

type conversation struct {
	Name              string
	Rules             any
	TLS               bool
	ClientCertificate bool `json:"client_certificate"`
	Token             string
	Tokens            []listedToken
	MaxOutageSeconds  float64 `json:"max_outage_seconds"`
	Call              map[string]json.RawMessage
	Server            any
	Expected          map[string]any
}

func (c conversation) maxOutage() time.Duration {
	if c.MaxOutageSeconds == 0 {
		return defaultOutage
	}
	return time.Duration(c.MaxOutageSeconds * float64(time.Second))
}

// calls are how a user makes each kind of call, and what comes out of it as JSON.
var calls = map[string]func(context.Context, *testing.T, *engagement.Client, conversation, json.RawMessage) map[string]any{
	"server_info":   serverInfo,
	"record_event":  recordEvent,
	"record_events": recordEvents,
	"list_events":   listEvents,
	"upload":        upload,
	"follow":        follow,
}

func TestConversations(t *testing.T) {
	t.Parallel()
	var vectors struct{ Cases []conversation }
	readVectors(t, "conversations.json", &vectors)
	server := testserver.StartScripted(t)
	// The server is the parent's: it must outlive the parallel cases.
	t.Run("all", func(t *testing.T) {
		for _, c := range vectors.Cases {
			t.Run(c.Name, func(t *testing.T) {
				t.Parallel()
				converse(t, server, c)
			})
		}
	})
}

func converse(t *testing.T, server testserver.Scripted, c conversation) {
	ctx := limited(t, caseTimeout)
	source := &listedTokens{answers: c.Tokens}
	client := connectTo(t, server, c, source)
	for kind, arguments := range c.Call {
		call, known := calls[kind]
		if !known {
			t.Fatalf("the call %q is not known", kind)
		}
		outcome := call(ctx, t, client, c, arguments)
		if c.Tokens != nil {
			outcome["token_asks"] = source.asks
		}
		actual := plain(t, outcome)
		keepNamed(actual["result"], c.Expected["result"])
		if !reflect.DeepEqual(actual, c.Expected) {
			t.Errorf("got      %v\nexpected %v", actual, c.Expected)
		}
	}
	response, err := client.Entities.ListEntities(ctx, &v1.ListEntitiesRequest{
		AccountId: c.Name, Kind: v1.EntityKind_ENTITY_KIND_CUSTOMER_TYPE,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range response.GetNames() {
		t.Error(problem)
	}
}

func connectTo(
	t *testing.T, server testserver.Scripted, c conversation, source *listedTokens,
) *engagement.Client {
	options := engagement.ClientOptions{Token: c.Token, Timeout: conversationTimeout}
	if c.Tokens != nil {
		options.TokenSource = source.next
	}
	address := server.Address
	if c.ClientCertificate {
		address = server.MutualTLSAddress
		files := engagement.TLSFiles{CA: server.CAFile, Certificate: server.CertificateFile, Key: server.KeyFile}
		var err error
		if options.TLS, err = engagement.TLSFromFiles(files); err != nil {
			t.Fatal(err)
		}
	}
	if c.TLS {
		address = server.TLSAddress
		pem, err := os.ReadFile(server.CAFile)
		if err != nil {
			t.Fatal(err)
		}
		if options.TLS, err = engagement.TLSWithRoots(pem); err != nil {
			t.Fatal(err)
		}
	}
	return connectWith(t, address, c.Name, options)
}

func serverInfo(
	ctx context.Context, t *testing.T, client *engagement.Client, _ conversation, _ json.RawMessage,
) map[string]any {
	info, err := client.Server.GetServerInfo(ctx, &v1.GetServerInfoRequest{})
	if err != nil {
		return failure(t, err)
	}
	return map[string]any{"version": info.GetVersion()}
}

func recordEvent(
	ctx context.Context, t *testing.T, client *engagement.Client, _ conversation, arguments json.RawMessage,
) map[string]any {
	var call struct{ Event json.RawMessage }
	decode(t, arguments, &call)
	result, err := client.RecordEvent(ctx, parseEvent(t, call.Event))
	if err != nil {
		return failure(t, err)
	}
	return map[string]any{"result": json.RawMessage(protoJSON(t, result))}
}

func recordEvents(
	ctx context.Context, t *testing.T, client *engagement.Client, _ conversation, arguments json.RawMessage,
) map[string]any {
	var call struct {
		Events       []json.RawMessage
		AllowPartial bool `json:"allow_partial"`
	}
	decode(t, arguments, &call)
	options := engagement.RecordOptions{AllowPartial: call.AllowPartial}
	response, err := client.RecordEvents(ctx, parseEvents(t, call.Events), options)
	if err != nil {
		return failure(t, err)
	}
	return map[string]any{"tally": tallyOf(response.GetTally())}
}

func listEvents(
	ctx context.Context, t *testing.T, client *engagement.Client, _ conversation, _ json.RawMessage,
) map[string]any {
	ids := []string{}
	for stored, err := range client.ListEvents(ctx, nil, engagement.ListOptions{PageSize: 2}) {
		if err != nil {
			return failure(t, err)
		}
		ids = append(ids, stored.GetEvent().GetEventId())
	}
	return map[string]any{"event_ids": ids}
}

var errSource = errors.New("the source fails")

func upload(
	ctx context.Context, t *testing.T, client *engagement.Client, c conversation, arguments json.RawMessage,
) map[string]any {
	var call struct {
		UploadID    string `json:"upload_id"`
		ChunkEvents int    `json:"chunk_events"`
		Events      []json.RawMessage
		FailsAfter  *int `json:"fails_after"`
		KeepGoing   bool `json:"keep_going"`
	}
	decode(t, arguments, &call)
	rejections := []any{}
	uploader := client.NewUploader(engagement.UploadOptions{
		UploadID:    call.UploadID,
		ChunkEvents: call.ChunkEvents,
		KeepGoing:   call.KeepGoing,
		MaxOutage:   c.maxOutage(),
		OnRejection: func(rejected engagement.RejectedEvent) {
			rejections = append(rejections, map[string]any{
				"position": rejected.Position,
				"event_id": rejected.Event.GetEventId(),
				"reason":   rejected.Error.GetReason().String()[len("ERROR_REASON_"):],
			})
		},
	})
	summary, err := uploader.Upload(ctx, failingSource(parseEvents(t, call.Events), call.FailsAfter))
	if err != nil {
		result := failure(t, err)
		result["rejections"] = rejections
		return result
	}
	return map[string]any{
		"summary": map[string]any{
			"tally":            tallyOf(summary.Tally),
			"events":           summary.Events,
			"reconnects":       summary.Reconnects,
			"skipped_events":   summary.SkippedEvents,
			"resumed_by_count": summary.ResumedByCount,
		},
		"rejections": rejections,
	}
}

func failingSource(events []*v1.Event, failsAfter *int) iter.Seq2[*v1.Event, error] {
	return func(yield func(*v1.Event, error) bool) {
		for i, event := range events {
			if failsAfter != nil && i == *failsAfter {
				break
			}
			if !yield(event, nil) {
				return
			}
		}
		if failsAfter != nil {
			yield(nil, errSource)
		}
	}
}

func follow(
	ctx context.Context, t *testing.T, client *engagement.Client, c conversation, arguments json.RawMessage,
) map[string]any {
	var call struct {
		Request json.RawMessage
		Take    int
	}
	decode(t, arguments, &call)
	request := &v1.SubscribeEventsRequest{}
	if err := protojson.Unmarshal(call.Request, request); err != nil {
		t.Fatal(err)
	}
	erasures := []string{}
	follower := client.NewFollower(startOf(t, request), engagement.FollowOptions{
		Filter:     request.GetFilter(),
		StopAtTail: request.GetStopAtTail(),
		MaxOutage:  c.maxOutage(),
		OnErasure: func(_ context.Context, notice *v1.SubscribeEventsResponse_ErasureNotice) error {
			erasures = append(erasures, notice.GetErasureId())
			return nil
		},
	})
	result := map[string]any{}
	steps := []any{}
	for stored, err := range follower.Events(ctx) {
		if err != nil {
			result = failure(t, err)
			break
		}
		steps = append(steps, map[string]any{
			"event_id": stored.GetEvent().GetEventId(), "cursor": follower.Cursor(),
		})
		if len(steps) == call.Take {
			break
		}
	}
	result["steps"], result["cursor"], result["erasures"] = steps, follower.Cursor(), erasures
	return result
}

func startOf(t *testing.T, request *v1.SubscribeEventsRequest) engagement.Start {
	switch start := request.GetStart().(type) {
	case *v1.SubscribeEventsRequest_AfterCursor:
		return engagement.AfterCursor(start.AfterCursor)
	case *v1.SubscribeEventsRequest_Earliest:
		return engagement.Earliest()
	case *v1.SubscribeEventsRequest_Latest:
		return engagement.Latest()
	case *v1.SubscribeEventsRequest_StartTime:
		return engagement.StartTime(start.StartTime.AsTime())
	}
	t.Fatalf("the start of %v is not known", request)
	return nil
}

// failure is an error as the cases have it.
func failure(t *testing.T, err error) map[string]any {
	if errors.Is(err, errSource) {
		return map[string]any{"error": map[string]any{"kind": "source", "reason": ""}}
	}
	var failed *engagement.Error
	if !errors.As(err, &failed) {
		t.Fatalf("%v is no error of the client", err)
	}
	return map[string]any{"error": map[string]any{"kind": string(failed.Kind), "reason": failed.Reason}}
}

// tallyOf leaves out what is zero, as JSON of the contract does.
func tallyOf(tally *v1.Tally) map[string]any {
	counts := map[string]any{}
	for outcome, count := range map[string]int64{
		"accepted":   tally.GetAccepted(),
		"duplicate":  tally.GetDuplicate(),
		"rejected":   tally.GetRejected(),
		"suppressed": tally.GetSuppressed(),
	} {
		if count > 0 {
			counts[outcome] = count
		}
	}
	return counts
}

// keepNamed removes the members that a case does not name: an id that the client made, for example.
func keepNamed(actual, expected any) {
	members, _ := actual.(map[string]any)
	named, _ := expected.(map[string]any)
	maps.DeleteFunc(members, func(name string, _ any) bool { _, is := named[name]; return !is })
}
