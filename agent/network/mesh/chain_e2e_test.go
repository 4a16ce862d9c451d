//go:build e2e

package mesh_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/network/mesh"
	"github.com/wadi-run/wadi/internal/consul"
	"github.com/wadi-run/wadi/internal/consul/consultest"
)

// chain is the part of Consul's compiled chain that says where a name leads. The
// API's own type has no headers of a splitter's legs.
type chain struct {
	Chain struct {
		Protocol, StartNode string
		Nodes               map[string]struct {
			Type   string
			Routes []struct {
				Definition struct {
					Match       *api.ServiceRouteMatch
					Destination api.ServiceRouteDestination
				}
				NextNode string
			}
			Splits []struct {
				Weight     float32
				Definition api.ServiceSplit
				NextNode   string
			}
			Resolver struct {
				Target   string
				Failover *struct{ Targets []string }
			}
		}
	}
}

// ways says in words what Consul compiled of a name: its protocol, and where each
// route leads, with weights, headers set, timeouts, and what it fails over to.
func ways(t *testing.T, client *api.Client, name string) []string {
	t.Helper()
	var got chain
	if _, err := client.Raw().Query("/v1/discovery-chain/"+name, &got, nil); err != nil {
		t.Fatal(err)
	}
	nodes := got.Chain.Nodes
	out := []string{got.Chain.Protocol}
	leads := func(node string) string {
		r := nodes[node].Resolver
		s := strings.TrimSuffix(r.Target, ".default.default.dc1")
		if r.Failover != nil {
			s += " or " + strings.TrimSuffix(strings.Join(r.Failover.Targets, ","), ".default.default.dc1")
		}
		return s
	}
	start := nodes[got.Chain.StartNode]
	for _, r := range start.Routes[:len(start.Routes)-1] { // The last is Consul's own, after Wadi's without match.
		match, d := "*", r.Definition.Destination
		if m := r.Definition.Match; m != nil && m.HTTP != nil && len(m.HTTP.Header) > 0 {
			match = m.HTTP.Header[0].Name + "=" + m.HTTP.Header[0].Exact
		}
		way := fmt.Sprintf("%s %s %s:", match, d.RequestTimeout.Round(time.Second), d.IdleTimeout.Round(time.Second))
		if next := nodes[r.NextNode]; next.Type == api.DiscoveryGraphNodeTypeSplitter {
			for _, s := range next.Splits {
				way += fmt.Sprintf(" %g%% %s as %s", s.Weight, leads(s.NextNode), s.Definition.RequestHeaders.Set[wadi.HeaderRevision])
			}
		} else {
			way += " " + leads(r.NextNode) + " as " + d.RequestHeaders.Set[wadi.HeaderRevision]
		}
		out = append(out, way)
	}
	return out
}

