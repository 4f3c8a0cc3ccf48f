package generation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"holdmetrics/internal/backoff"
)

const (
	// gatewaysWithin is how long a gateway may take to be heard of.
	gatewaysWithin = 5 * time.Second
	// prepareTTL is how long gateways keep what they prepared for a process that was
	// killed, and prepareBeat how often a living one renews its preparation.
	prepareTTL  = 30 * time.Second
	prepareBeat = time.Second
)

// errOvertaken: somebody else switches meanwhile, or has.
var errOvertaken = errors.New("another switch overtook this one")

// SwitchOptions say how [Operator.Activate] goes about it.
type SwitchOptions struct {
	// Wait is how long each step may take: the generation to catch up with the log, the
	// gateways to load it, and the gateways to serve it.
	Wait time.Duration
	// WithoutGateways goes on where no gateway reports itself.
	WithoutGateways bool
}

// Previous returns the name of the generation that a rollback goes to.
func (o *Operator) Previous(ctx context.Context) (string, error) {
	active, err := o.Registry.Active(ctx)
	if err == nil && active.Previous == "" {
		err = fmt.Errorf("generation %s is the first that was active; there is nothing to go back to", active.Generation)
	}
	return active.Previous, err
}

// Activate moves all gateways to a generation, and returns the one that was active
// before, or "" if the generation was active already.
//
// It waits until the generation has caught up with the log and its workers write dead
// letters, has all gateways load it, makes it the active one, and waits until all
// gateways serve it. Before that last step an error leaves everything as it was.
func (o *Operator) Activate(ctx context.Context, name string, opts SwitchOptions) (from string, err error) {
	g, err := o.Get(ctx, name)
	if err != nil {
		return "", err
	}
	active, err := o.Registry.Active(ctx)
	if err != nil {
		return "", err
	}
	from = active.Generation
	switch {
	case g.Dropped:
		return "", fmt.Errorf("generation %s is being dropped", name)
	case g.Until != 0:
		return "", fmt.Errorf("generation %s ends at position %d, so it stands still and cannot be activated", name, g.Until)
	case g.Paused:
		return "", fmt.Errorf("generation %s is paused, so it stands still", name)
	case !g.Built:
		return "", fmt.Errorf("generation %s is not built yet; 'holdmetrics rebuild --resume %s --activate' waits for it", name, name)
	case from == name:
		if err := o.Registry.Prepare(ctx, ""); err != nil {
			return "", err
		}
		return "", o.awaitServed(ctx, name, opts.Wait)
	}
	if err := o.awaitCaughtUp(ctx, name, opts.Wait); err != nil {
		return "", staysActive(err, from)
	}
	if !opts.WithoutGateways {
		if err := o.awaitSomeGateway(ctx); err != nil {
			return "", err
		}
	}
	if err := o.prepareAndActivate(ctx, from, name, opts.Wait); err != nil {
		return "", staysActive(err, from)
	}
	if err := o.awaitServed(ctx, name, opts.Wait); errors.Is(err, errOvertaken) {
		return "", fmt.Errorf("generation %s was activated, but then %w", name, err)
	} else if err != nil {
		return "", fmt.Errorf("generation %s is active, but %w", name, err)
	}
	return from, nil
}

// staysActive adds to an error that nothing has changed, unless somebody else has
// changed it.
func staysActive(err error, from string) error {
	if errors.Is(err, errOvertaken) || errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("%w; generation %s stays active", err, from)
}

// prepareAndActivate does the two writes of a switch.
func (o *Operator) prepareAndActivate(ctx context.Context, from, name string, wait time.Duration) (err error) {
	preparation, err := o.Registry.PrepareFor(ctx, name, prepareTTL)
	if err != nil {
		return err
	}
	preparing, stop := preparation.keep(ctx, prepareBeat)
	defer func() { // whatever came of it, nobody need hold it beside the other any more
		_ = stop()
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
		defer cancel()
		if ended := preparation.End(ending); err == nil {
			err = ended
		}
	}()
	err = o.awaitGateways(preparing, gatewaysWait{
		wait: wait, doing: "load", name: name, active: from, deadLetters: true,
		there: func(d *GatewayState) bool { return d.Prepared == name || d.Active == name },
	})
	if overtaken := stop(); overtaken != nil {
		return fmt.Errorf("%w: %w", errOvertaken, overtaken)
	}
	if err != nil {
		return err
	}
	last, err := o.Log.LastPosition(ctx)
	if err != nil {
		return err
	}
	if err = o.Registry.Activate(ctx, from, name, last, time.Now().UTC()); errors.Is(err, ErrChanged) {
		return fmt.Errorf("%w: %w", errOvertaken, err)
	}
	return err
}

// awaitCaughtUp waits until the snapshots of a generation have what the log has now.
func (o *Operator) awaitCaughtUp(ctx context.Context, name string, wait time.Duration) error {
	ends, err := o.ends(ctx)
	if err != nil {
		return err
	}
	notice := o.notice(0)
	stalled := &StalledError{Generation: name, For: wait}
	over, err := o.awaitLooks(ctx, wait, func(ctx context.Context) (bool, error) {
		at, err := o.published(ctx, name)
		if err != nil {
			return false, err
		}
		if at == nil {
			at = make([]uint64, len(ends))
		}
		behind, most := false, uint64(0)
		for p, end := range ends {
			if at[p] < end && end-at[p] > most {
				behind, most = true, end-at[p]
				stalled.Partition, stalled.Wanted, stalled.Reached = p, end, at[p]
			}
		}
		if behind {
			notice.say(fmt.Sprintf("waiting until generation %s has what the log has", name))
		}
		return !behind, nil
	})
	if !over {
		return err
	}
	if err != nil {
		return fmt.Errorf("after %s it is not known whether generation %s has caught up with the log: %w", wait, name, err)
	}
	stalled.Heard = o.heard(ctx, name, stalled.Partition)
	return fmt.Errorf("generation %s has not caught up with the log: %w", name, stalled)
}

