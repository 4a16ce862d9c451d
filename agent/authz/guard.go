// Package authz decides which caller may call which service, by the intentions in
// Consul.
//
// It promises that no request passes before the intentions of its service are known to
// be complete: without the right to read an intention, Consul answers as if there were
// none. It promises that the last known intentions stay in force while Consul is away.
// It refuses to identify callers by addresses or headers: an identity is a certificate of
// the mesh, or the gateway.
package authz

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/consul"
	"github.com/wadi-run/wadi/internal/intentions"
)

// Pauses before the rights to read intentions are asked for again.
const (
	retryUnknown = time.Second
	retryHidden  = 10 * time.Second
)

// Source is the part of Consul that a guard reads.
type Source interface {
	// WatchIntentions emits all intentions at each change, until ctx ends.
	WatchIntentions(ctx context.Context, emit func(consul.Intentions), report func(error)) error
	// UnlistedIntentions looks for the intentions of services that a list lacks.
	UnlistedIntentions(ctx context.Context, services []string) (consul.Unlisted, error)
}

var _ Source = (*consul.Client)(nil)

// Guard authorizes callers by the intentions of the called service. Make it with New.
// Its methods may be called at any time, from any goroutine.
type Guard struct {
	source Source
	routes func() map[string]wadi.Route
	log    hclog.Logger

	routed chan struct{} // Signals that routes may be new.
	known  chan struct{} // Closed with the first snapshot.
	now    atomic.Pointer[snapshot]
	logged map[string]bool // Services that were logged as hidden. Only Run uses it.

	mu      sync.Mutex
	changed chan struct{} // Closed at the next change, and replaced.
}

// snapshot is what is known at one time. It never changes.
type snapshot struct {
	table    *intentions.Table
	complete map[string]bool // By service: true if the table has all of its intentions, false if the token may read none.
	hidden   map[string]bool // The services for which complete is false.
}

// covers reports whether it is known if the intentions of a service may be read.
func (s *snapshot) covers(service string) bool {
	_, ok := s.complete[service]
	return ok
}

// New returns a guard of the services in routes. It authorizes nothing until Run has
// read the intentions.
func New(source Source, routes func() map[string]wadi.Route, log hclog.Logger) *Guard {
	return &Guard{
		source: source, routes: routes, log: log, routed: make(chan struct{}, 1),
		known: make(chan struct{}), changed: make(chan struct{}), logged: map[string]bool{},
	}
}

// RoutesChanged makes Run look for services whose intentions are not known yet.
func (g *Guard) RoutesChanged() {
	select {
	case g.routed <- struct{}{}:
	default:
	}
}

// Run keeps the intentions up to date until ctx ends. It returns nil.
func (g *Guard) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	latest, startOver := make(chan consul.Intentions), make(chan struct{})
	var watching sync.WaitGroup
	defer watching.Wait()
	watching.Go(func() { g.watch(ctx, latest, startOver) })
	var table *intentions.Table
	var listed map[string]bool
	var retry <-chan time.Time
	for fresh := false; ; {
		select {
		case <-ctx.Done():
			return nil
		case i := <-latest:
			table, listed, fresh = intentions.New(i.Entries, i.DefaultAllow), names(i), true
		case <-g.routed:
		case <-retry:
		}
		retry = nil
		if table == nil || !fresh && g.allComplete() {
			continue
		}
		switch err := g.refresh(ctx, table, listed); {
		case errors.Is(err, errIncomplete):
			table = nil // The last known stay in force until there is a whole list.
			select {
			case startOver <- struct{}{}:
			case <-ctx.Done():
			}
		case err != nil && ctx.Err() == nil:
			g.log.Warn("rights to read intentions not known, the last known stay in force", "error", err)
			retry = time.After(retryUnknown)
		case err == nil:
			fresh = false
			if len(g.now.Load().hidden) > 0 {
				retry = time.After(retryHidden) // Consul does not signal that a right was given.
			}
		}
	}
}

