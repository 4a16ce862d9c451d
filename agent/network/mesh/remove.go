package mesh

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi"
)

// KeptError says that managed entries can't be deleted, because foreign ones refer to them.
type KeptError struct {
	Managed, Foreign []string // For instance "service-splitter hello".
}

// Error implements error.
func (e *KeptError) Error() string {
	return fmt.Sprintf("Wadi does not manage %s, and Consul keeps what that refers to: delete it, and then %s",
		strings.Join(e.Foreign, ", "), strings.Join(e.Managed, ", "))
}

// Unwrap makes it wadi.ErrForeign.
func (e *KeptError) Unwrap() error { return wadi.ErrForeign }

// Remove deletes a service's entries, as far as they are managed. Those of the
// activator stay: other services use them. So do, with a *KeptError, those that
// Consul refuses to delete because a foreign entry refers to them.
func (l *Layer) Remove(ctx context.Context, service string) error {
	err := l.converge(ctx, service, nil)
	if isRefusal(err) {
		err = l.removeRest(ctx, service, err)
	}
	if err != nil {
		return fmt.Errorf("remove mesh entries of %s: %w", service, err)
	}
	return nil
}

// isRefusal reports whether Consul may have refused a write for its content.
func isRefusal(err error) bool {
	if err == nil {
		return false
	}
	for _, other := range []error{
		wadi.ErrUnavailable, wadi.ErrForbidden, wadi.ErrConflict, wadi.ErrTooLarge, wadi.ErrNotLeading, context.Canceled, context.DeadlineExceeded,
	} {
		if errors.Is(err, other) {
			return false
		}
	}
	return true
}

// removeRest deletes what can be deleted, after Consul has refused a deletion with cause.
// If no foreign entries explain that, cause is returned: it may be over soon.
func (l *Layer) removeRest(ctx context.Context, service string, cause error) error {
	have, err := l.read(ctx, service, nil)
	if err != nil {
		return err
	}
	changes, _ := Diff(service, nil, have)
	var left []api.ConfigEntry
	for _, c := range changes {
		err := l.write(ctx, service, []Change{c})
		switch {
		case err == nil:
		case !isRefusal(err):
			return err
		default:
			left = append(left, c.Entry)
		}
	}
	foreign, err := l.foreignReferences(ctx, service, left)
	switch {
	case err != nil:
		return err
	case len(left) > 0 && len(foreign) == 0:
		return cause
	case len(left) > 0:
		return &KeptError{Managed: names(left), Foreign: names(foreign)}
	}
	return nil
}

// foreignReferences are the foreign entries that lead to the names of some managed ones.
func (l *Layer) foreignReferences(ctx context.Context, service string, managed []api.ConfigEntry) ([]api.ConfigEntry, error) {
	var foreign []api.ConfigEntry
	for _, kind := range routing() {
		all, err := l.Entries.Entries(ctx, kind)
		if err != nil {
			return nil, err
		}
		for _, e := range all {
			leads := append(leadsTo(e), e.GetName())
			if owner(e) != service && slices.ContainsFunc(managed, func(o api.ConfigEntry) bool { return slices.Contains(leads, o.GetName()) }) {
				foreign = append(foreign, e)
			}
		}
	}
	return foreign, nil
}

// leadsTo are the services that an entry routes to.
func leadsTo(e api.ConfigEntry) []string {
	var out []string
	switch e := e.(type) {
	case *api.ServiceSplitterConfigEntry:
		for _, s := range e.Splits {
			out = append(out, s.Service)
		}
	case *api.ServiceRouterConfigEntry:
		for _, r := range e.Routes {
			if d := r.Destination; d != nil {
				out = append(out, d.Service)
			}
		}
	case *api.ServiceResolverConfigEntry:
		if e.Redirect != nil {
			out = append(out, e.Redirect.Service)
		}
		for _, f := range e.Failover {
			out = append(out, f.Service)
			for _, t := range f.Targets {
				out = append(out, t.Service)
			}
		}
	}
	return out
}

func names(entries []api.ConfigEntry) []string {
	var out []string
	for _, e := range entries {
		out = append(out, e.GetKind()+" "+e.GetName())
	}
	return out
}
