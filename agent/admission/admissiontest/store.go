package admissiontest

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/admission"
)

// Store is a fake of the store. The zero value is empty.
type Store struct {
	mu        sync.Mutex
	index     uint64
	specs     map[string]stored
	revisions map[string][]wadi.Revision
	statuses  map[string]wadi.Status
	states    map[string]wadi.State
	overrides map[string]map[string]wadi.Override
	marks     map[string]map[string]wadi.Mark
	routes    map[string]wadi.Route
	loads     map[string]wadi.LoadHistory
	down      error

	// OnSubmit, if set, runs before anything is stored; its error is the answer.
	OnSubmit func() error

	// Most is how many services fit into one submission; 0: any number.
	Most int
}

type stored struct {
	wadi.Spec
	index uint64
}

var _ admission.Store = (*Store)(nil)

// Fail makes every call fail with err until it is nil again.
func (s *Store) Fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = err
}

// Spec implements admission.Store.
func (s *Store) Spec(_ context.Context, name string) (wadi.Spec, uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down != nil {
		return wadi.Spec{}, 0, s.down
	}
	if strings.ContainsAny(name, "/.") {
		return wadi.Spec{}, 0, errors.New("a key outside the store")
	}
	got, ok := s.specs[name]
	if !ok {
		return wadi.Spec{}, 0, wadi.ErrNotFound
	}
	return got.Spec, got.index, nil
}

// Revisions implements admission.Store.
func (s *Store) Revisions(_ context.Context, service string) ([]wadi.Revision, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.revisions[service]), s.down
}

// Domains implements admission.Store.
func (s *Store) Domains(context.Context) (map[string]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string]string{}
	for name, spec := range s.specs {
		for _, d := range spec.Service.Domains {
			out[d] = name
		}
	}
	return out, s.down
}

// Fits implements admission.Store.
func (s *Store) Fits(_ context.Context, all []wadi.Submission) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Most > 0 && len(all) > s.Most {
		return wadi.ErrTooLarge
	}
	return s.down
}

// Submit implements admission.Store.
func (s *Store) Submit(ctx context.Context, all []wadi.Submission) (map[string]uint64, error) {
	if s.OnSubmit != nil {
		if err := s.OnSubmit(); err != nil {
			return nil, err
		}
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down != nil {
		return nil, s.down
	}
	for _, sub := range all {
		if s.specs[sub.Spec.Service.Name].index != sub.Index {
			return nil, wadi.ErrConflict
		}
	}
	for _, sub := range all {
		for name, other := range s.specs {
			submitted := slices.ContainsFunc(all, func(o wadi.Submission) bool { return o.Spec.Service.Name == name })
			for _, d := range sub.Spec.Service.Domains {
				if !submitted && slices.Contains(other.Service.Domains, d) {
					return nil, &wadi.DomainTakenError{Domain: d, Service: sub.Spec.Service.Name, Holder: name}
				}
			}
		}
	}
	if err := s.namesTaken(all); err != nil {
		return nil, err
	}
	out := map[string]uint64{}
	for _, sub := range all {
		out[sub.Spec.Service.Name] = s.put(sub)
	}
	return out, nil
}

// namesTaken refuses tags with the name of a stored service.
func (s *Store) namesTaken(all []wadi.Submission) error {
	for _, sub := range all {
		for _, t := range sub.Spec.Service.Traffic {
			name := wadi.TagName(t.Tag, sub.Spec.Service.Name)
			if _, ok := s.specs[name]; ok && t.Tag != "" {
				return &wadi.NameTakenError{Name: name, Service: sub.Spec.Service.Name, Holder: name}
			}
		}
	}
	return nil
}

func (s *Store) put(sub wadi.Submission) uint64 {
	if s.specs == nil {
		s.specs, s.revisions, s.statuses = map[string]stored{}, map[string][]wadi.Revision{}, map[string]wadi.Status{}
	}
	name := sub.Spec.Service.Name
	s.index++
	s.specs[name] = stored{sub.Spec, s.index}
	if sub.NewRevision != nil {
		s.revisions[name] = append(s.revisions[name], *sub.NewRevision)
	}
	return s.index
}

// Services lists the names, sorted.
func (s *Store) Services(context.Context) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.specs)), s.down
}

// MarkDeleting marks a service if it is still at index.
func (s *Store) MarkDeleting(_ context.Context, name string, index uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	got, ok := s.specs[name]
	switch {
	case s.down != nil:
		return s.down
	case !ok:
		return wadi.ErrNotFound
	case got.index != index:
		return wadi.ErrConflict
	}
	got.Deleting = true
	got.Generation++
	s.put(wadi.Submission{Spec: got.Spec})
	return nil
}

// Forget removes a service and its revisions, as the leader does in the end.
func (s *Store) Forget(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.specs, name)
	delete(s.revisions, name)
	delete(s.statuses, name)
}

// ForgetRevisions removes a service's revisions alone.
func (s *Store) ForgetRevisions(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.revisions, name)
}
