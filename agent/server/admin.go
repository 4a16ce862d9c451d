package server

import (
	"fmt"
	"net"
	"net/http"

	"github.com/wadi-run/wadi"
)

// admin serves callers on this machine, and callers with the right to administer Nomad.
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

// mayAdmin refuses callers that may not administer the agent.
func (s *Server) mayAdmin(r *http.Request) error {
	switch {
	case fromHere(r):
		return nil
	case s.MayAdmin != nil && nomadToken(r) != "":
		return s.MayAdmin(r.Context(), nomadToken(r))
	}
	return fmt.Errorf("administration from another machine: %w", wadi.ErrForbidden)
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
