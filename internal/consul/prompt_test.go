package consul_test

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi/internal/consul"
)

// However many ask at once, Consul gets a bounded number of requests at a time; blocking
// queries, which wait in Consul, take none of them. A failed request leaves its place to
// the next.
func TestClient_BoundsRequests(t *testing.T) {
	var now, blocked atomic.Int64
	answer := make(chan struct{})
	open := sync.OnceFunc(func() { close(answer) })
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		count := &now
		if r.URL.Query().Get("index") != "" {
			count = &blocked
		}
		count.Add(1)
		<-answer
		if r.URL.Path == "/v1/status/peers" {
			panic(http.ErrAbortHandler)
		}
		_, _ = w.Write([]byte(`"10.0.0.1:8300"`))
	}))
	defer s.Close()
	defer open()
	c, err := consul.New(consul.Config{Address: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i := range 2 * consul.MaxPrompt {
		all.Go(func() { _, _ = c.API().Raw().Query("/v1/status/leader", new(string), &api.QueryOptions{WaitIndex: 7}) })
		path := "/v1/status/leader"
		if i%2 == 0 {
			path = "/v1/status/peers"
		}
		all.Go(func() { _, _ = c.API().Raw().Query(path, new(string), nil) })
	}
	for late := time.Now().Add(time.Minute); now.Load() < consul.MaxPrompt || blocked.Load() < 2*consul.MaxPrompt; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(late) {
			t.Fatalf("%d requests are under way, and %d wait in Consul", now.Load(), blocked.Load())
		}
	}
	time.Sleep(100 * time.Millisecond) // Time for one too many to come.
	if n := now.Load(); n != consul.MaxPrompt {
		t.Errorf("%d requests are under way at once, want %d", n, consul.MaxPrompt)
	}
	open()
	all.Wait()
	if _, err := c.Leader(t.Context()); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}
