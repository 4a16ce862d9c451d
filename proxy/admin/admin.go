// Package admin is the admin plane of the agent and of the queue-proxy: liveness, drain,
// log level, a dump of the current work, and profiles.
//
// It promises to change nothing but the drain and the log level, and both only by PUT or
// POST. It refuses pages of other sites in a browser, but it knows no tokens: the listener
// (loopback), or a handler in front of it, decides on access.
package admin

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"net/url"
	"strings"

	"github.com/hashicorp/go-hclog"
)

// maxLevel bounds the body of a request that sets the log level, in bytes.
const maxLevel = 1 << 10

// Plane is the process behind the admin plane. All fields but Note are required.
type Plane struct {
	// Drain begins the drain: the process takes no more requests. It returns at once, and
	// may be called again.
	Drain func()
	// Draining reports whether a drain has begun, by Drain or otherwise.
	Draining func() bool
	// Drained waits until the drain is over, or until ctx ends, which is an error.
	Drained func(ctx context.Context) error
	// Note is added to the answer about a drain that is over, for what the caller has to
	// know; may be empty.
	Note string
	// Dump returns what the process is doing, for JSON. It bounds its own size.
	Dump func() any

	Log hclog.Logger // Its level is read and set.
}

// Handler serves p:
//
//	GET  /v1/admin/live       {"live": true}, as long as the process answers at all
//	PUT  /v1/admin/drain      begins the drain and answers when the last request is answered
//	GET  /v1/admin/drain      answers when a drain that has begun is over; at once if none has
//	GET  /v1/admin/log-level  {"level": "info"}
//	PUT  /v1/admin/log-level  takes the same, or the bare word
//	GET  /v1/admin/dump       what is in flight and waiting
//	     /debug/pprof/        profiles, as net/http/pprof has them
func Handler(p Plane) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/admin/live", func(w http.ResponseWriter, _ *http.Request) { reply(w, map[string]bool{"live": true}) })
	mux.HandleFunc("GET /v1/admin/drain", p.drained)
	for _, method := range []string{"PUT", "POST"} {
		mux.HandleFunc(method+" /v1/admin/drain", func(w http.ResponseWriter, r *http.Request) {
			p.Drain()
			p.drained(w, r)
		})
	}
	mux.HandleFunc("GET /v1/admin/log-level", p.level)
	mux.HandleFunc("PUT /v1/admin/log-level", p.setLevel)
	mux.HandleFunc("GET /v1/admin/dump", func(w http.ResponseWriter, _ *http.Request) { reply(w, p.Dump()) })
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return http.NewCrossOriginProtection().Handler(mux)
}

// Loopback is next for a listener on loopback, which any process of the machine may call,
// browsers included. It takes requests by an IP address or as localhost only: any other
// name may be a foreign site's whose DNS points here (DNS rebinding).
func Loopback(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := (&url.URL{Host: r.Host}).Hostname()
		if _, err := netip.ParseAddr(host); err != nil && !strings.EqualFold(host, "localhost") {
			http.Error(w, "call it by its address, or as localhost", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// drainState is the answer of the drain's path.
type drainState struct {
	Draining bool   `json:"draining"`
	Drained  bool   `json:"drained"`
	Note     string `json:"note,omitempty"`
}

func (p Plane) drained(w http.ResponseWriter, r *http.Request) {
	if !p.Draining() {
		reply(w, drainState{})
		return
	}
	if err := p.Drained(r.Context()); err != nil {
		http.Error(w, "requests are still in flight: "+err.Error(), http.StatusServiceUnavailable)
		return
	}
	reply(w, drainState{Draining: true, Drained: true, Note: p.Note})
}

// levelBody is the log level as it is read and written.
type levelBody struct {
	Level string `json:"level"`
}

func (p Plane) level(w http.ResponseWriter, _ *http.Request) {
	reply(w, levelBody{p.Log.GetLevel().String()})
}

func (p Plane) setLevel(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxLevel))
	if err != nil {
		http.Error(w, "the body can't be read, or has more than 1 KiB", http.StatusBadRequest)
		return
	}
	body := levelBody{Level: strings.TrimSpace(string(b))}
	_ = json.Unmarshal(b, &body) // Otherwise the body is the bare word.
	level := hclog.LevelFromString(body.Level)
	if level == hclog.NoLevel {
		http.Error(w, `want {"level": "trace | debug | info | warn | error | off"}`, http.StatusBadRequest)
		return
	}
	p.Log.SetLevel(level)
	reply(w, levelBody{level.String()})
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(v) // If this fails the caller has gone.
}
