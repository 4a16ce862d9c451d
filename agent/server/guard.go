package server

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
)

// guard keeps browsers' pages out, and counts and logs what passes.
func (s *Server) guard(next http.Handler) http.Handler {
	origin := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		rec := &recorder{ResponseWriter: w, request: r, status: http.StatusOK}
		if r.Body != nil && r.Body != http.NoBody { // Whoever reads it.
			_ = http.NewResponseController(w).SetReadDeadline(start.Add(bodyTimeout)) // Not all writers can; the server's can.
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
		s.requests.WithLabelValues(route, strconv.Itoa(rec.status)).Inc()
		// Neither headers nor the query: there may be a token in them.
		s.Log.Debug("request", "method", r.Method, "path", r.URL.Path, "status", rec.status, "took", time.Since(start))
	})
}

// hostAllowed defends a loopback listener against names that somebody else's DNS
// made point to it.
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
	return host == "localhost" || slices.Contains(s.AllowedHosts, host)
}

// dispatch answers unknown paths and methods with JSON, as everything else.
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

// recorder remembers the status of an answer.
type recorder struct {
	http.ResponseWriter
	request *http.Request
	status  int
	wrote   bool
}

func (r *recorder) WriteHeader(status int) {
	if !r.wrote && status >= 200 {
		r.status = status
		r.begin()
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if !r.wrote {
		r.begin()
	}
	return r.ResponseWriter.Write(b)
}

// begin notes that the answer begins. What of the request's body nobody has read by
// then the server reads, to use the connection again: it has to come soon.
func (r *recorder) begin() {
	r.wrote = true
	if r.request.Body != nil && r.request.Body != http.NoBody {
		_ = http.NewResponseController(r.ResponseWriter).SetReadDeadline(time.Now().Add(unreadTimeout)) // Not all writers can; the server's can.
	}
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// probe takes an answer that nobody gets.
type probe struct{ header http.Header }

func (p *probe) Header() http.Header         { return p.header }
func (p *probe) Write(b []byte) (int, error) { return len(b), nil }
func (p *probe) WriteHeader(int)             {}
