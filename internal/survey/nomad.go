package survey

import (
	"context"
	"slices"
	"strings"
	"time"
)

// Nomad is what a Nomad has, as far as a token may see it.
type Nomad struct {
	Clock      Offset // Of the agent that answered.
	ACLs       Known[bool]
	Servers    Known[[]Server] // Those of its region.
	Namespaces Known[[]string] // Those that the token may see.
	Nodes      Known[Nodes]
	Agent      Known[NomadAgent]
}

// Server is a server of Nomad.
type Server struct{ Name, Region, Datacenter, Version string }

// NomadAgent is the agent that answered. Its description needs agent:read.
type NomadAgent struct {
	Client         bool          // It runs jobs.
	MaxKillTimeout time.Duration // How long it lets a task end; 0: not a client, or not known.
	TLS            bool          // Its API is served by TLS.
	Consul         string        // URL by which it reaches Consul; empty: not known.
	ImageGC        ImageGC       // Of its Docker driver; off: it is no client.
}

// Nodes are the nodes that take jobs: ready, eligible and not drained.
type Nodes struct {
	Ready []Node
	More  bool // There are others besides the first MaxNodes.

	WithoutPlugins []string // IDs of those on which jobs can't have a bridge network.
	WithoutConsul  []string // IDs of those whose client reaches no Consul with gRPC and Connect.
}

// Node is a node of Nomad.
type Node struct {
	ID, Name, Datacenter, Pool, Version string
	Drivers                             map[string]Driver
}

// Driver is what a node says of one of its drivers.
type Driver struct {
	Healthy bool
	Why     string // Why it is not.
}

// AskNomad asks what a Nomad has. The error says that it does not answer, or has no leader.
func AskNomad(ctx context.Context, r Reader) (Nomad, error) {
	clock, err := leader(ctx, r, "Nomad")
	if err != nil {
		return Nomad{}, err
	}
	out := Nomad{Clock: clock}
	atOnce(
		func() { out.ACLs = nomadACLs(ctx, r) },
		func() { out.Servers = servers(ctx, r) },
		func() { out.Namespaces = namespaces(ctx, r) },
		func() { out.Nodes = readNodes(ctx, r) },
		func() { out.Agent = AskNomadAgent(ctx, r) },
	)
	return out, nil
}

// nomadACLs asks whether Nomad has ACLs. Its answers without them are an error, or an accessor
// that any token has.
func nomadACLs(ctx context.Context, r Reader) Known[bool] {
	acls := ask(ctx, r, "/v1/acl/token/self", func(self struct{ AccessorID string }) bool { return self.AccessorID != "acls-disabled" })
	switch {
	case acls.Err == nil:
	case strings.Contains(acls.Err.Error(), "ACL support disabled"):
		return Known[bool]{}
	case acls.Refused() || strings.Contains(acls.Err.Error(), "ACL token not found"):
		return Known[bool]{Value: true} // A token that there is not: so there are tokens.
	}
	return acls
}

func servers(ctx context.Context, r Reader) Known[[]Server] {
	type member struct {
		Name, Status string
		Tags         map[string]string
	}
	type answer struct {
		ServerRegion string
		Members      []*member // Of all regions that are joined.
	}
	return ask(ctx, r, "/v1/agent/members", func(all answer) (out []Server) {
		for _, m := range all.Members {
			if m != nil && m.Status != "left" && m.Tags["region"] == all.ServerRegion {
				out = append(out, Server{Name: m.Name, Region: m.Tags["region"], Datacenter: m.Tags["dc"], Version: m.Tags["build"]})
			}
		}
		slices.SortFunc(out, func(a, b Server) int { return strings.Compare(a.Name, b.Name) })
		return out
	})
}

func namespaces(ctx context.Context, r Reader) Known[[]string] {
	return ask(ctx, r, "/v1/namespaces", func(all []struct{ Name string }) (out []string) {
		for _, n := range all[:min(len(all), maxNamespaces)] {
			out = append(out, n.Name)
		}
		slices.Sort(out)
		return out
	})
}

// AskNomadAgent asks the agent that answers for what it says of itself alone.
func AskNomadAgent(ctx context.Context, r Reader) Known[NomadAgent] {
	type answer struct {
		Config struct {
			Client struct {
				Enabled        bool
				MaxKillTimeout string
				Options        map[string]string
			}
			Plugins   []plugin
			TLSConfig struct{ EnableHTTP bool }
			Consuls   []struct {
				Name, Addr string
				EnableSSL  bool
			}
		} `json:"config"`
	}
	return ask(ctx, r, "/v1/agent/self", func(a answer) NomadAgent {
		out := NomadAgent{Client: a.Config.Client.Enabled, TLS: a.Config.TLSConfig.EnableHTTP}
		if d, err := time.ParseDuration(a.Config.Client.MaxKillTimeout); err == nil && out.Client {
			out.MaxKillTimeout = d
		}
		if out.Client {
			out.ImageGC = imageGC(a.Config.Plugins, a.Config.Client.Options)
		}
		for _, consul := range a.Config.Consuls {
			if consul.Name == "default" && consul.Addr != "" {
				out.Consul = map[bool]string{false: "http://", true: "https://"}[consul.EnableSSL] + consul.Addr
			}
		}
		return out
	})
}
