package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/consul"
)

// indexTries bounds how often a write is repeated because another write to the
// same service changed its index entry in between.
const indexTries = 20

// indexPause is the longest pause before the second try; it grows with the tries.
const indexPause = 2 * time.Millisecond

// edit changes the index entry of a service, in the transaction that writes what
// the entry describes.
type edit struct {
	service string
	exists  bool // There must be one already.
	fn      func(*Index)
}

// Submit stores all or none of the services, and returns the new index of each
// spec. A spec that is not at its index any more, and a revision that exists
// already, are [wadi.ErrConflict]; a domain of another service is that too, as a
// [*wadi.DomainTakenError], and a name that is another's, as a [*wadi.NameTakenError]; too much at once is
// [wadi.ErrTooLarge], as [Store.Fits] says before.
func (s *Store) Submit(ctx context.Context, all []wadi.Submission) (map[string]uint64, error) {
	ops, edits, err := s.specs(all)
	if err != nil {
		return nil, err
	}
	pairs, err := s.claiming(ctx, all, ops, edits)
	if err != nil {
		return nil, fmt.Errorf("submit: %w", err)
	}
	indexes := map[string]uint64{}
	for _, sub := range all {
		name := sub.Spec.Service.Name
		indexes[name] = indexOf(pairs, s.key(kindSpec, name))
	}
	return indexes, nil
}

// Fits says whether Submit would refuse the services as [wadi.ErrTooLarge]. What else
// Submit would refuse is no error.
func (s *Store) Fits(ctx context.Context, all []wadi.Submission) error {
	ops, edits, err := s.specs(all)
	if err != nil {
		return err
	}
	c, err := s.claims(ctx, all)
	if err == nil {
		err = s.fit(ctx, slices.Concat(ops, s.withSpecs(c)), edits)
	}
	switch {
	case errors.Is(err, wadi.ErrConflict):
		return nil
	case err != nil:
		return fmt.Errorf("%d services at once: %w", len(all), err)
	}
	return nil
}

// specs are the operations that store specs and revisions, and what they change in
// the index.
func (s *Store) specs(all []wadi.Submission) (ops []consul.Op, edits []edit, err error) {
	for _, sub := range all {
		name := sub.Spec.Service.Name
		spec, err := s.codec.encode(kindSpec, sub.Spec)
		if err != nil {
			return nil, nil, fmt.Errorf("submit %s: %w", name, err)
		}
		ops = append(ops, consul.Op{Verb: consul.CAS, Key: s.key(kindSpec, name), Value: spec, Index: sub.Index})
		revision, id := "", ""
		if r := sub.NewRevision; r != nil {
			b, err := s.codec.encode(kindRevision, r)
			if err != nil {
				return nil, nil, fmt.Errorf("submit %s: %w", r.ID, err)
			}
			ops = append(ops, consul.Op{Verb: consul.CAS, Key: s.key(kindRevision, name, r.ID), Value: b})
			revision, id = sum(b), r.ID
		}
		edits = append(edits, edit{service: name, fn: func(i *Index) {
			i.Generation, i.Spec, i.Domains = sub.Spec.Generation, sum(spec), sub.Spec.Service.Domains
			if id == "" {
				return
			}
			if i.Revisions == nil {
				i.Revisions = map[string]string{}
			}
			i.Revisions[id] = revision
		}})
	}
	return ops, edits, nil
}

// MarkDeleting marks a service as to be removed, if its spec is still at index.
// It is a change like any other: the generation grows. What it has claimed it keeps
// until it is gone, whatever can be read of that.
func (s *Store) MarkDeleting(ctx context.Context, name string, index uint64) error {
	spec, at, err := s.Spec(ctx, name)
	if err != nil {
		return err
	}
	if at != index {
		return fmt.Errorf("delete %s: its index is %d, not %d: %w", name, at, index, wadi.ErrConflict)
	}
	if spec.Deleting {
		return nil
	}
	spec.Deleting = true
	spec.Generation++
	ops, edits, err := s.specs([]wadi.Submission{{Spec: spec, Index: at}})
	if err == nil {
		_, err = s.write(ctx, ops, edits)
	}
	return err // Callers say what it was about.
}

// write does ops and the edits in one transaction. Somebody else's change of an
// index entry is no conflict, if ops themselves are still possible: it is tried
// again on top of that change.
func (s *Store) write(ctx context.Context, ops []consul.Op, edits []edit) ([]consul.Pair, error) {
	for try := 1; ; try++ {
		whole := ops[:len(ops):len(ops)]
		for _, e := range edits {
			op, err := s.edited(ctx, e)
			if err != nil {
				return nil, err
			}
			whole = append(whole, op)
		}
		pairs, err := s.kv.Txn(ctx, whole)
		if err == nil || try == indexTries || !onlyFrom(err, len(ops)) {
			return pairs, err
		}
		// Two that retry in step would go on meeting.
		pause := time.NewTimer(rand.N(indexPause * time.Duration(try)))
		select {
		case <-ctx.Done():
			pause.Stop()
			return nil, ctx.Err()
		case <-pause.C:
		}
	}
}

// edited is the operation that writes an index entry as e leaves it.
func (s *Store) edited(ctx context.Context, e edit) (consul.Op, error) {
	old, index, err := read[Index](ctx, s, kindIndex, e.service)
	if err != nil && (e.exists || !errors.Is(err, wadi.ErrNotFound)) {
		return consul.Op{}, err
	}
	e.fn(&old)
	b, err := s.codec.encode(kindIndex, old)
	if err != nil {
		return consul.Op{}, err
	}
	return consul.Op{Verb: consul.CAS, Key: s.key(kindIndex, e.service), Value: b, Index: index}, nil
}

// onlyFrom reports whether err is a conflict of operations from n on alone.
func onlyFrom(err error, n int) bool {
	var te *consul.TxnError
	if !errors.As(err, &te) || !errors.Is(err, wadi.ErrConflict) || len(te.Ops) == 0 {
		return false
	}
	for _, i := range te.Ops {
		if i < n {
			return false
		}
	}
	return true
}

// indexOf is the index of a key that was written.
func indexOf(pairs []consul.Pair, key string) uint64 {
	for _, p := range pairs {
		if p.Key == key {
			return p.Index
		}
	}
	return 0
}
