package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/consul"
)

const (
	// changesPause is the least time between two passes over the awaited services.
	changesPause = 100 * time.Millisecond
	changesRead  = 10 * time.Second // Of the requests of one pass.
)

// shown are the kinds whose changes callers of the API see. A change of a spec, a revision, a
// route or an override changes the index entry in the same transaction.
var shown = [...]kind{kindIndex, kindStatus}

// ServiceIndex returns the index of the last change of a service: of what was submitted, of
// its route and of its status. It is 0 if there is no such service.
func (s *Store) ServiceIndex(ctx context.Context, service string) (uint64, error) {
	all, err := s.serviceIndexes(ctx, []string{service})
	return all[service], err
}

// ServicesIndex returns the index of the last change of any service.
func (s *Store) ServicesIndex(ctx context.Context) (uint64, error) {
	last := uint64(0)
	for _, k := range shown {
		index, err := s.kv.WaitChange(ctx, s.prefix+string(k), 0)
		if err != nil {
			return 0, err
		}
		last = max(last, index)
	}
	return last, nil
}

// serviceIndexes reads the indexes of services in as few requests as there can be.
func (s *Store) serviceIndexes(ctx context.Context, services []string) (map[string]uint64, error) {
	out := make(map[string]uint64, len(services))
	for some := range slices.Chunk(services, consul.MaxTxnOps/len(shown)) {
		var ops []consul.Op
		for _, name := range some {
			for _, k := range shown {
				ops = append(ops, consul.Op{Verb: consul.Read, Key: s.key(k, name)})
			}
		}
		pairs, err := s.kv.Txn(ctx, ops)
		if err != nil {
			return nil, fmt.Errorf("read indexes: %w", err)
		}
		for i, op := range ops { // Consul leaves out keys without the right to read.
			if i >= len(pairs) || pairs[i].Key != op.Key {
				return nil, fmt.Errorf("read indexes: %s is not readable: %w", op.Key, wadi.ErrOwnRight)
			}
			name := some[i/len(shown)]
			out[name] = max(out[name], pairs[i].Index)
		}
	}
	return out, nil
}

// Changes waits for changes of services on behalf of many callers. However many wait, it has
// two blocking queries open in Consul, and none while nobody waits. Its callers bound how
// many wait. Make it with NewChanges, and run it.
type Changes struct {
	store *Store
	poked chan struct{} // Has room for one: a pass is due.

	mu      sync.Mutex
	awaited map[string]*awaited // By service; "" is any service.
	begun   uint64              // Number of passes that have begun.
	arrived chan struct{}       // Closed when somebody waits; replaced when nobody does.
}

// awaited is a service for whose changes callers wait.
type awaited struct {
	callers int
	pass    uint64 // That read what follows; 0: none has.
	index   uint64
	err     error
	read    chan struct{} // Closed, and replaced, when a pass has read it.
}

// NewChanges returns the changes of what is in s.
func NewChanges(s *Store) *Changes {
	return &Changes{store: s, poked: make(chan struct{}, 1), awaited: map[string]*awaited{}, arrived: make(chan struct{})}
}

// Index returns the index of the last change of a service, or of any if service is empty.
func (c *Changes) Index(ctx context.Context, service string) (uint64, error) {
	if service == "" {
		return c.store.ServicesIndex(ctx)
	}
	return c.store.ServiceIndex(ctx, service)
}

// Wait returns once the index of a service is another than index, or that of all services
// together if service is empty, or with nil when ctx ends. While Consul is away it returns
// an error.
func (c *Changes) Wait(ctx context.Context, service string, index uint64) error {
	a, since := c.join(service)
	defer c.leave(service, a)
	for {
		c.mu.Lock()
		fresh, at, err, read := a.pass > since, a.index, a.err, a.read
		c.mu.Unlock()
		switch {
		case fresh && err != nil:
			return err
		case fresh && at != index:
			return nil
		}
		select {
		case <-read:
		case <-ctx.Done():
			return nil
		}
	}
}

// join adds a caller. What passes read that began before is older than what the caller knows.
func (c *Changes) join(service string) (a *awaited, since uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.awaited) == 0 {
		close(c.arrived)
	}
	if a = c.awaited[service]; a == nil {
		a = &awaited{read: make(chan struct{})}
		c.awaited[service] = a
	}
	a.callers++
	c.poke()
	return a, c.begun
}

func (c *Changes) leave(service string, a *awaited) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if a.callers--; a.callers > 0 {
		return
	}
	delete(c.awaited, service)
	if len(c.awaited) == 0 {
		c.arrived = make(chan struct{})
	}
}

func (c *Changes) poke() {
	select {
	case c.poked <- struct{}{}:
	default:
	}
}

// Run reads the indexes of awaited services when something has changed, until ctx ends.
func (c *Changes) Run(ctx context.Context) error {
	var watchers sync.WaitGroup
	defer watchers.Wait()
	for _, k := range shown {
		watchers.Go(func() { c.watch(ctx, k) })
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.poked:
		}
		c.pass(ctx)
		if wadi.Sleep(ctx, changesPause) != nil {
			return nil
		}
	}
}

// watch has a pass made after every change of values of a kind, while somebody waits.
func (c *Changes) watch(ctx context.Context, k kind) {
	for ctx.Err() == nil {
		c.mu.Lock()
		arrived := c.arrived
		c.mu.Unlock()
		select {
		case <-arrived:
		case <-ctx.Done():
			return
		}
		c.watchOnce(ctx, k)
	}
}

// watchOnce watches until nobody waits any more.
func (c *Changes) watchOnce(ctx context.Context, k kind) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := consul.Watch[struct{}]{
		Fetch: func(ctx context.Context, index uint64) (struct{}, uint64, error) {
			if c.idle() {
				cancel()
			}
			next, err := c.store.kv.WaitChange(ctx, c.store.prefix+string(k), index)
			return struct{}{}, next, err
		},
		Report: func(err error) { c.finish(c.begin(), nil, err) },
	}
	_ = w.Run(ctx, func(struct{}) { c.poke() }) // It returns nil.
}

func (c *Changes) idle() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.awaited) == 0
}

// pass reads the indexes of all awaited services.
func (c *Changes) pass(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, changesRead)
	defer cancel()
	pass := c.begin()
	if len(pass.services) == 0 {
		return
	}
	indexes, err := map[string]uint64{}, error(nil)
	if all := pass.services; all[0] == "" { // Any service; it is sorted first.
		indexes[""], err = c.store.ServicesIndex(ctx)
		pass.services = all[1:]
	}
	if err == nil && len(pass.services) > 0 {
		var some map[string]uint64
		some, err = c.store.serviceIndexes(ctx, pass.services)
		maps.Copy(indexes, some)
	}
	if err != nil && ctx.Err() != nil {
		err = errors.Join(wadi.ErrUnavailable, err)
	}
	c.finish(pass, indexes, err)
}

// changesPass is one pass over the awaited services.
type changesPass struct {
	number   uint64
	services []string
}

func (c *Changes) begin() changesPass {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.begun++
	return changesPass{c.begun, slices.Sorted(maps.Keys(c.awaited))}
}

// finish tells the callers what a pass read. Those of services that it did not read wait on,
// unless it failed.
func (c *Changes) finish(p changesPass, indexes map[string]uint64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, a := range c.awaited {
		index, ok := indexes[name]
		if !ok && err == nil || a.pass > p.number {
			continue
		}
		a.pass, a.index, a.err = p.number, index, err
		close(a.read)
		a.read = make(chan struct{})
	}
}
