// Package engagement is the client of the Engagement Attributes service: it records events, uploads them in
// bulk and follows them, across lost connections and server restarts.
//
// A [Client] talks to one server for one account. Its services are those of the contract, whose messages are in
// package v1; every call through them has the client's token, deadline, retries and errors. [Uploader] and
// [Follower] resume the contract's two streams.
//
//	client, err := engagement.NewClient("127.0.0.1:50051", "demo", engagement.ClientOptions{})
//	if err != nil {
//		return err
//	}
//	defer client.Close()
//	result, err := client.RecordEvent(ctx, &v1.Event{…})
//
// Every failed call returns an [*Error], and [errors.Is] matches its [Kind]:
//
//	if errors.Is(err, engagement.Conflict) { … }
//
// A call that its caller cancels returns [context.Canceled].
package engagement
