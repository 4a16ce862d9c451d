package activator

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/wadi-run/wadi/proxy/deadline"
	"github.com/wadi-run/wadi/proxy/recording"
)

// response records an answer, and adds Server-Timing to that of a request that waited.
type response struct {
	recording.Writer
	q             *request
	refusal       int32 // The status of a refusal, whatever HTTP's is.
	aborted       bool
	unflushed     bool   // Some of the body is not flushed.
	waitForClient func() // Called after the grant is released; nil: there is nothing to wait for.
}

// Later implements [upstream.Deferrer]: wait waits for the client alone.
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
	conn, rw, err := w.Writer.Hijack()
	if err != nil {
		return nil, nil, err
	}
	up := deadline.NewUpgraded(conn, w.q.in, nil)
	w.q.rev.upgrade(w.q, up)
	return up, rw, nil
}

// Starting implements [recording.Starter].
func (w *response) Starting(int) {
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
		q.a.recorderOf(q.rev).ColdStart()
	}
}

func (w *response) Write(p []byte) (int, error) {
	w.unflushed = true
	return w.Writer.Write(p)
}

// FlushError sends what is buffered.
func (w *response) FlushError() error {
	w.unflushed = false
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// ReadFrom lets the kernel copy, where the server's own writer can have it do so.
func (w *response) ReadFrom(r io.Reader) (int64, error) {
	w.unflushed = true
	return w.Writer.ReadFrom(r)
}

// counted is the status for metrics and logs; 0: there was none.
func (w *response) counted() int {
	if w.refusal != 0 {
		return int(w.refusal)
	}
	return w.Status
}
