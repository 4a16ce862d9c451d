package mesh_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/network/mesh"
)

// route is one of a service hello with the given legs.
func route(targets ...wadi.RouteTarget) wadi.Route {
	r := wadi.Route{
		Service: "hello", Namespace: "default", Protocol: wadi.HTTP1, Visibility: wadi.Public,
		Mesh: wadi.MeshEnvoy, Targets: targets, Revisions: map[string]wadi.RouteRevision{},
	}
	for _, t := range targets {
		r.Revisions[t.Revision] = wadi.RouteRevision{
			Timeout: wadi.Timeouts{Request: wadi.Duration(5 * time.Minute)},
			Queue:   wadi.Queue{Timeout: wadi.Duration(time.Minute)},
			Mesh:    wadi.MeshEnvoy,
		}
	}
	return r
}

func one(n int) wadi.Route {
	return route(wadi.RouteTarget{Revision: wadi.RevisionID("hello", n), Weight: wadi.WeightAll})
}

func TestRender(t *testing.T) {
	longer := route(
		wadi.RouteTarget{Revision: "hello-00001", Weight: 3333},
		wadi.RouteTarget{Revision: "hello-00002", Weight: 6567},
		wadi.RouteTarget{Revision: "hello-00001", Weight: 100, Tag: "old"},
		wadi.RouteTarget{Revision: "hello-00003", Weight: 0, Tag: "next"},
	)
	rev := longer.Revisions["hello-00002"]
	rev.Timeout.Request = wadi.Duration(time.Hour)
	longer.Revisions["hello-00002"] = rev
	mixed := one(2)
	mixed.Mesh = wadi.MeshOff
	off := one(1)
	off.Mesh = wadi.MeshOff
	off.Revisions["hello-00001"] = wadi.RouteRevision{Mesh: wadi.MeshOff}
	for name, r := range map[string]wadi.Route{
		"one": one(1), "split": longer, "leaving-the-mesh": mixed, "off": off, "deleted": route(),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := json.MarshalIndent(mesh.Render(r), "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden(t, filepath.Join("testdata", name+".json"), string(got)+"\n")
		})
	}
}

var update = flag.Bool("update", false, "rewrite golden files")

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Fatalf("differs from %s (-want +got):\n%s", file, d)
	}
}

// registry holds entries and refuses those that refer to what is not there, as
// Consul does.
type registry struct {
	mu      sync.Mutex
	index   uint64
	entries map[string]api.ConfigEntry
	writes  []string
	lists   int
	busy    func() // Called before a write, without the lock.
}

func newRegistry() *registry { return &registry{entries: map[string]api.ConfigEntry{}} }

func key(kind, name string) string { return strings.TrimPrefix(kind, "service-") + " " + name }

func (c *registry) Entry(_ context.Context, kind, name string) (api.ConfigEntry, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[key(kind, name)]; e != nil {
		return e, nil
	}
	return nil, wadi.ErrNotFound
}

func (c *registry) Entries(_ context.Context, kind string) ([]api.ConfigEntry, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lists++
	var all []api.ConfigEntry
	for _, e := range c.entries {
		if e.GetKind() == kind {
			all = append(all, e)
		}
	}
	return all, nil
}

func (c *registry) SetEntry(_ context.Context, e api.ConfigEntry, index uint64) error {
	if c.busy != nil {
		c.busy()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	k := key(e.GetKind(), e.GetName())
	if !c.at(k, index) {
		return wadi.ErrConflict
	}
	was := c.entries[k]
	c.index++
	c.entries[k] = stamped(e, c.index)
	if err := c.consistent(e.GetName()); err != nil {
		c.restore(k, was)
		return fmt.Errorf("set %s: %w", k, err)
	}
	c.writes = append(c.writes, "set "+k)
	return nil
}

func (c *registry) DeleteEntry(_ context.Context, kind, name string, index uint64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := key(kind, name)
	if !c.at(k, index) {
		return wadi.ErrConflict
	}
	was := c.entries[k]
	delete(c.entries, k)
	if err := c.consistent(name); err != nil {
		c.restore(k, was)
		return fmt.Errorf("delete %s: %w", k, err)
	}
	c.writes = append(c.writes, "delete "+k)
	return nil
}

func (c *registry) at(k string, index uint64) bool {
	e := c.entries[k]
	return e == nil && index == 0 || e != nil && e.GetModifyIndex() == index
}

func (c *registry) restore(k string, was api.ConfigEntry) {
	delete(c.entries, k)
	if was != nil {
		c.entries[k] = was
	}
}

// consistent refuses a splitter to a missing subset, a splitter or router of a
// service that is not http, and a failover to a service that is not.
func (c *registry) consistent(name string) error {
	d, _ := c.entries[key(api.ServiceDefaults, name)].(*api.ServiceConfigEntry)
	r, _ := c.entries[key(api.ServiceResolver, name)].(*api.ServiceResolverConfigEntry)
	s, _ := c.entries[key(api.ServiceSplitter, name)].(*api.ServiceSplitterConfigEntry)
	if (s != nil || c.entries[key(api.ServiceRouter, name)] != nil) && (d == nil || d.Protocol != "http") {
		return errors.New("service is not http")
	}
	if s != nil {
		for _, split := range s.Splits {
			if r == nil || r.Subsets[split.ServiceSubset].Filter == "" {
				return fmt.Errorf("no subset %s", split.ServiceSubset)
			}
		}
	}
	if r != nil {
		if a, _ := c.entries[key(api.ServiceDefaults, wadi.ServiceActivator)].(*api.ServiceConfigEntry); a == nil || a.Protocol != "http" {
			return errors.New("failover to a service that is not http")
		}
	}
	return nil
}

// stamped is a copy of e with a modify index, made as Consul's API does.
func stamped(e api.ConfigEntry, index uint64) api.ConfigEntry {
	b, err := json.Marshal(e)
	if err != nil {
		panic(err)
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		panic(err)
	}
	m["ModifyIndex"], m["CreateIndex"] = index, index
	out, err := api.DecodeConfigEntry(m)
	if err != nil {
		panic(err)
	}
	return out
}

func (c *registry) wrote(t *testing.T, want ...string) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if d := cmp.Diff(want, c.writes); d != "" {
		t.Fatalf("writes (-want +got):\n%s", d)
	}
	c.writes = nil
}

