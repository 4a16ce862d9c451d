package control_test

import (
	"testing"

	"github.com/wadi-run/wadi/agent/control"
)

// Indexes go back when Nomad is restored: what was known of later ones says nothing of
// the jobs that get them again.
func TestOwned_AfterARestore(t *testing.T) {
	var o control.Owned
	o.Add("hello-00001", 100)
	o.Adopt("hello-00001", 110)
	o.Reread("hello-00001", 110)
	o.Reread("other-00001", 1)
	if got := o.Index("hello-00001"); got != 110 {
		t.Errorf("after a full read that shows what is known: %d, want 110", got)
	}
	o.Reread("hello-00001", 105)
	if got := o.Index("hello-00001"); got != 100 {
		t.Errorf("after a full read at 105: %d, want 100", got)
	}
	o.Reread("hello-00001", 40)
	if got, made := o.Index("hello-00001"), o.Made("hello-00001"); got != 0 || made != 0 {
		t.Errorf("after a full read at 40: %d and %d, want 0", got, made)
	}
	o.Add("hello-00001", 41)
	if got := o.Index("hello-00001"); got != 41 {
		t.Errorf("after a change by this agent: %d, want 41", got)
	}
}

// A changed count does not make a job that may have been edited one that is as it was
// stored.
func TestOwned_ScaledFromWhatIsNotKnown(t *testing.T) {
	var o control.Owned
	o.Adopt("hello-00001", 100)
	o.Scaled("hello-00001", 100, 110)
	if got, made := o.Index("hello-00001"), o.Made("hello-00001"); got != 110 || made != 110 {
		t.Errorf("scaled from what is known: %d and %d, want 110", got, made)
	}
	o.Scaled("hello-00001", 115, 120)
	if got, made := o.Index("hello-00001"), o.Made("hello-00001"); got != 110 || made != 120 {
		t.Errorf("scaled from what is not known: %d and %d, want 110 and 120", got, made)
	}
	// Nomad took a count that was asked for of the edited job at 115, after it was put back
	// at 125: the edit is there again.
	o.Add("hello-00001", 125)
	o.Scaled("hello-00001", 115, 130)
	if got, made := o.Index("hello-00001"), o.Made("hello-00001"); got != 125 || made != 130 {
		t.Errorf("scaled from before it was put back: %d and %d, want 125 and 130", got, made)
	}
}

// A follower wakes revisions that a leader removes: what it notes of them goes with their
// routes, and what it notes of the others stays.
func TestOwned_KeepsOnlyWhatStays(t *testing.T) {
	var o control.Owned
	o.Scaled("gone-00001", 1, 2)
	o.Add("gone-00002", 3)
	o.Adopt("gone-00003", 4)
	o.Add("hello-00001", 5)
	o.Keep(func(revision string) bool { return revision == "hello-00001" })
	if n, index := o.Len(), o.Index("hello-00001"); n != 1 || index != 5 {
		t.Errorf("%d revisions are known, hello-00001 at %d, want 1, at 5", n, index)
	}
}
