//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/hashicorp/go-hclog"

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
requests in flight. Settings come from the files of -config, then from the
environment (NOMAD_ADDR, NOMAD_TOKEN, CONSUL_HTTP_ADDR, CONSUL_HTTP_TOKEN, …),
then from the flags; later ones win.

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
			cfg, err := c.loadConfig(paths, f)
			if err != nil {
				return err
			}
			return c.runAgent(ctx, cfg, func() (config.Config, error) { return c.loadConfig(paths, f) })
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

// loadConfig reads the configuration and prints its problems. A configuration with
// mistakes is wrong usage: exit code 2.
func (c *call) loadConfig(paths []string, f config.Flags) (config.Config, error) {
	cfg, problems := config.Load(paths, func(k string) string { return c.env[k] }, f)
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
		return cfg, usageError{fmt.Errorf("the configuration has %s; nothing was started", wadi.Quantity(wrong, "mistake"))}
	}
	return cfg, nil
}

// runAgent runs an agent until ctx ends. On SIGHUP it reads its configuration again,
// for the settings that can change while it runs.
func (c *call) runAgent(ctx context.Context, cfg config.Config, again func() (config.Config, error)) error {
	log := newLogger(cfg.LogLevel, cfg.LogJSON, c.stderr)
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	a, err := agent.New(ctx, cfg, agent.Deps{Log: log, AccessLog: c.stdout, Version: buildVersion().Version})
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	for {
		select {
		case <-hup:
			next, err := again()
			if err != nil {
				log.Error("configuration not reloaded: it has mistakes; the old one stays in force", "error", err)
				continue
			}
			rest := a.Reload(next)
			log.Info("configuration read again", "log_level", next.LogLevel)
			if len(rest) > 0 {
				log.Warn("changed settings wait for a restart", "settings", strings.Join(rest, ","))
			}
		case err := <-done:
			if errors.Is(err, context.Canceled) {
				return nil
			}
			return err
		}
	}
}

// newLogger makes the agent's logger. level is trace to error, as in Nomad and Consul.
func newLogger(level string, asJSON bool, out interface{ Write([]byte) (int, error) }) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{
		Name: "wadi", Level: hclog.LevelFromString(level), Output: out, JSONFormat: asJSON,
		TimeFormat: "2006-01-02T15:04:05.000Z0700",
	})
}
