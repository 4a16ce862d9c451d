package activator

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/wadi-run/wadi/proxy/lazy"
)

// One timer serves all deadlines: it fires for the earliest, then for the next.
func TestInFlight_OneTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		fired := make(chan time.Duration, 10)
		var mu sync.Mutex // As the revision's.
		f := inFlight{}
		f.onTimer = func() {
			mu.Lock()
			defer mu.Unlock()
			f.expire(time.Now())
			fired <- time.Since(began)
		}
		at := func(d time.Duration) *request {
			q := &request{ctx: lazy.New(context.Background())}
			if d > 0 {
				q.deadline = began.Add(d)
			}
			return q
		}
		late, over, early, never := at(3*time.Second), at(2*time.Second), at(time.Second), at(0)
		mu.Lock()
		for _, q := range []*request{late, over, early, never} {
			f.add(q)
		}
		f.remove(over) // Its answer came in time.
		mu.Unlock()
		time.Sleep(time.Minute)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		for _, want := range []time.Duration{time.Second, 3 * time.Second} {
			if got := <-fired; got != want {
				t.Errorf("fired after %v, want %v", got, want)
			}
		}
		if len(fired) != 0 {
			t.Errorf("fired again after %v", <-fired)
		}
		if early.expired == nil || late.expired == nil || over.expired != nil || never.expired != nil {
			t.Error("the wrong requests expired")
		}
		if early.ctx.Cause() != errDeadline || never.ctx.Cause() != nil {
			t.Errorf("contexts ended by %v and %v", early.ctx.Cause(), never.ctx.Cause())
		}
	})
}

// A few bytes more would cost each request 64: the allocator's next size is 576.
func TestRequest_FitsItsSizeClass(t *testing.T) {
	if size := unsafe.Sizeof(request{}); size > 512 {
		t.Errorf("a request has %d bytes, want at most 512", size)
	}
}
