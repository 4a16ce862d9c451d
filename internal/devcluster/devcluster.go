// Package devcluster runs a real Consul and a real Nomad as child processes,
// for `wadi agent -dev` and for the end-to-end tests.
//
// It promises that Start returns when jobs can run, that Stop removes everything that
// the cluster and its jobs made, and that the children do not outlive a killed parent.
// Up to 16 clusters run beside each other and beside the machine's own Nomad; each has
// its own ports, bridge, subnet and range of dynamic ports. It refuses to be a
// production cluster: one server, no TLS, and ACLs for tests alone.
//
// Package process runs the children, and package slot is the cluster's share of the
// machine.
package devcluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	consul "github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"
	nomad "github.com/hashicorp/nomad/api"
	"golang.org/x/sync/errgroup"

	"github.com/wadi-run/wadi/internal/devcluster/process"
	"github.com/wadi-run/wadi/internal/devcluster/slot"
	"github.com/wadi-run/wadi/internal/toolchain"
)

// Config says what to start.
type Config struct {
	// Tools are the programs; Nomad and Consul are required. Bridge networks
	// are on where Tools.Bridge is true and the machine has a default route.
	Tools toolchain.Paths

	// Ports are those that people type. 0 is any free port.
	Ports Ports

	// Path holds directories that come first on the PATH of Nomad, and so of its
	// raw_exec tasks. Those of Tools come next.
	Path []string

	// ConsulClientAgent has Nomad, Envoys and Wadi use a client agent of Consul
	// beside the server, as they do on most machines. Otherwise they use the server.
	ConsulClientAgent bool

	// NomadClientAgent has Wadi and the tests talk to a client agent of Nomad beside
	// the server, as they do on most machines. It runs no jobs: those stay with the
	// node of the server's process.
	NomadClientAgent bool

	// ACLs turns ACLs on in Nomad and Consul, where everything is denied that no policy
	// allows. The token with all rights is Management, and Consul knows the workload
	// identities of Nomad's tasks and services.
	ACLs bool

	// MaxKillTimeout is how long Nomad's client lets a task drain; 0 is Nomad's own 30 s.
	MaxKillTimeout time.Duration

	// Docker turns Nomad's Docker driver on.
	Docker bool

	// DockerEndpoint is the engine's, such as unix:///run/docker.sock; empty is the
	// driver's own choice.
	DockerEndpoint string

	// DockerLogins is a file of logins to registries, in the format of ~/.docker/config.json,
	// which the driver reads at each pull. Empty: none.
	DockerLogins string

	// DockerImageDelay is after what time the driver removes an image that no container has
	// any more; 0 is never.
	DockerImageDelay time.Duration

	// InfraImage is the pause image of Docker tasks in bridge networks; empty
	// is one of PauseProgram, or without that Nomad's own.
	InfraImage string

	// PauseProgram is a static program and the arguments with which it does nothing until
	// it is stopped. An image of it needs no registry, and is gone after Stop.
	PauseProgram []string

	// Java turns Nomad's java driver on, which needs a Java on PATH.
	Java bool

	// NomadClientHCL stands inside the client block of the node that runs jobs: meta,
	// host volumes.
	NomadClientHCL string

	// ExtraNomadHCL and ExtraConsulHCL are merged into the agents' configurations,
	// that of Consul's client agent included.
	ExtraNomadHCL, ExtraConsulHCL string

	// StopGrace bounds how long Stop waits for allocations to end by
	// themselves, before it kills what is left; 0 is 20 s.
	StopGrace time.Duration

	// Log gets the cluster's own events; nil logs nothing. The children write into
	// files of their own, see [process.Process.LogFile].
	Log hclog.Logger
}

// Ports are listeners on 127.0.0.1.
type Ports struct {
	ConsulHTTP, ConsulGRPC, NomadHTTP int
}

