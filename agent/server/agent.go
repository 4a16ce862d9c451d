package server

import (
	"net/http"

	"github.com/wadi-run/wadi/api"
)

// self answers with the agent's name, version and addresses.
func (s *Server) self(w http.ResponseWriter, r *http.Request) error {
	if err := s.insider(r); err != nil {
		return err
	}
	self := s.Self
	self.GatewayDomain = s.settings.Load().GatewayDomain
	name, _ := s.leaderNow()
	self.Leader = name == self.Name
	return s.reply(w, http.StatusOK, self)
}

// leader answers with the leading agent.
func (s *Server) leader(w http.ResponseWriter, r *http.Request) error {
	if err := s.insider(r); err != nil {
		return err
	}
	name, addr := s.leaderNow()
	if name == "" {
		return unavailable("no agent leads")
	}
	return s.reply(w, http.StatusOK, api.Leader{Name: name, Address: addr})
}

// insider refuses callers that may know nothing of the agents and what they run on: those
// of another machine that are unknown to Nomad. Another agent, which has proved that it is
// one, is no outsider.
func (s *Server) insider(r *http.Request) error {
	if fromHere(r) || r.Context().Value(peerKey{}) != nil {
		return nil
	}
	if err := s.anonymous(r); err != nil {
		return err
	}
	return s.known(r.Context(), r)
}

// doctor answers with the reports of all agents. It makes all agents work, so that one
// request is answered at a time.
func (s *Server) doctor(w http.ResponseWriter, r *http.Request) error {
	if err := s.insider(r); err != nil {
		return err
	}
	if s.Doctor == nil {
		return unavailable("this agent has no checks")
	}
	select {
	case s.doctors <- struct{}{}:
		defer func() { <-s.doctors }()
	case <-r.Context().Done():
		return r.Context().Err()
	}
	return s.reply(w, http.StatusOK, api.Doctor{Agents: s.Doctor(r.Context(), nomadToken(r))})
}

// report answers with this agent's own report.
func (s *Server) report(w http.ResponseWriter, r *http.Request) error {
	if err := s.insider(r); err != nil {
		return err
	}
	if s.Report == nil {
		return unavailable("this agent has no checks")
	}
	return s.reply(w, http.StatusOK, s.Report(r.Context()))
}
