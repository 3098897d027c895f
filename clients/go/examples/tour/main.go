// Command tour records an event, reads the profile that follows from it, uploads thousands of events, follows those
// of one visitor, and shows why the server refuses another.
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
	"google.golang.org/protobuf/proto"
)

func main() {
	ctx := context.Background()
	server := cmp.Or(os.Getenv("ENGAGEMENT_SERVER"), "127.0.0.1:50051")
	client, err := engagement.NewClient(server, "demo-go", engagement.ClientOptions{})
	fatal(err)
	defer client.Close()

	_, err = client.RecordEvent(ctx, visit("visit-19/1", "visitor-19"))
	fatal(err)

	found, err := client.Events.GetProfile(ctx, &v1.GetProfileRequest{
		AccountId: client.AccountID,
		Subject:   &v1.GetProfileRequest_ConsumerId{ConsumerId: "visitor-19"},
	})
	fatal(err)
	customer := found.GetProfile().GetCustomerInfo()
	fmt.Println("profile:", customer.GetCustomerType(), customer.GetBalance())

	source := "orders.csv/" + time.Now().Format(time.DateOnly) // the file's name and day
	orders := func(yield func(*v1.Event, error) bool) {
		for n := range 10_000 {
			info := &v1.CustomerInfo{CustomerId: proto.String(fmt.Sprint("NW-", n))}
			order := &v1.Event{EventId: fmt.Sprint(source, "/", n), Attributes: &v1.Event_CustomerInfo{CustomerInfo: info}}
			if !yield(order, nil) {
				return
			}
		}
	}
	summary, err := client.NewUploader(engagement.UploadOptions{UploadID: source}).Upload(ctx, orders)
	fatal(err)
	fmt.Println(summary.Tally.GetAccepted(), "stored,", summary.Tally.GetRejected(), "rejected")

	follower := client.NewFollower(engagement.Earliest(), engagement.FollowOptions{
		Filter:     &v1.EventFilter{ConsumerIds: []string{"visitor-19"}},
		StopAtTail: true,
	})
	for stored, err := range follower.Events(ctx) {
		fatal(err)
		fmt.Println("followed", stored.GetEvent().GetEventId())
	}

	_, err = client.RecordEvent(ctx, visit("", strings.Repeat("x", 50_001)))
	fmt.Println(err)
}

func visit(id, consumer string) *v1.Event {
	info := &v1.CustomerInfo{CustomerType: proto.String("VIP"), Balance: proto.String("12.50")}
	return &v1.Event{EventId: id, ConsumerId: consumer, Attributes: &v1.Event_CustomerInfo{CustomerInfo: info}}
}

func fatal(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
