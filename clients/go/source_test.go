package engagement_test

// What identifies a source: the canonical form of its events, and what an upload does with another source.

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	engagement "github.com/engagement-attributes/engagement-attributes/clients/go"
	"github.com/engagement-attributes/engagement-attributes/clients/go/internal/testserver"
	v1 "github.com/engagement-attributes/engagement-attributes/clients/go/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

func TestSourcesHaveTheSameDigestInEveryLanguage(t *testing.T) {
	var vectors struct {
		Cases []struct {
			Name   string
			Salt   string
			Events [][]byte
			SHA256 string
		}
	}
	readVectors(t, "sources.json", &vectors)
	for _, c := range vectors.Cases {
		t.Run(c.Name, func(t *testing.T) {
			events := make([]*v1.Event, len(c.Events))
			for i, wire := range c.Events {
				events[i] = &v1.Event{}
				if err := proto.Unmarshal(wire, events[i]); err != nil {
					t.Fatal(err)
				}
			}
			digest, err := engagement.DigestSource(c.Salt, events)
			if err != nil || digest.GetEvents() != int64(len(events)) || digest.GetSha256() != c.SHA256 {
				t.Errorf("the digest is %v, %v", digest, err)
			}
		})
	}
}

func TestCanonicalFormOfAnyEventIsWhatTheContractSays(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	for range 3000 {
		event := &v1.Event{}
		fillRandomly(random, event.ProtoReflect())
		form, err := engagement.CanonicalForm(event)
		if err != nil {
			t.Fatal(err)
		}
		if expected := slowForm(event.ProtoReflect()); !bytes.Equal(form, expected) {
			t.Fatalf("seed %d: the form of %v is\n%x, not\n%x", seed, event, form, expected)
		}
		parsed := &v1.Event{}
		if err := proto.Unmarshal(form, parsed); err != nil || !proto.Equal(parsed, event) {
			t.Fatalf("seed %d: parsed, the form of %v is %v, %v", seed, event, parsed, err)
		}
	}
}

// fillRandomly sets some of the fields of a message, and unknown ones.
func fillRandomly(random *rand.Rand, message protoreflect.Message) {
	texts := []string{"", "a", "a.b", "ab", "Z", "ä", "\uffff", "😀"}
	scalar := func(field protoreflect.FieldDescriptor) protoreflect.Value {
		switch field.Kind() {
		case protoreflect.StringKind:
			return protoreflect.ValueOfString(texts[random.IntN(len(texts))])
		case protoreflect.BoolKind:
			return protoreflect.ValueOfBool(random.IntN(2) == 0)
		case protoreflect.Int32Kind:
			return protoreflect.ValueOfInt32(random.Int32N(5) - 2)
		case protoreflect.Int64Kind:
			return protoreflect.ValueOfInt64(random.Int64() - random.Int64())
		}
		panic("a kind that events have not had so far: " + field.Kind().String())
	}
	fields := message.Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		if random.IntN(3) == 0 {
			continue
		}
		switch {
		case field.IsMap():
			for range random.IntN(6) {
				message.Mutable(field).Map().Set(scalar(field.MapKey()).MapKey(), scalar(field.MapValue()))
			}
		case field.IsList():
			for range random.IntN(3) {
				fillRandomly(random, message.Mutable(field).List().AppendMutable().Message())
			}
		case field.Message() != nil:
			fillRandomly(random, message.Mutable(field).Message())
		default:
			message.Set(field, scalar(field))
		}
	}
	for _, number := range []protowire.Number{900, 12, 11, 25}[random.IntN(5):] {
		message.SetUnknown(protowire.AppendVarint(
			protowire.AppendTag(message.GetUnknown(), number, protowire.VarintType), 7))
	}
}

// slowForm follows the words of the contract.
func slowForm(message protoreflect.Message) []byte {
	var form []byte
	appendBytes := func(field protoreflect.FieldDescriptor, content []byte) {
		form = protowire.AppendTag(form, field.Number(), protowire.BytesType)
		form = protowire.AppendBytes(form, content)
	}
	for _, field := range fieldsInOrder(message) {
		value := message.Get(field)
		switch {
		case field.IsMap():
			for _, key := range keysInOrder(value.Map()) {
				entry := slowText(nil, field.MapKey(), key)
				entry = slowText(entry, field.MapValue(), value.Map().Get(protoreflect.ValueOfString(key).MapKey()).String())
				appendBytes(field, entry)
			}
		case field.IsList():
			for i := range value.List().Len() {
				appendBytes(field, slowForm(value.List().Get(i).Message()))
			}
		case field.Message() != nil:
			appendBytes(field, slowForm(value.Message()))
		case field.Kind() == protoreflect.StringKind:
			form = slowText(form, field, value.String())
		case field.Kind() == protoreflect.BoolKind:
			form = protowire.AppendTag(form, field.Number(), protowire.VarintType)
			form = protowire.AppendVarint(form, protowire.EncodeBool(value.Bool()))
		default:
			form = protowire.AppendTag(form, field.Number(), protowire.VarintType)
			form = protowire.AppendVarint(form, uint64(value.Int()))
		}
	}
	return append(form, message.GetUnknown()...)
}

func slowText(form []byte, field protoreflect.FieldDescriptor, text string) []byte {
	return protowire.AppendString(protowire.AppendTag(form, field.Number(), protowire.BytesType), text)
}

func fieldsInOrder(message protoreflect.Message) []protoreflect.FieldDescriptor {
	var fields []protoreflect.FieldDescriptor
	message.Range(func(field protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		fields = append(fields, field)
		return true
	})
	slices.SortFunc(fields, func(a, b protoreflect.FieldDescriptor) int { return int(a.Number() - b.Number()) })
	return fields
}

func keysInOrder(entries protoreflect.Map) []string {
	var keys []string
	entries.Range(func(key protoreflect.MapKey, _ protoreflect.Value) bool {
		keys = append(keys, key.String())
		return true
	})
	slices.SortFunc(keys, func(a, b string) int { return bytes.Compare([]byte(a), []byte(b)) })
	return keys
}

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
