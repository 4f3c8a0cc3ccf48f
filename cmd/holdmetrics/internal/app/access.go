package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"go.uber.org/zap"

	"holdmetrics/cmd/holdmetrics/internal/natsaccess"
	"holdmetrics/ingest"
	"holdmetrics/internal/backoff"
	"holdmetrics/internal/service"
	"holdmetrics/processor/generation"
)

// usersLook is the time between two looks at the users of the embedded NATS server: a
// user that is made or revoked is so within a second.
const usersLook = 500 * time.Millisecond

// startAccess keeps the users of the embedded NATS server up to date, and lets commands
// of this user find the credentials of the operator.
func (p *Server) startAccess() {
	if at, ok := p.Broker.Address().(*net.TCPAddr); ok && p.settings.RuntimeDir != "" {
		remove, err := natsaccess.Note(p.settings.RuntimeDir, strconv.Itoa(at.Port), p.settings.DataDir)
		if err != nil { // commands still find the credentials by --data-dir
			p.log.Info("commands find the data directory by --data-dir alone", zap.Error(err))
		} else {
			p.group.Add("the note for commands", service.Func(remove))
		}
	}
}

// runUsers looks at the users until ctx ends.
func (p *Server) runUsers(ctx context.Context) error {
	ticker := time.NewTicker(usersLook)
	defer ticker.Stop()
	for {
		p.Broker.lookAtUsers()
		names := p.Generations.Names()
		slices.Sort(names)
		if err := p.Broker.setGenerations(names); err != nil {
			p.log.Error("readers of NATS cannot be given the snapshots of a generation", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// refused notes what NATS does not let the user of this process do.
func (n *process) refused(err error) {
	err = fmt.Errorf("NATS does not let this user do what the process needs: %w: give it the permissions of deploy/nats", err)
	n.startup.tried(err)
	n.log.Error("NATS refuses", zap.Error(err))
}

// putSettingsBack puts the settings of the log back that somebody has changed.
func (p *Server) putSettingsBack(ctx context.Context, found error) ([]string, error) {
	names, err := ingest.RestoreLogSettings(ctx, p.js, p.Events)
	if err != nil {
		return nil, err
	}
	p.log.Error("somebody has changed the settings of the log; they are put back", zap.Strings("settings", names), zap.Error(found))
	return names, nil
}

// mendSettings looks at the settings of the log and the records of the generations, and
// puts back what somebody has changed. It returns what it cannot put back, or what the log
// has lost by it.
func (p *Server) mendSettings(ctx context.Context) error {
	mended, err := p.Records.Mend(ctx)
	if len(mended) > 0 {
		p.log.Error("somebody has written records of generations that cannot be read; they are put right", zap.Strings("keys", mended))
	}
	if err != nil {
		return err
	}
	if err := p.Events.CheckSettings(ctx); err != nil {
		if !errors.Is(err, ingest.ErrLogSettings) {
			return err
		}
		_, failed := p.putSettingsBack(ctx, err)
		if failed == nil {
			failed = p.Events.CheckSettings(ctx)
		}
		if failed != nil {
			return failed
		}
		p.cut = true
	}
	if p.cut {
		if err := p.Events.Whole(ctx, 1); err != nil {
			return err
		}
		p.cut = false
	}
	return nil
}

// recordsLook is the time between two looks at records that cannot be read.
const recordsLook = 500 * time.Millisecond

// awaitRecords waits until the records of the generations can be read, after it has put
// right what it can. NATS is open meanwhile, so that an operator can do the rest.
func (p *Server) awaitRecords(ctx context.Context) error {
	for logged := false; ; logged = true {
		mended, err := p.Records.Mend(ctx)
		if len(mended) > 0 {
			p.log.Error("records of generations could not be read; they are put right", zap.Strings("keys", mended))
		}
		if !errors.Is(err, generation.ErrRecord) {
			return err
		}
		p.startup.tried(err)
		if !logged {
			p.log.Error("waiting until the records of the generations can be read; NATS is open", zap.Stringer("nats", p.Broker.Address()), zap.Error(err))
		}
		if err := backoff.Wait(ctx, recordsLook); err != nil {
			return err
		}
	}
}
