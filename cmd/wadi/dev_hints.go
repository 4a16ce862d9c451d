//go:build linux

package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/config"
	"github.com/wadi-run/wadi/api"
)

// applyAndPrintHints waits for the agent, applies the file if there is one, and prints
// what to type next. It returns nil if ctx ends.
func (c *call) applyAndPrintHints(ctx context.Context, cfg config.Config, file string) error {
	address := "http://" + cfg.HTTP.Address
	if err := waitAgent(ctx, address); err != nil || ctx.Err() != nil {
		return err
	}
	c.printf("Wadi is up: API %s, gateway http://%s\n", address, cfg.Gateway.Address)
	name := "NAME"
	if file != "" {
		code := run(ctx, []string{"apply", "-address", address, file}, nil, c.stdout, c.stderr, nil)
		if ctx.Err() != nil {
			return nil
		}
		if code != exitDone {
			return fmt.Errorf("apply %s: it did not become ready", file)
		}
		name = strings.TrimSuffix(filepath.Base(file), ".hcl")
	}
	c.printHints(cfg, name)
	return nil
}

// waitAgent waits until the agent at an address is healthy and there is a leader, or ctx
// ends.
func waitAgent(ctx context.Context, address string) error {
	client, err := api.New(api.Config{Address: address})
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		if _, err := client.Leader(ctx); err == nil && client.Health(ctx) == nil {
			return nil
		}
		_ = wadi.Sleep(ctx, 100*time.Millisecond)
	}
	return nil
}

func (c *call) printHints(cfg config.Config, name string) {
	_, port, _ := net.SplitHostPort(cfg.Gateway.Address)
	address := ""
	if cfg.HTTP.Address != "127.0.0.1:4747" {
		address = " -address http://" + cfg.HTTP.Address
	}
	ui := strings.TrimSuffix(cfg.Nomad.Address, "/") + "/ui"
	c.printf(`
Call it:         curl http://%[1]s.%[2]s:%[3]s/
Without DNS:     curl -H 'Host: %[1]s.%[2]s' http://127.0.0.1:%[3]s/
Its state:       %[4]s service status%[7]s %[1]s
Nomad's UI:      %[5]s/jobs
Its job there:   %[5]s/jobs/%[1]s-00001@default
Consul's UI:     %[6]s/ui

Ctrl-C stops it all and leaves nothing behind.
`, name, cfg.Gateway.Domain, port, os.Args[0], ui, cfg.Consul.Address, address)
}
