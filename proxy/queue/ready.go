package queue

import (
	"cmp"
	"context"
	"net"
	"net/http"
	"time"
)

// isReady reports whether requests may be sent here.
func (p *Proxy) isReady() bool { return p.ready.IsReady() && !p.drain.HasBegun() }

// stoppingText explains why an instance with an order to go is not ready.
const stoppingText = "about to stop, others take its requests"

// notReady explains in one line why the instance is not ready.
func (p *Proxy) notReady() string {
	if p.drain.HasBegun() {
		return "draining: waits for " + p.remaining().String()
	}
	if p.ready.IsReady() && p.orders.going() {
		return stoppingText
	}
	return cmp.Or(p.diagnosis.Unready(p.ready.LastError()), "the app is not ready")
}

// answerReady answers Consul's check. Callers send requests to an instance that passes it,
// in the mesh through Envoy.
func (p *Proxy) answerReady(w http.ResponseWriter, r *http.Request) {
	switch {
	case p.drain.HasBegun(), !p.ready.IsReady():
		http.Error(w, p.notReady(), http.StatusServiceUnavailable)
	case p.orders.going(): // The statistics still say ready: the order may be revoked.
		http.Error(w, stoppingText, http.StatusServiceUnavailable)
	case !p.envoyListens(r.Context()):
		http.Error(w, "Envoy does not listen", http.StatusServiceUnavailable)
	default:
		_, _ = w.Write([]byte("ready\n"))
	}
}

// envoyTimeout bounds the check whether Envoy listens; Consul's check waits a second for
// the whole answer.
const envoyTimeout = 500 * time.Millisecond

// envoyListens reports whether calls of the mesh can come in. Envoy listens when it has its
// configuration, which may be later than the app, or after a restart of its own: until then
// an instance that Consul lists would refuse its callers.
func (p *Proxy) envoyListens(ctx context.Context) bool {
	if p.cfg.Envoy == "" {
		return true
	}
	d := net.Dialer{Timeout: envoyTimeout}
	conn, err := d.DialContext(ctx, "tcp", p.cfg.Envoy)
	if err != nil {
		return false
	}
	_ = conn.Close() // Nothing was sent.
	return true
}
