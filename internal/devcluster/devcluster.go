// Package devcluster runs a real Consul and a real Nomad as child processes,
// for `wadi agent -dev` and for the end-to-end tests.
//
// It promises that Start returns when jobs can run, that Stop leaves nothing
// behind that it or the jobs made, and that the children do not outlive a
// parent that is killed. Up to 16 clusters run beside each other and beside
// the machine's own Nomad; each has its own ports, bridge, subnet and range of
// dynamic ports. It refuses to be a production cluster: one server, no ACLs, no TLS.
package devcluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	consul "github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"
	nomad "github.com/hashicorp/nomad/api"
	"golang.org/x/sync/errgroup"

	"github.com/wadi-run/wadi/internal/toolchain"
)

// Config says what to start.
type Config struct {
	// Tools are the programs; Nomad and Consul are required. Bridge networks
	// are on where Tools.Bridge is true and the machine has a default route.
	Tools toolchain.Paths

	// Ports that matter to people. Those that are 0 are free ones.
	Ports Ports

	// Path holds directories that come first on the PATH of Nomad, and so of its
	// raw_exec tasks. Those of Tools come next.
	Path []string

	// ConsulClientAgent has Nomad, Envoys and Wadi use a client agent of Consul
	// beside the server, as they do on most machines. Else they use the server.
	ConsulClientAgent bool

	// NomadClientAgent has Wadi and the tests talk to a client agent of Nomad beside
	// the server, as they do on most machines. It runs no jobs: those stay with the
	// node of the server's process.
	NomadClientAgent bool

	// MaxKillTimeout is how long Nomad's client lets a task drain; 0 is Nomad's own 30 s.
	MaxKillTimeout time.Duration

	// Docker turns Nomad's Docker driver on.
	Docker bool

	// DockerEndpoint is the engine's, such as unix:///run/docker.sock; empty is the
	// driver's own choice.
	DockerEndpoint string

	// InfraImage is the pause image of Docker tasks in bridge networks; empty
	// is Nomad's own.
	InfraImage string

	// ExtraNomadHCL and ExtraConsulHCL are merged into the agents' configurations,
	// that of Consul's client agent too.
	ExtraNomadHCL, ExtraConsulHCL string

	// StopGrace bounds how long Stop waits for allocations to end by
	// themselves, before it kills what is left; 0 is 20 s.
	StopGrace time.Duration

	// Log gets what the cluster does; nil is nothing. The children write into
	// files of their own, see Process.LogFile.
	Log hclog.Logger
}

// Ports are on 127.0.0.1.
type Ports struct {
	ConsulHTTP, ConsulGRPC, NomadHTTP int
}

// Cluster is a running Consul and Nomad.
type Cluster struct {
	Dir string // All state; gone after Stop.

	ConsulAddr string // http://127.0.0.1:8500, as CONSUL_HTTP_ADDR takes it.
	ConsulGRPC string // 127.0.0.1:8502.
	NomadAddr  string // http://127.0.0.1:4646, as NOMAD_ADDR takes it.

	ConsulServerAddr string // The server's; without a client agent it is ConsulAddr.
	NomadServerAddr  string // The same of Nomad.

	Interface string // Whose address mapped ports have.
	HostIP    string // Its address: what bridge networks reach this machine by.
	Bridge    bool   // Bridge networks work.
	Mesh      bool   // So does the mesh: there is an Envoy, too.
	WhyNot    string // Why one of them does not; empty where both do.

	Consul            *Process // The server.
	ConsulClientAgent *Process // Nil without Config.ConsulClientAgent.
	Nomad             *Process // The server, and the node that runs jobs.
	NomadClientAgent  *Process // Nil without Config.NomadClientAgent.

	slot   *slot
	reaper *reaper
	log    hclog.Logger
	grace  time.Duration
}