// Cluster is a running Consul and Nomad. Its fields do not change after Start.
type Cluster struct {
	Dir string // All state; gone after Stop.

	ConsulAddr string // http://127.0.0.1:8500, as CONSUL_HTTP_ADDR takes it.
	ConsulGRPC string // 127.0.0.1:8502.
	NomadAddr  string // http://127.0.0.1:4646, as NOMAD_ADDR takes it.

	ConsulServerAddr string // Of Consul's server; without a client agent it is ConsulAddr.
	NomadServerAddr  string // Of Nomad's server; without a client agent it is NomadAddr.

	Interface   string // The network interface that mapped ports are on.
	HostIP      string // Its address, by which bridge networks reach this machine.
	Bridge      bool   // Bridge networks work.
	BridgeIF    string // The interface that connects them.
	Mesh        bool   // The mesh works: bridge networks do, and there is an Envoy.
	WhyNot      string // Why Bridge or Mesh is false; empty if both are true.
	ACLs        bool   // Nomad and Consul have ACLs.
	WhyNoDocker string // Why the Docker driver does not work; empty: it does, or was not turned on.

	Consul            *process.Process // The server.
	ConsulClientAgent *process.Process // Nil without Config.ConsulClientAgent.
	Nomad             *process.Process // The server, and the node that runs jobs.
	NomadClientAgent  *process.Process // Nil without Config.NomadClientAgent.

	slot   *slot.Slot
	docker bool // Nomad has its Docker driver on.
	log    hclog.Logger
	grace  time.Duration
}

// Start returns when Consul and Nomad have leaders and Nomad's node takes jobs,
// including those with bridge networks where these work. After an error nothing runs any
// more, and the error has the end of the child's log.
func Start(ctx context.Context, cfg Config) (*Cluster, error) {
	if cfg.Log == nil {
		cfg.Log = hclog.NewNullLogger()
	}
	if runtime.GOOS != "linux" {
		return nil, errors.New("start dev cluster: it needs Linux")
	}
	if cfg.Tools.Nomad == "" || cfg.Tools.Consul == "" {
		return nil, errors.New("start dev cluster: nomad and consul are required")
	}
	if cfg.StopGrace == 0 {
		cfg.StopGrace = 20 * time.Second
	}
	s, err := slot.Acquire(ctx, cfg.Log)
	if err != nil {
		return nil, fmt.Errorf("start dev cluster: %w", err)
	}
	c := &Cluster{Dir: s.Dir, BridgeIF: s.Bridge(), ACLs: cfg.ACLs, slot: s, log: cfg.Log, grace: cfg.StopGrace}
	if err := c.start(ctx, cfg); err != nil {
		// The cleanup also runs if the caller's context has ended the start.
		return nil, errors.Join(fmt.Errorf("start dev cluster: %w", err), c.Stop(context.WithoutCancel(ctx)))
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context, cfg Config) error {
	began := time.Now()
	if err := c.prepare(ctx, cfg); err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.startConsul(gctx) })
	g.Go(func() error { return c.initNomad(gctx) })
	if err := g.Wait(); err != nil {
		return err
	}
	if err := c.Nomad.StartWhen(ctx, c.nomadReadyOrNudged); err != nil {
		return err
	}
	if err := c.noteDocker(ctx); err != nil {
		return err
	}
	if c.NomadClientAgent != nil {
		if err := c.NomadClientAgent.Start(ctx); err != nil {
			return err
		}
	}
	if err := c.setupConsul(ctx); err != nil {
		return err
	}
	c.log.Info("dev cluster started", "nomad", c.NomadAddr, "consul", c.ConsulAddr, "bridge", c.Bridge,
		"why_not", c.WhyNot, "dir", c.Dir, "took", time.Since(began).Round(time.Millisecond))
	return nil
}

