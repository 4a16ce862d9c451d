// Package launch starts the tests' apps as their environment says, which Nomad and the
// tests set.
package launch

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"time"
)

// Listen listens at PORT (8080) of ADDR (127.0.0.1), after START_DELAY if that is set.
func Listen(ctx context.Context, getenv func(string) string) (net.Listener, error) {
	if d := getenv("START_DELAY"); d != "" {
		delay, err := time.ParseDuration(d)
		if err != nil {
			return nil, fmt.Errorf("read START_DELAY: %w", err)
		}
		Pause(ctx, delay)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(cmp.Or(getenv("ADDR"), "127.0.0.1"), cmp.Or(getenv("PORT"), "8080")))
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return l, nil
}

// Pause waits for d, or until ctx ends.
func Pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
