package agent

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/consul"
)

// gone remembers the agents that went without a goodbye: one that stops in order takes
// its registration along.
type gone struct {
	mu    sync.Mutex
	since map[string]time.Time // By name.
}

const (
	goneFor = 6 * time.Hour // For which an agent that is gone is told, also once Consul has forgotten it.
	maxGone = 64            // Of them that are remembered.
)

// note takes in what Consul lists.
func (g *gone) note(listed []consul.Instance, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.since == nil {
		g.since = map[string]time.Time{}
	}
	for _, in := range listed {
		name := consul.AgentName(in.ID)
		_, known := g.since[name]
		switch {
		case in.Passing:
			delete(g.since, name)
		case !known:
			g.since[name] = now
		}
	}
	for len(g.since) > maxGone {
		delete(g.since, slices.MinFunc(slices.Sorted(maps.Keys(g.since)), func(a, b string) int { return g.since[a].Compare(g.since[b]) }))
	}
}

// list returns the agents that are gone.
func (g *gone) list(now time.Time) []wadi.GoneAgent {
	g.mu.Lock()
	defer g.mu.Unlock()
	maps.DeleteFunc(g.since, func(_ string, since time.Time) bool { return now.Sub(since) > goneFor })
	var out []wadi.GoneAgent
	for _, name := range slices.Sorted(maps.Keys(g.since)) {
		out = append(out, wadi.GoneAgent{Name: name, Since: g.since[name].UTC().Truncate(time.Second)})
	}
	return out
}

// agentsGone are findings about agents that were there.
func agentsGone(reports []wadi.AgentReport, now time.Time) []wadi.Finding {
	here, all := map[string]bool{}, map[string]wadi.GoneAgent{}
	for _, r := range reports {
		here[r.Name] = true
		for _, g := range r.Gone {
			if was, ok := all[g.Name]; !ok || g.Since.Before(was.Since) {
				all[g.Name] = g
			}
		}
	}
	var out []wadi.Finding
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if here[name] {
			continue
		}
		out = append(out, wadi.Finding{Level: wadi.LevelWarn, About: "agent " + name,
			What: fmt.Sprintf("it was there and is gone since %s (%s ago), without a goodbye: it was killed, hangs, or its machine is away",
				day(all[name].Since), now.Sub(all[name].Since).Truncate(time.Second)),
			Remedy: fmt.Sprintf("start it again; what is gone for good is told for %s", goneFor)})
	}
	return out
}
