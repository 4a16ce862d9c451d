package registry

import (
	"context"
	"strings"
	"sync"
)

const (
	maxQuestions   = 16 // That are asked at once.
	maxPerRegistry = 4
)

// slots bounds the questions that are asked at once, in all and of one registry, so that a
// slow registry leaves slots to others.
type slots struct {
	all chan struct{}

	mu    sync.Mutex
	hosts map[string]*hostSlots // Of registries that are asked, or waited for.
}

type hostSlots struct {
	slots chan struct{}
	users int
}

func newSlots() *slots {
	return &slots{all: make(chan struct{}, maxQuestions), hosts: map[string]*hostSlots{}}
}

// acquire waits for a slot. The slot is free after release.
func (s *slots) acquire(ctx context.Context, host string) (release func(), err error) {
	s.mu.Lock()
	host = strings.ToLower(host) // As DNS reads it.
	h := s.hosts[host]
	if h == nil {
		h = &hostSlots{slots: make(chan struct{}, maxPerRegistry)}
		s.hosts[host] = h
	}
	h.users++
	s.mu.Unlock()
	leave := func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if h.users--; h.users == 0 {
			delete(s.hosts, host)
		}
	}
	if err := take(ctx, h.slots); err != nil {
		leave()
		return nil, err
	}
	if err := take(ctx, s.all); err != nil {
		<-h.slots
		leave()
		return nil, err
	}
	return func() { <-s.all; <-h.slots; leave() }, nil
}

func take(ctx context.Context, slots chan struct{}) error {
	select {
	case slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
