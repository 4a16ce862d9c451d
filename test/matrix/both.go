//go:build e2e

package matrix

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/wadi-run/wadi/test/harness"
)

// breakOrder is the order in which two faults are broken, by their groups: what needs a
// working Wadi to be broken comes first. They are mended in the opposite order.
var breakOrder = []string{GroupServices, GroupInstances, GroupAgents, GroupBackends, GroupNetwork, GroupResources}

// betweenMends bounds how long Wadi may take after the first of two mends until it can be
// asked for the second.
const betweenMends = time.Minute

// Both breaks two things at once, of different groups; not one of the network and one of the
// resources, which are both prepared before. Nothing is promised about answers while
// both are broken, but all that holds for any fault holds afterwards, and the invariants do.
func Both(a, b Fault) Fault {
	if slices.Index(breakOrder, a.Group) > slices.Index(breakOrder, b.Group) {
		a, b = b, a
	}
	hits := new([2]Hit) // What each has hit: World.Hit holds one.
	f := b              // With all that it needs before it can be broken.
	f.Name, f.Short, f.Mesh, f.For = a.Name+", and "+b.Name, false, a.Mesh || b.Mesh, max(a.For, b.For)
	f.During, f.After = nil, nil
	f.Prepare = func(ctx context.Context, w *World) error {
		for _, one := range []Fault{a, b} {
			if one.Prepare == nil {
				continue
			}
			if err := one.Prepare(ctx, w); err != nil {
				return fmt.Errorf("%s: %w", one.Name, err)
			}
		}
		return nil
	}
	f.Break = func(ctx context.Context, w *World) (func(context.Context) error, error) {
		return breakBoth(ctx, w, a, b, hits)
	}
	f.Allowed = []Allowed{{
		Why: "while both are broken",
		Is:  func(h Hit, r Result) bool { return r.Began.Before(h.Mended) && r.Ended.After(h.Began) },
	}}
	for i, one := range []Fault{a, b} {
		for _, allowed := range one.Allowed {
			f.Allowed = append(f.Allowed, Allowed{Why: allowed.Why, Is: func(h Hit, r Result) bool {
				hit := hits[i]
				hit.Mended = h.Mended
				return allowed.Is(hit, r)
			}})
		}
	}
	return f
}

func breakBoth(ctx context.Context, w *World, a, b Fault, hits *[2]Hit) (func(context.Context) error, error) {
	began := w.Hit
	var mends []func(context.Context) error
	mend := func(ctx context.Context) error {
		var errs []error
		for i, m := range slices.Backward(mends) {
			if i < len(mends)-1 {
				errs = append(errs, harness.Eventually(ctx, betweenMends, func() error { _, err := w.Leader(ctx); return err }))
			}
			errs = append(errs, m(ctx))
		}
		return errors.Join(errs...)
	}
	for i, f := range []Fault{a, b} {
		w.Hit = began
		m, err := f.Break(ctx, w)
		hits[i] = w.Hit
		hits[i].Broken = time.Now()
		if m != nil {
			mends = append(mends, m)
		}
		if err != nil {
			return mend, fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	return mend, nil
}
