package engagement

// Identifies the source of an upload, as the contract's SourceDigest defines it.

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"slices"

	v1 "github.com/engagement-attributes/engagement-attributes/clients/go/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// Field numbers of Event. Its oneof is the only one in an event.
const (
	customerInfoField         = 10
	personalInfoField         = 11
	additionalAttributesField = 20
)

// canonicalForm writes the canonical form of an event over a buffer, and returns it. An error means that the event
// cannot be serialized.
func canonicalForm(buffer []byte, event *v1.Event) ([]byte, error) {
	form, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend(buffer[:0], event)
	if err == nil && event.GetAttributes() != nil && len(event.GetAdditionalAttributes()) > 0 {
		orderFields(form)
	}
	return form, err
}

// orderFields moves the member of the oneof, which the library writes after all other known fields, before the
// additional attributes.
func orderFields(form []byte) {
	entries, end := -1, 0
	for end < len(form) {
		number, kind, bytes := protowire.ConsumeField(form[end:])
		if kind == protowire.BytesType {
			switch number {
			case additionalAttributesField:
				if entries < 0 {
					entries = end
				}
			case customerInfoField, personalInfoField:
				if entries >= 0 {
					swap(form[entries:end+bytes], end-entries)
				}
				return
			}
		}
		end += bytes
	}
}

// swap exchanges the part of the bytes before the middle with the part after it.
func swap(bytes []byte, middle int) {
	slices.Reverse(bytes[:middle])
	slices.Reverse(bytes[middle:])
	slices.Reverse(bytes)
}

// sourceDigester digests the events of a source, in order, and compares them with those of an earlier run.
type sourceDigester struct {
	uploadID string
	hash     hash.Hash
	length   [4]byte
	events   int64
	// committedEvents is the number of events that the source must have in common with the earlier run.
	committedEvents int64
	// known are digests of the earlier run, by their number of events.
	known map[int64]string
	// sameEvents is the number of events after which the source was last found to be the same.
	sameEvents int64
}

// newSourceDigester returns the digester of an upload's source. The digests of an earlier run are those of an upload
// that was opened with a source; the earliest of them tell where another source begins to differ.
func newSourceDigester(uploadID string, opened *v1.UploadEventsResponse_Opened) *sourceDigester {
	d := &sourceDigester{uploadID: uploadID, hash: sha256.New()}
	d.hash.Write([]byte(opened.GetSourceSalt()))
	if committed := opened.GetSource(); committed != nil {
		d.committedEvents = committed.GetEvents()
		d.known = map[int64]string{}
		for _, earlier := range opened.GetEarlierSources() {
			d.known[earlier.GetEvents()] = earlier.GetSha256()
		}
		d.known[committed.GetEvents()] = committed.GetSha256()
	}
	return d
}

// hasPassed reports whether all committed events have been read.
func (d *sourceDigester) hasPassed() bool { return d.events >= d.committedEvents }

// add adds the canonical form of the next event. The error is a SourceMismatch.
func (d *sourceDigester) add(form []byte) error {
	binary.BigEndian.PutUint32(d.length[:], uint32(len(form)))
	d.hash.Write(d.length[:])
	d.hash.Write(form)
	d.events++
	expected, isKnown := d.known[d.events]
	if !isKnown {
		return nil
	}
	if d.digest().GetSha256() != expected {
		return d.mismatch(fmt.Sprintf("differs between events %d and %d", d.sameEvents, d.events))
	}
	d.sameEvents = d.events
	return nil
}

// digest returns the digest of the events so far.
func (d *sourceDigester) digest() *v1.SourceDigest {
	return &v1.SourceDigest{Events: d.events, Sha256: hex.EncodeToString(d.hash.Sum(nil))}
}

// end checks a source that has ended, of which nothing may remain if the upload is finished. The error is a
// SourceMismatch.
func (d *sourceDigester) end(isFinished bool) error {
	if !d.hasPassed() {
		return d.mismatch(fmt.Sprintf("ends after %d events", d.events))
	}
	if isFinished && d.events > d.committedEvents {
		return d.mismatch("has more events")
	}
	return nil
}

func (d *sourceDigester) mismatch(difference string) error {
	return &Error{Kind: SourceMismatch, Message: fmt.Sprintf(
		"upload %q began with another source: %d of its events are committed, and this source %s. "+
			"Use an upload id of its own for each source. If this should be the same source, "+
			"see whether ids, times or the order of events change from run to run",
		d.uploadID, d.committedEvents, difference)}
}
