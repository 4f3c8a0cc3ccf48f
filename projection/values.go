package projection

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
)

const (
	// valuesAtOnce is how many keys one call of Values reads at once.
	valuesAtOnce = 32
	// valuesMost is how many keys one direct request names; the server takes 1024.
	valuesMost = 512
	// valuesWithin bounds the wait for the next answer to a direct request.
	valuesWithin = 5 * time.Second
)

// Values reads the snapshots of some keys, in their order, nil where the bucket
// has none, or has one that the broker cannot read. The stream's leader answers.
func (s *Snapshots) Values(ctx context.Context, keys []string) ([][]byte, error) {
	values := make([][]byte, len(keys))
	if s.stream.CachedInfo().Config.AllowDirect {
		for from := 0; from < len(keys); from += valuesMost {
			to := min(from+valuesMost, len(keys))
			if err := s.valuesDirect(ctx, keys[from:to], values[from:to]); err != nil {
				return nil, err
			}
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(valuesAtOnce)
	for i, key := range keys {
		if values[i] != nil {
			continue
		}
		group.Go(func() error {
			msg, err := s.stream.GetLastMsgForSubject(ctx, s.prefix+key)
			switch {
			case errors.Is(err, jetstream.ErrMsgNotFound):
				return nil
			case err != nil:
				return fmt.Errorf("projection: read snapshot %s: %w", key, err)
			}
			values[i] = append([]byte{}, msg.Data...) // not nil where a client deleted the key
			return nil
		})
	}
	return values, group.Wait()
}

// valuesDirect reads what one request for all keys gives. An answer ends early at a
// message that the broker cannot read, so what it lacks says nothing.
//
// A bucket that allows direct reads has one replica, and so one server that answers.
func (s *Snapshots) valuesDirect(ctx context.Context, keys []string, values [][]byte) error {
	at := make(map[string]int, len(keys))
	var request struct {
		Last []string `json:"multi_last"`
	}
	for i, key := range keys {
		at[s.prefix+key] = i
		request.Last = append(request.Last, s.prefix+key)
	}
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	conn := s.js.Conn()
	replies := nats.NewInbox()
	answers, err := conn.SubscribeSync(replies)
	if err != nil {
		return fmt.Errorf("projection: read snapshots: %w", err)
	}
	defer func() { _ = answers.Unsubscribe() }()
	if err := conn.PublishRequest(s.directSubject(), replies, body); err != nil {
		return fmt.Errorf("projection: read snapshots: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, valuesWithin)
	defer cancel()
	for {
		msg, err := answers.NextMsgWithContext(ctx)
		if err != nil {
			return fmt.Errorf("projection: read %d snapshots: %w", len(keys), err)
		}
		if msg.Header.Get("Status") != "" {
			return nil // the end, or why there is no more
		}
		if i, ok := at[msg.Header.Get(jetstream.SubjectHeader)]; ok && !removed(msg.Header) {
			values[i] = msg.Data
		}
	}
}

// directSubject is where the bucket's stream takes direct requests.
func (s *Snapshots) directSubject() string {
	prefix := jetstream.DefaultAPIPrefix
	switch o := s.js.Options(); {
	case o.Domain != "":
		prefix = "$JS." + o.Domain + ".API."
	case o.APIPrefix != "":
		prefix = strings.TrimSuffix(o.APIPrefix, ".") + "."
	}
	return prefix + "DIRECT.GET." + s.stream.CachedInfo().Config.Name
}

// Renewals is 0: a bucket with several owners is not renewed.
func (f *Fence) Renewals() uint64 { return 0 }

// Renew does nothing: a bucket with several owners is not renewed.
func (f *Fence) Renew(context.Context) (bool, error) { return false, nil }

// Values is [Snapshots.Values].
func (f *Fence) Values(ctx context.Context, keys []string) ([][]byte, error) {
	return f.s.Values(ctx, keys)
}
