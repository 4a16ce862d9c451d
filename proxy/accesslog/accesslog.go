// Package accesslog writes one line of JSON for each request that has ended.
//
// It promises that a line is one request, whatever bytes the caller chose: they can't end
// a line, begin another, or control a terminal. It promises that a slow or stuck writer
// delays no request: lines are kept in memory up to a bound, and beyond it dropped and
// counted. It refuses to write queries and headers, which may hold secrets.
package accesslog

import (
	"context"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Bounds of the buffered lines.
const (
	maxBuffered = 1 << 20  // Bytes; beyond, lines are dropped.
	writeAt     = 64 << 10 // Bytes that are written without waiting for writeEvery.
	writeEvery  = time.Second
	lastFlush   = 2 * time.Second // Bound of the last write when Run ends.
)

// Log is an access log. New makes one; Run writes it.
type Log struct {
	w    io.Writer
	full chan struct{} // Signals that there are writeAt bytes.

	mu      sync.Mutex
	lines   []byte // Whole lines, not written yet.
	dropped uint64
}

// New returns a log whose lines go to w, which nothing else may write to meanwhile.
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

// Register registers the metric of dropped lines.
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

// Run writes the buffered lines every second until ctx ends, and then the rest. It waits
// for a stuck writer for two seconds at most. Lines that can't be written, for instance to a
// full disk, are lost: no request fails for them.
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
		l.flush(spare) // Lines that came during the last write.
	}()
	<-ctx.Done()
	select {
	case <-stuck:
	case <-time.After(lastFlush):
	}
}

// flush writes the buffered lines, and returns their memory for the next ones.
func (l *Log) flush(spare []byte) []byte {
	l.mu.Lock()
	lines := l.lines
	l.lines = spare[:0]
	l.mu.Unlock()
	if len(lines) > 0 {
		_, _ = l.w.Write(lines) // An error has no reader.
	}
	if cap(lines) > 4*writeAt {
		return nil // The memory of a burst is not kept.
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
