// Package network names what realises routes: the mesh's config entries (package mesh),
// the gateway's table (package table), and any other layer that carries requests.
//
// It promises that a layer can be applied again at any time without a write if
// nothing changed. It refuses to know how many instances there are: no layer is
// touched by scaling.
package network

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/wadi-run/wadi"
)

// Layer realises routes.
type Layer interface {
	// Apply makes the layer carry the route; one without targets is taken out.
	Apply(ctx context.Context, r wadi.Route) error
	// Remove takes a service out of the layer. Nothing there is no error.
	Remove(ctx context.Context, service string) error
	// Programmed reads back whether the layer carries the route, and why not. A revision
	// must not go to zero before: no request could wake it. Of a route that is carried, why
	// names a conflict that does not prevent zero, such as a host of another service.
	Programmed(ctx context.Context, r wadi.Route) (ok bool, why string, err error)
}

// Layers are several layers as one. All are tried, even if one fails.
type Layers []Layer

// Apply implements Layer.
func (ls Layers) Apply(ctx context.Context, r wadi.Route) error {
	var errs []error
	for _, l := range ls {
		errs = append(errs, l.Apply(ctx, r))
	}
	return errors.Join(errs...)
}

// Remove implements Layer.
func (ls Layers) Remove(ctx context.Context, service string) error {
	var errs []error
	for _, l := range ls {
		errs = append(errs, l.Remove(ctx, service))
	}
	return errors.Join(errs...)
}

// Programmed implements Layer: all must be.
func (ls Layers) Programmed(ctx context.Context, r wadi.Route) (bool, string, error) {
	var why []string
	all := true
	for _, l := range ls {
		ok, w, err := l.Programmed(ctx, r)
		if err != nil {
			return false, "", fmt.Errorf("read back route of %s: %w", r.Service, err)
		}
		all = all && ok
		if w != "" {
			why = append(why, w)
		}
	}
	return all, strings.Join(why, "; "), nil
}
