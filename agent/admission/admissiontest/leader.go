package admissiontest

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/wadi-run/wadi"
)

// Status returns the status of SetStatus.
func (s *Store) Status(_ context.Context, name string) (wadi.Status, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st, ok := s.statuses[name]
	if !ok && s.down == nil {
		return st, wadi.ErrNotFound
	}
	return st, s.down
}

// SetStatus stores a status as the leader would.
func (s *Store) SetStatus(st wadi.Status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.statuses[st.Service] = st
}

// State implements admission.Store.
func (s *Store) State(_ context.Context, name string) (wadi.State, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st, ok := s.states[name]
	if !ok && s.down == nil {
		return st, wadi.ErrNotFound
	}
	return st, s.down
}

// SetState stores the leader's memory of a service.
func (s *Store) SetState(name string, st wadi.State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.states == nil {
		s.states = map[string]wadi.State{}
	}
	s.states[name] = st
}

// Route returns the route of SetRoute.
func (s *Store) Route(_ context.Context, name string) (wadi.Route, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down != nil {
		return wadi.Route{}, s.down
	}
	r, ok := s.routes[name]
	if !ok {
		return wadi.Route{}, wadi.ErrNotFound
	}
	return r, nil
}

// SetRoute stores a route.
func (s *Store) SetRoute(r wadi.Route) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.routes == nil {
		s.routes = map[string]wadi.Route{}
	}
	s.routes[r.Service] = r
}

// LoadHistory returns the history of SetLoadHistory.
func (s *Store) LoadHistory(_ context.Context, name string) (wadi.LoadHistory, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, ok := s.loads[name]
	switch {
	case s.down != nil:
		return wadi.LoadHistory{}, s.down
	case !ok:
		return wadi.LoadHistory{}, wadi.ErrNotFound
	}
	return h, nil
}

// SetLoadHistory stores a load.
func (s *Store) SetLoadHistory(name string, h wadi.LoadHistory) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.loads == nil {
		s.loads = map[string]wadi.LoadHistory{}
	}
	s.loads[name] = h
}

// Overrides implements server.Overrides.
func (s *Store) Overrides(_ context.Context, service string) (map[string]wadi.Override, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.overrides[service]), s.down
}

// PutOverride implements server.Overrides.
func (s *Store) PutOverride(_ context.Context, service, revision string, h wadi.Override, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down != nil {
		return s.down
	}
	if s.overrides == nil {
		s.overrides = map[string]map[string]wadi.Override{}
	}
	if s.overrides[service] == nil {
		s.overrides[service] = map[string]wadi.Override{}
	}
	delete(s.overrides[service], revision)
	if h.Active(now) {
		s.overrides[service][revision] = h
	}
	return nil
}

// Marks implements server.Marks.
func (s *Store) Marks(_ context.Context, service string) (map[string]wadi.Mark, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.marks[service]), s.down
}

// MarkRevision implements server.Marks.
func (s *Store) MarkRevision(_ context.Context, service, id string, decide func(wadi.Marked) (wadi.Mark, error)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down != nil {
		return s.down
	}
	if !slices.ContainsFunc(s.revisions[service], func(r wadi.Revision) bool { return r.ID == id }) {
		return wadi.ErrNotFound
	}
	mark, err := decide(wadi.Marked{Spec: s.specs[service].Spec, Route: s.routes[service], Marks: maps.Clone(s.marks[service])})
	if err != nil {
		return err
	}
	if s.marks == nil {
		s.marks = map[string]map[string]wadi.Mark{}
	}
	if s.marks[service] == nil {
		s.marks[service] = map[string]wadi.Mark{}
	}
	if delete(s.marks[service], id); mark != (wadi.Mark{}) {
		s.marks[service][id] = mark
	}
	return nil
}
