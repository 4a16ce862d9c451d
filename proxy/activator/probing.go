package activator

import (
	"context"
	"errors"
	"time"
)

// How long is between two probes of one instance.
const (
	probeFast       = 5 * time.Millisecond
	probeSlow       = 20 * time.Millisecond  // After a second.
	probeSlower     = 250 * time.Millisecond // After five seconds.
	probeSlowest    = time.Second            // After a minute.
	probeMisdirect  = 2 * time.Second        // When something else answered.
	probeGoing      = 100 * time.Millisecond // Of an instance with the order to go: it may yet stay.
	probeGoingEach  = 2 * time.Millisecond   // More where more are probed: many may have that order for minutes.
	probesAtOnce    = 8                      // Of the agent, before they are spaced out.
	probeCrowded    = 100 * time.Millisecond
	probeAttemptMin = 100 * time.Millisecond // Of dial and answer. Grows with the time probed,
	probeAttemptMax = 2 * time.Second        // because a lost SYN must not cost a second.
	minRest         = 10 * time.Millisecond  // Before the probe of an instance that was ready and then
	maxRest         = time.Second            // took no request: twice as long each time.
)

// probing is the probes of one instance, from when it is placed or leaves rotation until
// it is ready again.
type probing struct {
	i       *instance
	conn    prober // Nil: there is none. Kept while the peer keeps it open.
	started time.Time
	// What is reported once is not reported again.
	answered, misdirected bool
}

// probe probes the instance on the traffic path until it is ready or gone, or no request
// has come for a while.
func (i *instance) probe(ctx context.Context) {
	i.r.a.probing.Add(1)
	defer i.r.a.probing.Add(-1)
	p := &probing{i: i}
	defer p.close()
	timer := time.NewTimer(i.restBeforeProbe())
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			i.endProbing()
			return
		}
		v := p.once(ctx)
		if v == isReady {
			if i.r.admitInstance(i, p.conn) {
				p.conn = nil
			}
			return
		}
		if !i.keepProbing(time.Now()) {
			return
		}
		timer.Reset(i.pause(v, time.Since(p.started)))
	}
}

func (p *probing) close() {
	if p.conn != nil {
		p.conn.close()
	}
}

// once probes once, and notes what it finds.
func (p *probing) once(ctx context.Context) verdict {
	if p.started.IsZero() {
		p.started = time.Now()
	}
	i := p.i
	v, err := p.attempt(ctx)
	if v == isUnready && !p.answered {
		p.answered = true
		i.noteAnswer(time.Now())
	}
	if unready := (*unreadyError)(nil); errors.As(err, &unready) {
		i.noteUnready(unready.why)
	}
	if v == isOther && !p.misdirected {
		p.misdirected = true
		i.r.a.cfg.Log.Warn("something else answers at an instance's address", "revision", i.r.id, "instance", i.ep.Instance, "address", i.ep.Addr, "error", err)
	}
	return v
}

// attempt sends one probe, over p's connection if it is still open.
func (p *probing) attempt(ctx context.Context) (verdict, error) {
	ctx, cancel := context.WithTimeout(ctx, min(max(time.Since(p.started), probeAttemptMin), probeAttemptMax))
	defer cancel()
	if p.conn == nil {
		conn, err := p.i.prober(ctx)
		if err != nil {
			return isAway, err
		}
		p.conn = conn
	}
	v, err := p.conn.ask(ctx, p.i.r.service, p.i.ep)
	if !p.conn.open() {
		p.conn.close()
		p.conn = nil
		if v == isReady {
			return v, nil // Ready, but it wants new connections.
		}
	}
	return v, err
}

// prober opens a connection to probe over.
func (i *instance) prober(ctx context.Context) (prober, error) {
	if i.r.protocol.HTTP2() {
		cc, err := i.upstream.Open(ctx)
		if err != nil {
			return nil, err
		}
		return &probeStream{conn: cc}, nil
	}
	c, err := i.r.a.cfg.Dialer.Dial(ctx, i.ep)
	if err != nil {
		return nil, err
	}
	return newProbeConn(c), nil
}

// pause is how long to wait before the next probe.
func (i *instance) pause(v verdict, elapsed time.Duration) time.Duration {
	switch {
	case v == isOther:
		return probeMisdirect
	case v == isGoing:
		return min(max(probeGoing, time.Duration(i.r.a.probing.Load())*probeGoingEach), probeSlowest)
	case elapsed > time.Minute:
		return probeSlowest
	case elapsed > 5*time.Second:
		return probeSlower
	}
	d := probeFast
	if elapsed > time.Second {
		d = probeSlow
	}
	crowd := time.Duration(i.r.a.probing.Load())
	return max(d, min(probeFast*crowd/probesAtOnce, probeCrowded))
}

// admitInstance takes i into rotation, and keeps p for the first request if it can. It
// reports whether p is taken over.
func (r *revision) admitInstance(i *instance, p prober) bool {
	now := time.Now()
	r.mu.Lock()
	i.probing = false
	i.cancelProbe = nil
	if i.gone || i.stopping {
		r.mu.Unlock()
		return false
	}
	r.pool.admit(i, now)
	if q := r.queue.First(); q != nil && r.pool.ready == 1 {
		q.oldest = true
		r.pool.borrowedAt = now // The wait so far was not for the others' shares.
	}
	r.waker.endCold()
	// Without a request at hand the connection would only grow old.
	keep := p != nil && r.queue.Len() > 0
	if keep {
		i.keep(p, now)
	}
	r.grantWaiting(now)
	r.mu.Unlock()
	r.pokeLoop()
	return keep
}

// goes takes i out of rotation, which has the order to go. Probes find out if it stays
// after all.
func (i *instance) goes() {
	i.r.mu.Lock()
	defer i.r.mu.Unlock()
	if i.ready {
		i.r.pool.eject(i)
		i.r.pokeLoop()
	}
}

// noteAnswer notes that i has answered, if only that it is not ready.
func (i *instance) noteAnswer(now time.Time) {
	i.r.mu.Lock()
	defer i.r.mu.Unlock()
	i.answered(now)
}

// noteUnready notes why i is not ready, as it says.
func (i *instance) noteUnready(why string) {
	i.r.mu.Lock()
	defer i.r.mu.Unlock()
	i.r.pool.unreadyReason = why
}

// keepProbing reports whether to probe i again. If not, its probing has ended.
func (i *instance) keepProbing(now time.Time) bool {
	r := i.r
	r.mu.Lock()
	defer r.mu.Unlock()
	if !i.gone && !i.stopping && r.closed == nil && r.isActive(now) {
		return true
	}
	i.probing = false
	i.cancelProbe = nil
	r.pool.probesPaused = true
	return false
}

// endProbing notes that i is not probed any more.
func (i *instance) endProbing() {
	i.r.mu.Lock()
	defer i.r.mu.Unlock()
	i.probing = false
	i.cancelProbe = nil
}
