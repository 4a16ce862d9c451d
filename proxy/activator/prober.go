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
	isUnready                // The instance is not ready.
	isGoing                  // It has the order to go, and may yet get the order to stay.
	isOther                  // Another instance answers, or something else.
	isReady
)

// maxProbeBody is how many bytes of a probe's answer are read.
const maxProbeBody = 4 << 10

// prober is a connection over which probes are sent.
type prober interface {
	// ask sends one probe. The queue-proxy answers it, never its app.
	ask(ctx context.Context, service string, ep wadi.Endpoint) (verdict, error)
	// open reports whether the connection can take another request.
	open() bool
	close()
}

// maxUnready is how many characters are kept of why an instance is not ready.
const maxUnready = 200

// unreadyError is the answer of an instance that is not ready.
type unreadyError struct {
	addr   string
	status int
	why    string // As the instance says; may be empty.
}

func (e *unreadyError) Error() string {
	return fmt.Sprintf("probe %s: status %d: %s", e.addr, e.status, e.why)
}

// newProbe makes a probe: a request on the traffic path, so that its answer shows how
// requests fare.
func newProbe(ctx context.Context, service string, ep wadi.Endpoint) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+ep.Addr+"/", nil)
	if err != nil {
		return nil, err
	}
	r.Host = service
	r.Header.Set(wadi.HeaderProbe, ep.Revision)
	r.Header.Set(wadi.HeaderInstance, ep.Instance)
	return r, nil
}

// readProbeAnswer reads a probe's answer. It reports whether it has read it to its end.
func readProbeAnswer(res *http.Response, ep wadi.Endpoint) (v verdict, whole bool, err error) {
	n, err := io.Copy(io.Discard, io.LimitReader(res.Body, maxProbeBody+1))
	if err != nil {
		return isAway, false, fmt.Errorf("probe %s: %w", ep.Addr, err)
	}
	whole = n <= maxProbeBody
	revision, instance := res.Header.Get(wadi.HeaderRevision), res.Header.Get(wadi.HeaderInstance)
	switch {
	case res.StatusCode == http.StatusMisdirectedRequest:
		return isOther, whole, fmt.Errorf("probe %s: it is not instance %s", ep.Addr, ep.Instance)
	case res.StatusCode != http.StatusOK && res.Header.Get(wadi.HeaderOrder) == string(wadi.OrderGo):
		return isGoing, whole, fmt.Errorf("probe %s: it is about to stop", ep.Addr)
	case res.StatusCode != http.StatusOK:
		return isUnready, whole, &unreadyError{ep.Addr, res.StatusCode, wadi.OneLine(res.Header.Get(wadi.HeaderUnready), maxUnready)}
	case revision != ep.Revision || instance != ep.Instance:
		return isOther, whole, fmt.Errorf("probe %s: it is revision %q, instance %q", ep.Addr, revision, instance)
	}
	return isReady, whole, nil
}

// probeConn probes over HTTP/1.1.
type probeConn struct {
	conn   net.Conn
	buf    *bufio.Reader
	usable bool
	cut    bool // Its deadline has passed, or is about to.
}

func newProbeConn(c net.Conn) *probeConn {
	return &probeConn{conn: c, buf: bufio.NewReaderSize(c, 1<<10)}
}

func (p *probeConn) open() bool { return p.usable }
func (p *probeConn) close()     { closeConn(p.conn) }

func (p *probeConn) ask(ctx context.Context, service string, ep wadi.Endpoint) (verdict, error) {
	p.usable = false
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
	v, whole, err := readProbeAnswer(res, ep)
	p.cut = !stop() // It would break the next request.
	p.usable = v != isAway && !p.cut && !res.Close && whole && p.buf.Buffered() == 0
	return v, err
}

// probeStream probes over an HTTP/2 connection that requests use afterwards.
type probeStream struct {
	conn   *http.ClientConn
	usable bool
}

func (p *probeStream) open() bool { return p.usable && p.conn.Available() > 0 }
func (p *probeStream) close()     { _ = p.conn.Close() } // No request is on it.

func (p *probeStream) ask(ctx context.Context, service string, ep wadi.Endpoint) (verdict, error) {
	v, err := askOver(ctx, p.conn, service, ep)
	p.usable = v != isAway
	return v, err
}

// askOver probes over HTTP/2.
func askOver(ctx context.Context, rt http.RoundTripper, service string, ep wadi.Endpoint) (verdict, error) {
	r, err := newProbe(ctx, service, ep)
	if err != nil {
		return isAway, fmt.Errorf("probe %s: %w", ep.Addr, err)
	}
	res, err := rt.RoundTrip(r)
	if err != nil {
		return isAway, fmt.Errorf("probe %s: %w", ep.Addr, err)
	}
	defer func() { _ = res.Body.Close() }() // It was only read.
	v, _, err := readProbeAnswer(res, ep)
	return v, err
}
