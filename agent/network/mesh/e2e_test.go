//go:build e2e

package mesh_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/network/mesh"
	"github.com/wadi-run/wadi/internal/consul"
	"github.com/wadi-run/wadi/internal/consul/consultest"
)

// counting counts the writes that Consul accepted.
type counting struct {
	*consul.Client
	writes int
}

func (c *counting) SetEntry(ctx context.Context, e api.ConfigEntry, index uint64) error {
	c.writes++
	return c.Client.SetEntry(ctx, e, index)
}

func (c *counting) DeleteEntry(ctx context.Context, kind, name string, index uint64) error {
	c.writes++
	return c.Client.DeleteEntry(ctx, kind, name, index)
}

func TestE2E_Entries(t *testing.T) {
	client, err := consul.New(consul.Config{Address: consultest.StartAgent(t, false).URL})
	if err != nil {
		t.Fatal(err)
	}
	c := &counting{Client: client}
	l := &mesh.Layer{Entries: c}
	carry := func(r wadi.Route, writes int) {
		t.Helper()
		c.writes = 0
		if err := l.Apply(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if c.writes != writes {
			t.Fatalf("%d writes, want %d", c.writes, writes)
		}
		if ok, why, err := l.Programmed(t.Context(), r); !ok || err != nil {
			t.Fatalf("not programmed: %s %v", why, err)
		}
	}
	carry(one(1), 6)
	carry(one(1), 0)
	split := route(wadi.RouteTarget{Revision: "hello-00001", Weight: 3333}, wadi.RouteTarget{Revision: "hello-00002", Weight: 6667})
	carry(split, 2) // The subset, and the splitter.
	carry(split, 0)
	carry(one(2), 2) // Its default is the same already.
	carry(one(3), 3)

	// Consul compiled it to what was meant: a router, a splitter, a resolver that
	// fails over to the activator.
	chain, _, err := client.API().DiscoveryChain().Get("hello", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	node := chain.Chain.Nodes["resolver:hello-00003.hello.default.default.dc1"]
	if node == nil || chain.Chain.Protocol != "http" || chain.Chain.StartNode != "router:hello.default.default" {
		t.Fatalf("chain is %+v", chain.Chain)
	}
	if want := []string{"wadi-activator.default.default.dc1"}; !cmp.Equal(node.Resolver.Failover.Targets, want) {
		t.Fatalf("failover to %v, want %v", node.Resolver.Failover.Targets, want)
	}

	// A foreign splitter stays.
	foreign := &api.ServiceSplitterConfigEntry{
		Kind: api.ServiceSplitter, Name: "hello", Splits: []api.ServiceSplit{{Weight: 100, ServiceSubset: "hello-00003"}},
	}
	if _, _, err := client.API().ConfigEntries().Set(foreign, nil); err != nil {
		t.Fatal(err)
	}
	var fe *mesh.ForeignError
	if err := l.Apply(t.Context(), one(3)); !errors.As(err, &fe) {
		t.Fatalf("got %v, want a ForeignError", err)
	}
	got, err := client.Entry(t.Context(), api.ServiceSplitter, "hello")
	if err != nil || got.GetMeta() != nil {
		t.Fatalf("splitter is %+v (%v)", got, err)
	}
	if _, err := client.API().ConfigEntries().Delete(api.ServiceSplitter, "hello", nil); err != nil {
		t.Fatal(err)
	}

	other := &api.ServiceConfigEntry{Kind: api.ServiceDefaults, Name: "other", Protocol: "http"}
	if err := client.SetEntry(t.Context(), other, 0); err != nil {
		t.Fatal(err)
	}
	carry(one(3), 1)
	if err := l.Remove(t.Context(), "hello"); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{api.ServiceRouter, api.ServiceSplitter, api.ServiceResolver, api.ServiceDefaults} {
		if _, err := client.Entry(t.Context(), kind, "hello"); !errors.Is(err, wadi.ErrNotFound) {
			t.Errorf("%s hello is still there (%v)", kind, err)
		}
	}
	for _, name := range []string{"other", wadi.ServiceActivator} {
		if _, err := client.Entry(t.Context(), api.ServiceDefaults, name); err != nil {
			t.Errorf("%s is gone: %v", name, err)
		}
	}
}
