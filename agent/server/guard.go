package server

import (
	"cmp"
	"net/http"
	"strconv"
	"time"

	"github.com/wadi-run/wadi/api"
	"github.com/wadi-run/wadi/proxy/recording"
)

// guard refuses requests of pages in browsers and of callers that have too many, and counts
// and logs all requests.
func (s *Server) guard(next http.Handler) http.Handler {
	origin := http.NewCrossOriginProtection()
	return s.recorded(func(w http.ResponseWriter, r *http.Request) {
		if !s.hostAllowed(r) {
			s.fail(w, r, &api.Error{Status: http.StatusForbidden,
				Message: "the Host of the request is not a name of this agent; call it by its address, as localhost on its own machine, or add the name to http.allowed_hosts"})
			return
		}
		if origin.Check(r) != nil {
			s.fail(w, r, &api.Error{Status: http.StatusForbidden,
				Message: "a page of another site may not change anything here"})
			return
		}
		if err := s.tooMany(w, r); err != nil {
			s.fail(w, r, err)
			return
		}
		if err := s.anonymous(r); err != nil && r.URL.Path != pathHealth { // Load balancers may ask that anywhere.
			s.fail(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// recorded counts and logs the requests that next answers, and bounds the time of their
// bodies.
func (s *Server) recorded(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		rec := &recording.Writer{ResponseWriter: w}
		if r.Body != nil && r.Body != http.NoBody { // Also if no handler reads it.
			rec.Starter = bodyDiscard{w}
			_ = http.NewResponseController(w).SetReadDeadline(start.Add(bodyTimeout)) // Recorders in tests don't support it.
		}
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		next(rec, r)
		route := r.Pattern
		if route == "" {
			route = "other"
		}
		status := cmp.Or(rec.Status, http.StatusOK)
		s.requests.WithLabelValues(route, strconv.Itoa(status)).Inc()
		// Without headers and query: they may contain a token.
		s.Log.Debug("request", "method", r.Method, "path", r.URL.Path, "status", status, "took", time.Since(start))
	})
}

// bodyDiscard bounds, when the answer starts, the time in which the server reads and discards
// the rest of the request's body, to use the connection again.
type bodyDiscard struct{ w http.ResponseWriter }

func (b bodyDiscard) Starting(int) {
	_ = http.NewResponseController(b.w).SetReadDeadline(time.Now().Add(discardTimeout)) // Recorders in tests don't support it.
}

// dispatch answers unknown paths and methods with JSON, like all errors.
func (s *Server) dispatch(w http.ResponseWriter, r *http.Request) {
	h, pattern := s.mux.Handler(r)
	if pattern != "" {
		s.mux.ServeHTTP(w, r)
		return
	}
	probe := &probe{header: http.Header{}}
	h.ServeHTTP(probe, r)
	if allow := probe.header.Get("Allow"); allow != "" {
		w.Header().Set("Allow", allow)
		s.fail(w, r, &api.Error{Status: http.StatusMethodNotAllowed, Message: r.Method + " is not a method of this path; " + allow + " is"})
		return
	}
	s.fail(w, r, &api.Error{Status: http.StatusNotFound, Message: "no such path"})
}

// probe discards an answer except for its header.
type probe struct{ header http.Header }

func (p *probe) Header() http.Header         { return p.header }
func (p *probe) Write(b []byte) (int, error) { return len(b), nil }
func (p *probe) WriteHeader(int)             {}
