package grpcapi

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"holdmetrics/gateway/query"
	holdpb "holdmetrics/proto"
)

const (
	// watchInterval is how often a health watch looks.
	watchInterval = time.Second
)

// healthServer is grpc.health.v1: every service of ours serves when the server is
// ready. It looks when it is asked, so there is no state that could be out of date.
type healthServer struct {
	healthpb.UnimplementedHealthServer
	reads *query.Service
}

func healthServices() []string {
	return []string{"", holdpb.HoldMetrics_ServiceDesc.ServiceName, holdpb.HoldMetricsQuery_ServiceDesc.ServiceName}
}

func knownService(name string) bool {
	for _, known := range healthServices() {
		if name == known {
			return true
		}
	}
	return false
}

func (s *healthServer) look(ctx context.Context) healthpb.HealthCheckResponse_ServingStatus {
	if s.reads.Ready(ctx) != nil {
		return healthpb.HealthCheckResponse_NOT_SERVING
	}
	return healthpb.HealthCheckResponse_SERVING
}

// Check looks once.
func (s *healthServer) Check(ctx context.Context, req *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	if !knownService(req.GetService()) {
		return nil, status.Error(codes.NotFound, "unknown service")
	}
	return &healthpb.HealthCheckResponse{Status: s.look(ctx)}, nil
}

// List looks once, for all services.
func (s *healthServer) List(ctx context.Context, _ *healthpb.HealthListRequest) (*healthpb.HealthListResponse, error) {
	now := &healthpb.HealthCheckResponse{Status: s.look(ctx)}
	all := map[string]*healthpb.HealthCheckResponse{}
	for _, name := range healthServices() {
		all[name] = now
	}
	return &healthpb.HealthListResponse{Statuses: all}, nil
}

// Watch sends the status and every change of it until the client leaves.
func (s *healthServer) Watch(req *healthpb.HealthCheckRequest, stream grpc.ServerStreamingServer[healthpb.HealthCheckResponse]) error {
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	last := healthpb.HealthCheckResponse_UNKNOWN
	for {
		now := healthpb.HealthCheckResponse_SERVICE_UNKNOWN
		if knownService(req.GetService()) {
			now = s.look(stream.Context())
		}
		if now != last {
			if err := stream.Send(&healthpb.HealthCheckResponse{Status: now}); err != nil {
				return err
			}
			last = now
		}
		select {
		case <-ticker.C:
		case <-stream.Context().Done():
			return status.FromContextError(stream.Context().Err()).Err()
		}
	}
}
