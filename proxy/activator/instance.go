package activator

import (
	"cmp"
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/deadline"
	"github.com/wadi-run/wadi/proxy/upstream"
)

// pingAfter is after how much silence an HTTP/2 connection is pinged.
const pingAfter = 30 * time.Second

// instance is one placed instance of a revision.
type instance struct {
	r        *revision
	ep       wadi.Endpoint // As first seen; its address never changes.
	placed   time.Time     // When it was first seen.
	upstream *upstream.Upstream

	// The revision's mutex guards these; pool changes them.
	ready       bool // In rotation.
	probing     bool
	stopping    bool          // It is stopped in Nomad, and has not ended yet.
	gone        bool          // Not in the pool any more.
	ejections   int           // How often it left rotation.
	pull        wadi.PullTime // As Nomad reported it last.
	answeredAt  time.Time     // When it first answered a probe, ready or not; zero: it has not.
	readyAt     time.Time
	inFlight    int
	failures    int // How often it left rotation since a request was answered there.
	index       int // In the pool's available; -1: it is not there.
	cancelProbe context.CancelFunc

	mu      sync.Mutex
	spare   net.Conn // The verified connection of the probe, for the first request.
	spareAt time.Time
	known   net.Conn // The same, once it was taken: it has passed the handshake.
}

func newInstance(r *revision, ep wadi.Endpoint, now time.Time) *instance {
	i := &instance{r: r, ep: ep, placed: now, index: -1}
	cfg := upstream.Config{Addr: ep.Addr, Protocol: r.protocol, Dial: i.dial, Handshake: i.handshake, Header: i.header(), Wadi: true,
		Leaving: i.goes,
		Envoy:   r.settings.Load().Mesh == wadi.MeshEnvoy, Unwatched: deadline.UnwatchedFor(r.settings.Load().Timeout)}
	if r.protocol.HTTP2() {
		cfg.Dial, cfg.Verify, cfg.Ping = i.open, i.verify, pingAfter
	}
	i.upstream = upstream.New(cfg)
	return i
}

// header is what every request to i has: its destination, and the proof that an activator
// sends it.
func (i *instance) header() http.Header {
	h := http.Header{}
	h.Set(wadi.HeaderService, i.r.service)
	h.Set(wadi.HeaderRevision, i.r.id)
	h.Set(wadi.HeaderInstance, i.ep.Instance)
	h.Set(wadi.HeaderProxied, cmp.Or(string(i.r.settings.Load().Proof), "1"))
	return h
}

// answered notes that i has answered a probe. The caller holds the revision's mutex.
func (i *instance) answered(now time.Time) {
	if i.answeredAt.IsZero() {
		i.answeredAt = now
	}
}

// setCancelProbe sets how to end the probe that is about to start.
func (i *instance) setCancelProbe(cancel context.CancelFunc) {
	i.r.mu.Lock()
	defer i.r.mu.Unlock()
	i.cancelProbe = cancel
	if i.stopping || i.gone {
		cancel()
	}
}

// restBeforeProbe is how long to wait before the first probe. An instance may answer
// probes and yet take no request; waiting requests would go there and back without a
// pause.
func (i *instance) restBeforeProbe() time.Duration {
	i.r.mu.Lock()
	defer i.r.mu.Unlock()
	if i.failures < 2 {
		return 0 // It failed once. It may be back at once.
	}
	return min(minRest<<min(i.failures-2, 10), maxRest)
}
