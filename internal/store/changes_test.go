package store_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/consul"
	"github.com/wadi-run/wadi/internal/consul/consultest"
	"github.com/wadi-run/wadi/internal/store"
)

// runChanges runs the changes of a store until the test ends.
func runChanges(t *testing.T, s *store.Store) *store.Changes {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c, done := store.NewChanges(s), make(chan struct{})
	go func() {
		defer close(done)
		_ = c.Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-done })
	return c
}

// waiting waits for a change in the background.
func waiting(t *testing.T, c *store.Changes, service string, index uint64) <-chan error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- c.Wait(t.Context(), service, index) }()
	return done
}

func changed(t *testing.T, done <-chan error, what string) {
	t.Helper()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	case <-time.After(20 * time.Second):
		t.Errorf("%s: no change was told", what)
	}
}

func testChanges(t *testing.T, s *store.Store) {
	ctx, w, c := t.Context(), leader(t, s), runChanges(t, s)
	at := func(service string) uint64 {
		t.Helper()
		index, err := s.ServiceIndex(ctx, service)
		if service == "" {
			index, err = s.ServicesIndex(ctx)
		}
		if err != nil {
			t.Fatal(err)
		}
		return index
	}
	submit(t, s, "hello", 1, 0)
	spec := submit(t, s, "other", 1, 0)
	other, before := waiting(t, c, "other", at("other")), uint64(0)
	for _, change := range []struct {
		what string
		do   func() error
	}{
		{"route", func() error { return w.PutRoute(ctx, route("hello", 1)) }},
		{"status", func() error { return w.PutStatus(ctx, wadi.Status{Service: "hello", Phase: "ready"}) }},
		{"override", func() error {
			return s.PutOverride(ctx, "hello", "", wadi.Override{Count: 1, Until: time.Now().Add(time.Hour)}, time.Now())
		}},
		{"revision", func() error { return w.DeleteRevision(ctx, "hello", "hello-00001") }},
	} {
		index := at("hello")
		if index <= before {
			t.Errorf("%s: the index is %d, after %d", change.what, index, before)
		}
		before = index
		one, all := waiting(t, c, "hello", index), waiting(t, c, "", at(""))
		if err := change.do(); err != nil {
			t.Fatal(err)
		}
		changed(t, one, change.what)
		changed(t, all, change.what+" of any service")
	}
	changed(t, waiting(t, c, "hello", 1<<62), "an index that never was")
	select {
	case err := <-other:
		t.Errorf("a change of another service was told: %v", err)
	default:
	}
	if err := s.MarkDeleting(ctx, "other", spec); err != nil {
		t.Fatal(err)
	}
	changed(t, other, "deletion")
	gone := waiting(t, c, "other", at("other"))
	if err := w.Forget(ctx, "other"); err != nil {
		t.Fatal(err)
	}
	changed(t, gone, "a service that is gone")
	if at("other") != 0 {
		t.Error("a service that is gone has an index")
	}
}

// While Consul is away, or may not be read, callers get an error and do not wait for ever.
func TestChanges_ConsulAway(t *testing.T) {
	for name, fault := range map[string]struct {
		set  func(*consultest.Fake)
		want error
	}{
		"away":       {func(f *consultest.Fake) { f.Fail(500) }, wadi.ErrUnavailable},
		"no right":   {func(f *consultest.Fake) { f.Deny("wadi/") }, wadi.ErrOwnRight},
		"one denied": {func(f *consultest.Fake) { f.Deny("wadi/status/") }, wadi.ErrOwnRight},
	} {
		t.Run(name, func(t *testing.T) {
			f := consultest.Start(t)
			s := open(t, f.URL)
			c := runChanges(t, s)
			submit(t, s, "hello", 1, 0)
			index, err := s.ServiceIndex(t.Context(), "hello")
			if err != nil {
				t.Fatal(err)
			}
			done := waiting(t, c, "hello", index)
			fault.set(f)
			if err := <-done; !errors.Is(err, fault.want) {
				t.Errorf("%v, want %v", err, fault.want)
			}
		})
	}
}

// A caller that comes after Consul was away waits for the next change.
func TestChanges_ConsulBack(t *testing.T) {
	f := consultest.Start(t)
	s := open(t, f.URL)
	c := runChanges(t, s)
	submit(t, s, "hello", 1, 0)
	index, err := s.ServiceIndex(t.Context(), "hello")
	if err != nil {
		t.Fatal(err)
	}
	f.Fail(500)
	if err := c.Wait(t.Context(), "hello", index); err == nil {
		t.Error("no error while Consul is away")
	}
	f.Fail(0)
	override := wadi.Override{Count: 1, Until: time.Now().Add(time.Hour)}
	if err := s.PutOverride(t.Context(), "hello", "", override, time.Now()); err != nil {
		t.Fatal(err)
	}
	for { // A watch may tell late that Consul was away.
		err := c.Wait(t.Context(), "hello", index)
		if err == nil {
			break
		}
		if !errors.Is(err, wadi.ErrUnavailable) || t.Context().Err() != nil {
			t.Fatal(err)
		}
	}
}

// counter counts the requests to Consul by what they ask.
type counter struct {
	store.KV
	txns, watches chan struct{}
}

func (c counter) Txn(ctx context.Context, ops []consul.Op) ([]consul.Pair, error) {
	if ops[0].Verb == consul.Read && strings.Contains(ops[0].Key, "/index/") {
		c.txns <- struct{}{}
	}
	return c.KV.Txn(ctx, ops)
}

func (c counter) WaitChange(ctx context.Context, prefix string, index uint64) (uint64, error) {
	c.watches <- struct{}{}
	return c.KV.WaitChange(ctx, prefix, index)
}

// Many callers cost as many requests as one, and nobody costs none.
func TestChanges_Coalesced(t *testing.T) {
	f := consultest.Start(t)
	client, err := consul.New(consul.Config{Address: f.URL})
	if err != nil {
		t.Fatal(err)
	}
	kv := counter{client, make(chan struct{}, 1000), make(chan struct{}, 1000)}
	s := store.New(kv, "wadi/", "one", hclog.NewNullLogger())
	submit(t, s, "hello", 1, 0)
	index, err := s.ServiceIndex(t.Context(), "hello")
	if err != nil {
		t.Fatal(err)
	}
	c := runChanges(t, s)
	if n := len(kv.watches); n > 0 {
		t.Fatalf("%d requests although nobody waits", n)
	}
	var all []<-chan error
	for range 200 {
		all = append(all, waiting(t, c, "hello", index))
	}
	for range 4 { // Both watches have read the present state, and wait for the next.
		<-kv.watches
	}
	if err := s.PutOverride(t.Context(), "hello", "", wadi.Override{Count: 1, Until: time.Now().Add(time.Hour)}, time.Now()); err != nil {
		t.Fatal(err)
	}
	for _, done := range all {
		changed(t, done, "one of many")
	}
	if n := len(kv.txns); n >= len(all) {
		t.Errorf("%d reads for 200 callers", n)
	}
}
