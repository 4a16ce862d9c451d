// Package connlimit bounds the connections of a server, and shares them among their owners.
//
// It promises that there are never more connections than the bound, and that a new one is
// refused only when no idle one can be closed for it. It closes no connection in the midst
// of a request.
package connlimit

import (
	"container/heap"
	"sync"
	"time"

	"github.com/wadi-run/wadi/proxy/list"
)

// How one owner's connections leave capacity for others.
const (
	// ownerShare is how many times the free capacity one owner may hold: a single owner gets
	// two thirds of the whole, two owners get two fifths each. However many owners take their
	// share, some capacity is left for the next. (Dynamic thresholds, as switches share their
	// buffers: Choudhury and Hahne, 1998.)
	ownerShare = 2
	// ownerReserve is how many connections an owner may always hold.
	ownerReserve = 8
	// staleAfter is how long the header of a request, or a TLS handshake, may be
	// incomplete before its connection counts as idle.
	staleAfter = time.Second
	// evictTries bounds the idle connections that are considered for one eviction.
	evictTries = 16
)

// State is what a connection is used for, as a [Budget] sees it.
type State int

// The states of a connection.
const (
	Idle    State = iota // Between requests, or before the first.
	Reading              // In a handshake, or in the header of a request.
	Active               // In a request, or upgraded.
)

// Evictable is a connection that a [Budget] may close to make room.
type Evictable interface {
	// HasUnread reports whether bytes have come and were not read: perhaps a request.
	HasUnread() bool
	// Evict closes the connection.
	Evict()
}

// Budget shares the capacity of a listener among the owners of its connections.
//
// It promises that there are never more connections than the capacity, that no owner
// holds more than its share, and that idle connections don't keep a new one out: the
// largest owner's go first, the longest idle before the others. It closes no
// connection in the midst of a request.
type Budget struct {
	max int

	mu      sync.Mutex
	open    int
	owners  map[string]*connOwner
	largest ownerHeap
	idle    list.List[*Slot] // The longest idle first.
	reading list.List[*Slot] // The longest reading first.
}

// NewBudget returns a budget of max connections.
func NewBudget(max int) *Budget {
	return &Budget{max: max, owners: map[string]*connOwner{}}
}

// connOwner holds connections. It is forgotten with the last one.
type connOwner struct {
	name          string
	index         int // In the heap.
	held          int
	idle, reading list.List[*Slot]
}

// Slot is the capacity that one connection takes.
type Slot struct {
	of   *Budget
	conn Evictable

	// Guarded by the budget's mutex.
	owner    *connOwner // Nil: the slot was given back.
	exempt   bool       // Its owner has no bound of its own.
	state    State
	since    time.Time // When the state began.
	all, own list.Node[*Slot]
}

// Admit takes a slot for a new, idle connection of an owner. If none is free it closes an idle
// connection. Nil: there is no idle one either, and the caller closes the new connection. An
// exempt owner is bounded by the whole capacity only.
func (b *Budget) Admit(owner string, exempt bool, c Evictable) *Slot {
	now := time.Now()
	b.mu.Lock()
	victim, ok := b.findSlot(b.owners[owner], exempt, now)
	var s *Slot
	if ok {
		s = &Slot{of: b, conn: c, exempt: exempt, since: now}
		b.open++
		b.attach(s, owner)
	}
	b.mu.Unlock()
	if victim != nil {
		victim.Evict()
	}
	return s
}

// Assign moves the slot to another owner, once that is known. False: that owner holds too
// many connections and none of them is idle; the caller closes the connection.
func (s *Slot) Assign(owner string) bool {
	b := s.of
	now := time.Now()
	b.mu.Lock()
	if s.owner == nil {
		b.mu.Unlock()
		return false
	}
	b.detach(s) // The slot counts as free while its new owner's share is checked.
	b.open--
	victim, ok := b.findSlot(b.owners[owner], false, now)
	if ok {
		s.exempt = false
		b.open++
		b.attach(s, owner)
	}
	b.mu.Unlock()
	if victim != nil {
		victim.Evict()
	}
	return ok
}

// Set notes the connection's new state.
func (s *Slot) Set(state State) {
	b := s.of
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.owner == nil {
		return
	}
	b.unlist(s)
	s.state, s.since = state, time.Now()
	b.enlist(s)
}

