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

// indexTries bounds the tries of a write that conflicts with changes of the service's index
// entry.
const indexTries = 20

// indexPause is the longest pause before the second try; it grows with the tries.
const indexPause = 2 * time.Millisecond

// edit changes the index entry of a service in the transaction that writes the values which
// the entry describes.
type edit struct {
	service string
	exists  bool    // The entry must exist.
	marks   *string // The marks that the entry must have; nil: any.
	fn      func(*Index)
}

// Submit stores all or none of the services, and returns the new index of each
// spec. A spec that is not at its index any more and an existing revision are
// [wadi.ErrConflict]; so are a domain of another service, as [*wadi.DomainTakenError], and
// a name of another service, as [*wadi.NameTakenError], and traffic for a revision that is
// being deleted. More than one transaction can hold
// is [wadi.ErrTooLarge]; [Store.Fits] checks that before.
func (s *Store) Submit(ctx context.Context, all []wadi.Submission) (map[string]uint64, error) {
	ops, edits, err := s.judged(ctx, all)
	if err != nil {
		return nil, fmt.Errorf("submit: %w", err)
	}
	pairs, err := s.writeWithClaims(ctx, all, ops, edits)
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

// Fits returns [wadi.ErrTooLarge] if Submit would. Other refusals of Submit are no error
// here.
func (s *Store) Fits(ctx context.Context, all []wadi.Submission) error {
	ops, edits, err := s.judged(ctx, all)
	var c *claims
	if err == nil {
		c, err = s.claims(ctx, all)
	}
	if err == nil {
		err = s.fit(ctx, slices.Concat(ops, c.withSpecs(s)), edits)
	}
	switch {
	case errors.Is(err, wadi.ErrConflict):
		return nil
	case err != nil:
		return fmt.Errorf("%d services at once: %w", len(all), err)
	}
	return nil
}

// judged returns the operations and edits of specs. It refuses traffic for a revision that is
// marked for deletion, also by a mark that is stored after this: it would be deleted once the
// traffic goes elsewhere, however much later.
func (s *Store) judged(ctx context.Context, all []wadi.Submission) ([]consul.Op, []edit, error) {
	ops, edits, err := s.specs(all)
	if err != nil {
		return nil, nil, err
	}
	for i, sub := range all {
		service := sub.Spec.Service
		named := namedBy(service)
		if len(named) == 0 {
			continue
		}
		entry, _, err := read[Index](ctx, s, kindIndex, service.Name)
		if err != nil && !errors.Is(err, wadi.ErrNotFound) {
			return nil, nil, err
		}
		marks, err := s.Marks(ctx, service.Name)
		if err != nil && !errors.Is(err, wadi.ErrUnreadable) { // Then they are none for the leader too.
			return nil, nil, err
		}
		for _, id := range named {
			if marks[id].Deleted {
				return nil, nil, fmt.Errorf("%s is being deleted: %w", id, wadi.ErrConflict)
			}
		}
		edits[i].marks = &entry.Marks
	}
	return ops, edits, nil
}

// namedBy are the revisions that a service's traffic and rules name by their IDs.
func namedBy(service wadi.Service) (ids []string) {
	for _, t := range service.Traffic {
		if t.Revision != wadi.Latest {
			ids = append(ids, t.Revision)
		}
	}
	for _, rule := range service.Routes {
		if rule.Revision != "" {
			ids = append(ids, rule.Revision)
		}
	}
	return ids
}

// specs returns the operations that store specs and revisions, and the edits of their index
// entries.
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
			if assets := sub.NewRevision.Assets; len(assets) > 0 {
				if i.Assets == nil {
					i.Assets = map[string][]string{}
				}
				i.Assets[id] = assets
			}
		}})
	}
	return ops, edits, nil
}

// MarkDeleting marks a service for deletion, if its spec is still at index. It is a change
// like any other: the generation grows. The service keeps its claims until it is gone,
// unreadable ones included.
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
	return err // Callers add the service.
}

// write does ops and the edits in one transaction. If only an index entry has changed in the
// meantime, it edits the changed entry and tries again.
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
		// Two writers that retry in step would conflict again.
		pause := time.NewTimer(rand.N(indexPause * time.Duration(try)))
		select {
		case <-ctx.Done():
			pause.Stop()
			return nil, ctx.Err()
		case <-pause.C:
		}
	}
}

// edited returns the operation that writes the edited index entry.
func (s *Store) edited(ctx context.Context, e edit) (consul.Op, error) {
	old, index, err := read[Index](ctx, s, kindIndex, e.service)
	if err != nil && (e.exists || !errors.Is(err, wadi.ErrNotFound)) {
		return consul.Op{}, err
	}
	if e.marks != nil && *e.marks != old.Marks {
		return consul.Op{}, fmt.Errorf("a revision was marked in the meantime: %w", wadi.ErrConflict)
	}
	e.fn(&old)
	b, err := s.codec.encode(kindIndex, old)
	if err != nil {
		return consul.Op{}, err
	}
	return consul.Op{Verb: consul.CAS, Key: s.key(kindIndex, e.service), Value: b, Index: index}, nil
}

// onlyFrom reports whether err is a conflict of operations from the n-th on only.
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

// indexOf is the index of a written key.
func indexOf(pairs []consul.Pair, key string) uint64 {
	for _, p := range pairs {
		if p.Key == key {
			return p.Index
		}
	}
	return 0
}
