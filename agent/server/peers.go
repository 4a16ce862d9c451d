package server

import (
	"context"
	"errors"
	"net/http"

	"github.com/wadi-run/wadi/api"
)

// HeaderForwarded marks a read that another agent forwarded, so that it is never
// forwarded twice. Its value is that agent's name.
const HeaderForwarded = "Wadi-Forwarded"

// headerJudged says with [AuthNone] that the agent that forwards judges nobody itself.
const headerJudged = "Wadi-Forwarded-Auth"

// headerConsulToken has the caller's token for what needs a right of theirs in Consul.
const headerConsulToken = "X-Consul-Token"

// maxPeers bounds the reads of other agents that are answered at a time, each of which
// may be a stream.
const maxPeers = 256

// Peers serves what other agents forward to the leader, by a way on which its caller has
// made certain that they are agents. Those are reads, and each is judged by the token of
// who asked that agent, as if it had come here; by an agent that judges nobody as well, unless
// that one does not either: it is for callers of its own machine alone. They end when stop
// is closed.
func (s *Server) Peers(stop <-chan struct{}) http.Handler {
	reads := http.NewServeMux()
	for _, pattern := range []string{pathDecisions, pathEvents} {
		reads.Handle(pattern, s.mux)
	}
	judging := *s
	judging.Auth, judging.mux = AuthNomad, http.NewServeMux()
	judging.routes()
	places := make(chan struct{}, maxPeers)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
		default:
			s.fail(w, r, unavailable("too many reads of other agents"))
			return
		}
		if _, pattern := reads.Handler(r); pattern == "" || r.Header.Get(HeaderForwarded) == "" {
			s.fail(w, r, &api.Error{Status: http.StatusNotFound, Message: "no such path between agents"})
			return
		}
		mux := judging.mux
		if s.Auth == AuthNone && r.Header.Get(headerJudged) == AuthNone {
			mux = s.mux
		}
		s.guard(mux).ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), stopKey{}, stop)))
	})
}

// wayToLeader is the base URL by which this agent reaches the leader.
func (s *Server) wayToLeader(advertised string) (string, error) {
	if s.Way != nil {
		return s.Way()
	}
	if advertised == "" {
		return "", errors.New("it has none")
	}
	return advertised, nil
}
