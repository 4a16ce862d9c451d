// Package accesslog writes one line of JSON for each request that has ended.
//
// It promises that a line is one request, whatever bytes its caller chose: they
// can't end a line, begin another, or steer a terminal. It promises that a writer
// that is slow, or stuck, holds up no request: lines are kept in memory up to a
// bound and dropped beyond, and counted. It refuses to write queries and headers,
// in which there may be secrets.
package accesslog

import (
	"context"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Bounds of what is kept until it is written.
const (
	maxBuffered = 1 << 20         // Bytes; beyond, lines are dropped.
	writeAt     = 64 << 10        // Bytes that are written without waiting for the next second.
	writeEvery  = time.Second     // Else.
	lastFlush   = 2 * time.Second // For what is left when Run ends.
)

// Log is an access log. New makes one; Run writes it.
type Log struct {
	w    io.Writer
	full chan struct{} // Signals that there are writeAt bytes.

	mu      sync.Mutex
	lines   []byte // Whole lines, not written yet.
	dropped uint64
}

// New returns a log whose lines go to w, which nobody else may write to meanwhile.
func New(w io.Writer) *Log { return &Log{w: w, full: make(chan struct{}, 1)} }

// Write adds a request. It never waits for the writer.
func (l *Log) Write(e *Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := len(l.lines)
	l.lines = e.append(l.lines)
	switch {
	case len(l.lines) > maxBuffered:
		l.lines = l.lines[:before]
		l.dropped++
	case before < writeAt && len(l.lines) >= writeAt:
		select {
		case l.full <- struct{}{}:
		default:
		}
	}
}

// Register has the lines that were dropped shown as a metric.
func (l *Log) Register(reg prometheus.Registerer) {
	reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "wadi_access_log_dropped_total", Help: "Requests without a line in the access log, because it was written too slowly.",
	}, func() float64 { return float64(l.Dropped()) }))
}

// Dropped is how many requests have no line, because the writer was too slow.
func (l *Log) Dropped() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dropped
}

// Run writes what there is every second until ctx ends, and then the rest. A
// writer that is stuck then is left alone after a while. What can't be written, for
// a full disk say, is lost: requests are not to fail for it.
func (l *Log) Run(ctx context.Context) {
	tick := time.NewTicker(writeEvery)
	defer tick.Stop()
	stuck := make(chan struct{})
	go func() {
		defer close(stuck)
		var spare []byte
		for ctx.Err() == nil {
			select {
			case <-tick.C:
			case <-l.full:
			case <-ctx.Done():
			}
			spare = l.flush(spare)
		}
		l.flush(spare) // What came while the last was written.
	}()
	<-ctx.Done()
	select {
	case <-stuck:
	case <-time.After(lastFlush):
	}
}

// flush writes the lines there are, and returns their memory for the next.
func (l *Log) flush(spare []byte) []byte {
	l.mu.Lock()
	lines := l.lines
	l.lines = spare[:0]
	l.mu.Unlock()
	if len(lines) > 0 {
		_, _ = l.w.Write(lines) // There is nobody to tell.
	}
	if cap(lines) > 4*writeAt {
		return nil // A burst is not kept for ever.
	}
	return lines
}

// TraceID is the trace that a request's traceparent header names (W3C trace
// context); empty if there is none, or if it is malformed.
func TraceID(h http.Header) string {
	v := h["Traceparent"]
	if len(v) != 1 || len(v[0]) < 55 || v[0][2] != '-' || v[0][35] != '-' || v[0][52] != '-' || v[0][:2] == "ff" {
		return ""
	}
	id, some := v[0][3:35], false
	for _, c := range []byte(id) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return ""
		}
		some = some || c != '0'
	}
	if !some {
		return ""
	}
	return id
}
