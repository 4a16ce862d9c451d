package server

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
)

// health answers anybody, as load balancers and checks do not log in.
func (s *Server) health(w http.ResponseWriter, _ *http.Request) error {
	var problems, warnings []string
	if s.Problems != nil {
		problems = s.Problems()
	}
	if s.Warnings != nil {
		warnings = s.Warnings()
	}
	status := http.StatusOK
	if len(problems) > 0 {
		status = http.StatusServiceUnavailable
	}
	return s.reply(w, status, api.Health{OK: len(problems) == 0, Problems: problems, Warnings: warnings})
}

func (s *Server) self(w http.ResponseWriter, _ *http.Request) error {
	self := s.Self
	name, _ := s.whoLeads()
	self.Leader = name == self.Name
	return s.reply(w, http.StatusOK, self)
}

func (s *Server) leader(w http.ResponseWriter, _ *http.Request) error {
	name, addr := s.whoLeads()
	if name == "" {
		return unavailable("no agent leads")
	}
	return s.reply(w, http.StatusOK, api.Leader{Name: name, Address: addr})
}

func (s *Server) whoLeads() (name, url string) {
	if s.Leadership == nil {
		return s.Self.Name, ""
	}
	return s.Leadership.Leader()
}

// toLeader sends a read to the leader when that is another agent. done is false
// when this one leads and should answer itself.
func (s *Server) toLeader(w http.ResponseWriter, r *http.Request) (done bool, err error) {
	name, advertised := s.whoLeads()
	switch {
	case name == s.Self.Name:
		return false, nil
	case name == "":
		return true, unavailable("no agent leads")
	case r.Header.Get(HeaderForwarded) != "":
		return true, unavailable("leader moved while the request was forwarded")
	}
	addr, err := s.wayToLeader(advertised)
	if err != nil {
		return true, unavailable("ask the leader %s: %v", name, err)
	}
	target, err := url.Parse(addr)
	if err != nil || target.Host == "" {
		return true, unavailable("the address %q of the leader %s can't be used", addr, name)
	}
	ctx, cancel := untilStopped(r.Context())
	defer cancel()
	proxy := &httputil.ReverseProxy{
		Transport:     s.Transport,
		FlushInterval: -1, // Streams pass line by line.
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(target)
			p.Out.Header.Set(HeaderForwarded, s.Self.Name)
			p.Out.Header.Del(headerConsulToken) // No read needs it.
			p.Out.Header.Del(headerJudged)
			if s.Auth == AuthNone {
				p.Out.Header.Set(headerJudged, AuthNone)
			}
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			s.fail(w, r, fmt.Errorf("ask the leader %s at %s: %v: %w", name, addr, err, wadi.ErrUnavailable))
		},
	}
	proxy.ServeHTTP(w, r.WithContext(ctx))
	return true, nil
}

// untilStopped ends with ctx, and when the server stops.
func untilStopped(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := stopped(ctx)
	if stop == nil {
		return ctx, cancel
	}
	go func() {
		select {
		case <-stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// admin lets callers on this machine in, and those who may administer.
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

// fromHere reports whether a request came over loopback, and not through a proxy
// that runs on this machine.
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
