package agent

import (
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// stack is what an agent opened and started, by name. It is stopped in reverse order: the
// last pushed first, each once. It is safe for concurrent use, but a stop waits for the
// stop before it.
type stack struct {
	log hclog.Logger

	stopping sync.Mutex // Held while entries are stopped.
	mu       sync.Mutex
	entries  []stop
}

// stop is an entry of a stack.
type stop struct {
	name string
	do   func()
}

// push adds what is to be stopped before everything that is in the stack already.
func (s *stack) push(name string, do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries = append(s.entries, stop{name, do})
}

// stopAbove stops what was pushed after the entry called name, which stays; "" stops all.
func (s *stack) stopAbove(name string) {
	s.stopping.Lock()
	defer s.stopping.Unlock()
	for {
		next, ok := s.pop(name)
		if !ok {
			return
		}
		began := time.Now()
		next.do()
		s.log.Debug("stopped", "what", next.name, "took", time.Since(began))
	}
}

// pop takes the last entry off, unless it is the one called name.
func (s *stack) pop(name string) (stop, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := len(s.entries) - 1
	if last < 0 || s.entries[last].name == name {
		return stop{}, false
	}
	next := s.entries[last]
	s.entries = s.entries[:last]
	return next, true
}

// order returns the names of the entries in the order in which they would be stopped.
func (s *stack) order() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for _, e := range slices.Backward(s.entries) {
		names = append(names, e.name)
	}
	return names
}
