package control

import (
	"context"
	"fmt"
	"reflect"
	"sync"

	"github.com/wadi-run/wadi"
)

// Memory is what the autoscaler's decisions of a term leave to the next leader. The
// autoscaler writes it, and the controller stores it with the service's state: soon, as
// another agent may lead the moment after. The zero value is empty.
type Memory struct {
	mu      sync.Mutex
	entries map[string]Remembered // By revision.
	changed map[string]bool       // Services with new entries.
	loaded  map[string]int        // By revision: how many instances its load alone needs. It is of this term only.
	news    chan struct{}
}

// Remembered is what is kept of one revision's decisions. It is not changed any more.
type Remembered struct {
	Deciders wadi.Deciders
	Desired  int // Instances, after bounds.
}

// Put replaces what is remembered of a revision.
func (m *Memory) Put(revision string, r Remembered) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.init()
	m.entries[revision] = r
	service, _, _ := wadi.SplitRevisionID(revision)
	m.changed[service] = true
	signal(m.news)
}

// Of returns what is remembered of a revision, if anything is.
func (m *Memory) Of(revision string) (r Remembered, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok = m.entries[revision]
	return r, ok
}

// Forget drops a revision that is gone.
func (m *Memory) Forget(revision string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.entries, revision)
	delete(m.loaded, revision)
}

// SetLoaded notes how many instances the load of a revision needs, bounds apart; -1: that is
// not known.
func (m *Memory) SetLoaded(revision string, n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n < 0 {
		delete(m.loaded, revision)
		return
	}
	if m.loaded == nil {
		m.loaded = map[string]int{}
	}
	m.loaded[revision] = n
}

// Loaded is what was noted last.
func (m *Memory) Loaded(revision string) (n int, known bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, known = m.loaded[revision]
	return n, known
}

// Changed signals that TakeChanged has something.
func (m *Memory) Changed() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.init()
	return m.news
}

// TakeChanged returns the services with entries that were put since it was called last.
func (m *Memory) TakeChanged() (services []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name := range m.changed {
		services = append(services, name)
	}
	clear(m.changed)
	return services
}

// init is called with mu held.
func (m *Memory) init() {
	if m.entries == nil {
		m.entries, m.changed, m.news = map[string]Remembered{}, map[string]bool{}, make(chan struct{}, 1)
	}
}

// storeMemory stores what the autoscaler remembers of a service's revisions, if it changed.
func (c *Controller) storeMemory(ctx context.Context, s *service) error {
	st, changed := s.State, false
	for _, r := range s.Revisions {
		m, ok := c.Memory.Of(r.ID)
		rs := st.Revisions[r.ID]
		if ok && rs.Phase != "" && !reflect.DeepEqual(m.Deciders, rs.Deciders) {
			rs.Deciders = m.Deciders
			st.Revisions = copyWith(st.Revisions, r.ID, rs)
			changed = true
		}
	}
	if !changed {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, actionTimeout)
	defer cancel()
	if err := c.State.PutState(ctx, s.Service.Name, st); err != nil {
		return fmt.Errorf("store decider state: %w", err)
	}
	s.State, s.published = st, nil
	return nil
}
