package server

import (
	"context"
	"hash/maphash"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// Bounds of the submissions whose bodies are read, whose rights are judged, or that
// wait for their turn.
const (
	maxBodies   = 32
	maxBodiesOf = 16              // From one address.
	slowAfter   = time.Second     // A body that has been read for as long makes room for an address that has fewer.
	slowTurn    = 4 * time.Second // And for any other.
	giveWithin  = 5 * time.Second // Within which it does, or another has to.
)

// bodies gives places to submissions. Nobody knows yet what those who are read may do:
// where there is no place left, the slowest of whoever has the most goes.
type bodies struct {
	seed maphash.Seed

	mu    sync.Mutex
	held  map[*place]bool
	freed chan struct{} // Closed when a place is free.
}

// place is one submission's, guarded by bodies.mu.
type place struct {
	of      *bodies
	addr    string
	caller  uint64 // Who says to have the same token is the same.
	since   time.Time
	reading bool // Its body is: it may have to go.
	cut     func()
	heir    *place        // For whom it had to go; nil: it did not.
	given   chan struct{} // Closed when somebody's place has become this one's.
	left    bool          // Nobody waits for it any more.
}

func newBodies() *bodies {
	return &bodies{seed: maphash.MakeSeed(), held: map[*place]bool{}, freed: make(chan struct{})}
}

// enter waits for a place, for as long as a body may take.
func (b *bodies) enter(w http.ResponseWriter, r *http.Request) (*place, error) {
	ctx, cancel := context.WithTimeout(r.Context(), bodyTimeout)
	defer cancel()
	p := &place{of: b, addr: addressOf(r), caller: maphash.String(b.seed, nomadToken(r)), reading: true, given: make(chan struct{})}
	p.cut = func() { _ = http.NewResponseController(w).SetReadDeadline(time.Now()) } // Not all writers can; the server's can.
	var cut time.Time                                                                // When somebody last had to make room for this one.
	for {
		now := time.Now()
		freed, cuts := b.take(p, now, now.Sub(cut) >= giveWithin)
		if freed == nil {
			return p, nil
		}
		if cuts {
			cut = now
		}
		again := time.NewTimer(slowAfter / 4)
		select {
		case <-freed:
		case <-p.given:
		case <-again.C:
		case <-ctx.Done():
			again.Stop()
			p.leave()
			return nil, unavailable("too many submissions are read or judged at once")
		}
		again.Stop()
	}
}

// take gives p a place, or has somebody make room for it, if it may. Without a place it
// returns what is closed when some is free.
func (b *bodies) take(p *place, now time.Time, may bool) (freed <-chan struct{}, cuts bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held[p] {
		return nil, false
	}
	crowd, age := b.crowd(p.addr)
	if crowd == "" {
		p.since = now
		b.held[p] = true
		return nil, false
	}
	slow := b.slowest(crowd, now.Add(-age))
	if !may || slow == nil {
		return b.freed, false
	}
	slow.reading, slow.heir = false, p
	slow.cut()
	return b.freed, true
}

// crowd is the address that has to make room for another submission from addr, with what
// has been read for how long; empty: there is room. One that has its share gets no more
// than a turn of its own: however many wait there, they leave what is slow to others.
func (b *bodies) crowd(addr string) (crowd string, age time.Duration) {
	of := map[string]int{}
	for p := range b.held {
		of[p.addr]++
	}
	if of[addr] >= maxBodiesOf {
		return addr, slowTurn
	}
	if len(b.held) < maxBodies {
		return "", 0
	}
	for a, n := range of {
		if crowd == "" || n > of[crowd] {
			crowd = a
		}
	}
	switch {
	case of[crowd] > of[addr]+1:
		return crowd, slowAfter
	case of[addr] > 0:
		return addr, slowTurn
	}
	return crowd, slowTurn
}

// slowest is the body from an address that has to make room: the one that has been read
// for the longest, of the caller with the most; nil: none has been since before.
func (b *bodies) slowest(addr string, before time.Time) (slowest *place) {
	of := map[uint64]int{}
	for p := range b.held {
		if p.addr == addr && p.reading {
			of[p.caller]++
		}
	}
	for p := range b.held {
		if p.addr != addr || !p.reading || p.since.After(before) {
			continue
		}
		if slowest == nil || of[p.caller] > of[slowest.caller] || of[p.caller] == of[slowest.caller] && p.since.Before(slowest.since) {
			slowest = p
		}
	}
	return slowest
}

// read says that the body is read, or why not. It has its place until it leaves.
func (p *place) read(err error) error {
	p.of.mu.Lock()
	defer p.of.mu.Unlock()
	p.reading = false
	if p.heir != nil && err != nil {
		return unavailable("the body came so slowly that it had to make room for others")
	}
	return err
}

// leave gives the place up, first of all to whom it was to make room for: others who
// wait may be many.
func (p *place) leave() {
	b := p.of
	b.mu.Lock()
	defer b.mu.Unlock()
	p.left = true
	if !b.held[p] {
		return
	}
	delete(b.held, p)
	if h := p.heir; h != nil && !h.left && !b.held[h] {
		h.since = time.Now()
		b.held[h] = true
		close(h.given)
		return
	}
	close(b.freed)
	b.freed = make(chan struct{})
}

// addressOf is where a request comes from; of IPv6 the network, which is one customer's.
func addressOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	if ip = ip.Unmap().WithZone(""); ip.Is6() {
		if network, err := ip.Prefix(64); err == nil {
			return network.String()
		}
	}
	return ip.String()
}
