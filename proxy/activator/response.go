package activator

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"
)

// timing says where the time of a request that waited went.
type timing struct {
	queue, wake, place, start time.Duration
	granted                   time.Time
}

// timing measures how w came to i. The caller holds the mutex.
func (r *revision) timing(w *waiter, i *instance, now time.Time) *timing {
	within := func(from, to time.Time) time.Duration {
		if from.Before(w.arrived) {
			from = w.arrived
		}
		return max(0, to.Sub(from))
	}
	t := &timing{queue: now.Sub(w.arrived), granted: now}
	if c := r.cold; !c.askedAt.IsZero() {
		t.wake = within(c.askedAt, c.wokenAt)
		t.place = within(c.wokenAt, i.placed)
	}
	t.start = within(i.placed, i.readyAt)
	return t
}

// header is t as the Server-Timing header has it, in milliseconds.
func (t *timing) header() string {
	var b strings.Builder
	add := func(name string, d time.Duration) {
		if b.Len() > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s;dur=%.1f", name, float64(d)/float64(time.Millisecond))
	}
	add("queue", t.queue)
	add("wake", t.wake)
	add("place", t.place)
	add("start", t.start)
	add("forward", time.Since(t.granted))
	return b.String()
}

// slowAnswer is how long the answer to a request that ran out of time may take
// to reach its client.
const slowAnswer = 5 * time.Second

// errTooLong is why the context of a request that ran out of time ends.
var errTooLong = errors.New("the request took too long")

// response notes the status, and adds Server-Timing to the answer of a request
// that waited.
type response struct {
	http.ResponseWriter
	status int
	timing *timing
	timer  *time.Timer // Ends the request; nil if nothing does.
}

// limit calls cancel at end, and lets reads and writes of the client's connection
// fail soon after, for a slow client would hold the request else. The function it
// returns ends that.
func (w *response) limit(end time.Time, cancel context.CancelCauseFunc) (stop func()) {
	done := make(chan struct{})
	w.timer = time.AfterFunc(time.Until(end), func() {
		defer close(done)
		cancel(errTooLong)
		c := http.NewResponseController(w.ResponseWriter)
		_ = c.SetReadDeadline(time.Unix(1, 0)) // Not every connection can; then only the client ends it.
		_ = c.SetWriteDeadline(time.Now().Add(slowAnswer))
	})
	return func() {
		if w.timer != nil && !w.timer.Stop() {
			<-done
		}
	}
}

// Hijack hands the connection over, for an upgrade. From then on nothing limits it.
func (w *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		w.status = http.StatusSwitchingProtocols
		if w.timer != nil && w.timer.Stop() {
			w.timer = nil
		}
	}
	return conn, rw, err
}

// cold makes the answer tell t, if the request waited at all.
func (w *response) cold(t *timing) { w.timing = t }

// Unwrap lets http.ResponseController reach the server's own.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader notes a final status.
func (w *response) WriteHeader(status int) {
	if w.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		w.status = status
		if w.timing != nil {
			w.Header().Add("Server-Timing", w.timing.header())
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *response) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(p)
}

// class is the class of the status, for instance 2xx. A connection that was
// taken over or broken off counts as 1xx.
func (w *response) class() string {
	if w.status < 200 {
		return "1xx"
	}
	return string(rune('0'+w.status/100)) + "xx"
}
