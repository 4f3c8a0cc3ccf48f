package grpcapi_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"holdmetrics/gateway/gatewaytest"
	holdpb "holdmetrics/proto"
)

func TestHealthAndReadiness(t *testing.T) {
	t.Parallel()
	var reason error = errors.New("partition 3 has stopped")
	gate := make(chan error, 1)
	gate <- reason
	w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) {
		w.Cfg.Ready = func(context.Context) error { err := <-gate; gate <- err; return err }
	})
	health := healthpb.NewHealthClient(w.Conn)
	check := func(service string) healthpb.HealthCheckResponse_ServingStatus {
		t.Helper()
		got, err := health.Check(t.Context(), &healthpb.HealthCheckRequest{Service: service})
		if err != nil {
			t.Fatal(err)
		}
		return got.GetStatus()
	}
	if got := gatewaytest.Get(t, w, "/healthz", 200); strings.TrimSpace(string(got)) != `{"status":"healthy"}` {
		t.Errorf("healthz: %s", got)
	}
	resp, body := gatewaytest.Do(t, http.MethodGet, w.Url+"/readyz", "")
	if p := gatewaytest.ProblemOf(t, resp, body); resp.StatusCode != 503 || !strings.Contains(p.Detail, "partition 3") {
		t.Errorf("readyz: %s", body)
	}
	if got := check(""); got != healthpb.HealthCheckResponse_NOT_SERVING {
		t.Error(got)
	}
	watch, err := health.Watch(t.Context(), &healthpb.HealthCheckRequest{Service: "poh.HoldMetrics"})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := watch.Recv(); err != nil || got.GetStatus() != healthpb.HealthCheckResponse_NOT_SERVING {
		t.Fatal(got, err)
	}
	<-gate
	gate <- nil
	if got, err := watch.Recv(); err != nil || got.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Fatal(got, err)
	}
	if got := gatewaytest.Get(t, w, "/readyz", 200); strings.TrimSpace(string(got)) != `{"status":"ready"}` {
		t.Errorf("readyz: %s", got)
	}
	for _, service := range []string{"", "poh.HoldMetrics", "poh.HoldMetricsQuery"} {
		if got := check(service); got != healthpb.HealthCheckResponse_SERVING {
			t.Errorf("%q: %v", service, got)
		}
	}
	if _, err := health.Check(t.Context(), &healthpb.HealthCheckRequest{Service: "x"}); status.Code(err) != codes.NotFound {
		t.Error(err)
	}
	if list, err := health.List(t.Context(), &healthpb.HealthListRequest{}); err != nil || len(list.GetStatuses()) != 3 {
		t.Error(list, err)
	}
	if ack, err := w.Query().HealthCheck(t.Context(), &holdpb.Empty{}); err != nil || !ack.GetOk() {
		t.Error(ack, err)
	}
}

func TestReflection(t *testing.T) {
	t.Parallel()
	stream, err := reflectionpb.NewServerReflectionClient(gatewaytest.NewWorld(t).Conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, req := range []*reflectionpb.ServerReflectionRequest{
		{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}},
		{MessageRequest: &reflectionpb.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: "poh.HoldMetrics.Broadcast"}},
	} {
		if err := stream.Send(req); err != nil {
			t.Fatal(err)
		}
		got, err := stream.Recv()
		if err != nil || got.GetErrorResponse() != nil || !strings.Contains(got.String(), "poh") {
			t.Fatal(got, err)
		}
	}
	stream.CloseSend()
	stream.Recv()
}
