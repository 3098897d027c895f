package engagement

// The chunks of an upload, serialized as they are sent and resent.

import (
	v1 "github.com/engagement-attributes/engagement-attributes/clients/go/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// chunkEventsField is UploadEventsRequest.Chunk.events.
const chunkEventsField = 2

// chunk holds events that are sent, committed and, if necessary, resent together.
type chunk struct {
	sequence int64
	// firstPosition is that of the first event in the source, from 0; the others follow it without a gap.
	firstPosition int64
	count         int
	// events are the serialized events, each with its tag and length.
	events []byte
	// source is the digest of the source up to the last event.
	source *v1.SourceDigest
	// request is the message to send.
	request *v1.UploadEventsRequest
	// reported are the indexes of the events whose rejection was reported to the caller.
	reported map[int32]bool
}

// event returns an event as sent, or nil if the chunk has no such event.
func (c *chunk) event(index int32) *v1.Event {
	if index < 0 || int(index) >= c.count {
		return nil
	}
	rest := c.events
	for range index {
		_, _, bytes := protowire.ConsumeField(rest)
		rest = rest[bytes:]
	}
	_, _, tagBytes := protowire.ConsumeTag(rest)
	serialized, _ := protowire.ConsumeBytes(rest[tagBytes:])
	event := &v1.Event{}
	if err := proto.Unmarshal(serialized, event); err != nil {
		panic("engagement: an event that was serialized here cannot be parsed: " + err.Error())
	}
	return event
}

// draft is an incomplete chunk. It holds events as they are sent, so that it does not depend on what the source does
// with them afterwards.
type draft struct {
	events        []byte
	count         int
	firstPosition int64
	// chargedBytes is the size of the events, including the framing charged for each.
	chargedBytes int
}

// add appends a serialized event.
func (d *draft) add(event []byte) {
	d.events = protowire.AppendTag(d.events, chunkEventsField, protowire.BytesType)
	d.events = protowire.AppendBytes(d.events, event)
	d.count++
	d.chargedBytes += len(event) + framingBytes
}

// finish returns the chunk; source is the digest of the source up to its last event.
func (d *draft) finish(sequence int64, source *v1.SourceDigest) *chunk {
	message := &v1.UploadEventsRequest_Chunk{Sequence: sequence, Source: source}
	// A message serializes its unknown fields unchanged, so that the events are sent as they are.
	message.ProtoReflect().SetUnknown(d.events)
	return &chunk{
		sequence:      sequence,
		firstPosition: d.firstPosition,
		count:         d.count,
		events:        d.events,
		source:        source,
		request:       &v1.UploadEventsRequest{Message: &v1.UploadEventsRequest_Chunk_{Chunk: message}},
	}
}
