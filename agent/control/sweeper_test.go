package control_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/control"
	"github.com/wadi-run/wadi/scheduler"
)

// shelf is a store that knows some services, or can't be read.
type shelf struct {
	mu       *sync.Mutex
	services map[string]string // Namespaces by name; "?" can't be understood.
	away     bool

	revisions string // Empty: each service has the first; "?": they can't be understood.
}

func (s *shelf) Load(_ context.Context, service string) (wadi.Stored, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ns, ok := s.services[service]
	switch {
	case s.away:
		return wadi.Stored{}, wadi.ErrUnavailable
	case !ok:
		return wadi.Stored{}, wadi.ErrNotFound
	case ns == "?":
		return wadi.Stored{}, wadi.ErrUnreadable
	}
	return s.stored(service, ns), nil
}

// stored is what a shelf has of a service.
func (s *shelf) stored(service, ns string) wadi.Stored {
	st := wadi.Stored{Service: wadi.Service{Name: service, Namespace: ns}, Revisions: []wadi.Revision{{ID: service + "-00001"}}}
	switch s.revisions {
	case "others":
		st.Revisions[0].ID = service + "-00002"
	case "?":
		st.Revisions, st.Unreadable = nil, []string{"written by a newer Wadi"}
	}
	return st
}

// swept notes what is stopped.
type swept struct {
	mu      *sync.Mutex
	index   uint64
	count   int
	scaling error // Of the next scaling.
	stopped []string
}

func (n *swept) Job(context.Context, string, string) (scheduler.JobState, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return scheduler.JobState{Exists: true, Index: n.index, Count: n.count}, nil
}

func (n *swept) Scale(context.Context, string, string, int, uint64, string) (uint64, error) {
	return n.index, n.scaling
}

func (n *swept) Stop(_ context.Context, namespace, id string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stopped = append(n.stopped, namespace+"/"+id)
	return nil
}

// A job is stopped once its service has been missing for the whole grace, by reads that
// were answered.
func TestSweeper(t *testing.T) {
	for name, tt := range map[string]struct {
		happens func(*shelf, *swept) // Half a minute after the job was seen first.
		want    bool                 // It is stopped in the end.
	}{
		"nothing":                        {func(*shelf, *swept) {}, true},
		"it is stored":                   {func(s *shelf, _ *swept) { s.services["hello"] = "default" }, false},
		"another revision is stored":     {func(s *shelf, _ *swept) { s.services["hello"], s.revisions = "default", "others" }, true},
		"its revision is not understood": {func(s *shelf, _ *swept) { s.services["hello"], s.revisions = "default", "?" }, false},
		"one elsewhere is stored":        {func(s *shelf, _ *swept) { s.services["hello"] = "other" }, true},
		"the store can't be read":        {func(s *shelf, _ *swept) { s.away = true }, false},
		"it is not understood":           {func(s *shelf, _ *swept) { s.services["hello"] = "?" }, false},
		"another is not understood":      {func(s *shelf, _ *swept) { s.services["newer"] = "?" }, true},
		"the job was changed since":      {func(_ *shelf, n *swept) { n.index++ }, false},
		"it has instances":               {func(_ *shelf, n *swept) { n.count = 2 }, true},
		// Between the read and the stop, which Nomad does not guard.
		"it is started just then": {func(_ *shelf, n *swept) { n.count, n.scaling = 1, wadi.ErrConflict }, false},
		"nomad is away":           {func(_ *shelf, n *swept) { n.count, n.scaling = 1, wadi.ErrUnavailable }, false},
		"it can't be scaled":      {func(_ *shelf, n *swept) { n.count, n.scaling = 1, errors.New("it has a deployment") }, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				st, nomad := &shelf{mu: &mu, services: map[string]string{}}, &swept{mu: &mu, index: 7}
				s := &control.Sweeper{
					List: func(context.Context) ([]scheduler.OwnJob, error) {
						return []scheduler.OwnJob{
							{Namespace: "default", ID: "newer-00001", Service: "newer", Index: 7},
							{Namespace: "default", ID: "hello-00001", Service: "hello", Index: 7},
						}, nil
					},
					Services: func() *control.View { return &control.View{} }, Store: st, Jobs: nomad,
					Events: &control.Events{}, Log: hclog.NewNullLogger(),
				}
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error)
				go func() { done <- s.Run(ctx) }()
				time.Sleep(90 * time.Second)
				synctest.Wait()
				mu.Lock()
				tt.happens(st, nomad)
				mu.Unlock()
				time.Sleep(time.Minute)
				synctest.Wait()
				mu.Lock()
				if len(nomad.stopped) != 0 {
					t.Errorf("%v is stopped within the grace", nomad.stopped)
				}
				mu.Unlock()
				time.Sleep(4 * time.Minute)
				cancel()
				if err := <-done; err != nil {
					t.Error(err)
				}
				if got := slices.Contains(nomad.stopped, "default/hello-00001"); got != tt.want {
					t.Errorf("stopped is %v, want %t", nomad.stopped, tt.want)
				}
			})
		})
	}
}
