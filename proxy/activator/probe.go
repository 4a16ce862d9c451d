package activator

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/wadi-run/wadi"
)

// verdict is what one probe found.
type verdict int

const (
	isAway    verdict = iota // No answer.
	isUnready                // An answer, but not yes.
	isOther                  // The answer of another instance, or of something else.
	isReady
)

// maxProbeBody bounds what of a probe's answer is read.
const maxProbeBody = 4 << 10

// probeConn is a connection over which an instance is asked for its name.
type probeConn struct {
	conn net.Conn
	buf  *bufio.Reader
	open bool // It may be used for another request.
}

func newProbeConn(c net.Conn) *probeConn {
	return &probeConn{conn: c, buf: bufio.NewReaderSize(c, 1<<10)}
}

// ask sends one probe. The queue-proxy answers it itself, never its app.
func (p *probeConn) ask(ctx context.Context, service string, ep wadi.Endpoint) (verdict, error) {
	p.open = false
	stop := context.AfterFunc(ctx, func() { _ = p.conn.SetDeadline(time.Unix(1, 0)) }) // Can't fail but on a closed connection.
	defer stop()
	_, err := fmt.Fprintf(p.conn, "GET / HTTP/1.1\r\nHost: %s\r\n%s: %s\r\n%s: %s\r\n\r\n",
		service, wadi.HeaderProbe, ep.Revision, wadi.HeaderInstance, ep.Instance)
	if err != nil {
		return isAway, fmt.Errorf("probe %s: %w", ep.Addr, err)
	}
	res, err := http.ReadResponse(p.buf, nil)
	if err != nil {
		return isAway, fmt.Errorf("probe %s: %w", ep.Addr, err)
	}
	n, err := io.Copy(io.Discard, io.LimitReader(res.Body, maxProbeBody+1))
	if err != nil {
		return isAway, fmt.Errorf("probe %s: %w", ep.Addr, err)
	}
	// A deadline that has fired, or is about to, would break the next request.
	p.open = stop() && !res.Close && n <= maxProbeBody && p.buf.Buffered() == 0

	revision, instance := res.Header.Get(wadi.HeaderRevision), res.Header.Get(wadi.HeaderInstance)
	switch {
	case res.StatusCode == http.StatusMisdirectedRequest:
		return isOther, fmt.Errorf("probe %s: it is not instance %s", ep.Addr, ep.Instance)
	case res.StatusCode != http.StatusOK:
		return isUnready, fmt.Errorf("probe %s: status %d", ep.Addr, res.StatusCode)
	case revision != ep.Revision || instance != ep.Instance:
		return isOther, fmt.Errorf("probe %s: it is revision %q, instance %q", ep.Addr, revision, instance)
	}
	return isReady, nil
}
