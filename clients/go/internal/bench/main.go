// Command bench measures the uploader.
//
//	bench ADDRESS ACCOUNT WARMUP_FILE EVENTS_FILE
//
// Each file holds varint-length-delimited engagement.v1.Event messages. Both are read before the first upload, and
// the upload of the second is timed. It prints one line of JSON.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log"
	"os"
	"time"

	engagement "github.com/engagement-attributes/engagement-attributes/clients/go"
	v1 "github.com/engagement-attributes/engagement-attributes/clients/go/v1"
	"google.golang.org/protobuf/encoding/protodelim"
)

func main() {
	if len(os.Args) != 5 {
		log.Fatalf("usage: %s ADDRESS ACCOUNT WARMUP_FILE EVENTS_FILE", os.Args[0])
	}
	if err := run(context.Background(), os.Args[1], os.Args[2], os.Args[3], os.Args[4]); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, address, account, warmupFile, eventsFile string) error {
	warmup, err := readEvents(warmupFile)
	if err != nil {
		return err
	}
	events, err := readEvents(eventsFile)
	if err != nil {
		return err
	}
	client, err := engagement.NewClient(address, account, engagement.ClientOptions{})
	if err != nil {
		return err
	}
	defer client.Close()
	if _, err := client.NewUploader(engagement.UploadOptions{}).Upload(ctx, source(warmup)); err != nil {
		return err
	}

	began := time.Now()
	summary, err := client.NewUploader(engagement.UploadOptions{}).Upload(ctx, source(events))
	if err != nil {
		return err
	}
	seconds := time.Since(began).Seconds()
	return json.NewEncoder(os.Stdout).Encode(map[string]any{
		"events": summary.Events, "accepted": summary.Tally.GetAccepted(), "seconds": seconds,
	})
}

func readEvents(name string) ([]*v1.Event, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	reader := bufio.NewReaderSize(file, 1<<20)
	var events []*v1.Event
	for {
		event := &v1.Event{}
		err := protodelim.UnmarshalFrom(reader, event)
		if errors.Is(err, io.EOF) {
			return events, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		events = append(events, event)
	}
}

func source(events []*v1.Event) iter.Seq2[*v1.Event, error] {
	return func(yield func(*v1.Event, error) bool) {
		for _, event := range events {
			if !yield(event, nil) {
				return
			}
		}
	}
}
