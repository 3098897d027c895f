package engagement_test

// The files of the shared cases, and messages as they stand in them.

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"github.com/engagement-attributes/engagement-attributes/clients/go/internal/testserver"
	v1 "github.com/engagement-attributes/engagement-attributes/clients/go/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// plain is a value as it comes out of JSON.
func plain(t *testing.T, value map[string]any) map[string]any {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	var result map[string]any
	decode(t, text, &result)
	return result
}

func parseEvent(t *testing.T, text json.RawMessage) *v1.Event {
	t.Helper()
	event := &v1.Event{}
	if err := protojson.Unmarshal(expand(t, text), event); err != nil {
		t.Fatal(err)
	}
	return event
}

var repetition = regexp.MustCompile(`\{\s*"repeat":\s*"(.)",\s*"times":\s*(\d+)\s*\}`)

// expand writes out texts that the cases give as a character and how often it is repeated.
func expand(t *testing.T, text []byte) []byte {
	t.Helper()
	return repetition.ReplaceAllFunc(text, func(found []byte) []byte {
		groups := repetition.FindSubmatch(found)
		times, err := strconv.Atoi(string(groups[2]))
		if err != nil {
			t.Fatal(err)
		}
		return slices.Concat([]byte{'"'}, bytes.Repeat(groups[1], times), []byte{'"'})
	})
}

func parseEvents(t *testing.T, texts []json.RawMessage) []*v1.Event {
	t.Helper()
	events := make([]*v1.Event, len(texts))
	for i, text := range texts {
		events[i] = parseEvent(t, text)
	}
	return events
}

func protoJSON(t *testing.T, message proto.Message) []byte {
	t.Helper()
	text, err := protojson.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// decode refuses what the target has no place for: a part of a case that is not looked at proves nothing.
func decode(t *testing.T, text []byte, target any) {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(target); err != nil {
		t.Fatal(err)
	}
}

func readVectors(t *testing.T, name string, target any) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(testserver.Root(t), "clients", "vectors", name))
	if err != nil {
		t.Fatal(err)
	}
	decode(t, text, target)
}
