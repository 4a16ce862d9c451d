package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
)

// upgradeWriter hands a connection over together with what the caller has sent
// already, in the same packet as its request. The standard library's proxy reads
// from the connection alone and would lose it.
type upgradeWriter struct{ http.ResponseWriter }

func (w upgradeWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w upgradeWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil || rw.Reader.Buffered() == 0 {
		return conn, rw, err
	}
	early := io.LimitReader(rw.Reader, int64(rw.Reader.Buffered()))
	return &earlyConn{Conn: conn, r: io.MultiReader(early, conn)}, rw, nil
}

// earlyConn reads what came early before it reads on.
type earlyConn struct {
	net.Conn
	r io.Reader
}

func (c *earlyConn) Read(b []byte) (int, error) { return c.r.Read(b) }
