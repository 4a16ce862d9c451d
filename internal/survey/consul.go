package survey

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/wadi-run/wadi"
)

// Consul is what a Consul has, as far as a token may see it.
type Consul struct {
	Clock     Offset // Of the agent that answered.
	ACLs      Known[bool]
	Agent     Known[ConsulAgent]
	Connect   Known[[]Root]   // The roots of the mesh; none: Connect is off.
	Overrides Known[[]string] // Settings of all proxies that override those of Wadi's, by their keys.
}

// ConsulAgent is the agent that answered. Its description needs agent read.
type ConsulAgent struct {
	Node, Datacenter, Version string
	Envoys                    []string // Versions of Envoy that it supports, newest first.
	GRPC                      bool     // Envoys can fetch their configuration from it.
}

// Root is a root certificate of the mesh.
type Root struct {
	Active   bool
	NotAfter time.Time
}

// AskConsul asks what a Consul has. The error says that it does not answer, or has no
// leader.
func AskConsul(ctx context.Context, r Reader) (Consul, error) {
	clock, err := leader(ctx, r, "Consul")
	if err != nil {
		return Consul{}, err
	}
	out := Consul{Clock: clock}
	atOnce(
		func() { out.ACLs = consulACLs(ctx, r) },
		func() { out.Agent = consulAgent(ctx, r) },
		func() { out.Connect = roots(ctx, r) },
		func() { out.Overrides = overrides(ctx, r) },
	)
	return out, nil
}

// consulACLs asks whether Consul has ACLs: without them it has no tokens to describe.
func consulACLs(ctx context.Context, r Reader) Known[bool] {
	acls := ask(ctx, r, "/v1/acl/token/self", func(struct{}) bool { return true })
	switch {
	case acls.Err == nil:
	case strings.Contains(acls.Err.Error(), "ACL support disabled"):
		return Known[bool]{}
	case acls.Refused() || strings.Contains(acls.Err.Error(), "ACL not found"):
		return Known[bool]{Value: true}
	}
	return acls
}

func consulAgent(ctx context.Context, r Reader) Known[ConsulAgent] {
	type answer struct {
		Config struct{ NodeName, Datacenter, Version string }
		XDS    *struct {
			SupportedProxies map[string][]string
			Ports            struct{ Plaintext, TLS int }
		} `json:"xDS"`
	}
	return ask(ctx, r, "/v1/agent/self", func(a answer) ConsulAgent {
		out := ConsulAgent{Node: a.Config.NodeName, Datacenter: a.Config.Datacenter, Version: a.Config.Version}
		if a.XDS != nil {
			out.Envoys = a.XDS.SupportedProxies["envoy"]
			out.GRPC = a.XDS.Ports.Plaintext > 0 || a.XDS.Ports.TLS > 0
		}
		return out
	})
}

// roots reads the roots of the mesh. Consul without Connect answers with an error that says
// so.
func roots(ctx context.Context, r Reader) Known[[]Root] {
	all := ask(ctx, r, "/v1/agent/connect/ca/roots", func(a struct{ Roots []Root }) []Root { return a.Roots })
	if all.Err != nil && strings.Contains(all.Err.Error(), "Connect must be enabled") {
		return Known[[]Root]{}
	}
	return all
}

// overriding are the keys of a proxy's configuration that replace its listeners and clusters
// as a whole, or bound what an instance takes.
func overriding() []string {
	return []string{
		"envoy_public_listener_json", "envoy_local_cluster_json", "envoy_listener_json", "envoy_cluster_json", "max_inbound_connections",
	}
}

// overrides reads what the entry for all proxies overrides.
func overrides(ctx context.Context, r Reader) Known[[]string] {
	all := ask(ctx, r, "/v1/config/proxy-defaults/global", func(e struct{ Config map[string]any }) (out []string) {
		for _, key := range overriding() {
			if _, set := e.Config[key]; set {
				out = append(out, key)
			}
		}
		return out
	})
	if errors.Is(all.Err, wadi.ErrNotFound) {
		return Known[[]string]{}
	}
	return all
}
