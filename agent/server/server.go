// Package server is the agent's HTTP API.
//
// It promises that every answer is JSON with the right status, that no body or
// header is read without a bound, that a browser's page can change nothing, and
// that a token is neither logged nor kept. It refuses to decide: admission judges
// what is submitted, the leader's loops do the rest, and it shows what they stored.
package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/admission"
	"github.com/wadi-run/wadi/api"
)

// The ways in which a caller's rights are judged.
const (
	AuthNomad = "nomad" // What the caller's Nomad token may.
	AuthNone  = "none"  // Everybody who can connect may; loopback listeners only.
)

// Admission judges and stores what is submitted.
type Admission interface {
	Submit(ctx context.Context, r admission.Request) (api.Submitted, error)
	Validate(ctx context.Context, r admission.Request) (api.Submitted, error)
	// MayRemove judges whether the caller may delete a service, besides his rights in Nomad.
	MayRemove(ctx context.Context, service wadi.Service, consulToken string) error
}

// Store is what the API reads and marks. What is not there is wadi.ErrNotFound.
type Store interface {
	// Services returns the names of all services, sorted.
	Services(ctx context.Context) ([]string, error)
	Spec(ctx context.Context, name string) (wadi.Spec, uint64, error)
	Status(ctx context.Context, name string) (wadi.Status, error)
	Route(ctx context.Context, name string) (wadi.Route, error)
	Revisions(ctx context.Context, service string) ([]wadi.Revision, error)
	// State is what the leader remembers of a service; ErrNotFound if nothing.
	State(ctx context.Context, service string) (wadi.State, error)
	// MarkDeleting marks a service if its spec is still at index.
	MarkDeleting(ctx context.Context, name string, index uint64) error
	// Overrides returns the counts that somebody asked for, ended ones too, by revision.
	Overrides(ctx context.Context, service string) (map[string]wadi.Override, error)
	// PutOverride stores one; the zero value ends it.
	PutOverride(ctx context.Context, service, revision string, h wadi.Override, now time.Time) error
}

// Rights asks Nomad what a token may do in a namespace. nil is yes; no wraps
// wadi.ErrForbidden.
type Rights interface {
	MaySubmit(ctx context.Context, token, namespace string) error
	MayRead(ctx context.Context, token, namespace string) error
	MayScale(ctx context.Context, token, namespace string) error
	// Readable returns those of the namespaces that the token may read. No wraps
	// wadi.ErrForbidden only for a token that Nomad does not know, and for nobody.
	Readable(ctx context.Context, token string, namespaces []string) (map[string]bool, error)
	// Known says whether tokens mean anything; no for a token as with Readable.
	Known(ctx context.Context, token string) (acls bool, err error)
	// TokenName is the name of the token; empty if that is not known.
	TokenName(ctx context.Context, token string) string
}

// Decisions are the leader's last scaling decisions.
type Decisions interface {
	// Of returns those about a revision, oldest first.
	Of(revision string) []wadi.Decision
}

// Events are what the leader did and saw.
type Events interface {
	// Since returns the events from number seq on that are still known, the number
	// to ask for next, and a channel that is closed when there are more.
	Since(seq uint64) (events []wadi.Event, next uint64, changed <-chan struct{})
}

// Leadership knows who leads.
type Leadership interface {
	// Leader returns the leading agent's name and the base URL of its API; an
	// empty name when nobody leads.
	Leader() (name, url string)
}

// Config is what New needs. Admission, Store, Rights and Self.Name are required.
type Config struct {
	Self      api.Self // Leader is not used: Leadership knows.
	Auth      string   // AuthNomad (default) or AuthNone.
	Admission Admission
	Store     Store
	Rights    Rights

	Decisions  Decisions  // nil: the paths about decisions answer 503.
	Events     Events     // nil: the path about events answers 503.
	Leadership Leadership // nil: this agent leads, always.

	// Problems returns what is wrong with this agent now; nil: never anything.
	Problems func() []string
	// Warnings returns what should be looked at and keeps the agent from nothing; nil: never anything.
	Warnings func() []string
	// Doctor has all agents look at themselves. nil: 503.
	Doctor func(ctx context.Context) []wadi.AgentReport
	// Admin serves /v1/admin/ and /debug/pprof/ to loopback callers, and to those
	// that MayAdmin lets in. nil: 404.
	Admin    http.Handler
	MayAdmin func(ctx context.Context, token string) error

	MaxSpecBytes int      // Of all files of a submission together; 0 is 1 MiB.
	MaxInstances int      // The agent's bound of instances of one revision; 0 is none.
	AllowedHosts []string // Further names by which a loopback listener may be called.

	// ConnState, if set, is told what each connection is used for, by who bounds the
	// listener's.
	ConnState func(net.Conn, http.ConnState)

	// Way returns the base URL by which this agent reaches the leader's API, or why it
	// can't; nil: the one that Leadership says.
	Way func() (string, error)

	Transport  http.RoundTripper // For reads forwarded to the leader; nil: a plain one.
	Log        hclog.Logger
	Registerer prometheus.Registerer // nil: no metrics.
}

// Server is the HTTP API.
type Server struct {
	Config
	mux         *http.ServeMux
	handler     http.Handler
	bodies      *bodies
	looks       chan struct{} // One place for each submission that is looked at for whose it is.
	submissions chan struct{} // One place for each submission that is worked on.
	doctors     chan struct{} // One place for the doctor.
	requests    *prometheus.CounterVec
}

