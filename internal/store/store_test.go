package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/consul"
	"github.com/wadi-run/wadi/internal/consul/consultest"
	"github.com/wadi-run/wadi/internal/store"
)

func open(tb testing.TB, url string) *store.Store {
	tb.Helper()
	c, err := consul.New(consul.Config{Address: url})
	if err != nil {
		tb.Fatal(err)
	}
	return store.New(c, "wadi/", "one", hclog.NewNullLogger())
}

// submit stores a service with its n-th revision.
func submit(tb testing.TB, s *store.Store, name string, n int, index uint64) uint64 {
	tb.Helper()
	sp := spec(name, 100)
	sp.Generation, sp.Latest = uint64(n), wadi.RevisionID(name, n)
	got, err := s.Submit(context.Background(), []wadi.Submission{{Spec: sp, Index: index, NewRevision: revision(name, n)}})
	if err != nil {
		tb.Fatal(err)
	}
	return got[name]
}

func revision(name string, n int) *wadi.Revision {
	return &wadi.Revision{ID: wadi.RevisionID(name, n), Service: name, Number: n, Spec: spec(name, 0).Service, Job: []byte(`{"ID":"x"}`)}
}

func route(name string, weight int) wadi.Route {
	return wadi.Route{Service: name, Targets: []wadi.RouteTarget{{Revision: name + "-00001", Weight: weight}}}
}

// Each of the tests runs against the fake, and with the tag e2e against Consul.
func TestStore(t *testing.T) {
	runAll(t, func(t *testing.T) string { return consultest.Start(t).URL })
}

func runAll(t *testing.T, consulURL func(*testing.T) string) {
	for name, fn := range map[string]func(*testing.T, *store.Store){
		"assets":                testAssets,
		"certificates":          testCertificates,
		"submit and read":       testSubmitAndRead,
		"stale index":           testStaleIndex,
		"all or nothing":        testAllOrNothing,
		"too large":             testTooLarge,
		"concurrent writers":    testConcurrentWriters,
		"unchanged not written": testUnchangedNotWritten,
		"outdated writer":       testOutdatedWriter,
		"deposed leader":        testDeposed,
		"delete":                testDelete,
		"forget leftovers":      testForgetLeftovers,
		"stray":                 testStray,
		"override":              testOverride,
		"load history":          testLoadHistory,
		"its bounds":            testLoadHistoryBounds,
		"watch":                 testWatch,
		"watch routes":          testWatchRoutes,
		"changes":               testChanges,
		"events":                testEvents,
		"marks":                 testMarks,
		"events of a term":      testEventsAfterTheTerm,
		"domains":               testDomains,
		"domains at once":       testDomainsAtOnce,
		"many domains":          testManyDomains,
		"many domains refused":  testManyDomainsRefused,
		"many domains at once":  testManyDomainsAtOnce,
		"tags":                  testTags,
		"tags at once":          testTagsAtOnce,
	} {
		t.Run(name, func(t *testing.T) { fn(t, open(t, consulURL(t))) })
	}
}

