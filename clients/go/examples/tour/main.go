// Command tour records an event, uploads thousands, follows some of them, and shows why the server refuses one.
package main

import (
	"cmp"
	"context"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	engagement "github.com/engagement-attributes/engagement-attributes/clients/go"
	v1 "github.com/engagement-attributes/engagement-attributes/clients/go/v1"
)

func main() {
	ctx := context.Background()
	server := cmp.Or(os.Getenv("ENGAGEMENT_SERVER"), "127.0.0.1:50051")
	client, err := engagement.NewClient(server, "demo-go", engagement.ClientOptions{})
	fatal(err)
	defer client.Close()

	_, err = client.RecordEvent(ctx, order("visit-19/1", "NW-7", "VIP"))
	fatal(err)

	source := "orders.csv/" + time.Now().Format(time.DateOnly)
	orders := func(yield func(*v1.Event, error) bool) {
		for n := range 10_000 {
			if !yield(order(fmt.Sprint(source, "/", n), fmt.Sprint("NW-", n), "new"), nil) {
				return
			}
		}
	}
	summary, err := client.NewUploader(engagement.UploadOptions{UploadID: source}).Upload(ctx, orders)
	fatal(err)
	fmt.Println(summary.Tally.GetAccepted(), "stored,", summary.Tally.GetRejected(), "rejected")

	follower := client.NewFollower(engagement.Earliest(), engagement.FollowOptions{
		Filter:     &v1.EventFilter{CustomerTypes: []string{"VIP"}},
		StopAtTail: true,
	})
	for stored, err := range follower.Events(ctx) {
		fatal(err)
		fmt.Println(stored.GetEvent().GetEventId(), stored.GetEvent().GetCustomerInfo().GetCustomerType())
	}

	_, err = client.RecordEvent(ctx, order("order/x", strings.Repeat("x", 50_001), "new"))
	fmt.Println(err)
}

func order(id, customerID, customerType string) *v1.Event {
	info := &v1.CustomerInfo{CustomerId: &customerID, CustomerType: &customerType}
	return &v1.Event{EventId: id, Attributes: &v1.Event_CustomerInfo{CustomerInfo: info}}
}

func fatal(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
