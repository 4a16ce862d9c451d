// Package membership knows which Wadi agents there are, by what Consul lists and listed.
//
// It promises to remember agents that Consul no longer lists for as long as the load that
// they counted matters, and to be bounded. It refuses to conclude from a missing entry that
// an agent is dead: one whose node's Consul agent is down is not listed and serves on. It
// makes no calls: its owner gives it what Consul lists.
package membership

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/control"
	"github.com/wadi-run/wadi/internal/consul"
)

// Self identifies this agent among the others.
type Self struct {
	Name   string // Unique in an installation.
	Boot   string // Different in each run of the agent.
	Prefix string // Of the installation's keys in Consul.
}

// Members is the set of agents, as one agent knows it. Make it with New. It is safe for
// concurrent use.
type Members struct {
	self   Self
	log    hclog.Logger
	roster roster
	lost   lost

	alive    atomic.Pointer[[]consul.Instance]
	conflict atomic.Pointer[string]
	presence atomic.Pointer[consul.Presence]

	mu      sync.Mutex
	healthy map[string]int // By service of Wadi's own.
}

// New returns the members before Consul has listed any.
func New(self Self, log hclog.Logger) *Members {
	m := &Members{self: self, log: log, roster: roster{name: self.Name, boot: self.Boot}, healthy: map[string]int{}}
	m.alive.Store(&[]consul.Instance{})
	m.conflict.Store(new(string))
	return m
}

// Note takes in all agents that Consul lists, healthy or not, and returns how many of this
// installation are healthy. An agent of another installation is no member; it is logged.
func (m *Members) Note(listed []consul.Instance, now time.Time) (alive int) {
	managed, foreign := byPrefix(listed, m.self.Prefix)
	m.roster.note(managed, now)
	m.lost.note(managed, now)
	passing := consul.Passing(managed)
	m.alive.Store(&passing)
	m.SetHealthy(wadi.ServiceAgent, len(passing))
	why := foreignConflict(consul.Passing(foreign), m.self.Name, m.self.Prefix)
	if old := m.conflict.Swap(&why); why != "" && *old != why {
		m.log.Error("another installation uses this Consul", "error", why)
	}
	return len(passing)
}

// Alive returns the agents that Consul lists as healthy, this one included. The slice must
// not be changed.
func (m *Members) Alive() []consul.Instance { return *m.alive.Load() }

// Conflict says which agent of another installation is alive in this datacenter; empty if
// there is none.
func (m *Members) Conflict() string { return *m.conflict.Load() }

// Sources returns the agents as sources of statistics: this one, whose metrics listener is
// at self, and all that there were within the longest window. Those that are not listed as
// healthy are marked as stopping.
func (m *Members) Sources(self string, now time.Time) []control.Source {
	return m.roster.sources(self, now)
}

// Lost returns the agents that vanished without deregistering.
func (m *Members) Lost(now time.Time) []wadi.LostAgent { return m.lost.list(now) }

// Joined sets this agent's registration in Consul.
func (m *Members) Joined(p *consul.Presence) { m.presence.Store(p) }

// Registration returns this agent's registration. valid is false before there is one, and
// while Consul takes it for dead.
func (m *Members) Registration() (p *consul.Presence, valid bool) {
	p = m.presence.Load()
	return p, p != nil && !time.Now().After(p.AliveUntil())
}

// Unlisted reports whether Consul has this agent's registration and does not list it, as
// happens to a token without the right to read its node.
func (m *Members) Unlisted() bool {
	self, valid := m.Registration()
	return valid && !Lists(m.Alive(), self)
}
