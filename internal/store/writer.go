package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/consul"
)

// Writer is the leader's access to the store. It remembers the last version of each key that
// it read or wrote: writes are check-and-set against that version, and equal values are not
// written. Every term has its own Writer. It is safe for concurrent use.
//
// Every write is fenced by the leader's lock, in the same transaction: after the end of the
// term it fails with [wadi.ErrNotLeading] and changes nothing.
//
// After [wadi.ErrConflict] the service is to be loaded again.
type Writer struct {
	*Store
	lock consul.Lock

	mu   sync.Mutex
	seen map[string]stamp // By key.
}

// stamp is the version of a key.
type stamp struct {
	index uint64 // 0: the key did not exist.
	sum   string
}

// Writer returns the writer for the holder of the lock.
func (s *Store) Writer(lock consul.Lock) *Writer {
	return &Writer{Store: s, lock: lock, seen: map[string]stamp{}}
}

// fenced is ops, preceded by the check that the lock is held.
func (w *Writer) fenced(ops ...consul.Op) []consul.Op {
	return append([]consul.Op{w.lock.Fence()}, ops...)
}

// Load reads a service at one moment. A service without a spec and without an entry in the
// index is gone: [wadi.ErrNotFound]. With [wadi.ErrUnreadable] Load returns the readable
// part. An unreadable status is zero, because the leader makes it anew.
func (w *Writer) Load(ctx context.Context, service string) (wadi.Stored, error) {
	ops := w.loadOps(service)
	pairs, err := w.kv.Txn(ctx, ops)
	if err != nil {
		return wadi.Stored{}, fmt.Errorf("load %s: %w", service, err)
	}
	return w.loaded(service, ops, pairs)
}

// loadsAtOnce is how many services one transaction can read.
const loadsAtOnce = consul.MaxTxnOps / 8

// LoadSome is Load for several services, and calls loaded with what that would return for each.
// It reads some at the same moment: a new leader has thousands to read.
func (w *Writer) LoadSome(ctx context.Context, services []string, loaded func(service string, st wadi.Stored, err error)) {
	for some := range slices.Chunk(services, loadsAtOnce) {
		var ops []consul.Op
		for _, service := range some {
			ops = append(ops, w.loadOps(service)...)
		}
		pairs, err := w.kv.Txn(ctx, ops)
		for _, service := range some {
			if err != nil {
				loaded(service, wadi.Stored{}, fmt.Errorf("load %s: %w", service, err))
				continue
			}
			st, err := w.loaded(service, w.loadOps(service), w.pairsOf(service, &pairs))
			loaded(service, st, err)
		}
	}
}

// pairsOf cuts a service's pairs off the rest of a transaction's.
func (w *Writer) pairsOf(service string, rest *[]consul.Pair) []consul.Pair {
	all := *rest
	n := 0
	for n < len(all) && w.isOf(service, all[n].Key) {
		n++
	}
	*rest = all[n:]
	return all[:n]
}

// isOf reports whether a key that Load reads is one of the service.
func (w *Writer) isOf(service, key string) bool {
	of, rest, _ := strings.Cut(strings.TrimPrefix(key, w.prefix), "/")
	if kind(of) == kindRevision {
		rest, _, _ = strings.Cut(rest, "/")
	}
	return rest == service
}

// loadOps are the operations of Load, revisions last.
func (w *Writer) loadOps(service string) []consul.Op {
	ops := make([]consul.Op, 0, 8)
	for _, k := range []kind{kindSpec, kindState, kindStatus, kindRoute, kindOverride, kindMark, kindIndex} {
		ops = append(ops, consul.Op{Verb: consul.Read, Key: w.key(k, service)})
	}
	return append(ops, consul.Op{Verb: consul.ReadTree, Key: w.key(kindRevision, service, "")})
}

