package engagement_test

// The canonical form of events, and the digests of sources.

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	engagement "github.com/engagement-attributes/engagement-attributes/clients/go"
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
