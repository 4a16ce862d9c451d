package upstream

import (
	"context"
	"net"
	"slices"
	"time"
)

// slowDial is after how long a request that dials takes a connection that came free as
// well. A peer whose listen queue is full drops what asks for a connection, and the
// kernel asks again a second later.
const slowDial = 100 * time.Millisecond

// dialled is what came of a dial.
type dialled struct {
	conn *http1Conn
	err  error
}

// connect dials, having leave to. Unless it is to be a fresh connection, one that comes
// free meanwhile will do.
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

// connectOrTake waits for a dial, or for a connection that comes free. Then the dial is
// to be given up by the caller.
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

// open1 dials once, and gives the leave to dial back.
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

// endDial gives the leave to dial on to the one that waits longest.
func (p *http1Pool) endDial() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waiting) > 0 && p.dialing <= dialsAtOnce {
		p.next(nil)
		return
	}
	p.dialing--
}

// dialPeer is the dial of a peer for which none is configured. It is given up when its
// time is over and the peer has answered nobody meanwhile: one that serves its callers
// one after another may have a queue that is longer than that.
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
