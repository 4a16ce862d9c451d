package activator

import (
	"net/http"
	"sync"
)

// What a waiting request holds besides its headers: goroutine stacks and
// buffers of net/http, as measured, rounded up.
const (
	waiterBytes    = 20 << 10
	waiterTLSBytes = 64 << 10
)

// How one revision's flood leaves room for others.
const (
	// roomShare is how many times what is free one revision may hold: alone it gets
	// eight ninths of the room, two that come together eight seventeenths each.
	// (Dynamic thresholds, as switches share their buffers: Choudhury and Hahne, 1998.)
	roomShare = 8
	// reservePart of the room is kept for revisions of which few wait, as those that
	// wait don't make room for others that come later.
	reservePart = 10 // One tenth.
	reserveEach = 8  // Requests.
)

// room bounds what waits in the whole agent, and what of that one revision holds.
type room struct {
	maxCount, maxBytes int64

	mu          sync.Mutex
	count, used int64
}

// tenant is what one revision holds of the room. Guarded by the room's mutex.
type tenant struct{ count, used int64 }

// take reserves a place of n bytes for t, or reports false and reserves nothing.
func (m *room) take(t *tenant, n int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.count+1 > m.maxCount || m.used+n > m.maxBytes {
		return false
	}
	if t.count >= reserveEach {
		free, freeBytes := m.maxCount-m.maxCount/reservePart-m.count, m.maxBytes-m.maxBytes/reservePart-m.used
		if t.count >= roomShare*free || t.used >= roomShare*freeBytes {
			return false
		}
	}
	m.count++
	m.used += n
	t.count++
	t.used += n
	return true
}

func (m *room) give(t *tenant, n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.count--
	m.used -= n
	t.count--
	t.used -= n
}

// enter takes the place that r needs, and returns its size.
func (m *room) enter(t *tenant, r *http.Request) (int64, error) {
	n := footprint(r)
	if !m.take(t, n) {
		return 0, full("as many requests wait as may in this agent")
	}
	return n, nil
}

// footprint estimates what r holds in memory while it waits.
func footprint(r *http.Request) int64 {
	n := int64(waiterBytes)
	if r.TLS != nil {
		n = waiterTLSBytes
	}
	n += int64(len(r.RequestURI) + len(r.Host))
	for k, vs := range r.Header {
		for _, v := range vs {
			n += int64(len(k) + len(v) + 32)
		}
	}
	return n
}
