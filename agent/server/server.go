// Package server is the agent's HTTP API. The types of its bodies are in package api.
//
// It promises that every answer is JSON with the right status, that no body or
// header is read without a bound, that a browser's page can change nothing, and
// that a token is neither logged nor kept. It refuses to decide: admission validates
// submissions, the leader's loops do the rest, and the API shows what they stored.
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
)

// Bounds of the server.
const (
	maxHeaderBytes = 64 << 10
	maxScans       = 2 // Submissions scanned for their namespaces at a time: each may take hundreds of MiB for a second.
	maxSubmissions = 8 // Evaluated at a time; further ones wait as long as their callers do.
	headerTimeout  = 10 * time.Second
	bodyTimeout    = 30 * time.Second
	writeTimeout   = 30 * time.Second // Of an answer, or of one line of a stream.
	discardTimeout = time.Second / 2  // Of the rest of a body that no handler reads.
	idleTimeout    = 2 * time.Minute
	drainTimeout   = 10 * time.Second
	readTimeout    = 10 * time.Second // Of the requests to Nomad and Consul for one read.
	submitTimeout  = 30 * time.Second // Of validating a submission; storing has its own bound.
)

// Config is what New needs. Admission, Store, Rights and Self.Name are required.
type Config struct {
	Self      api.Self  // Without Leader and GatewayDomain.
	Auth      wadi.Auth // Empty: wadi.AuthNomad.
	Admission Admission
	Store     Store
	Rights    Rights
	// ACLs asks whether Nomad has ACLs; nil: it has.
	ACLs func(ctx context.Context) (bool, error)

	// AddLoad adds what this agent knows of a service's load, and is not stored yet; nil:
	// nothing.
	AddLoad func(service string, h wadi.LoadHistory) wadi.LoadHistory

	Changes Changes // nil: reads have no index, and do not wait.
	// Outcomes returns what a revision was known to have answered since a time, while this agent
	// leads; nil: the path that compares revisions answers 503.
	Outcomes func(revision string, since time.Time) (Outcomes, bool)

	Decisions  Decisions  // nil: the paths about decisions answer 503.
	Events     Events     // nil: the path about events answers 503.
	Leadership Leadership // nil: this agent leads, always.

	// Ready reports whether callers of services should be sent to this agent; nil: always.
	Ready func() bool
	// Problems returns what makes this agent unhealthy now; nil: never anything.
	Problems func() []string
	// Warnings returns what a person should check although the agent is healthy; nil:
	// never anything.
	Warnings func() []string
	// Doctor returns the reports of all agents, which are asked with the caller's token.
	// nil: 503.
	Doctor func(ctx context.Context, token string) []wadi.AgentReport
	// Report returns the report of this agent. nil: 503.
	Report func(ctx context.Context) wadi.AgentReport
	// Admin serves /v1/admin/ and /debug/pprof/ to loopback callers, and to callers that
	// MayAdmin allows. nil: 404.
	Admin    http.Handler
	MayAdmin func(ctx context.Context, token string) error
	// Reload reads the agent's configuration again, for the same callers as Admin. nil: 404.
	Reload func(ctx context.Context) (api.Reloaded, error)

	// HasName reports whether the agent has a name, such as one of its certificate; nil: it
	// has none but localhost and AllowedHosts.
	HasName func(host string) bool

	Settings // At first. See Set.

	// TLS makes Serve speak HTTPS by it; nil: HTTP.
	TLS *tls.Config

	// ConnState, if set, is the hook of a connection limiter, as in http.Server.
	ConnState func(net.Conn, http.ConnState)

	// LeaderURL returns the base URL at which this agent reaches the leader's API, or an
	// error; nil: the URL from Leadership.
	LeaderURL func() (string, error)

	Transport  http.RoundTripper // For reads forwarded to the leader; nil: a plain one.
	Log        hclog.Logger
	Registerer prometheus.Registerer // nil: no metrics.
}

// Settings are what [Server.Set] changes while the agent runs.
type Settings struct {
	MaxSpecBytes  int    // Of all files of a submission together; 0 is 1 MiB.
	MaxInstances  int    // The agent's bound of instances of one revision; 0 is none.
	GatewayDomain string // Parent of the services' own domains.

	AllowedHosts []string // Names of the agent besides localhost, in lower case.
	// RequestsPerSecond bounds the requests of one caller; 0 is 100.
	RequestsPerSecond int
}

// Server is the HTTP API.
type Server struct {
	Config
	settings    *atomic.Pointer[Settings] // In force.
	acls        *acls
	mux         *http.ServeMux
	handler     http.Handler
	slots       *submitSlots
	blocked     *blockedReads
	callers     *callers
	turns       *turns
	scans       chan struct{} // One element for each submission that is scanned.
	submissions chan struct{} // One element for each submission that is evaluated.
	doctors     chan struct{} // One element while the doctor runs.
	requests    *prometheus.CounterVec
}

// New returns a server, or an error when c lacks a required field.
func New(c Config) (*Server, error) {
	if c.Admission == nil || c.Store == nil || c.Rights == nil || c.Self.Name == "" {
		return nil, errors.New("server: admission, store, rights and a name are required")
	}
	c.setDefaults()
	if c.Auth != wadi.AuthNomad && c.Auth != wadi.AuthNone {
		return nil, fmt.Errorf("server: unknown auth %q", c.Auth)
	}
	s := &Server{
		Config: c, mux: http.NewServeMux(), slots: newSubmitSlots(), blocked: newBlockedReads(), acls: &acls{}, callers: newCallers(), turns: newTurns(), settings: &atomic.Pointer[Settings]{},
		scans: make(chan struct{}, maxScans), submissions: make(chan struct{}, maxSubmissions), doctors: make(chan struct{}, 1),
	}
	s.requests = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "wadi_api_requests_total",
		Help: "Requests answered by the HTTP API.",
	}, []string{"route", "code"})
	if c.Registerer != nil {
		if err := c.Registerer.Register(s.requests); err != nil {
			return nil, fmt.Errorf("server: register metrics: %w", err)
		}
	}
	s.Set(c.Settings)
	s.Settings = Settings{}
	s.routes()
	s.handler = s.guard(http.HandlerFunc(s.dispatch))
	return s, nil
}

// Set puts settings in force for the requests that begin from now on.
func (s *Server) Set(next Settings) {
	if next.MaxSpecBytes <= 0 {
		next.MaxSpecBytes = 1 << 20
	}
	if next.RequestsPerSecond <= 0 {
		next.RequestsPerSecond = 100
	}
	s.callers.bound(next.RequestsPerSecond)
	s.settings.Store(&next)
}

func (c *Config) setDefaults() {
	if c.Auth == "" {
		c.Auth = wadi.AuthNomad
	}
	if c.Log == nil {
		c.Log = hclog.NewNullLogger()
	}
	if c.Transport == nil {
		c.Transport = &http.Transport{
			DialContext:           (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			ResponseHeaderTimeout: 10 * time.Second,
			MaxIdleConnsPerHost:   4,
		}
	}
}

// within bounds the time of h, so that a Nomad or Consul that hangs counts as unavailable.
func within(d time.Duration, h func(http.ResponseWriter, *http.Request) error) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		ctx, cancel := context.WithTimeout(r.Context(), d)
		defer cancel()
		return h(w, r.WithContext(ctx))
	}
}

// Handler is the whole API, guards included.
func (s *Server) Handler() http.Handler { return s.handler }