func apply(t *testing.T, c *registry, r wadi.Route) {
	t.Helper()
	l := &mesh.Layer{Entries: c}
	if err := l.Apply(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if ok, why, err := l.Programmed(t.Context(), r); !ok || err != nil {
		t.Fatalf("not programmed after apply: %s %v", why, err)
	}
}

func TestApply(t *testing.T) {
	c := newRegistry()
	l := &mesh.Layer{Entries: c}
	if ok, why, _ := l.Programmed(t.Context(), one(1)); ok || why == "" {
		t.Fatalf("programmed before anything was written (%q)", why)
	}
	apply(t, c, one(1))
	c.wrote(t, "set defaults wadi-activator", "set defaults hello", "set resolver hello", "set splitter hello", "set router hello")
	apply(t, c, one(1))
	c.wrote(t)

	// The new subset is there before the splitter names it, and the old one as
	// long as it does.
	apply(t, c, one(2))
	c.wrote(t, "set resolver hello", "set splitter hello", "set resolver hello")
	r := c.entries["resolver hello"].(*api.ServiceResolverConfigEntry)
	if len(r.Subsets) != 1 || r.DefaultSubset != "hello-00002" {
		t.Fatalf("resolver is %+v", r)
	}

	if err := l.Remove(t.Context(), "hello"); err != nil {
		t.Fatal(err)
	}
	c.wrote(t, "delete router hello", "delete splitter hello", "delete resolver hello", "delete defaults hello")
	if err := l.Remove(t.Context(), "hello"); err != nil {
		t.Fatal(err)
	}
	c.wrote(t)
	if len(c.entries) != 1 {
		t.Fatalf("left: %v", c.entries)
	}
}

func TestApply_LeavingTheMesh(t *testing.T) {
	c := newRegistry()
	apply(t, c, one(1))
	r := one(2)
	r.Mesh = wadi.MeshOff
	r.Revisions["hello-00002"] = wadi.RouteRevision{Mesh: wadi.MeshOff}
	apply(t, c, r)
	if len(c.entries) != 1 {
		t.Fatalf("left: %v", c.entries)
	}
}

func TestForeignEntries(t *testing.T) {
	c := newRegistry()
	theirs := &api.ServiceSplitterConfigEntry{Kind: api.ServiceSplitter, Name: "hello", Splits: []api.ServiceSplit{{Weight: 100}}}
	c.entries["splitter hello"] = stamped(theirs, 7)
	l := &mesh.Layer{Entries: c}

	var fe *mesh.ForeignError
	if err := l.Apply(t.Context(), one(1)); !errors.As(err, &fe) {
		t.Fatalf("got %v, want a ForeignError", err)
	}
	if want := []string{"service-splitter hello"}; !cmp.Equal(fe.Entries, want) {
		t.Fatalf("foreign %v, want %v", fe.Entries, want)
	}
	if ok, why, err := l.Programmed(t.Context(), one(1)); ok || err != nil || !strings.Contains(why, "service-splitter hello") {
		t.Fatalf("programmed=%v %q %v", ok, why, err)
	}
	if err := l.Remove(t.Context(), "hello"); err != nil {
		t.Fatal(err)
	}
	if got := c.entries["splitter hello"]; got == nil || got.GetModifyIndex() != 7 {
		t.Fatalf("somebody else's entry was touched: %v", got)
	}
	c.wrote(t)
}

func TestDrift(t *testing.T) {
	c := newRegistry()
	apply(t, c, one(1))
	c.wrote(t, "set defaults wadi-activator", "set defaults hello", "set resolver hello", "set splitter hello", "set router hello")
	edited := *c.entries["router hello"].(*api.ServiceRouterConfigEntry)
	edited.Routes = nil
	c.entries["router hello"] = stamped(&edited, 99)
	l := &mesh.Layer{Entries: c}
	if ok, why, err := l.Programmed(t.Context(), one(1)); ok || err != nil || why != "service-router hello is not as it should be" {
		t.Fatalf("programmed=%v %q %v", ok, why, err)
	}
	apply(t, c, one(1))
	c.wrote(t, "set router hello")
}

func TestConflictIsReadAgain(t *testing.T) {
	c := newRegistry()
	apply(t, c, one(1))
	c.busy = func() { // Another agent is faster, once.
		c.busy = nil
		apply(t, c, one(2))
	}
	apply(t, c, one(3))
	if d := c.entries["resolver hello"].(*api.ServiceResolverConfigEntry).DefaultSubset; d != "hello-00003" {
		t.Fatalf("default subset %s", d)
	}
}

func TestOtherProtocols(t *testing.T) {
	c, r := newRegistry(), one(1)
	r.Protocol = wadi.GRPC
	l := &mesh.Layer{Entries: c}
	if err := l.Apply(t.Context(), r); err == nil {
		t.Fatal("grpc was accepted")
	}
	if ok, why, err := l.Programmed(t.Context(), r); ok || err != nil || why == "" {
		t.Fatalf("programmed=%v %q %v", ok, why, err)
	}
}
