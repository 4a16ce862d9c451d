// Package backlog has the set of revisions whose queues have grown, which activators
// and scraper fill and the autoscaler empties.
//
// It promises that Add never blocks, and that a revision added before a signal of
// Changed is in the next Take. It refuses to know how long a queue is: the autoscaler
// measures that itself.
package backlog

import (
	"maps"
	"slices"
	"sync"
)

// Set is a set of revisions with a signal for its reader. It is safe for concurrent
// use, by one reader.
type Set struct {
	changed chan struct{} // Has capacity one.

	mu  sync.Mutex
	ids map[string]struct{}
}

// New returns an empty set.
func New() *Set {
	return &Set{changed: make(chan struct{}, 1), ids: map[string]struct{}{}}
}

// Add notes that more requests of a revision wait, or are in flight, than before.
func (s *Set) Add(revision string) {
	s.mu.Lock()
	s.ids[revision] = struct{}{}
	s.mu.Unlock()
	select {
	case s.changed <- struct{}{}:
	default: // A signal is pending.
	}
}

// Changed signals that the set has revisions.
func (s *Set) Changed() <-chan struct{} { return s.changed }

// Keep drops the revisions that are not to stay. Only a leader takes what is in the set, so
// elsewhere it would grow by every revision there ever was.
func (s *Set) Keep(stays func(revision string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.ids, func(id string, _ struct{}) bool { return !stays(id) })
}

// Len is the number of revisions in the set.
func (s *Set) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.ids)
}

// Take empties the set, and returns what was in it, sorted.
func (s *Set) Take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := slices.Sorted(maps.Keys(s.ids))
	clear(s.ids)
	return ids
}
