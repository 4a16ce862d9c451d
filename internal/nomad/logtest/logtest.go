// Package logtest has a Nomad whose allocations write.
//
// It promises to answer as a Nomad does, and to end with its test. It has no jobs, and does
// not rotate logs.
package logtest

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"
)

// Nomad is one with allocations that write. It answers as a Nomad does: it compresses,
// sends the header with a log's first byte, and never ends a log that is followed.
type Nomad struct {
	URL   string
	Token string // With another one there is no permission.

	NoStderr bool // No task has a stderr, as with drivers that keep none.

	mu      sync.Mutex
	allocs  []*alloc
	opened  int           // Logs that are followed, since Opened was called last.
	changed chan struct{} // Closed and replaced on every change.
}

type alloc struct {
	id, job, status string
	created         int64
	started         bool
	text            map[string]string // By task/stream.
}

// Start returns a Nomad without allocations, which ends with the test.
func Start(tb testing.TB) *Nomad {
	l := &Nomad{changed: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/job/{id}/allocations", l.list)
	mux.HandleFunc("GET /v1/client/fs/logs/{id}", l.logs)
	srv := httptest.NewServer(mux)
	tb.Cleanup(srv.Close)
	tb.Cleanup(srv.CloseClientConnections)
	l.URL = srv.URL
	return l
}

// Run adds an allocation of a job, whose tasks web and queue-proxy have started.
func (l *Nomad) Run(job, id string) {
	l.add(&alloc{id: id, job: job, status: "running", started: true})
}

// Place adds an allocation of a job whose tasks have not started.
func (l *Nomad) Place(job, id string) { l.add(&alloc{id: id, job: job, status: "pending"}) }

func (l *Nomad) add(a *alloc) {
	l.change(func() {
		a.text, a.created = map[string]string{}, int64(len(l.allocs)+1)
		l.allocs = append(l.allocs, a)
	})
}

// Start starts the tasks of an allocation.
func (l *Nomad) Start(id string) {
	l.change(func() { a := l.find(id); a.status, a.started = "running", true })
}

// End ends an allocation.
func (l *Nomad) End(id string) { l.change(func() { l.find(id).status = "complete" }) }

// Write lets a task write. stream is stdout or stderr.
func (l *Nomad) Write(id, task, stream, text string) {
	l.change(func() { l.find(id).text[task+"/"+stream] += text })
}

// Opened waits until so many logs are followed that were not when it was called last.
func (l *Nomad) Opened(n int) {
	for {
		l.mu.Lock()
		changed, there := l.changed, l.opened >= n
		if there {
			l.opened = 0
		}
		l.mu.Unlock()
		if there {
			return
		}
		<-changed
	}
}

func (l *Nomad) change(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
	close(l.changed)
	l.changed = make(chan struct{})
}

// find is the allocation with an ID. The mutex is held.
func (l *Nomad) find(id string) *alloc {
	for _, a := range l.allocs {
		if a.id == id {
			return a
		}
	}
	return nil
}

func (l *Nomad) allowed(w http.ResponseWriter, r *http.Request) bool {
	if l.Token != "" && r.Header.Get("X-Nomad-Token") != l.Token || r.URL.Query().Get("namespace") != "default" {
		http.Error(w, "Permission denied", http.StatusForbidden)
		return false
	}
	return true
}

func (l *Nomad) list(w http.ResponseWriter, r *http.Request) {
	if !l.allowed(w, r) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	out := []any{}
	for _, a := range l.allocs {
		if a.job != r.PathValue("id") {
			continue
		}
		var states map[string]any
		if a.started {
			state := map[string]any{"State": "running", "StartedAt": time.Unix(a.created, 0)}
			states = map[string]any{"web": state, "queue-proxy": state}
		}
		out = append(out, map[string]any{"ID": a.id, "JobID": a.job, "Namespace": "default", "ClientStatus": a.status, "CreateTime": a.created, "TaskStates": states})
	}
	w.Header().Set("X-Nomad-Index", "1")
	_ = json.NewEncoder(w).Encode(out)
}

func (l *Nomad) logs(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	l.mu.Lock()
	a, key := l.find(r.PathValue("id")), q.Get("task")+"/"+q.Get("type")
	l.mu.Unlock()
	offset, err := strconv.Atoi(q.Get("offset"))
	switch {
	case !l.allowed(w, r):
		return
	case err != nil || q.Get("plain") != "true" || q.Get("type") != "stdout" && q.Get("type") != "stderr":
		http.Error(w, "must provide log type (stdout/stderr)", http.StatusBadRequest)
		return
	case a == nil:
		http.Error(w, fmt.Sprintf("Unknown allocation %q", r.PathValue("id")), http.StatusNotFound)
		return
	case q.Get("task") != "web" && q.Get("task") != "queue-proxy":
		http.Error(w, fmt.Sprintf("unknown task name %q", q.Get("task")), http.StatusBadRequest)
		return
	case !a.started:
		http.Error(w, fmt.Sprintf("task %q not started yet. No logs available", q.Get("task")), http.StatusNotFound)
		return
	case l.NoStderr && q.Get("type") == "stderr":
		http.Error(w, fmt.Sprintf("log entry for task %q and log type %q not found", q.Get("task"), q.Get("type")), http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Encoding", "gzip")
	out := gzip.NewWriter(w)
	defer func() { _ = out.Close() }()
	for sent := -1; ; {
		l.mu.Lock()
		text, changed := a.text[key], l.changed
		l.mu.Unlock()
		if sent < 0 {
			if sent = min(offset, len(text)); q.Get("origin") == "end" && offset > 0 { // An end of no bytes is all.
				sent = len(text) - sent
			}
			if q.Get("follow") == "true" {
				l.change(func() { l.opened++ })
			}
		}
		if sent < len(text) {
			_, _ = out.Write([]byte(text[sent:]))
			_ = out.Flush()
			_ = http.NewResponseController(w).Flush()
			sent = len(text)
		}
		if q.Get("follow") != "true" {
			return
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}
