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

// A request that a draining instance serves keeps it from settling; a probe doesn't.
func TestDrain_SeesRequests(t *testing.T) {
	cfg, errs := ParseEnv([]string{"WADI_SERVICE=hello", "WADI_REVISION=hello-00001", "WADI_LISTEN=127.0.0.1:0",
		"WADI_ADMIN=127.0.0.1:0", "WADI_METRICS=127.0.0.1:0", "WADI_TARGET=127.0.0.1:1"})
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	for header, want := range map[string]time.Duration{
		wadi.HeaderRevision: DefaultSettle * 3 / 2,
		wadi.HeaderProbe:    DefaultSettle,
	} {
		synctest.Test(t, func(t *testing.T) {
			p, err := New(t.Context(), cfg, hclog.NewNullLogger(), io.Discard)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			go p.drain.Run(t.Context(), p.settle())
			begun := time.Now()
			p.startDrain()
			time.Sleep(DefaultSettle / 2)
			func() {
				defer func() { _ = recover() }() // The answer is aborted.
				gone, cancel := context.WithCancel(t.Context())
				cancel() // The caller has gone, so that no answer is needed.
				r := httptest.NewRequestWithContext(gone, http.MethodGet, "/", nil)
				r.Header.Set(header, "hello-00001")
				p.trafficHandler().ServeHTTP(httptest.NewRecorder(), r)
			}()
			<-p.drain.Settled()
			if took := time.Since(begun); took != want {
				t.Errorf("%s: settled after %v, want %v", header, took, want)
			}
		})
	}
}
