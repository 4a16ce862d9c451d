package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/wadi-run/wadi"
)

// right is a right of a caller in the Nomad namespace of a service.
type right struct {
	does string // The permitted action, for error texts.
	ask  func(r Rights, ctx context.Context, token, namespace string) error
}

var (
	rightRead   = &right{"read", Rights.MayRead}
	rightSubmit = &right{"change", Rights.MaySubmit}
	rightScale  = &right{"scale", Rights.MayScale}
)

// may returns an error unless the caller has a right in a namespace.
func (s *Server) may(r *http.Request, need *right, namespace string) error {
	if s.Auth == wadi.AuthNone {
		return nil
	}
	if err := need.ask(s.Rights, r.Context(), nomadToken(r), namespace); err != nil {
		return fmt.Errorf("%s in namespace %q: %w", need.does, namespace, err)
	}
	return nil
}

// spec returns a service that the caller may read.
func (s *Server) spec(r *http.Request, name string) (wadi.Spec, uint64, error) {
	return s.permitted(r, name, rightRead)
}

// permitted returns a service for which the caller has a right. A service that the caller
// may not read and a service that does not exist have the same answer, after the same
// requests to Nomad.
func (s *Server) permitted(r *http.Request, name string, need *right) (wadi.Spec, uint64, error) {
	if !namePattern.MatchString(name) {
		return wadi.Spec{}, 0, fmt.Errorf("service %q: %w", name, wadi.ErrNotFound)
	}
	spec, index, err := s.Store.Spec(r.Context(), name)
	missing, namespace := errors.Is(err, wadi.ErrNotFound), spec.Service.Namespace
	unreadable := errors.Is(err, wadi.ErrUnreadable)
	switch {
	case missing && s.Auth == wadi.AuthNone:
		return wadi.Spec{}, 0, fmt.Errorf("service %s: %w", name, err)
	case missing:
		namespace = wadi.UnknownNamespace
	case unreadable: // The reason is for callers that may read the service.
		err = fmt.Errorf("service %s: %w", name, err)
		namespace = s.namespaceOf(r.Context(), name)
	case err != nil:
		return wadi.Spec{}, 0, fmt.Errorf("service %s: %w", name, err)
	}
	refused := s.may(r, need, namespace)
	switch {
	case refused == nil && unreadable:
		return wadi.Spec{}, 0, err
	case refused == nil && !missing:
		return spec, index, nil
	case refused != nil && !errors.Is(refused, wadi.ErrForbidden):
		return wadi.Spec{}, 0, s.unasked(name, refused)
	case need != rightRead:
		switch err := s.may(r, rightRead, namespace); {
		case err == nil && !missing:
			return wadi.Spec{}, 0, refused // The caller may read the service.
		case err != nil && !errors.Is(err, wadi.ErrForbidden):
			return wadi.Spec{}, 0, s.unasked(name, err)
		}
	}
	return wadi.Spec{}, 0, s.hidden(r, name)
}

// namespaceOf is the namespace of a service with an unreadable spec, from its route;
// UnknownNamespace if that can't be read either.
func (s *Server) namespaceOf(ctx context.Context, name string) string {
	if route, err := s.Store.Route(ctx, name); err == nil && route.Namespace != "" {
		return route.Namespace
	}
	return wadi.UnknownNamespace
}

// hidden is the answer about services that do not exist or that the caller may not read.
func (s *Server) hidden(r *http.Request, name string) error {
	acls, err := s.Rights.Known(r.Context(), nomadToken(r))
	switch {
	case errors.Is(err, wadi.ErrForbidden):
		return fmt.Errorf("service %s: %w", name, err)
	case err != nil:
		return s.unasked(name, err)
	case acls:
		return fmt.Errorf("service %s: %w, or this token may not know of it", name, wadi.ErrNotFound)
	}
	return fmt.Errorf("service %s: %w", name, wadi.ErrNotFound)
}

// unasked is the answer while Nomad is unavailable. Nomad's error would reveal a namespace.
func (s *Server) unasked(name string, err error) error {
	s.Log.Warn("nomad can't be asked for a caller's rights", "service", name, "error", err)
	return unavailable("service %s: Nomad can't be asked what this token may", name)
}

// readable returns the namespaces among the given that the caller may read. The error is
// Nomad's, or that of a caller unknown to Nomad.
func (s *Server) readable(r *http.Request, namespaces []string) (map[string]bool, error) {
	if s.Auth != wadi.AuthNone {
		return s.Rights.Readable(r.Context(), nomadToken(r), namespaces)
	}
	all := map[string]bool{}
	for _, ns := range namespaces {
		all[ns] = true
	}
	return all, nil
}

// known refuses a caller that is unknown to Nomad.
func (s *Server) known(ctx context.Context, r *http.Request) error {
	if s.Auth == wadi.AuthNone {
		return nil
	}
	_, err := s.Rights.Known(ctx, nomadToken(r))
	return err
}

// nomadToken is the caller's Nomad token, from X-Nomad-Token or Authorization: Bearer.
func nomadToken(r *http.Request) string {
	if t := r.Header.Get("X-Nomad-Token"); t != "" {
		return t
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(token)
	}
	return ""
}
