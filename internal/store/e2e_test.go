//go:build e2e

package store_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/consul"
	"github.com/wadi-run/wadi/internal/consul/consultest"
	"github.com/wadi-run/wadi/internal/store"
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
	deadline := time.After(3 * time.Minute)
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
	w := leader(t, s)
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
	if err := leader(t, s).PutRoute(t.Context(), route("hello", 1)); err != nil {
		t.Fatal(err)
	}
	got := watchRoutes(t, a.URL)
	waitRoutes(t, got, 1)
	a.Restart()
	waitRoutes(t, got, 0)
	if again := submit(t, s, "hello", 1, 0); again >= index {
		t.Fatalf("index is %d, want it to be below %d for this test", again, index)
	}
	if err := leader(t, s).PutRoute(t.Context(), route("hello", 1)); err != nil {
		t.Fatal(err)
	}
	waitRoutes(t, got, 1)
}

func TestStore_RightsInRealConsul(t *testing.T) {
	const token = "5f1b6c1e-2222-4000-8000-000000000000"
	a := consultest.StartAgent(t, false, `acl {
		enabled        = true
		default_policy = "deny"
		tokens { initial_management = "`+token+`" }
	}`)
	with := func(token string) *store.Store {
		c, err := consul.New(consul.Config{Address: a.URL, Token: token})
		if err != nil {
			t.Fatal(err)
		}
		return store.New(c, "wadi", "one", hclog.NewNullLogger())
	}
	mine, foreign := with(token), with("")
	if err := mine.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	submit(t, mine, "hello", 1, 0)
	lock := takeLead(t, mine)
	_, listErr := foreign.Services(t.Context()) // Consul itself answers with nothing.
	_, _, specErr := foreign.Spec(t.Context(), "hello")
	_, loadErr := foreign.Writer(lock).Load(t.Context(), "hello")
	for what, err := range map[string]error{
		"check": foreign.Check(t.Context()), "list": listErr, "spec": specErr, "load": loadErr,
		"state":  foreign.Writer(lock).PutState(t.Context(), "hello", wadi.State{}),
		"forget": foreign.Writer(lock).Forget(t.Context(), "hello"),
	} {
		if !errors.Is(err, wadi.ErrForbidden) && !errors.Is(err, wadi.ErrOwnRight) {
			t.Errorf("%s without rights: got %v, want ErrForbidden or ErrOwnRight", what, err)
		}
	}
}
