package settings

import (
	"fmt"
	"math"
	"strconv"

	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"

	"holdmetrics/gateway/httpapi"
	"holdmetrics/ingest"
	"holdmetrics/internal/inflate"
)

// Bounds are what strangers may take of a process.
type Bounds struct {
	Memory          int64 // bytes of the whole process; 0: what the machine says
	DeadLetterBytes int64
	Connections     int // of gRPC, and of HTTP, each; 0: as many as open files and memory allow
	Bodies          int
	UnpackRatio     int64 // 0: any
	UnpackedBytes   int64 // 0: any
	NATSMemoryBytes int64
	NATSConnections int
	MinFree         int64 // bytes that the disk must have free for events to be taken; 0: by its size
}

// The keys of the bounds.
const (
	KeyMemoryLimit     = "memory-limit"
	KeyDeadLetterBytes = "dead-letter-bytes"
	KeyConnections     = "max-connections"
	KeyBodies          = "max-bodies"
	KeyUnpackRatio     = "max-unpack-ratio"
	KeyUnpackedBytes   = "max-unpacked-bytes"
	KeyNATSMemory      = "nats-memory-bytes"
	KeyNATSConnections = "nats-connections"
	KeyMinFree         = "min-free"
)

// Defaults of bounds.
const (
	DefaultNATSMemoryBytes = 16 << 20
	DefaultNATSConnections = 1024
)

// memoryFlag adds the flag for the memory of the process.
func memoryFlag(f *pflag.FlagSet) {
	f.Var(new(Size), KeyMemoryLimit, "memory of the process: caches, buffers and the collector go by it; 0: GOMEMLIMIT, or else the limit of the control group, or else what the machine has (MEMORY_LIMIT)")
}

// deadLetterFlag adds the flag for the budget of the dead letters.
func deadLetterFlag(f *pflag.FlagSet) {
	size := Size(ingest.DefaultDeadLetterBytes)
	f.Var(&size, KeyDeadLetterBytes, "dead letters that are kept, and one message for each KiB of it; when they are full, the oldest go, and their events stay in the log (DEAD_LETTER_BYTES)")
}

// gatewayBoundFlags adds the flags for what clients of a gateway may take.
func gatewayBoundFlags(f *pflag.FlagSet) {
	f.Int(KeyConnections, 0, "connections of gRPC, and of HTTP; more are refused; never more than a sixth of the open files that are allowed, nor than one for each 512 KiB of a memory limit; 0: as many as that (MAX_CONNECTIONS)")
	f.Int(KeyBodies, httpapi.DefaultBodies, "bodies of POST /holds that are read at once; others are answered with 429 (MAX_BODIES)")
	f.Int(KeyUnpackRatio, inflate.DefaultRatio, "bytes that one byte of a compressed body may become on the mean, beyond 256 KiB; a body that becomes more is answered with 413; 0: no limit (MAX_UNPACK_RATIO)")
	size := Size(inflate.DefaultMost)
	f.Var(&size, KeyUnpackedBytes, "bytes that a compressed body may become; one that becomes more is answered with 413; 0: no limit (MAX_UNPACKED_BYTES)")
}

// brokerFlags adds the flags for what clients of the embedded NATS server may take.
func brokerFlags(f *pflag.FlagSet) {
	size := Size(DefaultNATSMemoryBytes)
	f.Var(&size, KeyNATSMemory, "memory of all streams that outside users of NATS keep in memory; what exceeds it is refused by NATS (NATS_MEMORY_BYTES)")
	f.Int(KeyNATSConnections, DefaultNATSConnections, "connections of outside users of NATS; NATS refuses more (NATS_CONNECTIONS)")
}

// minFreeFlag adds the flag for the room that the disk must have.
func minFreeFlag(f *pflag.FlagSet) {
	f.Var(new(Size), KeyMinFree, "room that the disk of the data directory must have for events to be taken; with less they are answered with 503, and reads go on; 0: a fiftieth of the disk, from 64MiB to 256MiB, and at most a twentieth (MIN_FREE)")
}

// parse reads the bounds that there are flags for.
func (b *Bounds) parse(k *koanf.Koanf, has func(string) bool, bad func(string, error) error) error {
	for _, s := range []struct {
		key   string
		to    *int64
		least int64
	}{
		{KeyMemoryLimit, &b.Memory, 0},
		{KeyDeadLetterBytes, &b.DeadLetterBytes, 1 << 20},
		{KeyUnpackedBytes, &b.UnpackedBytes, 0},
		{KeyNATSMemory, &b.NATSMemoryBytes, 1},
		{KeyMinFree, &b.MinFree, 0},
	} {
		if !has(s.key) {
			continue
		}
		size, err := ParseSize(k.String(s.key))
		if err == nil && size < s.least {
			least := Size(s.least)
			err = fmt.Errorf("it is less than %s", least.String())
		}
		if err != nil {
			return bad(s.key, fmt.Errorf("%q: %w", k.String(s.key), err))
		}
		*s.to = size
	}
	if least := Size(LeastMemory); b.Memory != 0 && b.Memory < LeastMemory {
		return bad(KeyMemoryLimit, fmt.Errorf("%q: it is less than %s", k.String(KeyMemoryLimit), least.String()))
	}
	ratio := 0
	for _, n := range []struct {
		key         string
		to          *int
		least, most int
	}{
		{KeyConnections, &b.Connections, 0, 1 << 20},
		{KeyBodies, &b.Bodies, 1, 1 << 20},
		{KeyUnpackRatio, &ratio, 0, math.MaxInt32},
		{KeyNATSConnections, &b.NATSConnections, 1, 1 << 20},
	} {
		if !has(n.key) {
			continue
		}
		value, err := strconv.Atoi(k.String(n.key))
		if err != nil || value < n.least || value > n.most {
			return bad(n.key, fmt.Errorf("%q is not a whole number from %d to %d", k.String(n.key), n.least, n.most))
		}
		*n.to = value
	}
	b.UnpackRatio = int64(ratio)
	return nil
}

// LeastMemory is the least limit of memory that a process takes: the program itself, and
// the least that each of its parts needs.
const LeastMemory = 128 << 20
