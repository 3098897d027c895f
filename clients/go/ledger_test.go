package engagement

// Whether an upload that is opened again is this run's own, seen from inside: a server is hard to stop at each step.

import (
	"testing"

	v1 "github.com/engagement-attributes/engagement-attributes/clients/go/v1"
)

func TestReopenedUploadIsOwnIfItStandsWhereThisRunBroughtIt(t *testing.T) {
	digest := func(events int64) *v1.SourceDigest { return &v1.SourceDigest{Events: events, Sha256: "of this source"} }
	other := &v1.SourceDigest{Events: 4, Sha256: "of another source"}
	// Chunk 1 is committed, 2 and 3 are not known to be; the tenth event was rejected here.
	books := &ledger{committedThrough: 1, source: digest(2)}
	books.add(&chunk{sequence: 2, source: digest(4)})
	books.add(&chunk{sequence: 3, source: digest(9)})
	books.finishing(digest(10))
	for name, c := range map[string]struct {
		committedThrough int64
		source           *v1.SourceDigest
		isOwn            bool
	}{
		"nothing more is committed":   {1, digest(2), true},
		"a chunk is committed":        {2, digest(4), true},
		"all are committed":           {3, digest(9), true},
		"it is finished":              {3, digest(10), true},
		"the server knows no digests": {3, nil, true},
		"another chunk is committed":  {2, other, false},
		"it goes on":                  {4, digest(11), false},
		"the digest is of elsewhere":  {2, digest(9), false},
	} {
		opened := &v1.UploadEventsResponse_Opened{CommittedThrough: c.committedThrough, Source: c.source}
		if books.isOwn(opened) != c.isOwn {
			t.Errorf("%s: its own is %v", name, !c.isOwn)
		}
	}
}
