package upstream

import (
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/wadi-run/wadi/proxy"
)

// tunnel passes an upgrade on, and then bytes in both directions. When one end has nothing
// more to send the other end's reading ends. It returns when both directions have ended, or
// when one of them breaks.
func (a *http1Answer) tunnel() error {
	c, h := a.conn, &a.conn.head
	if a.plan.upgrade == "" || a.pendingBody() || !hasToken([]string{a.plan.upgrade}, h.upgrade) {
		return a.failed(malformed("a change to a protocol that was not asked for"))
	}
	a.setHeader()
	header := a.w.Header()
	conn, rw, err := http.NewResponseController(a.w).Hijack()
	if err != nil {
		return a.failed(err)
	}
	proxy.NotifyUpgraded(conn)
	defer func() { _ = conn.Close() }() // Both directions have ended.
	a.answered = true
	early := c.buffered()
	head := append([]byte(nil), "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "...)
	head = append(append(head, h.upgrade...), "\r\n"...)
	for name, values := range header {
		if isHopByHop(name) || name == "Content-Length" {
			continue
		}
		for _, value := range values {
			head, _ = appendField(head, name, strings.TrimSpace(value))
		}
	}
	head = append(append(head, "\r\n"...), early...)
	c.release()
	if _, err = conn.Write(head); err == nil {
		var sent io.Reader = conn
		if n := rw.Reader.Buffered(); n > 0 {
			sent = io.MultiReader(io.LimitReader(rw.Reader, int64(n)), conn)
		}
		joinConns(conn, sent, c.tunnelled(), patienceWith(h.upgrade))
	}
	c.pool.abandon(c, a.w)
	return nil
}

// patience is how long one direction of a tunnel may go on when the other has ended.
type patience struct {
	silent time.Duration // Without a byte.
	all    time.Duration // 0: no bound.
}

// patienceWith is the patience with a protocol. A WebSocket ends both directions at once; in
// others one direction may go on for long. Without a bound a caller that has vanished would
// keep an instance, and a drain, for ever: only writing to it would reveal that.
func patienceWith(protocol string) patience {
	if strings.EqualFold(protocol, "websocket") {
		return patience{silent: webSocketEnd, all: webSocketEnd}
	}
	return patience{silent: tunnelEnd}
}

const (
	webSocketEnd = 10 * time.Second
	tunnelEnd    = 5 * time.Minute
	// tunnelBuffer is what each direction of a tunnel holds, in bytes.
	tunnelBuffer = 16 << 10
)

// joinConns copies in both directions. What the caller has sent is read from sent. When one
// direction has ended the other is bounded.
func joinConns(caller net.Conn, sent io.Reader, peer net.Conn, p patience) {
	up, down := &way{from: sent, over: make(chan struct{})}, &way{from: peer, over: make(chan struct{})}
	cut := func() { _, _ = peer.Close(), caller.Close() }
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if up.copy(peer) != nil {
			cut() // Ends the other direction.
		}
		down.await(p, cut)
	}()
	if down.copy(caller) != nil {
		cut()
	}
	up.await(p, cut)
	<-ended
}

// way is one direction of a tunnel.
type way struct {
	from io.Reader
	last atomic.Int64  // When something came, in Unix nanoseconds.
	over chan struct{} // Closed when it has ended.
}

func (w *way) Read(b []byte) (int, error) {
	n, err := w.from.Read(b)
	if n > 0 {
		w.last.Store(time.Now().UnixNano())
	}
	return n, err
}

// copy copies until from ends, and ends to then.
func (w *way) copy(to net.Conn) error {
	defer close(w.over)
	if _, err := io.CopyBuffer(justWriter{to}, w, make([]byte, tunnelBuffer)); err != nil {
		return err
	}
	return closeWrite(to)
}

// justWriter hides a connection's ReadFrom, which would only cost: w is not a connection.
type justWriter struct{ io.Writer }

// await waits for the end of w, with patience from now on, and cuts the tunnel then.
func (w *way) await(p patience, cut func()) {
	begun := time.Now()
	timer := time.NewTimer(p.silent)
	defer timer.Stop()
	for {
		select {
		case <-w.over:
			return
		case <-timer.C:
		}
		end := begun.Add(p.silent)
		if last := time.Unix(0, w.last.Load()).Add(p.silent); last.After(end) {
			end = last
		}
		if all := begun.Add(p.all); p.all > 0 && all.Before(end) {
			end = all
		}
		left := time.Until(end)
		if left <= 0 {
			cut()
			<-w.over
			return
		}
		timer.Reset(left)
	}
}

// closeWrite ends what is sent. A connection without a half-close is closed.
func closeWrite(c net.Conn) error {
	if h, ok := c.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return c.Close()
}