// Consul compiles each shape to what was meant.
func TestE2E_Chains(t *testing.T) {
	client, l := startLayer(t)
	for _, tt := range []struct {
		shape    string
		protocol wadi.Protocol
		name     string
		want     []string
	}{
		{"one", wadi.HTTP1, "hello", []string{"http",
			"* 6m5s 6m5s: 100% hello-00001.hello or wadi-activator as hello-00001"}},
		{"split", wadi.H2C, "hello", []string{"http2",
			"* 6m5s 6m5s: 33.33% hello-00001.hello or wadi-activator-http2 as hello-00001 66.67% hello-00002.hello or wadi-activator-http2 as hello-00002"}},
		{"one", wadi.GRPC, "hello", []string{"grpc",
			"* 6m5s 6m5s: 100% hello-00001.hello or wadi-activator-grpc as hello-00001"}},
		{"tags", wadi.HTTP1, "hello", []string{"http",
			"Wadi-Tag=old 6m5s 6m5s: hello-00001.hello or wadi-activator as hello-00001",
			"Wadi-Tag=older 6m5s 6m5s: hello-00001.hello or wadi-activator as hello-00001",
			"Wadi-Tag=next 1h1m5s 1h1m5s: hello-00003.hello or wadi-activator as hello-00003",
			"* 1h1m5s 1h1m5s: 34.33% hello-00001.hello or wadi-activator as hello-00001 65.67% hello-00002.hello or wadi-activator as hello-00002"}},
		{"tags", wadi.HTTP1, "next-hello", []string{"http",
			"* 1h1m5s 1h1m5s: 100% hello-00003.hello or wadi-activator as hello-00003"}},
		{"tags", wadi.GRPC, "old-hello", []string{"grpc",
			"* 6m5s 6m5s: 100% hello-00001.hello or wadi-activator-grpc as hello-00001"}},
		{"burst", wadi.HTTP1, "hello", []string{"http",
			"* 6m5s 6m5s: 33.33% wadi-activator as hello-00001 66.67% wadi-activator as hello-00002"}},
		{"burst-tags", wadi.GRPC, "hello", []string{"grpc",
			"Wadi-Tag=old 6m5s 6m5s: wadi-activator-grpc as hello-00001",
			"Wadi-Tag=older 6m5s 6m5s: wadi-activator-grpc as hello-00001",
			"Wadi-Tag=next 1h1m5s 1h1m5s: wadi-activator-grpc as hello-00003",
			"* 1h1m5s 1h1m5s: 34.33% wadi-activator-grpc as hello-00001 65.67% wadi-activator-grpc as hello-00002"}},
		{"burst-tags", wadi.HTTP1, "next-hello", []string{"http",
			"* 1h1m5s 1h1m5s: 100% wadi-activator as hello-00003"}},
	} {
		t.Run(tt.shape+" "+string(tt.protocol)+" "+tt.name, func(t *testing.T) {
			if err := l.Apply(t.Context(), with(shapes()[tt.shape], speaks(tt.protocol))); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, ways(t, client.API(), tt.name)); d != "" {
				t.Errorf("chain (-want +got):\n%s", d)
			}
			if err := l.Remove(t.Context(), "hello"); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// From every shape to every other Consul refuses nothing, a second Apply writes
// nothing, and Remove leaves what is foreign.
func TestE2E_AnyShapeToAnyOther(t *testing.T) {
	client, l := startLayer(t)
	foreign := []api.ConfigEntry{
		&api.ServiceConfigEntry{Kind: api.ServiceDefaults, Name: "other", Protocol: "http"},
		&api.ServiceIntentionsConfigEntry{Kind: api.ServiceIntentions, Name: "next-hello", Sources: []*api.SourceIntention{{Name: "*", Action: "deny"}}},
		&api.ServiceConfigEntry{Kind: api.ServiceDefaults, Name: "hello-other", Protocol: "http"},
		&api.ServiceConfigEntry{Kind: api.ServiceDefaults, Name: "billing", Protocol: "http"}, // A rule leads to it.
	}
	for _, e := range foreign {
		if _, _, err := client.API().ConfigEntries().Set(e, nil); err != nil {
			t.Fatal(err)
		}
	}
	c := l.Entries.(*counting)
	all := shapes()
	apply := func(l *mesh.Layer, name, what string) {
		t.Helper()
		if err := l.Apply(t.Context(), all[name]); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	for _, from := range slices.Sorted(maps.Keys(all)) {
		for _, to := range slices.Sorted(maps.Keys(all)) {
			what := from + " to " + to
			apply(l, from, "from "+from)
			apply(l, to, what)
			c.writes = 0
			apply(l, to, what+" again")
			if ok, why, err := l.Programmed(t.Context(), all[to]); !ok || err != nil || c.writes > 0 {
				t.Errorf("%s: programmed=%v %s (%v), %d writes at the second look", what, ok, why, err, c.writes)
			}
		}
	}
	apply(l, "intentions-of-mesh", "last")
	if err := (&mesh.Layer{Entries: c}).Remove(t.Context(), "hello"); err != nil {
		t.Fatal(err)
	}
	want := []string{"service-defaults billing", "service-defaults hello-other", "service-defaults other", "service-defaults wadi-activator", "service-intentions next-hello"}
	if d := cmp.Diff(want, left(t, client)); d != "" {
		t.Errorf("left (-want +got):\n%s", d)
	}
}

// left names all entries that there are.
func left(t *testing.T, client *consul.Client) []string {
	t.Helper()
	var got []string
	for _, kind := range []string{api.ServiceIntentions, api.ServiceDefaults, api.ServiceResolver, api.ServiceSplitter, api.ServiceRouter} {
		entries, err := client.Entries(t.Context(), kind)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			got = append(got, kind+" "+e.GetName())
		}
	}
	slices.Sort(got)
	return got
}

// What Consul refuses to delete because of a foreign entry stays, is named, and
// can be deleted once that is gone.
func TestE2E_RemoveNeededByOthers(t *testing.T) {
	client, l := startLayer(t)
	for _, tt := range []struct {
		what    string
		foreign api.ConfigEntry
		left    []string
	}{
		{"a subset",
			&api.ServiceSplitterConfigEntry{Kind: api.ServiceSplitter, Name: "hello", Splits: []api.ServiceSplit{{Weight: 100, ServiceSubset: "hello-00001"}}},
			[]string{"service-resolver hello", "service-defaults hello"}},
		{"the protocol",
			&api.ServiceSplitterConfigEntry{Kind: api.ServiceSplitter, Name: "hello", Splits: []api.ServiceSplit{{Weight: 100}}},
			[]string{"service-defaults hello"}},
	} {
		if err := l.Apply(t.Context(), one(1)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := client.API().ConfigEntries().Set(tt.foreign, nil); err != nil {
			t.Fatal(err)
		}
		var kept *mesh.KeptError
		if err := l.Remove(t.Context(), "hello"); !errors.As(err, &kept) {
			t.Fatalf("%s: got %v, want a KeptError", tt.what, err)
		}
		want := &mesh.KeptError{Managed: tt.left, Foreign: []string{"service-splitter hello"}}
		if d := cmp.Diff(want, kept); d != "" {
			t.Errorf("%s: (-want +got):\n%s", tt.what, d)
		}
		all := append([]string{"service-defaults wadi-activator", "service-splitter hello"}, tt.left...)
		slices.Sort(all)
		if d := cmp.Diff(all, left(t, client)); d != "" {
			t.Errorf("%s: left (-want +got):\n%s", tt.what, d)
		}
		if _, err := client.API().ConfigEntries().Delete(api.ServiceSplitter, "hello", nil); err != nil {
			t.Fatal(err)
		}
		if err := l.Remove(t.Context(), "hello"); err != nil {
			t.Errorf("%s: afterwards: %v", tt.what, err)
		}
	}
}

// Consul puts intentions into a form of its own; a source that is added to
// the managed one goes again.
func TestE2E_IntentionsDrift(t *testing.T) {
	client, l := startLayer(t)
	r := shapes()["intentions"]
	if err := l.Apply(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	e, err := client.Entry(t.Context(), api.ServiceIntentions, "hello")
	if err != nil {
		t.Fatal(err)
	}
	stored := e.(*api.ServiceIntentionsConfigEntry)
	if stored.Sources[0].Precedence == 0 || stored.Sources[0].Type == "" {
		t.Errorf("Consul stores sources as they are written now: %+v", stored.Sources[0])
	}
	stored.Sources = append(stored.Sources, &api.SourceIntention{Name: "evil", Action: api.IntentionActionAllow})
	if _, _, err := client.API().ConfigEntries().Set(stored, nil); err != nil {
		t.Fatal(err)
	}
	l = &mesh.Layer{Entries: l.Entries}
	if ok, why, err := l.Programmed(t.Context(), r); ok || err != nil || why != "service-intentions hello is not as it should be" {
		t.Fatalf("programmed=%v %q %v", ok, why, err)
	}
	if err := l.Apply(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	allowed, _, err := client.API().Connect().IntentionCheck(&api.IntentionCheck{Source: "evil", Destination: "hello"}, nil)
	if err != nil || allowed {
		t.Errorf("evil may call: %v (%v)", allowed, err)
	}
	for _, source := range []string{"web", "billing", wadi.ServiceActivator, wadi.ServiceGateway} {
		allowed, _, err := client.API().Connect().IntentionCheck(&api.IntentionCheck{Source: source, Destination: "hello"}, nil)
		if err != nil || !allowed {
			t.Errorf("%s may call: %v (%v)", source, allowed, err)
		}
	}
}

func startLayer(t *testing.T) (*consul.Client, *mesh.Layer) {
	t.Helper()
	client, err := consul.New(consul.Config{Address: consultest.StartAgent(t, false).URL})
	if err != nil {
		t.Fatal(err)
	}
	return client, &mesh.Layer{Entries: &counting{Client: client}}
}
