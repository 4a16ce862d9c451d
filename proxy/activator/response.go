package activator

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/wadi-run/wadi/proxy/deadline"
)

// response records how an answer goes, and adds Server-Timing if the request waited.
type response struct {
	http.ResponseWriter
	q       *request
	status  int // Zero: none yet.
	refusal int // The status of a refusal, whatever HTTP's is.
	aborted bool
	bytes   int64

	unflushed     bool   // Some of the body is not flushed.
	waitForClient func() // Called after the grant is released; nil: there is nothing to wait for.
}

// Later is called by [upstream.Upstream] where only the client is still to be waited for.
func (w *response) Later(wait func()) { w.waitForClient = wait }

// limitAnswer lets reads and writes of the client's connection fail soon, as a slow
// client would keep a request whose deadline has passed.
func (w *response) limitAnswer() {
	c := http.NewResponseController(w.ResponseWriter)
	_ = c.SetReadDeadline(time.Unix(1, 0)) // Not every connection can; then only the client ends it.
	_ = c.SetWriteDeadline(time.Now().Add(slowAnswer))
}

// unlimitAnswer undoes limitAnswer where the answer was complete by then. Net/http itself
// lifts only the limit on reading.
func (w *response) unlimitAnswer() {
	if w.q.expired != nil {
		_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Time{})
	}
}

// Hijack hands the connection over, for an upgrade. From then on it has no deadline. It
// gets a GoAway when the agent stops.
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

// WriteHeader records a final status.
func (w *response) WriteHeader(status int) {
	if w.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		w.begin(status)
	}
	w.ResponseWriter.WriteHeader(status)
}

// begin records that the answer begins.
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

// FlushError sends what is buffered.
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

// counted is the status for metrics and logs; 0: there was none.
func (w *response) counted() int {
	if w.refusal != 0 {
		return w.refusal
	}
	return w.status
}
