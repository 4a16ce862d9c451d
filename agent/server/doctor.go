package server

import (
	"net/http"

	"github.com/wadi-run/wadi/api"
)

// doctor answers with what all agents found about themselves. Anybody may ask, as
// with health; one is answered at a time, as it makes all agents work.
func (s *Server) doctor(w http.ResponseWriter, r *http.Request) error {
	if s.Doctor == nil {
		return unavailable("this agent has no checks")
	}
	select {
	case s.doctors <- struct{}{}:
		defer func() { <-s.doctors }()
	case <-r.Context().Done():
		return r.Context().Err()
	}
	return s.reply(w, http.StatusOK, api.Doctor{Agents: s.Doctor(r.Context())})
}
