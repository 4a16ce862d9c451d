// Package mesh realises routes in the Consul service mesh, as config entries.
//
// It promises that rendering is pure, that an entry of somebody else is never
// touched, and that what is written is accepted in the order in which it is
// written. It refuses to look at instances: scaling writes nothing.
package mesh

import (
	"context"
	"errors"
	"fmt"
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

// ForeignError: an entry that a service needs is somebody else's.
type ForeignError struct {
	Entries []string // For instance "service-splitter hello".
}

// Error implements error.
func (e *ForeignError) Error() string {
	return "not Wadi's, and left alone: " + strings.Join(e.Entries, ", ")
}

// Unwrap makes it wadi.ErrForeign.
func (e *ForeignError) Unwrap() error { return wadi.ErrForeign }

// maxRounds bounds how often Apply looks again at what it wrote. Two are needed
// when a subset goes away; another when somebody writes in between.
const maxRounds = 5

// Apply writes what is missing or differs of a route, and removes what is not
// wanted any more. If somebody else's entry is in the way it writes nothing and
// returns a *ForeignError.
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

// Remove deletes a service's entries, as far as they are ours. Those of the
// activator stay: other services use them.
func (l *Layer) Remove(ctx context.Context, service string) error {
	if err := l.converge(ctx, service, nil); err != nil {
		return fmt.Errorf("remove mesh entries of %s: %w", service, err)
	}
	return nil
}

// Programmed reads back whether all entries of a route are in Consul as wanted.
func (l *Layer) Programmed(ctx context.Context, r wadi.Route) (ok bool, why string, err error) {
	want, err := wanted(r)
	if err != nil {
		return false, err.Error(), nil
	}
	have, err := l.present(ctx, r.Service, len(want) > 0)
	if err != nil {
		return false, "", fmt.Errorf("read back mesh entries of %s: %w", r.Service, err)
	}
	changes, foreign := Diff(want, have)
	switch {
	case len(foreign) > 0:
		return false, (&ForeignError{names(foreign)}).Error(), nil
	case len(changes) > 0:
		e := changes[0].Entry
		return false, fmt.Sprintf("%s %s is not as it should be", e.GetKind(), e.GetName()), nil
	}
	return true, "", nil
}

// wanted are the entries of a route and those they need.
func wanted(r wadi.Route) ([]api.ConfigEntry, error) {
	entries := Render(r)
	if len(entries) == 0 {
		return nil, nil
	}
	if r.Protocol != "" && r.Protocol != wadi.HTTP1 {
		// Failover between protocols is refused by Consul, and the activator is
		// in the mesh as an http service only.
		return nil, fmt.Errorf("protocol %s is not carried by the mesh yet", r.Protocol)
	}
	return append(RenderActivator(), entries...), nil
}

// converge makes and looks again until nothing is left to do.
func (l *Layer) converge(ctx context.Context, service string, want []api.ConfigEntry) error {
	l.list.changed(service)
	var last error
	for range maxRounds {
		have, err := l.read(ctx, service, len(want) > 0)
		if err != nil {
			return err
		}
		changes, foreign := Diff(want, have)
		switch {
		case len(foreign) > 0:
			return &ForeignError{names(foreign)}
		case len(changes) == 0:
			return nil
		}
		last = l.make(ctx, changes)
		if last != nil && !errors.Is(last, wadi.ErrConflict) {
			return last
		}
	}
	return errors.Join(errors.New("entries do not settle"), last)
}

// make carries changes out up to the first that fails.
func (l *Layer) make(ctx context.Context, changes []Change) error {
	for _, c := range changes {
		kind, name := c.Entry.GetKind(), c.Entry.GetName()
		if c.Delete {
			if err := l.Entries.DeleteEntry(ctx, kind, name, c.Index); err != nil {
				return err
			}
		} else if err := l.Entries.SetEntry(ctx, c.Entry, c.Index); err != nil {
			return err
		}
		if l.Log != nil {
			l.Log.Info("wrote mesh entry", "kind", kind, "name", name, "deleted", c.Delete)
		}
	}
	return nil
}

// read returns what there is of a service's entries, and of the activator's.
func (l *Layer) read(ctx context.Context, service string, activator bool) ([]api.ConfigEntry, error) {
	var have []api.ConfigEntry
	add := func(kind, name string) error {
		e, err := l.Entries.Entry(ctx, kind, name)
		if errors.Is(err, wadi.ErrNotFound) {
			return nil
		}
		if err == nil {
			have = append(have, e)
		}
		return err
	}
	if activator {
		if err := add(api.ServiceDefaults, wadi.ServiceActivator); err != nil {
			return nil, err
		}
	}
	for _, kind := range kinds() {
		if err := add(kind, service); err != nil {
			return nil, err
		}
	}
	return have, nil
}

func names(entries []api.ConfigEntry) []string {
	var out []string
	for _, e := range entries {
		out = append(out, e.GetKind()+" "+e.GetName())
	}
	return out
}
