package registry_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi/internal/registry"
)

// Equal questions share an answer that was asked for after all of them: a tag that moves is
// not missed.
func TestResolve_Shared(t *testing.T) {
	var asked atomic.Int32
	began, release := make(chan struct{}, 8), make(chan struct{})
	f := serve(t, func(w http.ResponseWriter, r *http.Request) {
		n := asked.Add(1)
		began <- struct{}{}
		<-release
		w.Header().Set("Docker-Content-Digest", fmt.Sprintf("sha256:%064x", n))
		w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
		w.Header().Set("Content-Length", "2")
	})
	r := resolver(t, registry.Settings{Timeout: time.Minute})
	var wg sync.WaitGroup
	got := make([]string, 6)
	ask := func(i int) {
		wg.Go(func() {
			d, err := r.Resolve(t.Context(), f.image(), registry.Credentials{})
			if got[i] = d; err != nil {
				t.Error(err)
			}
		})
	}
	ask(0)
	<-began // Its answer may be from before the tag moves.
	for i := 1; i < 6; i++ {
		ask(i)
	}
	poll(t, "all wait", func() bool { return r.Flights() == 6 })
	close(release)
	wg.Wait()
	one, two := fmt.Sprintf("sha256:%064x", 1), fmt.Sprintf("sha256:%064x", 2)
	if diff := cmp.Diff([]string{one, two, two, two, two, two}, got); diff != "" {
		t.Error(diff)
	}
	if d, err := resolve(t, r, f.image(), registry.Credentials{}); d != fmt.Sprintf("sha256:%064x", 3) {
		t.Errorf("asked later: %q, %v; want a new answer", d, err)
	}
	if r.Flights() != 0 || r.Hosts() != 0 {
		t.Errorf("%d questions and %d registries are left", r.Flights(), r.Hosts())
	}
}

// Questions with other credentials share nothing.
func TestResolve_NotShared(t *testing.T) {
	f := guarded(t)
	r := resolver(t, registry.Settings{})
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			as := registry.Credentials{}
			if i%2 == 0 {
				as = own
			}
			if d, err := r.Resolve(t.Context(), f.image(), as); (d == digest) != (i%2 == 0) {
				t.Errorf("as %q: %q, %v", as.Username, d, err)
			}
		})
	}
	wg.Wait()
}

// Who gives up does not take the answer from others who wait for the same.
func TestResolve_OneGivesUp(t *testing.T) {
	began, release := make(chan struct{}, 8), make(chan struct{})
	f := serve(t, func(w http.ResponseWriter, r *http.Request) {
		began <- struct{}{}
		select {
		case <-release:
			manifest(w, r)
		case <-r.Context().Done():
		}
	})
	r := resolver(t, registry.Settings{Timeout: time.Minute})
	first, giveUp := context.WithCancel(t.Context())
	errs := make(chan error, 3)
	go func() { _, err := r.Resolve(first, f.image(), registry.Credentials{}); errs <- err }()
	<-began
	second, giveUpToo := context.WithCancel(t.Context())
	go func() { _, err := r.Resolve(second, f.image(), registry.Credentials{}); errs <- err }()
	poll(t, "the second waits", func() bool { return r.Flights() == 2 })
	giveUpToo()
	if err := <-errs; !errors.Is(err, context.Canceled) {
		t.Errorf("the second: %v", err)
	}
	go func() { _, err := r.Resolve(t.Context(), f.image(), registry.Credentials{}); errs <- err }()
	poll(t, "the third waits in its place", func() bool { return r.Flights() == 2 })
	giveUp()
	if err := <-errs; !errors.Is(err, context.Canceled) {
		t.Errorf("the first: %v", err)
	}
	close(release)
	if err := <-errs; err != nil {
		t.Errorf("the third: %v", err)
	}
}

// A slow registry leaves slots to others, and gets few questions at once.
func TestResolve_Slots(t *testing.T) {
	var now, most atomic.Int32
	release := make(chan struct{})
	end := sync.OnceFunc(func() { close(release) })
	defer end()
	slow := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if n := now.Add(1); n > most.Load() {
			most.Store(n)
		}
		defer now.Add(-1)
		<-release
		manifest(w, r)
	})
	r := resolver(t, registry.Settings{Timeout: time.Minute})
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			if _, err := r.Resolve(t.Context(), fmt.Sprintf("%s/team/web:%d", slow.host, i), registry.Credentials{}); err != nil {
				t.Error(err)
			}
		})
	}
	poll(t, "all slots are taken", func() bool { return now.Load() == 4 && r.Flights() == 40 })
	quick := serve(t, manifest)
	if d, err := resolve(t, r, quick.image(), registry.Credentials{}); d != digest {
		t.Errorf("another registry: %q, %v", d, err)
	}
	end()
	if wg.Wait(); most.Load() != 4 || r.Hosts() != 0 {
		t.Errorf("asked %d at once, %d registries left", most.Load(), r.Hosts())
	}
}

// Registries that hang, as many as take all slots together, take no time to answer from one
// that is well.
func TestResolve_HangingRegistries(t *testing.T) {
	var now atomic.Int32
	r := resolver(t, registry.Settings{Timeout: 4 * time.Second})
	ctx, end := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer func() { end(); wg.Wait() }()
	for range 4 {
		hanging := serve(t, func(_ http.ResponseWriter, r *http.Request) {
			now.Add(1)
			defer now.Add(-1)
			<-r.Context().Done()
		})
		for i := range 20 {
			wg.Go(func() {
				_, _ = r.Resolve(ctx, fmt.Sprintf("%s/team/web:%d", hanging.host, i), registry.Credentials{})
			})
		}
	}
	poll(t, "all slots are taken", func() bool { return now.Load() == 16 })
	well := serve(t, func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(time.Second) // More than is left of a time that began with those of the others.
		manifest(w, r)
	})
	if d, err := resolve(t, r, well.image(), registry.Credentials{}); d != digest {
		t.Errorf("a registry that is well: %q, %v", d, err)
	}
}

// However its name is written, a registry gets few questions at once.
func TestResolve_SlotsOfANameInCapitals(t *testing.T) {
	var now, most atomic.Int32
	release := make(chan struct{})
	end := sync.OnceFunc(func() { close(release) })
	slow := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if n := now.Add(1); n > most.Load() {
			most.Store(n)
		}
		defer now.Add(-1)
		<-release
		manifest(w, r)
	})
	t.Cleanup(end) // Before the server waits for its answers.
	_, port, err := net.SplitHostPort(slow.host)
	if err != nil {
		t.Fatal(err)
	}
	r := resolver(t, registry.Settings{Timeout: time.Minute})
	var wg sync.WaitGroup
	for i, host := range []string{"localhost", "Localhost", "lOcalhost", "LOCALHOST"} {
		for j := range 4 {
			wg.Go(func() {
				if _, err := r.Resolve(t.Context(), fmt.Sprintf("%s:%s/team/web:%d", host, port, 4*i+j), registry.Credentials{}); err != nil {
					t.Error(err)
				}
			})
		}
	}
	poll(t, "all wait", func() bool { return r.Flights() == 16 && now.Load() == 4 })
	end()
	if wg.Wait(); most.Load() != 4 {
		t.Errorf("asked %d at once", most.Load())
	}
}
