package server

import (
	"cmp"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
	"github.com/wadi-run/wadi/proxy/recording"
)

// guard refuses requests of pages in browsers, and counts and logs all requests.
func (s *Server) guard(next http.Handler) http.Handler {
	origin := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		rec := &recording.Writer{ResponseWriter: w}
		if r.Body != nil && r.Body != http.NoBody { // Also if no handler reads it.
			rec.Starter = bodyDiscard{w}
			_ = http.NewResponseController(w).SetReadDeadline(start.Add(bodyTimeout)) // Recorders in tests don't support it.
		}
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		switch {
		case !s.hostAllowed(r):
			s.fail(rec, r, &api.Error{Status: http.StatusForbidden,
				Message: "the Host of the request is not one of a loopback listener; call it as localhost or 127.0.0.1"})
		case origin.Check(r) != nil:
			s.fail(rec, r, &api.Error{Status: http.StatusForbidden,
				Message: "a page of another site may not change anything here"})
		default:
			next.ServeHTTP(rec, r)
		}
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

// hostAllowed protects a loopback listener from pages whose host name resolves to it
// (DNS rebinding).
func (s *Server) hostAllowed(r *http.Request) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok || !isLoopback(local) {
		return true
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.IsLoopback()
	}
	return host == "localhost" || slices.Contains(s.settings.Load().AllowedHosts, host)
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

func isLoopback(a net.Addr) bool {
	host, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return false
	}
	return wadi.IsLoopback(host)
}

// probe discards an answer except for its header.
type probe struct{ header http.Header }

func (p *probe) Header() http.Header         { return p.header }
func (p *probe) Write(b []byte) (int, error) { return len(b), nil }
func (p *probe) WriteHeader(int)             {}
