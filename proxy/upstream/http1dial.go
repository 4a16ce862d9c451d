package upstream

import (
	"context"
	"net"
	"slices"
	"time"
)

// slowDial is how long a request waits for its own dial alone. Then it also takes a
// connection that becomes free. A peer whose listen queue is full drops requests for
// connections, and the kernel asks again a second later.
const slowDial = 100 * time.Millisecond

// dialled is the result of a dial.
type dialled struct {
	conn *http1Conn
	err  error
}

// connect dials; the caller has a dial slot. Unless the connection must be fresh, it takes one
// that becomes free meanwhile.
func (p *http1Pool) connect(ctx context.Context, fresh bool) (*http1Conn, error) {
	dialCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan dialled, 1)
	go func() { done <- p.open1(dialCtx) }() // It ends with its context.
	if !fresh {
		late := time.NewTimer(slowDial)
		defer late.Stop()
		select {
		case d := <-done:
			return p.first(ctx, d)
		case <-late.C:
			return p.connectOrTake(ctx, done)
		}
	}
	return p.first(ctx, <-done)
}

// connectOrTake waits for a dial, or for a connection that becomes free. In that case the
// caller cancels the dial.
func (p *http1Pool) connectOrTake(ctx context.Context, done <-chan dialled) (*http1Conn, error) {
	turn := make(chan *http1Conn, 1)
	p.mu.Lock()
	p.slow = append(p.slow, turn)
	p.mu.Unlock()
	select {
	case c := <-turn:
		go func() { // It ends with the context of the dial.
			if d := <-done; d.err == nil {
				p.put(d.conn)
			}
		}()
		return p.taken(ctx, c), nil
	case d := <-done:
		p.mu.Lock()
		i := slices.Index(p.slow, turn)
		if i >= 0 {
			p.slow = slices.Delete(p.slow, i, i+1)
		}
		p.mu.Unlock()
		if i < 0 { // Both at the same moment.
			p.put(<-turn)
		}
		return p.first(ctx, d)
	}
}

// open1 dials once, and gives the dial slot back.
func (p *http1Pool) open1(ctx context.Context) dialled {
	conn, err := p.dial(ctx)
	p.endDial()
	if err != nil {
		return dialled{err: err}
	}
	p.mu.Lock()
	p.open++
	p.mu.Unlock()
	return dialled{conn: newHTTP1Conn(p, conn)}
}

// first notes the first use of a connection that was dialled.
func (p *http1Pool) first(ctx context.Context, d dialled) (*http1Conn, error) {
	if d.err != nil {
		return nil, d.err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.use(d.conn, ctx)
	return d.conn, nil
}

// endDial hands the dial slot to the request that has waited longest.
func (p *http1Pool) endDial() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waiting) > 0 && p.dialing <= dialsAtOnce {
		p.next(nil)
		return
	}
	p.dialing--
}

// dialPeer is the default dial. A dial that times out is tried again if the peer has answered
// other requests meanwhile: a peer that serves its callers one after another may have a
// queue that is longer than the timeout.
func (u *Upstream) dialPeer(ctx context.Context) (net.Conn, error) {
	d := net.Dialer{Timeout: u.cfg.DialTimeout}
	for {
		before := u.answers.Load()
		conn, err := d.DialContext(ctx, "tcp", u.cfg.Addr)
		if err == nil || !isTimeout(err) || ctx.Err() != nil || u.answers.Load() == before {
			return conn, err
		}
	}
}
