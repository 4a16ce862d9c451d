package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/consul"
)

// LoadHistory returns the kept load of a service, and [wadi.ErrNotFound] if there is none.
func (s *Store) LoadHistory(ctx context.Context, service string) (wadi.LoadHistory, error) {
	h, _, err := read[wadi.LoadHistory](ctx, s, kindLoad, service)
	return h, err
}

// UpdateLoadHistory changes the kept load of a service, zero at first. It remembers
// nothing of it. One that can't be read stays as it is: [wadi.ErrUnreadable].
func (w *Writer) UpdateLoadHistory(ctx context.Context, service string, change func(wadi.LoadHistory) wadi.LoadHistory) error {
	h, index, err := read[wadi.LoadHistory](ctx, w.Store, kindLoad, service)
	if err != nil && !errors.Is(err, wadi.ErrNotFound) {
		return fmt.Errorf("change load of %s: %w", service, err)
	}
	b, err := w.codec.encode(kindLoad, change(h))
	if err != nil {
		return fmt.Errorf("change load of %s: %w", service, err)
	}
	ops := w.fenced(
		consul.Op{Verb: consul.CAS, Key: w.key(kindLoad, service), Value: b, Index: index},
		consul.Op{Verb: consul.MustExist, Key: w.key(kindIndex, service)}, // A forgotten service must not come back in part.
	)
	if _, err := w.kv.Txn(ctx, ops); err != nil {
		return fmt.Errorf("change load of %s: %w", service, err)
	}
	return nil
}
