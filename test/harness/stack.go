// Package harness runs the whole of Wadi, as its own processes, on a real Nomad, Consul
// and Envoy: for the end-to-end tests, the demo and the benchmarks.
//
// It promises that everything has its own ports and directories, and that Stop leaves
// nothing behind. It refuses to fake any part.
package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	consul "github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"
	nomad "github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi/internal/devcluster"
	"github.com/wadi-run/wadi/internal/toolchain"
)

// Domain is the gateway's domain in every stack.
const Domain = "wadi.localhost"

// Stack is a running Wadi.
type Stack struct {
	Dir     string // Configurations and logs; Stop removes it.
	Bin     string // The folder of wadi, queue-proxy and hello.
	Cluster *devcluster.Cluster
	Nomad   *nomad.Client
	Consul  *consul.Client
	Agent   *Agent // The first agent.

	// AgentTokens are those of agents that NewAgent configures; empty without ACLs.
	AgentTokens Tokens

	agents []*Agent
}

// Options of a stack.
type Options struct {
	Bin   string // The folder of the binaries; empty is bin/ of the checkout.
	Extra string // HCL merged into each agent's configuration.

	// ConsulClientAgent: Nomad, Envoys and Wadi use a client agent of Consul beside
	// the server; see Cluster.ConsulClientAgent.
	ConsulClientAgent bool

	// NomadClientAgent: the same for Nomad; see Cluster.NomadClientAgent.
	NomadClientAgent bool

	// ACLs: Nomad and Consul have ACLs, and client agents that Wadi uses. The agents have
	// tokens with the least policies, and judge callers; clients and commands of an Agent
	// are sent with Management, see Agent.Tokens.
	ACLs bool

	// PolicyFlags are flags of `wadi doctor -policies`, for the agents' policies.
	PolicyFlags []string

	// MaxKillTimeout is Nomad's client option; 0: Nomad's default.
	MaxKillTimeout time.Duration

	Docker         bool // Turns Nomad's Docker driver on.
	DockerEndpoint string
	DockerLogins   string // File of the driver's logins to registries.
	InfraImage     string
	ImageDelay     time.Duration // See devcluster.Config.DockerImageDelay.

	Java           bool   // Turns Nomad's java driver on.
	NomadClientHCL string // Inside the client block of Nomad's node.

	Log hclog.Logger // Nil: quiet.
}

// Root is the checkout's root folder.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the checkout: %w", err)
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if b, err := os.ReadFile(filepath.Join(dir, "go.mod")); err == nil &&
			strings.HasPrefix(string(b), "module github.com/wadi-run/wadi\n") {
			return dir, nil
		}
	}
	return "", errors.New("find the checkout: no go.mod of Wadi above the working directory")
}

// Start brings up a cluster and one agent that leads.
func Start(ctx context.Context, o Options) (*Stack, error) {
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	if o.Bin == "" {
		root, err := Root()
		if err != nil {
			return nil, err
		}
		o.Bin = filepath.Join(root, "bin")
	}
	for _, b := range []string{"wadi", "queue-proxy", "hello"} {
		if _, err := os.Stat(filepath.Join(o.Bin, b)); err != nil {
			return nil, fmt.Errorf("find binaries: %w (make build)", err)
		}
	}
	tools, missing := toolchain.Locate(ctx)
	if tools.Nomad == "" || tools.Consul == "" {
		return nil, fmt.Errorf("find tools: %v (make tools)", missing)
	}
	dir, err := os.MkdirTemp("", "wadi-stack-")
	if err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	s := &Stack{Dir: dir, Bin: o.Bin}
	s.Cluster, err = devcluster.Start(ctx, devcluster.Config{
		Tools: tools, Path: []string{o.Bin}, ACLs: o.ACLs,
		ConsulClientAgent: o.ConsulClientAgent || o.ACLs, NomadClientAgent: o.NomadClientAgent || o.ACLs, MaxKillTimeout: o.MaxKillTimeout,
		Docker: o.Docker, DockerEndpoint: o.DockerEndpoint, DockerLogins: o.DockerLogins, InfraImage: o.InfraImage, DockerImageDelay: o.ImageDelay, Java: o.Java, NomadClientHCL: o.NomadClientHCL, Log: o.Log,
	})
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := s.up(ctx, o); err != nil {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), Long)
		defer cancel()
		return nil, errors.Join(err, s.Stop(stop))
	}
	return s, nil
}

func (s *Stack) up(ctx context.Context, o Options) (err error) {
	if s.Nomad, err = s.Cluster.NomadClient(); err != nil {
		return err
	}
	if s.Consul, err = s.Cluster.ConsulClient(); err != nil {
		return err
	}
	if o.ACLs {
		if err := s.allowAgents(ctx, o.PolicyFlags); err != nil {
			return err
		}
	}
	s.Agent, err = s.NewAgent("wadi-1", o.Extra)
	if err != nil {
		return err
	}
	if err := s.Agent.Start(ctx); err != nil {
		return err
	}
	return s.Agent.WaitLeader(ctx)
}

// Stop ends the agents and the cluster, and removes all folders.
func (s *Stack) Stop(ctx context.Context) error {
	var errs []error
	for _, a := range s.agents {
		errs = append(errs, a.Stop(ctx))
	}
	errs = append(errs, s.Cluster.Stop(ctx), os.RemoveAll(s.Dir))
	return errors.Join(errs...)
}
