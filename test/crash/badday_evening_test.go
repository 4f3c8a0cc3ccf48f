package crash

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"google.golang.org/protobuf/proto"

	holdpb "holdmetrics/proto"
)

// evening is what follows a day that ended right, before it is judged once more. ok: it
// has judged by itself.
type evening struct {
	name string
	do   func(d *day) (end outcome, why string, ok bool)
}

var dayEvenings = []evening{
	{"nothing", func(*day) (outcome, string, bool) { return right, "", true }},
	{"nothing", func(*day) (outcome, string, bool) { return right, "", true }},
	{"a restart", func(d *day) (outcome, string, bool) { return d.again(syscall.SIGTERM, nil) }},
	{"a kill", func(d *day) (outcome, string, bool) { return d.again(syscall.SIGKILL, nil) }},
	{"the store is made again", func(d *day) (outcome, string, bool) {
		return d.again(syscall.SIGTERM, func() error { return os.RemoveAll(filepath.Join(d.data, "store")) })
	}},
	{"a rebuild", (*day).rebuilds},
	{"a restore", (*day).restores},
}

// again restarts the server.
func (d *day) again(signal syscall.Signal, between func() error) (outcome, string, bool) {
	if err := d.srv.stop(signal); err != nil {
		return wrong, err.Error(), true
	}
	if between != nil {
		if err := between(); err != nil {
			return wrong, err.Error(), true
		}
	}
	if err := d.up(); err != nil {
		return wrong, err.Error(), true
	}
	return right, "", false
}

// command runs a command; the error has what it printed.
func (d *day) command(args ...string) error {
	ctx, cancel := context.WithTimeout(d.t.Context(), dayPasses)
	defer cancel()
	c := command(ctx, args...)
	out, err := c.CombinedOutput()
	for _, sign := range crashes {
		if strings.Contains(string(out), sign) {
			return fmt.Errorf("holdmetrics %s crashed: %s", args[0], out)
		}
	}
	if err != nil {
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		return fmt.Errorf("holdmetrics %s: %v: %s", args[0], err, lines[len(lines)-1])
	}
	return nil
}

// refuses judges a command that failed: the server goes on as it was.
func (d *day) refuses(err error) (outcome, string, bool) {
	if strings.Contains(err.Error(), "crashed") || d.t.Context().Err() != nil {
		return wrong, err.Error(), true
	}
	end, why := d.judge()
	if end == right {
		end, why = honest, err.Error()
	}
	return end, why, true
}

func (d *day) rebuilds() (outcome, string, bool) {
	if err := d.command("rebuild", "--activate", "--nats-url", "nats://"+d.srv.nats); err != nil {
		return d.refuses(err)
	}
	return right, "", false
}

// restores makes a backup, and goes on with what is restored from it.
func (d *day) restores() (outcome, string, bool) {
	d.load.pause(2 * dayCall)
	file, dir := filepath.Join(d.root, "backup"), filepath.Join(d.root, "restored")
	for _, args := range [][]string{
		{"backup", file, "--nats-url", "nats://" + d.srv.nats},
		{"backup", "verify", file},
	} {
		if err := d.command(args...); err != nil {
			return d.refuses(err)
		}
	}
	if err := d.srv.stop(syscall.SIGTERM); err != nil {
		return wrong, err.Error(), true
	}
	if err := d.command("restore", file, "--data-dir", dir); err != nil {
		return wrong, "a backup that was verified: " + err.Error(), true
	}
	d.srv.args[2] = dir
	d.data = dir
	if err := d.up(); err != nil {
		return wrong, err.Error(), true
	}
	return right, "", false
}

// forge gives a snapshot another score, and another position: its own (0), a later (1) or
// an earlier one (2).
func forge(value []byte, how int) ([]byte, error) {
	var s holdpb.HoldStat
	if err := proto.Unmarshal(value, &s); err != nil {
		return nil, err
	}
	s.ScoreExact, s.WeightedScore = "1234567", 1234567
	switch how {
	case 1:
		s.Position++
	case 2:
		s.Position--
	}
	return proto.Marshal(&s)
}

// forgeHolder gives a snapshot to another holder, by its contents too if wanted.
func forgeHolder(value []byte, holder string, wanted bool) ([]byte, error) {
	if !wanted {
		return value, nil
	}
	var s holdpb.HoldStat
	if err := proto.Unmarshal(value, &s); err != nil {
		return nil, err
	}
	s.HolderId = holder
	return proto.Marshal(&s)
}
