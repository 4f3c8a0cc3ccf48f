package settings

import (
	"github.com/spf13/pflag"

	"holdmetrics/ingest/transparency"
)

// The keys of the settings of checkpoints.
const (
	KeySigningKey         = "signing-key"
	keyCheckpointInterval = "checkpoint-interval"
)

// signingFlags adds the flags of checkpoints.
func signingFlags(f *pflag.FlagSet) {
	f.String(KeySigningKey, "", "`file` of the secret key that signs checkpoints of the log; 'holdmetrics audit keygen' makes one (SIGNING_KEY; default: no checkpoints)")
	interval := Duration(transparency.DefaultInterval)
	f.Var(&interval, keyCheckpointInterval, "how often a checkpoint of the log is signed (CHECKPOINT_INTERVAL)")
}
