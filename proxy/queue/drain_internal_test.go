package queue

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
)

// settling begins a drain and returns what tells whether it has settled.
func settling(t *testing.T, quiet, longest time.Duration) (*drain, func() bool) {
	t.Helper()
	d := newDrain()
	go d.run(t.Context(), quiet, longest)
	d.begin()
	return d, func() bool {
		synctest.Wait()
		select {
		case <-d.settled:
			return true
		default:
			return false
		}
	}
}

func TestDrain_SettlesWhenIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, settled := settling(t, DefaultSettle, time.Hour)
		begun := time.Now()
		if settled() {
			t.Error("settled at once, before anybody could hear of it")
		}
		<-d.settled
		if took := time.Since(begun); took != DefaultSettle {
			t.Errorf("took %v, want %v", took, DefaultSettle)
		}
	})
}

// As long as callers come that have not heard of the drain, they are served, but
// neither for ever nor for most of the drain's time.
func TestDrain_GoesOnServing(t *testing.T) {
	for _, tt := range []struct{ longest, want time.Duration }{
		{time.Hour, settleLongest},
		{6 * time.Second, 3 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			d, settled := settling(t, DefaultSettle, tt.longest)
			begun := time.Now()
			for !settled() {
				if time.Since(begun) > tt.want {
					t.Fatalf("not settled after %v", tt.want)
				}
				d.saw()
				time.Sleep(DefaultSettle / 5)
			}
			if took := time.Since(begun); took != tt.want {
				t.Errorf("settled after %v, want %v", took, tt.want)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		d, _ := settling(t, DefaultSettle, time.Hour)
		begun := time.Now()
		time.Sleep(DefaultSettle * 4 / 5)
		d.saw()
		<-d.settled
		if took := time.Since(begun); took != DefaultSettle*9/5 {
			t.Errorf("settled after %v, want %v after the last request", took, DefaultSettle)
		}
	})
}

// What a draining instance serves keeps it from settling; a probe doesn't.
func TestDrain_SeesRequests(t *testing.T) {
	cfg, errs := ParseEnv([]string{"WADI_SERVICE=hello", "WADI_REVISION=hello-00001", "WADI_LISTEN=127.0.0.1:0",
		"WADI_ADMIN=127.0.0.1:0", "WADI_METRICS=127.0.0.1:0", "WADI_TARGET=127.0.0.1:1"})
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	p, err := New(cfg, hclog.NewNullLogger(), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	gone, cancel := context.WithCancel(t.Context())
	cancel() // Nobody waits for the answer, so that none is needed.
	ask := func(header ...string) (seen bool) {
		defer func() {
			_ = recover() // The answer is broken off.
			seen = p.drain.latest.Load() != nil
		}()
		r := httptest.NewRequestWithContext(gone, http.MethodGet, "/", nil)
		for _, name := range header {
			r.Header.Set(name, "hello-00001")
		}
		p.trafficHandler().ServeHTTP(httptest.NewRecorder(), r)
		return false
	}
	if ask() {
		t.Error("noted before the drain has begun")
	}
	p.drain.begin()
	if ask(wadi.HeaderProbe) {
		t.Error("noted a probe")
	}
	if !ask() {
		t.Error("did not note a request")
	}
}
