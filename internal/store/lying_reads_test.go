package store_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/consul/consultest"
	"github.com/wadi-run/wadi/test/harness/faultproxy"
)

// Something before Consul answers all reads with nothing, with a true index, while writes
// get through. Nothing of that is believed: neither that all services are gone, nor that one
// is, nor that a revision is.
func TestReads_AnsweredWithNothing(t *testing.T) {
	f := consultest.Start(t)
	p, err := faultproxy.Start(strings.TrimPrefix(f.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	s := open(t, "http://"+p.Addr)
	submit(t, s, "hello", 1, 0)
	w := leader(t, s)
	if err := w.PutRoute(t.Context(), route("hello", 1)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got := make(chan map[string]wadi.Route, 100)
	go func() { _ = s.WatchRoutes(ctx, func(m map[string]wadi.Route) { got <- m }) }()
	if m := <-got; len(m) != 1 {
		t.Fatalf("told %d routes, want 1", len(m))
	}

	p.Set(faultproxy.Fault{Empty: true, Match: func(r *http.Request) bool { return r.Method == http.MethodGet }})
	if names, err := s.Services(t.Context()); err != nil || len(names) != 1 {
		t.Errorf("services: got %v (%v), want one", names, err)
	}
	if _, err := s.Revision(t.Context(), "hello", "hello-00001"); err != nil {
		t.Errorf("revision: got %v, want it", err)
	}
	if _, err := w.Load(t.Context(), "hello"); errors.Is(err, wadi.ErrNotFound) {
		t.Errorf("load: got %v, want that it exists", err)
	}
	if _, _, err := s.Spec(t.Context(), "other"); !errors.Is(err, wadi.ErrNotFound) {
		t.Errorf("what is not there: got %v, want ErrNotFound", err)
	}
	for deadline := time.After(3 * time.Second); ; {
		select {
		case m := <-got:
			if len(m) != 1 {
				t.Fatalf("told %d routes, want 1", len(m))
			}
			continue
		case <-deadline:
		}
		break
	}
	p.Set()
	if err := w.PutRoute(t.Context(), route("hello", 2)); err != nil {
		t.Fatal(err)
	}
	for m := range got { // Not held up by what was answered meanwhile.
		if len(m) == 1 && m["hello"].Targets[0].Weight == 2 {
			return
		}
	}
}
