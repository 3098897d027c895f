package validate_test

// The shared cases of rules.

import (
	"encoding/json"
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"

	engagement "github.com/engagement-attributes/engagement-attributes/clients/go"
	v1 "github.com/engagement-attributes/engagement-attributes/clients/go/v1"
	"github.com/engagement-attributes/engagement-attributes/clients/go/validate"
	"google.golang.org/protobuf/encoding/protojson"
)

type ruleCase struct {
	Name       string
	Field      string
	Rule       string
	Event      any
	ValidEvent any `json:"valid_event"`
}

func TestEveryRuleIsHeld(t *testing.T) {
	file, err := os.ReadFile("../../vectors/rules.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors struct{ Cases []ruleCase }
	if err := json.Unmarshal(file, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors.Cases) == 0 {
		t.Fatal("there are no cases")
	}
	for _, c := range vectors.Cases {
		t.Run(c.Name, func(t *testing.T) {
			var failed *engagement.Error
			if err := validate.Event(parse(t, c.Event)); !errors.As(err, &failed) {
				t.Fatalf("%v, where an error with violations is expected", err)
			}
			if len(failed.Violations) != 1 || !c.isOf(failed.Violations[0]) {
				t.Errorf("broken are %v, not %s of %s", failed.Violations, c.Rule, c.Field)
			}
			if err := validate.Event(parse(t, c.ValidEvent)); err != nil {
				t.Errorf("the valid event is refused: %v", err)
			}
		})
	}
}

func (c ruleCase) isOf(violation engagement.FieldViolation) bool {
	if strings.HasSuffix(c.Field, "[") && !strings.HasPrefix(violation.Field, c.Field) {
		return false
	}
	return violation.Rule == c.Rule && (violation.Field == c.Field || strings.HasSuffix(c.Field, "["))
}

func parse(t *testing.T, value any) *v1.Event {
	t.Helper()
	text, err := json.Marshal(expand(value))
	if err != nil {
		t.Fatal(err)
	}
	event := &v1.Event{}
	if err := protojson.Unmarshal(text, event); err != nil {
		t.Fatal(err)
	}
	return event
}

// expand writes out what is repeated.
func expand(value any) any {
	switch value := value.(type) {
	case []any:
		for i := range value {
			value[i] = expand(value[i])
		}
	case map[string]any:
		if times, is := value["times"].(float64); is {
			return repeat(expand(value["repeat"]), int(times))
		}
		if key, is := value["key"].(map[string]any); is {
			return map[string]any{expand(key).(string): expand(value["value"])}
		}
		for key := range value {
			value[key] = expand(value[key])
		}
	}
	return value
}

func repeat(unit any, times int) any {
	switch unit := unit.(type) {
	case string:
		return strings.Repeat(unit, times)
	case []any:
		var all []any
		for range times {
			all = append(all, unit...)
		}
		return all
	default:
		all := map[string]any{}
		for name, value := range unit.(map[string]any) {
			for n := range times {
				all[name+strconv.Itoa(n)] = value
			}
		}
		return all
	}
}
