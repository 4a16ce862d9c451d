package proxy

import (
	"bufio"
	"net"
	"net/http"
	"sync"
)

// Upgrades knows the connections of callers that speak another protocol than HTTP,
// to tell them all that the process is to end. The zero value is ready.
type Upgrades struct {
	mu      sync.Mutex
	open    map[*Upgraded]struct{}
	leaving bool
}

// Handler is next, whose upgraded connections u knows. Other requests pass as they
// are.
func (u *Upgrades) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.Header["Upgrade"]) == 0 {
			next.ServeHTTP(w, r)
			return
		}
		out := &upgrading{ResponseWriter: w, r: r, of: u}
		defer out.ended()
		next.ServeHTTP(out, r)
	})
}

// Leave tells the ends of every connection that this process is to end, as
// [Timed.Leave] does, and of those that are upgraded later.
func (u *Upgrades) Leave() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.leaving = true
	for c := range u.open {
		go c.Leave() // A caller that does not read may hold it up.
	}
}

// upgrading is the answer to a request that asks for another protocol.
type upgrading struct {
	http.ResponseWriter
	r    *http.Request
	of   *Upgrades
	conn *Upgraded
}

func (w *upgrading) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Hijack hands the connection over, for an upgrade.
func (w *upgrading) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := hijack(w.ResponseWriter)
	if err != nil {
		return nil, nil, err
	}
	w.conn = NewUpgraded(conn, w.r, nil)
	w.of.mu.Lock()
	defer w.of.mu.Unlock()
	if w.of.leaving {
		go w.conn.Leave()
		return w.conn, rw, nil
	}
	if w.of.open == nil {
		w.of.open = map[*Upgraded]struct{}{}
	}
	w.of.open[w.conn] = struct{}{}
	return w.conn, rw, nil
}

func (w *upgrading) ended() {
	w.of.mu.Lock()
	defer w.of.mu.Unlock()
	delete(w.of.open, w.conn)
}
