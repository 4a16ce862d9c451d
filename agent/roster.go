package agent

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
	// rosterKeeps is for how long an agent is remembered that is gone: what it held
	// belongs to the load for as long as the longest window.
	rosterKeeps = time.Hour + time.Minute

	// rosterHolds bounds how many of those are.
	rosterHolds = 1000
)

// roster remembers which agents there were. What Consul lists is no proof: an agent
// whose node's Consul agent is away, or that drains, is not listed and serves on; and
// one that died took the load that it had counted along. Every agent keeps one, as
// whoever leads next has to know what was before.
type roster struct {
	name, boot string // This agent's.

	mu  sync.Mutex
	all map[string]*member
}

// member is an agent that there is or was.
type member struct {
	addr string    // Of its metrics listener.
	seen time.Time // Since when it is known to be there, perhaps in an earlier process.
	left time.Time // Since when it is not listed as healthy; zero: it is.

	listed bool // Consul lists it, healthy or not: for days, if its node is gone.
}

// isGone reports whether it is gone for so long that nothing of it belongs to the load.
func (m *member) isGone(now time.Time) bool { return !m.left.IsZero() && now.Sub(m.left) > rosterKeeps }

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
		if name == r.name && in.Meta[consul.MetaBoot] != r.boot { // Of an earlier run, which has not said goodbye.
			m.seen = now.Add(-rosterKeeps)
		}
		if in.Passing || !passing[name] { // Two may have its name, of which one is gone.
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

// forget drops who is gone for long, and of too many those who are for longest. Who is
// listed all the same is known to be gone: or it would be one that has just left.
func (r *roster) forget(now time.Time) {
	var gone []string
	for name, m := range r.all {
		switch {
		case m.left.IsZero() || name == r.name:
		case m.isGone(now):
			if !m.listed {
				delete(r.all, name)
			}
		default:
			gone = append(gone, name)
		}
	}
	slices.SortFunc(gone, func(a, b string) int { return r.all[b].left.Compare(r.all[a].left) })
	for _, name := range gone[min(len(gone), rosterHolds):] {
		delete(r.all, name)
	}
}

// sources lists the agents as sources of statistics: this one, which is at self, and
// those that there were, which have ended when they do not answer.
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
		if m.isGone(now) {
			continue
		}
		all = append(all, control.Source{ID: name, Kind: wadi.SourceActivator, Addr: m.addr, Stopping: !m.left.IsZero(), Seen: m.seen})
	}
	slices.SortFunc(all, func(a, b control.Source) int { return strings.Compare(a.ID, b.ID) })
	return all
}
