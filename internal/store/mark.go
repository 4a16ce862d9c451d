package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/consul"
)

// markTries bounds the tries of a write that conflicts with other changes of the service.
const markTries = 5

// Marks returns the marks of a service's revisions.
func (s *Store) Marks(ctx context.Context, service string) (map[string]wadi.Mark, error) {
	marks, _, err := read[map[string]wadi.Mark](ctx, s, kindMark, service)
	if errors.Is(err, wadi.ErrNotFound) {
		err = nil
	}
	return marks, err
}

// MarkRevision stores the mark of a revision that decide returns; the zero value ends it. It is
// stored only if spec, route and marks are still what decide has seen; otherwise decide is asked
// again, some times. An error of decide is the answer. Any agent can write marks; the leader sees
// them in the index. [wadi.ErrNotFound]: there is no such revision.
func (s *Store) MarkRevision(ctx context.Context, service, id string, decide func(wadi.Marked) (wadi.Mark, error)) error {
	for try := 1; ; try++ {
		refused, err := s.markRevision(ctx, service, id, decide)
		if refused != nil {
			return refused
		}
		if err == nil || try == markTries || !errors.Is(err, wadi.ErrConflict) {
			if err != nil {
				err = fmt.Errorf("mark %s: %w", id, err)
			}
			return err
		}
	}
}

func (s *Store) markRevision(ctx context.Context, service, id string, decide func(wadi.Marked) (wadi.Mark, error)) (refused, err error) {
	var seen wadi.Marked
	var at struct{ spec, route, marks uint64 }
	if seen.Spec, at.spec, err = s.Spec(ctx, service); err != nil {
		return nil, err
	}
	if seen.Route, at.route, err = read[wadi.Route](ctx, s, kindRoute, service); err != nil && !errors.Is(err, wadi.ErrNotFound) {
		return nil, err
	}
	if seen.Marks, at.marks, err = read[map[string]wadi.Mark](ctx, s, kindMark, service); err != nil && !errors.Is(err, wadi.ErrNotFound) {
		return nil, err
	}
	if _, err := s.kv.Get(ctx, s.key(kindRevision, service, id)); err != nil { // It may be unreadable.
		return nil, err
	}
	mark, refused := decide(seen)
	if refused != nil {
		return refused, nil
	}
	if mark == seen.Marks[id] { // Callers that wait for a deletion mark again and again.
		return nil, nil
	}
	b, err := s.codec.encode(kindMark, withMark(seen.Marks, id, mark))
	if err != nil {
		return nil, err
	}
	route := consul.Op{Verb: consul.MustBeAt, Key: s.key(kindRoute, service), Index: at.route}
	if at.route == 0 {
		route = consul.Op{Verb: consul.MustNotBe, Key: route.Key}
	}
	_, err = s.write(ctx, []consul.Op{
		{Verb: consul.CAS, Key: s.key(kindMark, service), Value: b, Index: at.marks},
		{Verb: consul.MustBeAt, Key: s.key(kindSpec, service), Index: at.spec},
		{Verb: consul.MustExist, Key: s.key(kindRevision, service, id)},
		route,
	}, []edit{{service: service, exists: true, fn: func(i *Index) { i.Marks = sum(b) }}})
	return nil, err
}

// withMark returns marks with another one of a revision.
func withMark(marks map[string]wadi.Mark, id string, mark wadi.Mark) map[string]wadi.Mark {
	out := map[string]wadi.Mark{}
	for r, m := range marks {
		out[r] = m
	}
	if delete(out, id); mark.Pinned || mark.Deleted {
		out[id] = mark
	}
	return out
}

// unmark returns the operations that remove the mark of a revision that is removed itself, and
// what they change in the index. A pinned one is not removed: ErrConflict.
func (w *Writer) unmark(ctx context.Context, service, id string) ([]consul.Op, func(*Index), error) {
	marks, index, err := read[map[string]wadi.Mark](ctx, w.Store, kindMark, service)
	if errors.Is(err, wadi.ErrNotFound) || errors.Is(err, wadi.ErrUnreadable) {
		return nil, func(*Index) {}, nil
	}
	mark, marked := marks[id]
	switch {
	case !marked || err != nil:
		return nil, func(*Index) {}, err
	case mark.Pinned: // Since the leader decided.
		return nil, nil, fmt.Errorf("%s was pinned in the meantime: %w", id, wadi.ErrConflict)
	}
	b, err := w.codec.encode(kindMark, withMark(marks, id, wadi.Mark{}))
	op := consul.Op{Verb: consul.CAS, Key: w.key(kindMark, service), Value: b, Index: index}
	return []consul.Op{op}, func(i *Index) { i.Marks = sum(b) }, err
}