// prepare does everything that comes before the first child runs: it chooses network and
// ports, makes the pause image, starts the reaper, and writes the configuration files.
func (c *Cluster) prepare(ctx context.Context, cfg Config) error {
	c.findNetwork(cfg.Tools)
	if err := c.useEngine(ctx, &cfg); err != nil {
		return err
	}
	p, err := choosePorts(cfg)
	if err != nil {
		return err
	}
	c.setConsulAddrs(p, cfg.ConsulClientAgent)
	c.setNomadAddrs(p, cfg.NomadClientAgent)
	if err := c.slot.StartReaper(); err != nil {
		return err
	}
	env, err := Environment(c.Dir, c.slot.Mark(), append(cfg.Path, cfg.Tools.Dirs()...))
	if err != nil {
		return err
	}
	if err := c.writeConfigs(cfg, p); err != nil {
		return err
	}
	c.consulProcesses(cfg, env)
	c.nomadProcesses(cfg, env)
	return nil
}

func (c *Cluster) writeConfigs(cfg Config, p ports) (err error) {
	cniPath := ""
	if c.Bridge {
		if cniPath, err = c.slot.OwnLeases(cfg.Tools.CNI, ""); err != nil {
			return err
		}
	}
	for name, text := range map[string]string{
		"consul.hcl":        consulHCL(c.Dir, p.consul) + c.consulACLHCL() + cfg.ExtraConsulHCL,
		"consul-client.hcl": consulClientHCL(c.Dir, p.consulClient, p.consul) + c.consulACLHCL() + cfg.ExtraConsulHCL,
		"nomad-server.hcl":  nomadServerHCL(c, p.nomad) + c.nomadACLHCL(),
		"nomad-front.hcl":   nomadFrontHCL(c, p.nomadClient, p.nomad) + c.nomadACLHCL(),
		"nomad-client.hcl":  nomadClientHCL(c, cfg, cniPath) + cfg.ExtraNomadHCL,
	} {
		if err := os.WriteFile(c.file(name), []byte(text), 0o600); err != nil {
			return fmt.Errorf("write configuration: %w", err)
		}
	}
	return nil
}

func (c *Cluster) file(name string) string { return filepath.Join(c.Dir, name) }

// NomadClient returns a client of the Nomad agent at NomadAddr, with all rights, whatever
// the environment says.
func (c *Cluster) NomadClient() (*nomad.Client, error) {
	client, err := nomad.NewClient(&nomad.Config{Address: c.NomadAddr, SecretID: c.token()})
	if err != nil {
		return nil, fmt.Errorf("make nomad client: %w", err)
	}
	return client, nil
}

// ConsulClient returns a client of the Consul agent at ConsulAddr, with all rights,
// whatever the environment says.
func (c *Cluster) ConsulClient() (*consul.Client, error) {
	client, err := consul.NewClient(&consul.Config{Address: c.ConsulAddr, Token: c.token()})
	if err != nil {
		return nil, fmt.Errorf("make consul client: %w", err)
	}
	return client, nil
}

// Stop purges all jobs, waits for their allocations to end, stops Nomad and Consul, and
// removes everything that they made. It may be called twice. When ctx ends it no longer
// waits for tasks, and kills them.
func (c *Cluster) Stop(ctx context.Context) error {
	if c.slot == nil {
		return nil
	}
	began := time.Now()
	if c.Nomad != nil && c.Nomad.Running() {
		if err := c.stopJobs(ctx); err != nil {
			c.log.Warn("jobs did not end in time, killing their tasks", "error", err)
		}
	}
	var errs []error
	for _, p := range []*process.Process{c.NomadClientAgent, c.Nomad, c.ConsulClientAgent, c.Consul} {
		switch {
		case p == nil:
		case p == c.NomadClientAgent: // It has no tasks, and its data is thrown away.
			errs = append(errs, p.Kill())
		case p == c.ConsulClientAgent: // An orderly stop takes 4 s, and no other agent is left to be informed.
			errs = append(errs, p.Kill())
		default:
			errs = append(errs, p.Stop(context.WithoutCancel(ctx)))
		}
	}
	errs = append(errs, c.slot.Release(context.WithoutCancel(ctx)))
	c.slot = nil
	c.log.Info("dev cluster stopped", "took", time.Since(began).Round(time.Millisecond))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("stop dev cluster: %w", err)
	}
	return nil
}
