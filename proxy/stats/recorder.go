// Package stats counts the requests of a revision in each second, and how they were answered
// since the start, and serves the counts.
//
// It promises exact integrals of the concurrency, memory only for the seconds in which
// something happened, and a reader that gets a change at once and an
// answer at most once a second. It draws no conclusion from the numbers.
package stats

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/wadi-run/wadi"
)

// Clock counts the seconds of a process since its start, by the monotonic clock.
// All recorders that are served together share a clock, and signal it when they are no longer
// idle.
type Clock struct {
	start time.Time

	mu     sync.Mutex
	active chan struct{} // Closed at the next activity; nil: there is no listener.
	woken  int64         // The second of the last Wake; -1 before the first.
	wakes  int           // Calls of Wake.
}

// NewClock returns a clock that starts now.
func NewClock() *Clock { return &Clock{start: time.Now(), woken: -1} }

// Now is the current second; 0 is the first one.
func (c *Clock) Now() int64 { return int64(time.Since(c.start) / time.Second) }

// Wake ends every poll of the statistics that waits now. A reader whose last answer is of this
// second or older is answered again when the second is over, so that no change is missed
// between two polls.
func (c *Clock) Wake() {
	now := c.Now()
	c.mu.Lock()
	c.woken = now
	c.wakes++
	c.mu.Unlock()
	c.signal()
}

// signal wakes the listeners.
func (c *Clock) signal() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.active != nil {
		close(c.active)
		c.active = nil
	}
}

// listen returns a channel that is closed at the next activity of any recorder.
func (c *Clock) listen() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.active == nil {
		c.active = make(chan struct{})
	}
	return c.active
}

// lastWake is the second of the last Wake, or -1, and the number of calls.
func (c *Clock) lastWake() (second int64, count int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.woken, c.wakes
}

// Recorder keeps the statistics of one revision's requests at one source for each second: the
// exact integral of their number over time, and how many began. It keeps only the seconds in
// which something happened, so an idle recorder is small.
type Recorder struct {
	clock                  *Clock
	source, boot, revision string
	history                int64 // In seconds.

	mu       sync.Mutex
	at       time.Duration // Everything before it is counted.
	inFlight int64
	proxied  int64
	current  second   // The second that at lies in.
	past     []second // Ordered ring from head on, without seconds in which nothing happened.
	head     int
	size     int
	total    time.Duration // Integral since the start.
	begun    uint64        // Since the start.
	tally    *tally        // Nil before the first outcome.
}

// second has the numbers of one whole second. The integrals are in requests times
// nanoseconds, so that sums are exact.
type second struct {
	n                   int64
	busy, busyProxied   int64
	begun, begunProxied uint32
}

func (s *second) empty() bool { return s.busy == 0 && s.begun == 0 }

// NewRecorder returns a recorder with a clock of its own that starts now. It
// keeps the seconds of history, at least one.
func NewRecorder(source, boot, revision string, history time.Duration) *Recorder {
	return NewClock().NewRecorder(source, boot, revision, history)
}

// NewRecorder returns a recorder that counts the seconds of c. The seconds
// before it count as zero.
func (c *Clock) NewRecorder(source, boot, revision string, history time.Duration) *Recorder {
	keep := max(1, int64((history+time.Second-1)/time.Second))
	return &Recorder{clock: c, source: source, boot: boot, revision: revision, history: keep}
}

// Revision is the revision whose requests r counts.
func (r *Recorder) Revision() string { return r.revision }

// Begin counts a request until end is called. Proxied says that an activator also counts it.
// Further calls of end do nothing.
func (r *Recorder) Begin(proxied bool) (end func()) {
	r.Enter(proxied)
	var ended atomic.Bool
	return func() {
		if !ended.Swap(true) {
			r.Leave(proxied)
		}
	}
}

// Enter counts a request until Leave is called, once and with the same proxied: whether an
// activator also counts it. Unlike Begin it allocates nothing.
func (r *Recorder) Enter(proxied bool) {
	r.mu.Lock()
	r.advance()
	wasIdle := r.inFlight == 0 && r.current.empty()
	r.begun++
	r.current.begun++
	r.inFlight++
	if proxied {
		r.current.begunProxied++
		r.proxied++
	}
	r.mu.Unlock()
	if wasIdle {
		r.clock.signal()
	}
}

