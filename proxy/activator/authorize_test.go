package activator_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/activator"
)

// gate lets web pass to hello, unless it has something against it.
type gate struct {
	caller string
	odd    error
	err    error
	asked  []string
}

func (g *gate) Caller(*http.Request) (string, error) { return g.caller, g.odd }

func (g *gate) Authorize(caller, service string, r *http.Request) error {
	// What the leg of the splitter has set is still there.
	g.asked = append(g.asked, caller+" to "+service+" "+r.Header.Get(wadi.HeaderRevision))
	return g.err
}

// A caller that is not let pass gets an answer at once: nothing is woken, nothing
// waits, nothing is counted as load.
func TestMeshHandler_Denied(t *testing.T) {
	for name, tt := range map[string]struct {
		gate        gate
		status      int
		code, retry string
		message     string
		asked       int
		revision    string
	}{
		"denied":            {gate: gate{caller: "web", err: fmt.Errorf("%w: web may not", wadi.ErrForbidden)}, status: 403, code: activator.CodeDenied, message: "web may not", asked: 1},
		"any other error":   {gate: gate{caller: "web", err: errors.New("odd")}, status: 403, code: activator.CodeDenied, asked: 1},
		"not known yet":     {gate: gate{caller: "web", err: fmt.Errorf("%w: not read yet", wadi.ErrUnavailable)}, status: 503, code: activator.CodeUnjudged, retry: "1", asked: 1},
		"no identity":       {gate: gate{odd: errors.New("secret detail")}, status: 403, code: activator.CodeDenied},
		"before it is told": {gate: gate{caller: "web", err: wadi.ErrForbidden}, status: 403, code: activator.CodeDenied, asked: 1, revision: "hello-00009"},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, settings())
			g.srv.Config.Handler = g.act.MeshHandler(&tt.gate)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // Of one that waits all the same.
			defer cancel()
			r := g.request(t, http.MethodPost, "/", strings.NewReader("body")).WithContext(ctx)
			r.Header.Set(wadi.HeaderService, service)
			r.Header.Set(wadi.HeaderRevision, cmp.Or(tt.revision, revision))
			got := g.do(r)
			if got.status != tt.status || got.header.Get(activator.HeaderError) != tt.code || got.header.Get("Retry-After") != tt.retry {
				t.Errorf("got %v", got)
			}
			if !strings.Contains(got.body, tt.message) || strings.Contains(got.body, "secret") {
				t.Errorf("got %q", got.body)
			}
			if len(tt.gate.asked) != tt.asked {
				t.Errorf("asked %v", tt.gate.asked)
			}
			if n := len(g.act.Recorders()); n != 0 {
				t.Errorf("%d revisions have statistics", n)
			}
			if backlog := g.act.Backlog().Take(); len(backlog) != 0 || g.cluster.wakes[revision] != 0 {
				t.Errorf("queues grew: %v, wakes: %v", backlog, g.cluster.wakes)
			}
			if n := g.gauge(t, "wadi_activator_refusals_total"); n != 1 || g.gauge(t, "wadi_activator_requests_total") != 0 {
				t.Errorf("%v refusals counted", n)
			}
		})
	}
}

func TestMeshHandler_Authorized(t *testing.T) {
	g := newRig(t, settings())
	b := newBackend(t, "alloc-1")
	g.place(b.ep)
	gate := &gate{caller: "web"}
	g.srv.Config.Handler = g.act.MeshHandler(gate)
	r := g.request(t, http.MethodGet, "/", nil)
	r.Header.Set(wadi.HeaderService, service)
	r.Header.Set(wadi.HeaderRevision, revision)
	if got := g.do(r); got.status != 200 {
		t.Fatalf("got %v", got)
	}
	// Who it is counts for every request of a connection, not once.
	gate.err = wadi.ErrForbidden
	if got := g.do(r.Clone(t.Context())); got.status != 403 {
		t.Errorf("got %v", got)
	}
	if want := "web to hello hello-00001"; len(gate.asked) != 2 || gate.asked[0] != want {
		t.Errorf("asked %q, want %q", gate.asked, want)
	}
}
