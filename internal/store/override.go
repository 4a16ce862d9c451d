package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/consul"
)

// overrideTries bounds the tries of a write that conflicts with other overrides.
const overrideTries = 5

// Overrides returns a service's overrides by revision, expired ones included; "" is the
// revision with most of the traffic.
func (s *Store) Overrides(ctx context.Context, service string) (map[string]wadi.Override, error) {
	overrides, _, err := read[map[string]wadi.Override](ctx, s, kindOverride, service)
	if errors.Is(err, wadi.ErrNotFound) {
		err = nil
	}
	return overrides, err
}

// PutOverride stores an override in place of the revision's earlier one; the zero value ends
// that. Any agent can write it; the leader sees it in the index. [wadi.ErrNotFound]: there
// is no such service.
func (s *Store) PutOverride(ctx context.Context, service, revision string, h wadi.Override, now time.Time) error {
	for try := 1; ; try++ {
		err := s.putOverride(ctx, service, revision, h, now)
		if err == nil || try == overrideTries || !errors.Is(err, wadi.ErrConflict) {
			if err != nil {
				err = fmt.Errorf("override %s: %w", service, err)
			}
			return err
		}
	}
}

func (s *Store) putOverride(ctx context.Context, service, revision string, h wadi.Override, now time.Time) error {
	old, index, err := read[map[string]wadi.Override](ctx, s, kindOverride, service)
	if err != nil && !errors.Is(err, wadi.ErrNotFound) {
		return err
	}
	overrides := map[string]wadi.Override{}
	for r, was := range old {
		if was.Active(now) {
			overrides[r] = was
		}
	}
	delete(overrides, revision)
	if h.Active(now) {
		overrides[revision] = h
	}
	b, err := s.codec.encode(kindOverride, overrides)
	if err != nil {
		return err
	}
	ops := []consul.Op{{Verb: consul.CAS, Key: s.key(kindOverride, service), Value: b, Index: index}}
	_, err = s.write(ctx, ops, []edit{{service: service, exists: true, fn: func(i *Index) { i.Override = sum(b) }}})
	return err
}
