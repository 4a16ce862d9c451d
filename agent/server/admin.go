package server

import (
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/wadi-run/wadi"
)

// admin serves callers with the right to administer Nomad, and where nobody's rights are
// checked callers on this machine.
func (s *Server) admin(w http.ResponseWriter, r *http.Request) error {
	if s.Admin == nil {
		return fmt.Errorf("path %s: %w", r.URL.Path, wadi.ErrNotFound)
	}
	if err := s.mayAdmin(r); err != nil {
		return err
	}
	s.Admin.ServeHTTP(w, r)
	return nil
}

// mayAdmin refuses callers that may not administer the agent. Where Nomad has ACLs the own
// machine is no proof of a right: every job in its network calls from there.
func (s *Server) mayAdmin(r *http.Request) error {
	token := nomadToken(r)
	switch {
	case fromHere(r) && s.Auth == wadi.AuthNone:
		return nil
	case s.MayAdmin != nil && token != "":
		return s.MayAdmin(r.Context(), token)
	case !fromHere(r):
		return fmt.Errorf("administration from another machine: %w", wadi.ErrForbidden)
	}
	switch acls, err := s.Rights.Known(r.Context(), ""); {
	case err == nil && !acls:
		return nil
	case err == nil || errors.Is(err, wadi.ErrForbidden):
		return fmt.Errorf("administration needs a token with agent:write: %w", wadi.ErrForbidden)
	default:
		return fmt.Errorf("administration: %w", err)
	}
}

// reload has the agent read its configuration again.
func (s *Server) reload(w http.ResponseWriter, r *http.Request) error {
	if s.Reload == nil {
		return fmt.Errorf("path %s: %w", r.URL.Path, wadi.ErrNotFound)
	}
	if err := s.mayAdmin(r); err != nil {
		return err
	}
	out, err := s.Reload(r.Context())
	if err != nil {
		return err
	}
	if out.Changed == nil {
		out.Changed = []string{}
	}
	return s.reply(w, http.StatusOK, out)
}

// fromHere reports whether a request came over loopback, and not through a proxy on this
// machine.
func fromHere(r *http.Request) bool {
	for _, h := range []string{"Forwarded", "X-Forwarded-For", "X-Real-Ip", "Via"} {
		if r.Header.Get(h) != "" {
			return false
		}
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	return wadi.IsLoopback(host)
}
