package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/consul"
)

// holdTries bounds how often a hold is written again because another one was
// written in between.
const holdTries = 5

// Holds returns the counts that somebody asked for a service's revisions to have,
// ended ones too, by revision; "" is the one that has most of the traffic.
func (s *Store) Holds(ctx context.Context, service string) (map[string]wadi.Hold, error) {
	holds, _, err := read[map[string]wadi.Hold](ctx, s, kindHold, service)
	if errors.Is(err, wadi.ErrNotFound) {
		err = nil
	}
	return holds, err
}

// PutHold stores a hold, in place of the one of the same revision; the zero value
// ends that. The leader is told through the index. Any agent may write it: it
// needs no leader. [wadi.ErrNotFound]: there is no such service.
func (s *Store) PutHold(ctx context.Context, service, revision string, h wadi.Hold, now time.Time) error {
	for try := 1; ; try++ {
		err := s.putHold(ctx, service, revision, h, now)
		if err == nil || try == holdTries || !errors.Is(err, wadi.ErrConflict) {
			if err != nil {
				err = fmt.Errorf("hold %s: %w", service, err)
			}
			return err
		}
	}
}

func (s *Store) putHold(ctx context.Context, service, revision string, h wadi.Hold, now time.Time) error {
	old, index, err := read[map[string]wadi.Hold](ctx, s, kindHold, service)
	if err != nil && !errors.Is(err, wadi.ErrNotFound) {
		return err
	}
	holds := map[string]wadi.Hold{}
	for r, was := range old {
		if was.Active(now) {
			holds[r] = was
		}
	}
	delete(holds, revision)
	if h.Active(now) {
		holds[revision] = h
	}
	b, err := s.codec.encode(kindHold, holds)
	if err != nil {
		return err
	}
	ops := []consul.Op{{Verb: consul.CAS, Key: s.key(kindHold, service), Value: b, Index: index}}
	_, err = s.write(ctx, ops, []edit{{service: service, exists: true, fn: func(i *Index) { i.Hold = sum(b) }}})
	return err
}
