package engagement

// The errors of a client, translated from gRPC statuses here and nowhere else.

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Kind classifies a failure by how the caller should react. It is an error, so that [errors.Is] matches it:
//
//	errors.Is(err, engagement.NotFound)
type Kind string

// The kinds of errors, with the codes that they derive from.
const (
	// InvalidArgument (INVALID_ARGUMENT): the request breaks a rule of the contract; see Violations.
	InvalidArgument Kind = "invalid_argument"
	// Conflict (ALREADY_EXISTS): the id was used before, for different content.
	Conflict Kind = "conflict"
	// Precondition (FAILED_PRECONDITION): the request is valid, but not in the current state.
	Precondition Kind = "precondition"
	// TakenOver (ABORTED): a newer stream has taken over the upload; do not retry.
	TakenOver Kind = "taken_over"
	// NotFound (NOT_FOUND): nothing has this id, cursor or name.
	NotFound Kind = "not_found"
	// Unauthenticated (UNAUTHENTICATED): the token is missing, invalid or expired.
	Unauthenticated Kind = "unauthenticated"
	// PermissionDenied (PERMISSION_DENIED): the token does not cover this account or this kind of call.
	PermissionDenied Kind = "permission_denied"
	// QuotaExceeded (RESOURCE_EXHAUSTED): a limit is reached; wait for the retry delay, if there is one.
	QuotaExceeded Kind = "quota_exceeded"
	// Unavailable (UNAVAILABLE): the service cannot answer now; retrying with the same ids is safe.
	Unavailable Kind = "unavailable"
	// Deadline (DEADLINE_EXCEEDED): the call may have taken effect; retrying with the same ids is safe.
	// [errors.Is] also matches [context.DeadlineExceeded].
	Deadline Kind = "deadline"
	// Internal (INTERNAL, UNKNOWN, DATA_LOSS): the server failed unexpectedly.
	Internal Kind = "internal"
	// Other stands for all other codes.
	Other Kind = "other"
	// SourceMismatch is raised by the client: the upload began, or was continued, with another source.
	SourceMismatch Kind = "source_mismatch"
)

// Error returns the name of the kind.
func (k Kind) Error() string { return string(k) }

var kinds = map[codes.Code]Kind{
	codes.InvalidArgument:    InvalidArgument,
	codes.AlreadyExists:      Conflict,
	codes.FailedPrecondition: Precondition,
	codes.Aborted:            TakenOver,
	codes.NotFound:           NotFound,
	codes.Unauthenticated:    Unauthenticated,
	codes.PermissionDenied:   PermissionDenied,
	codes.ResourceExhausted:  QuotaExceeded,
	codes.Unavailable:        Unavailable,
	codes.DeadlineExceeded:   Deadline,
	codes.Internal:           Internal,
	codes.Unknown:            Internal,
	codes.DataLoss:           Internal,
}

// FieldViolation is one broken rule of one field of a request.
type FieldViolation struct {
	// Field is the path from the request, such as "event.customer_info.last_payment_date.month".
	Field string
	// Rule is the id of the rule, such as "string.max_len".
	Rule string
	// Description is a text for humans that includes the limit.
	Description string
}

// String returns the violation in one line.
func (v FieldViolation) String() string {
	if v.Field == "" {
		return fmt.Sprintf("%s (%s)", v.Description, v.Rule)
	}
	return fmt.Sprintf("%s: %s (%s)", v.Field, v.Description, v.Rule)
}

// Error is why a call failed, for programs and for humans.
type Error struct {
	// Kind classifies the failure by how the caller should react.
	Kind Kind
	// Code is the code of the status; [codes.OK] if the client itself raised the error.
	Code codes.Code
	// Reason is the name of an ErrorReason without its prefix, possibly one that this client does not know;
	// empty if the status did not come from the service.
	Reason string
	// Message is a text for humans.
	Message string
	// Metadata has the dynamic parts of the message by name. It may be nil.
	Metadata map[string]string
	// Violations are the invalid fields; the server lists at most 32.
	Violations []FieldViolation

	retryDelay *time.Duration
	status     *status.Status
}

// RetryDelay returns the wait before the next attempt that the server requests, and whether it requests one.
func (e *Error) RetryDelay() (time.Duration, bool) {
	if e.retryDelay == nil {
		return 0, false
	}
	return *e.retryDelay, true
}

// Transient reports whether the same request may succeed later.
func (e *Error) Transient() bool {
	switch e.Kind {
	case Unavailable, Deadline:
		return true
	case QuotaExceeded:
		return e.retryDelay != nil
	}
	switch e.Code {
	case codes.Internal, codes.Unknown, codes.Canceled:
		// Without the service's reason these come from a broken connection or from a proxy.
		return e.Reason == ""
	}
	return false
}

