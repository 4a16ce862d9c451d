package control_test

import (
	"context"
	"fmt"

	"github.com/wadi-run/wadi"
)

// layer is the cluster as a network layer.
type layer struct{ *cluster }

func (l layer) Apply(_ context.Context, r wadi.Route) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.applied++
	switch {
	case l.foreign != "":
		return fmt.Errorf("%w: %s", wadi.ErrForeign, l.foreign)
	case !l.ignoresRoutes:
		l.layers[r.Service] = r
	}
	return nil
}

func (l layer) Remove(_ context.Context, name string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.needed != nil {
		return l.needed
	}
	delete(l.layers, name)
	return nil
}

func (l layer) Programmed(_ context.Context, r wadi.Route) (bool, string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Sprint(l.layers[r.Service]) == fmt.Sprint(r), l.foreign, nil
}
