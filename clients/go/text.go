package engagement

// Text that is not UTF-8: the library refuses to serialize it, without saying where it is.

import (
	"strings"
	"unicode/utf8"

	v1 "github.com/engagement-attributes/engagement-attributes/clients/go/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protopath"
	"google.golang.org/protobuf/reflect/protorange"
)

const (
	textRule        = "string.utf8"
	textDescription = "must be valid UTF-8"
)

// invalidText returns the path of the first text in a message that is not UTF-8, or "" if there is none.
func invalidText(message proto.Message) string {
	path := ""
	find := func(values protopath.Values) error {
		last := values.Index(-1)
		text, isText := last.Value.Interface().(string)
		isValid := !isText || utf8.ValidString(text)
		if last.Step.Kind() == protopath.MapIndexStep {
			isValid = isValid && utf8.ValidString(last.Step.MapIndex().String())
		}
		if isValid {
			return nil
		}
		path = strings.TrimPrefix(values.Path[1:].String(), ".")
		return protorange.Terminate
	}
	// Only find ends it early.
	_ = protorange.Options{Stable: true}.Range(message.ProtoReflect(), find, nil)
	return path
}

// explainText returns the error of a message that could not be serialized because of a text, otherwise err. It looks
// at the message only if the call failed, so that other calls cost nothing.
func explainText(err error, message any) error {
	if err == nil || status.Code(err) != codes.Internal {
		return err
	}
	request, is := message.(proto.Message)
	if !is {
		return err
	}
	path := invalidText(request)
	if path == "" {
		return err
	}
	return &Error{
		Kind:       InvalidArgument,
		Reason:     "FIELD_INVALID",
		Message:    path + ": " + textDescription,
		Violations: []FieldViolation{{Field: path, Rule: textRule, Description: textDescription}},
	}
}

// notText returns the error of an event that has a text that is not UTF-8, in the server's terms.
func notText(path string) *v1.EventError {
	return fieldInvalid(path+": "+textDescription, path, textRule, textDescription)
}

// fieldInvalid returns the error of an event that breaks one rule, as the server describes it.
func fieldInvalid(message, path, rule, description string) *v1.EventError {
	return &v1.EventError{
		Reason:          v1.ErrorReason_ERROR_REASON_FIELD_INVALID,
		Message:         message,
		Violations:      []*v1.FieldViolation{{Field: path, Rule: rule, Description: description}},
		ViolationsTotal: 1,
		Metadata: map[string]string{
			"field": path, "rule": rule, "description": description, "violationsTotal": "1",
		},
	}
}
