package engagement_test

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	engagement "github.com/engagement-attributes/engagement-attributes/clients/go"
)

func TestEventIDIsAUUIDv7OfNow(t *testing.T) {
	format := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	before := time.Now().UnixMilli()
	id := engagement.NewEventID()
	after := time.Now().UnixMilli()
	if !format.MatchString(id) {
		t.Fatalf("%s is no UUIDv7", id)
	}
	milliseconds, err := strconv.ParseInt(strings.ReplaceAll(id, "-", "")[:12], 16, 64)
	if err != nil || milliseconds < before || milliseconds > after {
		t.Errorf("%s is not of now", id)
	}
}

func TestEventIDsGrowAndAreUniqueUnderConcurrency(t *testing.T) {
	const goroutines, each = 8, 20_000
	made := make([][]string, goroutines)
	var group sync.WaitGroup
	for i := range made {
		group.Go(func() {
			for range each {
				made[i] = append(made[i], engagement.NewEventID())
			}
		})
	}
	group.Wait()
	var all []string
	for _, ids := range made {
		if !slices.IsSorted(ids) {
			t.Error("the ids of one goroutine do not grow")
		}
		all = append(all, ids...)
	}
	slices.Sort(all)
	if distinct := len(slices.Compact(all)); distinct != goroutines*each {
		t.Errorf("%d of %d ids are distinct", distinct, goroutines*each)
	}
}

func BenchmarkNewEventID(b *testing.B) {
	for b.Loop() {
		engagement.NewEventID()
	}
}