// Error returns the code, the reason and the message, then each violation on a line of its own.
func (e *Error) Error() string {
	var text strings.Builder
	if e.Code != codes.OK {
		text.WriteString(codeName(e.Code))
		if e.Reason != "" {
			text.WriteString(" / " + e.Reason)
		}
		text.WriteString(": ")
	}
	text.WriteString(e.Message)
	for _, violation := range e.Violations {
		text.WriteString("\n  " + violation.String())
	}
	total, err := strconv.Atoi(e.Metadata["violationsTotal"])
	if unnamed := total - len(e.Violations); err == nil && unnamed > 0 && len(e.Violations) > 0 {
		fmt.Fprintf(&text, "\n  and %d more", unnamed)
	}
	return text.String()
}

// Is makes [errors.Is] match the kind and, for a Deadline, [context.DeadlineExceeded].
func (e *Error) Is(target error) bool {
	return target == e.Kind || e.Kind == Deadline && target == context.DeadlineExceeded
}

// GRPCStatus makes [status.FromError] and [status.Code] work on the error.
func (e *Error) GRPCStatus() *status.Status { return e.status }

// typedError returns the error of a call as callers get it: context.Canceled if they cancelled it themselves,
// otherwise an *Error.
func typedError(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	// An interceptor of the caller's may have made it one already.
	if typed := (*Error)(nil); errors.As(err, &typed) {
		return err
	}
	received := status.Convert(err)
	if received.Code() == codes.Canceled && errors.Is(ctx.Err(), context.Canceled) {
		return context.Canceled
	}
	return errorFromStatus(received)
}

// isExpired reports whether a call failed because its token has expired, so that another one may help.
func isExpired(err error) bool {
	var failed *Error
	return errors.As(err, &failed) && failed.Kind == Unauthenticated && failed.Reason == reasonExpired
}

// quotaDelay returns how long to wait for a quota, and whether that is what a call failed for.
func quotaDelay(err error) (time.Duration, bool) {
	var failed *Error
	if !errors.As(err, &failed) || failed.Kind != QuotaExceeded || failed.retryDelay == nil {
		return 0, false
	}
	return max(*failed.retryDelay, shortestQuotaDelay), true
}

func errorFromStatus(received *status.Status) *Error {
	e := &Error{Kind: Other, Code: received.Code(), Message: received.Message(), status: received}
	if kind, known := kinds[e.Code]; known {
		e.Kind = kind
	}
	if e.Message == "" {
		e.Message = "no message"
	}
	for _, detail := range received.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			e.Reason, e.Metadata = detail.GetReason(), detail.GetMetadata()
		case *errdetails.BadRequest:
			for _, v := range detail.GetFieldViolations() {
				e.Violations = append(e.Violations, FieldViolation{v.GetField(), v.GetReason(), v.GetDescription()})
			}
		case *errdetails.RetryInfo:
			if detail.RetryDelay != nil {
				delay := detail.GetRetryDelay().AsDuration()
				e.retryDelay = &delay
			}
		}
	}
	return e
}

// lostConnection returns the error of a stream that ended without a status that says so.
func lostConnection(message string, retryDelay *time.Duration) *Error {
	e := errorFromStatus(status.New(codes.Unavailable, message))
	e.retryDelay = retryDelay
	return e
}

// codeName returns the name of a code as the gRPC specification spells it.
func codeName(code codes.Code) string {
	if name, known := codeNames[code]; known {
		return name
	}
	return code.String()
}

var codeNames = map[codes.Code]string{
	codes.Canceled:           "CANCELLED",
	codes.Unknown:            "UNKNOWN",
	codes.InvalidArgument:    "INVALID_ARGUMENT",
	codes.DeadlineExceeded:   "DEADLINE_EXCEEDED",
	codes.NotFound:           "NOT_FOUND",
	codes.AlreadyExists:      "ALREADY_EXISTS",
	codes.PermissionDenied:   "PERMISSION_DENIED",
	codes.ResourceExhausted:  "RESOURCE_EXHAUSTED",
	codes.FailedPrecondition: "FAILED_PRECONDITION",
	codes.Aborted:            "ABORTED",
	codes.OutOfRange:         "OUT_OF_RANGE",
	codes.Unimplemented:      "UNIMPLEMENTED",
	codes.Internal:           "INTERNAL",
	codes.Unavailable:        "UNAVAILABLE",
	codes.DataLoss:           "DATA_LOSS",
	codes.Unauthenticated:    "UNAUTHENTICATED",
}
