package queue

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi/proxy/upstream"
)

// flapping is an app whose probes succeed, and that refuses the first connections of a
// request.
type flapping struct {
	left, tries atomic.Int32
}

func (f *flapping) ForwardAfter(w http.ResponseWriter, _ *http.Request, _ upstream.Breaks) error {
	f.tries.Add(1)
	if f.left.Add(-1) >= 0 {
		return &upstream.ForwardError{Refused: true, Err: syscall.ECONNREFUSED}
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (*flapping) Conns() (open, idle int) { return 0, 0 }
func (*flapping) Close()                  {}

func newFlapping(t *testing.T, refusals int32) (*Proxy, *flapping) {
	t.Helper()
	cfg, errs := ParseEnv([]string{"WADI_SERVICE=hello", "WADI_REVISION=hello-00001", "WADI_INSTANCE=alloc", "WADI_LISTEN=127.0.0.1:0",
		"WADI_ADMIN=127.0.0.1:0", "WADI_METRICS=127.0.0.1:0", "WADI_TARGET=127.0.0.1:1", "WADI_LOG_LEVEL=off"})
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	p, err := New(t.Context(), cfg, hclog.NewNullLogger(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	app := &flapping{}
	app.left.Store(refusals)
	p.app = app
	ready(t, p)
	return p, app
}

// A request whose connection is refused waits for the app, however often that happens.
func TestForward_RefusedAgain(t *testing.T) {
	p, app := newFlapping(t, 4)
	rec := httptest.NewRecorder()
	p.trafficHandler().ServeHTTP(rec, httptest.NewRequest(http.MethodPost, "/", nil))
	if rec.Code != http.StatusNoContent || app.tries.Load() != 5 {
		t.Errorf("status %d after %d tries, want 204 after 5: %s", rec.Code, app.tries.Load(), rec.Body)
	}
}

// The tries end when the caller goes, and are spaced by pauses.
func TestForward_RefusedForEver(t *testing.T) {
	p, app := newFlapping(t, 1<<30)
	ctx, cancel := context.WithTimeoutCause(t.Context(), maxRefusedPause, errors.New("the test is over"))
	defer cancel()
	defer func() {
		if got := recover(); got != http.ErrAbortHandler {
			t.Errorf("it ended with %v, want it aborted", got)
		}
		// 0, 5, 10, 20 … ms apart.
		if n := app.tries.Load(); n < 3 || n > 11 {
			t.Errorf("%d tries in a second, want 3 to 11", n)
		}
	}()
	p.trafficHandler().ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodPost, "/", nil))
}

// reading is an app over HTTP/2 that has read a request's body ahead, and refuses its first
// connection.
type reading struct{ flapping }

func (f *reading) ForwardAfter(w http.ResponseWriter, r *http.Request, b upstream.Breaks) error {
	if f.tries.Load() == 0 {
		if _, err := r.Body.Read(make([]byte, 2)); err != nil {
			return err
		}
	}
	return f.flapping.ForwardAfter(w, r, b)
}

// A request of whose body some is lost is not sent again: the app would get the rest of it.
func TestForward_RefusedWithBodyLost(t *testing.T) {
	p, _ := newFlapping(t, 0)
	app := &reading{}
	app.left.Store(1)
	p.app = app
	rec := httptest.NewRecorder()
	p.trafficHandler().ServeHTTP(rec, httptest.NewRequest(http.MethodPost, "/", strings.NewReader("body")))
	if rec.Code != http.StatusBadGateway || app.tries.Load() != 1 {
		t.Errorf("status %d after %d tries, want 502 after 1: %s", rec.Code, app.tries.Load(), rec.Body)
	}
}
