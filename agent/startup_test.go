package agent

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
)

// A start says what it waits for, and why, until that is there; and it ends with its context.
func TestStartup_Await(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &logLines{}
		s := newStartup(hclog.New(&hclog.LoggerOptions{Name: "wadi", Output: log}))
		began := time.Now()
		if !s.await(t.Context(), "Consul", "http://c", func(context.Context) error {
			if time.Since(began) < 70*time.Second {
				return errors.New("no leader")
			}
			if got := s.waitsFor(); got != "waits for Consul at http://c: no leader" {
				t.Errorf("it waits for %q", got)
			}
			return nil
		}) {
			t.Error("it gave up")
		}
		if got := len(log.matching(": waiting:")); got != 3 { // At once, and every half minute.
			t.Errorf("it logged %d times that it waits, want 3", got)
		}
		if got := log.matching(": reached:"); len(got) != 1 {
			t.Errorf("it logged %q", got)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if s.await(ctx, "Nomad", "http://n", func(context.Context) error { return errors.New("no leader") }) {
			t.Error("it reached what never came")
		}
	})
}

// A start that waits says which rights are missing, looks again now and then, and logs each
// once.
func TestStartup_MissingRights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &logLines{}
		s := newStartup(hclog.New(&hclog.LoggerOptions{Name: "wadi", Output: log}))
		looks := 0
		s.lacking = func(context.Context) []wadi.Finding {
			looks++
			return []wadi.Finding{{About: "Nomad", What: "it lacks list-jobs", Remedy: "give it"}}
		}
		began := time.Now()
		s.await(t.Context(), "Nomad", "http://n", func(context.Context) error {
			switch since := time.Since(began); {
			case since > 12*time.Second:
				return nil
			case since > time.Second && s.waitsFor() != "waits for Nomad at http://n: no stream; it lacks list-jobs":
				t.Errorf("it waits for %q", s.waitsFor())
			}
			return errors.New("no stream")
		})
		if looks != 3 {
			t.Errorf("it looked %d times in 12 s, want 3", looks)
		}
		if got := log.matching("a right is missing"); len(got) != 1 || !strings.Contains(got[0], "it lacks list-jobs") {
			t.Errorf("it logged %q", got)
		}
	})
}

// Until the start is done, requests are refused without the reason, which names addresses.
func TestStartup_Gate(t *testing.T) {
	s := newStartup(hclog.NewNullLogger())
	h := s.gate(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	ask := func() *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		return w
	}
	why := "waits for Consul at http://10.0.0.1:8500"
	s.waits.Store(&why)
	if w := ask(); w.Code != http.StatusServiceUnavailable || w.Header().Get("Wadi-Error") != "starting" || strings.Contains(w.Body.String(), "10.0.0.1") {
		t.Errorf("before: %d, %v, %s", w.Code, w.Header(), w.Body)
	}
	s.done()
	if w := ask(); w.Code != http.StatusTeapot {
		t.Errorf("after: %d", w.Code)
	}
}