// loaded is a service from the pairs of its operations.
func (w *Writer) loaded(service string, ops []consul.Op, pairs []consul.Pair) (wadi.Stored, error) {
	for i, op := range ops[:len(ops)-1] { // Consul leaves out keys without the right to read.
		if i >= len(pairs) || pairs[i].Key != op.Key {
			return wadi.Stored{}, fmt.Errorf("load %s: %s is not readable: %w", service, op.Key, wadi.ErrOwnRight)
		}
	}
	switch spec, index := pairs[0].Index, pairs[6].Index; {
	case spec == 0 && index == 0:
		return wadi.Stored{}, fmt.Errorf("load %s: %w", service, wadi.ErrNotFound)
	case spec == 0:
		return wadi.Stored{}, fmt.Errorf("load %s: it is in the index, but %s is missing", service, pairs[0].Key)
	}
	return w.stored(pairs)
}

// stored decodes the result of Load.
func (w *Writer) stored(pairs []consul.Pair) (wadi.Stored, error) {
	var spec wadi.Spec
	var out wadi.Stored
	var unreadable []error
	for i, part := range []struct {
		kind kind
		into any
	}{{kindSpec, &spec}, {kindState, &out.State}, {kindStatus, &out.Status}, {kindRoute, &out.Route}, {kindOverride, &out.Overrides}, {kindMark, &out.Marks}} {
		p := pairs[i]
		w.remember(p.Key, p.Index, p.Value)
		if p.Index == 0 {
			continue
		}
		if err := w.decode(p, part.kind, part.into); part.kind == kindStatus && w.skip(p, err) {
			out.Status = wadi.Status{}
		} else if err != nil {
			unreadable = append(unreadable, err)
		}
	}
	out.Service, out.Latest = spec.Service, spec.Latest
	out.Generation, out.Attempt, out.Deleting, out.Order = spec.Generation, spec.Attempt, spec.Deleting, spec.Order
	out.TrafficOrder = spec.TrafficOrder
	for _, p := range pairs[7:] {
		var r wadi.Revision
		if err := w.decode(p, kindRevision, &r); err == nil {
			out.Revisions = append(out.Revisions, r)
		} else if id := p.Key[strings.LastIndexByte(p.Key, '/')+1:]; out.Needs(id) {
			unreadable = append(unreadable, err)
		} else if w.skip(p, err) {
			out.Unreadable = append(out.Unreadable, err.Error())
		}
	}
	sortRevisions(out.Revisions)
	return out, errors.Join(unreadable...)
}

// PutRoute stores a route, and its hash in the index.
func (w *Writer) PutRoute(ctx context.Context, r wadi.Route) error {
	return w.put(ctx, kindRoute, r.Service, r, func(hash string) edit {
		return edit{service: r.Service, exists: true, fn: func(i *Index) { i.Route = hash }}
	})
}

// PutState stores the leader's memory of a service.
func (w *Writer) PutState(ctx context.Context, service string, s wadi.State) error {
	return w.put(ctx, kindState, service, s, nil)
}

// PutStatus stores a service as the leader sees it.
func (w *Writer) PutStatus(ctx context.Context, s wadi.Status) error {
	return w.put(ctx, kindStatus, s.Service, s, nil)
}

// put writes one value of an existing service, unless it is stored already.
func (w *Writer) put(ctx context.Context, k kind, service string, v any, indexed func(hash string) edit) error {
	what := fmt.Sprintf("write %s of %s", k, service)
	b, err := w.codec.encode(k, v)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	key := w.key(k, service)
	last, err := w.last(ctx, key)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if last.index != 0 && last.sum == sum(b) {
		return nil
	}
	ops := w.fenced(consul.Op{Verb: consul.CAS, Key: key, Value: b, Index: last.index})
	var edits []edit
	if indexed != nil {
		edits = append(edits, indexed(sum(b)))
	} else {
		// A forgotten service must not come back in part.
		ops = append(ops, consul.Op{Verb: consul.MustExist, Key: w.key(kindIndex, service)})
	}
	pairs, err := w.write(ctx, ops, edits)
	if err != nil {
		// After an error the write may have happened or not: read the key again.
		w.forget(key)
		return fmt.Errorf("%s: %w", what, err)
	}
	w.remember(key, indexOf(pairs, key), b)
	return nil
}

