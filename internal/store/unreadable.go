package store

import (
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/consul"
)

// maxLogged bounds the unreadable values that are known as logged.
const maxLogged = 1000

// unreadable remembers which undecodable values were logged, so that each is logged once,
// and which watched values can't be decoded now.
type unreadable struct {
	mu     sync.Mutex
	logged map[string]uint64            // By key: the index at which it was logged.
	now    map[kind]map[string]struct{} // Keys.
}

// skip logs that an undecodable value is left out. It returns false for other errors.
func (s *Store) skip(p consul.Pair, err error) bool {
	if !errors.Is(err, wadi.ErrUnreadable) {
		return false
	}
	s.bad.mu.Lock()
	defer s.bad.mu.Unlock()
	if s.bad.logged[p.Key] == p.Index {
		return true
	}
	if s.bad.logged == nil || len(s.bad.logged) >= maxLogged {
		s.bad.logged = map[string]uint64{}
	}
	s.bad.logged[p.Key] = p.Index
	s.log.Error("stored value not understood, going on without it", "error", err)
	return true
}

// watched notes the undecodable values of a watched kind.
func (s *Store) watched(k kind, keys map[string]struct{}) {
	s.bad.mu.Lock()
	defer s.bad.mu.Unlock()
	if s.bad.now == nil {
		s.bad.now = map[kind]map[string]struct{}{}
	}
	s.bad.now[k] = keys
}

// Unreadable returns the keys of routes and index entries that can't be decoded now,
// sorted.
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