// Bounds of the server.
const (
	maxHeaderBytes = 64 << 10
	maxLooks       = 2 // At submissions of whom it is not known what he may; each may take hundreds of MiB for a second.
	maxSubmissions = 8 // Worked on at a time; others wait, as long as their caller does.
	headerTimeout  = 10 * time.Second
	bodyTimeout    = 30 * time.Second
	writeTimeout   = 30 * time.Second // Of an answer, or one line of a stream.
	unreadTimeout  = time.Second / 2  // Of the rest of a body that nobody wants.
	idleTimeout    = 2 * time.Minute
	drainTimeout   = 10 * time.Second
	readTimeout    = 10 * time.Second // Of what Nomad and Consul are asked for one read.
	submitTimeout  = 30 * time.Second // Of judging a submission; storing has its own bound.
)

// New returns a server, or an error when c lacks something.
func New(c Config) (*Server, error) {
	if c.Admission == nil || c.Store == nil || c.Rights == nil || c.Self.Name == "" {
		return nil, errors.New("server: admission, store, rights and a name are required")
	}
	if c.Auth == "" {
		c.Auth = AuthNomad
	}
	if c.Auth != AuthNomad && c.Auth != AuthNone {
		return nil, fmt.Errorf("server: unknown auth %q", c.Auth)
	}
	if c.MaxSpecBytes <= 0 {
		c.MaxSpecBytes = 1 << 20
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
	s := &Server{Config: c, mux: http.NewServeMux(), bodies: newBodies(), looks: make(chan struct{}, maxLooks), submissions: make(chan struct{}, maxSubmissions), doctors: make(chan struct{}, 1)}
	s.requests = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "wadi_api_requests_total",
		Help: "Requests answered by the HTTP API.",
	}, []string{"route", "code"})
	if c.Registerer != nil {
		if err := c.Registerer.Register(s.requests); err != nil {
			return nil, fmt.Errorf("server: register metrics: %w", err)
		}
	}
	s.routes()
	s.handler = s.guard(http.HandlerFunc(s.dispatch))
	return s, nil
}

// Reads that only the leader can answer.
const (
	pathDecisions = "GET /v1/service/{name}/decisions"
	pathEvents    = "GET /v1/events"
)

func (s *Server) routes() {
	for pattern, h := range map[string]func(http.ResponseWriter, *http.Request) error{
		"PUT /v1/services":                 s.submit,
		"POST /v1/services/validate":       s.validate,
		"GET /v1/services":                 within(readTimeout, s.list),
		"GET /v1/service/{name}":           within(readTimeout, s.read),
		"DELETE /v1/service/{name}":        s.remove,
		"GET /v1/service/{name}/revisions": within(readTimeout, s.revisions),
		pathDecisions:                      within(readTimeout, s.decisions),
		"PUT /v1/service/{name}/scale":     within(submitTimeout, s.scale),
		"GET /v1/revision/{id}":            within(readTimeout, s.revision),
		pathEvents:                         s.events,
		"GET /v1/doctor":                   within(submitTimeout, s.doctor),
		"GET /v1/agent/health":             s.health,
		"GET /v1/agent/self":               s.self,
		"GET /v1/status/leader":            s.leader,
		"/v1/admin/":                       s.admin,
		"/debug/pprof/":                    s.admin,
	} {
		s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if err := h(w, r); err != nil {
				s.fail(w, r, err)
			}
		})
	}
}

// within bounds what h may take: a Nomad or Consul that hangs is away, too.
func within(d time.Duration, h func(http.ResponseWriter, *http.Request) error) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		ctx, cancel := context.WithTimeout(r.Context(), d)
		defer cancel()
		return h(w, r.WithContext(ctx))
	}
}

// Handler is the whole API, guards included.
func (s *Server) Handler() http.Handler { return s.handler }

// Serve answers on l until ctx ends, then lets requests finish for a while. It
// closes l. Without authentication it refuses listeners that are not loopback.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	if s.Auth == AuthNone && !isLoopback(l.Addr()) {
		_ = l.Close()
		return fmt.Errorf("serve API on %s: auth = \"none\" is for loopback addresses only", l.Addr())
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	hs := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ConnState:         s.ConnState,
		// Streams end when ctx does; other requests go on until they are done.
		BaseContext: func(net.Listener) context.Context {
			return context.WithValue(context.WithoutCancel(ctx), stopKey{}, ctx.Done())
		},
		ErrorLog: s.Log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	done := make(chan error, 1)
	go func() {
		<-ctx.Done()
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
		defer cancel()
		err := hs.Shutdown(drain)
		if err != nil {
			err = errors.Join(err, hs.Close())
		}
		done <- err
	}()
	err := hs.Serve(l)
	cancel()
	if shutdown := <-done; errors.Is(err, http.ErrServerClosed) {
		err = nil
		if shutdown != nil {
			s.Log.Warn("requests cut off at shutdown", "error", shutdown)
		}
	}
	if err != nil {
		return fmt.Errorf("serve API on %s: %w", l.Addr(), err)
	}
	return nil
}

// stopKey finds, in a request's context, the channel that closes at shutdown.
type stopKey struct{}

func stopped(ctx context.Context) <-chan struct{} {
	ch, _ := ctx.Value(stopKey{}).(<-chan struct{})
	return ch
}

func (s *Server) reply(w http.ResponseWriter, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout)) // The server lifts it.
	w.WriteHeader(status)
	// The caller is gone if this fails.
	_, _ = w.Write(append(body, '\n'))
	return nil
}
