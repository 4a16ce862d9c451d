package server_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/admission/admissiontest"
	"github.com/wadi-run/wadi/agent/server"
)

// busyStore is a store of which each list takes a second, and that counts those at a time.
type busyStore struct {
	*admissiontest.Store
	now, most atomic.Int64
}

func (s *busyStore) Services(ctx context.Context) ([]string, error) {
	n := s.now.Add(1)
	defer s.now.Add(-1)
	for most := s.most.Load(); n > most && !s.most.CompareAndSwap(most, n); most = s.most.Load() {
	}
	if err := wadi.Sleep(ctx, time.Second); err != nil {
		return nil, err
	}
	return s.Store.Services(ctx)
}

// A bounded number of reads is answered at a time. One client's flood waits in order behind
// itself, and what does not get its turn is refused; another client's read is answered first.
func TestReads_InTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &busyStore{Store: &admissiontest.Store{}}
		_, s := newUnserved(t, func(c *server.Config) { c.Store, c.RequestsPerSecond = store, 10_000 })
		read := func(remote string) int {
			r := httptest.NewRequest("GET", "/v1/services", nil)
			r.RemoteAddr = remote
			w := httptest.NewRecorder()
			s.Handler().ServeHTTP(w, r)
			return w.Code
		}
		var flood sync.WaitGroup
		var answered, refused atomic.Int64
		for range 500 {
			flood.Go(func() {
				switch code := read("192.0.2.1:1"); code {
				case http.StatusOK:
					answered.Add(1)
				case http.StatusServiceUnavailable:
					refused.Add(1)
				default:
					t.Errorf("got %d", code)
				}
			})
		}
		synctest.Wait()
		began := time.Now()
		if code := read("192.0.2.2:1"); code != http.StatusOK || time.Since(began) > time.Second {
			t.Errorf("another client: got %d after %s", code, time.Since(began))
		}
		flood.Wait()
		if most := store.most.Load(); most > 17 { // Half of all turns, and the other client's.
			t.Errorf("%d reads were answered at a time", most)
		}
		if answered.Load() < 100 || answered.Load()+refused.Load() != 500 {
			t.Errorf("%d were answered, %d refused", answered.Load(), refused.Load())
		}
		if code := read("192.0.2.1:1"); code != http.StatusOK {
			t.Errorf("after the flood: got %d", code)
		}
	})
}

// Callers whose bodies do not come keep no turn from others, whatever rights they have.
func TestReads_SlowBodiesTakeNoTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s := newUnserved(t, nil)
		body, never := io.Pipe()
		var slow sync.WaitGroup
		for i := range 32 {
			slow.Go(func() {
				r := httptest.NewRequest("PUT", "/v1/service/hello/scale", body)
				r.RemoteAddr = fmt.Sprintf("192.0.2.%d:1", i/16)
				s.Handler().ServeHTTP(httptest.NewRecorder(), r)
			})
		}
		synctest.Wait()
		r, w := httptest.NewRequest("GET", "/v1/services", nil), httptest.NewRecorder()
		r.RemoteAddr = "192.0.2.9:1"
		if s.Handler().ServeHTTP(w, r); w.Code != http.StatusOK {
			t.Errorf("a read of another client: %d %s", w.Code, w.Body)
		}
		_ = never.Close()
		slow.Wait()
	})
}
