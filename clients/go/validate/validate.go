// Package validate checks events against the rules of the contract before they are sent, without a server.
//
// What needs the clock or the store of a server, a duplicate or a closed list of statuses for example, only the
// server can check.
package validate

import (
	"errors"
	"fmt"

	"buf.build/go/protovalidate"
	engagement "github.com/engagement-attributes/engagement-attributes/clients/go"
	v1 "github.com/engagement-attributes/engagement-attributes/clients/go/v1"
)

// Event returns nil where an event keeps all rules. Otherwise the error is an [*engagement.Error] of the kind
// InvalidArgument with all that is wrong; fields are paths from the event, such as
// "customer_info.last_payment_date.month". Any number of goroutines may call it.
func Event(event *v1.Event) error {
	err := protovalidate.Validate(event)
	var broken *protovalidate.ValidationError
	if !errors.As(err, &broken) {
		return err
	}
	violations := make([]engagement.FieldViolation, len(broken.Violations))
	for i, violation := range broken.Violations {
		violations[i] = engagement.FieldViolation{
			Field:       protovalidate.FieldPathString(violation.Proto.GetField()),
			Rule:        violation.Proto.GetRuleId(),
			Description: violation.Proto.GetMessage(),
		}
	}
	first := violations[0]
	return &engagement.Error{
		Kind:       engagement.InvalidArgument,
		Reason:     "FIELD_INVALID",
		Message:    fmt.Sprintf("%s: %s", first.Field, first.Description),
		Violations: violations,
	}
}
