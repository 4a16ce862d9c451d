package admission_test

import (
	"slices"
	"testing"

	"github.com/wadi-run/wadi"
)

// To submit the same again changes nothing, unless what it wants has failed: that is
// tried again, by each submission once.
func TestSubmit_TriesAgainWhatFailed(t *testing.T) {
	b := newBench(t)
	b.submit(t, request(spec("hello", "/1")))
	b.submit(t, request(spec("hello", "/2")))
	same := request(spec("hello", "/2"))
	if got := b.submit(t, same).Services[0]; got.Changed || len(got.Retried) > 0 {
		t.Fatalf("got %+v, want nothing changed", got)
	}
	b.store.SetState("hello", wadi.State{Revisions: map[string]wadi.RevisionState{
		"hello-00001": {Phase: wadi.Failed, Reason: "no such image"}, "hello-00002": {Phase: wadi.Failed, Reason: "no database"},
	}})
	if got, err := b.Validate(t.Context(), same); err != nil || !slices.Equal(got.Services[0].Retried, []string{"hello-00002"}) {
		t.Fatalf("got %+v (%v) of Validate, want that hello-00002 would be tried again", got, err)
	}
	for attempt := uint64(3); attempt < 5; attempt++ {
		got := b.submit(t, same).Services[0]
		if !got.Changed || got.NewRevision || got.Generation != attempt || !slices.Equal(got.Retried, []string{"hello-00002"}) {
			t.Errorf("got %+v, want generation %d that tries hello-00002 again", got, attempt)
		}
		if s, _, err := b.store.Spec(t.Context(), "hello"); err != nil || s.Attempt != attempt {
			t.Errorf("stored attempt %d (%v), want %d", s.Attempt, err, attempt)
		}
	}
	// A change elsewhere is none, and keeps the number.
	b.store.SetState("hello", wadi.State{Revisions: map[string]wadi.RevisionState{"hello-00002": {Phase: wadi.Ready}}})
	got := b.submit(t, request(spec("hello", "/2", "scale {", "max = 3", "}"))).Services[0]
	if s, _, err := b.store.Spec(t.Context(), "hello"); err != nil || s.Attempt != 4 || len(got.Retried) > 0 {
		t.Errorf("got attempt %d (%v), tried again %v; want 4 and none", s.Attempt, err, got.Retried)
	}
	// A new revision is no second attempt of the old one.
	b.store.SetState("hello", wadi.State{Revisions: map[string]wadi.RevisionState{"hello-00002": {Phase: wadi.Failed}}})
	if got := b.submit(t, request(spec("hello", "/3"))).Services[0]; !got.NewRevision || len(got.Retried) > 0 {
		t.Errorf("got %+v, want a new revision alone", got)
	}
}

// A revision whose rollout was rolled back is tried again when it is submitted again.
func TestSubmit_TriesAgainWhatWasRejected(t *testing.T) {
	b := newBench(t)
	b.submit(t, request(spec("hello", "/1")))
	b.submit(t, request(spec("hello", "/2")))
	b.store.SetState("hello", wadi.State{Revisions: map[string]wadi.RevisionState{
		"hello-00001": {Phase: wadi.Ready, Rejected: "errors"}, "hello-00002": {Phase: wadi.Ready, Rejected: "errors"},
	}})
	got := b.submit(t, request(spec("hello", "/2"))).Services[0]
	if s, _, err := b.store.Spec(t.Context(), "hello"); err != nil || s.Attempt != 3 || !slices.Equal(got.Retried, []string{"hello-00002"}) {
		t.Errorf("got attempt %d (%v), tried again %v; want 3 and the newest alone", s.Attempt, err, got.Retried)
	}
}
