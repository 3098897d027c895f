package engagement_test

// Uploads that are resumed with the same source or another one.

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strconv"
	"strings"
	"testing"

	engagement "github.com/engagement-attributes/engagement-attributes/clients/go"
	"github.com/engagement-attributes/engagement-attributes/clients/go/internal/testserver"
	v1 "github.com/engagement-attributes/engagement-attributes/clients/go/v1"
)

func TestResumedUploadRefusesAnotherSourceAndSaysWhereItDiffers(t *testing.T) {
	t.Parallel()
	ctx := limited(t, testTimeout)
	client := connect(t, testserver.Start(t))
	options := engagement.UploadOptions{UploadID: "u", ChunkEvents: 5}
	if _, err := client.NewUploader(options).Upload(ctx, failingAfter(20)); !errors.Is(err, errSource) {
		t.Fatalf("the first ended with %v", err)
	}
	changed := func(yield func(*v1.Event, error) bool) {
		for n := range 40 {
			event := numberedEvent(n)
			event.Authenticated = n == 12
			if !yield(event, nil) {
				return
			}
		}
	}
	requireMismatch(ctx, t, client, changed, "differs between events 10 and 15")
	requireMismatch(ctx, t, client, numbered(19), "ends after 19 events")
	requireUpload(ctx, t, client, "u", v1.Upload_STATE_OPEN, 20)

	summary, err := client.NewUploader(options).Upload(ctx, numbered(40))
	if err != nil || summary.SkippedEvents != 20 || summary.ResumedByCount || summary.Tally.GetAccepted() != 40 {
		t.Errorf("the same source: %+v, %v", summary, err)
	}
}

func TestFinishedUploadReturnsItsSummaryForItsSourceOnly(t *testing.T) {
	t.Parallel()
	ctx := limited(t, testTimeout)
	client := connect(t, testserver.Start(t))
	options := engagement.UploadOptions{UploadID: "u"}
	for _, skipped := range []int64{0, 20} {
		summary, err := client.NewUploader(options).Upload(ctx, numbered(20))
		if err != nil || summary.Events != 20 || summary.SkippedEvents != skipped {
			t.Errorf("%+v, %v", summary, err)
		}
	}
	requireMismatch(ctx, t, client, numbered(0), "ends after 0 events")
	requireMismatch(ctx, t, client, numbered(21), "has more events")
	if _, err := client.NewUploader(options).Upload(ctx, failingAfter(3)); !errors.Is(err, errSource) {
		t.Errorf("a source that fails ended with %v", err)
	}
	cancelled, cancel := context.WithCancel(ctx)
	endless := func(yield func(*v1.Event, error) bool) {
		cancel()
		for yield(numberedEvent(0), nil) {
		}
	}
	if _, err := client.NewUploader(options).Upload(cancelled, endless); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled comparison ended with %v", err)
	}
	requireUpload(ctx, t, client, "u", v1.Upload_STATE_FINISHED, 20)
}

// requireMismatch fails the test unless the upload refuses the source and says how it differs.
func requireMismatch(
	ctx context.Context, t *testing.T, client *engagement.Client, source iter.Seq2[*v1.Event, error], difference string,
) {
	t.Helper()
	_, err := client.NewUploader(engagement.UploadOptions{UploadID: "u"}).Upload(ctx, source)
	requireKind(t, err, engagement.SourceMismatch)
	if !strings.Contains(err.Error(), difference) {
		t.Errorf("%q does not say that the source %s", err, difference)
	}
}

func TestEventThatCannotBeSentCountsAsPartOfTheSource(t *testing.T) {
	t.Parallel()
	ctx := limited(t, testTimeout)
	client := connect(t, testserver.Start(t))
	notText, large := "\xff", strings.Repeat("x", 9_000_000)
	// The last events are the source's own end, which is later than that of the last chunk.
	unsendable := map[int]*v1.Event{
		2: {AdditionalAttributes: map[string]string{notText: ""}},
		5: customer("large", &v1.CustomerInfo{Balance: &large}),
		8: customer("", &v1.CustomerInfo{Balance: &notText}),
	}
	source := func(yield func(*v1.Event, error) bool) {
		for n := range 9 {
			event := numberedEvent(n)
			if bad, is := unsendable[n]; is {
				event = bad
			}
			if !yield(event, nil) {
				return
			}
		}
	}
	expected := []string{
		`2 additional_attributes["\xff"] string.utf8`, "5  server.event.max_bytes", "8 customer_info.balance string.utf8",
	}
	for range 2 {
		var rejected []string
		summary, err := client.NewUploader(engagement.UploadOptions{
			UploadID: "u",
			OnRejection: func(r engagement.RejectedEvent) {
				violation := r.Error.GetViolations()[0]
				rejected = append(rejected,
					strings.Join([]string{strconv.FormatInt(r.Position, 10), violation.GetField(), violation.GetRule()}, " "))
			},
		}).Upload(ctx, source)
		if err != nil {
			t.Fatal(err)
		}
		if summary.Events != 9 || summary.Tally.GetAccepted() != 6 || summary.Tally.GetRejected() != 3 {
			t.Errorf("the summary is %+v", summary)
		}
		if !slices.Equal(rejected, expected) {
			t.Errorf("rejected are %q", rejected)
		}
	}
}
