// Package admin is the admin plane of the agent and of the queue-proxy: whether
// the process lives, its drain, its log level, what it does at the moment, and
// its profiles.
//
// It promises to change nothing but the drain and the log level, and both only by
// PUT or POST. It refuses pages of other sites in a browser, but it knows no
// tokens: who may come in is up to the listener (loopback) or to what stands in
// front of it.
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

// maxLevel is how many bytes a request that sets the log level may have.
const maxLevel = 1 << 10

// Plane is what the admin plane tells of and acts on. All fields but Note are required.
type Plane struct {
	// Drain makes the process take no more requests. It returns at once, and may
	// be called again.
	Drain func()
	// Draining reports whether Drain was called, by whomever.
	Draining func() bool
	// Drained waits until the last request is answered, after Drain was called, or
	// until ctx ends, which is an error.
	Drained func(ctx context.Context) error
	// Note says, with the answer about a drain that has begun, what follows from it;
	// empty: nothing that its caller has to know.
	Note string
	// Dump returns what the process does at the moment, for JSON. It bounds itself.
	Dump func() any

	Log hclog.Logger // Whose level is read and set.
}

// Handler serves p. What each path answers:
//
//	GET  /v1/admin/live       {"live": true}, as long as the process answers at all
//	PUT  /v1/admin/drain      begins the drain and answers when the last request is answered
//	GET  /v1/admin/drain      begins none; answers when one that has begun is over, else at once
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

// Loopback is next for a listener on loopback, which anybody may call who is on
// this machine, pages in its browsers too: only by an address or as localhost, as
// a name could be one that somebody else's DNS made point here.
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

// drainState is the answer about a drain.
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
	_ = json.Unmarshal(b, &body) // Else it is the bare word.
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
	_ = e.Encode(v) // The reader has gone if this fails.
}