// Release gives the slot back. It may be called more than once.
func (s *Slot) Release() {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	s.of.release(s)
}

// EvictIdle closes an idle connection because another resource is short. It reports whether
// there was one.
func (b *Budget) EvictIdle() bool {
	b.mu.Lock()
	victim := b.evictAny(time.Now())
	b.mu.Unlock()
	if victim != nil {
		victim.Evict()
	}
	return victim != nil
}

// Open is how many connections there are.
func (b *Budget) Open() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.open
}

// findSlot returns a connection to close, if that is needed, and whether there is a slot then.
// The caller holds the mutex.
func (b *Budget) findSlot(o *connOwner, exempt bool, now time.Time) (victim Evictable, ok bool) {
	if o != nil && !exempt && o.held >= max(ownerReserve, ownerShare*(b.max-b.open)) {
		victim = b.evict(&o.idle, &o.reading, now)
		return victim, victim != nil
	}
	if b.open < b.max {
		return nil, true
	}
	victim = b.evictAny(now)
	return victim, victim != nil
}

// evictAny evicts one of the largest owner's connections, else any. The caller holds the
// mutex.
func (b *Budget) evictAny(now time.Time) (victim Evictable) {
	if len(b.largest) > 0 {
		victim = b.evict(&b.largest[0].idle, &b.largest[0].reading, now)
	}
	if victim == nil {
		victim = b.evict(&b.idle, &b.reading, now)
	}
	return victim
}

// evict takes the slot of a connection without a request, and returns the connection. The
// caller holds the mutex.
func (b *Budget) evict(idle, reading *list.List[*Slot], now time.Time) Evictable {
	tries := evictTries
	for s := range idle.All() {
		if !s.conn.HasUnread() {
			b.release(s)
			return s.conn
		}
		if tries--; tries == 0 {
			break
		}
	}
	if s := reading.First(); s != nil && now.Sub(s.since) >= staleAfter {
		b.release(s)
		return s.conn
	}
	return nil
}

// release is Release with the mutex held.
func (b *Budget) release(s *Slot) {
	if s.owner != nil {
		b.detach(s)
		b.open--
	}
}

// attach gives s to the owner. The caller holds the mutex.
func (b *Budget) attach(s *Slot, owner string) {
	o := b.owners[owner]
	if o == nil {
		o = &connOwner{name: owner}
		b.owners[owner] = o
		heap.Push(&b.largest, o)
	}
	o.held++
	heap.Fix(&b.largest, o.index)
	s.owner = o
	b.enlist(s)
}

// detach undoes attach. The caller holds the mutex.
func (b *Budget) detach(s *Slot) {
	b.unlist(s)
	o := s.owner
	s.owner = nil
	if o.held--; o.held > 0 {
		heap.Fix(&b.largest, o.index)
		return
	}
	heap.Remove(&b.largest, o.index)
	delete(b.owners, o.name)
}

// enlist puts s into the lists of its state. The caller holds the mutex.
func (b *Budget) enlist(s *Slot) {
	switch s.state {
	case Idle:
		b.idle.PushBack(&s.all, s)
		s.owner.idle.PushBack(&s.own, s)
	case Reading:
		b.reading.PushBack(&s.all, s)
		s.owner.reading.PushBack(&s.own, s)
	}
}

func (b *Budget) unlist(s *Slot) {
	switch s.state {
	case Idle:
		b.idle.Remove(&s.all)
		s.owner.idle.Remove(&s.own)
	case Reading:
		b.reading.Remove(&s.all)
		s.owner.reading.Remove(&s.own)
	}
}

// ownerHeap has the owner of the most connections first.
type ownerHeap []*connOwner

func (h ownerHeap) Len() int           { return len(h) }
func (h ownerHeap) Less(i, j int) bool { return h[i].held > h[j].held }
func (h ownerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements heap.Interface.
func (h *ownerHeap) Push(x any) {
	o := x.(*connOwner)
	o.index = len(*h)
	*h = append(*h, o)
}

// Pop implements heap.Interface.
func (h *ownerHeap) Pop() any {
	old := *h
	o := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return o
}
