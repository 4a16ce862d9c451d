package proxy

import (
	"io"
	"net"
	"strings"
)

// tunnel passes an upgrade on, and from then on bytes both ways: each end hears
// when the other one has nothing more to send. It returns when both have, or when
// one way breaks.
func (a *http1Answer) tunnel() error {
	c, h := a.conn, &a.conn.head
	if a.plan.upgrade == "" || a.pendingBody() || !hasToken([]string{a.plan.upgrade}, h.upgrade) {
		return a.failed(malformed("a change to a protocol that nobody asked for"))
	}
	a.setHeader()
	header := a.w.Header()
	conn, rw, err := hijack(a.w)
	if err != nil {
		return a.failed(err)
	}
	defer func() { _ = conn.Close() }() // Both ways have ended.
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
		joinConns(conn, sent, c.tunnelled())
	}
	c.pool.abandon(c)
	return nil
}

// joinConns copies both ways. What the caller has sent is read from sent.
func joinConns(caller net.Conn, sent io.Reader, peer net.Conn) {
	over := make(chan struct{})
	go func() {
		defer close(over)
		if _, err := io.Copy(peer, sent); err != nil || closeWrite(peer) != nil {
			_, _ = peer.Close(), caller.Close() // Ends the other way.
		}
	}()
	if _, err := io.Copy(caller, peer); err != nil || closeWrite(caller) != nil {
		_, _ = peer.Close(), caller.Close()
	}
	<-over
}

// closeWrite says that nothing more is sent. A connection that can't be closed by
// half is closed.
func closeWrite(c net.Conn) error {
	if h, ok := c.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return c.Close()
}
