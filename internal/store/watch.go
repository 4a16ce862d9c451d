package store

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/consul"
)

// WatchRoutes calls fn with the route of every service, now and after every
// change, from this goroutine, until ctx ends. The map is the callee's. A route
// that can't be read stays what it was.
func (s *Store) WatchRoutes(ctx context.Context, fn func(map[string]wadi.Route)) error {
	return watch(ctx, s, kindRoute, false, func(now map[string]wadi.Route, _ map[string]bool) { fn(now) })
}

// Watch calls changed with the names of services that were submitted, overridden or removed,
// or that were marked or have a marked revision, with all of them at first, until ctx ends. It does not report the leader's own
// writes of routes, state and status, except where they are undone because Consul was
// restored to an earlier state.
func (s *Store) Watch(ctx context.Context, changed func(services []string)) error {
	var before map[string]Index
	return watch(ctx, s, kindIndex, true, func(now map[string]Index, back map[string]bool) {
		var names []string
		for name, i := range now {
			if old, ok := before[name]; !ok || back[name] || old.Generation != i.Generation || old.Spec != i.Spec || old.Override != i.Override || old.Marks != i.Marks {
				names = append(names, name)
			}
		}
		for name := range before {
			if _, ok := now[name]; !ok {
				names = append(names, name)
			}
		}
		first := before == nil
		before = now
		if len(names) > 0 || first {
			slices.Sort(names)
			changed(names)
		}
	})
}

// After each list a watch rests, longer the longer the list: reading it takes Consul and the
// agent some 10 µs for each of its keys.
const (
	restEach = 40 * time.Microsecond
	restMost = 500 * time.Millisecond
)

// decoded is a value, and the index of its key when it was decoded.
type decoded[T any] struct {
	index uint64
	value T
	good  bool // Some version of the value could be decoded.
	stale bool // The present version can't be.
}

// watch decodes changed values only. In place of an undecodable value fn gets the last good
// version, or with all the zero value if there is none. An empty list, unless it follows an
// empty one, is believed only if the right to read was proved before it and after it (the
// right may come, or go, between a list and a proof), and if a transaction finds nothing
// either: see [consul.Client.List]. back are the keys whose
// index went back: Consul was restored to an earlier state.
func watch[T any](ctx context.Context, s *Store, k kind, all bool, fn func(now map[string]T, back map[string]bool)) error {
	prefix := s.key(k)
	last := map[string]decoded[T]{}
	trusted := false // The last list was empty, and the right to read it proved.
	w := consul.Watch[[]consul.Pair]{
		Fetch: func(ctx context.Context, index uint64) ([]consul.Pair, uint64, error) {
			pairs, next, err := s.kv.WaitList(ctx, prefix, index)
			if err != nil || len(pairs) > 0 || trusted {
				return pairs, next, err
			}
			if err := s.Check(ctx); err != nil {
				return nil, 0, err
			}
			// Of the first list's index: what has changed since wakes the next query.
			pairs, err = s.kv.List(ctx, prefix)
			if err == nil && len(pairs) == 0 {
				err = s.Check(ctx)
			}
			return pairs, next, err
		},
		Rest:   func(pairs []consul.Pair) time.Duration { return min(time.Duration(len(pairs))*restEach, restMost) },
		Report: func(err error) { s.log.Warn("store not readable, trying on", "what", string(k), "error", err) },
	}
	return w.Run(ctx, func(pairs []consul.Pair) {
		trusted = len(pairs) == 0
		next := make(map[string]decoded[T], len(pairs))
		out := make(map[string]T, len(pairs))
		bad, back := map[string]struct{}{}, map[string]bool{}
		for _, p := range pairs {
			name := strings.TrimPrefix(p.Key, prefix)
			d := refresh(s, k, p, last[name])
			next[name] = d
			if d.index < last[name].index {
				back[name] = true
			}
			if d.stale {
				bad[p.Key] = struct{}{}
			}
			if d.good || all {
				out[name] = d.value
			}
		}
		last = next
		s.watched(k, bad)
		fn(out, back)
	})
}

// refresh decodes p unless old is of the same index.
func refresh[T any](s *Store, k kind, p consul.Pair, old decoded[T]) decoded[T] {
	if old.index == p.Index {
		return old
	}
	var v T
	if err := s.decode(p, k, &v); err != nil {
		s.log.Error("stored value not understood, going on with the last one", "error", err)
		return decoded[T]{index: p.Index, value: old.value, good: old.good, stale: true}
	}
	return decoded[T]{index: p.Index, value: v, good: true}
}
