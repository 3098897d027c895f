package engagement_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	engagement "github.com/engagement-attributes/engagement-attributes/clients/go"
	"github.com/engagement-attributes/engagement-attributes/clients/go/internal/testserver"
	v1 "github.com/engagement-attributes/engagement-attributes/clients/go/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

func TestRecordedEventIsListed(t *testing.T) {
	t.Parallel()
	ctx := limited(t, testTimeout)
	client := connect(t, testserver.Start(t))
	balance := "-400.99"
	event := customer("", &v1.CustomerInfo{Balance: &balance})

	result, err := client.RecordEvent(ctx, event)
	if err != nil {
		t.Fatal(err)
	}
	if result.GetOutcome() != v1.Outcome_OUTCOME_ACCEPTED || result.GetCursor() == "" {
		t.Errorf("the result is %v", result)
	}
	if event.GetEventId() != "" {
		t.Error("the caller's event got an id")
	}
	for stored, err := range client.ListEvents(ctx, nil, engagement.ListOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		if stored.GetEvent().GetEventId() != result.GetEventId() ||
			stored.GetEvent().GetCustomerInfo().GetBalance() != balance {
			t.Errorf("%v is stored", stored)
		}
	}
}

func TestEventsGetTheirIDsBeforeTheyAreSentThroughTheServicesToo(t *testing.T) {
	t.Parallel()
	ctx := limited(t, testTimeout)
	var sent []*v1.Event
	watch := func(
		ctx context.Context, method string, request, response any,
		connection *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption,
	) error {
		sent = append(sent, request.(*v1.RecordEventsRequest).GetEvents()...)
		return invoke(ctx, method, request, response, connection, options...)
	}
	client := connectWith(t, testserver.Start(t).Address, account, engagement.ClientOptions{
		DialOptions: []grpc.DialOption{grpc.WithChainUnaryInterceptor(watch)},
	})
	info := &v1.CustomerInfo{}
	events := []*v1.Event{customer("", info), customer("a", info), customer("", info)}
	response, err := client.Ingest.RecordEvents(ctx, &v1.RecordEventsRequest{AccountId: account, Events: events})
	if err != nil {
		t.Fatal(err)
	}
	for i, result := range response.GetResults() {
		if id := sent[i].GetEventId(); id == "" || id != result.GetEventId() {
			t.Errorf("%q was sent, %q recorded", id, result.GetEventId())
		}
	}
	if events[0].GetEventId() != "" || sent[1].GetEventId() != "a" || sent[0].GetEventId() >= sent[2].GetEventId() {
		t.Errorf("of %v, %v was sent", events, sent)
	}
}

func TestRejectedEventIsATypedError(t *testing.T) {
	t.Parallel()
	ctx := limited(t, testTimeout)
	client := connect(t, testserver.Start(t))
	long := strings.Repeat("x", 50_001)

	_, err := client.RecordEvent(ctx, customer("", &v1.CustomerInfo{Balance: &long}))
	requireViolation(t, err, "event.customer_info.balance", "string.max_len")
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("the code is %v", status.Code(err))
	}
	expected := "INVALID_ARGUMENT / FIELD_INVALID: event.customer_info.balance: must be at most 50000 characters\n" +
		"  event.customer_info.balance: must be at most 50000 characters (string.max_len)"
	if err.Error() != expected {
		t.Errorf("the error reads %q", err)
	}

	_, err = client.Events.GetEvent(ctx, &v1.GetEventRequest{
		AccountId: account, Key: &v1.GetEventRequest_EventId{EventId: "nothing"},
	})
	requireKind(t, err, engagement.NotFound)
	if errors.Is(err, engagement.Conflict) {
		t.Error("it is of two kinds")
	}
}

func TestTextThatIsNotUTF8IsRefusedWithItsField(t *testing.T) {
	t.Parallel()
	ctx := limited(t, testTimeout)
	client := connect(t, testserver.Start(t))
	notText := "\xff"

	_, err := client.RecordEvent(ctx, customer("", &v1.CustomerInfo{Balance: &notText}))
	requireViolation(t, err, "event.customer_info.balance", "string.utf8")
	if failed := (*engagement.Error)(nil); errors.As(err, &failed) && failed.Transient() {
		t.Error("it can be tried again")
	}
	named := customer("b", &v1.CustomerInfo{})
	named.AdditionalAttributes = map[string]string{"k": notText}
	_, err = client.RecordEvents(ctx, []*v1.Event{numberedEvent(1), named}, engagement.RecordOptions{AllowPartial: true})
	requireViolation(t, err, `events[1].additional_attributes["k"]`, "string.utf8")

	_, err = client.NewUploader(engagement.UploadOptions{UploadID: notText}).Upload(ctx, numbered(1))
	requireViolation(t, err, "open.upload_id", "string.utf8")
	filter := &v1.EventFilter{CustomerIds: []string{notText}}
	for _, err := range client.NewFollower(engagement.Earliest(), engagement.FollowOptions{Filter: filter}).Events(ctx) {
		requireViolation(t, err, "filter.customer_ids[0]", "string.utf8")
	}
	requireNumbered(ctx, t, client, 0)
}

