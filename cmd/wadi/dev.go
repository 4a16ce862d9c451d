//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/config"
	"github.com/wadi-run/wadi/internal/devcluster"
	"github.com/wadi-run/wadi/jobspecs"
)

// runDev runs an agent for development. It starts a Nomad and a Consul if none are
// reachable, and applies a file to try.
func runDev(ctx context.Context, c *call, paths []string, f config.Flags, apply string) (err error) {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the folder of wadi: %w", err)
	}
	bin := filepath.Dir(self)
	dir, err := os.MkdirTemp("", "wadi-agent-")
	if err != nil {
		return fmt.Errorf("make a temporary folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	file := filepath.Join(dir, "dev.hcl")
	paths = append([]string{file}, paths...)
	// Mistakes in files, flags and ports are reported before anything is started.
	addrs, err := chooseAddresses(devcluster.HostIP())
	if err != nil {
		return err
	}
	if err := c.checkDev(file, paths, f, addrs, bin); err != nil {
		return err
	}
	cluster, stop, err := c.devCluster(ctx, f, bin)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	// The cluster that was found or started overrides files and environment.
	f.NomadAddress, f.ConsulAddress = cluster.NomadAddr, cluster.ConsulAddr
	if err := os.WriteFile(file, []byte(devConfig(cluster, addrs, bin)), 0o600); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	return c.runWithHints(ctx, func() (config.Config, []wadi.Problem) { return c.readConfig(paths, f) }, apply)
}

// runWithHints runs an agent, applies a file when the agent is up, and prints hints. It
// ends with the agent, or when the file can't be applied.
func (c *call) runWithHints(ctx context.Context, load func() (config.Config, []wadi.Problem), apply string) error {
	cfg, problems := load()
	if err := c.printProblems(problems); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ran, hinted := make(chan error, 1), make(chan error, 1)
	hup, stop := hangups()
	defer stop()
	go func() { ran <- c.runAgent(ctx, cfg, load, hup) }()
	go func() { hinted <- c.applyAndPrintHints(ctx, cfg, apply) }()
	select {
	case err := <-ran:
		cancel()
		return errors.Join(err, <-hinted)
	case err := <-hinted:
		if err != nil && ctx.Err() == nil {
			cancel()
			return errors.Join(err, <-ran)
		}
		return <-ran
	}
}

// checkDev reads the configuration as if the cluster existed.
func (c *call) checkDev(file string, paths []string, f config.Flags, addrs devAddresses, bin string) error {
	const somewhere = "http://127.0.0.1:1"
	if err := os.WriteFile(file, []byte(devConfig(devcluster.Existing(somewhere, somewhere), addrs, bin)), 0o600); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	cfg, problems := c.readConfig(paths, f)
	if jobspecs.HasErrors(problems) {
		return c.printProblems(problems)
	}
	if cfg.HTTP.TLS.Enabled() {
		return usagef("http.tls does not go with -dev, whose API is for this machine alone")
	}
	return c.checkListeners(cfg, addrs)
}

// devConfig is the configuration of an agent on a development cluster.
func devConfig(cluster *devcluster.Cluster, a devAddresses, bin string) string {
	return fmt.Sprintf(`log_level = "warn"
name      = %q
advertise = %q
http {
  address = %q
  auth    = "none"
}
metrics {
  address = %q
}
gateway {
  address = %q
}
activator {
  address = %q
}
`, a.name, cluster.HostIP, a.http, a.metrics, a.gateway, a.mesh) + cluster.AgentConfig(bin)
}
