package server_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/admission/admissiontest"
	"github.com/wadi-run/wadi/agent/server"
)

// changes is a fake of the indexes of services. Each read that waits is told on waiting.
type changes struct {
	waiting chan string

	mu      sync.Mutex
	at      map[string]uint64
	err     error
	changed chan struct{}
}

func newChanges() *changes {
	return &changes{waiting: make(chan string, 1000), at: map[string]uint64{}, changed: make(chan struct{})}
}

// set changes the index of a service, and that of all.
func (c *changes) set(service string, index uint64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at[service], c.at[""], c.err = index, index, err
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *changes) Index(_ context.Context, service string) (uint64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at[service], c.err
}

func (c *changes) Wait(ctx context.Context, service string, index uint64) error {
	c.waiting <- service
	for {
		c.mu.Lock()
		at, err, changed := c.at[service], c.err, c.changed
		c.mu.Unlock()
		if err != nil || at != index {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

func newBlockingBench(t *testing.T) (bench, *changes) {
	c := newChanges()
	c.set("hello", 7, nil)
	b := newBench(t, func(conf *server.Config) { conf.Changes = c })
	b.want(t, 200, "PUT", "/v1/services", submission(hello))
	return b, c
}

var blockingReads = []string{"/v1/services", "/v1/service/hello", "/v1/service/hello/revisions", "/v1/revision/hello-00001"}

func TestBlocking_AnswersWhenTheIndexIsAnother(t *testing.T) {
	b, c := newBlockingBench(t)
	for i, path := range blockingReads {
		index := uint64(7 + i)
		a := b.want(t, 200, "GET", path, "")
		if got := a.header.Get("X-Wadi-Index"); got != fmt.Sprint(index) {
			t.Errorf("%s: index %q, want %d", path, got, index)
		}
		done := make(chan answer, 1)
		go func() { done <- b.ask(t, "GET", fmt.Sprintf("%s?index=%d&wait=10m", path, index), "") }()
		<-c.waiting
		select {
		case a := <-done:
			t.Errorf("%s: %d before a change", path, a.status)
		default:
		}
		c.set("hello", index+1, nil)
		a = <-done
		a.want(t, 200, "hello")
		if got := a.header.Get("X-Wadi-Index"); got != fmt.Sprint(index+1) {
			t.Errorf("%s: index %q after a change to %d", path, got, index+1)
		}
	}
}

func TestBlocking_DoesNotWait(t *testing.T) {
	b, c := newBlockingBench(t)
	for _, query := range []string{"", "?index=0", "?index=6", "?index=8", "?index=18446744073709551615", "?wait=10m", "?index=0&wait=10m"} {
		for _, path := range blockingReads {
			if a := b.want(t, 200, "GET", path+query, ""); a.header.Get("X-Wadi-Index") != "7" {
				t.Errorf("%s%s: index %q", path, query, a.header.Get("X-Wadi-Index"))
			}
		}
	}
	for _, query := range []string{"index=-1", "index=x", "index=1.5", "index=18446744073709551616", "wait=x", "wait=-1s", "wait=5", "index=7&wait=9999999999999h", "index=7&index=8"} {
		for _, path := range blockingReads {
			b.want(t, 400, "GET", path+"?"+query, "")
		}
	}
	for _, path := range []string{"/v1/service/nobody", "/v1/service/No", "/v1/revision/hello-00009", "/v1/revision/x"} {
		for _, query := range []string{"", "?index=7", "?index=0", "?index=1"} {
			if a := b.want(t, 404, "GET", path+query, ""); a.header.Get("X-Wadi-Index") != "" {
				t.Errorf("%s%s: a missing one has the index %s", path, query, a.header.Get("X-Wadi-Index"))
			}
		}
	}
	c.set("other", 7, nil)
	b.want(t, 404, "GET", "/v1/service/other?index=7", "") // It has an index, and is gone already.
	if n := len(c.waiting); n > 0 {
		t.Errorf("%d reads waited", n)
	}
}

func TestBlocking_EndsAfterItsWait(t *testing.T) {
	b, c := newBlockingBench(t)
	a := b.want(t, 200, "GET", "/v1/service/hello?index=7&wait=1ms", "")
	if got := a.header.Get("X-Wadi-Index"); got != "7" || len(c.waiting) != 1 {
		t.Errorf("index %q, %d waited", got, len(c.waiting))
	}
}

// Who may not read does not wait, and learns nothing; who loses the right meanwhile neither.
func TestBlocking_Rights(t *testing.T) {
	b, c := newBlockingBench(t)
	b.nomad.Allow("alice", admissiontest.Grant{Read: []string{"default"}})
	b.nomad.Allow("bob", admissiontest.Grant{Read: []string{"elsewhere"}})
	for _, path := range blockingReads[1:] {
		a := b.ask(t, "GET", path+"?index=7", "", "X-Nomad-Token", "bob")
		a.want(t, 404)
		if a.header.Get("X-Wadi-Index") != "" {
			t.Errorf("%s: the index is told", path)
		}
	}
	b.ask(t, "GET", "/v1/services?index=7", "").want(t, 401)
	if n := len(c.waiting); n > 0 {
		t.Errorf("%d reads waited", n)
	}
	done := make(chan answer, 1)
	go func() { done <- b.ask(t, "GET", "/v1/service/hello?index=7", "", "X-Nomad-Token", "alice") }()
	<-c.waiting
	b.nomad.Allow("alice", admissiontest.Grant{})
	c.set("hello", 8, nil)
	(<-done).want(t, 404)
}

func TestBlocking_ConsulAway(t *testing.T) {
	b, c := newBlockingBench(t)
	done := make(chan answer, 1)
	go func() { done <- b.ask(t, "GET", "/v1/service/hello?index=7", "") }()
	<-c.waiting
	c.set("hello", 7, wadi.ErrUnavailable)
	(<-done).want(t, 503)
}

// A client has a share of the reads that may wait, and those that ended count no more.
func TestBlocking_Bounds(t *testing.T) {
	c := newChanges()
	c.set("hello", 7, nil)
	_, s := newUnserved(t, func(conf *server.Config) { conf.Changes = c })
	ask := func(ctx context.Context, client, method, path, body string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(ctx, method, path, strings.NewReader(body))
		r.RemoteAddr, r.Host = client+":1", "127.0.0.1"
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		return w
	}
	if w := ask(t.Context(), "10.0.0.9", "PUT", "/v1/services", submission(hello)); w.Code != 200 {
		t.Fatal(w.Body)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for client := range 4 {
		for range 128 {
			all.Go(func() { ask(ctx, fmt.Sprintf("10.0.0.%d", client), "GET", "/v1/service/hello?index=7", "") })
			<-c.waiting
		}
	}
	wantRefused := func(client string, status int) {
		t.Helper()
		w := ask(t.Context(), client, "GET", "/v1/service/hello?index=7", "")
		if w.Code != status || w.Header().Get("Retry-After") == "" {
			t.Errorf("client %s: %d (Retry-After %q), want %d: %s", client, w.Code, w.Header().Get("Retry-After"), status, w.Body)
		}
	}
	wantRefused("10.0.0.0", http.StatusTooManyRequests)
	wantRefused("10.0.0.7", http.StatusServiceUnavailable)
	if w := ask(t.Context(), "10.0.0.0", "GET", "/v1/service/hello", ""); w.Code != 200 {
		t.Errorf("a read that does not wait: %d", w.Code)
	}
	cancel() // The callers go away.
	all.Wait()
	again, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); ask(again, "10.0.0.0", "GET", "/v1/service/hello?index=7", "") }()
	<-c.waiting
	stop()
	<-done
}

// An agent that stops answers reads that wait, and does not cut them off.
func TestBlocking_EndsAtShutdown(t *testing.T) {
	c := newChanges()
	c.set("hello", 7, nil)
	b, s := newUnserved(t, func(conf *server.Config) { conf.Changes = c })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	b.Server = &httptest.Server{URL: "http://" + l.Addr().String()}
	b.want(t, 200, "PUT", "/v1/services", submission(hello))
	done := make(chan answer, 1)
	go func() { done <- b.ask(t, "GET", "/v1/service/hello?index=7", "") }()
	<-c.waiting
	stop()
	(<-done).want(t, 200, "hello")
	if err := <-served; err != nil {
		t.Error(err)
	}
}
