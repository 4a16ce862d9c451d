package queue

import (
	"fmt"
	"sync"
	"time"

	"github.com/wadi-run/wadi/proxy/list"
)

// inFlight holds the requests from their arrival to their end. The limiter and the number
// of connections bound it.
type inFlight struct {
	mu  sync.Mutex
	all list.List[*request] // In the order in which they came.
}

func (l *inFlight) add(x *request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all.PushBack(&x.node, x)
}

func (l *inFlight) remove(x *request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all.Remove(&x.node)
}

// endTunnels ends upgraded requests, also those that are upgraded later: the process ends.
func (l *inFlight) endTunnels() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for x := range l.all.All() {
		x.tracker.GoAway()
	}
}

func (l *inFlight) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Len()
}

// remaining is what a drain still waits for.
type remaining struct {
	Requests int       `json:"requests"`
	Tunnels  int       `json:"tunnels"`        // Requests that were upgraded.
	Until    time.Time `json:"until,omitzero"` // Time at which they are aborted; zero: the drain does not end the process.
}

func (r remaining) String() string {
	s := plural(r.Requests, "request") + " and " + plural(r.Tunnels, "tunnel")
	if !r.Until.IsZero() {
		s += ", until " + r.Until.UTC().Format(time.RFC3339)
	}
	return s
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// remaining counts the requests that are left.
func (l *inFlight) remaining() (r remaining) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for x := range l.all.All() {
		if x.upgraded.Load() {
			r.Tunnels++
		} else {
			r.Requests++
		}
	}
	return r
}

// hasActivity reports whether one of the requests counts as activity.
func (l *inFlight) hasActivity() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for x := range l.all.All() {
		if x.counted {
			return true
		}
	}
	return false
}
