package app

import (
	"context"
	"slices"
	"testing"
	"time"

	"go.uber.org/zap"

	"holdmetrics/cmd/holdmetrics/internal/settings"
	"holdmetrics/internal/faultynats"
	"holdmetrics/internal/natstest"
	"holdmetrics/processor/generation"
)

// A gateway that starts asks who runs beside it. If an answer is lost, it asks again,
// though its start has minutes left. It waited for that answer for as long as its start
// might take.
func TestAnswersAtAStartMayBeLost(t *testing.T) {
	t.Parallel()
	broker := natstest.Before(t, natstest.Start(t), faultynats.Faults{})
	js := natstest.JetStream(t, broker)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Second)
	defer cancel()
	g := NewGateway(&settings.Settings{}, "test", Instruments{Log: zap.NewNop()})
	g.js, g.try = js, time.Second
	var err error
	if g.records, err = generation.Open(ctx, js, 1); err != nil {
		t.Fatal(err)
	}
	if err := g.records.PutGateway(ctx, generation.GatewayState{ID: "x"}, time.Hour); err != nil {
		t.Fatal(err)
	}
	broker.Set(faultynats.Faults{LostReplies: 1, Most: 1})
	ids, err := g.others(ctx, generation.First)
	if err != nil || !slices.Equal(ids, []string{"gateway x"}) {
		t.Errorf("%q, %v", ids, err)
	}
	if n := broker.Counts().LostReplies; n != 1 {
		t.Errorf("%d answers were lost", n)
	}
}
