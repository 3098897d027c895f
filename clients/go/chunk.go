package engagement

// The chunks of an upload, serialized as they are sent and resent.

import (
	v1 "github.com/engagement-attributes/engagement-attributes/clients/go/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// Field numbers of the contract, and the size of the longest header before the events of a chunk.
const (
	requestChunkField  = 2 // UploadEventsRequest.chunk
	chunkSequenceField = 1 // UploadEventsRequest.Chunk.sequence
	chunkEventsField   = 2 // UploadEventsRequest.Chunk.events
	eventIDField       = 1 // Event.event_id
	maxHeaderBytes     = 2 * (1 + 10)
)

// chunk holds events that are sent, committed and, if necessary, resent together.
type chunk struct {
	sequence int64
	// firstPosition is that of the first event in the source, from 0; the others follow it without a gap.
	firstPosition int64
	count         int
	// events are the serialized events, each with its tag and length.
	events []byte
	// request is the message to send.
	request *v1.UploadEventsRequest
	// reported are the indexes of the events whose rejection was reported to the caller.
	reported map[int32]bool
}

// event returns an event as sent, with its assigned id, or nil if the chunk has no such event.
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

// draft is an incomplete chunk. Each event is serialized once, on arrival: that determines its size, makes the chunk
// independent of what the source does with the event, and is what is sent.
type draft struct {
	// buffer begins with space for the header.
	buffer        []byte
	count         int
	firstPosition int64
	// chargedBytes is the size of the events, including the framing charged for each.
	chargedBytes int
}

func newDraft(capacity int) draft {
	return draft{buffer: make([]byte, maxHeaderBytes, max(capacity, maxHeaderBytes))}
}

// add appends an event whose size was just computed. An error leaves the draft unchanged.
func (d *draft) add(event *v1.Event, size int) error {
	id := ""
	sizeWithID := size
	if event.GetEventId() == "" {
		id = NewEventID()
		sizeWithID += protowire.SizeTag(eventIDField) + protowire.SizeBytes(len(id))
	}
	before := len(d.buffer)
	d.buffer = protowire.AppendTag(d.buffer, chunkEventsField, protowire.BytesType)
	d.buffer = protowire.AppendVarint(d.buffer, uint64(sizeWithID))
	serialized, err := proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(d.buffer, event)
	if err != nil {
		d.buffer = d.buffer[:before]
		return err
	}
	if id != "" {
		serialized = protowire.AppendTag(serialized, eventIDField, protowire.BytesType)
		serialized = protowire.AppendString(serialized, id)
	}
	d.buffer = serialized
	d.count++
	return nil
}

// finish returns the chunk.
func (d *draft) finish(sequence int64) *chunk {
	events := d.buffer[maxHeaderBytes:]
	var number [1 + 10]byte
	sequenceField := protowire.AppendTag(number[:0], chunkSequenceField, protowire.VarintType)
	sequenceField = protowire.AppendVarint(sequenceField, uint64(sequence))

	var room [maxHeaderBytes]byte
	header := protowire.AppendTag(room[:0], requestChunkField, protowire.BytesType)
	header = protowire.AppendVarint(header, uint64(len(sequenceField)+len(events)))
	header = append(header, sequenceField...)
	start := maxHeaderBytes - len(header)
	copy(d.buffer[start:], header)

	// A message serializes its unknown fields unchanged, so that the buffer is sent as it is.
	request := &v1.UploadEventsRequest{}
	request.ProtoReflect().SetUnknown(d.buffer[start:])
	return &chunk{
		sequence:      sequence,
		firstPosition: d.firstPosition,
		count:         d.count,
		events:        events,
		request:       request,
	}
}
