//go:build linux

package main

import (
	"context"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/wadi-run/wadi"
)

// systemdEvery is how often systemd is told what the start of an agent waits for.
const systemdEvery = 250 * time.Millisecond

// tellSystemd tells systemd, if that runs the agent, what its start waits for, when it has
// started, and that it stops. It returns when ctx ends.
func tellSystemd(ctx context.Context, waits func() string) {
	said := ""
	for ctx.Err() == nil {
		why := waits()
		if why == "" {
			notify(daemon.SdNotifyReady + "\nSTATUS=running")
			break
		}
		if why != said {
			notify("STATUS=" + strings.Join(strings.Fields(why), " ")) // Each line is a setting.
			said = why
		}
		_ = wadi.Sleep(ctx, systemdEvery)
	}
	<-ctx.Done()
	notify(daemon.SdNotifyStopping + "\nSTATUS=stopping: requests in flight are finished first")
}

// notify sends a state. Without systemd there is nowhere to send it to; and an agent runs
// as well if systemd does not hear it.
func notify(state string) { _, _ = daemon.SdNotify(false, state) }
