package store_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/consul/consultest"
)

func TestCheck_WithoutRights(t *testing.T) {
	f := consultest.Start(t)
	f.Deny("wadi/")
	if err := open(t, f.URL).Check(t.Context()); !errors.Is(err, wadi.ErrForbidden) {
		t.Errorf("got %v, want ErrForbidden", err)
	}
	f.Deny("")
	if err := open(t, f.URL).Check(t.Context()); err != nil {
		t.Errorf("with rights: %v", err)
	}
	if keys := f.Keys(); len(keys) != 0 {
		t.Errorf("left behind: %v", keys)
	}
}

// Without the right to read, Consul answers a list as if it were empty. The watch does not
// report that, neither at first nor later.
func TestWatch_DoesNotBelieveEmptinessWithoutRights(t *testing.T) {
	f := consultest.Start(t)
	s := open(t, f.URL)
	submit(t, s, "hello", 1, 0)
	if err := leader(t, s).PutRoute(t.Context(), route("hello", 1)); err != nil {
		t.Fatal(err)
	}
	f.Deny("wadi/")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got := make(chan map[string]wadi.Route, 100)
	go func() { _ = s.WatchRoutes(ctx, func(m map[string]wadi.Route) { got <- m }) }()
	quiet := func() {
		t.Helper()
		select {
		case m := <-got:
			t.Fatalf("told %d routes", len(m))
		case <-time.After(300 * time.Millisecond):
		}
	}
	quiet()
	f.Deny("")
	if m := <-got; len(m) != 1 {
		t.Fatalf("told %d routes, want 1", len(m))
	}
	f.Deny("wadi/")
	f.Put("elsewhere", nil) // Wakes the query.
	quiet()
	f.Deny("")
	f.Fail(http.StatusInternalServerError)
	quiet()
}

// The right to read that comes back right after an empty list does not make that list true.
func TestList_RightsThatComeBackInBetween(t *testing.T) {
	f := consultest.Start(t)
	s := open(t, f.URL)
	submit(t, s, "hello", 1, 0)
	if err := leader(t, s).PutRoute(t.Context(), route("hello", 1)); err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse(f.URL)
	if err != nil {
		t.Fatal(err)
	}
	front := httputil.NewSingleHostReverseProxy(target)
	front.ModifyResponse = func(r *http.Response) error {
		if r.Request.URL.Query().Has("recurse") {
			f.Deny("")
		}
		return nil
	}
	srv := httptest.NewServer(front)
	t.Cleanup(srv.Close)
	s = open(t, srv.URL)

	f.Deny("wadi/")
	if services, err := s.Services(t.Context()); err != nil || len(services) != 1 {
		t.Errorf("services: got %v (%v), want one", services, err)
	}
	f.Deny("wadi/")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got := make(chan map[string]wadi.Route, 100)
	go func() { _ = s.WatchRoutes(ctx, func(m map[string]wadi.Route) { got <- m }) }()
	if m := <-got; len(m) != 1 {
		t.Errorf("told %d routes, want 1", len(m))
	}
}

func TestWatchRoutes_KeepsWhatItUnderstoodLast(t *testing.T) {
	f := consultest.Start(t)
	s := open(t, f.URL)
	for _, name := range []string{"hello", "other"} {
		submit(t, s, name, 1, 0)
		if err := leader(t, s).PutRoute(t.Context(), route(name, 1)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got := make(chan map[string]wadi.Route, 100)
	go func() { _ = s.WatchRoutes(ctx, func(m map[string]wadi.Route) { got <- m }) }()
	<-got
	f.Put("wadi/route/hello", []byte(`{"schema":9,"kind":"route","data":{}}`))
	f.Put("wadi/route/third", []byte(`rubbish`))
	for m := range got {
		if len(m) != 2 || m["hello"].Targets == nil {
			t.Fatalf("told %v, want both as they were", m)
		}
		if len(got) == 0 {
			return
		}
	}
}

func TestStore_ConsulAway(t *testing.T) {
	f := consultest.Start(t)
	s := open(t, f.URL)
	submit(t, s, "hello", 1, 0)
	w := leader(t, s)
	f.Fail(http.StatusInternalServerError)
	_, _, err := s.Spec(t.Context(), "hello")
	if !errors.Is(err, wadi.ErrUnavailable) || errors.Is(err, wadi.ErrNotFound) {
		t.Errorf("spec: got %v, want ErrUnavailable", err)
	}
	if _, err := w.Load(t.Context(), "hello"); !errors.Is(err, wadi.ErrUnavailable) {
		t.Errorf("load: got %v, want ErrUnavailable", err)
	}
	if err := w.PutState(t.Context(), "hello", wadi.State{}); !errors.Is(err, wadi.ErrUnavailable) {
		t.Errorf("put: got %v, want ErrUnavailable", err)
	}
	f.Fail(0)
	if err := w.PutState(t.Context(), "hello", wadi.State{}); err != nil {
		t.Errorf("when it is back: %v", err)
	}
}

// A single read does not report such an empty list either.
func TestServices_DoesNotBelieveEmptinessWithoutRights(t *testing.T) {
	f := consultest.Start(t)
	s := open(t, f.URL)
	if all, err := s.Services(t.Context()); len(all) != 0 || err != nil {
		t.Errorf("empty: got %v, %v", all, err)
	}
	submit(t, s, "hello", 1, 0)
	f.Deny("wadi/")
	if all, err := s.Services(t.Context()); !errors.Is(err, wadi.ErrOwnRight) {
		t.Errorf("services: got %v, %v", all, err)
	}
	if all, err := s.Revisions(t.Context(), "hello"); !errors.Is(err, wadi.ErrOwnRight) {
		t.Errorf("revisions: got %v, %v", all, err)
	}
	f.Deny("")
	if all, err := s.Services(t.Context()); len(all) != 1 || err != nil {
		t.Errorf("with rights: got %v, %v", all, err)
	}
}

// A write of the leader that a restore of Consul has undone is reported, so that the leader
// reads it again: else the other agents would follow another route than the leader's.
func TestWatch_TellsWhatIsUndone(t *testing.T) {
	f, s := openFake(t)
	submit(t, s, "hello", 1, 0)
	submit(t, s, "other", 1, 0)
	old, err := s.Consul().Get(t.Context(), "wadi/index/hello")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done, told := make(chan error), make(chan []string, 10)
	go func() { done <- s.Watch(ctx, func(names []string) { told <- names }) }()
	defer func() { cancel(); <-done }()
	want := func(names ...string) {
		t.Helper()
		select {
		case got := <-told:
			if !slices.Equal(got, names) {
				t.Fatalf("told of %v, want %v", got, names)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("told of nothing, want %v", names)
		}
	}
	want("hello", "other")
	if err := leader(t, s).PutRoute(t.Context(), route("hello", 1)); err != nil {
		t.Fatal(err)
	}
	submit(t, s, "third", 1, 0)
	want("third") // The route is seen by now.
	f.RestoreKey("wadi/index/hello", old.Value, old.Index)
	want("hello")
}
