package control_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/control"
	"github.com/wadi-run/wadi/scheduler"
)

// prefetchNomad has the jobs that fetch images, and no others.
type prefetchNomad struct {
	mu      sync.Mutex
	jobs    map[string]scheduler.PrefetchJob // By ID.
	nodes   []scheduler.PrefetchNode         // Of each job.
	made    int
	refused string
	down    error
	asked   int
}

func (n *prefetchNomad) PrefetchJobs(context.Context) ([]scheduler.PrefetchJob, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked++
	return slices.SortedFunc(maps.Values(n.jobs), func(a, b scheduler.PrefetchJob) int { return cmp.Compare(a.ID, b.ID) }), n.down
}

func (n *prefetchNomad) RegisterPrefetch(_ context.Context, job json.RawMessage) (string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.refused != "" || n.down != nil {
		return n.refused, n.down
	}
	revision := string(job)
	n.made++
	n.jobs[wadi.PrefetchID(revision)] = scheduler.PrefetchJob{
		Namespace: "default", ID: wadi.PrefetchID(revision), Service: "hello", Revision: revision, Index: uint64(n.made),
	}
	return "", nil
}

func (n *prefetchNomad) Prefetched(context.Context, string, string) (scheduler.Prefetch, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return scheduler.Prefetch{Placed: true, Nodes: slices.Clone(n.nodes)}, n.down
}

func (n *prefetchNomad) Job(_ context.Context, _, id string) (scheduler.JobState, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	j, exists := n.jobs[id]
	return scheduler.JobState{Exists: exists, Index: j.Index}, n.down
}

func (n *prefetchNomad) Purge(_ context.Context, _, id string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.jobs, id)
	return n.down
}

func (n *prefetchNomad) set(change func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change()
}

func (n *prefetchNomad) read(what func() int) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return what()
}

func (n *prefetchNomad) registered() int { return n.read(func() int { return n.made }) }

func (n *prefetchNomad) ids() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Join(slices.Sorted(maps.Keys(n.jobs)), " ")
}

// prefetchView has a service for each name, each with one pending revision.
func prefetchView(names ...string) *control.View {
	v := &control.View{Services: map[string]*wadi.Stored{}}
	for i, name := range names {
		id := wadi.RevisionID(name, 1)
		s := &wadi.Stored{}
		s.Service, s.Latest = wadi.Service{Name: name, Namespace: "default", ImagePrefetch: true}, id
		s.Revisions = []wadi.Revision{{ID: id, Service: name, Number: 1}}
		s.State.Revisions = map[string]wadi.RevisionState{id: {Phase: wadi.Pending, Since: time.Unix(int64(1000+i), 0)}}
		v.Services[name] = s
	}
	return v
}

type prefetchWorld struct {
	*prefetchNomad
	*control.Prefetcher
	view    *control.View
	changed map[string]int
}

