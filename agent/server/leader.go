package server

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"

	"github.com/wadi-run/wadi"
)

// HeaderForwarded marks a read that another agent forwarded, so that it is never
// forwarded twice. Its value is the name of that agent.
const HeaderForwarded = "Wadi-Forwarded"

// headerForwardedAuth is [wadi.AuthNone] if the forwarding agent checks no rights itself.
const headerForwardedAuth = "Wadi-Forwarded-Auth"

// leaderNow returns the leading agent's name and the URL of its API; an empty name while
// no agent leads.
func (s *Server) leaderNow() (name, url string) {
	if s.Leadership == nil {
		return s.Self.Name, ""
	}
	return s.Leadership.Leader()
}

// toLeader forwards a read to the leader if that is another agent. done is false if this
// agent leads and is to answer itself.
func (s *Server) toLeader(w http.ResponseWriter, r *http.Request) (done bool, err error) {
	name, advertised := s.leaderNow()
	switch {
	case name == s.Self.Name:
		return false, nil
	case name == "":
		return true, unavailable("no agent leads")
	case r.Header.Get(HeaderForwarded) != "":
		return true, unavailable("leader moved while the request was forwarded")
	}
	addr, err := s.leaderURL(advertised)
	if err != nil {
		return true, unavailable("ask the leader %s: %v", name, err)
	}
	target, err := url.Parse(addr)
	if err != nil || target.Host == "" {
		return true, unavailable("the address %q of the leader %s can't be used", addr, name)
	}
	ctx, cancel := untilStopped(r.Context())
	defer cancel()
	s.proxyTo(name, target).ServeHTTP(w, r.WithContext(ctx))
	return true, nil
}

// proxyTo forwards reads to the leader, an agent of that name at target.
func (s *Server) proxyTo(name string, target *url.URL) http.Handler {
	return &httputil.ReverseProxy{
		Transport:     s.Transport,
		FlushInterval: -1, // Streams pass line by line.
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(target)
			p.Out.Header.Set(HeaderForwarded, s.Self.Name)
			p.Out.Header.Del(headerConsulToken) // No read needs it.
			p.Out.Header.Del(headerForwardedAuth)
			if s.Auth == wadi.AuthNone {
				p.Out.Header.Set(headerForwardedAuth, string(wadi.AuthNone))
			}
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			s.fail(w, r, fmt.Errorf("ask the leader %s at %s: %v: %w", name, target, err, wadi.ErrUnavailable))
		},
	}
}

// leaderURL is the base URL at which this agent reaches the leader.
func (s *Server) leaderURL(advertised string) (string, error) {
	if s.LeaderURL != nil {
		return s.LeaderURL()
	}
	if advertised == "" {
		return "", errors.New("it has none")
	}
	return advertised, nil
}