// Leave ends what Enter began.
func (r *Recorder) Leave(proxied bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.leave(proxied)
}

// leave is Leave for callers that hold the mutex.
func (r *Recorder) leave(proxied bool) {
	r.advance()
	r.inFlight--
	if proxied {
		r.proxied--
	}
}

// InFlight counts the requests that have begun and not ended.
func (r *Recorder) InFlight() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return int(r.inFlight)
}

// Totals are the integral of the requests in flight, in requests times seconds,
// and the number of requests begun, both since the start.
func (r *Recorder) Totals() (busySeconds float64, begun uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.advance()
	return r.total.Seconds(), r.begun
}

// Snapshot returns the samples of the whole seconds from since on. Seconds below Now that are
// not among the samples are zero, unless they are older than the history.
func (r *Recorder) Snapshot(since int64) wadi.Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.advance()
	r.forget()
	st := wadi.Stats{
		Source: r.source, Boot: r.boot, Revision: r.revision,
		Now: int64(r.at / time.Second), Samples: []wadi.Sample{}, Outcomes: r.tally.outcomes(),
	}
	for i := range r.size {
		s := r.past[(r.head+i)%len(r.past)]
		if s.n >= since {
			st.Samples = append(st.Samples, s.sample())
		}
	}
	return st
}

func (s second) sample() wadi.Sample {
	return wadi.Sample{
		N:                  s.n,
		Concurrency:        float64(s.busy) / float64(time.Second),
		ConcurrencyProxied: float64(s.busyProxied) / float64(time.Second),
		Begun:              float64(s.begun),
		BegunProxied:       float64(s.begunProxied),
	}
}

// pending says whether r has a sample of a second from since on, and whether it will have one
// when this second is over.
func (r *Recorder) pending(since int64) (have, coming bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.advance()
	have = r.size > 0 && r.past[(r.head+r.size-1)%len(r.past)].n >= since
	coming = r.inFlight > 0 || r.current.n >= since && !r.current.empty()
	return have, coming
}

// advance counts the requests in flight since the last call, and closes the seconds that are
// over. The caller holds the mutex.
func (r *Recorder) advance() {
	now := max(r.at, time.Since(r.clock.start))
	if r.inFlight == 0 {
		r.turn(int64(now / time.Second))
		r.at = now
		return
	}
	// Requests may have lasted longer than the history: the seconds before it are skipped.
	oldest := time.Duration(int64(now/time.Second)-r.history) * time.Second
	if r.at < oldest {
		r.total += time.Duration(r.inFlight) * (oldest - r.at)
		r.at = oldest
		r.turn(int64(oldest / time.Second))
	}
	for r.at < now {
		r.turn(int64(r.at / time.Second))
		until := min(now, time.Duration(r.current.n+1)*time.Second)
		span := int64(until - r.at)
		r.current.busy += r.inFlight * span
		r.current.busyProxied += r.proxied * span
		r.total += time.Duration(r.inFlight * span)
		r.at = until
	}
	r.turn(int64(now / time.Second))
}

// turn closes the current second if n is a later one.
func (r *Recorder) turn(n int64) {
	if n == r.current.n {
		return
	}
	if !r.current.empty() {
		r.push(r.current)
	}
	r.current = second{n: n}
}

// push keeps s. The ring grows by doubling, up to the history.
func (r *Recorder) push(s second) {
	r.drop(s.n - r.history + 1)
	if r.size == len(r.past) {
		larger := make([]second, min(max(8, 2*len(r.past)), int(r.history)))
		for i := range r.size {
			larger[i] = r.past[(r.head+i)%len(r.past)]
		}
		r.past, r.head = larger, 0
	}
	r.past[(r.head+r.size)%len(r.past)] = s
	r.size++
}

// forget drops the seconds older than the history, and the ring if it is empty.
func (r *Recorder) forget() {
	r.drop(int64(r.at/time.Second) - r.history)
	if r.size == 0 {
		r.past, r.head = nil, 0
	}
}

// drop removes the seconds before oldest.
func (r *Recorder) drop(oldest int64) {
	for r.size > 0 && r.past[r.head].n < oldest {
		r.head = (r.head + 1) % len(r.past)
		r.size--
	}
}
