package control

import (
	"maps"
	"slices"
	"time"

	"github.com/wadi-run/wadi"
)

// revisionNotes is what this term's controller has seen of one revision, as far as
// conditions and events are made of it.
type revisionNotes struct {
	exposure    exposure
	warned      map[string]bool // Reasons of the exposure that events have named.
	drainLimit  string          // That a client of Nomad ends drains early; empty: none does.
	exits       *exitLog        // Nil: not read yet.
	diagnoses   []pastReason    // That events have named, the latest last.
	pausedUntil time.Time       // Of the last pause because an image could not be had.
	purgedIndex uint64          // Of the job that was purged last; 0: none was.
}

// notes are those of a revision, made if there are none.
func (s *service) notes(revision string) *revisionNotes {
	n := s.noted[revision]
	if n == nil {
		n = &revisionNotes{}
		if s.noted == nil {
			s.noted = map[string]*revisionNotes{}
		}
		s.noted[revision] = n
	}
	return n
}

// forgetGone drops the notes of revisions that are not stored any more.
func (s *service) forgetGone() {
	maps.DeleteFunc(s.noted, func(id string, _ *revisionNotes) bool {
		return !slices.ContainsFunc(s.Revisions, func(r wadi.Revision) bool { return r.ID == id })
	})
}
