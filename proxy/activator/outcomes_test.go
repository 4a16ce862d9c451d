package activator_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/activator"
)

// outcomesOf is what an activator has counted itself, of all revisions.
func outcomesOf(a *activator.Activator) string {
	all := wadi.Outcomes{}
	for _, r := range a.Recorders() {
		o, _ := r.Outcomes()
		all = all.Add(o)
	}
	return fmt.Sprint(all.Codes)
}

// What an instance has answered counts there, and not here as well; a cold start counts here,
// once however many requests wait for it.
func TestOutcomes_NotThoseOfInstances(t *testing.T) {
	g := newRig(t, settings())
	done := make(chan answer, 3)
	for range 3 {
		go func() { done <- g.get(t) }()
	}
	g.waiting(t, 3)
	b := newBackend(t, "alloc-1")
	b.app = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }
	g.place(b.ep)
	for range 3 {
		if got := <-done; got.status != 503 {
			t.Errorf("got %v", got)
		}
	}
	g.get(t)
	if got := outcomesOf(g.act); got != "map[]" {
		t.Errorf("counted %s", got)
	}
	if o, _ := g.act.Recorders()[0].Outcomes(); o.ColdStarts != 1 {
		t.Errorf("%d cold starts", o.ColdStarts)
	}
}

// A caller that leaves the queue got no answer; an instance that breaks off without one has
// failed, and a request that may not be called is none of the revision's.
func TestOutcomes_GoneBrokenAndDenied(t *testing.T) {
	g := newRig(t, settings())
	ctx, leave := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); g.do(g.request(t, http.MethodGet, "/", nil).WithContext(ctx)) }()
	g.waiting(t, 1)
	leave()
	<-done
	until(t, "it is counted", func() bool { return outcomesOf(g.act) == "map[499:1]" })

	b := newBackend(t, "alloc-1")
	b.app = func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	g.place(b.ep)
	wantRefusal(t, g.do(g.request(t, http.MethodPost, "/", nil)), 502, "instance_failed", "")
	if got := outcomesOf(g.act); got != "map[499:1 502:1]" {
		t.Errorf("counted %s", got)
	}
	g.act.SetRoutes(nil)
	wantRefusal(t, g.get(t), 404, "unknown_revision", "")
	if got := outcomesOf(g.act); got != "map[]" && got != "map[499:1 502:1]" {
		t.Errorf("counted %s", got)
	}
}
