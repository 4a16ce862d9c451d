package conns

import "time"

// How long a connection keeps its slot where all are taken. Consul's check waits a
// second for its answer.
const (
	evictAfter      = time.Second
	evictPlaneAfter = 100 * time.Millisecond
)

// awaitSlot waits until another connection may be accepted.
func (l *Listener) awaitSlot() {
	for {
		l.mu.Lock()
		if len(l.open) < l.max || l.stopping {
			l.mu.Unlock()
			return
		}
		victim, phase := l.victim()
		if l.slotFreed == nil {
			l.slotFreed = make(chan struct{})
		}
		freed := l.slotFreed
		l.mu.Unlock()
		if victim != nil && victim.phase.CompareAndSwap(phase, phaseClosing) {
			_ = victim.drop() // No handler has seen a request of it.
		}
		select {
		case <-freed:
		case <-time.After(l.evictAfter): // A connection may be idle now.
		}
	}
}

// victim returns a connection to evict, and its phase: an idle one, else one whose
// header is slow to come, else, where connections in use are evicted, the one that is in
// use for the longest; nil if there seems to be none. The caller holds the mutex.
func (l *Listener) victim() (slow *conn, phase int32) {
	var busy *conn
	tries := 256 // In random order: the next call tries others.
	for c := range l.open {
		if c.isIdle(l.evictAfter) {
			return c, phaseIdle
		}
		switch old := c.quietFor() >= l.evictAfter; c.phase.Load() {
		case phaseHeader:
			if old {
				slow = c
			}
		case phaseActive:
			if old && (busy == nil || c.since.Load() < busy.since.Load()) {
				busy = c
			}
		}
		if tries--; tries == 0 {
			break
		}
	}
	if slow == nil && l.evictsBusy {
		return busy, phaseActive
	}
	return slow, phaseHeader
}

// admitHTTP2 notes that c speaks HTTP/2. Such a connection is never parked, and has
// buffers for a frame and for what was sent ahead, so a bound of its own holds: a new one
// evicts an idle one. False means that there is none, and c has to end.
func (l *Listener) admitHTTP2(c *conn) bool {
	l.mu.Lock()
	c.http2.Store(true)
	l.http2s++
	var victim *conn
	if l.maxHTTP2 > 0 && l.http2s > l.maxHTTP2 {
		for other := range l.open {
			if other.http2.Load() && other.isIdle(l.evictAfter) {
				victim = other
				break
			}
		}
		if victim == nil {
			l.mu.Unlock()
			return false
		}
	}
	l.mu.Unlock()
	if victim != nil && victim.phase.CompareAndSwap(phaseIdle, phaseClosing) {
		_ = victim.drop() // It was idle.
	}
	return true
}