func testSubmitAndRead(t *testing.T, s *store.Store) {
	ctx := t.Context()
	if err := s.Check(ctx); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Spec(ctx, "hello"); !errors.Is(err, wadi.ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
	w := leader(t, s)
	if _, err := w.Load(ctx, "hello"); !errors.Is(err, wadi.ErrNotFound) {
		t.Errorf("load: got %v, want ErrNotFound", err)
	}
	first := submit(t, s, "hello", 1, 0)
	second := submit(t, s, "hello", 2, first)
	submit(t, s, "hello-2", 1, 0) // Its keys begin like those of hello.
	got, index, err := s.Spec(ctx, "hello")
	if err != nil || index != second || got.Latest != "hello-00002" {
		t.Errorf("got %s at %d, %v; want hello-00002 at %d", got.Latest, index, err, second)
	}
	st := wadi.State{Revisions: map[string]wadi.RevisionState{"hello-00001": {Phase: wadi.Ready, Since: time.Unix(5, 0).UTC()}}}
	if err := errors.Join(w.PutState(ctx, "hello", st), w.PutRoute(ctx, route("hello", 1)),
		w.PutStatus(ctx, wadi.Status{Service: "hello", Phase: "ready"})); err != nil {
		t.Fatal(err)
	}
	loaded, err := leader(t, s).Load(ctx, "hello")
	want := wadi.Stored{
		Service: got.Service, Latest: "hello-00002", Generation: 2,
		Revisions: []wadi.Revision{*revision("hello", 1), *revision("hello", 2)},
		State:     st, Status: wadi.Status{Service: "hello", Phase: "ready"}, Route: route("hello", 1),
	}
	if diff := cmp.Diff(want, loaded); err != nil || diff != "" {
		t.Errorf("loaded: %v (-want +got):\n%s", err, diff)
	}
	names, err := s.Services(ctx)
	if diff := cmp.Diff([]string{"hello", "hello-2"}, names); err != nil || diff != "" {
		t.Errorf("services: %v %s", err, diff)
	}
	domains, err := s.Domains(ctx)
	if err != nil || domains["hello.example.com"] != "hello" {
		t.Errorf("domains: %v, %v", domains, err)
	}
	rs, err := s.Revisions(ctx, "hello")
	if err != nil || len(rs) != 2 || rs[1].ID != "hello-00002" {
		t.Errorf("revisions: %v, %v", rs, err)
	}
	if _, err := s.Revision(ctx, "hello", "hello-00009"); !errors.Is(err, wadi.ErrNotFound) {
		t.Errorf("revision: got %v, want ErrNotFound", err)
	}
}

func testStaleIndex(t *testing.T, s *store.Store) {
	first := submit(t, s, "hello", 1, 0)
	second := submit(t, s, "hello", 2, first)
	for name, sub := range map[string]wadi.Submission{
		"changed meanwhile": {Spec: spec("hello", 0), Index: first},
		"exists":            {Spec: spec("hello", 0)},
		"does not exist":    {Spec: spec("other", 0), Index: first},
		"revision exists":   {Spec: spec("hello", 0), Index: second, NewRevision: revision("hello", 2)},
	} {
		if _, err := s.Submit(t.Context(), []wadi.Submission{sub}); !errors.Is(err, wadi.ErrConflict) {
			t.Errorf("%s: got %v, want ErrConflict", name, err)
		}
	}
}

func testAllOrNothing(t *testing.T, s *store.Store) {
	submit(t, s, "taken", 1, 0)
	_, err := s.Submit(t.Context(), []wadi.Submission{
		{Spec: spec("new", 0), NewRevision: revision("new", 1)},
		{Spec: spec("taken", 0)},
	})
	if !errors.Is(err, wadi.ErrConflict) {
		t.Errorf("got %v, want ErrConflict", err)
	}
	if names, err := s.Services(t.Context()); err != nil || !slices.Equal(names, []string{"taken"}) {
		t.Errorf("services are %v, %v; want the one before", names, err)
	}
}

func testTooLarge(t *testing.T, s *store.Store) {
	noise := make([]byte, 600<<10) // Does not get smaller by gzip.
	r := rand.New(rand.NewPCG(1, 2))
	for i := range noise {
		noise[i] = byte('!' + r.IntN(90))
	}
	large := spec("large", 0)
	large.Source = string(noise)
	var many []wadi.Submission
	for i := range 70 {
		many = append(many, wadi.Submission{Spec: spec(fmt.Sprintf("s%d", i), 0)})
	}
	for name, subs := range map[string][]wadi.Submission{"bytes": {{Spec: large}}, "operations": many} {
		if _, err := s.Submit(t.Context(), subs); !errors.Is(err, wadi.ErrTooLarge) {
			t.Errorf("%s: got %v, want ErrTooLarge", name, err)
		}
	}
}

// Different writes about one service change the same index entry: none is lost, and none
// is a conflict.
func testConcurrentWriters(t *testing.T, s *store.Store) {
	index := submit(t, s, "hello", 1, 0)
	w := leader(t, s)
	done := make(chan error)
	go func() {
		var err error
		for i := range 10 {
			err = errors.Join(err, w.PutRoute(context.Background(), route("hello", i)))
		}
		done <- err
	}()
	for n := 2; n < 12; n++ {
		index = submit(t, s, "hello", n, index)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	all, err := s.Indexes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := all["hello"]
	if got.Generation != 11 || len(got.Revisions) != 11 || got.Route == "" {
		t.Errorf("index is %+v, want generation 11, 11 revisions and a route", got)
	}
}

func testUnchangedNotWritten(t *testing.T, s *store.Store) {
	ctx := t.Context()
	submit(t, s, "hello", 1, 0)
	w := leader(t, s)
	put := func(w *store.Writer, weight int) {
		t.Helper()
		if err := w.PutRoute(ctx, route("hello", weight)); err != nil {
			t.Fatal(err)
		}
	}
	put(w, 1)
	changes := make(chan struct{}, 10)
	wctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { _ = s.WatchIndex(wctx, func(map[string]store.Index) { changes <- struct{}{} }) }()
	<-changes
	put(w, 1)
	put(leader(t, s), 1) // One that has not seen it yet.
	select {
	case <-changes:
		t.Error("written although nothing changed")
	case <-time.After(100 * time.Millisecond):
	}
	put(w, 2)
	<-changes
}

func testOutdatedWriter(t *testing.T, s *store.Store) {
	ctx := t.Context()
	submit(t, s, "hello", 1, 0)
	old, now := leader(t, s), leader(t, s)
	for _, w := range []*store.Writer{old, now} {
		if _, err := w.Load(ctx, "hello"); err != nil {
			t.Fatal(err)
		}
	}
	if err := now.PutStatus(ctx, wadi.Status{Service: "hello", Phase: "ready"}); err != nil {
		t.Fatal(err)
	}
	late := wadi.Status{Service: "hello", Phase: "pending"}
	if err := old.PutStatus(ctx, late); !errors.Is(err, wadi.ErrConflict) {
		t.Errorf("got %v, want ErrConflict", err)
	}
	if st, err := s.Status(ctx, "hello"); err != nil || st.Phase != "ready" {
		t.Errorf("status is %q, %v; want that of the new writer", st.Phase, err)
	}
	if _, err := old.Load(ctx, "hello"); err != nil {
		t.Fatal(err)
	}
	if err := old.PutStatus(ctx, late); err != nil {
		t.Errorf("after loading again: %v", err)
	}
}

func testDelete(t *testing.T, s *store.Store) {
	ctx := t.Context()
	index := submit(t, s, "hello", 1, 0)
	index = submit(t, s, "hello", 2, index)
	submit(t, s, "hello-2", 1, 0)
	w := leader(t, s)
	if err := errors.Join(w.PutRoute(ctx, route("hello", 1)), w.PutState(ctx, "hello", wadi.State{}),
		w.PutStatus(ctx, wadi.Status{Service: "hello"}), w.DeleteRevision(ctx, "hello", "hello-00001")); err != nil {
		t.Fatal(err)
	}
	if rs, err := s.Revisions(ctx, "hello"); err != nil || len(rs) != 1 {
		t.Errorf("%d revisions, %v; want 1", len(rs), err)
	}
	if err := w.Forget(ctx, "hello"); !errors.Is(err, wadi.ErrConflict) {
		t.Errorf("forget before it is marked: got %v, want ErrConflict", err)
	}
	if err := s.MarkDeleting(ctx, "hello", index-1); !errors.Is(err, wadi.ErrConflict) {
		t.Errorf("mark at a stale index: got %v, want ErrConflict", err)
	}
	if err := s.MarkDeleting(ctx, "hello", index); err != nil {
		t.Fatal(err)
	}
	if got, err := w.Load(ctx, "hello"); err != nil || !got.Deleting || got.Generation != 3 {
		t.Errorf("got deleting %v, generation %d, %v; want true, 3", got.Deleting, got.Generation, err)
	}
	for range 2 { // Forgetting again is no error.
		if err := w.Forget(ctx, "hello"); err != nil {
			t.Fatal(err)
		}
	}
	for what, err := range map[string]error{
		"route": w.PutRoute(ctx, route("hello", 2)),
		"state": w.PutState(ctx, "hello", wadi.State{Deleting: true}),
	} {
		if err == nil {
			t.Errorf("%s of a forgotten service was stored", what)
		}
	}
	if names, err := s.Services(ctx); err != nil || !slices.Equal(names, []string{"hello-2"}) {
		t.Errorf("services are %v, %v; want hello-2", names, err)
	}
	if _, err := s.Revision(ctx, "hello-2", "hello-2-00001"); err != nil {
		t.Errorf("the neighbour's revision: %v", err)
	}
	submit(t, s, "hello", 1, 0) // The name is free again.
}

func testForgetLeftovers(t *testing.T, s *store.Store) {
	if err := leader(t, s).Forget(t.Context(), "never-was"); err != nil {
		t.Errorf("got %v, want nil", err)
	}
}

func testWatch(t *testing.T, s *store.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got := make(chan string, 100)
	done := make(chan error, 1)
	go func() {
		done <- s.Watch(ctx, func(names []string) { got <- strings.Join(names, ",") })
	}()
	expect := func(want string) {
		t.Helper()
		select {
		case names := <-got:
			if names != want {
				t.Fatalf("changed: %q, want %q", names, want)
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("changed: nothing, want %q", want)
		}
	}
	expect("")
	index := submit(t, s, "hello", 1, 0)
	expect("hello")
	submit(t, s, "other", 1, 0)
	expect("other")
	if err := s.PutOverride(ctx, "other", "", wadi.Override{Count: 1, Until: time.Now().Add(time.Hour)}, time.Now()); err != nil {
		t.Fatal(err)
	}
	expect("other")
	w := leader(t, s)
	if err := w.PutRoute(ctx, route("hello", 1)); err != nil { // The leader's own: not told.
		t.Fatal(err)
	}
	if err := s.MarkDeleting(ctx, "hello", index); err != nil {
		t.Fatal(err)
	}
	expect("hello")
	if err := w.Forget(ctx, "hello"); err != nil {
		t.Fatal(err)
	}
	expect("hello")
	cancel()
	if err := <-done; err != nil {
		t.Errorf("watch: %v, want nil", err)
	}
}

func testWatchRoutes(t *testing.T, s *store.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	submit(t, s, "hello", 1, 0)
	submit(t, s, "other", 1, 0)
	w := leader(t, s)
	if err := w.PutRoute(ctx, route("hello", 1)); err != nil {
		t.Fatal(err)
	}
	got := make(chan map[string]wadi.Route, 100)
	go func() { _ = s.WatchRoutes(ctx, func(m map[string]wadi.Route) { got <- m }) }()
	if diff := cmp.Diff(map[string]wadi.Route{"hello": route("hello", 1)}, <-got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := w.PutRoute(ctx, route("other", 2)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]wadi.Route{"hello": route("hello", 1), "other": route("other", 2)}, <-got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// meddler does something just before the first transaction.
type meddler struct {
	store.KV
	before func()
}

func (m *meddler) Txn(ctx context.Context, ops []consul.Op) ([]consul.Pair, error) {
	if fn := m.before; fn != nil {
		m.before = nil
		fn()
	}
	return m.KV.Txn(ctx, ops)
}

// A route that is written while a spec is submitted changes the same index
// entry: the submission goes on, and the route's hash stays.
func TestSubmit_OnTopOfAnotherChange(t *testing.T) {
	f := consultest.Start(t)
	plain := open(t, f.URL)
	index := submit(t, plain, "hello", 1, 0)
	c, err := consul.New(consul.Config{Address: f.URL})
	if err != nil {
		t.Fatal(err)
	}
	m := &meddler{KV: c, before: func() {
		if err := leader(t, plain).PutRoute(t.Context(), route("hello", 1)); err != nil {
			t.Error(err)
		}
	}}
	submit(t, store.New(m, "wadi", "two", hclog.NewNullLogger()), "hello", 2, index)
	all, err := plain.Indexes(t.Context())
	if err != nil || all["hello"].Generation != 2 || all["hello"].Route == "" {
		t.Errorf("index is %+v, %v; want generation 2 and a route", all["hello"], err)
	}
}
