package membership

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/consul"
)

const (
	// LostFor is how long a lost agent is remembered, even once Consul has dropped it.
	LostFor = 6 * time.Hour

	maxLost = 64 // Agents that are remembered.
)

// lost remembers the agents that vanished without deregistering: they were killed, or
// hang, or their machine is down. An agent that stops in order deregisters.
type lost struct {
	mu    sync.Mutex
	since map[string]time.Time // By name.
}

// note takes in what Consul lists.
func (l *lost) note(listed []consul.Instance, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.since == nil {
		l.since = map[string]time.Time{}
	}
	for _, in := range listed {
		name := consul.AgentName(in.ID)
		_, known := l.since[name]
		switch {
		case in.Passing:
			delete(l.since, name)
		case !known:
			l.since[name] = now
		}
	}
	for len(l.since) > maxLost {
		delete(l.since, slices.MinFunc(slices.Sorted(maps.Keys(l.since)), func(a, b string) int { return l.since[a].Compare(l.since[b]) }))
	}
}

func (l *lost) list(now time.Time) []wadi.LostAgent {
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.DeleteFunc(l.since, func(_ string, since time.Time) bool { return now.Sub(since) > LostFor })
	var out []wadi.LostAgent
	for _, name := range slices.Sorted(maps.Keys(l.since)) {
		out = append(out, wadi.LostAgent{Name: name, Since: l.since[name].UTC().Truncate(time.Second)})
	}
	return out
}
