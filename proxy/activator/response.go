package activator

import (
	"bufio"
	"github.com/wadi-run/wadi/proxy/deadline"
	"io"
	"net"
	"net/http"
	"time"
)

// response notes what becomes of an answer, and adds Server-Timing to that of a
// request that waited.
type response struct {
	http.ResponseWriter
	q       *request
	status  int // Zero: none yet.
	refusal int // The status of a refusal, whatever HTTP's is.
	aborted bool
	bytes   int64
	// Some of the body is not flushed.
	unflushed     bool
	waitForClient func() // Nil, or what is to be waited for when the instance is given back.
}

// Later is what [upstream.Upstream] calls where only the client is waited for any more.
func (w *response) Later(wait func()) { w.waitForClient = wait }

// limitAnswer lets reads and writes of the client's connection fail soon, for a slow
// client would hold a request whose time is over.
func (w *response) limitAnswer() {
	c := http.NewResponseController(w.ResponseWriter)
	_ = c.SetReadDeadline(time.Unix(1, 0)) // Not every connection can; then only the client ends it.
	_ = c.SetWriteDeadline(time.Now().Add(slowAnswer))
}

// unlimitAnswer is for an answer that was complete when its time was over. Net/http
// itself lifts only the limit on reading.
func (w *response) unlimitAnswer() {
	if w.q.expired != nil {
		_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Time{})
	}
}

// Hijack hands the connection over, for an upgrade. From then on nothing limits it,
// but that it is told when the agent stops.
func (w *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	w.begin(http.StatusSwitchingProtocols)
	up := deadline.NewUpgraded(conn, w.q.in, nil)
	w.q.rev.upgrade(w.q, up)
	return up, rw, nil
}

// Unwrap lets http.ResponseController reach the server's own.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader notes a final status.
func (w *response) WriteHeader(status int) {
	if w.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		w.begin(status)
	}
	w.ResponseWriter.WriteHeader(status)
}

// begin notes that the answer begins.
func (w *response) begin(status int) {
	w.status = status
	q := w.q
	if q.body != nil {
		q.body.Commit()
	}
	p := q.grant.cold
	if p == nil && q.record == nil {
		return
	}
	var forward time.Duration
	now := time.Now()
	if !q.grant.at.IsZero() {
		forward = now.Sub(q.grant.at)
	}
	if p != nil {
		w.Header().Add("Server-Timing", serverTiming(p, forward))
	}
	if w.refusal != 0 {
		return
	}
	q.record.setFirstByte(now)
	if q.oldest {
		q.a.metrics.coldStart(p, forward)
	}
}

func (w *response) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	w.unflushed = true
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// FlushError sends what is held back.
func (w *response) FlushError() error {
	w.unflushed = false
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// ReadFrom lets the kernel copy, where the server's own writer can have it do so.
func (w *response) ReadFrom(r io.Reader) (int64, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	w.unflushed = true
	n, err := io.Copy(w.ResponseWriter, r)
	w.bytes += n
	return n, err
}

// counted is the status that counts: 0 if there was none.
func (w *response) counted() int {
	if w.refusal != 0 {
		return w.refusal
	}
	return w.status
}
