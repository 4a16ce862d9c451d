package activator

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/deadline"
	"github.com/wadi-run/wadi/proxy/upstream"
)

// How long is between two probes of one instance.
const (
	probeFast       = 5 * time.Millisecond
	probeSlow       = 20 * time.Millisecond  // After a second.
	probeSlower     = 250 * time.Millisecond // After five seconds.
	probeSlowest    = time.Second            // After a minute.
	probeMisdirect  = 2 * time.Second        // When somebody else answered.
	probeGoing      = 100 * time.Millisecond // Of one that was told to go: it may yet stay.
	probeGoingEach  = 2 * time.Millisecond   // More where more are probed: of them there may be many for minutes.
	probesAtOnce    = 8                      // Of the agent, before they are spaced out.
	probeCrowded    = 100 * time.Millisecond
	probeAttemptMin = 100 * time.Millisecond // Of dial and answer. Grows with the time probed,
	probeAttemptMax = 2 * time.Second        // because a lost SYN must not cost a second.
	spareFresh      = time.Second            // How old a kept connection may get.
	pingAfter       = 30 * time.Second       // Of silence on an HTTP/2 connection.
	restLeast       = 10 * time.Millisecond  // Before the probe of one that said it is ready, and then
	restMost        = time.Second            // took no request: twice as long each time.
)

// instance is one placed instance of a revision.
type instance struct {
	r        *revision
	ep       wadi.Endpoint // As first seen; its address never changes.
	placed   time.Time     // When it was first seen.
	upstream *upstream.Upstream

	// Guarded by the revision's mutex.
	ready       bool
	probing     bool
	stopping    bool
	gone        bool
	turn        int       // Counts how often it left rotation.
	heardAt     time.Time // When it first answered at all.
	readyAt     time.Time
	inFlight    int
	failures    int // How often it left rotation since a request was answered there.
	slot        int // Among those with room; -1: it has none.
	cancelProbe context.CancelFunc

	mu      sync.Mutex
	spare   net.Conn // The verified connection of the probe, for the first request.
	spareAt time.Time
	known   net.Conn // The same, once it was taken: it has passed the handshake.
}

func newInstance(r *revision, ep wadi.Endpoint, now time.Time) *instance {
	i := &instance{r: r, ep: ep, placed: now, slot: -1}
	cfg := upstream.Config{Addr: ep.Addr, Protocol: r.protocol, Dial: i.dial, Handshake: i.handshake, Header: i.header(), Wadi: true,
		Goes:  func() { r.goes(i) },
		Envoy: r.settings.Load().Mesh == wadi.MeshEnvoy, Unheard: deadline.UnwatchedFor(r.settings.Load().Timeout)}
	if r.protocol.HTTP2() {
		cfg.Dial, cfg.Verify, cfg.Ping = i.open, i.verify, pingAfter
	}
	i.upstream = upstream.New(cfg)
	return i
}

// header is what every request to i says: whom it is for, and that an activator sends it.
func (i *instance) header() http.Header {
	h := http.Header{}
	h.Set(wadi.HeaderService, i.r.service)
	h.Set(wadi.HeaderRevision, i.r.id)
	h.Set(wadi.HeaderInstance, i.ep.Instance)
	h.Set(wadi.HeaderProxied, cmp.Or(string(i.r.settings.Load().Proof), "1"))
	return h
}

// stopProbe says how to end the probe that is about to start.
func (i *instance) stopProbe(cancel context.CancelFunc) {
	i.r.mu.Lock()
	defer i.r.mu.Unlock()
	i.cancelProbe = cancel
	if i.stopping || i.gone {
		cancel()
	}
}