func TestRecordEventsIsAllOrNothingUnlessAsked(t *testing.T) {
	t.Parallel()
	ctx := limited(t, testTimeout)
	client := connect(t, testserver.Start(t))
	one, other := "1", "2"
	events := []*v1.Event{
		customer("a", &v1.CustomerInfo{Balance: &one}), customer("a", &v1.CustomerInfo{Balance: &other}),
	}

	_, err := client.RecordEvents(ctx, events, engagement.RecordOptions{})
	requireKind(t, err, engagement.Conflict)
	response, err := client.RecordEvents(ctx, events, engagement.RecordOptions{AllowPartial: true})
	if err != nil {
		t.Fatal(err)
	}
	if response.GetTally().GetAccepted() != 1 || response.GetTally().GetRejected() != 1 {
		t.Errorf("the tally is %v", response.GetTally())
	}
}

func TestListWalksAllPagesInEitherOrder(t *testing.T) {
	t.Parallel()
	ctx := limited(t, testTimeout)
	client := connect(t, testserver.Start(t))
	for event := range numbered(5) {
		if _, err := client.RecordEvent(ctx, event); err != nil {
			t.Fatal(err)
		}
	}
	list := func(options engagement.ListOptions) []string {
		var ids []string
		for stored, err := range client.ListEvents(ctx, &v1.EventFilter{}, options) {
			if err != nil {
				t.Fatal(err)
			}
			if stored.GetEvent().GetCustomerInfo() != nil {
				t.Error("the mask does not hold")
			}
			ids = append(ids, stored.GetEvent().GetEventId())
		}
		return ids
	}
	mask := []string{"event.event_id"}
	oldest := list(engagement.ListOptions{PageSize: 2, ReadMask: mask})
	newest := list(engagement.ListOptions{PageSize: 2, ReadMask: mask, NewestFirst: true})
	if expected := []string{"0", "1", "2", "3", "4"}; !slices.Equal(oldest, expected) {
		t.Errorf("listed %v", oldest)
	}
	if slices.Reverse(newest); !slices.Equal(newest, oldest) {
		t.Errorf("newest first, listed %v", newest)
	}
}

func TestLargestEventIsReadBackWithinTheDefaultLimitOfGRPC(t *testing.T) {
	t.Parallel()
	ctx := limited(t, testTimeout)
	const mostBytes, defaultLimit = 3_670_016, 4 << 20
	client := connectWith(t, testserver.Start(t).Address, account, engagement.ClientOptions{
		DialOptions: []grpc.DialOption{grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(defaultLimit))},
	})
	event := customer("large", &v1.CustomerInfo{})
	event.AdditionalAttributes = map[string]string{}
	for n := range 73 {
		event.AdditionalAttributes[strconv.Itoa(n)] = strings.Repeat("v", 49_990)
	}
	// A tag and a length of three bytes come with it.
	event.ConsumerId = strings.Repeat("c", mostBytes-proto.Size(event)-4)
	if size := proto.Size(event); size != mostBytes {
		t.Fatalf("the event has %d bytes", size)
	}
	if _, err := client.RecordEvent(ctx, event); err != nil {
		t.Fatal(err)
	}
	count := 0
	for stored, err := range client.ListEvents(ctx, nil, engagement.ListOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		count++
		if !maps.Equal(stored.GetEvent().GetAdditionalAttributes(), event.GetAdditionalAttributes()) {
			t.Error("it came back as another one")
		}
	}
	if count != 1 {
		t.Errorf("%d events came back", count)
	}

	event.ConsumerId += "c"
	_, err := client.RecordEvent(ctx, event)
	requireViolation(t, err, "event", "server.event.max_bytes")
}

func TestCallHasADeadline(t *testing.T) {
	t.Parallel()
	ctx := limited(t, testTimeout)
	address := silentAddress(t)
	client := connectWith(t, address, account, engagement.ClientOptions{Timeout: 200 * time.Millisecond})

	_, err := client.RecordEvent(ctx, numberedEvent(1))
	requireKind(t, err, engagement.Deadline)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Error("it is not that of a context")
	}

	patient := connectWith(t, address, account, engagement.ClientOptions{})
	ctx, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	_, err = patient.RecordEvent(ctx, numberedEvent(1))
	requireKind(t, err, engagement.Deadline)
}

func TestCancelledCallEndsAsCancelled(t *testing.T) {
	t.Parallel()
	client := connectWith(t, silentAddress(t), account, engagement.ClientOptions{})
	ctx, cancel := context.WithCancel(limited(t, testTimeout))
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := client.RecordEvent(ctx, numberedEvent(1)); !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
}

func TestClientConnectsAgainSoonAfterARestart(t *testing.T) {
	t.Parallel()
	ctx := limited(t, testTimeout)
	server := testserver.Start(t)
	client := connect(t, server)
	record := func() error {
		_, err := client.RecordEvent(ctx, numberedEvent(1))
		return err
	}
	if err := record(); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	requireKind(t, record(), engagement.Unavailable)
	server.Restart()
	restarted := time.Now()
	waitUntil(ctx, t, func() bool { return record() == nil })
	if waited := time.Since(restarted); waited > 8*time.Second {
		t.Errorf("it takes %v", waited)
	}
}

func TestRootsWithoutACertificateAreRefused(t *testing.T) {
	if _, err := engagement.TLSWithRoots([]byte("no certificate")); err == nil {
		t.Error("no certificate is taken for one")
	}
}
