package limiter_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/limiter"
)

func TestLimiter_NeverAdmitsMoreThanLimit(t *testing.T) {
	const limit, callers, rounds = 3, 40, 50
	l := limiter.New(limit, callers)
	var in, most atomic.Int64
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for i := range rounds {
				ctx, cancel := context.WithCancel(t.Context())
				if i%7 == 0 {
					go cancel() // Some are canceled at any moment.
				}
				if l.Acquire(ctx) == nil {
					if n := in.Add(1); n > most.Load() {
						most.Store(n)
					}
					in.Add(-1)
					l.Release()
				}
				cancel()
			}
		})
	}
	wg.Wait()
	if got := most.Load(); got > limit {
		t.Errorf("%d at once, want at most %d", got, limit)
	}
	if l.InFlight() != 0 || l.Waiting() != 0 {
		t.Errorf("in flight %d, waiting %d after all have left", l.InFlight(), l.Waiting())
	}
}

func TestLimiter_FirstComeFirstServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limiter.New(1, 10)
		acquire(t, l)
		var got []int
		var mu sync.Mutex
		for i := range 10 {
			go func() {
				acquire(t, l)
				mu.Lock()
				got = append(got, i)
				mu.Unlock()
				l.Release()
			}()
			synctest.Wait()
		}
		l.Release()
		synctest.Wait()
		if want := []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}; !slices.Equal(got, want) {
			t.Errorf("served %v, want %v", got, want)
		}
	})
}

func TestLimiter_FullIsRefusedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limiter.New(1, 1)
		acquire(t, l)
		go func() { acquire(t, l); l.Release() }()
		synctest.Wait()
		if err := l.Acquire(t.Context()); !errors.Is(err, wadi.ErrQueueFull) {
			t.Errorf("err=%v, want %v", err, wadi.ErrQueueFull)
		}
		if l.InFlight() != 1 || l.Waiting() != 1 {
			t.Errorf("in flight %d, waiting %d, want 1 and 1", l.InFlight(), l.Waiting())
		}
		l.Release()
	})
}

func TestLimiter_LeavingFreesThePlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limiter.New(1, 1)
		acquire(t, l)
		gone := errors.New("gone")
		ctx, cancel := context.WithCancelCause(t.Context())
		left := make(chan error, 1)
		go func() { left <- l.Acquire(ctx) }()
		synctest.Wait()
		cancel(gone)
		if err := <-left; !errors.Is(err, gone) {
			t.Errorf("err=%v, want the cause of its context", err)
		}
		if got := l.Waiting(); got != 0 {
			t.Errorf("%d wait, want 0", got)
		}
		l.Release()
		acquire(t, l) // The canceled request must not have kept its slot.
	})
}

// A place that is handed to a request at the moment it leaves must go on.
func TestLimiter_LeavingWhenAdmitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limiter.New(1, 1)
		for range 100 { // Either may be noticed first.
			acquire(t, l)
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				if l.Acquire(ctx) == nil {
					l.Release()
				}
			}()
			synctest.Wait()
			cancel()
			l.Release() // Most often before the other has looked.
			synctest.Wait()
		}
		if got := l.InFlight(); got != 0 {
			t.Errorf("%d in flight, want 0", got)
		}
	})
}

func TestLimiter_WithoutLimitOnlyCounts(t *testing.T) {
	l := limiter.New(0, 0)
	for range 100 {
		acquire(t, l)
	}
	if got := l.InFlight(); got != 100 {
		t.Errorf("%d in flight, want 100", got)
	}
}

func acquire(t *testing.T, l *limiter.Limiter) {
	t.Helper()
	if err := l.Acquire(t.Context()); err != nil {
		t.Errorf("acquire: %v", err)
	}
}

func ExampleLimiter() {
	l := limiter.New(1, 0)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	fmt.Println(l.Acquire(ctx))
	fmt.Println(l.Acquire(ctx))
	l.Release()
	// Output:
	// <nil>
	// queue is full
}
