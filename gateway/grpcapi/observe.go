package grpcapi

import (
	"context"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"holdmetrics/gateway/query"
	"holdmetrics/internal/logs"
)

func (s *Server) observeUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	began := time.Now()
	answer, err := handle(ctx, req)
	s.observed(ctx, info.FullMethod, err)
	s.cfg.Observer.Took(ctx, "grpc", info.FullMethod, time.Since(began))
	return answer, err
}

func (s *Server) observeStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	closed := s.cfg.Observer.StreamOpened(info.FullMethod)
	defer closed()
	err := handle(srv, stream)
	s.observed(stream.Context(), info.FullMethod, err)
	return err
}

// tellLostUnary has the answer say which positions of the log are lost, and tellLostStream
// that of a stream. Only callers who may make the call come here.
func (s *Server) tellLostUnary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	if lost := s.cfg.Reads.LostText(); lost != "" {
		_ = grpc.SetHeader(ctx, metadata.Pairs(query.LostHeader, lost)) // fails only where the call has none
	}
	return handle(ctx, req)
}

func (s *Server) tellLostStream(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	if lost := s.cfg.Reads.LostText(); lost != "" {
		_ = stream.SetHeader(metadata.Pairs(query.LostHeader, lost))
	}
	return handle(srv, stream)
}

// observed counts a gRPC request and logs it: what only a programmer can mend as
// an error, the rest for debugging.
func (s *Server) observed(ctx context.Context, method string, err error) {
	code := status.Code(err)
	s.cfg.Observer.Request("grpc", method, code.String())
	switch {
	case code == codes.Internal || code == codes.Unknown:
		s.cfg.Logger.Error("gRPC request failed", append(logs.Request(ctx), zap.String("method", method), zap.Error(err))...)
	case s.cfg.Logger.Core().Enabled(zap.DebugLevel):
		s.cfg.Logger.Debug("gRPC request", append(logs.Request(ctx), zap.String("method", method), zap.Stringer("code", code), zap.Error(err))...)
	}
}
