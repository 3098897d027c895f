package engagement

// Event ids: UUIDv7 (RFC 9562), which increase with time and so keep neighbours together in the store.

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"sync"
	"time"

	v1 "github.com/engagement-attributes/engagement-attributes/clients/go/v1"
	"google.golang.org/protobuf/proto"
)

const counterBits = 42

// The order holds for the whole process.
var lastID struct {
	sync.Mutex
	milliseconds uint64
	counter      uint64
}

// NewEventID returns a new UUIDv7 as text, greater than all that this process generated before.
//
// It consists of 48 bits of epoch milliseconds, a 42-bit counter that starts at a random number every
// millisecond, and 32 random bits.
func NewEventID() string {
	var random [12]byte
	rand.Read(random[:]) // never fails
	milliseconds, counter := nextID(uint64(time.Now().UnixMilli()), binary.BigEndian.Uint64(random[4:]))

	var id [16]byte
	binary.BigEndian.PutUint64(id[:8], milliseconds<<16|0x7<<12|counter>>30)
	binary.BigEndian.PutUint64(id[8:], 0b10<<62|counter<<34>>2|uint64(binary.BigEndian.Uint32(random[:4])))

	var text [36]byte
	hex.Encode(text[:8], id[:4])
	hex.Encode(text[9:13], id[4:6])
	hex.Encode(text[14:18], id[6:8])
	hex.Encode(text[19:23], id[8:10])
	hex.Encode(text[24:], id[10:])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return string(text[:])
}

func nextID(nowMilliseconds, random uint64) (milliseconds, counter uint64) {
	lastID.Lock()
	defer lastID.Unlock()
	if nowMilliseconds > lastID.milliseconds {
		lastID.milliseconds = nowMilliseconds
		lastID.counter = random >> (64 - (counterBits - 1))
	} else {
		// Also if the clock goes back. Half of the counter is unused at first, which no process can exhaust.
		lastID.counter++
	}
	return lastID.milliseconds, lastID.counter
}

// identified returns a request whose events all have an id: a copy, if it assigns any.
func identified(request any) any {
	switch request := request.(type) {
	case *v1.RecordEventRequest:
		if lacksID(request.GetEvent()) {
			request = proto.CloneOf(request)
			request.Event.EventId = NewEventID()
			return request
		}
	case *v1.RecordEventsRequest:
		if slices.ContainsFunc(request.GetEvents(), lacksID) {
			request = proto.CloneOf(request)
			for _, event := range request.GetEvents() {
				if lacksID(event) {
					event.EventId = NewEventID()
				}
			}
			return request
		}
	}
	return request
}

func lacksID(event *v1.Event) bool { return event != nil && event.GetEventId() == "" }
