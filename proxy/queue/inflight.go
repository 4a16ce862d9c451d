package queue

import (
	"fmt"
	"sync"
	"time"

	"github.com/wadi-run/wadi/proxy/list"
)

// live holds the requests that are here now. It is bounded by the limiter and
// the connections.
type live struct {
	mu  sync.Mutex
	all list.List[*request] // In the order in which they came.
}

func (l *live) add(x *request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all.PushBack(&x.node, x)
}

func (l *live) remove(x *request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all.Remove(&x.node)
}

// leave tells those that are upgraded, or will be, that the process ends.
func (l *live) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for x := range l.all.All() {
		x.timed.GoAway()
	}
}

func (l *live) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Len()
}

// rest is what a drain waits for.
type rest struct {
	Requests int       `json:"requests"`
	Tunnels  int       `json:"tunnels"`        // Requests that were upgraded.
	Until    time.Time `json:"until,omitzero"` // When they are cut off; zero: the drain does not end the process.
}

func (r rest) String() string {
	s := several(r.Requests, "request") + " and " + several(r.Tunnels, "tunnel")
	if !r.Until.IsZero() {
		s += ", until " + r.Until.UTC().Format(time.RFC3339)
	}
	return s
}

func several(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// rest counts what is left.
func (l *live) rest() (r rest) {
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

// busy reports whether a request is here that counts as activity.
func (l *live) busy() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for x := range l.all.All() {
		if x.counted {
			return true
		}
	}
	return false
}
