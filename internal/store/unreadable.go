package store

import (
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/consul"
)

// maxTold bounds how many unreadable values are known as told.
const maxTold = 1000

// unreadable keeps what the log was told of values that can't be decoded, so that it is
// told once of each, and which of the watched ones can't be now.
type unreadable struct {
	mu   sync.Mutex
	told map[string]uint64            // By key: the index at which it was told.
	now  map[kind]map[string]struct{} // Keys.
}

// skip logs that a value that can't be decoded is left out. It returns false for other
// errors.
func (s *Store) skip(p consul.Pair, err error) bool {
	if !errors.Is(err, wadi.ErrUnreadable) {
		return false
	}
	s.bad.mu.Lock()
	defer s.bad.mu.Unlock()
	if s.bad.told[p.Key] == p.Index {
		return true
	}
	if s.bad.told == nil || len(s.bad.told) >= maxTold {
		s.bad.told = map[string]uint64{}
	}
	s.bad.told[p.Key] = p.Index
	s.log.Error("stored value not understood, going on without it", "error", err)
	return true
}

// watched notes which values of a kind that is watched can't be decoded now.
func (s *Store) watched(k kind, keys map[string]struct{}) {
	s.bad.mu.Lock()
	defer s.bad.mu.Unlock()
	if s.bad.now == nil {
		s.bad.now = map[kind]map[string]struct{}{}
	}
	s.bad.now[k] = keys
}

// Unreadable are the keys of watched values, those of routes and of the index, that
// this agent does not understand, sorted.
func (s *Store) Unreadable() []string {
	s.bad.mu.Lock()
	defer s.bad.mu.Unlock()
	var out []string
	for _, keys := range s.bad.now {
		out = slices.AppendSeq(out, maps.Keys(keys))
	}
	slices.Sort(out)
	return out
}
