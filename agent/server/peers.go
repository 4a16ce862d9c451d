package server

import (
	"context"
	"net/http"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
)

// maxPeers bounds the reads of other agents in flight. Each may be a stream.
const maxPeers = 256

// peerKey is the key, in a request's context, that marks the request of another agent.
type peerKey struct{}

// Peers serves the reads that other agents forward to the leader, on a listener where the
// caller has verified that the clients are agents. Each read needs the rights of the
// original caller's token, as if it had come here directly, even if this agent checks no
// rights itself. It needs none only if neither agent checks them: then both serve callers
// on their own machines alone. Reads end when stop is closed.
func (s *Server) Peers(stop <-chan struct{}) http.Handler {
	reads := http.NewServeMux()
	for _, pattern := range []string{pathDecisions, pathEvents, pathReport, pathCheck} {
		reads.Handle(pattern, s.mux)
	}
	checking := *s
	checking.Auth, checking.mux = wadi.AuthNomad, http.NewServeMux()
	checking.routes()
	slots := make(chan struct{}, maxPeers)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
		default:
			s.fail(w, r, unavailable("too many reads of other agents"))
			return
		}
		if _, pattern := reads.Handler(r); pattern == "" || r.Header.Get(HeaderForwarded) == "" {
			s.fail(w, r, &api.Error{Status: http.StatusNotFound, Message: "no such path between agents"})
			return
		}
		mux := checking.mux
		if s.Auth == wadi.AuthNone && r.Header.Get(headerForwardedAuth) == string(wadi.AuthNone) {
			mux = s.mux
		}
		ctx := context.WithValue(context.WithValue(r.Context(), stopKey{}, stop), peerKey{}, true)
		s.recorded(mux.ServeHTTP).ServeHTTP(w, r.WithContext(ctx))
	})
}
