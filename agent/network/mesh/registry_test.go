package mesh_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi"
)

// registry holds entries and refuses those that refer to what is not there, as
// Consul does.
type registry struct {
	mu      sync.Mutex
	index   uint64
	entries map[string]api.ConfigEntry
	writes  []string
	lists   int
	busy    func()                 // Called before a write, without the lock.
	after   func()                 // Called after a write, with it.
	refuse  func(key string) error // Of deletions.
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
	if err := c.consistent(); err != nil {
		c.restore(k, was)
		return fmt.Errorf("set %s: %w", k, err)
	}
	c.writes = append(c.writes, "set "+k)
	if c.after != nil {
		c.after()
	}
	return nil
}

func (c *registry) DeleteEntry(_ context.Context, kind, name string, index uint64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := key(kind, name)
	if !c.at(k, index) {
		return wadi.ErrConflict
	}
	if c.refuse != nil {
		if err := c.refuse(k); err != nil {
			return err
		}
	}
	was := c.entries[k]
	delete(c.entries, k)
	if err := c.consistent(); err != nil {
		c.restore(k, was)
		return fmt.Errorf("delete %s: %w", k, err)
	}
	c.writes = append(c.writes, "delete "+k)
	if c.after != nil {
		c.after()
	}
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

// consistent refuses what Consul does: a name that leads somewhere without being
// http, a leg or route to a missing subset, and a way, failover included, from one
// protocol to another.
func (c *registry) consistent() error {
	for k, e := range c.entries {
		switch e := e.(type) {
		case *api.ServiceResolverConfigEntry:
			for _, f := range e.Failover {
				if c.protocol(f.Service) != c.protocol(e.Name) {
					return fmt.Errorf("%s: fails over to %s, which speaks %s", k, f.Service, c.protocol(f.Service))
				}
			}
		case *api.ServiceSplitterConfigEntry:
			for _, s := range e.Splits {
				if err := c.leads(e.Name, s.Service, s.ServiceSubset); err != nil {
					return fmt.Errorf("%s: %w", k, err)
				}
			}
		case *api.ServiceRouterConfigEntry:
			for _, r := range e.Routes {
				if err := c.leads(e.Name, r.Destination.Service, r.Destination.ServiceSubset); err != nil {
					return fmt.Errorf("%s: %w", k, err)
				}
			}
		}
	}
	return nil
}

func (c *registry) leads(from, to, subset string) error {
	to = cmp.Or(to, from)
	if p := c.protocol(to); p == "tcp" || p != c.protocol(from) {
		return fmt.Errorf("leads from %s to %s", c.protocol(from), p)
	}
	r, _ := c.entries[key(api.ServiceResolver, to)].(*api.ServiceResolverConfigEntry)
	if subset != "" && (r == nil || r.Subsets[subset].Filter == "") {
		return fmt.Errorf("no subset %s of %s", subset, to)
	}
	return nil
}

func (c *registry) protocol(name string) string {
	if d, ok := c.entries[key(api.ServiceDefaults, name)].(*api.ServiceConfigEntry); ok {
		return cmp.Or(d.Protocol, "tcp")
	}
	return "tcp"
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
	if d := gocmp.Diff(want, c.writes); d != "" {
		t.Fatalf("writes (-want +got):\n%s", d)
	}
	c.writes = nil
}
