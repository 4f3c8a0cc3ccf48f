package gateway

import (
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"
)

// grpcCodes are the codes of gRPC by the kind of a failure.
var grpcCodes = map[FailureKind]codes.Code{
	Internal:     codes.Internal,
	Invalid:      codes.InvalidArgument,
	Sealed:       codes.FailedPrecondition,
	NotFound:     codes.NotFound,
	NoStore:      codes.FailedPrecondition,
	Stale:        codes.DeadlineExceeded,
	Busy:         codes.ResourceExhausted,
	CursorGone:   codes.FailedPrecondition,
	Stalled:      codes.Canceled,
	Unavailable:  codes.Unavailable,
	Canceled:     codes.Canceled,
	DeadlineOver: codes.DeadlineExceeded,
}

// statusError is the error that a gRPC method returns for err. An error of the
// transport, which is a status already, stays as it is.
func statusError(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	f := FailureOf(err)
	s := status.New(grpcCodes[f.Kind], f.Message)
	var details []protoadapt.MessageV1
	if f.Field != "" {
		details = append(details, &errdetails.BadRequest{
			FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: f.Field, Description: f.Message}},
		})
	}
	if f.Retry {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(RetryAfter)})
	}
	if len(details) > 0 {
		if with, err := s.WithDetails(details...); err == nil {
			s = with
		}
	}
	return s.Err()
}
