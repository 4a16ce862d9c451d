//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/wadi-run/wadi/agent/config"
	"github.com/wadi-run/wadi/internal/devcluster"
	"github.com/wadi-run/wadi/jobspecs"
)

// runDev runs an agent for development: with a cluster of its own where none is
// reachable, and with something to try.
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
	// What is wrong with files, flags and ports is said before anything is started.
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
	// What is reached or started counts, whatever files and environment say.
	f.NomadAddress, f.ConsulAddress = cluster.NomadAddr, cluster.ConsulAddr
	if err := os.WriteFile(file, []byte(devConfig(cluster, addrs, bin)), 0o600); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	read := func() (config.Config, error) { return c.loadConfig(paths, f) }
	cfg, err := read()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- c.runAgent(ctx, cfg, read) }()
	told := make(chan error, 1)
	go func() { told <- c.applyAndPrintHints(ctx, cfg, apply) }()
	select {
	case err = <-done:
		cancel()
		return errors.Join(err, <-told)
	case err = <-told:
		if err != nil && ctx.Err() == nil {
			cancel()
			return errors.Join(err, <-done)
		}
		return <-done
	}
}

// checkDev reads the configuration as if a cluster were there.
func (c *call) checkDev(file string, paths []string, f config.Flags, addrs devAddresses, bin string) error {
	const somewhere = "http://127.0.0.1:1"
	if err := os.WriteFile(file, []byte(devConfig(devcluster.Existing(somewhere, somewhere), addrs, bin)), 0o600); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	cfg, problems := config.Load(paths, func(k string) string { return c.env[k] }, f)
	if jobspecs.HasErrors(problems) {
		_, err := c.loadConfig(paths, f) // Which tells them.
		return err
	}
	return c.checkListeners(cfg, addrs)
}

// devConfig is what an agent needs on a development cluster.
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
