package nodes

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strconv"

	consulapi "github.com/hashicorp/consul/api"
	nomadapi "github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi/api"
	"github.com/wadi-run/wadi/internal/devcluster"
	"github.com/wadi-run/wadi/internal/devcluster/process"
	"github.com/wadi-run/wadi/internal/devcluster/slot"
	"github.com/wadi-run/wadi/internal/freeport"
	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// Node is a machine of the cluster.
type Node struct {
	Name  string // In Nomad and in Consul.
	Addr  string // Its address, which all nodes reach.
	Netns string // File.

	Nomad, Consul *process.Process

	cluster *Cluster
	number  int // 0 is the server.
	http    *http.Transport
}

// mark is the setting in the environment of each process of the node, tasks included. A
// queue-proxy refuses unknown settings that begin with WADI_.
func (n *Node) mark() string { return "DEVCLUSTER_NODE=" + filepath.Join(n.cluster.slot.Dir, n.Name) }

// Dial connects to an address from inside the node.
func (n *Node) Dial(ctx context.Context, addr string) (net.Conn, error) {
	return harnesstest.DialIn(ctx, n.Netns, addr)
}

// Client is an HTTP client inside the node. It keeps connections, also among callers.
func (n *Node) Client() *http.Client { return &http.Client{Transport: n.http} }

// ID is the node's in Nomad.
func (n *Node) ID(ctx context.Context) (string, error) {
	stub, err := n.stub(ctx)
	if err != nil {
		return "", err
	}
	return stub.ID, nil
}

// Start runs the node's Consul, then its Nomad, and returns when it can run jobs.
func (n *Node) Start(ctx context.Context) error {
	if err := n.Consul.Start(ctx); err != nil {
		return err
	}
	return n.Nomad.Start(ctx)
}

// Kill takes the node's network away, and ends everything that runs on it with SIGKILL:
// Nomad, Consul, tasks, their Envoys and Wadi's agents.
func (n *Node) Kill(ctx context.Context) error {
	if err := n.Unplug(ctx); err != nil {
		return err
	}
	if err := slot.KillProcesses(ctx, n.mark()); err != nil {
		return fmt.Errorf("kill %s: %w", n.Name, err)
	}
	return errors.Join(n.Nomad.Kill(), n.Consul.Kill()) // They have ended; this waits for the news.
}

// Revive starts a killed node again, as after a power cut: its disk is as it was. Wadi's
// agents are the caller's to start.
func (n *Node) Revive(ctx context.Context) error {
	if err := n.Plug(ctx); err != nil {
		return err
	}
	return n.Start(ctx)
}

// Agent starts an agent of Wadi on the node. It talks to the Nomad and the Consul of the
// node. Its API is on the node's loopback, all else on the node's address. The agent runs until it is
// stopped or the cluster is; nothing is waited for.
func (n *Node) Agent(ctx context.Context, name, extra string) (*harness.Agent, error) {
	c := n.cluster
	ports, err := freeport.Ports(2)
	if err != nil {
		return nil, err
	}
	gateway, metrics := n.at(ports[0]), n.at(ports[1])
	s := &harness.Stack{Dir: c.Dir, Bin: c.Bin, Cluster: &devcluster.Cluster{
		NomadAddr: fmt.Sprintf("http://127.0.0.1:%d", nomadPort), ConsulAddr: fmt.Sprintf("http://127.0.0.1:%d", consulPort),
		HostIP: n.Addr, Bridge: true, Mesh: true,
	}}
	a, err := s.NewAgent(name, fmt.Sprintf("gateway {\n  address = %q\n}\nmetrics {\n  address = %q\n}\n", gateway, metrics)+extra)
	if err != nil {
		return nil, err
	}
	a.Netns, a.Gateway, a.Metrics = n.Netns, gateway, metrics
	a.Env = []string{c.slot.Mark(), n.mark()}
	a.Dial = n.http.DialContext
	if a.Client, err = api.New(api.Config{Address: "http://" + a.API, HTTPClient: n.Client()}); err != nil {
		return nil, err
	}
	return a, a.Start(ctx)
}

func (n *Node) at(port int) string { return net.JoinHostPort(n.Addr, strconv.Itoa(port)) }

func (n *Node) nomadClient() (*nomadapi.Client, error) {
	client, err := nomadapi.NewClient(&nomadapi.Config{Address: fmt.Sprintf("http://127.0.0.1:%d", nomadPort), HttpClient: n.Client()})
	if err != nil {
		return nil, fmt.Errorf("make nomad client: %w", err)
	}
	return client, nil
}

func (n *Node) consulClient() (*consulapi.Client, error) {
	client, err := consulapi.NewClient(&consulapi.Config{Address: fmt.Sprintf("http://127.0.0.1:%d", consulPort), HttpClient: n.Client()})
	if err != nil {
		return nil, fmt.Errorf("make consul client: %w", err)
	}
	return client, nil
}

// consulReady returns nil when the server has a leader and the node for healthy.
func (n *Node) consulReady(ctx context.Context) error {
	checks, _, err := n.cluster.Consul.Health().Node(n.Name, (&consulapi.QueryOptions{RequireConsistent: true}).WithContext(ctx))
	if err != nil {
		return err
	}
	for _, check := range checks {
		if check.CheckID == "serfHealth" && check.Status == consulapi.HealthPassing {
			return nil
		}
	}
	return errors.New("the server does not have it as a healthy node")
}

// nomadReady returns nil when the server can register nodes; on a node, when that can run
// jobs of any kind.
func (n *Node) nomadReady(ctx context.Context) error {
	if n.number == 0 {
		return n.serverReady(ctx)
	}
	stub, err := n.stub(ctx)
	if err != nil {
		return err
	}
	node, _, err := n.cluster.Nomad.Nodes().Info(stub.ID, (&nomadapi.QueryOptions{}).WithContext(ctx))
	if err != nil {
		return err
	}
	driver := node.Drivers["raw_exec"]
	switch {
	case node.Meta[runMeta] != strconv.Itoa(n.Nomad.Runs()):
		return errors.New("node has not registered")
	case node.Status != nomadapi.NodeStatusReady:
		return fmt.Errorf("node is %s", node.Status)
	case driver == nil || !driver.Healthy:
		return errors.New("driver raw_exec is not healthy")
	case node.Attributes["consul.version"] == "" || node.Attributes["consul.grpc"] == "":
		return errors.New("node has not found consul")
	case node.Attributes["plugins.cni.version.bridge"] == "":
		return errors.New("node has no bridge network")
	}
	return nil
}

func (n *Node) serverReady(ctx context.Context) error {
	keys, _, err := n.cluster.Nomad.Keyring().List((&nomadapi.QueryOptions{}).WithContext(ctx))
	if err != nil {
		return err
	}
	for _, k := range keys {
		if k.State == "active" {
			return nil
		}
	}
	return errors.New("no active key yet")
}

// stub is the server's record of the node.
func (n *Node) stub(ctx context.Context) (*nomadapi.NodeListStub, error) {
	nodes, _, err := n.cluster.Nomad.Nodes().List((&nomadapi.QueryOptions{}).WithContext(ctx))
	if err != nil {
		return nil, err
	}
	for _, s := range nodes {
		if s.Name == n.Name {
			return s, nil
		}
	}
	return nil, errors.New("node has not registered")
}
