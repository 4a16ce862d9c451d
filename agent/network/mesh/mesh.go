// Package mesh realises routes in the Consul service mesh, as config entries.
//
// It promises that rendering is pure, that a foreign entry is never touched, and that
// Consul accepts what is written in the order in which it is written. It refuses to know
// instances: scaling writes nothing.
package mesh

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/network"
)

// Entries is how config entries are read and written.
type Entries interface {
	// Entry reads an entry; wadi.ErrNotFound if there is none.
	Entry(ctx context.Context, kind, name string) (api.ConfigEntry, error)
	// Entries lists all entries of a kind.
	Entries(ctx context.Context, kind string) ([]api.ConfigEntry, error)
	// SetEntry writes an entry if index is its modify index (0: there is none),
	// else wadi.ErrConflict.
	SetEntry(ctx context.Context, e api.ConfigEntry, index uint64) error
	// DeleteEntry deletes an entry if index is its modify index, else wadi.ErrConflict.
	DeleteEntry(ctx context.Context, kind, name string, index uint64) error
}

var _ network.Layer = (*Layer)(nil)

// Layer keeps the entries of services as their routes say.
type Layer struct {
	Entries Entries
	Log     hclog.Logger

	list listing
}

// ForeignError says that foreign entries are where a service needs its own.
type ForeignError struct {
	Entries []string // For instance "service-splitter hello".
}

// Error implements error.
func (e *ForeignError) Error() string {
	remedy := "delete it, or choose another name"
	if !slices.ContainsFunc(e.Entries, func(s string) bool { return !strings.HasPrefix(s, api.ServiceIntentions+" ") }) {
		remedy = "delete it, or take the intentions out of the service's file"
	}
	return fmt.Sprintf("Wadi does not manage %s and leaves it alone: %s", strings.Join(e.Entries, ", "), remedy)
}

// Unwrap makes it wadi.ErrForeign.
func (e *ForeignError) Unwrap() error { return wadi.ErrForeign }

// maxRounds bounds how often Apply reads back what it wrote. Two rounds are needed when a
// subset goes away, and another when an entry is written in between.
const maxRounds = 5

// Apply writes what is missing or differs of a route, and removes what is not
// wanted any more. If a foreign entry is in the way it writes nothing and returns a
// *ForeignError; if those are only intentions, it writes the rest first.
func (l *Layer) Apply(ctx context.Context, r wadi.Route) error {
	want, err := wanted(r)
	if err != nil {
		return fmt.Errorf("mesh entries of %s: %w", r.Service, err)
	}
	if err := l.converge(ctx, r.Service, want); err != nil {
		return fmt.Errorf("mesh entries of %s: %w", r.Service, err)
	}
	return nil
}

// Programmed reads back whether all entries of a route are in Consul as wanted.
func (l *Layer) Programmed(ctx context.Context, r wadi.Route) (ok bool, why string, err error) {
	want, err := wanted(r)
	if err != nil {
		return false, err.Error(), nil
	}
	have, err := l.present(ctx, r.Service, want)
	if err != nil {
		return false, "", fmt.Errorf("read back mesh entries of %s: %w", r.Service, err)
	}
	changes, foreign := Diff(r.Service, want, have)
	switch {
	case len(foreign) > 0:
		return false, foreignError(foreign).Error(), nil
	case len(changes) > 0:
		e := changes[0].Entry
		return false, fmt.Sprintf("%s %s is not as it should be", e.GetKind(), e.GetName()), nil
	}
	return true, "", nil
}

// wanted are the entries of a route and those they need.
func wanted(r wadi.Route) ([]api.ConfigEntry, error) {
	switch r.Protocol {
	case "", wadi.HTTP1, wadi.H2C, wadi.GRPC:
	default:
		return nil, fmt.Errorf("protocol %q is not known to this version of wadi", r.Protocol)
	}
	entries := Render(r)
	if findNamed(entries, api.ServiceResolver, r.Service) == nil {
		return entries, nil // Nothing that could fail over.
	}
	return append(RenderActivator(r.Protocol), entries...), nil
}

// converge writes and reads back until nothing is left to do.
func (l *Layer) converge(ctx context.Context, service string, want []api.ConfigEntry) error {
	var last error
	for range maxRounds {
		have, err := l.read(ctx, service, want)
		if err != nil {
			return err
		}
		changes, foreign := Diff(service, want, have)
		switch {
		case len(changes) == 0 && len(foreign) > 0:
			return foreignError(foreign)
		case len(changes) == 0:
			return nil
		}
		last = l.write(ctx, service, changes)
		if last != nil && !errors.Is(last, wadi.ErrConflict) {
			return last
		}
	}
	return errors.Join(errors.New("entries do not converge"), last)
}

// write makes changes, up to the first that fails.
func (l *Layer) write(ctx context.Context, service string, changes []Change) error {
	for _, c := range changes {
		kind, name := c.Entry.GetKind(), c.Entry.GetName()
		var err error
		if c.Delete {
			err = l.Entries.DeleteEntry(ctx, kind, name, c.Index)
		} else {
			err = l.Entries.SetEntry(ctx, c.Entry, c.Index)
		}
		l.list.wrote(service, entryKey{kind, name}) // A failed call may have been executed.
		if err != nil {
			return err
		}
		if l.Log != nil {
			l.Log.Info("wrote mesh entry", "kind", kind, "name", name, "deleted", c.Delete)
		}
	}
	return nil
}

// foreignError names entries, with the service that Wadi wrote one for, if it did.
func foreignError(entries []api.ConfigEntry) error {
	var names []string
	for _, e := range entries {
		name := e.GetKind() + " " + e.GetName()
		if o := owner(e); o != "" {
			name += " (of service " + o + ")"
		}
		names = append(names, name)
	}
	return &ForeignError{names}
}
