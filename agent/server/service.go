package server

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
	"github.com/wadi-run/wadi/secrets"
)

// namePattern matches names of services. A name from a path becomes part of a key in the
// store, and must not lead elsewhere.
var namePattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// read answers with one service, its spec and its status. Parts that can't be read are
// false conditions in the status.
func (s *Server) read(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	spec, index, err := s.spec(r, name)
	if err != nil {
		return err
	}
	st, err := s.status(r.Context(), name)
	if err != nil {
		return err
	}
	warnings := secrets.Warnings(spec.Service)
	spec = secrets.Spec(spec)
	view := api.Service{
		Service: spec.Service, Index: index, Generation: spec.Generation, Phase: phase(spec, st),
		Latest: spec.Latest, Deleting: spec.Deleting, Submitted: spec.Submitted,
		File: spec.File, Source: spec.Source, Variables: spec.Variables, Status: st, Warnings: warnings,
		TrafficOrder: spec.TrafficOrder, RolloutOrder: spec.Order, Applied: spec.Applied,
	}
	unreadable := func(err error) {
		view.Status.Conditions = append(view.Status.Conditions, wadi.Unreadable(err.Error()))
	}
	route, err := s.Store.Route(r.Context(), name)
	switch {
	case err == nil:
		shown := route.WithoutProofs()
		view.Route = &shown
	case errors.Is(err, wadi.ErrUnreadable):
		unreadable(err)
	case !errors.Is(err, wadi.ErrNotFound):
		return fmt.Errorf("route of %s: %w", name, err)
	}
	switch view.Overrides, err = s.Store.Overrides(r.Context(), name); {
	case errors.Is(err, wadi.ErrUnreadable):
		view.Overrides = nil
		unreadable(err)
	case err != nil:
		return fmt.Errorf("overrides of %s: %w", name, err)
	}
	maps.DeleteFunc(view.Overrides, func(_ string, h wadi.Override) bool { return !h.Active(time.Now()) })
	return s.reply(w, http.StatusOK, view)
}

// status returns a service's status: a pending one until the leader has stored the first,
// and one of phase unknown in place of an unreadable one.
func (s *Server) status(ctx context.Context, name string) (wadi.Status, error) {
	st, err := s.Store.Status(ctx, name)
	if errors.Is(err, wadi.ErrNotFound) {
		return wadi.Status{Service: name, Phase: string(wadi.Pending)}, nil
	}
	if errors.Is(err, wadi.ErrUnreadable) {
		return wadi.Status{Service: name, Phase: wadi.PhaseUnknown, Conditions: []wadi.Condition{wadi.Unreadable(err.Error())}}, nil
	}
	if err != nil {
		return st, fmt.Errorf("status of %s: %w", name, err)
	}
	return st, nil
}

// phase is the phase of a service. A spec that the leader has not reconciled yet is
// pending, whatever the phase of the generation before.
func phase(spec wadi.Spec, st wadi.Status) string {
	switch {
	case spec.Deleting:
		return "deleting"
	case st.Phase == wadi.PhaseUnknown:
		return st.Phase
	case st.Generation < spec.Generation:
		return string(wadi.Pending)
	}
	return st.Phase
}
