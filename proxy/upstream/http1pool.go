package upstream

import (
	"context"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/wadi-run/wadi/proxy/list"
	"github.com/wadi-run/wadi/proxy/socket"
)

const (
	// dialsAtOnce is how many connections to one peer are opened at once. Further requests are
	// served sooner over a connection that becomes free.
	dialsAtOnce = 32
	// watchTick is the default of [Config.Unwatched]: a request's context is watched after
	// between one and two ticks. Watching costs more than most requests take.
	watchTick = 20 * time.Millisecond
)

// http1Pool holds the HTTP/1.1 connections to one peer. No goroutine reads an idle
// connection: it is checked before it is used again.
type http1Pool struct {
	dial         func(context.Context) (net.Conn, error)
	idleTimeout  time.Duration
	linger       time.Duration // See Config, as for the next.
	unwatchedFor time.Duration
	buffers      *buffers
	calls        socket.Calls
	distrusted   func() // Called once, when the peer is no longer trusted; may be nil.

	mu      sync.Mutex
	idle    []*http1Conn      // The last one used is taken first.
	reaping bool              // A timer will close those that are idle for too long.
	dialing int               // Dial slots in use.
	waiting []chan *http1Conn // Requests that wait for a connection, or for a dial slot (nil); oldest first.
	slow    []chan *http1Conn // Requests with a slow dial, which also take a connection; oldest first.
	open    int               // Connections, in use or not.
	closed  bool
	single  bool // The peer is not trusted: each connection carries one request.

	unwatched list.List[*http1Conn] // In use, and the request's context is not watched yet.
	ticking   bool
	tick      uint64
}

func newHTTP1Pool(dial func(context.Context) (net.Conn, error), idle time.Duration, b *buffers) *http1Pool {
	return &http1Pool{dial: dial, idleTimeout: idle, unwatchedFor: watchTick, buffers: b}
}

// get returns a connection for a request: an idle one, which the caller has to check, or a
// new one. With fresh it is always new. If ctx ends before the connection is given back, it
// is closed.
func (p *http1Pool) get(ctx context.Context, fresh bool) (*http1Conn, error) {
	if !fresh {
		if c := p.takeIdle(ctx); c != nil {
			return c, nil
		}
	}
	c, err := p.dialSlot(ctx, fresh)
	if c != nil || err != nil {
		return c, err
	}
	return p.connect(ctx, fresh)
}

// takeIdle takes the idle connection that was used last; nil if there is none.
func (p *http1Pool) takeIdle(ctx context.Context) *http1Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.idle)
	if n == 0 {
		return nil
	}
	c := p.idle[n-1]
	p.idle[n-1] = nil
	p.idle = p.idle[:n-1]
	c.reused = true
	p.use(c, ctx)
	return c
}

// dialSlot waits for a dial slot, or takes a connection that becomes free; both nil: the
// caller has a dial slot.
func (p *http1Pool) dialSlot(ctx context.Context, fresh bool) (*http1Conn, error) {
	p.mu.Lock()
	if p.dialing < dialsAtOnce || fresh {
		p.dialing++
		p.mu.Unlock()
		return nil, nil
	}
	turn := make(chan *http1Conn, 1)
	p.waiting = append(p.waiting, turn)
	p.mu.Unlock()
	select {
	case c := <-turn:
		return p.taken(ctx, c), nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	i := slices.Index(p.waiting, turn)
	if i >= 0 {
		p.waiting = slices.Delete(p.waiting, i, i+1)
	}
	p.mu.Unlock()
	if i < 0 { // It was served at the same moment.
		if c := <-turn; c != nil {
			p.put(c)
		} else {
			p.endDial()
		}
	}
	return nil, context.Cause(ctx)
}

// taken notes the use of a connection that was handed over; nil is a dial slot.
func (p *http1Pool) taken(ctx context.Context, c *http1Conn) *http1Conn {
	if c != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		c.reused = true
		p.use(c, ctx)
	}
	return c
}

