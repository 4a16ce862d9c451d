package nodes

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	consulapi "github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"
	nomadapi "github.com/hashicorp/nomad/api"
	"golang.org/x/sync/errgroup"

	"github.com/wadi-run/wadi/internal/devcluster"
	"github.com/wadi-run/wadi/internal/devcluster/process"
	"github.com/wadi-run/wadi/internal/devcluster/slot"
	"github.com/wadi-run/wadi/internal/toolchain"
	"github.com/wadi-run/wadi/test/harness"
)

// Options of a cluster.
type Options struct {
	Bin string // The folder of wadi, queue-proxy and hello; empty is bin/ of the checkout.
	Dir string // Logs, and configurations of Wadi's agents; empty: a folder that Stop removes.
	N   int    // Nodes that run jobs: 1 to 4.

	// ClientHCL stands inside the client block of a node, counted from 0; nil: nothing.
	ClientHCL func(i int) string

	// HeartbeatGrace is how long after a missed heartbeat Nomad takes a node for dead; 0 is
	// 1 s. A node's heartbeats are 1 to 2 s apart.
	HeartbeatGrace time.Duration

	Log hclog.Logger // Nil: quiet.
}

// Cluster is a running cluster of several nodes.
type Cluster struct {
	Server *Node   // The servers of Nomad and Consul; it runs no jobs.
	Nodes  []*Node // Each with a Nomad client and a Consul client agent.
	Dir    string  // See Options.Dir.
	Bin    string

	Nomad  *nomadapi.Client  // Of the server.
	Consul *consulapi.Client // Of the server.

	slot  *slot.Slot
	env   []string
	tools toolchain.Paths
	log   hclog.Logger
}

// runMeta is a key of a node's metadata: by it a node that has registered is told from
// what the server remembers of its last run.
const runMeta = "unique.wadi-run"

// Start returns when all nodes can run jobs, those in bridge networks included. After an
// error nothing runs any more.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	if o.N < 1 || o.N > 4 {
		return nil, fmt.Errorf("start nodes: %d of them, want 1 to 4", o.N)
	}
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	if o.Bin == "" {
		root, err := harness.Root()
		if err != nil {
			return nil, err
		}
		o.Bin = filepath.Join(root, "bin")
	}
	tools, missing := toolchain.Locate(ctx)
	if !tools.Mesh() || tools.Nomad == "" {
		return nil, fmt.Errorf("start nodes: find tools: %v (make tools)", missing)
	}
	c := &Cluster{Bin: o.Bin, Dir: o.Dir, tools: tools, log: o.Log}
	if err := c.start(ctx, o); err != nil {
		return nil, errors.Join(fmt.Errorf("start nodes: %w", err), c.Stop(context.WithoutCancel(ctx)))
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context, o Options) (err error) {
	began := time.Now()
	if c.slot, err = slot.Acquire(ctx, o.Log); err != nil {
		return err
	}
	if c.Dir == "" { // There the next start finds it, should this run be killed.
		c.Dir = filepath.Join(c.slot.Dir, "wadi")
		if err := os.Mkdir(c.Dir, 0o755); err != nil {
			return err
		}
	}
	if err := c.slot.StartReaper(); err != nil {
		return err
	}
	if c.env, err = devcluster.Environment(c.slot.Dir, c.slot.Mark(), append([]string{c.Bin}, c.tools.Dirs()...)); err != nil {
		return err
	}
	c.Server = c.node(0, "server", serverAddr)
	for i := range o.N {
		c.Nodes = append(c.Nodes, c.node(i+1, fmt.Sprintf("node-%d", i+1), addrOf(i+1)))
	}
	if err := c.connect(ctx); err != nil {
		return err
	}
	if err := c.writeConfigs(o, c.tools.CNI); err != nil {
		return err
	}
	if c.Nomad, err = c.Server.nomadClient(); err != nil {
		return err
	}
	if c.Consul, err = c.Server.consulClient(); err != nil {
		return err
	}
	// A node that registers before Nomad has a keyring is refused, and tries again only
	// 15 to 30 s later.
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.Server.Consul.Start(gctx) })
	g.Go(func() error { return c.Server.Nomad.Start(gctx) })
	if err := g.Wait(); err != nil {
		return err
	}
	g, gctx = errgroup.WithContext(ctx)
	for _, n := range c.Nodes {
		g.Go(func() error { return n.Start(gctx) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	c.log.Info("nodes started", "nodes", o.N, "dir", c.slot.Dir, "took", time.Since(began).Round(time.Millisecond))
	return nil
}

// Stop ends everything without asking it, Wadi's agents included, and removes all that it
// made: a test that wants to see an orderly end does that before.
func (c *Cluster) Stop(ctx context.Context) error {
	if c.slot == nil {
		return nil
	}
	s := c.slot
	c.slot = nil
	if err := s.Release(ctx); err != nil {
		return fmt.Errorf("stop nodes: %w", err)
	}
	return nil
}

// node makes a node, of which nothing runs yet.
func (c *Cluster) node(number int, name, addr string) *Node {
	n := &Node{Name: name, Addr: addr, Netns: filepath.Join(c.slot.Dir, name+".net"), cluster: c, number: number}
	env := append(append([]string{}, c.env...), n.mark())
	enter := []string{"nsenter", "--net=" + n.Netns}
	n.Consul = &process.Process{
		Name: "consul of " + name, LogFile: filepath.Join(c.Dir, name+"-consul.log"), Env: env, Ready: n.consulReady,
		Argv: append(enter[:2:2], c.tools.Consul, "agent", "-config-file", filepath.Join(c.slot.Dir, name+"-consul.hcl")),
	}
	n.Nomad = &process.Process{
		Name: "nomad of " + name, LogFile: filepath.Join(c.Dir, name+"-nomad.log"), Env: env, Ready: n.nomadReady,
		Argv: append(enter[:2:2], c.tools.Nomad, "agent", "-config", filepath.Join(c.slot.Dir, name+"-nomad.hcl")),
	}
	if number > 0 {
		n.Nomad.PerRun = func(run int) []string { return []string{"-meta", runMeta + "=" + strconv.Itoa(run)} }
	}
	n.http = &http.Transport{MaxIdleConnsPerHost: 512, IdleConnTimeout: time.Minute, DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
		return n.Dial(ctx, addr)
	}}
	return n
}
