package engagement

// The events of a chunk, seen from inside: their cost, and that they are what the contract says.

import (
	"testing"

	v1 "github.com/engagement-attributes/engagement-attributes/clients/go/v1"
	"google.golang.org/protobuf/proto"
)

func TestChunkIsARequestOfTheContract(t *testing.T) {
	drafted := draft{}
	events := []*v1.Event{typicalEvent("a"), typicalEvent(""), {EventId: "c"}}
	for _, event := range events {
		form, err := canonicalForm(nil, event)
		if err != nil {
			t.Fatal(err)
		}
		drafted.add(form)
	}
	source := &v1.SourceDigest{Events: 7, Sha256: "abc"}
	made := drafted.finish(1<<40, source)
	wire, err := proto.Marshal(made.request)
	if err != nil {
		t.Fatal(err)
	}
	parsed := &v1.UploadEventsRequest{}
	if err := proto.Unmarshal(wire, parsed); err != nil {
		t.Fatal(err)
	}
	expected := &v1.UploadEventsRequest{Message: &v1.UploadEventsRequest_Chunk_{
		Chunk: &v1.UploadEventsRequest_Chunk{Sequence: 1 << 40, Events: events, Source: source},
	}}
	if !proto.Equal(parsed, expected) {
		t.Errorf("parsed, it is %v", parsed)
	}
	for i, event := range events {
		if !proto.Equal(event, made.event(int32(i))) {
			t.Errorf("%d is reported as another event than is sent", i)
		}
	}
	if made.event(-1) != nil || made.event(3) != nil {
		t.Error("there are more events than were added")
	}
}

// BenchmarkChunk shows what the client itself does for one event: all but the transport.
func BenchmarkChunk(b *testing.B) {
	const chunkEvents = 500
	event := typicalEvent("0198a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b")
	b.ReportAllocs()
	digester := newSourceDigester("u", &v1.UploadEventsResponse_Opened{})
	drafted := draft{}
	var form []byte
	for b.Loop() {
		var err error
		if form, err = canonicalForm(form, event); err != nil {
			b.Fatal(err)
		}
		if err := digester.add(form); err != nil {
			b.Fatal(err)
		}
		drafted.add(form)
		if drafted.count == chunkEvents {
			if _, err := proto.Marshal(drafted.finish(1, digester.digest()).request); err != nil {
				b.Fatal(err)
			}
			drafted = draft{events: make([]byte, 0, len(drafted.events))}
		}
	}
	b.ReportMetric(float64(proto.Size(event)), "bytes/event")
}

// typicalEvent takes some 300 bytes, with 13 attributes, two of them dates.
func typicalEvent(id string) *v1.Event {
	info := &v1.CustomerInfo{
		ServerTimeStamp:  proto.Int64(1_700_000_000_123),
		CustomerStatus:   proto.String("cancelled"),
		CustomerType:     proto.String("standard"),
		Balance:          proto.String("-400.99"),
		CustomerId:       proto.String("NW-20418"),
		UserName:         proto.String("ada.lakeside.20418"),
		AccountName:      proto.String("Lakeside Insurance"),
		Role:             proto.String("Head of Purchasing"),
		LastPaymentDate:  &v1.Date{Year: 2014, Month: 10, Day: 15},
		RegistrationDate: &v1.Date{Year: 2013, Month: 9, Day: 3},
		CompanySize:      proto.String("500"),
		StoreZipCode:     proto.String("05003"),
		LoginStatus:      proto.String("logged in"),
		Currency:         proto.String("EUR"),
	}
	return &v1.Event{
		EventId:           id,
		ConsumerId:        "5b0c8a34-11d0-4d87-a6e1-c45d2f80b913",
		ConversationId:    "7f3a1c9e-0b52-4d87-a6e1-c45d2f80b913",
		Authenticated:     true,
		OriginalTimeStamp: proto.Int64(1_700_000_000_000),
		Source:            "crm",
		Attributes:        &v1.Event_CustomerInfo{CustomerInfo: info},
	}
}
