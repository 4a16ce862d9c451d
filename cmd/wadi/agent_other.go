//go:build !linux

package main

import (
	"context"
	"errors"
)

// agentCommand says that agents run on Linux only: the other commands just call one.
func agentCommand() command {
	return command{
		usage:    "wadi agent",
		synopsis: "Run an agent; on Linux only",
		help:     "This machine runs no agent. The other commands work, with the agent that -address\nor WADI_ADDR names.",
		max:      -1,
		run: func(context.Context, *call) error {
			return errors.New("agents run on Linux only; name one elsewhere with -address or WADI_ADDR")
		},
	}
}