// next hands c to the request that has waited longest. The caller holds the mutex.
func (p *http1Pool) next(c *http1Conn) {
	p.waiting[0] <- c
	p.waiting[0] = nil
	p.waiting = p.waiting[1:]
}

// put takes back a connection that may be used again.
func (p *http1Pool) put(c *http1Conn) {
	c.release()
	if !p.done(c) || !p.keep(c) {
		p.discardUnused(c)
	}
}

// keep hands c to a request that waits, or keeps it idle. False: c is to be closed.
func (p *http1Pool) keep(c *http1Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed || p.single:
		return false
	case len(p.slow) > 0:
		p.slow[0] <- c
		p.slow = slices.Delete(p.slow, 0, 1)
		return true
	case len(p.waiting) > 0:
		p.next(c)
		return true
	case len(p.idle) >= MaxIdleConns:
		return false
	}
	c.idleSince = time.Now()
	p.idle = append(p.idle, c)
	if !p.reaping {
		p.reaping = true
		time.AfterFunc(p.idleTimeout, p.reap)
	}
	return true
}

// discard closes a connection that is in use.
func (p *http1Pool) discard(c *http1Conn) {
	c.release()
	p.done(c)
	p.discardUnused(c)
}

func (p *http1Pool) discardUnused(c *http1Conn) {
	_ = c.Close() // No request needs it any more.
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open--
}

// reap closes connections that have been idle for too long.
func (p *http1Pool) reap() {
	p.mu.Lock()
	end := time.Now().Add(-p.idleTimeout)
	n := 0 // The oldest come first.
	for n < len(p.idle) && !p.idle[n].idleSince.After(end) {
		n++
	}
	old := slices.Clone(p.idle[:n])
	p.idle = slices.Delete(p.idle, 0, n)
	p.reaping = len(p.idle) > 0
	if p.reaping {
		time.AfterFunc(p.idle[0].idleSince.Sub(end), p.reap)
	}
	p.mu.Unlock()
	for _, c := range old {
		p.discardUnused(c)
	}
}

// close closes the idle connections, and those in use as they are given back.
func (p *http1Pool) close() {
	p.mu.Lock()
	p.closed = true
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
	for _, c := range idle {
		p.discardUnused(c)
	}
}

// distrust makes each connection carry one request only from now on: the peer sends more than
// its answers. Such bytes can't be distinguished from the answer to the connection's next request.
func (p *http1Pool) distrust() {
	p.mu.Lock()
	if p.single {
		p.mu.Unlock()
		return
	}
	p.single = true
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
	for _, c := range idle {
		p.discardUnused(c)
	}
	if p.distrusted != nil {
		p.distrusted()
	}
}

// counts returns how many connections are open, and how many of them idle.
func (p *http1Pool) counts() (open, idle int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open, len(p.idle)
}

// use notes that c is in use for a request whose context is ctx. The caller holds
// the mutex.
func (p *http1Pool) use(c *http1Conn, ctx context.Context) {
	c.ctx, c.tick, c.interrupted = ctx, p.tick, false // No other goroutine uses c.
	p.unwatched.PushBack(&c.node, c)
	if !p.ticking {
		p.ticking = true
		time.AfterFunc(p.unwatchedFor, p.watch)
	}
}

// done ends c's use. False means that its context has ended, and c is closed.
func (p *http1Pool) done(c *http1Conn) bool {
	p.mu.Lock()
	stop := c.stop
	p.unwatched.Remove(&c.node)
	c.stop, c.ctx = nil, nil
	p.mu.Unlock()
	return stop == nil || stop()
}

// watch begins to watch the contexts of requests that take longer than a tick.
func (p *http1Pool) watch() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := p.unwatched.First(); c != nil && c.tick < p.tick; c = p.unwatched.First() {
		p.unwatched.Remove(&c.node)
		c.stop = context.AfterFunc(c.ctx, c.abort)
	}
	p.tick++
	p.ticking = p.unwatched.Len() > 0
	if p.ticking {
		time.AfterFunc(p.unwatchedFor, p.watch)
	}
}
