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

// Bounds of the submissions whose bodies are read, whose rights are checked, or that wait
// to be evaluated.
const (
	maxSlots        = 32
	maxSlotsPerAddr = 16
	evictAfter      = time.Second     // Read time after which a body may be evicted for an address with fewer slots.
	evictAfterEqual = 4 * time.Second // Read time after which it may be evicted for any other address.
	evictEvery      = 5 * time.Second // Time that an evicted body has to free its slot before another is evicted.
)

// submitSlots bounds the submissions in flight. The rights of their callers are unknown
// while their bodies are read: without a free slot the slowest body of the address with
// the most slots is evicted.
type submitSlots struct {
	seed maphash.Seed

	mu    sync.Mutex
	used  map[*slot]bool
	freed chan struct{} // Closed when a slot is free.
}

// slot is the slot of one submission. submitSlots.mu guards it.
type slot struct {
	slots    *submitSlots
	addr     string
	caller   uint64 // Hash of the token.
	since    time.Time
	reading  bool          // The body is being read: it may be evicted.
	cut      func()        // Ends the reading.
	heir     *slot         // Gets the slot of this evicted one; nil: it is not evicted.
	given    chan struct{} // Closed when this slot has inherited another.
	released bool
}

func newSubmitSlots() *submitSlots {
	return &submitSlots{seed: maphash.MakeSeed(), used: map[*slot]bool{}, freed: make(chan struct{})}
}

// acquire waits for a slot, for at most the time that a body may take.
func (s *submitSlots) acquire(w http.ResponseWriter, r *http.Request) (*slot, error) {
	ctx, cancel := context.WithTimeout(r.Context(), bodyTimeout)
	defer cancel()
	n := &slot{slots: s, addr: addressOf(r), caller: maphash.String(s.seed, nomadToken(r)), reading: true, given: make(chan struct{})}
	n.cut = func() { _ = http.NewResponseController(w).SetReadDeadline(time.Now()) } // Recorders in tests don't support it.
	var evicted time.Time                                                            // Time of the last eviction for this slot.
	for {
		now := time.Now()
		freed, evicts := s.try(n, now, now.Sub(evicted) >= evictEvery)
		if freed == nil {
			return n, nil
		}
		if evicts {
			evicted = now
		}
		again := time.NewTimer(evictAfter / 4)
		select {
		case <-freed:
		case <-n.given:
		case <-again.C:
		case <-ctx.Done():
			again.Stop()
			n.release()
			return nil, unavailable("too many submissions are read or judged at once")
		}
		again.Stop()
	}
}

// try gives n a slot, or evicts a body for it if it may. Without a slot it returns a channel
// that is closed when one is free.
func (s *submitSlots) try(n *slot, now time.Time, mayEvict bool) (freed <-chan struct{}, evicts bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.used[n] {
		return nil, false
	}
	addr, age := s.crowded(n.addr)
	if addr == "" {
		n.since = now
		s.used[n] = true
		return nil, false
	}
	slow := s.slowest(addr, now.Add(-age))
	if !mayEvict || slow == nil {
		return s.freed, false
	}
	slow.reading, slow.heir = false, n
	slow.cut()
	return s.freed, true
}

// crowded is the address that loses a slot to another submission from addr, and the read
// time after which it does; empty: a slot is free. An address with its share of slots loses
// one of its own: however many of its submissions wait, they do not evict those of others.
func (s *submitSlots) crowded(addr string) (crowded string, age time.Duration) {
	count := map[string]int{}
	for n := range s.used {
		count[n.addr]++
	}
	if count[addr] >= maxSlotsPerAddr {
		return addr, evictAfterEqual
	}
	if len(s.used) < maxSlots {
		return "", 0
	}
	for a, n := range count {
		if crowded == "" || n > count[crowded] {
			crowded = a
		}
	}
	switch {
	case count[crowded] > count[addr]+1:
		return crowded, evictAfter
	case count[addr] > 0:
		return addr, evictAfterEqual
	}
	return crowded, evictAfterEqual
}

// slowest is the body from addr to evict: the one that has been read for the longest, of the
// caller with the most slots; nil: none has been read since before.
func (s *submitSlots) slowest(addr string, before time.Time) (slowest *slot) {
	count := map[uint64]int{}
	for n := range s.used {
		if n.addr == addr && n.reading {
			count[n.caller]++
		}
	}
	for n := range s.used {
		if n.addr != addr || !n.reading || n.since.After(before) {
			continue
		}
		if slowest == nil || count[n.caller] > count[slowest.caller] || count[n.caller] == count[slowest.caller] && n.since.Before(slowest.since) {
			slowest = n
		}
	}
	return slowest
}

// bodyRead notes that the body has been read, with err. The slot stays until release.
func (n *slot) bodyRead(err error) error {
	n.slots.mu.Lock()
	defer n.slots.mu.Unlock()
	n.reading = false
	if n.heir != nil && err != nil {
		return unavailable("the body came so slowly that it had to make room for others")
	}
	return err
}

// release frees the slot. It goes to the slot's heir, if that still waits: many others may
// wait too.
func (n *slot) release() {
	s := n.slots
	s.mu.Lock()
	defer s.mu.Unlock()
	n.released = true
	if !s.used[n] {
		return
	}
	delete(s.used, n)
	if h := n.heir; h != nil && !h.released && !s.used[h] {
		h.since = time.Now()
		s.used[h] = true
		close(h.given)
		return
	}
	close(s.freed)
	s.freed = make(chan struct{})
}

// addressOf is the address of the caller; of IPv6 the network of 64 bits, which one
// customer has.
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
