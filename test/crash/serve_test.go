package crash

import (
	"math/rand/v2"
	"testing"
	"time"

	"holdmetrics/hold"
)

// TestServe disturbs the one process that is everything.
func TestServe(t *testing.T) {
	t.Parallel()
	for _, policy := range []hold.Policy{hold.Merge, hold.Sum} {
		t.Run(policy.String(), func(t *testing.T) {
			t.Parallel()
			at := ports(t, 3)
			p := run(t, "serve", binary, "serve", "--data-dir", t.TempDir(), "--policy", policy.String(),
				"--grpc-address", at[0], "--http-address", at[1], "--nats-address", at[2])
			t.Logf("seed %d", *seed)
			l := startLoad(t, 2, *seed, at[0])
			w := startWatcher(t, at[0], false)
			c := newChaos(t, rand.New(rand.NewPCG(*seed, 1<<32+uint64(policy))), l, 300*time.Millisecond, p)
			l.more(t, batchSize)
			c.disturb(*kills)
			l.more(t, batchSize)
			v := judge(t, policy, []*load{l}, at[0])
			w.finish()
			c.summary(v, w)
		})
	}
}
