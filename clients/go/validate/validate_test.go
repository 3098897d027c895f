package validate_test

import (
	"errors"
	"strings"
	"testing"

	engagement "github.com/engagement-attributes/engagement-attributes/clients/go"
	v1 "github.com/engagement-attributes/engagement-attributes/clients/go/v1"
	"github.com/engagement-attributes/engagement-attributes/clients/go/validate"
)

func TestEventThatKeepsTheRulesIsValid(t *testing.T) {
	info := &v1.CustomerInfo{LastPaymentDate: &v1.Date{Year: 2024, Month: 2, Day: 29}}
	if err := validate.Event(customer(info)); err != nil {
		t.Error(err)
	}
}

func TestEventThatBreaksRulesIsRefusedWithAllOfThem(t *testing.T) {
	long := strings.Repeat("é", 50_001)
	err := validate.Event(customer(&v1.CustomerInfo{
		Balance:         &long,
		LastPaymentDate: &v1.Date{Year: 2014, Month: 13, Day: 15},
	}))
	var failed *engagement.Error
	if !errors.As(err, &failed) || !errors.Is(err, engagement.InvalidArgument) {
		t.Fatalf("%v, where an invalid argument is expected", err)
	}
	broken := map[string]string{}
	for _, violation := range failed.Violations {
		broken[violation.Field] = violation.Rule
	}
	if broken["customer_info.balance"] != "string.max_len" ||
		broken["customer_info.last_payment_date.month"] != "int32.gte_lte" {
		t.Errorf("broken are %v", broken)
	}
}

func TestEventWithoutAttributesIsRefused(t *testing.T) {
	if err := validate.Event(&v1.Event{}); !errors.Is(err, engagement.InvalidArgument) {
		t.Errorf("%v, where an invalid argument is expected", err)
	}
}

func customer(info *v1.CustomerInfo) *v1.Event {
	return &v1.Event{Attributes: &v1.Event_CustomerInfo{CustomerInfo: info}}
}
