package membership

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/control"
	"github.com/wadi-run/wadi/internal/consul"
)

const (
	// rosterKeeps is how long an agent that left is remembered: the requests that it
	// counted belong to the load for as long as the longest window.
	rosterKeeps = time.Hour + time.Minute

	// rosterMax bounds the agents that left.
	rosterMax = 1000
)

// roster remembers which agents there were. A missing entry in Consul proves nothing: an
// agent whose node's Consul agent is down, or that drains, is not listed and serves on; and
// an agent that died took the load that it had counted along. Every agent keeps a roster,
// because the next leader has to know which agents there were before its term.
type roster struct {
	name, boot string // This agent's.

	mu  sync.Mutex
	all map[string]*member // By name.
}

// member is an agent that is there or was.
type member struct {
	addr string    // Of its metrics listener.
	seen time.Time // Since when it is known, perhaps from an earlier process.
	left time.Time // Since when it is not listed as healthy; zero: it is.

	listed bool // Consul lists it, healthy or not: for days, if its node is gone.
}

// expired reports whether nothing that it counted belongs to the load any more.
func (m *member) expired(now time.Time) bool {
	return !m.left.IsZero() && now.Sub(m.left) > rosterKeeps
}

// note takes in what Consul lists.
func (r *roster) note(listed []consul.Instance, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all == nil {
		r.all = map[string]*member{}
	}
	passing := map[string]bool{}
	for _, in := range listed {
		addr, name := in.Meta[consul.MetaMetrics], consul.AgentName(in.ID)
		if addr == "" {
			continue
		}
		m := r.all[name]
		if m == nil {
			m = &member{seen: now}
			r.all[name] = m
		}
		if name == r.name && in.Meta[consul.MetaBoot] != r.boot { // An earlier run's, which did not deregister.
			m.seen = now.Add(-rosterKeeps)
		}
		if in.Passing || !passing[name] { // A registration on a lost node may have the same name.
			m.addr = addr
			passing[name] = in.Passing
		}
	}
	for name, m := range r.all {
		_, m.listed = passing[name]
		switch {
		case passing[name]:
			m.left = time.Time{}
		case m.left.IsZero():
			m.left = now
		}
	}
	r.forget(now)
}

// forget drops agents that left long ago, and of too many the ones that left first. An
// expired agent that Consul still lists is kept, or the next note would take it for one that
// has just left.
func (r *roster) forget(now time.Time) {
	var left []string
	for name, m := range r.all {
		switch {
		case m.left.IsZero() || name == r.name:
		case m.expired(now):
			if !m.listed {
				delete(r.all, name)
			}
		default:
			left = append(left, name)
		}
	}
	slices.SortFunc(left, func(a, b string) int { return r.all[b].left.Compare(r.all[a].left) })
	for _, name := range left[min(len(left), rosterMax):] {
		delete(r.all, name)
	}
}

// sources lists this agent, which is at self, and the remembered ones.
func (r *roster) sources(self string, now time.Time) []control.Source {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget(now)
	all := []control.Source{{ID: r.name, Kind: wadi.SourceActivator, Addr: self}}
	for name, m := range r.all {
		if name == r.name {
			all[0].Seen = m.seen
			continue
		}
		if m.expired(now) {
			continue
		}
		all = append(all, control.Source{ID: name, Kind: wadi.SourceActivator, Addr: m.addr, Stopping: !m.left.IsZero(), Seen: m.seen})
	}
	slices.SortFunc(all, func(a, b control.Source) int { return strings.Compare(a.ID, b.ID) })
	return all
}
