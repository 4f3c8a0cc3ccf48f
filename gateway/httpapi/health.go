package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// healthOutput is the answer of /healthz.
type healthOutput struct {
	Body struct {
		Status string `json:"status" enum:"healthy" example:"healthy"`
	}
}

// readyOutput is the answer of /readyz.
type readyOutput struct {
	Body struct {
		Status string `json:"status" enum:"ready" example:"ready"`
	}
}

func (s *Server) addHealth(api huma.API) {
	huma.Register(api, huma.Operation{
		OperationID: "healthz",
		Method:      http.MethodGet,
		Path:        "/healthz",
		Summary:     "Does the process answer?",
	}, func(context.Context, *struct{}) (*healthOutput, error) {
		out := &healthOutput{}
		out.Body.Status = "healthy"
		return out, nil
	})
	huma.Register(api, huma.Operation{
		OperationID: "readyz",
		Method:      http.MethodGet,
		Path:        "/readyz",
		Summary:     "Does the store answer, and do partitions move?",
		Errors:      []int{http.StatusServiceUnavailable},
	}, func(ctx context.Context, _ *struct{}) (*readyOutput, error) {
		if err := s.cfg.Reads.Ready(ctx); err != nil {
			return nil, s.fail(ctx, err, "")
		}
		out := &readyOutput{}
		out.Body.Status = "ready"
		return out, nil
	})
}
