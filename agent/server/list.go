package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
)

// listed is a service in the list. Its summary lacks what comes from the status.
type listed struct {
	api.ServiceSummary
	deleting, unreadable bool
}

// list answers with the services that the caller may read.
func (s *Server) list(w http.ResponseWriter, r *http.Request) error {
	all, err := s.listAll(r.Context())
	if err != nil {
		return err
	}
	var namespaces []string
	for _, l := range all {
		namespaces = append(namespaces, l.Namespace)
	}
	slices.Sort(namespaces)
	readable, err := s.readable(r, slices.Compact(namespaces))
	if err != nil {
		return fmt.Errorf("list services: %w", err)
	}
	out := []api.ServiceSummary{}
	for _, l := range all {
		if !readable[l.Namespace] {
			continue
		}
		sum, err := s.summary(r.Context(), l)
		if err != nil {
			return err
		}
		out = append(out, sum)
	}
	return s.reply(w, http.StatusOK, out)
}

// listAll returns all services, whatever the caller may read. An unreadable spec has the namespace
// of its service's route, so that it does not keep the others from the list.
func (s *Server) listAll(ctx context.Context) ([]listed, error) {
	names, err := s.Store.Services(ctx)
	if err != nil {
		return nil, fmt.Errorf("list services: %w", err)
	}
	var all []listed
	for _, name := range names {
		spec, index, err := s.Store.Spec(ctx, name)
		unreadable := errors.Is(err, wadi.ErrUnreadable)
		switch {
		case errors.Is(err, wadi.ErrNotFound):
			continue // Deleted meanwhile.
		case unreadable:
			spec.Service.Namespace = s.namespaceOf(ctx, name)
		case err != nil:
			return nil, fmt.Errorf("service %s: %w", name, err)
		}
		all = append(all, listed{api.ServiceSummary{
			Name: name, Namespace: spec.Service.Namespace, Latest: spec.Latest,
			Generation: spec.Generation, Index: index, Submitted: spec.Submitted,
		}, spec.Deleting, unreadable})
	}
	return all, nil
}

// summary completes the summary of a service with its status.
func (s *Server) summary(ctx context.Context, l listed) (api.ServiceSummary, error) {
	sum := l.ServiceSummary
	st, err := s.status(ctx, sum.Name)
	if err != nil {
		return sum, err
	}
	sum.Phase, sum.URL, sum.Traffic = phase(wadi.Spec{Deleting: l.deleting, Generation: sum.Generation}, st), st.URL, st.Traffic
	if l.unreadable {
		sum.Phase = wadi.PhaseUnknown
	}
	if sum.Namespace == wadi.UnknownNamespace {
		sum.Namespace = ""
	}
	return sum, nil
}
