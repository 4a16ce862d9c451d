//go:build e2e

package matrix

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// Two faults are broken in the order that their groups need, and what each allows is judged
// by what that one has hit.
func TestBoth_KeepsTheHitsApart(t *testing.T) {
	atHit := Allowed{Why: "before it was broken, at what was hit", Is: func(h Hit, r Result) bool { return r.Via == h.Agent && r.Began.Before(h.Broken) }}
	var done []string
	note := func(name, group, agent string, err error) Fault {
		return Fault{
			Name: name, Group: group, For: time.Second,
			Break: func(_ context.Context, w *World) (func(context.Context) error, error) {
				done = append(done, "break "+name)
				w.Hit.Agent = agent
				return nil, err
			},
			Allowed: []Allowed{atHit},
		}
	}
	w := &World{Hit: Hit{Began: time.Now()}}
	f := Both(note("an agent", GroupAgents, "wadi-1", nil), note("a service", GroupServices, "", nil))
	if _, err := f.Break(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	if want := []string{"break a service", "break an agent"}; !slices.Equal(done, want) {
		t.Errorf("got %v, want %v", done, want)
	}
	w.Hit.Mended = time.Now()
	before, after := w.Hit.Began.Add(-time.Second), w.Hit.Mended.Add(time.Second)
	for _, tt := range []struct {
		name string
		r    Result
		want bool
	}{
		{"while both are broken", Result{Began: w.Hit.Began, Ended: after, Status: 503}, true},
		{"in flight at the agent that was hit", Result{Via: "wadi-1", Began: before, Ended: before.Add(time.Millisecond)}, true},
		{"at another agent, and over before", Result{Via: "wadi-2", Began: before, Ended: before.Add(time.Millisecond)}, false},
		{"after the end", Result{Via: "wadi-1", Began: after, Ended: after.Add(time.Second), Status: 503}, false},
	} {
		if got := w.allowed(f, tt.r); got != tt.want {
			t.Errorf("%s: allowed %t, want %t", tt.name, got, tt.want)
		}
	}

	f = Both(note("first", GroupServices, "", nil), note("second", GroupAgents, "", errors.New("no")))
	if mend, err := f.Break(t.Context(), w); err == nil || !strings.Contains(err.Error(), "second") || mend == nil {
		t.Errorf("got %v, want an error that names the second, and a mend for the first", err)
	}
}
