package grpcapi

import (
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"holdmetrics/gateway/failure"
)

// grpcCodes are the codes of gRPC by the kind of a failure.
var grpcCodes = map[failure.Kind]codes.Code{
	failure.Internal:     codes.Internal,
	failure.Invalid:      codes.InvalidArgument,
	failure.Sealed:       codes.FailedPrecondition,
	failure.NotFound:     codes.NotFound,
	failure.NoStore:      codes.FailedPrecondition,
	failure.Stale:        codes.DeadlineExceeded,
	failure.Busy:         codes.ResourceExhausted,
	failure.CursorGone:   codes.FailedPrecondition,
	failure.Stalled:      codes.Canceled,
	failure.Unavailable:  codes.Unavailable,
	failure.Canceled:     codes.Canceled,
	failure.DeadlineOver: codes.DeadlineExceeded,

	failure.Unauthenticated: codes.Unauthenticated,
	failure.Denied:          codes.PermissionDenied,
	failure.NoMethod:        codes.Unimplemented,
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
	f := failure.Of(err)
	s := status.New(grpcCodes[f.Kind], f.Message)
	var details []protoadapt.MessageV1
	if f.Field != "" {
		details = append(details, &errdetails.BadRequest{
			FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: f.Field, Description: f.Message}},
		})
	}
	if f.Retry {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(f.Wait())})
	}
	if len(details) > 0 {
		if with, err := s.WithDetails(details...); err == nil {
			s = with
		}
	}
	return s.Err()
}
