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

	"github.com/wadi-run/wadi/agent/config"
	"github.com/wadi-run/wadi/api"
)

// applyAndPrintHints waits for the agent, applies the file if there is one, and says
// what to type.
func (c *call) applyAndPrintHints(ctx context.Context, cfg config.Config, file string) error {
	client, err := api.New(api.Config{Address: "http://" + cfg.HTTP.Address})
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		_, err := client.Leader(ctx)
		if err == nil && client.Health(ctx) == nil {
			break
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	c.printf("Wadi is up: API http://%s, gateway http://%s\n", cfg.HTTP.Address, cfg.Gateway.Address)
	name := "NAME"
	if file != "" {
		w := c.stdio
		code := run(ctx, []string{"apply", "-address", "http://" + cfg.HTTP.Address, file}, nil, w.stdout, w.stderr, nil)
		if ctx.Err() != nil {
			return nil
		}
		if code != exitDone {
			return fmt.Errorf("apply %s: it did not become ready", file)
		}
		name = strings.TrimSuffix(filepath.Base(file), ".hcl")
	}
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
	return nil
}
