//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/control"
	"github.com/wadi-run/wadi/internal/consul"
	"github.com/wadi-run/wadi/internal/intentions"
	"github.com/wadi-run/wadi/internal/mesh"
	"github.com/wadi-run/wadi/proxy/activator"
)

// intentionsSource is Consul, as a guard sees it.
type intentionsSource interface {
	WatchIntentions(ctx context.Context, emit func(consul.Intentions), report func(error)) error
	HiddenIntentions(ctx context.Context, services []string) (map[string]bool, error)
}

// guard judges callers by the intentions of the service that they call. Before it
// knows them nobody may pass; when Consul goes away the last ones stay in force.
type guard struct {
	source intentionsSource
	routes func() map[string]wadi.Route
	log    hclog.Logger

	routed  chan struct{} // Signals that there may be new routes.
	known   chan struct{} // Closed with the first judgement.
	now     atomic.Pointer[judgement]
	told    map[string]bool // Services that were logged as hidden. Run's.
	mu      sync.Mutex
	changed chan struct{} // Closed at the next change, and replaced.
}

// judgement is what is known at one time. It never changes.
type judgement struct {
	table  *intentions.Table
	proved map[string]bool // Services of which every intention is in the table; false: of which none may be read.
	hidden map[string]bool // The latter alone.
}

// asked reports whether it is known of a service if its intentions may be read.
func (j *judgement) asked(service string) bool {
	_, ok := j.proved[service]
	return ok
}

func newGuard(source intentionsSource, routes func() map[string]wadi.Route, log hclog.Logger) *guard {
	return &guard{
		source: source, routes: routes, log: log, routed: make(chan struct{}, 1),
		known: make(chan struct{}), changed: make(chan struct{}), told: map[string]bool{},
	}
}

// routesChanged is to be called when a service may be new.
func (g *guard) routesChanged() {
	select {
	case g.routed <- struct{}{}:
	default:
	}
}

// run keeps the judgement up to date until ctx ends.
func (g *guard) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	latest := make(chan consul.Intentions)
	var watching sync.WaitGroup
	defer watching.Wait()
	watching.Go(func() {
		_ = g.source.WatchIntentions(ctx, func(i consul.Intentions) { // It has no errors.
			select {
			case latest <- i:
			case <-ctx.Done():
			}
		}, func(err error) { g.log.Warn("intentions not readable, the last known stay in force", "error", err) })
	})
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
		if table == nil || !fresh && g.complete() {
			continue
		}
		switch err := g.judge(ctx, table, listed); {
		case err != nil && ctx.Err() == nil:
			g.log.Warn("rights to read intentions not known, the last known stay in force", "error", err)
			retry = time.After(retryUnknown)
		case err == nil:
			fresh = false
			if len(g.now.Load().hidden) > 0 {
				retry = time.After(retryHidden) // Nothing tells when a right is given.
			}
		}
	}
}

// Pauses before the rights to read intentions are asked for again.
const (
	retryUnknown = time.Second
	retryHidden  = 10 * time.Second
)

func names(i consul.Intentions) map[string]bool {
	out := make(map[string]bool, len(i.Entries))
	for _, e := range i.Entries {
		out[e.Name] = true
	}
	return out
}

// complete reports whether the present judgement is about every routed service.
func (g *guard) complete() bool {
	now := g.now.Load()
	if now == nil {
		return false
	}
	for name := range g.routes() {
		if !now.proved[name] {
			return false
		}
	}
	return true
}

// judge takes a table for true once it is known of which services an intention
// would be in it: without the right to read one Consul answers as if there were
// none.
func (g *guard) judge(ctx context.Context, table *intentions.Table, listed map[string]bool) error {
	proved := maps.Clone(listed)
	var ask []string
	for name := range g.routes() {
		if !listed[name] {
			ask = append(ask, name)
		}
	}
	slices.Sort(ask)
	hidden, err := g.source.HiddenIntentions(ctx, ask)
	if err != nil {
		return err
	}
	for _, name := range ask {
		if proved[name] = !hidden[name]; hidden[name] && !g.told[name] {
			g.log.Error("nobody may call a service whose intentions may not be read: the agent's token needs intentions read (or service read)", "service", name)
		}
	}
	g.told = hidden
	first := g.now.Swap(&judgement{table: table, proved: proved, hidden: hidden}) == nil
	g.mu.Lock()
	close(g.changed)
	g.changed = make(chan struct{})
	g.mu.Unlock()
	if first {
		close(g.known)
	}
	return nil
}