// last is the last known version of a key; it is read if none is known.
func (w *Writer) last(ctx context.Context, key string) (stamp, error) {
	w.mu.Lock()
	st, ok := w.seen[key]
	w.mu.Unlock()
	if ok {
		return st, nil
	}
	p, err := w.kv.Get(ctx, key)
	if errors.Is(err, wadi.ErrNotFound) {
		return stamp{}, nil
	}
	if err != nil {
		return stamp{}, err
	}
	return stamp{index: p.Index, sum: sum(p.Value)}, nil
}

func (w *Writer) remember(key string, index uint64, value []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen[key] = stamp{index: index, sum: sum(value)}
}

func (w *Writer) forget(keys ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, k := range keys {
		delete(w.seen, k)
	}
}

// DeleteRevision removes a revision with its mark. A missing one is no error. It fails with
// [wadi.ErrConflict] if the service was submitted since it was loaded, as the revision may have
// traffic now, and if it is pinned.
func (w *Writer) DeleteRevision(ctx context.Context, service, id string) error {
	ops := w.fenced(consul.Op{Verb: consul.Delete, Key: w.key(kindRevision, service, id)})
	w.mu.Lock()
	spec, loaded := w.seen[w.key(kindSpec, service)]
	w.mu.Unlock()
	if loaded && spec.index != 0 {
		ops = append(ops, consul.Op{Verb: consul.MustBeAt, Key: w.key(kindSpec, service), Index: spec.index})
	}
	entry, _, err := read[Index](ctx, w.Store, kindIndex, service)
	if err != nil {
		return fmt.Errorf("delete revision %s: %w", id, err)
	}
	marks, unmarked, err := w.unmark(ctx, service, id)
	if err == nil {
		_, err = w.write(ctx, append(ops, marks...), []edit{{service: service, exists: true, marks: &entry.Marks, fn: func(i *Index) {
			delete(i.Revisions, id)
			delete(i.Assets, id)
			unmarked(i)
		}}})
	}
	if err != nil {
		return fmt.Errorf("delete revision %s: %w", id, err)
	}
	return nil
}

// Forget removes everything of a service at once, its index entry included. It refuses a
// service that is not marked with MarkDeleting, but removes the remains of a service
// without a spec.
func (w *Writer) Forget(ctx context.Context, service string) error {
	spec, index, err := w.Spec(ctx, service)
	guard := consul.Op{Verb: consul.DeleteCAS, Key: w.key(kindSpec, service), Index: index}
	switch {
	case errors.Is(err, wadi.ErrNotFound):
		guard = consul.Op{Verb: consul.MustNotBe, Key: w.key(kindSpec, service)}
	case err != nil:
		return fmt.Errorf("forget %s: %w", service, err)
	case !spec.Deleting:
		return fmt.Errorf("forget %s: it is not being deleted: %w", service, wadi.ErrConflict)
	}
	ops := w.fenced(guard, consul.Op{Verb: consul.DeleteTree, Key: w.key(kindRevision, service, "")})
	var keys []string
	for _, k := range []kind{kindSpec, kindRoute, kindState, kindStatus, kindOverride, kindMark, kindLoad, kindIndex} {
		keys = append(keys, w.key(k, service))
		if k != kindSpec {
			ops = append(ops, consul.Op{Verb: consul.Delete, Key: w.key(k, service)})
		}
	}
	claims, err := w.release(ctx, service)
	if err != nil {
		return fmt.Errorf("forget %s: %w", service, err)
	}
	fit := min(len(claims), consul.MaxTxnOps-len(ops))
	if _, err := w.kv.Txn(ctx, append(ops, claims[:fit]...)); err != nil {
		return fmt.Errorf("forget %s: %w", service, err)
	}
	w.forget(keys...)
	for rest := range slices.Chunk(claims[fit:], consul.MaxTxnOps-1) { // They are void without the service.
		if _, err := w.kv.Txn(ctx, w.fenced(rest...)); err != nil {
			return fmt.Errorf("forget %s: %w", service, err)
		}
	}
	return nil
}