// Start returns when Consul and Nomad have leaders and Nomad's node takes jobs,
// including those with bridge networks where that is possible. On an error
// nothing is left running, and the error has the end of the child's log.
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
	s, err := acquire(ctx, baseDir(), cfg.Log)
	if err != nil {
		return nil, fmt.Errorf("start dev cluster: %w", err)
	}
	c := &Cluster{Dir: s.dir, slot: s, log: cfg.Log, grace: cfg.StopGrace}
	if err := c.start(ctx, cfg); err != nil {
		// The caller's context may be what ended the start; tidying up goes on.
		return nil, errors.Join(fmt.Errorf("start dev cluster: %w", err), c.Stop(context.WithoutCancel(ctx)))
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context, cfg Config) error {
	began := time.Now()
	c.findNetwork(cfg.Tools)
	p, err := choosePorts(cfg)
	if err != nil {
		return err
	}
	c.setConsulAddrs(p, cfg.ConsulClientAgent)
	c.setNomadAddrs(p, cfg.NomadClientAgent)

	mark := fmt.Sprintf("%s=%s:%d-%d", marker, c.Dir, os.Getpid(), began.UnixNano())
	if c.reaper, err = startReaper(mark); err != nil {
		return err
	}
	env, err := environment(c.Dir, mark, append(cfg.Path, cfg.Tools.Dirs()...))
	if err != nil {
		return err
	}
	cniPath := ""
	if c.Bridge {
		if cniPath, err = ownLeases(c.Dir, cfg.Tools.CNI); err != nil {
			return err
		}
	}
	files := map[string]string{
		"consul.hcl":        consulHCL(c.Dir, p.consul) + cfg.ExtraConsulHCL,
		"consul-client.hcl": consulClientHCL(c.Dir, p.consulClient, p.consul) + cfg.ExtraConsulHCL,
		"nomad-server.hcl":  nomadServerHCL(c, p.nomad),
		"nomad-front.hcl":   nomadFrontHCL(c, p.nomadClient, p.nomad),
		"nomad-client.hcl":  nomadClientHCL(c, cfg, cniPath) + cfg.ExtraNomadHCL,
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(c.Dir, name), []byte(text), 0o600); err != nil {
			return fmt.Errorf("write configuration: %w", err)
		}
	}
	file := func(name string) string { return filepath.Join(c.Dir, name) }
	c.consulProcesses(cfg, env)
	if cfg.NomadClientAgent {
		c.NomadClientAgent = c.nomadFront(cfg.Tools.Nomad, env)
	}
	c.Nomad = &Process{
		Name: "nomad", LogFile: file("nomad.log"), env: env, ready: c.nomadReady,
		argv: []string{cfg.Tools.Nomad, "agent", "-config", file("nomad-server.hcl"), "-config", file("nomad-client.hcl")},
		// By the number of the run, nomadReady tells a node that has registered
		// from one that the restarted server remembers.
		perRun: func(run int) []string { return []string{"-meta", runMeta + "=" + strconv.Itoa(run)} },
	}
	// A node that registers before the server's keyring exists is refused, and
	// tries again only 15 to 30 s later. So the server alone comes first, once,
	// while Consul starts: that saves 20 s.
	first := &Process{
		Name: "nomad", LogFile: c.Nomad.LogFile, env: env, ready: c.keyringReady,
		argv: c.Nomad.argv[:4],
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.startConsul(gctx) })
	g.Go(func() error {
		err := first.Start(gctx)
		if err == nil {
			err = c.snapshot(gctx)
		}
		if err != nil {
			return errors.Join(err, first.Kill())
		}
		return first.Stop(gctx)
	})
	if err := g.Wait(); err != nil {
		return err
	}
	if err := c.Nomad.start(ctx, c.nomadReadyOrNudged); err != nil {
		return err
	}
	if c.NomadClientAgent != nil {
		if err := c.NomadClientAgent.Start(ctx); err != nil {
			return err
		}
	}
	c.log.Info("dev cluster started", "nomad", c.NomadAddr, "consul", c.ConsulAddr, "bridge", c.Bridge,
		"why_not", c.WhyNot, "dir", c.Dir, "took", time.Since(began).Round(time.Millisecond))
	return nil
}

// NomadClient returns a client of this Nomad, whatever the environment says.
func (c *Cluster) NomadClient() (*nomad.Client, error) {
	client, err := nomad.NewClient(&nomad.Config{Address: c.NomadAddr})
	if err != nil {
		return nil, fmt.Errorf("make nomad client: %w", err)
	}
	return client, nil
}

// ConsulClient returns a client of the Consul agent at ConsulAddr, whatever the
// environment says.
func (c *Cluster) ConsulClient() (*consul.Client, error) {
	client, err := consul.NewClient(&consul.Config{Address: c.ConsulAddr})
	if err != nil {
		return nil, fmt.Errorf("make consul client: %w", err)
	}
	return client, nil
}

// Stop purges all jobs, waits for their allocations to end, stops Nomad and
// Consul, and removes what any of them left. It may be called twice. When ctx
// ends it goes on, without patience: tasks are killed.
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
	for _, p := range []*Process{c.NomadClientAgent, c.Nomad, c.ConsulClientAgent, c.Consul} {
		switch {
		case p == nil:
		case p == c.NomadClientAgent: // It has no task, and nothing of it is kept.
			errs = append(errs, p.Kill())
		case p == c.ConsulClientAgent: // Leaving in order takes 4 s, and nobody is left to know.
			errs = append(errs, p.Kill())
		default:
			errs = append(errs, p.Stop(context.WithoutCancel(ctx)))
		}
	}
	if c.reaper != nil {
		errs = append(errs, c.reaper.dismiss())
	}
	errs = append(errs, c.slot.release(context.WithoutCancel(ctx)))
	c.slot = nil
	c.log.Info("dev cluster stopped", "took", time.Since(began).Round(time.Millisecond))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("stop dev cluster: %w", err)
	}
	return nil
}
