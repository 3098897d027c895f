// Package engagement is the client of the Engagement Attributes service: it records events, uploads them in
// bulk and follows them, through lost connections and restarts of the server.
//
// A [Client] talks to one server for one account. Its services are those of the contract, whose messages are in
// package v1; every call through them has the token, the deadline, the retries and the errors of the client.
// [Uploader] and [Follower] do what the contract leaves to a client of its two streams.
//
//	client, err := engagement.NewClient("127.0.0.1:50051", "demo", engagement.ClientOptions{})
//	if err != nil {
//		return err
//	}
//	defer client.Close()
//	result, err := client.RecordEvent(ctx, &v1.Event{…})
//
// Every failed call is an [*Error]; its [Kind] is an error too, for [errors.Is]:
//
//	if errors.Is(err, engagement.Conflict) { … }
//
// What the caller cancels ends with [context.Canceled].
package engagement