// withPrefetcher runs a prefetcher beside f.
func withPrefetcher(t *testing.T, view *control.View, f func(w *prefetchWorld)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &prefetchWorld{prefetchNomad: &prefetchNomad{jobs: map[string]scheduler.PrefetchJob{}}, view: view, changed: map[string]int{}}
		w.Prefetcher = &control.Prefetcher{
			Jobs: w.prefetchNomad, Events: &control.Events{}, Log: hclog.NewNullLogger(),
			Services: func() *control.View { w.mu.Lock(); defer w.mu.Unlock(); return w.view },
			Render: func(r wadi.Revision) (json.RawMessage, []string, error) {
				switch r.Service {
				case "plain":
					return nil, []string{"the image of task a is not fetched: why"}, nil
				case "broken":
					return nil, nil, errors.New("no job")
				}
				return json.RawMessage(r.ID), nil, nil
			},
			Changed: func(service string) { w.set(func() { w.changed[service]++ }) },
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.Run(ctx) }()
		f(w)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// passes lets some passes go by.
func (w *prefetchWorld) passes() {
	time.Sleep(3 * time.Second)
	synctest.Wait()
}

func (w *prefetchWorld) want(t *testing.T, revision, want string) {
	t.Helper()
	if p, known := w.Prefetch(revision); !known || !strings.Contains(p.String(), want) {
		t.Errorf("%s: known %t, %q, want %q", revision, known, p, want)
	}
}

func TestPrefetcher_FetchesAndRemoves(t *testing.T) {
	withPrefetcher(t, prefetchView("hello"), func(w *prefetchWorld) {
		w.set(func() { w.nodes = []scheduler.PrefetchNode{{Name: "a", Done: true}, {Name: "b"}} })
		w.passes()
		if w.ids() != "hello-00001-prefetch" || w.registered() != 1 {
			t.Fatalf("jobs %q, %d made, want one", w.ids(), w.registered())
		}
		w.want(t, "hello-00001", "1 of 2 nodes has the images; node b pulls them")
		before := w.read(func() int { return w.changed["hello"] })
		w.passes()
		if w.read(func() int { return w.changed["hello"] }) != before {
			t.Error("it reports what is no news")
		}
		next := prefetchView("hello")
		next.Services["hello"].State.Revisions["hello-00001"] = wadi.RevisionState{Phase: wadi.Pending, Prefetch: "done"}
		w.set(func() { w.view = next })
		w.passes()
		if _, known := w.Prefetch("hello-00001"); known || w.ids() != "" {
			t.Errorf("jobs %q, known %t after the end, want none", w.ids(), known)
		}
		asked := w.read(func() int { return w.asked })
		w.passes()
		if w.read(func() int { return w.asked }) != asked {
			t.Error("Nomad is asked though there is nothing to do")
		}
	})
}

// A job of an earlier leader is gone on with, one that nothing waits for is removed.
func TestPrefetcher_NextLeader(t *testing.T) {
	withPrefetcher(t, prefetchView("hello"), func(w *prefetchWorld) {
		w.set(func() {
			for i, revision := range []string{"hello-00001", "gone-00007", "hello-00002"} {
				w.jobs[wadi.PrefetchID(revision)] = scheduler.PrefetchJob{Namespace: "default", ID: wadi.PrefetchID(revision), Revision: revision, Index: uint64(i + 5)}
			}
			w.nodes = []scheduler.PrefetchNode{{Name: "a", Done: true}}
		})
		w.passes()
		if w.ids() != "hello-00001-prefetch" || w.registered() != 0 {
			t.Errorf("jobs %q, %d made, want the known one alone", w.ids(), w.registered())
		}
		w.want(t, "hello-00001", "1 of 1 node has the images")
	})
}

func TestPrefetcher_QueueIsBounded(t *testing.T) {
	names := make([]string, 9)
	for i := range names {
		names[i] = fmt.Sprintf("s%d", i)
	}
	withPrefetcher(t, prefetchView(names...), func(w *prefetchWorld) {
		w.passes()
		if got, want := w.ids(), "s0-00001-prefetch s1-00001-prefetch s2-00001-prefetch s3-00001-prefetch"; got != want {
			t.Fatalf("jobs %q, want those of the revisions that wait longest", got)
		}
		w.want(t, "s8-00001", "the images of other revisions are fetched first")
		next := prefetchView(names...)
		delete(next.Services, "s1")
		w.set(func() { w.view = next })
		w.passes()
		if got, want := w.ids(), "s0-00001-prefetch s2-00001-prefetch s3-00001-prefetch s4-00001-prefetch"; got != want {
			t.Errorf("jobs %q, want the next one's", got)
		}
	})
}

func TestPrefetcher_NothingToFetch(t *testing.T) {
	withPrefetcher(t, prefetchView("plain", "broken", "hello"), func(w *prefetchWorld) {
		w.set(func() { w.refused = "Nomad refuses the job: why" })
		w.passes()
		w.want(t, "plain-00001", "there is no image to fetch; the image of task a is not fetched: why")
		w.want(t, "broken-00001", "can't be made: no job")
		w.want(t, "hello-00001", "Nomad refuses the job: why")
	})
}

// A Nomad that does not answer is never taken for one without jobs or nodes.
func TestPrefetcher_NomadIsAway(t *testing.T) {
	withPrefetcher(t, prefetchView("hello"), func(w *prefetchWorld) {
		w.set(func() { w.down = wadi.ErrUnavailable })
		w.passes()
		p, known := w.Prefetch("hello-00001")
		if !known || p.Placed || p.Off != "" || p.Problem == "" {
			t.Errorf("known %t, %+v, want a problem", known, p)
		}
		w.set(func() { w.down, w.nodes = nil, []scheduler.PrefetchNode{{Name: "a", Done: true}} })
		w.passes()
		w.want(t, "hello-00001", "1 of 1 node has the images")
	})
}

func TestPrefetcher_JobStoppedByHand(t *testing.T) {
	withPrefetcher(t, prefetchView("hello"), func(w *prefetchWorld) {
		w.passes()
		w.set(func() {
			j := w.jobs["hello-00001-prefetch"]
			j.Stopped = true
			w.jobs[j.ID] = j
		})
		w.passes()
		w.want(t, "hello-00001", "was stopped in Nomad")
		if n := w.registered(); n != 1 {
			t.Errorf("%d made, want no other", n)
		}
	})
}
