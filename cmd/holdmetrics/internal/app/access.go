package app

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"go.uber.org/zap"

	"holdmetrics/cmd/holdmetrics/internal/natsaccess"
	"holdmetrics/internal/service"
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
