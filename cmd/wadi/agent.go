//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent"
	"github.com/wadi-run/wadi/agent/config"
)

func agentCommand() command {
	var paths stringList
	var f config.Flags
	var apply string
	return command{
		usage:    "wadi agent [options]",
		synopsis: "Run an agent: API, controller, autoscaler, activator and gateway",
		help: `
It runs in the foreground until it gets SIGINT or SIGTERM, and then finishes the
requests in flight. On SIGHUP, or by wadi reload, it reads its configuration again.
Settings come from the files of -config, then from the environment (NOMAD_ADDR,
NOMAD_TOKEN, CONSUL_HTTP_ADDR, CONSUL_HTTP_TOKEN, …), then from the flags; later
ones win.

With -dev it needs no configuration. If no Nomad and Consul are reachable
it starts them as its children, with all their state in a temporary folder.
If one of the usual ports is in use it takes a free one, and prints it.`,
		flags: func(fs *flag.FlagSet) {
			fs.Var(&paths, "config", "`file` or directory of *.hcl files; may be repeated, later files win")
			fs.BoolVar(&f.Dev, "dev", false, "start a cluster for development if there is none")
			fs.StringVar(&apply, "apply", "", "with -dev: `file` to apply once the agent is up")
			overrideFlags(fs, &f)
		},
		run: func(ctx context.Context, c *call) error {
			switch {
			case apply != "" && !f.Dev:
				return usagef("-apply goes with -dev")
			case f.Dev:
				return runDev(ctx, c, paths, f, apply)
			case len(paths) == 0:
				return usagef("an agent needs -config FILE, or -dev")
			}
			return c.startAgent(ctx, func() (config.Config, []wadi.Problem) { return c.readConfig(paths, f) })
		},
	}
}

// overrideFlags are the flags that take precedence over the configuration.
func overrideFlags(fs *flag.FlagSet, f *config.Flags) {
	fs.StringVar(&f.Name, "name", "", "`name` of this agent; the host's by default")
	fs.StringVar(&f.LogLevel, "log-level", "", "trace, debug, info, warn or error")
	fs.StringVar(&f.HTTPAddress, "http-address", "", "`host:port` of the API")
	fs.StringVar(&f.GatewayAddress, "gateway-address", "", "`host:port` of the gateway")
	fs.StringVar(&f.MetricsAddress, "metrics-address", "", "`host:port` of metrics and statistics")
	fs.StringVar(&f.ActivatorAddress, "activator-address", "", "`host:port` of the mesh listener")
	fs.StringVar(&f.NomadAddress, "nomad-address", "", "`URL` of Nomad (NOMAD_ADDR)")
	fs.StringVar(&f.ConsulAddress, "consul-address", "", "`URL` of Consul (CONSUL_HTTP_ADDR)")
}

// readConfig reads the configuration.
func (c *call) readConfig(paths []string, f config.Flags) (config.Config, []wadi.Problem) {
	return config.Load(paths, func(k string) string { return c.env[k] }, f)
}

// startAgent runs an agent if its configuration has no mistake.
func (c *call) startAgent(ctx context.Context, load func() (config.Config, []wadi.Problem)) error {
	hup, stop := hangups() // From the beginning: SIGHUP would end the process.
	defer stop()
	cfg, problems := load()
	if err := c.printProblems(problems); err != nil {
		return err
	}
	return c.runAgent(ctx, cfg, load, hup)
}

// printProblems prints the problems of a configuration. Mistakes are wrong usage: exit
// code 2.
func (c *call) printProblems(problems []wadi.Problem) error {
	wrong := 0
	for _, p := range problems {
		kind := "Error"
		if p.Warning {
			kind = "Warning"
		} else {
			wrong++
		}
		fmt.Fprintf(c.stderr, "%s: %s\n", kind, p)
	}
	if wrong > 0 {
		return usageError{fmt.Errorf("the configuration has %s; nothing was started", wadi.Quantity(wrong, "mistake"))}
	}
	return nil
}

// hangups returns a channel of SIGHUPs, of which the last is kept, until stop is called.
func hangups() (hup <-chan os.Signal, stop func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGHUP)
	return c, func() { signal.Stop(c) }
}

// runAgent runs an agent until ctx ends. On SIGHUP it reads its configuration again.
func (c *call) runAgent(ctx context.Context, cfg config.Config, load func() (config.Config, []wadi.Problem), hup <-chan os.Signal) error {
	log := newLogger(cfg.LogLevel, cfg.LogJSON, c.stderr)
	a, err := agent.New(ctx, cfg, agent.Deps{
		Log: log, LogJSON: log.setJSON, AccessLog: c.stdout, Version: buildVersion().Version, Load: load,
	})
	if err != nil {
		return err
	}
	go tellSystemd(ctx, a.Waits)
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	for {
		select {
		case <-hup:
			_, _ = a.Reload(ctx) // It logs.
		case err := <-done:
			if errors.Is(err, context.Canceled) {
				return nil
			}
			return err
		}
	}
}
