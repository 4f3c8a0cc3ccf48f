package grpcapi

import (
	"context"
	"strings"

	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"holdmetrics/internal/reqid"
	"holdmetrics/internal/tracing"
)

// tracedMethods is what the names of the methods that are traced begin with: probes of
// health and reflection would hide the others.
const tracedMethods = "/poh."

// identifyUnary gives a call an id, which its answer has too, and the span of a sampled
// trace.
func (s *Server) identifyUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	ctx, span := s.identify(ctx, info.FullMethod)
	_ = grpc.SetHeader(ctx, metadata.Pairs(reqid.Metadata, reqid.Of(ctx))) // fails only where the call has none
	answer, err := handle(ctx, req)
	endSpan(span, err)
	return answer, err
}

// identifyStream is identifyUnary for a stream.
func (s *Server) identifyStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	ctx, span := s.identify(stream.Context(), info.FullMethod)
	_ = stream.SetHeader(metadata.Pairs(reqid.Metadata, reqid.Of(ctx)))
	err := handle(srv, &identifiedStream{stream, ctx})
	endSpan(span, err)
	return err
}

// identifiedStream is a stream whose context has its id.
type identifiedStream struct {
	grpc.ServerStream
	ctx context.Context
}

// Context returns the context of the call.
func (s *identifiedStream) Context() context.Context { return s.ctx }

// identify returns the context of a call, and its span, or nil if calls are not traced.
func (s *Server) identify(ctx context.Context, method string) (context.Context, trace.Span) {
	id := s.cfg.RequestIDs.Choose(metadata.ValueFromIncomingContext(ctx, reqid.Metadata))
	ctx = reqid.With(ctx, id)
	if s.cfg.Tracer == nil || !strings.HasPrefix(method, tracedMethods) {
		return ctx, nil
	}
	name := strings.TrimPrefix(method, "/")
	return s.cfg.Tracer.Server(ctx, name, callHeaders{ctx},
		tracing.RPCSystem.String("grpc"), tracing.RPCMethod.String(name), tracing.RequestID.String(id))
}

// endSpan ends the span of a call. What the client is to blame for is no error of ours.
func endSpan(span trace.Span, err error) {
	if span == nil {
		return
	}
	code := status.Code(err)
	span.SetAttributes(tracing.RPCStatus.String(codeNames[code]))
	switch code {
	case codes.Unknown, codes.DeadlineExceeded, codes.Unimplemented, codes.Internal, codes.Unavailable, codes.DataLoss:
		span.SetAttributes(tracing.ErrorType.String(codeNames[code]))
		span.SetStatus(otelcodes.Error, status.Convert(err).Message())
	}
	span.End()
}

// codeNames are the names of codes as the specification of gRPC has them.
var codeNames = map[codes.Code]string{
	codes.OK: "OK", codes.Canceled: "CANCELLED", codes.Unknown: "UNKNOWN", codes.InvalidArgument: "INVALID_ARGUMENT",
	codes.DeadlineExceeded: "DEADLINE_EXCEEDED", codes.NotFound: "NOT_FOUND", codes.AlreadyExists: "ALREADY_EXISTS",
	codes.PermissionDenied: "PERMISSION_DENIED", codes.ResourceExhausted: "RESOURCE_EXHAUSTED",
	codes.FailedPrecondition: "FAILED_PRECONDITION", codes.Aborted: "ABORTED", codes.OutOfRange: "OUT_OF_RANGE",
	codes.Unimplemented: "UNIMPLEMENTED", codes.Internal: "INTERNAL", codes.Unavailable: "UNAVAILABLE",
	codes.DataLoss: "DATA_LOSS", codes.Unauthenticated: "UNAUTHENTICATED",
}

// callHeaders are the headers of a call, for the one who looks for a trace in them.
type callHeaders struct{ ctx context.Context }

// Get returns the value of a header that is there once, or "".
func (h callHeaders) Get(name string) string {
	if values := metadata.ValueFromIncomingContext(h.ctx, name); len(values) == 1 {
		return values[0]
	}
	return ""
}

// Set does nothing: headers are read through it alone.
func (h callHeaders) Set(string, string) {}

// Keys returns nothing: headers are asked for by name.
func (h callHeaders) Keys() []string { return nil }