// watch sends all intentions at each change, until ctx ends. What comes from startOver makes
// it read them again, with the rights of then.
func (g *Guard) watch(ctx context.Context, latest chan<- consul.Intentions, startOver <-chan struct{}) {
	for ctx.Err() == nil {
		once, cancel := context.WithCancel(ctx)
		var ended sync.WaitGroup
		ended.Go(func() {
			_ = g.source.WatchIntentions(once, func(i consul.Intentions) { // Errors go to the report function.
				select {
				case latest <- i:
				case <-once.Done():
				}
			}, func(err error) { g.log.Warn("intentions not readable, the last known stay in force", "error", err) })
		})
		select {
		case <-startOver:
			_ = wadi.Sleep(ctx, retryUnknown) // Bounds the questions, should the next list lack something too.
		case <-ctx.Done():
		}
		cancel()
		ended.Wait()
	}
}

func names(i consul.Intentions) map[string]bool {
	out := make(map[string]bool, len(i.Entries))
	for _, e := range i.Entries {
		out[e.Name] = true
	}
	return out
}

// allComplete reports whether all intentions of every routed service are known.
func (g *Guard) allComplete() bool {
	now := g.now.Load()
	if now == nil {
		return false
	}
	for name := range g.routes() {
		if !now.complete[name] {
			return false
		}
	}
	return true
}

// errIncomplete is a list of intentions that lacks some which can be read now: Consul made it
// with the rights that the token had when the query began.
var errIncomplete = errors.New("the list of intentions is not complete")

// refresh puts a table in force once it is known for which services it is complete:
// without the right to read an intention, Consul answers as if there were none.
func (g *Guard) refresh(ctx context.Context, table *intentions.Table, listed map[string]bool) error {
	complete := maps.Clone(listed)
	var ask []string
	for name := range g.routes() {
		if !listed[name] {
			ask = append(ask, name)
		}
	}
	slices.Sort(ask)
	unlisted, err := g.source.UnlistedIntentions(ctx, ask)
	if err != nil {
		return err
	}
	for name := range unlisted.Present {
		if !listed[name] {
			return errIncomplete
		}
	}
	hidden := unlisted.Hidden
	for _, name := range ask {
		if complete[name] = !hidden[name]; hidden[name] && !g.logged[name] {
			g.log.Error("no caller may call a service whose intentions may not be read: the agent's token needs intentions read (or service read)", "service", name)
		}
	}
	g.logged = hidden
	first := g.now.Swap(&snapshot{table: table, complete: complete, hidden: hidden}) == nil
	g.mu.Lock()
	close(g.changed)
	g.changed = make(chan struct{})
	g.mu.Unlock()
	if first {
		close(g.known)
	}
	return nil
}

// Ready waits until, for every routed service, its intentions are known, or it is known
// that they may not be read. The error says what is missing when ctx ends.
func (g *Guard) Ready(ctx context.Context) error {
	select {
	case <-g.known:
	case <-ctx.Done():
		return errors.New("they are not read yet")
	}
	now := g.now.Load()
	for name := range g.routes() {
		if !now.covers(name) {
			return fmt.Errorf("those of service %s are not read yet", name)
		}
	}
	return nil
}

// Hidden is the number of services whose intentions the agent's token may not read, so
// that no caller may call them. It is 0 while nothing is known.
func (g *Guard) Hidden() int {
	if now := g.now.Load(); now != nil {
		return len(now.hidden)
	}
	return 0
}

// Missing returns which identities of Wadi's own parts the intentions do not let call a
// service: its activators, and the gateway if the service is public. known is false
// while its intentions are not known.
func (g *Guard) Missing(service string, public bool) (identities []string, known bool) {
	now := g.now.Load()
	if now == nil || !now.complete[service] {
		return nil, false
	}
	return now.table.Missing(service, public), true
}

// Changed returns a channel that is closed at the next change of what is known.
func (g *Guard) Changed() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.changed
}
