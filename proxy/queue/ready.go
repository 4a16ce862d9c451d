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

// stoppingText is why an instance is not ready that could be.
const stoppingText = "about to stop, others take its requests"

// notReady is why the app is not ready, in one line.
func (p *Proxy) notReady() string {
	if p.drain.HasBegun() {
		return "draining: waits for " + p.remaining().String()
	}
	if p.ready.IsReady() && p.orders.going() {
		return stoppingText
	}
	return cmp.Or(p.diagnosis.Unready(p.ready.LastError()), "the app is not ready")
}

// answerReady is the check of Consul: whoever sees this as ready sends requests, in the
// mesh through Envoy.
func (p *Proxy) answerReady(w http.ResponseWriter, r *http.Request) {
	switch {
	case p.drain.HasBegun(), !p.ready.IsReady():
		http.Error(w, p.notReady(), http.StatusServiceUnavailable)
	case p.orders.going(): // Statistics say that it is ready all the same: it may yet stay.
		http.Error(w, stoppingText, http.StatusServiceUnavailable)
	case !p.envoyListens(r.Context()):
		http.Error(w, "Envoy does not listen", http.StatusServiceUnavailable)
	default:
		_, _ = w.Write([]byte("ready\n"))
	}
}

// envoyTimeout bounds the question whether Envoy listens; Consul's check waits a
// second for the whole answer.
const envoyTimeout = 500 * time.Millisecond

// envoyListens says whether calls of the mesh can come in. Envoy listens only when
// it has its configuration, and may be later than the app or be restarted beside it:
// an instance that Consul lists before that refuses its callers.
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
