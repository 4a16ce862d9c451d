//go:build e2e

package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/consul/consultest"
)

func TestStore_RealConsul(t *testing.T) {
	a := consultest.StartAgent(t, false)
	runAll(t, func(t *testing.T) string {
		a.Restart() // In dev mode it forgets.
		return a.URL
	})
}

// watchRoutes returns what a watch says at last.
func watchRoutes(t *testing.T, url string) <-chan map[string]wadi.Route {
	ctx, cancel := context.WithCancel(context.Background())
	got, done := make(chan map[string]wadi.Route, 100), make(chan struct{})
	go func() {
		defer close(done)
		_ = open(t, url).WatchRoutes(ctx, func(m map[string]wadi.Route) { got <- m })
	}()
	t.Cleanup(func() { cancel(); <-done })
	return got
}

func waitRoutes(t *testing.T, got <-chan map[string]wadi.Route, n int) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		select {
		case m := <-got:
			if len(m) == n {
				return
			}
		case <-deadline:
			t.Fatalf("no answer with %d routes within 30 s", n)
		}
	}
}

func TestStore_RestartWithMemory(t *testing.T) {
	a := consultest.StartAgent(t, true)
	s := open(t, a.URL)
	submit(t, s, "hello", 1, 0)
	w := s.Writer()
	if err := w.PutRoute(t.Context(), route("hello", 1)); err != nil {
		t.Fatal(err)
	}
	got := watchRoutes(t, a.URL)
	waitRoutes(t, got, 1)
	a.Restart()
	submit(t, s, "other", 1, 0)
	if err := w.PutRoute(t.Context(), route("other", 1)); err != nil {
		t.Fatal(err)
	}
	waitRoutes(t, got, 2)
}

// A Consul that lost its data starts its index again: the watch must not wait
// for an index that comes in years.
func TestStore_RestartWithoutMemory(t *testing.T) {
	a := consultest.StartAgent(t, false)
	s := open(t, a.URL)
	index := submit(t, s, "hello", 1, 0)
	for n := 2; n < 40; n++ {
		index = submit(t, s, "hello", n, index)
	}
	if err := s.Writer().PutRoute(t.Context(), route("hello", 1)); err != nil {
		t.Fatal(err)
	}
	got := watchRoutes(t, a.URL)
	waitRoutes(t, got, 1)
	a.Restart()
	waitRoutes(t, got, 0)
	if again := submit(t, s, "hello", 1, 0); again >= index {
		t.Fatalf("index is %d, want it to be below %d for this test", again, index)
	}
	if err := s.Writer().PutRoute(t.Context(), route("hello", 1)); err != nil {
		t.Fatal(err)
	}
	waitRoutes(t, got, 1)
}
