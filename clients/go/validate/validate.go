// Package validate checks events against the rules of the contract before they are sent, without a server.
//
// Rules that need the server's clock or store, such as those on duplicates or closed lists of statuses, are checked
// only by the server.
package validate

import (
	"errors"
	"fmt"

	"buf.build/go/protovalidate"
	engagement "github.com/engagement-attributes/engagement-attributes/clients/go"
	v1 "github.com/engagement-attributes/engagement-attributes/clients/go/v1"
)

// Event returns nil if an event keeps all rules. Otherwise the error is an [*engagement.Error] of kind InvalidArgument
// with all violations; field paths start at the event, as in "customer_info.last_payment_date.month". It is safe for
// concurrent use.
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