// probe asks the instance on the traffic path until it is ready, gone, or
// nobody is interested.
func (i *instance) probe(ctx context.Context) {
	i.r.a.probing.Add(1)
	defer i.r.a.probing.Add(-1)
	var p prober // Kept while the peer keeps it open.
	defer func() {
		if p != nil {
			p.close()
		}
	}()
	timer := time.NewTimer(i.rest())
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		i.r.probeOff(i)
		return
	}
	started := time.Now()
	for misdirected, heard := false, false; ; {
		var v verdict
		var err error
		p, v, err = i.attempt(ctx, p, time.Since(started))
		if v == isUnready && !heard {
			heard = true
			i.r.heard(i, time.Now())
		}
		if unready := (*unreadyError)(nil); errors.As(err, &unready) {
			i.r.unreadyFor(unready.why)
		}
		if v == isReady {
			if i.r.admit(i, p) {
				p = nil
			}
			return
		}
		if v == isOther && !misdirected {
			misdirected = true
			i.r.a.cfg.Log.Warn("somebody else answers at an instance's address", "revision", i.r.id, "instance", i.ep.Instance, "address", i.ep.Addr, "error", err)
		}
		if !i.r.probeOn(i, time.Now()) {
			return
		}
		timer.Reset(i.pause(v, time.Since(started)))
		select {
		case <-timer.C:
		case <-ctx.Done():
			i.r.probeOff(i)
			return
		}
	}
}

// rest is how long to wait before the first probe. An instance may answer probes and
// yet take no request; those that wait would go there and back without a pause.
func (i *instance) rest() time.Duration {
	i.r.mu.Lock()
	defer i.r.mu.Unlock()
	if i.failures < 2 {
		return 0 // It went away once. Its way back is not to be missed.
	}
	return min(restLeast<<min(i.failures-2, 10), restMost)
}

// attempt asks once, over p if it still is open. It returns the connection if it
// can be used again.
func (i *instance) attempt(ctx context.Context, p prober, elapsed time.Duration) (prober, verdict, error) {
	ctx, cancel := context.WithTimeout(ctx, min(max(elapsed, probeAttemptMin), probeAttemptMax))
	defer cancel()
	if p == nil {
		var err error
		if p, err = i.prober(ctx); err != nil {
			return nil, isAway, err
		}
	}
	v, err := p.ask(ctx, i.r.service, i.ep)
	if !p.open() {
		p.close()
		if v == isReady {
			return nil, v, nil // Ready, but it wants new connections.
		}
		p = nil
	}
	return p, v, err
}

// prober opens a connection to ask over.
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

// pause is how long to wait before the next attempt.
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

// admit takes i into rotation, and keeps p for the first request if it can. It
// reports whether p is taken over.
func (r *revision) admit(i *instance, p prober) bool {
	now := time.Now()
	r.mu.Lock()
	i.probing = false
	i.cancelProbe = nil
	if i.gone || i.stopping {
		r.mu.Unlock()
		return false
	}
	i.ready, i.readyAt = true, now
	if i.heardAt.IsZero() {
		i.heardAt = now
	}
	r.ready++
	r.settle(i)
	if q := r.waiting.First(); q != nil && r.ready == 1 {
		q.oldest = true
		r.lentAt = now // What waited so far did not wait for the others' shares.
	}
	r.cold.since = time.Time{}
	r.cold.failures = 0
	r.cold.err = nil
	// Without a request at hand the connection would only grow old.
	keep := p != nil && r.waiting.Len() > 0
	if keep {
		i.keep(p, now)
	}
	r.serveWaiting(now)
	r.mu.Unlock()
	r.look()
	return keep
}

// goes takes i out of rotation, which was told to go. Probes find out if it stays after all.
func (r *revision) goes(i *instance) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i.ready {
		r.unready(i)
		r.look()
	}
}

// heard notes that i answered, if only that it is not ready.
func (r *revision) heard(i *instance, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i.heardAt.IsZero() {
		i.heardAt = now
	}
}

// unreadyFor notes what an instance lacks, as it says.
func (r *revision) unreadyFor(why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lacks = why
}

// probeOn reports whether i is to be probed further, and notes it if not.
func (r *revision) probeOn(i *instance, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !i.gone && !i.stopping && r.closed == nil && r.wantsProbes(now) {
		return true
	}
	i.probing = false
	i.cancelProbe = nil
	r.paused = true
	return false
}

// probeOff notes that i is not probed any more.
func (r *revision) probeOff(i *instance) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i.probing = false
	i.cancelProbe = nil
}
