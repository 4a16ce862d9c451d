package nomad_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/nomad"
)

// cluster is a fake Nomad that answers with the state that tests set.
type cluster struct {
	mu                  sync.Mutex
	jobs, allocs, evals string // Lists in JSON.
	namespaces          string
	index               int
	counts              map[string]int // By job ID, for reads of one job.
	created             int            // The create index of each.
	between             func()         // Called after the first list was answered.

	lines  chan string   // The next lines of the stream; "" ends it.
	silent chan struct{} // Not nil: the stream opens and stays silent until this is closed.
	opened int
	looks  int // Number of queries for the index only.
}

func newCluster() *cluster {
	return &cluster{namespaces: `[{"Name":"default"},{"Name":"other"}]`, jobs: "[]", allocs: "[]", evals: "[]", index: 1, counts: map[string]int{}, lines: make(chan string)}
}

func (c *cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/v1/event/stream" {
		c.stream(w, r)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	w.Header().Set("X-Nomad-Index", fmt.Sprint(c.index))
	switch id := strings.TrimPrefix(r.URL.Path, "/v1/job/"); {
	case r.URL.Path == "/v1/namespaces":
		_, _ = fmt.Fprint(w, c.namespaces)
	case r.URL.Path == "/v1/jobs" && r.URL.Query().Has("per_page"):
		_, _ = fmt.Fprint(w, "[]")
		c.looks++
	case r.URL.Path == "/v1/jobs":
		_, _ = fmt.Fprint(w, c.jobs)
		c.happen()
	case r.URL.Path == "/v1/allocations":
		_, _ = fmt.Fprint(w, c.allocs)
		c.happen()
	case r.URL.Path == "/v1/evaluations":
		_, _ = fmt.Fprint(w, c.evals)
	case id != r.URL.Path:
		service, _, _ := wadi.SplitRevisionID(id)
		_, _ = fmt.Fprintf(w, `{"ID":%q,"Namespace":"default","CreateIndex":%d,"JobModifyIndex":1,"Meta":{"wadi_service":%q},"TaskGroups":[{"Name":"instance","Count":%d}]}`, id, c.created, service, c.counts[id])
	}
}

// happen calls what was set for the time after the first list.
func (c *cluster) happen() {
	if c.between != nil {
		c.between()
		c.between = nil
	}
}

func (c *cluster) stream(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	c.opened++
	silent := c.silent
	c.mu.Unlock()
	w.WriteHeader(200)
	w.(http.Flusher).Flush()
	if silent != nil {
		select {
		case <-silent:
		case <-r.Context().Done():
		}
		return
	}
	_, _ = fmt.Fprintln(w, "{}")
	w.(http.Flusher).Flush()
	for {
		select {
		case line := <-c.lines:
			if line == "" {
				return
			}
			_, _ = fmt.Fprintln(w, line)
			w.(http.Flusher).Flush()
		case <-r.Context().Done():
			return
		}
	}
}

// say sends lines on the stream.
func (c *cluster) say(t *testing.T, lines ...string) {
	t.Helper()
	for _, l := range lines {
		select {
		case c.lines <- l:
		case <-time.After(time.Minute):
			t.Fatal("the stream has no reader")
		}
	}
}

// watch starts a watcher of c and waits until it has read everything, if sync.
func watch(t *testing.T, c *cluster, sync bool) *nomad.Watcher {
	t.Helper()
	w := &nomad.Watcher{Client: client(t, c), FirstLine: time.Minute}
	if c.silent != nil {
		w.FirstLine = 100 * time.Millisecond // The change must happen.
	}
	run(t, w, sync)
	return w
}

// run runs a watcher, and waits until it has read everything, if sync.
func run(t *testing.T, w *nomad.Watcher, sync bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	if sync {
		select {
		case <-w.Synced():
		case <-time.After(time.Minute):
			t.Fatal("not synced")
		}
	}
}

// settle waits until w has applied all lines that were sent: a job appears and vanishes.
func (c *cluster) settle(t *testing.T, w *nomad.Watcher) {
	t.Helper()
	mark := `{"Index":900,"Events":[{"Topic":"Job","Index":900,"Payload":{"Job":{"ID":"mark-00001","Namespace":"default","JobModifyIndex":900,"Meta":{"wadi_service":"mark"}},"Deleted":%t}}]}`
	for _, gone := range []bool{false, true} {
		c.say(t, fmt.Sprintf(mark, gone))
		deadline := time.After(time.Minute)
		for {
			changed := w.Changed()
			if _, ok := w.Job("", "mark-00001"); ok != gone {
				break
			}
			select {
			case <-changed:
			case <-deadline:
				t.Fatal("an event was not taken in")
			}
		}
	}
}

// until waits for the endpoints of a revision to satisfy ok.
func until(t *testing.T, w *nomad.Watcher, revision string, ok func([]wadi.Endpoint) bool) []wadi.Endpoint {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		got, changed := w.Endpoints("", revision)
		if ok(got) {
			return got
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("endpoints of %s are %+v", revision, got)
		}
	}
}

// recorded are the lines of a real Nomad.
func recorded(t *testing.T) []string {
	t.Helper()
	b, err := os.ReadFile("testdata/events.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	s := bufio.NewScanner(bytes.NewReader(b))
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		out = append(out, s.Text())
	}
	return out
}

// upTo is the part of lines with indexes up to index.
func upTo(t *testing.T, lines []string, from, to uint64) []string {
	t.Helper()
	var out []string
	for _, l := range lines {
		var b struct{ Index uint64 }
		if err := json.Unmarshal([]byte(l), &b); err != nil {
			t.Fatal(err)
		}
		if b.Index > from && b.Index <= to {
			out = append(out, l)
		}
	}
	return out
}

// diagnosed is what the watcher says against a revision, and since when.
func diagnosed(w *nomad.Watcher, namespace, revision string) (reason string, since time.Time) {
	d := w.Diagnosis(namespace, revision)
	return d.Reason, d.Since
}
