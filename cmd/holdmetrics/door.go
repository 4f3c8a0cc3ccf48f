package main

import (
	"context"
	"os"
	"regexp"

	"github.com/google/uuid"

	"holdmetrics/processor/generation"
)

var notOfKeys = regexp.MustCompile(`[^A-Za-z0-9_-]+`)

// doorID returns a name for this gateway that no other one ever had.
func doorID() string {
	host, _ := os.Hostname()
	return notOfKeys.ReplaceAllString(host, "-") + "-" + uuid.NewString()[:8]
}

// follow makes a gateway follow the registry until stop is called, which waits for it.
func follow(ctx context.Context, cfg generation.FollowerConfig) (stop func() error) {
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- generation.NewFollower(cfg).Run(running) }()
	return func() error {
		cancel()
		return <-ended
	}
}
