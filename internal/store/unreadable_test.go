package store_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
)

// newer is a value of a newer Wadi.
func newer(kind string) []byte { return []byte(`{"schema":9,"kind":"` + kind + `","data":{}}`) }

// An unreadable value does not affect the others.
func TestUnreadable_KeepsNobodyFromTheRest(t *testing.T) {
	f, s := openFake(t)
	index := submit(t, s, "hello", 1, 0)
	for _, kind := range []string{"index", "spec", "state", "status", "route", "override"} {
		f.Put("wadi/"+kind+"/bad", newer(kind))
	}
	f.Put("wadi/revision/hello/hello-00009", newer("revision"))
	f.Put("wadi/domain/bad.com", []byte("rubbish"))
	f.Put("wadi/tag/canary-bad", []byte("rubbish"))

	names, err := s.Services(t.Context())
	if diff := cmp.Diff([]string{"bad", "hello"}, names); diff != "" || err != nil {
		t.Errorf("services: %v %s", err, diff)
	}
	if _, _, err := s.Spec(t.Context(), "bad"); !errors.Is(err, wadi.ErrUnreadable) || !strings.Contains(err.Error(), "upgrade") {
		t.Errorf("spec: got %v, want ErrUnreadable and what to do", err)
	}
	if all, err := s.Domains(t.Context()); err != nil || all["hello.example.com"] != "hello" {
		t.Errorf("domains: got %v, %v", all, err)
	}
	if all, err := s.Revisions(t.Context(), "hello"); len(all) != 1 || !errors.Is(err, wadi.ErrUnreadable) {
		t.Errorf("revisions: got %d, %v; want the one that can be read", len(all), err)
	}
	submit(t, s, "hello", 2, index)
	claimed(t, s, withDomains("new", 0, "new.com"))
	claimed(t, s, withDomains("canary-hello", 0))
	for _, sub := range []wadi.Submission{withDomains("other", 0, "bad.com"), withDomains("canary-bad", 0)} {
		if _, err := s.Submit(t.Context(), []wadi.Submission{sub}); !errors.Is(err, wadi.ErrUnreadable) {
			t.Errorf("%s: got %v, want ErrUnreadable", sub.Spec.Service.Name, err)
		}
	}
	f.Put("wadi/domain/new.com", []byte("rubbish"))
	del(t, s, "new") // That needs to know nothing of its claim.
}

// The leader sees a service whose index entry is unreadable, and loads the readable part.
func TestUnreadable_ForTheLeader(t *testing.T) {
	f, s := openFake(t)
	submit(t, s, "hello", 1, 0)
	f.Put("wadi/index/hello", newer("index"))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	told := make(chan []string, 10)
	go func() { _ = s.Watch(ctx, func(names []string) { told <- names }) }()
	select {
	case names := <-told:
		if !slices.Equal(names, []string{"hello"}) {
			t.Errorf("told of %v, want hello", names)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("told of nothing")
	}
	if diff := cmp.Diff([]string{"wadi/index/hello"}, s.Unreadable()); diff != "" {
		t.Errorf("unreadable: %s", diff)
	}

	w := leader(t, s)
	load := func() (wadi.Stored, error) { return w.Load(t.Context(), "hello") }
	f.Put("wadi/status/hello", []byte("rubbish"))
	f.Put("wadi/revision/hello/hello-00000", newer("revision"))
	st, err := load()
	if err != nil || st.Status.Phase != "" || len(st.Revisions) != 1 || len(st.Unreadable) != 1 {
		t.Errorf("got %+v, %v; want all but the status and the revision", st, err)
	}
	// It is made again of what is seen.
	if err := w.PutStatus(t.Context(), wadi.Status{Service: "hello", Phase: "ready"}); err != nil {
		t.Error(err)
	}
	for key, kind := range map[string]string{
		"wadi/revision/hello/hello-00001": "revision", "wadi/state/hello": "state", "wadi/spec/hello": "spec",
	} {
		f.Put(key, newer(kind))
		if st, err := load(); !errors.Is(err, wadi.ErrUnreadable) || st.Status.Phase != "ready" {
			t.Errorf("%s: got status %q, %v; want ErrUnreadable, and the status", kind, st.Status.Phase, err)
		}
	}
}