// ready waits until every routed service is judged by what there is, or known to
// be hidden.
func (g *guard) ready(ctx context.Context) error {
	select {
	case <-g.known:
	case <-ctx.Done():
		return errors.New("they are not read yet")
	}
	now := g.now.Load()
	for name := range g.routes() {
		if !now.asked(name) {
			return fmt.Errorf("those of service %s are not read yet", name)
		}
	}
	return nil
}

// Caller implements activator.Guard. Nobody calls by the names of Wadi's own parts:
// the gateway has no certificate, and activators call instances alone.
func (g *guard) Caller(r *http.Request) (string, error) {
	if r.TLS == nil {
		return "", errors.New("the connection has no TLS")
	}
	caller, err := mesh.PeerID(*r.TLS)
	if err == nil && (caller == wadi.ServiceGateway || slices.Contains(wadi.Activators(), caller)) {
		g.log.Debug("caller refused: it has a certificate of Wadi's own, which only an agent should be able to get", "caller", caller, "peer", r.RemoteAddr)
		return "", fmt.Errorf("nobody calls as %s", caller)
	}
	return caller, err
}

// Authorize implements activator.Guard, and the gateway's hook. To a service that
// is not in the mesh only intentions that name it apply: anybody reaches its
// instances anyway, and a default that guards the mesh is not meant for it.
func (g *guard) Authorize(caller, service string, r *http.Request) error {
	route, routed := g.routes()[service]
	now := g.judged(r.Context(), service, routed)
	switch {
	case now == nil:
		return fmt.Errorf("%w: the intentions are not read yet", wadi.ErrUnavailable)
	case routed && now.hidden[service]:
		return fmt.Errorf("%w: this agent may not read the intentions of service %s", wadi.ErrUnavailable, service)
	case routed && !now.proved[service]:
		return fmt.Errorf("%w: the intentions of service %s are not read yet", wadi.ErrUnavailable, service)
	case routed && route.Mesh == wadi.MeshOff && !now.table.Names(service):
		return nil
	}
	allowed, why := now.table.Evaluate(caller, service, intentions.Of(r))
	if allowed {
		return nil
	}
	g.log.Debug("caller denied", "caller", caller, "service", service, "reason", why)
	if caller == wadi.ServiceGateway {
		return fmt.Errorf("%w: intentions don't let callers from outside the mesh (source %s) make this request to service %s", wadi.ErrForbidden, caller, service)
	}
	return fmt.Errorf("%w: intentions don't let service %s make this request to service %s", wadi.ErrForbidden, caller, service)
}

// unjudgedWait bounds how long a request waits until the intentions of a service
// that has just come are read: a round trip to Consul, unless that is away.
const unjudgedWait = 3 * time.Second

// judged returns the present judgement. If it is not about a service that is routed
// it waits a while for one that is, so that nobody is turned away who calls a service
// at once when it is there.
func (g *guard) judged(ctx context.Context, service string, routed bool) *judgement {
	now := g.now.Load()
	if now == nil || !routed || now.asked(service) {
		return now
	}
	ctx, cancel := context.WithTimeout(ctx, unjudgedWait)
	defer cancel()
	for {
		changed := g.Changed() // Before looking, so that no change is missed.
		if now = g.now.Load(); now.asked(service) {
			return now
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return now
		}
	}
}

// Missing implements agent.Callers.
func (g *guard) Missing(service string, public bool) (identities []string, known bool) {
	now := g.now.Load()
	if now == nil || !now.proved[service] {
		return nil, false
	}
	return now.table.Missing(service, public), true
}

// Changed implements agent.Callers.
func (g *guard) Changed() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.changed
}

var (
	_ activator.Guard = (*guard)(nil)
	_ control.Callers = (*guard)(nil)
)