// awaitLooks calls look until it reports true, and reports whether wait was over before;
// the error is then that of the last look, nil if it had none. The last look begins
// before wait is over and ends soon after. Other errors of look end the wait, but for
// those of a broker that did not answer in time.
func (o *Operator) awaitLooks(ctx context.Context, wait time.Duration, look func(context.Context) (done bool, err error)) (over bool, err error) {
	for began := time.Now(); ; {
		looking, cancel := context.WithTimeout(ctx, requestTimeout)
		done, err := look(looking)
		slow := looking.Err() != nil
		cancel()
		switch {
		case ctx.Err() != nil:
			return false, ctx.Err()
		case err != nil && !slow, done && err == nil:
			return false, err
		case time.Since(began) >= wait:
			return true, err
		}
		if err := backoff.Wait(ctx, min(lookAgain, wait)); err != nil {
			return false, err
		}
	}
}

// heard says in words what the worker of a partition reported last, or returns "".
func (o *Operator) heard(ctx context.Context, name string, partition int) string {
	all, err := o.Registry.Progress(ctx, name)
	if err != nil {
		return err.Error()
	}
	text := ""
	for _, w := range all {
		if w.LastError != "" {
			text = w.Worker + ": " + w.LastError
		}
		for _, p := range w.Partitions {
			if p.Partition != partition {
				continue
			}
			if p.LastError != "" {
				return w.Worker + ": " + p.LastError
			}
			text = fmt.Sprintf("%s: position %d", w.Worker, p.Position)
		}
	}
	return text
}

// awaitSomeGateway waits a moment until a gateway is heard of.
func (o *Operator) awaitSomeGateway(ctx context.Context) error {
	for began := time.Now(); ; {
		gateways, err := o.Registry.Gateways(ctx)
		if err != nil || len(gateways) > 0 {
			return err
		}
		if time.Since(began) > gatewaysWithin {
			return errors.New("no gateway answers, neither serve's nor another one's, so nobody would notice; start one of this version, or pass --without-gateways if there is none")
		}
		if err := backoff.Wait(ctx, lookAgain); err != nil {
			return err
		}
	}
}

// awaitServed waits until all gateways serve a generation that is active.
func (o *Operator) awaitServed(ctx context.Context, name string, wait time.Duration) error {
	return o.awaitGateways(ctx, gatewaysWait{
		wait: wait, doing: "switch to", name: name, active: name,
		there: func(d *GatewayState) bool { return d.Active == name },
	})
}

// gatewaysWait is what [Operator.awaitGateways] waits for.
type gatewaysWait struct {
	wait        time.Duration
	doing       string // what gateways are to do with the generation, for messages
	name        string
	there       func(*GatewayState) bool // reports whether a gateway has done it
	deadLetters bool                     // and all its workers write dead letters, so that none is missing after the switch
	active      string                   // generation that is active meanwhile; another one ends the wait
}

// awaitGateways waits until all gateways are where they are to be.
func (o *Operator) awaitGateways(ctx context.Context, w gatewaysWait) error {
	notice := o.notice(noticeAfter)
	missing := ""
	over, err := o.awaitLooks(ctx, w.wait, func(ctx context.Context) (done bool, err error) {
		if missing, err = o.missing(ctx, &w); err != nil || missing == "" {
			return err == nil, err
		}
		notice.say("waiting for " + missing)
		return false, o.stillActive(ctx, w.active)
	})
	switch {
	case !over:
		return err
	case err != nil:
		return fmt.Errorf("after %s nothing was heard of the gateways: %w", w.wait, err)
	}
	return fmt.Errorf("after %s still waiting for %s", w.wait, missing)
}

// missing says in words what is still waited for; "" if nothing is.
func (o *Operator) missing(ctx context.Context, w *gatewaysWait) (string, error) {
	gateways, err := o.Registry.Gateways(ctx)
	if err != nil {
		return "", err
	}
	var ids []string
	for i := range gateways {
		if !w.there(&gateways[i]) {
			id := gateways[i].ID
			if gateways[i].LastError != "" {
				id += " (" + gateways[i].LastError + ")"
			}
			ids = append(ids, id)
		}
	}
	if len(ids) > 0 {
		return fmt.Sprintf("gateways to %s generation %s: %s", w.doing, w.name, strings.Join(ids, ", ")), nil
	}
	if !w.deadLetters {
		return "", nil
	}
	workers, err := o.Registry.Progress(ctx, w.name)
	if err != nil {
		return "", err
	}
	for _, p := range workers {
		if len(p.Partitions) > 0 && !p.DeadLetters {
			ids = append(ids, p.Worker)
		}
	}
	slices.Sort(ids)
	switch {
	case len(workers) == 0:
		return "workers of generation " + w.name + ": none reports", nil
	case len(ids) > 0:
		return fmt.Sprintf("workers to write dead letters of generation %s: %s", w.name, strings.Join(ids, ", ")), nil
	}
	return "", nil
}

// stillActive returns errOvertaken if another generation is active.
func (o *Operator) stillActive(ctx context.Context, name string) error {
	active, err := o.Registry.Active(ctx)
	if err == nil && active.Generation != name {
		err = fmt.Errorf("%w: generation %s is active now", errOvertaken, active.Generation)
	}
	return err
}
