package control_test

import (
	"context"
	"maps"
	"slices"

	"github.com/wadi-run/wadi"
)

func (c *cluster) Watch(ctx context.Context, changed func([]string)) error {
	c.mu.Lock()
	c.watch = changed
	names := slices.Collect(maps.Keys(c.stored))
	c.mu.Unlock()
	changed(names)
	<-ctx.Done()
	return nil
}

func (c *cluster) LoadSome(ctx context.Context, names []string, loaded func(string, wadi.Stored, error)) {
	for _, name := range names {
		st, err := c.Load(ctx, name)
		loaded(name, st, err)
	}
}

func (c *cluster) Load(_ context.Context, name string) (wadi.Stored, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.unloaded != nil {
		c.loads++
		return wadi.Stored{Status: c.stored[name].Status}, c.unloaded
	}
	s, ok := c.stored[name]
	if !ok {
		return s, wadi.ErrNotFound
	}
	s.State.Revisions = maps.Clone(s.State.Revisions)
	return s, nil
}

func (c *cluster) Revision(_ context.Context, service, id string) (wadi.Revision, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, "Revision")
	for _, r := range c.stored[service].Revisions {
		if r.ID == id {
			return r, nil
		}
	}
	return wadi.Revision{}, wadi.ErrNotFound
}

func (c *cluster) edit(name string, f func(*wadi.Stored)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.stored[name]
	if !ok {
		return wadi.ErrNotFound
	}
	f(&s)
	c.stored[name] = s
	return nil
}

func (c *cluster) PutRoute(_ context.Context, r wadi.Route) error {
	return c.edit(r.Service, func(s *wadi.Stored) { s.Route = r })
}

func (c *cluster) PutState(_ context.Context, name string, st wadi.State) error {
	return c.edit(name, func(s *wadi.Stored) { s.State = st })
}

func (c *cluster) PutStatus(_ context.Context, st wadi.Status) error {
	return c.edit(st.Service, func(s *wadi.Stored) { s.Status = st; c.statuses++ })
}

func (c *cluster) DeleteRevision(_ context.Context, name, id string) error {
	return c.edit(name, func(s *wadi.Stored) {
		s.Revisions = slices.DeleteFunc(slices.Clone(s.Revisions), func(r wadi.Revision) bool { return r.ID == id })
	})
}

func (c *cluster) Forget(_ context.Context, name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.stored, name)
	return nil
}
