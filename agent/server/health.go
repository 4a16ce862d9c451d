package server

import (
	"context"
	"net/http"
	"time"

	"github.com/wadi-run/wadi/api"
)

// healthTimeout bounds the question to Nomad whether a caller is known.
const healthTimeout = 2 * time.Second

// health answers every caller: load balancers and checks have no token. Only whether all is
// well is for everyone; what is wrong names addresses, and is for insiders.
func (s *Server) health(w http.ResponseWriter, r *http.Request) error {
	switch kind := r.URL.Query().Get("type"); kind {
	case "live": // It answers, so it is.
		return s.reply(w, http.StatusOK, api.Health{OK: true})
	case "ready":
		ok := s.Ready == nil || s.Ready()
		return s.reply(w, statusOf(ok), api.Health{OK: ok})
	case "":
	default:
		return badInput("type %q is neither \"live\" nor \"ready\"; without it, the answer is about everything", kind)
	}
	var problems, warnings []string
	if s.Problems != nil {
		problems = s.Problems()
	}
	if s.Warnings != nil {
		warnings = s.Warnings()
	}
	out := api.Health{OK: len(problems) == 0}
	if s.mayReadHealth(r) {
		out.Problems, out.Warnings = problems, warnings
	}
	return s.reply(w, statusOf(out.OK), out)
}

// mayReadHealth reports whether the caller is an insider. Nomad is not asked about a caller
// without a token: load balancers ask every second.
func (s *Server) mayReadHealth(r *http.Request) bool {
	if !fromHere(r) && r.Context().Value(peerKey{}) == nil && nomadToken(r) == "" {
		return false
	}
	ctx, cancel := context.WithTimeout(r.Context(), healthTimeout)
	defer cancel()
	return s.insider(r.WithContext(ctx)) == nil
}

func statusOf(ok bool) int {
	if ok {
		return http.StatusOK
	}
	return http.StatusServiceUnavailable
}
