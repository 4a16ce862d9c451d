//go:build linux

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi/agent/config"
	"github.com/wadi-run/wadi/api"
	"github.com/wadi-run/wadi/internal/devcluster"
	"github.com/wadi-run/wadi/internal/toolchain"
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
	go func() { told <- c.tellWhatNext(ctx, cfg, apply) }()
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

// devCluster uses the Nomad and Consul that are reachable, or starts both.
func (c *call) devCluster(ctx context.Context, f config.Flags, bin string) (*devcluster.Cluster, func() error, error) {
	nomad := cmp.Or(f.NomadAddress, c.setting("NOMAD_ADDR", "http://127.0.0.1:4646"))
	consul := cmp.Or(f.ConsulAddress, c.setting("CONSUL_HTTP_ADDR", "http://127.0.0.1:8500"))
	if !strings.Contains(consul, "://") {
		consul = "http://" + consul
	}
	haveNomad, haveConsul := answers(ctx, nomad+"/v1/status/leader"), answers(ctx, consul+"/v1/status/leader")
	switch {
	case haveNomad && haveConsul:
		c.printf("Using the Nomad at %s and the Consul at %s.\n", nomad, consul)
		cluster := devcluster.Existing(nomad, consul)
		c.tellNetworks(cluster)
		return cluster, func() error { return nil }, nil
	case haveNomad:
		return nil, nil, fmt.Errorf("a Nomad answers at %s, but no Consul at %s: start one, or name it with CONSUL_HTTP_ADDR", nomad, consul)
	case haveConsul:
		return nil, nil, fmt.Errorf("a Consul answers at %s, but no Nomad at %s: start one, or name it with NOMAD_ADDR", consul, nomad)
	}
	tools, missing := toolchain.Locate(ctx)
	for _, m := range missing {
		fmt.Fprintf(c.stderr, "Missing %s\n", m)
	}
	if tools.Nomad == "" || tools.Consul == "" {
		return nil, nil, errors.New("no cluster is reachable, and there is no Nomad and Consul to start; \"make tools\" in a checkout of Wadi gets them")
	}
	c.printf("Starting Consul and Nomad …\n")
	began := time.Now()
	cluster, err := devcluster.Start(ctx, devcluster.Config{
		Tools: tools, Ports: devcluster.DefaultPorts(), Path: []string{bin}, MaxKillTimeout: time.Hour,
		Log: hclog.New(&hclog.LoggerOptions{Name: "cluster", Level: hclog.Warn, Output: c.stderr}),
	})
	if err != nil {
		return nil, nil, err
	}
	c.printf("Consul and Nomad are up after %.1f s.\n", time.Since(began).Seconds())
	c.tellNetworks(cluster)
	return cluster, func() error {
		c.printf("Stopping: jobs, Nomad, Consul …\n")
		bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		err := cluster.Stop(bound)
		if err == nil {
			c.printf("Stopped; nothing is left behind.\n")
		}
		return err
	}, nil
}

// tellNetworks says what services can't have, and why.
func (c *call) tellNetworks(cluster *devcluster.Cluster) {
	switch {
	case !cluster.Bridge:
		c.printf("Services run in host networks without the mesh: %s.\n", cluster.WhyNot)
	case !cluster.Mesh:
		c.printf("Services run without the mesh: %s.\n", cluster.WhyNot)
	}
}

// answers reports whether something answers a GET with 200.
func answers(ctx context.Context, url string) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return false
	}
	_ = res.Body.Close()
	return res.StatusCode == http.StatusOK
}

// tellWhatNext waits for the agent, applies the file if there is one, and says
// what to type.
func (c *call) tellWhatNext(ctx context.Context, cfg config.Config, file string) error {
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
		w := c.world
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
