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
	if !fromHere(r) {
		err := fmt.Errorf("administration from another machine: %w", wadi.ErrForbidden)
		if s.MayAdmin != nil && nomadToken(r) != "" {
			err = s.MayAdmin(r.Context(), nomadToken(r))
		}
		if err != nil {
			return err
		}
	}
	s.Admin.ServeHTTP(w, r)
	return nil
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
