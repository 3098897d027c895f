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

// Kind says what a failure means for the caller. It is an error, so that [errors.Is] finds it:
//
//	errors.Is(err, engagement.NotFound)
type Kind string

// The kinds of errors, with the codes that they follow from.
const (
	// InvalidArgument (INVALID_ARGUMENT): the request breaks a rule of the contract; Violations says where.
	InvalidArgument Kind = "invalid_argument"
	// Conflict (ALREADY_EXISTS): the id was used before, for other content.
	Conflict Kind = "conflict"
	// Precondition (FAILED_PRECONDITION): the request is right, but not in the present state.
	Precondition Kind = "precondition"
	// TakenOver (ABORTED): a newer stream goes on with the upload; this one must not.
	TakenOver Kind = "taken_over"
	// NotFound (NOT_FOUND): nothing has this id, cursor or name.
	NotFound Kind = "not_found"
	// Unauthenticated (UNAUTHENTICATED): the token is missing, wrong or too old.
	Unauthenticated Kind = "unauthenticated"
	// PermissionDenied (PERMISSION_DENIED): the token does not cover this account or this kind of call.
	PermissionDenied Kind = "permission_denied"
	// QuotaExceeded (RESOURCE_EXHAUSTED): a limit is reached; wait for the retry delay, where there is one.
	QuotaExceeded Kind = "quota_exceeded"
	// Unavailable (UNAVAILABLE): the service cannot answer now; trying again with the same ids is safe.
	Unavailable Kind = "unavailable"
	// Deadline (DEADLINE_EXCEEDED): the call may have happened; trying again with the same ids is safe.
	// [errors.Is] takes it for [context.DeadlineExceeded], too.
	Deadline Kind = "deadline"
	// Internal (INTERNAL, UNKNOWN, DATA_LOSS): the server failed in a way that it did not foresee.
	Internal Kind = "internal"
	// Other stands for all other codes.
	Other Kind = "other"
	// SourceMismatch is raised here: a resumed upload got a source that holds fewer events than are committed.
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
	// Description says what is wrong and the limit, for people.
	Description string
}

// String returns the violation in one line.
func (v FieldViolation) String() string {
	if v.Field == "" {
		return fmt.Sprintf("%s (%s)", v.Description, v.Rule)
	}
	return fmt.Sprintf("%s: %s (%s)", v.Field, v.Description, v.Rule)
}

// Error is a call that failed: why, for programs and for people.
type Error struct {
	// Kind says what the failure means for the caller.
	Kind Kind
	// Code is the code of the status; [codes.OK] where the client itself found the error.
	Code codes.Code
	// Reason is the name of an ErrorReason without its prefix, also of one that this client does not know;
	// empty where the status came from elsewhere.
	Reason string
	// Message is for people.
	Message string
	// Metadata has the dynamic parts of the message by name. It may be nil.
	Metadata map[string]string
	// Violations are the fields that are wrong; the server names at most 32.
	Violations []FieldViolation

	retryDelay *time.Duration
	status     *status.Status
}

// RetryDelay returns how long the server asks to wait before the next try, and whether it does.
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
		// Without a reason of the service these come from a broken connection or from a proxy.
		return e.Reason == ""
	}
	return false
}

// Error returns the code, the reason and the message, then each violation in a line of its own.
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

// Is makes [errors.Is] find the kind, and [context.DeadlineExceeded] in a Deadline.
func (e *Error) Is(target error) bool {
	return target == e.Kind || e.Kind == Deadline && target == context.DeadlineExceeded
}

// GRPCStatus makes [status.FromError] and [status.Code] work on the error.
func (e *Error) GRPCStatus() *status.Status { return e.status }

// typedError returns the error of a call as callers get it: context.Canceled where they cancelled it themselves,
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

// lostConnection returns the error of a stream that ended in a way that no status tells.
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
