package grpcapi

import (
	"context"
	"crypto/x509"
	"errors"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/tap"

	"holdmetrics/gateway/auth"
)

// Callers are named as soon as the headers of a call are there, before its first message
// is read: a message may have 64 MiB, and nobody who is not known may send one. Only what
// has to wait for the issuer of a token is done later, since the goroutine that looks at
// headers serves the whole connection.

// authorizedTap is tap with authentication.
func (s *Server) authorizedTap(ctx context.Context, info *tap.Info) (context.Context, error) {
	caller, err := s.authorize(ctx, info.Header, info.FullMethodName, false)
	switch {
	case err == nil:
		ctx = auth.WithCaller(ctx, caller)
	case errors.Is(err, auth.ErrSlow):
	default:
		err = statusError(err)
		s.observed(ctx, countedAs(info.FullMethodName), err)
		return nil, err
	}
	return s.tap(ctx, info)
}

// countedAs is a method as metrics and the audit log name it: nothing that a client made up.
func countedAs(method string) string {
	if auth.MethodNeed(method) == auth.Unknown {
		return "none"
	}
	return method
}

// authorize returns the caller of a method.
func (s *Server) authorize(ctx context.Context, header metadata.MD, method string, wait bool) (*auth.Caller, error) {
	r := auth.Request{Call: countedAs(method)}
	r.Authorization = header.Get("authorization")
	if p, ok := peer.FromContext(ctx); ok {
		r.From, r.Certificate = p.Addr.String(), certificateOf(p)
	}
	return s.cfg.Auth.Authorize(ctx, r, auth.MethodNeed(method), wait)
}

// certificateOf returns the certificate of a client that TLS has verified, or nil.
func certificateOf(p *peer.Peer) *x509.Certificate {
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.VerifiedChains) == 0 {
		return nil
	}
	return info.State.VerifiedChains[0][0]
}

// called returns a context with its caller, which the tap has named, unless that took long.
func (s *Server) called(ctx context.Context, method string) (context.Context, *auth.Caller, error) {
	if caller := auth.CallerOf(ctx); caller != nil {
		return ctx, caller, nil
	}
	header, _ := metadata.FromIncomingContext(ctx)
	caller, err := s.authorize(ctx, header, method, true)
	if err != nil {
		return nil, nil, statusError(err)
	}
	return auth.WithCaller(ctx, caller), caller, nil
}

func (s *Server) authorizeUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	ctx, _, err := s.called(ctx, info.FullMethod)
	if err != nil {
		return nil, err
	}
	return handle(ctx, req)
}

func (s *Server) authorizeStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	ctx, caller, err := s.called(stream.Context(), info.FullMethod)
	if err != nil {
		return err
	}
	ctx, closed, err := caller.OpenStream(ctx)
	if err != nil {
		return statusError(err)
	}
	defer closed()
	err = handle(srv, calledStream{stream, ctx})
	// A stream that ended with its caller's session says so, whatever its method made of it.
	if over := (*auth.RefusedError)(nil); errors.As(context.Cause(ctx), &over) {
		return statusError(over)
	}
	return err
}

// calledStream is a stream whose context has a caller.
type calledStream struct {
	grpc.ServerStream
	ctx context.Context
}

// Context returns the context of the stream.
func (s calledStream) Context() context.Context { return s.ctx }
