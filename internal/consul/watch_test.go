package consul_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi/internal/consul"
)

// source answers blocking queries; an empty value with index 0 is an error.
type source struct {
	mu      sync.Mutex
	value   string
	index   uint64
	changed chan struct{}
	asked   []uint64
}

func (s *source) set(value string, index uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.value, s.index = value, index
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *source) fetch(ctx context.Context, index uint64) (string, uint64, error) {
	s.mu.Lock()
	s.asked = append(s.asked, index)
	v, i, ch := s.value, s.index, s.changed
	s.mu.Unlock()
	if index != 0 && i == index {
		select {
		case <-ctx.Done():
			return "", 0, ctx.Err()
		case <-ch:
		case <-time.After(time.Minute):
		}
		s.mu.Lock()
		v, i = s.value, s.index
		s.mu.Unlock()
	}
	if i == 0 {
		return "", 0, errors.New("away")
	}
	return v, i, nil
}

// watched runs a watch in a bubble, and returns a function that reads the emitted values.
func watched(t *testing.T, s *source) func() []string {
	var mu sync.Mutex
	var got []string
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	w := consul.Watch[string]{Fetch: s.fetch, Report: func(err error) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, err.Error())
	}}
	go func() {
		done <- w.Run(ctx, func(v string) {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, v)
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v, want nil", err)
		}
	})
	return func() []string {
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		return append([]string(nil), got...)
	}
}

func want(t *testing.T, got []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("emitted (-want +got):\n%s", diff)
	}
}

func TestWatch_EmitsChangesOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{value: "a", index: 5, changed: make(chan struct{})}
		got := watched(t, s)
		want(t, got(), "a")
		time.Sleep(3 * time.Minute) // Queries that time out.
		want(t, got(), "a")
		s.set("b", 6)
		want(t, got(), "a", "b")
	})
}

// Other rights make another answer without another index.
func TestWatch_SeesOtherRights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{value: "some", index: 5, changed: make(chan struct{})}
		got := watched(t, s)
		want(t, got(), "some")
		s.mu.Lock()
		s.value = "all"
		s.mu.Unlock()
		time.Sleep(2 * time.Minute)
		want(t, got(), "some", "all")
	})
}

// A server that is behind answers at once, again and again: it is not asked without a pause.
func TestWatch_PausesWhileTheServerIsBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		asked := 0
		w := consul.Watch[string]{Fetch: func(_ context.Context, index uint64) (string, uint64, error) {
			if asked++; asked > 1000 {
				cancel()
			}
			if index > 0 {
				return "", 1, nil
			}
			return "a", 500, nil
		}}
		if err := w.Run(ctx, func(string) {}); err != nil || asked > 250 {
			t.Errorf("%d queries within 10 s, error %v", asked, err)
		}
	})
}

func TestWatch_StartsOverWhenTheIndexGoesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{value: "a", index: 500, changed: make(chan struct{})}
		got := watched(t, s)
		want(t, got(), "a")
		s.set("restored", 2)
		time.Sleep(time.Second)
		want(t, got(), "a", "restored")
		s.mu.Lock()
		if diff := cmp.Diff([]uint64{0, 500, 0, 2}, s.asked); diff != "" {
			t.Errorf("asked for (-want +got):\n%s", diff)
		}
		s.mu.Unlock()
		s.set("b", 3)
		want(t, got(), "a", "restored", "b")
	})
}

func TestWatch_BacksOffAndAsksForThePresentState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{value: "a", index: 5, changed: make(chan struct{})}
		got := watched(t, s)
		want(t, got(), "a")
		s.set("", 0)
		time.Sleep(time.Minute)
		failed := got()[1:]
		if n := len(failed); n < 8 || n > 40 {
			t.Errorf("%d attempts in a minute, want few", n)
		}
		s.set("a", 5)
		time.Sleep(8 * time.Second)
		if all := got(); all[len(all)-1] != "a" {
			t.Errorf("got %v, want the present state at the end", all)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if at := s.asked[3]; at != 0 {
			t.Errorf("asked after index %d behind an error, want 0", at)
		}
	})
}

// A list of everything is not read once for each of many changes, and the last one is seen.
func TestWatch_Rests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{value: "first", index: 5, changed: make(chan struct{})}
		ctx, cancel := context.WithCancel(t.Context())
		var got []string
		done := make(chan error, 1)
		w := consul.Watch[string]{Fetch: s.fetch, Rest: func(string) time.Duration { return 100 * time.Millisecond }}
		go func() { done <- w.Run(ctx, func(v string) { got = append(got, v) }) }()
		time.Sleep(time.Second)
		for i := range 100 {
			s.set(strconv.Itoa(i), uint64(6+i))
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(time.Second)
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if len(got) > 13 || got[1] != "0" || got[len(got)-1] != "99" {
			t.Errorf("emitted %v for 100 changes in a second, want the first, one in each tenth of it, and the last", got)
		}
	})
}
