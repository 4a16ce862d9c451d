package stats_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/stats"
)

// poll asks h, and returns the answer and how long it took.
func poll(t *testing.T, h http.Handler, query string) (wadi.Stats, time.Duration) {
	t.Helper()
	begun := time.Now()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/stats?"+query, nil))
	var st wadi.Stats
	if err := json.Unmarshal(w.Body.Bytes(), &st); err != nil {
		t.Fatalf("answer %d %q: %v", w.Code, w.Body, err)
	}
	return st, time.Since(begun)
}

func TestStats_IdleBlocksUntilARequestsSecondIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := stats.NewRecorder("", "", "", time.Hour)
		h := stats.Handler(r)
		time.AfterFunc(5300*time.Millisecond, func() { r.Begin(false)() })
		got, took := poll(t, h, "since=0&wait=30s")
		if took != 6*time.Second || got.Now != 6 || len(got.Samples) != 1 || got.Samples[0].N != 5 {
			t.Errorf("after %v: %+v", took, got)
		}
		got, took = poll(t, h, "since=6&wait=30s")
		if took != 30*time.Second || len(got.Samples) != 0 || got.Now != 36 {
			t.Errorf("idle, after %v: %+v", took, got)
		}
	})
}

func TestStats_BusyAnswersOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := stats.NewRecorder("", "", "", time.Hour)
		h := stats.Handler(r)
		defer r.Begin(false)()
		since := int64(0)
		for i := range int64(5) {
			got, took := poll(t, h, fmt.Sprintf("wait=30s&since=%d", since))
			if took != time.Second || len(got.Samples) != 1 || got.Samples[0].N != i || got.Now != i+1 {
				t.Fatalf("poll %d after %v: %+v", i, took, got)
			}
			since = got.Now
		}
		if got, took := poll(t, h, "since=2"); took != 0 || len(got.Samples) != 3 {
			t.Errorf("without wait, after %v: %+v", took, got)
		}
		if _, took := poll(t, h, "since=2&wait=30s"); took != 0 {
			t.Errorf("history came after %v, want at once", took)
		}
		if _, took := poll(t, h, "since=1000&wait=30s"); took != 0 {
			t.Errorf("a since of another boot was answered after %v, want at once", took)
		}
	})
}

func TestStats_WakeEndsAPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := stats.NewClock()
		r := clock.NewRecorder("", "", "", time.Hour)
		h := stats.Handler(r, func(h http.Header) { h.Set("X-Seen", "yes") })
		time.AfterFunc(2500*time.Millisecond, clock.Wake)
		got, took := poll(t, h, "since=0&wait=30s")
		if took != 2500*time.Millisecond || got.Now != 2 {
			t.Errorf("woken after %v: %+v", took, got)
		}
		time.AfterFunc(200*time.Millisecond, clock.Wake) // In the same second as the one before.
		if _, took = poll(t, h, "since=2&wait=30s"); took != 200*time.Millisecond {
			t.Errorf("woken again after %v", took)
		}
		// The wake could have come between two polls: the second is answered once more.
		if got, took = poll(t, h, "since=2&wait=30s"); took != 300*time.Millisecond || got.Now != 3 {
			t.Errorf("told again after %v: %+v", took, got)
		}
		if _, took = poll(t, h, "since=3&wait=30s"); took != 30*time.Second {
			t.Errorf("answered after %v, want 30s", took)
		}
	})
}

func TestStats_ReaderGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := stats.Handler(stats.NewRecorder("", "", "", time.Hour))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begun := time.Now()
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/?wait=30s", nil))
		if took := time.Since(begun); took != time.Second {
			t.Errorf("returned after %v, want 1s", took)
		}
	})
}

func TestStats_ManyAnswersALineForEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := stats.NewClock()
		recorders := []*stats.Recorder{clock.NewRecorder("n", "b", "a-00001", time.Hour)}
		h := stats.HandlerOfMany(clock, func() []*stats.Recorder { return recorders })
		time.Sleep(1500 * time.Millisecond)
		recorders = append(recorders, clock.NewRecorder("n", "b", "b-00001", time.Hour))
		recorders[1].Enter(false)
		recorders[1].ColdStart()
		recorders[1].Refused(stats.HTTP(503))
		recorders[1].LeaveAnswered(false, stats.HTTP(200), 2*time.Millisecond)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/?since=1&wait=5s", nil))
		want := `{"source":"n","boot":"b","now":2,"revision":"a-00001","samples":[],"outcomes":{}}
{"source":"n","boot":"b","now":2,"revision":"b-00001","samples":[[1,0,0,1,0]],"outcomes":{"codes":{"200":1,"503":1},"latency":[2000,1],"cold_starts":1}}
`
		if got := w.Body.String(); got != want {
			t.Errorf("got\n%swant\n%s", got, want)
		}
	})
}

func TestStats_BadQuestion(t *testing.T) {
	h := stats.Handler(stats.NewRecorder("", "", "", time.Hour))
	for _, tt := range []struct {
		method, query, want string
		status              int
	}{
		{"GET", "since=-1", "since must be", http.StatusBadRequest},
		{"GET", "since=soon", "since must be", http.StatusBadRequest},
		{"GET", "wait=30", "wait must be", http.StatusBadRequest},
		{"POST", "", "not allowed", http.StatusMethodNotAllowed},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(tt.method, "/?"+tt.query, nil))
		if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.want) {
			t.Errorf("%s ?%s: %d %q", tt.method, tt.query, w.Code, w.Body)
		}
	}
}
