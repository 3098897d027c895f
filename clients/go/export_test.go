package engagement

// Makes what identifies a source available to the tests from outside.

import v1 "github.com/engagement-attributes/engagement-attributes/clients/go/v1"

// CanonicalForm is the canonical form of an event.
func CanonicalForm(event *v1.Event) ([]byte, error) { return canonicalForm(nil, event) }

// DigestSource is the digest of a source of a new upload.
func DigestSource(salt string, events []*v1.Event) (*v1.SourceDigest, error) {
	digester := newSourceDigester("u", &v1.UploadEventsResponse_Opened{SourceSalt: salt})
	for _, event := range events {
		form, err := canonicalForm(nil, event)
		if err != nil {
			return nil, err
		}
		if err := digester.add(form); err != nil {
			return nil, err
		}
	}
	return digester.digest(), nil
}
