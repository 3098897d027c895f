package engagement_test

// The shared cases of messages, texts and errors.

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	engagement "github.com/engagement-attributes/engagement-attributes/clients/go"
	"github.com/engagement-attributes/engagement-attributes/clients/go/internal/testserver"
	v1 "github.com/engagement-attributes/engagement-attributes/clients/go/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

type messageCase struct {
	Name        string
	Message     protoreflect.FullName
	Wire        []byte
	OtherWires  [][]byte `json:"other_wires"`
	JSON        json.RawMessage
	JSONIsLossy bool `json:"json_is_lossy"`
}

// requireWire fails the test unless the message has one of the serialized forms of the case.
func (c messageCase) requireWire(t *testing.T, message proto.Message) {
	t.Helper()
	wire, err := proto.Marshal(message)
	isExpected := func(other []byte) bool { return bytes.Equal(wire, other) }
	if err != nil || !isExpected(c.Wire) && !slices.ContainsFunc(c.OtherWires, isExpected) {
		t.Errorf("serialized as %x (%v), not %x", wire, err, c.Wire)
	}
}

func TestMessagesAreTheSameInEveryLanguage(t *testing.T) {
	var vectors struct{ Cases []messageCase }
	readVectors(t, "events.json", &vectors)
	for _, c := range vectors.Cases {
		t.Run(c.Name, func(t *testing.T) {
			kind, err := protoregistry.GlobalTypes.FindMessageByName(c.Message)
			if err != nil {
				t.Fatal(err)
			}
			fromWire := kind.New().Interface()
			if err := proto.Unmarshal(c.Wire, fromWire); err != nil {
				t.Fatal(err)
			}
			c.requireWire(t, fromWire)

			var actual, expected any
			decode(t, protoJSON(t, fromWire), &actual)
			decode(t, c.JSON, &expected)
			if !reflect.DeepEqual(actual, expected) {
				t.Errorf("as JSON\n%v, not\n%v", actual, expected)
			}
			if c.JSONIsLossy {
				return
			}
			fromJSON := kind.New().Interface()
			if err := protojson.Unmarshal(c.JSON, fromJSON); err != nil {
				t.Fatal(err)
			}
			c.requireWire(t, fromJSON)
		})
	}
}

type textCase struct {
	Name       string
	Unit       string
	Times      int
	Rule       string
	WireBytes  int    `json:"wire_bytes"`
	WireSHA256 string `json:"wire_sha256"`
}

func TestTextAtTheEdgesOfTheLimitComesBackAsItWas(t *testing.T) {
	t.Parallel()
	var vectors struct{ Cases []textCase }
	readVectors(t, "texts.json", &vectors)
	client := connect(t, testserver.Start(t))
	for _, c := range vectors.Cases {
		t.Run(c.Name, func(t *testing.T) {
			ctx := limited(t, testTimeout)
			text := strings.Repeat(c.Unit, c.Times)
			event := customer(c.Name, &v1.CustomerInfo{Balance: &text})
			wire, err := proto.Marshal(event)
			sum := sha256.Sum256(wire)
			if err != nil || len(wire) != c.WireBytes || hex.EncodeToString(sum[:]) != c.WireSHA256 {
				t.Errorf("serialized to %d bytes (%v) with another sum", len(wire), err)
			}
			_, err = client.RecordEvent(ctx, event)
			if c.Rule != "" {
				requireViolation(t, err, "event.customer_info.balance", c.Rule)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			response, err := client.Events.GetEvent(ctx, &v1.GetEventRequest{
				AccountId: client.AccountID, Key: &v1.GetEventRequest_EventId{EventId: c.Name},
			})
			if err != nil {
				t.Fatal(err)
			}
			if stored := response.GetEvent().GetEvent().GetCustomerInfo().GetBalance(); stored != text {
				t.Errorf("%d bytes came back as %d other ones", len(text), len(stored))
			}
		})
	}
}

type errorCase struct {
	Name     string
	Code     codes.Code
	Message  string
	Details  *string
	Expected errorContent
}

// errorContent is what an error holds, as far as the cases tell.
type errorContent struct {
	Kind              engagement.Kind
	Reason            string
	Metadata          map[string]string
	Violations        []violation
	RetryDelaySeconds *float64 `json:"retry_delay_seconds"`
	IsTransient       bool     `json:"is_transient"`
}

type violation struct{ Field, Rule, Description string }

func contentOf(failed *engagement.Error) errorContent {
	content := errorContent{
		Kind:        failed.Kind,
		Reason:      failed.Reason,
		Metadata:    map[string]string{},
		Violations:  []violation{},
		IsTransient: failed.Transient(),
	}
	maps.Copy(content.Metadata, failed.Metadata)
	for _, each := range failed.Violations {
		content.Violations = append(content.Violations, violation(each))
	}
	if delay, is := failed.RetryDelay(); is {
		seconds := delay.Seconds()
		content.RetryDelaySeconds = &seconds
	}
	return content
}

func TestErrorsHoldWhatTheStatusSays(t *testing.T) {
	t.Parallel()
	var vectors struct{ Cases []errorCase }
	readVectors(t, "errors.json", &vectors)
	for _, c := range vectors.Cases {
		t.Run(c.Name, func(t *testing.T) {
			address := refuseAll(t, c.Code, c.Message, c.Details)
			client := connectWith(t, address, account, engagement.ClientOptions{})
			_, err := client.RecordEvent(limited(t, testTimeout), &v1.Event{})
			requireKind(t, err, c.Expected.Kind)
			var failed *engagement.Error
			if !errors.As(err, &failed) {
				t.Fatalf("%v is no error of the client", err)
			}
			if content := contentOf(failed); !reflect.DeepEqual(content, c.Expected) {
				t.Errorf("it holds   %+v\nexpected is %+v", content, c.Expected)
			}
			if failed.Code != c.Code {
				t.Errorf("the code is %v", failed.Code)
			}
			// gRPC takes the message of the details for the same and prefers it.
			if failed.Message != c.Message && c.Name != "foreign-details" {
				t.Errorf("the message is %q", failed.Message)
			}
		})
	}
}

// refuseAll returns the address of a server that ends every call with one status.
func refuseAll(t *testing.T, code codes.Code, message string, details *string) string {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(writer http.ResponseWriter, _ *http.Request) {
		header := writer.Header()
		header.Set("content-type", "application/grpc")
		header.Set("grpc-status", strconv.Itoa(int(code)))
		header.Set("grpc-message", message)
		// Not again: this is about what one status becomes.
		header.Set("grpc-retry-pushback-ms", "-1")
		if details != nil {
			header.Set("grpc-status-details-bin", *details)
		}
	}))
	server.Config.Protocols = &http.Protocols{}
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}
