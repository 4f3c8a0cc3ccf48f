package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/projection"
)

// statusClientGone is what the metrics show where the client left before its
// answer. Nobody reads it from the wire.
const statusClientGone = 499

// retryAfter is how long a client is asked to stay away when the log is busy or gone.
const retryAfter = time.Second

var (
	// ErrStale: the store did not reach the position that a read asked for in time.
	ErrStale = errors.New("gateway: the store is behind the log")
	// ErrSlow: the log took too long to acknowledge. It may have the events all
	// the same; sending them again is harmless.
	ErrSlow = errors.New("gateway: the log did not acknowledge in time; retry later, or look at the disk of the NATS server")
	// ErrStalled: a watcher did not take what it was sent.
	ErrStalled = errors.New("gateway: the watch was closed, because what it sent was not read; read faster, watch fewer holders, or ask for a longer interval")
	// ErrDraining: the gateway is being stopped.
	ErrDraining = errors.New("gateway: the server is being stopped; watch again")
	// ErrNoStore: this gateway was given no store, and the answer is only there.
	ErrNoStore = errors.New("gateway: this gateway has no store to answer from (hint: give it the database that the workers write to, MONGODB_URL; what workers keep with --store embedded can be read by nobody else)")
	// ErrUnavailable: the log, the snapshots or the processor does not answer.
	ErrUnavailable = errors.New("gateway: not available")
)

// NoPartition is the partition of a position that the log does not have.
const NoPartition = -1

// StaleError says which position did not come. It matches ErrStale.
type StaleError struct {
	Partition int // or NoPartition
	Position  uint64
	Waited    time.Duration
}

// Error is one line with a hint.
func (e *StaleError) Error() string {
	if e.Partition == NoPartition {
		return fmt.Sprintf("gateway: the log did not get to position %d within %v (hint: is it a position of this log? ask again, or with a smaller `after`)",
			e.Position, e.Waited.Round(time.Millisecond))
	}
	return fmt.Sprintf("%v: position %d of partition %d was not applied within %v (hint: is a worker running, and is that position in the log? ask again, or with a smaller `after`)",
		ErrStale, e.Position, e.Partition, e.Waited)
}

// Unwrap gives the sentinel.
func (e *StaleError) Unwrap() error { return ErrStale }

// unavailable says what does not answer.
func unavailable(what string, err error) error {
	return fmt.Errorf("%w: %s: %w", ErrUnavailable, what, err)
}

// failure is an error as both doors tell it.
type failure struct {
	code    codes.Code
	status  int // of HTTP
	field   string
	message string
	retry   bool // later, unchanged
}

// failureOf classifies an error. What it does not know is internal.
func failureOf(err error) failure {
	var field *hold.FieldError
	switch {
	case errors.Is(err, ErrSealed) && errors.As(err, &field):
		return failure{code: codes.FailedPrecondition, status: http.StatusUnprocessableEntity, field: field.Field, message: field.Error()}
	case errors.As(err, &field):
		return failure{code: codes.InvalidArgument, status: http.StatusUnprocessableEntity, field: field.Field, message: field.Error()}
	case errors.Is(err, ingest.ErrMalformed):
		return failure{code: codes.InvalidArgument, status: http.StatusUnprocessableEntity, message: err.Error()}
	case errors.Is(err, projection.ErrNotFound):
		return failure{code: codes.NotFound, status: http.StatusNotFound, message: "no holder of that id is known"}
	case errors.Is(err, ErrNoStore):
		return failure{code: codes.FailedPrecondition, status: http.StatusNotImplemented, message: ErrNoStore.Error()}
	case errors.Is(err, ErrStale):
		return failure{code: codes.DeadlineExceeded, status: http.StatusGatewayTimeout, message: err.Error()}
	// Before the ends of contexts, which these two may wrap: they say more. A slow
	// log comes first: a caller that gave up after its time was not acknowledged either.
	case errors.Is(err, ingest.ErrBusy), errors.Is(err, ErrSlow):
		return failure{code: codes.ResourceExhausted, status: http.StatusTooManyRequests, message: err.Error(), retry: true}
	case errors.Is(err, ErrCursorGone):
		return failure{code: codes.FailedPrecondition, status: http.StatusGone, field: "cursor", message: err.Error()}
	case errors.Is(err, ErrStalled):
		return failure{code: codes.Canceled, status: http.StatusRequestTimeout, message: err.Error()}
	case errors.Is(err, ErrDraining):
		return failure{code: codes.Unavailable, status: http.StatusServiceUnavailable, message: err.Error(), retry: true}
	case errors.Is(err, ingest.ErrClosed), errors.Is(err, ingest.ErrNotAcknowledged):
		return failure{code: codes.Unavailable, status: http.StatusServiceUnavailable, message: err.Error(), retry: true}
	case errors.Is(err, context.Canceled):
		return failure{code: codes.Canceled, status: statusClientGone, message: "the request was canceled"}
	case errors.Is(err, context.DeadlineExceeded):
		return failure{code: codes.DeadlineExceeded, status: http.StatusGatewayTimeout, message: "the deadline of the request has passed"}
	case errors.Is(err, projection.ErrOutdated):
		return failure{code: codes.Unavailable, status: http.StatusServiceUnavailable, retry: true, message: "what was read was being sealed meanwhile; ask again"}
	case errors.Is(err, ErrUnavailable), errors.Is(err, projection.ErrUnavailable), errors.Is(err, projection.ErrClosed):
		return failure{code: codes.Unavailable, status: http.StatusServiceUnavailable, message: err.Error(), retry: true}
	}
	return failure{code: codes.Internal, status: http.StatusInternalServerError, message: err.Error()}
}

// statusError is the error that a gRPC method returns for err. One that is a
// status already (the transport's own) stays as it is.
func statusError(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	f := failureOf(err)
	s := status.New(f.code, f.message)
	var details []protoadapt.MessageV1
	if f.field != "" {
		details = append(details, &errdetails.BadRequest{
			FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: f.field, Description: f.message}},
		})
	}
	if f.retry {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(retryAfter)})
	}
	if len(details) > 0 {
		if with, err := s.WithDetails(details...); err == nil {
			s = with
		}
	}
	return s.Err()
}

// refused says whether err is about the event alone, so that its neighbours go on.
func refused(err error) bool {
	var field *hold.FieldError
	return errors.As(err, &field) || errors.Is(err, ingest.ErrMalformed)
}
