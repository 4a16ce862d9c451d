package queue

import (
	"context"
	"net"
	"time"
)

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
